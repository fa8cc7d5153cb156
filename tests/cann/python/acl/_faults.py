"""Injected faults: a code for any call at the n-th time, a hang, a lost device."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Fault:
    """One order; `code` None is a hang."""

    call: str
    code: int | None
    nth: int


@dataclass
class Faults:
    """The orders, and how often each call has been made since.

    Attributes:
        losses: calls left on a device until it is lost.
    """

    orders: list[Fault] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    losses: dict[int, int] = field(default_factory=dict)

    def order(self, call: str, code: int | None, nth: int) -> None:
        """The n-th call counts from this order, not from the start of the process."""
        self.orders.append(Fault(call, code, self.counted[call] + nth))

    def due(self, call: str) -> Fault | None:
        """Count a call, and return the fault ordered for it."""
        self.counted[call] += 1
        count = self.counted[call]
        for fault in self.orders:
            if (fault.call, fault.nth) == (call, count):
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
