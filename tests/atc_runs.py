"""Conversions to plan, and runs of ATC that have ended, for the tests of `export.atc`."""

from __future__ import annotations

from typing import Any

from export.atc.errors import explain
from export.atc.options import AtcTable
from export.atc.to_om import Conversion, conversions
from runtime.machine.process import Finished
from runtime.machine.soc import soc_of
from runtime.model.spec import InputSpec

STARTS = "ATC start working now, please wait for a moment.\n"
FAILED = "ATC run failed, Please check the detail log, Try 'atc --help' for more information\n"


def planned(soc: str = "Ascend910B3", **table: Any) -> tuple[Conversion, ...]:
    """The conversions of a table for a chip."""
    return conversions(AtcTable(soc_version=soc, **table), soc_of(soc), InputSpec())


def conversion(soc: str = "Ascend910B3", **table: Any) -> Conversion:
    """The first of them."""
    return planned(soc, **table)[0]


def ended(output: str, status: int = 255, *, timed_out: bool = False) -> Finished:
    return Finished(returncode=status, output=output, seconds=2.0, timed_out=timed_out)


def explained(output: str, status: int = 255) -> tuple[str, str]:
    """The cause of a run's failure and its remedy, each of them one line."""
    found = explain(ended(output, status))
    assert "\n" not in found.cause + found.action
    return found.cause, found.action
