"""onnxruntime-cann, the build of onnxruntime with the CANN provider, and what it cannot load with.

The facts are those of its wheels for x86_64, 1.22.1 and 1.24.4 [V]. They are built for NumPy 1 and
do not declare it; 1.24.4 for Python 3.13, too, where it imports beside no NumPy that exists (tried
with 2.5).
"""

from __future__ import annotations

import sys
from importlib import metadata
from typing import NamedTuple

from runtime.machine.cann_python import BELOW_2, FIRST_WITHOUT_NUMPY_1

PACKAGE = "onnxruntime-cann"
PROVIDER = "CANNExecutionProvider"
# The provider's library, in the folder of the module onnxruntime.
LIBRARY = "capi/libonnxruntime_providers_cann.so"
# What onnxruntime itself gives to the library before it loads it: all else was found by then.
_HOST_SYMBOL = "Provider_GetHost"


def missing_in(loader_error: str) -> str:
    """What the library misses, in the loader's words; empty where onnxruntime's own part alone.

    Args:
        loader_error: what loading it without onnxruntime's own part ended with.
    """
    return "" if _HOST_SYMBOL in loader_error else loader_error


class BesideNumpy2(NamedTuple):
    """This build in an environment with NumPy 2: both versions, and what mends it."""

    version: str
    numpy: str
    mend: str


def beside_numpy_2() -> BesideNumpy2 | None:
    """Look for this build beside NumPy 2; None where either is absent."""
    try:
        version, numpy = metadata.version(PACKAGE), metadata.version("numpy")
    except metadata.PackageNotFoundError:
        return None
    if int(numpy.partition(".")[0]) < 2:
        return None
    mend = f"pip install {BELOW_2}"
    if sys.version_info >= FIRST_WITHOUT_NUMPY_1:
        mend = "make an environment of Python 3.11 or 3.12: for this one there is no NumPy 1"
    return BesideNumpy2(version=version, numpy=numpy, mend=mend)
