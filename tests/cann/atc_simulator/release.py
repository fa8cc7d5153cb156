"""What differs between CANN's releases, as far as a caller of atc can see it.

CANNSIM_CANN chooses one; the default is 8.5.0. test_atc_referee has the looks of errors and their
sources.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

DEFAULT = "8.5.0"


@dataclass(frozen=True, kw_only=True)
class Release:
    """One CANN release as its atc shows itself."""

    name: str
    number: tuple[int, int]

    @property
    def plain_errors(self) -> bool:
        """The oldest look: code and message, nothing else."""
        return self.number < (8, 0)

    @property
    def parses_with_gflags(self) -> bool:
        """Whether gflags reads the command line, as until 2022; which release changed it is open.

        Whole names alone, an unknown one first of all, and no status 0 for --help: graphengine
        r1.11, 910/ge/offline/main.cc:341; gflags.cc, ParseCommandLineFlagsInternal.
        """
        return self.number < (7, 0)

    @property
    def bracketed_codes(self) -> bool:
        """The code stands in brackets after the title."""
        return self.number >= (8, 5)

    @property
    def flush_traceback(self) -> bool:
        """The newest look: "TraceBack" begins its line, and an inner error is an internal one."""
        return self.number >= (9, 1)

    @property
    def checks_types_first(self) -> bool:
        """An operator without a plugin is found before the graph is parsed."""
        return self.number >= (9, 0)

    @property
    def opsets(self) -> range:
        """The opsets whose operators have a parser."""
        return range(9, 14) if self.number < (7, 0) else range(11, 19)


def release() -> Release:
    """The release that CANNSIM_CANN names."""
    name = os.environ.get("CANNSIM_CANN") or DEFAULT
    major, minor = name.split(".")[:2]
    return Release(name=name, number=(int(major), int(minor)))
