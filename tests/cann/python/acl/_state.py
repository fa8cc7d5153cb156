"""The one simulated process: its handles, its violations, its log of calls, its end."""

from __future__ import annotations

import atexit
import itertools
import json
import os
import sys
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

from ._faults import Faults
from ._objects import (
    Allocation,
    Artifact,
    Context,
    DataBuffer,
    Device,
    Model,
    Stream,
)
from ._settings import Settings

T = TypeVar("T")


class Refused(Exception):  # noqa: N818 - an answer of the simulator, not an error of its own
    """A call that gets a return code, and the text that get_recent_err_msg gives."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Call:
    """One entry of the log."""

    name: str
    thread: int
    code: int
    arguments: tuple[object, ...]


class Thread(threading.local):
    """A thread's own: its context, the era (reset) of that context, its error texts."""

    era = 0
    context = 0

    def __init__(self) -> None:
        self.errors: deque[str] = deque(maxlen=64)


class State:
    """Everything that a reset puts back; the lock guards all of it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.thread = Thread()
        self.era = 0
        self.initialised = False
        self.finalised = False
        self.embedded = False  # in the process of the tests, which look for themselves
        self.begin(Settings.from_environment())

    def begin(self, settings: Settings, *, new_process: bool = True) -> None:
        """Fresh tables. acl stays initialised in the process that initialised it, once."""
        self.settings = settings
        self.era += 1
        if new_process or self.finalised:
            self.initialised = self.finalised = False
        self.torch_npu = False
        self.faults = Faults()
        self.hangs_end = threading.Event()
        self.handles = itertools.count(0x0A00_0000_0040, 0x40)
        self.devices = {i: Device(i) for i in range(settings.usable)}
        self.contexts: dict[int, Context] = {}
        self.streams: dict[int, Stream] = {}
        self.device_memory: dict[int, Allocation] = {}  # by address, freed ones too
        self.host_memory: dict[int, Allocation] = {}
        self.buffers: dict[int, DataBuffer] = {}
        self.datasets: dict[int, list[int]] = {}  # handles of data buffers, in order
        self.descriptions: dict[int, Artifact | None] = {}  # empty until get_desc
        self.models: dict[int, Model] = {}
        self.excused: set[int] = set()  # their release was ordered to fail
        self.violations: list[str] = []
        self.calls: deque[Call] = deque(maxlen=200_000)

    def add(self, table: dict[int, T], thing: T) -> int:
        """Give a thing a handle."""
        handle = next(self.handles)
        table[handle] = thing
        return handle

    def find(self, table: Mapping[int, T], handle: int, kind: str, code: int = 100000) -> T:
        """What a handle stands for."""
        if handle not in table:
            self.violate(f"{kind} {handle:#x} does not exist, or no longer")
            raise Refused(code, f"no {kind} {handle:#x}")
        return table[handle]

    def violate(self, text: str) -> None:
        """Note a breach of the contract that the real thing might let pass, or crash at."""
        with self.lock:
            self.violations.append(f"acl simulator: {text}")

    def violate_if_left(self, what: str, kind: str, things: Iterable[Any]) -> None:
        """Note what a call leaves behind, but for what was ordered to fail."""
        loud = [thing for thing in things if thing.handle not in self.excused]
        if loud:
            self.violate(f"{what} with {len(loud)} {kind} left")

    def tell(self, code: int, text: str) -> None:
        """Leave an error text for this thread's get_recent_err_msg."""
        mark = "EE9999" if code >= 200000 else "E19999"
        now = datetime.now(timezone.utc).strftime("%Y-%m-%d-%H:%M:%S.%f")
        self.thread.errors.append(
            f"{mark}: [PID: {os.getpid()}] {now} (simulated): {text} [error code {code}]"
        )

    @property
    def context(self) -> int:
        """Handle of the calling thread's context, 0 where it has none that still lives."""
        if self.thread.era != self.era or self.thread.context not in self.contexts:
            return 0
        return self.thread.context

    @context.setter
    def context(self, handle: int) -> None:
        self.thread.era, self.thread.context = self.era, handle

    def leaks(self) -> dict[str, list[str]]:
        """What lives by kind, but for handles whose release was ordered to fail."""
        references = {
            -1 - d.id: d for d in self.devices.values() if d.references and not self.torch_npu
        }
        live: dict[str, Iterable[int]] = {
            # default contexts belong to devices
            "device references": references,
            "contexts": [c.handle for c in self.contexts.values() if not c.is_default],
            "streams": self.streams,
            "device memory": [a for a, one in self.device_memory.items() if not one.freed],
            "host memory": [a for a, one in self.host_memory.items() if not one.freed],
            "models": self.models,
            "descriptions": self.descriptions,
            "datasets": self.datasets,
            "data buffers": self.buffers,
        }
        kinds = {
            kind: [f"{handle:#x}" for handle in handles if handle not in self.excused]
            for kind, handles in live.items()
        }
        return {kind: texts for kind, texts in kinds.items() if texts}


state = State()


def watch_exit() -> None:
    """Report when this process ends, and not from its forks."""
    owner = os.getpid()
    atexit.register(lambda: None if os.getpid() != owner else _report())


def _report() -> None:
    """Write the report that `CANNSIM_REPORT` asks for, and to stderr what is wrong."""
    if state.embedded:
        return
    leaks = {} if state.finalised else state.leaks()  # finalize has told of them
    if state.initialised and not state.finalised and not state.torch_npu:
        leaks["process"] = ["acl.init without acl.finalize"]
    if state.settings.report:
        path = Path(state.settings.report) / f"{os.getpid()}.json"
        path.write_text(json.dumps({"violations": state.violations, "leaks": leaks}))
    for text in (*state.violations, *(f"left at exit: {kind}: {leaks[kind]}" for kind in leaks)):
        sys.stderr.write(f"{text}\n")
