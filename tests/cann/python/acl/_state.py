"""The one simulated process: its handles, its violations, its log of calls."""

from __future__ import annotations

import itertools
import os
import threading
from collections import Counter, deque
from dataclasses import dataclass
from datetime import datetime, timezone

from ._faults import Faults, parse
from ._objects import (
    Allocation,
    Context,
    DataBuffer,
    Dataset,
    Description,
    Device,
    HostBlock,
    Model,
    Stream,
)
from ._settings import Settings

# of error codes: the first letters that the error block of a component carries
E_CODES = {
    100000: "EH0001",
    107000: "EE1001",
    107001: "EE1001",
    107002: "EE1001",
    107003: "EE1001",
    145000: "E13025",
    145006: "E10001",
    207001: "EL0004",
    507008: "E10001",
}


# Not canonical on x86-64 and beyond user space on AArch64: reading it on the host is a fault.
DEVICE_BASE = 0x0012_0000_0000_0000


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
    """What belongs to a thread: its context and its error texts.

    `era` tells a context of before a reset from one of now.
    """

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
        self.config = ""
        self.embedded = False  # in a process of tests, which look for themselves
        self.begin(Settings.from_environment())

    def begin(self, settings: Settings, *, new_process: bool = True) -> None:
        """Fresh tables. acl stays initialised in the process that initialised it, once."""
        self.settings = settings
        self.era += 1
        if new_process or self.finalised:
            self.initialised = self.finalised = False
        self.torch_npu = False
        self.faults: Faults = parse(settings.faults)
        self.hangs_end = threading.Event()
        self.handles = itertools.count(0x0A00_0000_0040, 0x40)
        self.model_ids = itertools.count(1)
        self.devices = {i: Device(i) for i in range(settings.usable)}
        self.contexts: dict[int, Context] = {}
        self.streams: dict[int, Stream] = {}
        self.allocations: list[Allocation] = []  # by rising address, freed ones too
        self.next_address = DEVICE_BASE
        self.host_blocks: dict[int, HostBlock] = {}
        self.buffers: dict[int, DataBuffer] = {}
        self.datasets: dict[int, Dataset] = {}
        self.descriptions: dict[int, Description] = {}
        self.models: dict[int, Model] = {}
        self.excused: set[int] = set()
        self.violations: list[str] = []
        self.calls: deque[Call] = deque(maxlen=200_000)
        self.peaks: Counter[str] = Counter()

    def violate(self, text: str) -> None:
        """Note a breach of the contract that the real thing might let pass, or crash at."""
        with self.lock:
            self.violations.append(f"acl simulator: {text}")

    def tell(self, code: int, text: str) -> None:
        """Leave an error text for this thread's get_recent_err_msg."""
        mark = E_CODES.get(code, "EE9999" if code >= 200000 else "E19999")
        now = datetime.now(timezone.utc).strftime("%Y-%m-%d-%H:%M:%S.%f")
        self.thread.errors.append(
            f"{mark}: [PID: {os.getpid()}] {now} (simulated): {text} [error code {code}]"
        )

    def peak(self, what: str, value: int) -> None:
        """Keep the largest."""
        self.peaks[what] = max(self.peaks[what], value)

    @property
    def context(self) -> int:
        """Handle of the calling thread's context, 0 where it has none that still lives."""
        if self.thread.era != self.era or self.thread.context not in self.contexts:
            return 0
        return self.thread.context

    @context.setter
    def context(self, handle: int) -> None:
        self.thread.era, self.thread.context = self.era, handle

    def live(self) -> dict[str, dict[int, str]]:
        """What lives, by kind: handle and what it is. Default contexts belong to devices."""
        return {
            "device references": {
                -1 - d.id: f"device {d.id} set {d.references} times more than reset"
                for d in self.devices.values()
                if d.references and not self.torch_npu
            },
            "contexts": {
                c.handle: f"context {c.handle:#x}"
                for c in self.contexts.values()
                if not c.is_default
            },
            "streams": {h: f"stream {h:#x}" for h in self.streams},
            "device memory": {
                a.address: f"{a.size} bytes of device memory at {a.address:#x}"
                for a in self.allocations
                if a.data is not None
            },
            "host memory": {
                b.address: f"{b.size} bytes of pinned host memory at {b.address:#x}"
                for b in self.host_blocks.values()
                if not b.freed
            },
            "models": {i: f"model {i}" for i in self.models},
            "descriptions": {h: f"model description {h:#x}" for h in self.descriptions},
            "datasets": {h: f"dataset {h:#x}" for h in self.datasets},
            "data buffers": {h: f"data buffer {h:#x}" for h in self.buffers},
        }

    def leaks(self) -> dict[str, list[str]]:
        """What lives though nothing that was ordered to fail held it back."""
        kinds = {
            kind: [text for handle, text in sorted(things.items()) if handle not in self.excused]
            for kind, things in self.live().items()
        }
        return {kind: texts for kind, texts in kinds.items() if texts}


state = State()
