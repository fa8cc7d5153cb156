"""The Python that CANN's operator compiler runs in: its modules, and the NumPy for each release.

atc runs that compiler in the python3 that is first on PATH, torch_npu in its own process.

Sources: Huawei's lists of dependencies in the installation guides of CANN 6.2.RC2, 8.0.RC2, 8.0.0,
8.2.RC1, 8.5.0.alpha001, 8.5.0, 9.0.0-beta.1, 9.0.0 and 9.1.0 [V]. They name NumPy up to 1.24 before
8.5; public users run 1.26 with 8.0 to 8.2. NumPy 2 fails there: EC0010 (`np.float_`) out of atc
8.0.0, error 500001 out of torch_npu on 8.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from runtime.npu_pair import release_of

# Without one of these, operators fail to compile in the middle of a conversion.
MODULES = ("numpy", "decorator", "attr", "psutil", "scipy", "sympy", "cffi")
# What pip calls them, where that differs.
PIP = {"attr": "attrs"}
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
        more: further packages.
    """
    others = [PIP.get(one, one) for one in MODULES if one != "numpy"]
    return " ".join(["pip install", pinned(python, release), *others, *more])


def _order(release: str) -> tuple[int, int, int]:
    """A release as numbers that sort: previews and candidates come before what they lead to."""
    early = re.search(r"(?i)(alpha|beta|rc|t)[.\d]", release)
    major, minor, patch = release_of(release[: early.start()] if early else release)
    # 8.0.RC2 is before 8.0.0
    return major, minor, patch - 1 if early else patch
