"""Text and JSON from outside: read whole within a limit, with one error for whatever is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from runtime.errors import one_line
from runtime.files.kind import no_file

# Of what people write by hand, and of state files: beyond any of ours.
MOST_TEXT_BYTES = 64 << 20

Record = TypeVar("Record")


class DamageError(ValueError):
    """What is wrong with a file's content, ready for `got` of an error."""


def read_bytes(path: Path, most: int = MOST_TEXT_BYTES) -> bytes:
    """Read a regular file of at most so many bytes.

    Raises:
        DamageError: it is larger, or no regular file.
        OSError: it cannot be read.
    """
    absent = no_file(path)
    if absent and path.exists():
        raise DamageError(absent)
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise DamageError(f"more than {most >> 20} MiB")
    return content


def read_text(path: Path, most: int = MOST_TEXT_BYTES) -> str:
    """Read a text file: UTF-8, with or without a byte order mark.

    Raises:
        DamageError: as `read_bytes`; another encoding, or a NUL in it.
        OSError: it cannot be read.
    """
    try:
        text = read_bytes(path, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DamageError(f"no UTF-8 from byte {error.start} on") from error
    if "\0" in text:
        raise DamageError(f"a NUL after {text.index(chr(0))} letters")
    return text


def decode_json(content: bytes | memoryview | msgspec.Raw, kind: type[Record]) -> Record:
    """Decode JSON of one kind of record.

    Raises:
        DamageError: no JSON, no UTF-8, nested too deep, or of another kind.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DamageError(one_line(error, 200)) from error
