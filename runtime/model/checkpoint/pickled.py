"""A pickle as plain values: each opcode is interpreted here; nothing is imported, called or built.

Every step is one turn of a Python loop and costs no more than the bytes it reads: an interrupt
comes through at any moment, and only texts and numbers are copied, hashed, compared or printed.

Source: Python's Lib/pickletools.py (the opcodes) and torch/serialization.py (persistent ids).
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

from runtime.files.reading import DamageError

# A full-size network with its optimiser's state and an average of its weights takes 150,000.
MOST_STEPS = 600_000
LONGEST_NAME = 500

_VALUES = (
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_SET": list, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_GATHERING = ("TUPLE", "LIST", "FROZENSET", "DICT", "OBJ")
_EXTENDING = ("SETITEMS", "APPENDS", "ADDITEMS", "SETITEM", "APPEND")
_OTHERS = (
    *("PROTO", "FRAME", "MARK", "POP", "POP_MARK", "DUP", "BINGET", "LONG_BINGET", "BINPUT"),
    *("LONG_BINPUT", "MEMOIZE", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "NEWOBJ"),
    *("NEWOBJ_EX", "BINPERSID"),
)
_KNOWN = {*_VALUES, *_CONSTANTS, *_EMPTY, *_TUPLES, *_GATHERING, *_EXTENDING, *_OTHERS}
# Not those of text pickles: their readers cost more than the bytes they read.
_OPCODES = {
    one.code.encode("latin-1"): (one.name, one.arg)
    for one in pickletools.opcodes
    if one.name in _KNOWN
}
_MAPPINGS = ("collections.OrderedDict", "collections.defaultdict", "collections.Counter")


class Named(NamedTuple):
    """A class or function by its name."""

    name: str


class Stored(NamedTuple):
    """A storage that lies elsewhere in the file: `kind` as torch names it, `length` elements."""

    kind: str
    key: str
    length: int


@dataclass(kw_only=True, eq=False, repr=False)
class Made:
    """What the pickle would make by calling `name`; nothing was called."""

    name: str
    arguments: Any
    items: dict[Any, Any] = field(default_factory=dict)


def read_pickle(file: BinaryIO, storages: dict[str, Stored]) -> Any:
    """Interpret one pickle, up to its end.

    Args:
        file: at the pickle's first byte; it is left behind its last.
        storages: every storage that the pickle names is added by its key.

    Returns:
        Dictionaries (with the items under a text or whole number), lists, tuples, texts and
        numbers, and `Named`, `Made` and `Stored`; sets are lists.

    Raises:
        DamageError: no pickle, cut off, of more than `MOST_STEPS`, or with what torch never writes.
    """
    machine = _Machine(storages)
    try:
        for _ in range(MOST_STEPS):
            code = file.read(1)
            if code == b".":
                return machine.stack.pop()
            if not code:
                raise DamageError("a pickle that is cut off")
            if code not in _OPCODES:
                raise DamageError(f"a pickle with {code!r}, which torch.save does not write")
            name, argument = _OPCODES[code]
            machine.step(name, argument.reader(file) if argument is not None else None)
    except DamageError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise DamageError(f"a damaged pickle ({type(error).__name__} at {file.tell()})") from error
    raise DamageError(f"a pickle of more than {MOST_STEPS:,} steps")


class _Machine:
    """The stack, the marks and the memo of one pickle."""

    def __init__(self, storages: dict[str, Stored]) -> None:
        self.stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks under each mark
        self._memo: dict[int, Any] = {}
        self._storages = storages

    def step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _VALUES:
            stack.append(argument)
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name == "MARK":
            self._below.append(stack)
            self.stack = []
        elif name in _TUPLES:
            count = _TUPLES[name]
            if len(stack) < count:
                raise IndexError
            stack[-count:] = [tuple(stack[-count:])]
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in _GATHERING:
            self._gather(name)
        elif name in _EXTENDING:
            self._extend(name)
        else:
            self._make(name, argument)

    def _above_mark(self) -> list[Any]:
        above, self.stack = self.stack, self._below.pop()
        return above

    def _gather(self, name: str) -> None:
        above = self._above_mark()
        if name == "DICT":
            self.stack.append(dict(_pairs(above)))
        elif name == "OBJ":
            self.stack.append(_made(above[0], tuple(above[1:])))
        else:
            self.stack.append(above if name == "LIST" else tuple(above))

    def _extend(self, name: str) -> None:
        """Add to the dictionary or list on top; what stands for an object keeps its items."""
        if name.endswith("S"):
            items = self._above_mark()
        else:
            count = 2 if name == "SETITEM" else 1
            items = self.stack[-count:]
            del self.stack[-count:]
        target = self.stack[-1]
        if name.startswith("SETITEM"):
            target = target.items if isinstance(target, Made) else target
            target.update(_pairs(items))
        elif not isinstance(target, Made):
            target.extend(items)

    def _make(self, name: str, argument: Any) -> None:
        stack = self.stack
        match name:
            case "GLOBAL":
                stack.append(_named(*argument.split(" ")))
            case "STACK_GLOBAL":
                stack[-2:] = [_named(*stack[-2:])]
            case "REDUCE" | "NEWOBJ":
                arguments = stack.pop()
                stack[-1] = _made(stack[-1], arguments)
            case "NEWOBJ_EX":
                arguments = stack.pop(-2)
                stack.pop()
                stack[-1] = _made(stack[-1], arguments)
            case "BUILD" | "POP":
                stack.pop()
            case "DUP":
                stack.append(stack[-1])
            case "POP_MARK":
                self._above_mark()
            case "BINPERSID":
                stack[-1] = self._stored(stack[-1])
            case _:  # PROTO and FRAME change nothing
                pass

    def _stored(self, of: Any) -> Stored:
        marker, kind, key, _, count, *view = of
        whole = isinstance(key, str) and isinstance(count, int) and not any(view)
        if marker != "storage" or not whole or not isinstance(kind, Named):
            raise DamageError("a reference that is no storage")
        stored = Stored(kind.name, key, count)
        if self._storages.setdefault(key, stored) != stored:
            raise DamageError(f"two storages under the key {key[:40]!r}")
        return stored


def _named(module: str, name: str) -> Named:
    if len(module) + len(name) > LONGEST_NAME:
        raise DamageError(f"a name of {len(module) + len(name)} letters")
    return Named(f"{module:s}.{name:s}")


def _made(what: Any, arguments: Any) -> Any:
    name = what.name if isinstance(what, (Named, Made)) else f"a {type(what).__name__}"
    if name in _MAPPINGS:
        # not copied: a pickle can ask for the same copy in two bytes, any number of times
        given = arguments[-1] if arguments else {}
        return given if isinstance(given, dict) else {}
    return Made(name=name, arguments=arguments)


def _pairs(items: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Keys and values one after the other, without those whose key is costly to hash."""
    for key, value in zip(items[::2], items[1::2], strict=True):
        if isinstance(key, str) or (isinstance(key, int) and key.bit_length() < 64):
            yield key, value
