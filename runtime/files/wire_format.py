"""Protobuf's wire format, read from a file piece by piece and never past an end.

Two kinds of file here are protobuf: an ONNX graph, and the model definition inside an .om. Both
may be hundreds of megabytes, almost all of it weights or graph that nobody asked about: those
are stepped over, not read. There is no recursion: a caller descends by naming a range.

Source: the Protocol Buffers encoding guide.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
WINDOW_BYTES = 1 << 16
LONGEST_VARINT = 10
LARGEST_FIELD_NUMBER = (1 << 29) - 1
# The graph of the starter model has 6,000 fields; what has this many is there to cost time.
MOST_FIELDS = 500_000


class WireError(Exception):
    """The bytes are not what they claim; the text says how, ready for `got` of an error."""


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: the field's number in its message.
        wire: VARINT, FIXED64, BYTES or FIXED32.
        value: a varint as unsigned 64 bit, a fixed one's bits; 0 for BYTES.
        start: where its content begins in the file.
        size: bytes of its content.
    """

    number: int
    wire: int
    value: int
    start: int
    size: int

    @property
    def end(self) -> int:
        """Where its content ends."""
        return self.start + self.size

    @property
    def signed(self) -> int:
        """A varint as protobuf's int64."""
        return as_signed(self.value)

    def expect(self, wire: int) -> Field:
        """Give the field if it is of that wire type.

        Raises:
            WireError: it is of another.
        """
        if self.wire != wire:
            raise WireError(
                f"wire type {self.wire} for {wire} in protobuf field {self.number},"
                f" before byte {self.start}"
            )
        return self


def as_signed(value: int) -> int:
    """An unsigned 64-bit value as protobuf's int64."""
    return value - (1 << 64) if value >> 63 else value


class FileBytes:
    """A file's bytes by position, with every read inside `[0, size)`.

    Not a memory map: a file that shrinks under one ends the process, here it is a `WireError`.
    """

    def __init__(self, file: BinaryIO, size: int, *, most_fields: int = MOST_FIELDS) -> None:
        self.size = size
        self._file = file
        self._window = b""
        self._window_start = 0
        self._fields_left = most_fields
        self._most_fields = most_fields

    def read(self, start: int, size: int) -> bytes:
        """Give exactly these bytes.

        Raises:
            WireError: they lie outside the file, or the file has become shorter.
        """
        if start < 0 or size < 0 or start + size > self.size:
            raise WireError(f"a reference to bytes {start} to {start + size} of {self.size}")
        within = start - self._window_start
        if within < 0 or within + size > len(self._window):
            self._window = self._fetch(start, min(max(size, WINDOW_BYTES), self.size - start))
            self._window_start, within = start, 0
        return self._window[within : within + size]

    def _fetch(self, start: int, size: int) -> bytes:
        if size == 0:
            return b""
        self._file.seek(start)
        found = self._file.read(size)
        if len(found) != size:
            raise WireError(f"{self.size - size + len(found)} bytes: it shrank while being read")
        return found

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """Walk the fields of the message in `[start, end)`, in order, without their contents.

        Raises:
            WireError: not a protobuf message, or more than `most_fields` in the whole file.
        """
        at = start
        while at < end:
            self._count_field()
            key, at = self._varint(at, end)
            number, wire = key >> 3, key & 7
            if not 1 <= number <= LARGEST_FIELD_NUMBER:
                raise WireError(f"protobuf field number {number} before byte {at}")
            if wire == VARINT:
                begin = at
                value, at = self._varint(at, end)
                yield Field(number, wire, value, begin, at - begin)
                continue
            if wire == BYTES:
                size, at = self._varint(at, end)
            elif wire in (FIXED32, FIXED64):
                size = 4 if wire == FIXED32 else 8
            else:
                raise WireError(f"protobuf wire type {wire} before byte {at}")
            if size > end - at:
                raise WireError(
                    f"a protobuf field of {size} bytes at byte {at}, where {end - at} are left"
                )
            value = 0 if wire == BYTES else int.from_bytes(self.read(at, size), "little")
            yield Field(number, wire, value, at, size)
            at += size

    def _count_field(self) -> None:
        if self._fields_left == 0:
            raise WireError(f"more than {self._most_fields:,} protobuf fields")
        self._fields_left -= 1

    def varints(self, start: int, end: int) -> Iterator[int]:
        """Packed varints, as protobuf's int64; each counts as a field.

        Raises:
            WireError: one is cut off, or of more than 64 bits, or there are too many.
        """
        at = start
        while at < end:
            self._count_field()
            value, at = self._varint(at, end)
            yield as_signed(value)

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        """Give an unsigned varint and the position after it."""
        piece = self.read(at, min(LONGEST_VARINT, end - at))
        value = 0
        for index, byte in enumerate(piece):
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                if value >> 64:
                    break
                return value, at + index + 1
        whole = len(piece) == LONGEST_VARINT
        raise WireError(
            f"a protobuf number of more than 64 bits at byte {at}"
            if whole
            else f"a protobuf number cut off at byte {at}"
        )

    def text(self, field: Field) -> str:
        """A field's content as text; bytes that are no UTF-8 stay visible as escapes.

        Raises:
            WireError: the field holds a number.
        """
        field.expect(BYTES)
        return self.read(field.start, field.size).decode("utf-8", "backslashreplace")
