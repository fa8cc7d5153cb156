"""The Python packages that the NPU path needs, and the pip commands that install them.

- CANN's operator compiler runs in the python3 that is first on PATH (atc) or in the process
  (torch_npu). Sources: Huawei's lists of dependencies in the installation guides of CANN 6.2.RC2,
  8.0.RC2, 8.0.0, 8.2.RC1, 8.5.0.alpha001, 8.5.0, 9.0.0-beta.1, 9.0.0 and 9.1.0 [V]. They name NumPy
  up to 1.24 before 8.5; public users run 1.26 with 8.0 to 8.2. NumPy 2 fails there: EC0010
  (`np.float_`) out of atc 8.0.0, error 500001 out of torch_npu on 8.2. Most name protobuf 3.20, the
  newest any: a pin would break the ONNX tools of the same environment.
- torch and torch_npu come in pairs. On x86_64 torch_npu up to 2.11 requires `torch==X+cpu`, a build
  that the usual index does not hold; later ones, and all on aarch64, require `torch==X`, of which
  the usual index may hold a CUDA build. So torch comes from PyTorch's CPU index first, as
  torch_npu's README installs it. Sources: the metadata of the wheels torch_npu 2.1.0.post8, 2.6.0,
  2.9.0.post2, 2.11.0 to 2.13.0 for both processors, and of torch 2.6.0, 2.10.0 and 2.12.0;
  Ascend/pytorch, README.md and COMPATIBILITY.en.md [V].
- onnxruntime-cann is the build of onnxruntime with the CANN provider. Its wheels for x86_64, 1.22.1
  and 1.24.4 [V], are built for NumPy 1 and do not declare it; 1.24.4 for Python 3.13, too, where it
  imports beside no NumPy that exists (tried with 2.5).
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Literal, NamedTuple

# All modules that Huawei's lists name, in the order of the newest [V: instg_0045 of 9.1.0].
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

CPU_INDEX = "https://download.pytorch.org/whl/cpu"

ORT_CANN = "onnxruntime-cann"
CANN_PROVIDER = "CANNExecutionProvider"
# The provider's library, in the folder of the module onnxruntime.
PROVIDER_LIBRARY = "capi/libonnxruntime_providers_cann.so"
# What onnxruntime itself gives to the library before it loads it: all else was found by then.
_HOST_SYMBOL = "Provider_GetHost"


@dataclass(frozen=True, kw_only=True)
class Listed:
    """What Huawei lists for a span of releases; `since` is the first, as `_order` puts it."""

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
    """The command that installs all modules of the compiler, and more, named as by `pip_name`."""
    others = dict.fromkeys([*(PIP[one] for one in MODULES), *more])
    others.pop("numpy")
    return " ".join(["pip install", pinned(python, release), *others])


def pip_name(module: str) -> str | None:
    """What pip calls the package that holds a module or submodule; None where it is not known."""
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


def release_of(version: str) -> tuple[int, int, int]:
    """A release's numbers: 2.1, 2.1.0.post8, 2.1.0rc1 and 2.1.0+cpu are all (2, 1, 0)."""
    found = re.match(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?", version)
    major, minor, patch = found.groups("0") if found else ("0", "0", "0")
    return int(major), int(minor), int(patch)


def install_pair(torch_npu: str) -> str:
    """The commands that install a torch_npu, less its "+...", with its torch, on this processor."""
    public = torch_npu.partition("+")[0]
    torch = ".".join(map(str, release_of(public)))
    # named without +cpu, a CUDA build of the same release that is there already would satisfy pip
    build = "+cpu" if platform.machine() == "x86_64" else ""
    return (
        f"pip install 'torch=={torch}{build}' --index-url {CPU_INDEX}"
        f" && pip install 'torch_npu=={public}'"
    )


def missing_in(loader_error: str) -> str:
    """What the CANN provider's library lacks, as the loader reports it.

    Empty where it is onnxruntime's own part alone: what gives it was not loaded for the trial.
    """
    return "" if _HOST_SYMBOL in loader_error else loader_error


class BesideNumpy2(NamedTuple):
    """onnxruntime-cann in an environment with NumPy 2: both versions, and what mends it."""

    version: str
    numpy: str
    mend: str


def beside_numpy_2() -> BesideNumpy2 | None:
    """Look for onnxruntime-cann beside NumPy 2; None where either is absent."""
    try:
        version, numpy = metadata.version(ORT_CANN), metadata.version("numpy")
    except metadata.PackageNotFoundError:
        return None
    if int(numpy.partition(".")[0]) < 2:
        return None
    mend = f"pip install {BELOW_2}"
    if sys.version_info >= FIRST_WITHOUT_NUMPY_1:
        mend = "make an environment of Python 3.11 or 3.12: for this one there is no NumPy 1"
    return BesideNumpy2(version=version, numpy=numpy, mend=mend)
