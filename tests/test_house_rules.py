"""The house rules that a machine can hold: sizes, names, import directions and import weight."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from builders import ROOT, run_python

from starmark.__main__ import COMMANDS

ROOMS = ("runtime", "parity", "export", "starmark", "benchmarks")
SOURCES = sorted(path for room in (*ROOMS, "scripts") for path in (ROOT / room).rglob("*.py"))
LONGEST_FILE = 500
LONGEST_FUNCTION = 60
LINT = "from importlinter.cli import lint_imports_command as c; c()"
BARRED_NAMES = {"utils", "helpers", "common", "core", "types"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    """Docstrings do not count against a function; no module is a drawer for odds and ends."""
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST_FILE
    assert path.stem not in BARRED_NAMES
    assert path.stem.strip("_") not in sys.stdlib_module_names - {"__main__", "main"}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or 0) - node.lineno + 1
            lines -= len((ast.get_docstring(node, clean=False) or "").splitlines())
            assert lines <= LONGEST_FUNCTION, node.name


def test_imports_point_one_way() -> None:
    """The contracts in pyproject.toml, held by import-linter."""
    done = run_python("-c", LINT, "--no-cache")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_a_broken_contract_is_found(tmp_path: Path) -> None:
    """The control: an import that points back makes the check above fail."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "runtime/image/crop.py").open("a") as file:
        file.write("\nimport parity.judging.differences\n")
    done = run_python("-c", LINT, "--no-cache", cwd=tmp_path)

    assert done.returncode != 0
    assert "BROKEN" in done.stdout


def test_importing_runtime_loads_no_engine() -> None:
    """As -X importtime sees it, and parity likewise."""
    done = run_python("-X", "importtime", "-c", "import runtime, parity.compare.__main__")
    loaded = {
        line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()
    }

    assert done.returncode == 0
    assert {"runtime", "numpy", "msgspec"} <= loaded
    heavy = {"torch", "onnxruntime", "onnx", "openvino", "acl", "torch_npu", "rich", "cv2", "scipy"}
    assert not loaded & heavy


def test_importing_runtime_needs_the_standard_library_alone() -> None:
    """The doctor runs where numpy is missing; a name is loaded when it is asked for."""
    code = (
        "import sys, runtime, runtime.machine.npu_smi, runtime.doctor.__main__\n"
        "assert not {'numpy', 'cv2', 'msgspec'} & set(sys.modules), 'too early'\n"
        "assert set(runtime.__all__) <= set(dir(runtime))\n"
        "from runtime import Detector\n"
        "assert 'numpy' in sys.modules and runtime.Detector is Detector"
    )
    done = run_python("-c", code)

    assert done.returncode == 0, done.stderr


def test_engines_stand_in_their_own_rooms() -> None:
    """`import torch`, `import onnxruntime`, `import acl` and `subprocess` each have their homes."""
    homes = {
        "torch": {
            "runtime/network",
            "runtime/backends/torch/backend.py",
            "export/graph/to_onnx.py",
            "export/graph/inference_form.py",
        },
        "onnxruntime": {
            "runtime/backends/ort.py",
            "export/preflight/magnitudes.py",
            "export/int8/equalise.py",
        },
        "openvino": {"runtime/backends/openvino.py"},
        "acl": {"runtime/backends/ascend/acl.py"},
        "subprocess": {
            "runtime/machine/process.py",
            "scripts/check_clients.py",
            "scripts/kill_runs.py",
            "scripts/mutations.py",
        },
    }
    for path in SOURCES:
        name = str(path.relative_to(ROOT))
        for module, allowed in homes.items():
            if re.search(rf"^\s*(import|from) {module}\b", path.read_text(), re.MULTILINE):
                assert any(name.startswith(home) for home in allowed), (name, module)


def test_public_names_are_complete() -> None:
    """Everything in __all__ is there and documented."""
    import runtime

    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = runtime.Nothing
    for name in runtime.__all__:
        assert getattr(runtime, name) is not None
        assert name == "__version__" or getattr(runtime, name).__doc__


@pytest.mark.parametrize("name", ["README", "docs/ascend"])
def test_both_languages_have_the_same_commands(name: str) -> None:
    """English and Chinese: the same code blocks, in the same order."""
    english, chinese = (
        re.findall(r"```(?:bash|python)\n(.*?)```", (ROOT / f"{name}{end}").read_text(), re.DOTALL)
        for end in (".md", ".zh-CN.md")
    )
    without_comments = [
        [re.sub(r"\s*#.*", "", block) for block in blocks] for blocks in (english, chinese)
    ]

    assert len(english) >= 5
    assert without_comments[0] == without_comments[1]


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_readme_is_short_and_lists_every_command(name: str) -> None:
    """Each with its module, as `starmark --help` has them."""
    text = (ROOT / name).read_text(encoding="utf-8")
    listed = dict(re.findall(r"(?m)^\| `(\w+)` \| `([\w.]+)` \|", text))

    assert listed == {command: module for command, (module, _) in COMMANDS.items()}
    assert text.count("\n") <= 220


def test_links_of_the_pages_lead_somewhere() -> None:
    """Relative ones: to files of this repository."""
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")):
        links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        assert [link for link in links if not (page.parent / link).exists()] == [], page


def test_no_environment_is_in_the_repository() -> None:
    """A link of that name would take the place of a real one wherever it is checked out."""
    done = subprocess.run(
        ["git", "ls-files", "--", ".venv"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.stdout == ""
    assert ".venv" in (ROOT / ".gitignore").read_text().splitlines()  # with a slash, folders alone
