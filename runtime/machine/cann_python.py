"""The Python that CANN's operator compiler runs in: its modules, and the NumPy for each release.

atc runs that compiler in the python3 that is first on PATH, torch_npu in its own process.

Sources: Huawei's lists of dependencies in the installation guides of CANN 6.2.RC2, 8.0.RC2, 8.0.0,
8.2.RC1, 8.5.0.alpha001, 8.5.0, 9.0.0-beta.1, 9.0.0 and 9.1.0 [V]. They name NumPy up to 1.24 before
8.5; public users run 1.26 with 8.0 to 8.2. NumPy 2 fails there: EC0010 (`np.float_`) out of atc
8.0.0, error 500001 out of torch_npu on 8.2. Most name protobuf 3.20, the newest any: a pin would
break the ONNX tools of the same environment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from runtime.machine.npu_pair import release_of

# All modules that the lists name, in the order of the newest list [V: instg_0045 of 9.1.0].
MODULES = (
    *("numpy", "decorator", "sympy", "cffi", "attr", "Cython", "yaml", "pathlib2"),
    *("google.protobuf", "scipy", "requests", "psutil", "absl"),
)
# Without one of these operators were seen to fail, in the middle of a conversion.
NEEDED = frozenset({"numpy", "decorator", "attr", "psutil", "scipy", "sympy", "cffi"})
# CANN's own: no package index has them.
CANN_MODULES = frozenset({"te", "tbe", "topi", "impl", "opc_tool", "asc_op_compile_base", "hccl"})
# What pip calls them, and others that CANN, torch_npu and their tools import. A name that is not
# here may be anybody's on a package index.
PIP: Mapping[str, str] = {
    **{name: name for name in MODULES},
    "google.protobuf": "protobuf",
    "attr": "attrs",
    "Cython": "cython",
    "yaml": "pyyaml",
    "absl": "absl-py",
    "attrs": "attrs",
    "_cffi_backend": "cffi",
    "cv2": "opencv-python",
    "PIL": "pillow",
    "typing_extensions": "typing-extensions",
    "setuptools": "setuptools",
    # setuptools 82.0.0 was the first without it [V: its wheels]
    "pkg_resources": "'setuptools<82'",
    **{name: name for name in ("cloudpickle", "ml_dtypes", "onnx", "packaging", "pandas", "tqdm")},
}
BELOW_2 = "'numpy<2'"
# No wheel of NumPy 1 exists for this Python and newer ones; 2.1.0 was the first to have one [V].
FIRST_WITHOUT_NUMPY_1 = (3, 13)
OLDEST_PYTHON = (3, 7)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """What Huawei lists for a span of releases.

    Attributes:
        since: first release of the span, as `_order` puts it.
        newest_python: that the list names.
        numpy_2: whether it allows NumPy 2; in 8.5 the Python decides.
    """

    since: tuple[int, int, int]
    newest_python: tuple[int, ...]
    numpy_2: Literal["fails", "from Python 3.13", "allowed"]


LISTS = (
    Listed(since=(0, 0, 0), newest_python=(3, 10), numpy_2="fails"),
    Listed(since=(8, 0, 0), newest_python=(3, 11, 4), numpy_2="fails"),
    Listed(since=(8, 5, 0), newest_python=(3, 13), numpy_2="from Python 3.13"),
    Listed(since=(9, 0, 0), newest_python=(3, 13), numpy_2="allowed"),
    Listed(since=(9, 1, 0), newest_python=(3, 14), numpy_2="allowed"),
)


def list_for(release: str) -> Listed | None:
    """The list for a release of CANN; None where the release is unknown."""
    if not release[:1].isdecimal():
        return None
    order = _order(release)
    return next((one for one in reversed(LISTS) if order >= one.since), None)


def pinned(python: tuple[int, ...] | None, release: str = "") -> str:
    """NumPy as pip's argument, pinned where this release of CANN needs NumPy 1 and one exists.

    Args:
        python: version of the Python that pip installs into; None where that is unknown.
        release: of CANN; empty where it is unknown, which pins as the oldest does.
    """
    listed = list_for(release)
    if listed is not None and listed.numpy_2 == "allowed":
        return "numpy"
    if python is None:
        # pip leaves it out where the marker is false; scipy then brings the newest NumPy
        return "'numpy<2;python_version<\"3.13\"'"
    return "numpy" if python >= FIRST_WITHOUT_NUMPY_1 else BELOW_2


def install_command(python: tuple[int, ...] | None, release: str = "", *more: str) -> str:
    """The command that installs all modules of the compiler, and more.

    Args:
        python: as in `pinned`.
        release: likewise.
        more: further packages, as `pip_name` gives them.
    """
    others = dict.fromkeys([*(PIP[one] for one in MODULES), *more])
    others.pop("numpy")
    return " ".join(["pip install", pinned(python, release), *others])


def pip_name(module: str) -> str | None:
    """What pip calls the package that holds a module; None where it is not known.

    Args:
        module: as an import names it, submodules included.
    """
    if module == "google":
        module = "google.protobuf"  # of that name the first part is missed first
    parts = module.split(".")
    names = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((PIP[name] for name in names if name in PIP), None)


def _order(release: str) -> tuple[int, int, int]:
    """A release as numbers that sort: previews and candidates come before what they lead to."""
    early = re.search(r"(?i)(alpha|beta|rc|t)[.\d]", release)
    major, minor, patch = release_of(release[: early.start()] if early else release)
    # 8.0.RC2 is before 8.0.0
    return major, minor, patch - 1 if early else patch
