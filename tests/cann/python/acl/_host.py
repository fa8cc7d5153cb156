"""Host memory that went through acl.util: who owns it, and whether anybody still holds it."""

from __future__ import annotations

import sys
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._state import state

# Dropped owners are kept this long, so that a late use is seen and never crashes the tests.
KEPT_BYTES, KEPT = 64 << 20, 256


@dataclass
class Owned:
    """Memory and the object that keeps it alive."""

    address: int
    end: int
    owner: Any

    def is_dropped(self) -> bool:
        """Whether only this record still holds the owner: the real memory would be gone."""
        # this record's reference and getrefcount's own argument
        return sys.getrefcount(self.owner) <= 2


_owned: OrderedDict[int, Owned] = OrderedDict()


def remember(address: int, size: int, holder: object) -> None:
    """Note what an address points to; a view is noted by the array that owns its memory."""
    owner = holder
    while isinstance(owner, np.ndarray) and owner.base is not None:
        owner = owner.base
    with state.lock:
        _owned.pop(address, None)
        _owned[address] = Owned(address, address + size, owner)
        del owner, holder
        _forget()


def known(address: int) -> Owned | None:
    """What is known of an address."""
    for found in reversed(_owned.values()):
        if found.address <= address < found.end:
            return found
    return None


def _forget() -> None:
    dropped = [found for found in _owned.values() if found.is_dropped()]
    total = sum(found.end - found.address for found in dropped)
    for index, found in enumerate(dropped):
        if total <= KEPT_BYTES and len(dropped) - index <= KEPT:
            break
        total -= found.end - found.address
        del _owned[found.address]
