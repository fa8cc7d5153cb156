"""Pickles as values: nothing in them runs, and no byte of them costs more than a byte."""

from __future__ import annotations

import io
import pickle
import time
import tracemalloc
from collections import Counter, OrderedDict, defaultdict
from typing import Any

import numpy as np
import pytest

from runtime.files.reading import DamageError
from runtime.model.checkpoint import pickled
from runtime.model.checkpoint.pickled import Made, Named, read_pickle

NESTED = b"\x80\x02)q\x00" + b"".join(
    b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(60)
)
BOMBS = {
    # 2^60 leaves, were it walked: under a key, and as a key
    "as a value": NESTED + b"}X\x01\x00\x00\x00ah\x3cs.",
    "as a key": NESTED + b"}h\x3cK\x01s.",
    "as a set's element": b"\x80\x04" + NESTED[2:] + b"\x8f(h\x3c\x90.",
    "in itself": b"\x80\x02]q\x00h\x00a.",
    "copied over and over": b"\x80\x02}q\x00"
    + b"ccollections\nOrderedDict\nh\x00\x85R0" * 20_000
    + b".",
}
REFUSED = {
    "claims 8 GB": b"\x80\x05\x96" + (8 * 10**9).to_bytes(8, "little") + b"x.",
    "claims 2 GB of text": b"\x80\x02X" + (2**31).to_bytes(4, "little") + b"x.",
    "a frame of 2^60": b"\x80\x04\x95" + (2**60).to_bytes(8, "little") + b"X",
    "no end": b"\x80\x02]" * 3,
    "an empty stack": b"\x80\x02.",
    "an absent memo": b"\x80\x02h\x07.",
    "text of protocol 0": b"I" + b"9" * 50_000 + b"\n.",
    "an extension": b"\x80\x02\x82\x01.",
    "a persistent id that is none": b"\x80\x02K\x01Q.",
    "a name without end": b"\x80\x04\x8c\x01aX\x10\x27\x00\x00" + b"a" * 10_000 + b"\x93.",
}


def read(content: bytes) -> Any:
    return read_pickle(io.BytesIO(content), {})


class Counted:
    """Something whose making would be seen."""

    made = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return count, (self.made,)


def count(_: int) -> Counted:
    Counted.made += 1
    return Counted()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values_are_as_pickle_gives_them(protocol: int) -> None:
    """Python's own reader is the other implementation."""
    value = {
        "a": [1, -(2**70), 2.5, None, True, "ü"],
        "b": OrderedDict([("x", (1, 2, 3, 4)), (7, {})]),
        "c": defaultdict(list, {"k": [()]}),
        "d": Counter("aab"),
        **({"e": [b"\x00\xff", bytearray(3)]} if protocol == 5 else {}),
    }
    content = pickle.dumps(value, protocol)

    assert read(content) == pickle.loads(content)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_objects_are_named_and_never_made(protocol: int) -> None:
    """By calling, by a class of its own, by numpy: only the name is left."""
    value = [Counted(), np.float64(2), Exception("x"), print]
    counted, number, error, function = read(pickle.dumps(value, protocol))

    assert Counted.made == 0
    assert isinstance(counted, Made)
    assert counted.name.endswith(".count")
    assert number.name.endswith("multiarray.scalar")
    assert error.name.endswith("Exception")
    assert isinstance(function, Named)


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS)
def test_what_grows_when_it_is_walked_is_not_walked(content: bytes) -> None:
    """Read at once, in little memory."""
    tracemalloc.start()
    start = time.perf_counter()
    read(content)
    assert time.perf_counter() - start < 5
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
def test_lies_and_damage_are_refused_without_their_memory(content: bytes) -> None:
    """Whatever it claims, no more is allocated than it holds."""
    tracemalloc.start()
    with pytest.raises(DamageError, match="pickle|name|reference"):
        read(content)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_a_pickle_without_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of ours has so many steps."""
    monkeypatch.setattr(pickled, "MOST_STEPS", 100)
    with pytest.raises(DamageError, match="more than 100 steps"):
        read(b"\x80\x02" + b"]" * 200 + b".")
