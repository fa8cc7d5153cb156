"""Faults on order: a code for any call at the n-th time, a hang, a lost device."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Fault:
    """One order; `code` None is a hang."""

    call: str
    code: int | None
    nth: int
    times: int


@dataclass
class Faults:
    """What was ordered, and how often each call has been made since.

    Attributes:
        losses: calls left on a device until it is lost.
    """

    orders: list[Fault] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    losses: dict[int, int] = field(default_factory=dict)

    def order(self, call: str, code: int | None, nth: int, times: int) -> None:
        """The n-th call counts from this order, not from the start of the process."""
        self.orders.append(Fault(call, code, self.counted[call] + nth, times))

    def due(self, call: str) -> Fault | None:
        """Count a call, and say what must happen to it."""
        self.counted[call] += 1
        count = self.counted[call]
        for fault in self.orders:
            if fault.call == call and fault.nth <= count < fault.nth + fault.times:
                return fault
        return None

    def is_lost_now(self, device: int) -> bool:
        """Count a call on a device; true at the call that loses it."""
        if device not in self.losses:
            return False
        self.losses[device] -= 1
        if self.losses[device] >= 0:
            return False
        del self.losses[device]
        return True


def parse(text: str) -> Faults:
    """Read `CANNSIM_FAULT`: `acl:mdl.execute_async=507011@2x3,acl:init=hang,acl:lost=0@40`.

    `@n` is the n-th call (1 if absent), `xk` is k times (1 if absent); `lost[=device]@n` loses the
    device after n calls on it.

    Raises:
        ValueError: an item for acl that is none of these; an ordered fault must never be missed.
    """
    faults = Faults()
    for item in filter(None, (part.strip() for part in text.split(","))):
        if not item.startswith("acl:"):
            continue
        form = re.fullmatch(r"acl:([\w.]+)(?:=(hang|\d+))?(?:@(\d+))?(?:x(\d+))?", item)
        if form is None or (form[1] != "lost" and form[2] is None):
            raise ValueError(f"acl simulator: CANNSIM_FAULT: cannot read {item!r}")
        call, what, nth, times = form.groups()
        if call == "lost":
            faults.losses[int(what or 0)] = int(nth or 0)
        else:
            code = None if what == "hang" else int(what)
            faults.order(call, code, int(nth or 1), int(times or 1))
    return faults
