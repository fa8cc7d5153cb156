"""Zip archives from outside, opened without believing what they claim of themselves."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.errors import one_line
from runtime.files.reading import DamageError

# What members may become beyond the archive's own size when they are all unpacked.
MOST_INFLATED_BYTES = 256 << 20
# 100,000 members; Python needs ten times the directory's size for its list of them.
LARGEST_DIRECTORY_BYTES = 8 << 20
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_LONGEST_COMMENT = (1 << 16) - 1
_IN_END64 = (1 << 32) - 1  # in place of a size that stands in the record before
# zipfile's own, of an unknown compression, an encrypted member or zlib; of names in no encoding and
# offsets out of any file
_DAMAGE = (
    *(OSError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError),
    *(RuntimeError, zlib.error, ValueError, struct.error, OverflowError, IndexError),
)


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive whose members have one name each; damage found inside the block, too.

    Raises:
        DamageError: truncated, damaged, or a directory larger than any of ours.
    """
    try:
        size = _directory_bytes(path)
        if size > LARGEST_DIRECTORY_BYTES:
            raise DamageError(f"a zip directory of {size} bytes")
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(set(names)) < len(names):
                raise DamageError("two members of one name")
            yield archive
    except DamageError:
        raise
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise  # the file itself cannot be opened
        raise DamageError(f"a truncated or damaged zip: {one_line(error, 200)}") from error


def check_inflated(archive: zipfile.ZipFile, path: Path, names: list[str]) -> None:
    """Refuse members that claim to become far more than the archive holds.

    Raises:
        DamageError: they do.
    """
    claimed, held = sum(archive.getinfo(name).file_size for name in names), path.stat().st_size
    if claimed - held > MOST_INFLATED_BYTES:
        raise DamageError(f"{claimed} bytes, unpacked, in a file of {held}")


def _directory_bytes(path: Path) -> int:
    """The size of the list of members, which zipfile reads whole before it knows anything of it.

    The largest that any end record claims: zipfile's choice between several is its own.

    Source: PKWARE's APPNOTE.TXT, 4.3.14 to 4.3.16.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        before = _END64.size + _LOCATOR.size
        file.seek(max(0, size - _END.size - _LONGEST_COMMENT - before))
        tail = file.read()
    found, at = 0, tail.find(b"PK\5\6")
    while 0 <= at <= len(tail) - _END.size:
        found = max(found, _END.unpack_from(tail, at)[5] % _IN_END64)
        if at >= before and tail.startswith(b"PK\6\6", at - before):
            found = max(found, _END64.unpack_from(tail, at - before)[8])
        at = tail.find(b"PK\5\6", at + 1)
    return found
