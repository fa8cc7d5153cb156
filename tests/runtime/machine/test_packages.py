"""Packages as people have them: under another name, or installed and broken."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest
from builders import ROOT, distribution, run_python

from runtime.errors import BackendUnavailable
from runtime.machine import packages
from runtime.machine.packages import check_extra, import_failure, importing, module_version

# What an import was seen to raise, and a word of what mends it. Of the loader, of NumPy, of
# protobuf and of packages that found another of another release.
BROKEN = [
    (
        "ImportError('libGL.so.1: cannot open shared object file: No such file or directory')",
        "opencv-python-headless",
    ),
    (
        "ImportError('/libs/libgomp-d2.so.1: cannot allocate memory in static TLS block')",
        'export LD_PRELOAD="/libs/libgomp-d2.so.1"',
    ),
    ("OSError('libcudart.so.12: cannot open shared object file')", "--force-reinstall"),
    ("AttributeError('_ARRAY_API not found')", "'numpy<2'"),
    ("RuntimeError('module compiled against ABI version 0x1000009')", "--force-reinstall"),
    ("TypeError('Descriptors cannot be created directly.')", "--force-reinstall"),
    ("SyntaxError('invalid syntax')", "--force-reinstall"),
    ('ImportError("/lib/libm.so.6: version `GLIBC_2.38\' not found")', "GLIBC_2.38"),
    ("ModuleNotFoundError(\"No module named 'attrs'\", name='attrs')", "--force-reinstall"),
]
# A command's own import, of a module that it has at its top, and of one that it imports later.
COMMANDS = [
    ("cv2", ("-m", "runtime.infer", "--help")),
    ("onnx", ("-m", "export.preflight", "--help")),
    ("onnxsim", ("-m", "export", "--output", "TMP/bundle")),
    ("numpy", ("-m", "parity.diff", "--help")),
    ("cv2", ("-m", "starmark", "infer", "--help")),
    ("msgspec", ("-m", "starmark", "compare", "--help")),
]


def plant(folder: Path, module: str, code: str) -> str:
    """A module in the place of the real one; the path that finds it first."""
    folder.mkdir(exist_ok=True)
    (folder / f"{module}.py").write_text(code)
    return str(folder)


@pytest.mark.parametrize(("raises", "mends"), BROKEN)
def test_whatever_an_import_raises_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raises: str, mends: str
) -> None:
    """With the package's name, the words of what was raised, and what mends it."""
    monkeypatch.syspath_prepend(plant(tmp_path, "broken_one", f"raise {raises}"))
    code = compile("import broken_one", str(ROOT / "runtime/planted.py"), "exec")
    with pytest.raises(BackendUnavailable) as raised, importing("--option"):
        exec(code)  # noqa: S102  # a statement of this project's, as far as its traceback tells

    said = str(raised.value)
    assert "--option: expected the package broken_one, installed and working, got" in said
    assert raises.partition("(")[0] in said
    assert mends in said


@pytest.mark.slow
@pytest.mark.parametrize(("module", "command"), COMMANDS)
def test_commands_exit_3_where_a_package_cannot_be_imported(
    tmp_path: Path, module: str, command: tuple[str, ...]
) -> None:
    """In one line, wherever the import stands; what is absent is named with its extra."""
    plant(tmp_path / "broken", module, "raise OSError('libfoo.so.9: not a library')")
    plant(tmp_path / "absent", module, f"raise ModuleNotFoundError('none', name={module!r})")
    words = [word.replace("TMP", str(tmp_path)) for word in command]
    broken, absent = (
        run_python(*words, PYTHONPATH=f"{tmp_path / kind}:{ROOT}") for kind in ("broken", "absent")
    )

    assert (broken.returncode, absent.returncode) == (3, 3), broken.stderr + absent.stderr
    (line,) = broken.stderr.splitlines()[-1:]
    assert line.startswith(f"error: package {module}: ")
    assert "OSError: libfoo.so.9: not a library" in line
    assert "Traceback" not in broken.stderr + absent.stderr
    assert "got none. Install it with pip install" in absent.stderr


def test_a_missing_extra_is_named_with_all_that_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """And with the command for a wheel, or for a checkout, beside which an index has no wheel."""
    check_extra("export", "export", ["msgspec"])
    with pytest.raises(
        BackendUnavailable, match=r"no nowhere, none. .*pip install -e '.\[export\]'"
    ):
        check_extra("export", "export", ["msgspec", "nowhere", "none"])
    monkeypatch.setattr(packages, "IS_PACKAGED", True)
    monkeypatch.setattr(packages, "_WHERE", "")
    with pytest.raises(
        BackendUnavailable, match=r'Install them with pip install "starmark\[export\]"\.'
    ):
        check_extra("export", "export", ["nowhere"])


def test_the_rest_of_what_goes_wrong_is_no_package() -> None:
    """A bug of this project's keeps its traceback, also in a module that is being imported."""
    found = []
    for code in ("import json; json.nothing", "int('x')", "from runtime.errors import nothing"):
        try:
            exec(compile(code, str(ROOT / "runtime/planted.py"), "exec"))  # noqa: S102  # as above
        except Exception as error:  # noqa: BLE001  # whatever it is
            found.append(import_failure(error))
    assert found == [None, None, None]


def test_a_real_protobuf_without_what_the_environment_names() -> None:
    """An old shell profile: onnx is sound, and cannot be imported."""
    done = run_python(
        *("-m", "export.preflight", "gone.onnx"), PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION="cpp"
    )

    assert done.returncode == 3
    assert "error: package onnx: " in done.stderr
    assert "unset PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION" in done.stderr


def test_versions_are_the_modules_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several packages give one module, some have another name, and a few have no metadata."""
    for name, version in (("opencv-python", "1.0"), ("opencv-python-headless", "2.0")):
        monkeypatch.syspath_prepend(str(distribution(tmp_path / name, name, version)))
    real = sys.modules["cv2"].__version__
    monkeypatch.syspath_prepend(plant(tmp_path / "site", "debians_own", "__version__ = '7.1'"))
    plant(tmp_path / "site", "wrecked", "raise OSError('libfoo.so.9')")

    assert module_version("cv2", "opencv-python") == real
    assert module_version("debians_own") == "7.1"
    assert module_version("sklearn", "scikit-learn") == metadata.version("scikit-learn")
    assert module_version("wrecked") == module_version("no_such_module") == "missing"


@pytest.mark.slow
def test_engines_of_graphs_report_nothing(tmp_path: Path) -> None:
    """No identity in the home folder, no session in the folder for temporary files."""
    code = "import runtime, onnxruntime, onnxsim"
    for name in ("home", "temporary"):
        (tmp_path / name).mkdir()
    places = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "temporary")}
    assert run_python("-c", code, **places).returncode == 0

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
