"""Protobuf's wire format: what the guide says, and nothing outside the message."""

from __future__ import annotations

import io

import pytest
from cann.om_writer import delimited, varint
from hypothesis import given
from hypothesis import strategies as st

from runtime.files.wire_format import BYTES, FIXED32, FIXED64, VARINT, FileBytes, WireError


def opened(content: bytes, most_fields: int = 1000) -> FileBytes:
    return FileBytes(io.BytesIO(content), len(content), most_fields=most_fields)


@given(st.integers(-(2**63), 2**63 - 1), st.integers(1, 2**29 - 1))
def test_every_int64_and_field_number_comes_back(value: int, number: int) -> None:
    """Negative ones take ten bytes."""
    content = varint(number << 3) + varint(value)
    (field,) = opened(content).fields(0, len(content))

    assert (field.number, field.wire, field.signed) == (number, VARINT, value)
    assert field.end == len(content)


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_contents_are_found_where_they_are(contents: list[bytes]) -> None:
    """Length-delimited fields, in order, empty ones too."""
    whole = b"".join(delimited(3, content) for content in contents)
    data = opened(whole)
    found = [data.read(field.start, field.size) for field in data.fields(0, len(whole))]

    assert found == contents


def test_fixed_numbers_are_little_endian() -> None:
    """Wire types 5 and 1."""
    content = b"\x0d\x01\x00\x00\x80" + b"\x11" + bytes(7) + b"\x40"
    first, second = opened(content).fields(0, len(content))

    assert (first.wire, first.value) == (FIXED32, 0x80000001)
    assert (second.wire, second.value) == (FIXED64, 1 << 62)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x08", "a protobuf number cut off at byte 1"),
        (b"\x08\x80", "a protobuf number cut off at byte 1"),
        (b"\x08" + b"\xff" * 9 + b"\x02", "a protobuf number of more than 64 bits at byte 1"),
        (b"\x08" + b"\x80" * 10 + b"\x00", "a protobuf number of more than 64 bits at byte 1"),
        (b"\x0a\x05abcd", "a protobuf field of 5 bytes at byte 2, where 4 are left"),
        (b"\x0a" + varint(2**64 - 1), "where 0 are left"),
        (b"\x0d\x00\x00\x00", "a protobuf field of 4 bytes at byte 1, where 3 are left"),
        (b"\x09" + bytes(7), "a protobuf field of 8 bytes at byte 1, where 7 are left"),
        (b"\x0b\x0c", "protobuf wire type 3"),
        (b"\x0c", "protobuf wire type 4"),
        (b"\x0e\x00", "protobuf wire type 6"),
        (b"\x0f\x00", "protobuf wire type 7"),
        (b"\x00\x00", "protobuf field number 0"),
        (varint(2**29 << 3) + b"\x00", "protobuf field number 536870912"),
    ],
)
def test_what_is_no_message_is_refused(content: bytes, says: str) -> None:
    """Cut off, too long, beyond the end, groups, unknown wire types, impossible fields."""
    data = opened(content)
    with pytest.raises(WireError) as caught:
        list(data.fields(0, len(content)))

    assert says in str(caught.value)


def test_message_ends_where_its_parent_says() -> None:
    """A field inside may not reach into what follows its message, though the file goes on."""
    inner = b"\x0a\x05ab"
    content = delimited(1, inner) + b"cde" * 10
    data = opened(content)
    outer = next(data.fields(0, len(content)))
    with pytest.raises(WireError, match="of 5 bytes at byte 4, where 2 are left"):
        list(data.fields(outer.start, outer.end))


@pytest.mark.parametrize(("start", "size"), [(-1, 2), (0, 5), (5, 0), (3, 2), (0, -1)])
def test_reads_stay_inside_the_file(start: int, size: int) -> None:
    """Before the beginning, after the end, backwards."""
    with pytest.raises(WireError, match="a reference to bytes"):
        opened(b"abcd").read(start, size)


def test_file_that_shrinks_is_an_error_and_no_crash() -> None:
    """Its size was taken before somebody cut it."""
    data = FileBytes(io.BytesIO(b"abc"), 10)
    with pytest.raises(WireError, match="3 bytes: it shrank"):
        data.read(0, 10)


def test_number_of_fields_is_bounded_over_the_whole_file() -> None:
    """A million empty fields cost a second; a hundred million must not cost a hundred."""
    content = b"\x08\x00" * 6
    data = opened(content, most_fields=10)

    assert len(list(data.fields(0, len(content)))) == 6
    with pytest.raises(WireError, match="more than 10 protobuf fields"):
        list(data.fields(0, len(content)))


def test_text_must_be_text() -> None:
    """A number where a name should stand is damage; bytes that are no UTF-8 are shown as such."""
    data = opened(b"\x08\x00\x0a\x02\xffa")
    number, text = data.fields(0, 6)

    assert data.text(text) == "\\xffa"
    assert text.wire == BYTES
    with pytest.raises(WireError, match="wire type 0 for 2 in protobuf field 1"):
        data.text(number)
