"""The front door: every command is there, and opening it loads no engine."""

from __future__ import annotations

import importlib.util
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
from builders import ROOT, run_python

import runtime
import starmark
from runtime.cli.command_line import as_called
from runtime.machine.packages import import_failure
from runtime.version import VERSION
from starmark.__main__ import COMMANDS, main


def test_every_command_of_the_project_is_listed() -> None:
    """Each module with a `main` that `python -m` runs, and no other."""
    rooms = ("runtime", "parity", "export")
    files = (path for room in rooms for path in (ROOT / room).rglob("__main__.py"))
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in files}

    assert {module for module, _ in COMMANDS.values()} == found
    assert all(importlib.util.find_spec(module) for module, _ in COMMANDS.values())


def test_help_loads_no_engine() -> None:
    """`starmark --help` lists the commands without numpy, torch or onnx."""
    done = run_python("-X", "importtime", "-m", "starmark", "--help")
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}

    assert done.returncode == 0
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)
    assert not loaded & {"numpy", "torch", "onnx", "onnxruntime", "cv2", "msgspec", "rich"}


def test_a_command_gets_its_arguments_and_gives_its_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As `python -m` would."""
    assert main(["info", "gone.onnx"]) == 2
    assert "gone.onnx: expected" in capsys.readouterr().err
    assert main(["info", str(ROOT / "assets/starter68.safetensors")]) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "usage: starmark COMMAND"),
        (["--version"], 0, f"starmark {VERSION}\nonnxruntime {metadata.version('onnxruntime')}\n"),
        (["--help"], 0, "find landmarks:\n  infer "),
        (["comprae"], 2, "Did you mean starmark compare?"),
        (["xyz"], 2, "See starmark --help."),
        (["--hlep"], 2, "Did you mean starmark --help?"),
        ([""], 2, "error: '': expected a command"),
    ],
)
def test_other_first_arguments(
    arguments: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """None, a version, and what is no command."""
    assert main(arguments) == code
    assert says in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("starmark re", "record rehearse"),
        ("starmark infer --ell", "--ellipses"),
        ("starmark export --exporter ", "auto torchscript dynamo"),
        ("starmark compare --max-", "--max-pixels --max-mean --max-error --max-p95 --max-p99"),
    ],
)
def test_the_shell_completes_commands_and_their_options(
    line: str, offers: str, tmp_path: Path
) -> None:
    """As the functions of `register-python-argcomplete starmark` ask."""
    said = tmp_path / "said"
    asked = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(said),
    }
    run_python("-m", "starmark", COMP_LINE=line, COMP_POINT=str(len(line)), **asked)

    assert {word.strip() for word in said.read_text().splitlines()} >= set(offers.split())


@pytest.mark.parametrize(
    ("called", "says"),
    [
        ("/usr/bin/starmark", "starmark export, starmark infer; python -m benchmarks.suite"),
        ("/a/starmark/__main__.py", "starmark export, starmark infer; python -m benchmarks.suite"),
        ("/a/runtime/infer/__main__.py", ""),
    ],
)
def test_commands_in_messages_are_spelt_as_they_were_called(
    called: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs `starmark` is told to run `starmark export`."""
    text = "python -m export, python -m runtime.infer; python -m benchmarks.suite"
    monkeypatch.setattr(sys, "argv", [called])
    assert as_called(text) == (says or text)


def test_public_names_are_those_of_runtime() -> None:
    """`from starmark import Detector`."""
    assert starmark.Detector is runtime.Detector
    assert set(starmark.__all__) == set(runtime.__all__) <= set(dir(starmark))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = starmark.Nothing


@pytest.mark.slow
@pytest.mark.parametrize("name", ["runtime", "parity", "export"])
def test_own_modules_of_a_project_are_not_taken_for_ours(tmp_path: Path, name: str) -> None:
    """In the current folder, which an empty entry of PYTHONPATH puts first, too."""
    (tmp_path / f"{name}.py").write_text("print('somebody else')")
    command = f"import os, sys; os.chdir({str(tmp_path)!r}); sys.path.insert(0, '')"
    door = f"{command}; from starmark.__main__ import main; sys.exit(main(['compare', '--help']))"
    found = run_python("-c", door)
    module = run_python(
        "-c", f"{command}; import runpy; runpy.run_module('parity.compare', run_name='__main__')"
    )

    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("usage: python -m parity.compare")
    assert "somebody else" not in found.stdout
    if name == "runtime":
        assert str(tmp_path / "runtime.py") in module.stderr.splitlines()[-1]


def test_an_own_package_that_is_imported_first_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module's name can be had once."""
    other = ModuleType("parity")
    other.__file__ = str(tmp_path / "parity.py")
    monkeypatch.setitem(sys.modules, "parity", other)
    with pytest.raises(ImportError, match="parity.py is imported, and starmark's parity is"):
        starmark._own("parity")
    failure = import_failure(ModuleNotFoundError("No module named 'parity.x'", name="parity.x"))
    assert failure is not None
    assert failure.where == other.__file__
