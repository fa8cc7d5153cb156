"""The simulated acl from the side of a test: its faults, its log, its judgement."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cann.python.acl._state import Call, State

HOME = Path(__file__).resolve().parent / "python"
# for child processes: the module, and what it reads an .om by
PATHS = f"{HOME}{os.pathsep}{HOME.parents[1]}"


class Control:
    """The simulated box.

    Attributes:
        acl: the simulated module, for tests that call it themselves.
        reports: folder of the reports that child processes leave.
    """

    def __init__(self, acl: Any, reports: Path) -> None:
        self.acl = acl
        self.reports = reports
        self._state: State = acl._state.state
        self._expected = False
        self._life: tuple[bool, bool] | None = None

    def violations(self) -> list[str]:
        """Breaches of the contract that no return code expresses, in order."""
        return list(self._state.violations)

    def leaks(self) -> dict[str, list[str]]:
        """What lives by kind, but for handles whose release was ordered to fail."""
        return self._state.leaks()

    def calls(self, name: str | None = None) -> list[Call]:
        """The log: name, thread, code and arguments of each call."""
        return [call for call in self._state.calls if name in (None, call.name)]

    def reset(self, *, new_process: bool = False, **settings: Any) -> None:
        """Fresh state.

        Args:
            new_process: forget also that acl was initialised, until this test ends. What is under
                test may remember that it initialised acl, so this belongs to tests that start it
                anew too.
            settings: of the box, by the names of `Settings`.
        """
        kind = type(self._state.settings)
        state = self._state
        if new_process and self._life is None:
            self._life = state.initialised, state.finalised
        state.hangs_end.set()
        state.begin(
            dataclasses.replace(kind.from_environment(), **settings), new_process=new_process
        )

    def inject(self, call: str, code: int, nth: int = 1) -> None:
        """Let the n-th of the calls to come fail: `inject("mdl.execute_async", 507011)`."""
        self._known(call)
        self._state.faults.order(call, code, nth)

    def inject_hang(self, call: str) -> None:
        """Let the next such call hang until `end_hangs` or the next reset."""
        self._known(call)
        self._state.faults.order(call, None, 1)

    def end_hangs(self) -> None:
        """Let the calls that hang return 507000."""
        self._state.hangs_end.set()

    def lose_device(self, device: int = 0, after: int = 0) -> None:
        """Lose a device after so many calls on it: 507033 until it is reset."""
        self._state.faults.losses[device] = after

    def set_latency(self, seconds: float) -> None:
        """The time of each execution besides the arithmetic."""
        self._state.settings = dataclasses.replace(self._state.settings, latency_s=seconds)

    def torch_npu_has_initialised(self) -> None:
        """As after `import torch_npu` in this process: acl and device 0 belong to it."""
        self._state.initialised, self._state.torch_npu = True, True
        context = self._state.context
        self.acl.rt.set_device(0)
        self._state.context = context
        self._state.calls.clear()

    def expect_violations(self) -> None:
        """The test provokes breaches or leaks, and looks at them itself."""
        self._expected = True

    def child_reports(self) -> list[dict[str, Any]]:
        """The reports of child processes that imported acl and have ended."""
        return [json.loads(path.read_text()) for path in sorted(self.reports.glob("*.json"))]

    def judge(self) -> None:
        """Fail the test where something was done wrong or is left, here or in child processes."""
        if self._expected:
            return
        assert self.violations() == []
        assert self.leaks() == {}
        for report in self.child_reports():
            assert (report["violations"], report["leaks"]) == ([], {})

    def end(self) -> None:
        """End calls that hang, and restore the process as it was before the test."""
        self.end_hangs()
        if self._life is not None:
            self._state.initialised, self._state.finalised = self._life

    def _known(self, call: str) -> None:
        room, _, name = call.rpartition(".")
        if not callable(getattr(getattr(self.acl, room) if room else self.acl, name, None)):
            raise LookupError(f"the simulated acl has no call {call!r}")


_loaded: dict[str, Any] = {}


def install(reports: Path) -> Control:
    """Put the simulator where `import acl` finds it. One process has one acl, also across tests."""
    sys.path.insert(0, str(HOME))
    sys.modules.update(_loaded)
    acl = importlib.import_module("acl")
    if acl.__file__ is None or not acl.__file__.startswith(str(HOME)):
        raise ImportError(f"another acl was imported before the simulator: {acl.__file__}")
    acl._state.state.embedded = True
    return Control(acl, reports)


def remove() -> None:
    """Take the simulator away again, and keep its state for the next test of this process."""
    for name in [n for n in sys.modules if n == "acl" or n.startswith("acl.")]:
        _loaded[name] = sys.modules.pop(name)
    sys.path.remove(str(HOME))
