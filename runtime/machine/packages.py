"""Third parties' packages: the one door for those that cannot be imported, and their versions."""

from __future__ import annotations

import dis
import importlib.util
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from types import TracebackType

from runtime.errors import BackendUnavailable, StarmarkError, one_line
from runtime.machine.npu_packages import BELOW_2, PIP

ROOT = Path(__file__).resolve().parents[2]
OWN = ("runtime", "parity", "export", "starmark", "benchmarks")
MISSING = "missing"
IS_PACKAGED = not (ROOT / "pyproject.toml").is_file()
_WHERE = "" if IS_PACKAGED else " in this project's checkout"
# What installs a module that is absent: an extra of this project's, or the package itself.
EXTRAS = {
    "completion": ("argcomplete",),
    "export": (
        *("filelock", "hatchling", "onnx", "onnxscript", "onnxsim"),
        *(("tomli",) if sys.version_info < (3, 11) else ()),
    ),
    "faces": ("dlib",),
    "int8": ("nncf",),
    "openvino": ("openvino",),
    "parquet": ("pyarrow",),
    "pictures": ("PIL", "pillow_heif"),
    "ray": ("ray",),
    "report": ("jinja2", "matplotlib"),
    "torch": ("torch",),
    "video": ("av",),
}
_EXTRA_OF = {module: extra for extra, modules in EXTRAS.items() for module in modules}
# Several packages install into one module: which of them is there, and which came last, its own
# version tells and no package's metadata does.
_SHARED = frozenset({"cv2", "onnxruntime"})
# A pattern in what an import raised, and what mends it; {} is the pattern's group.
_REMEDIES = (
    (
        r"lib(?:GL|gthread|SM|Xext|Xrender|xcb)\b[\w.+-]*: ",
        "Run pip uninstall -y opencv-python, then pip install opencv-python-headless",
    ),
    # known of libgomp on aarch64: what is loaded first still finds room
    (
        r"(\S+?): cannot allocate memory in static TLS block",
        'Run export LD_PRELOAD="{}" in this shell, and the command again',
    ),
    (
        r"google\.protobuf\.pyext|protobuf.* cpp ",
        "Run unset PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION: this protobuf has none of that name",
    ),
    (
        r"_ARRAY_API not found|compiled using NumPy 1\.|numpy\.core\.multiarray failed to import",
        f"It was built for another NumPy: pip install {BELOW_2}, or a newer release of it",
    ),
    (
        r"version `((?:GLIBC|GLIBCXX|CXXABI)_[\d.]+)' not found",
        "It needs {} of a newer system: install an older release of it, or use a container",
    ),
)


@contextmanager
def importing(where: str) -> Iterator[None]:
    """Turn any failure of the imports in the block into one error with the package's name.

    Args:
        where: option, command or engine that needs them.

    Raises:
        BackendUnavailable: one is missing, or raised whatever it raises where a library, another
            package or a setting of the environment is not what it needs.
    """
    try:
        yield
    except StarmarkError:
        raise
    except Exception as error:
        failure = import_failure(error, where)
        if failure is None:
            raise
        raise failure from error


def import_failure(error: BaseException, where: str = "") -> BackendUnavailable | None:
    """Explain an error that came out of an import; None where it came from anywhere else.

    Told by the traceback: the last place in this project's code is an import statement. What is
    raised there tells nothing: broken packages raise OSError, AttributeError, TypeError, ...
    """
    if isinstance(error, (MemoryError, StarmarkError)):
        return None
    module = _imported_last(error.__traceback__)
    if not module and isinstance(error, ImportError):
        module = error.name or ""  # in another's code, or in a worker, whose traceback is lost
    top = module.partition(".")[0]
    if not top:
        return None
    if top in OWN:
        return _wrong_own(top)
    absent = isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == top
    return BackendUnavailable(
        where or f"package {top}",
        expected=f"the package {top}, installed and working" if where else "it to be importable",
        got="none" if absent else one_line(error, 250, kind=True),
        action=install_command(top) if absent else _remedy(top, str(error)),
    )


def install_command(module: str) -> str:
    """The sentence that says how a module is installed."""
    extra = _EXTRA_OF.get(module)
    if extra is None:
        return f"Install it with pip install {PIP.get(module, module)}"
    return f"Install it with {install_extra(extra)}{_WHERE}"


def install_extra(extra: str) -> str:
    """The command that installs an extra of this code, in its checkout or beside its wheel."""
    return f'pip install "starmark[{extra}]"' if IS_PACKAGED else f"pip install -e '.[{extra}]'"


def check_extra(extra: str, where: str, modules: Sequence[str]) -> None:
    """Look for all packages of an extra at once, without importing any.

    Raises:
        BackendUnavailable: with those that are missing, and the command that installs them all.
    """
    absent = [name for name in modules if importlib.util.find_spec(name) is None]
    if absent:
        raise BackendUnavailable(
            where,
            expected=f"the packages of the extra {extra}",
            got=f"no {', '.join(absent)}",
            action=f"Install them with {install_extra(extra)}{_WHERE}",
        )


def _written_version(package: metadata.Distribution) -> str:
    """As `package.version`, which parses the whole description: a tenth of a second for ten."""
    written = re.search(r"^Version: (.+)$", package.read_text("METADATA") or "", re.MULTILINE)
    return written[1].strip() if written is not None else package.version


def module_version(module: str, package: str = "") -> str:
    """A module's own version, whichever package it came from; "missing" where none can be imported.

    It is read where it is written, if it can be: importing torch or onnxruntime takes long.

    Args:
        module: its name.
        package: the package that usually gives it, where that has another name.
    """
    if module not in _SHARED:
        with suppress(metadata.PackageNotFoundError):  # conda and Debian name theirs otherwise
            return _written_version(metadata.distribution(package or module))
    else:
        spec = importlib.util.find_spec(module)
        origin = Path(spec.origin) if spec and spec.origin else Path()
        code = origin.read_text("utf-8") if origin.suffix == ".py" else ""
        written = re.search(r"^__version__ = ['\"]([^'\"]+)['\"]$", code, re.MULTILINE)
        if written is not None:
            return written[1]
    try:
        with importing(module):
            return str(importlib.import_module(module).__version__)
    except BackendUnavailable:
        return MISSING


def _imported_last(traceback: TracebackType | None) -> str:
    """The module whose import failed, where our code stood at an import last; else empty."""
    found = ""
    while traceback is not None:
        code, inner = traceback.tb_frame.f_code, traceback.tb_next
        if Path(code.co_filename).is_relative_to(ROOT) and _top(code.co_filename) in OWN:
            at = traceback.tb_lasti
            names = (i for i in dis.get_instructions(code) if i.offset == at)
            found = next((str(i.argval) for i in names if i.opname == "IMPORT_NAME"), "")
            if inner is not None and inner.tb_frame.f_code is importlib.import_module.__code__:
                found = str(inner.tb_frame.f_locals["name"])
        traceback = inner
    return found


def _top(file: str) -> str:
    return Path(file).relative_to(ROOT).parts[0]


def _wrong_own(top: str) -> BackendUnavailable | None:
    """Name the module that stands in the place of one of ours; None where it is ours."""
    file = getattr(sys.modules.get(top), "__file__", None)
    if file is None or Path(file).is_relative_to(ROOT / top):
        return None
    return BackendUnavailable(
        str(file),
        expected=f"Starmark's package {top} to be imported by that name",
        got="this one, which comes before it on Python's path",
        action="Rename it, or run the command in another folder",
    )


def _remedy(top: str, text: str) -> str:
    for pattern, remedy in _REMEDIES:
        found = re.search(pattern, text)
        if found is not None:
            return remedy.format(*found.groups())
    return f"Install it anew with pip install --force-reinstall {PIP.get(top, top)}"
