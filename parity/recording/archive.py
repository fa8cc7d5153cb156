"""Arrays in a zip file: streamed into it, and read without believing any of them."""

from __future__ import annotations

import shutil
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from runtime.errors import InputError, one_line

LONGEST_NPY_HEADER = 1000
# numpy reads an array's own header with Python's tokenizer, which has an error of its own
HEADER_ERRORS = (ValueError, SyntaxError, TypeError, RecursionError, tokenize.TokenError)


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip file; whatever zipfile raises on damage becomes one error."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (OSError, zipfile.BadZipFile, zipfile.LargeZipFile, EOFError) as error:
        raise refused(path, one_line(error, 200)) from error
    # zlib's own error, an unknown compression, or an encrypted member
    except (NotImplementedError, RuntimeError, zlib.error) as error:
        raise refused(path, one_line(error, 200)) from error


@contextmanager
def open_member(path: Path, archive: zipfile.ZipFile, name: str) -> Iterator[IO[bytes]]:
    """Open one array of it."""
    if f"{name}.npy" not in archive.namelist():
        raise refused(path, f"no {name} in it")
    with archive.open(f"{name}.npy") as file:
        yield file


def check_array(
    path: Path, name: str, file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> None:
    """Read an array's own header, and refuse it unless it is exactly what it must be."""
    try:
        version = npy.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"array format {version}")
        found = npy.read_array_header_1_0(file, max_header_size=LONGEST_NPY_HEADER)
    except HEADER_ERRORS as error:
        raise refused(path, f"{name}: {one_line(error, 200)}") from error
    if found != (shape, False, dtype):
        raise refused(path, f"{name} of {found[2]} {found[0]} where {dtype} {shape} belongs")


def read_exactly(path: Path, name: str, file: IO[bytes], count: int) -> bytes:
    """Read so many bytes, or refuse the file."""
    content = file.read(count)
    if len(content) != count:
        raise refused(path, f"{name} cut off after {len(content)} of {count} bytes")
    return content


def write_streamed(
    archive: zipfile.ZipFile, name: str, dtype: str, shape: tuple[int, ...], content: IO[bytes]
) -> None:
    """Write an array that never is in memory.

    Args:
        archive: open for writing.
        name: of the array.
        dtype: as numpy's files spell it.
        shape: of the array.
        content: an open file with exactly its bytes.
    """
    content.seek(0)
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        facts = {"descr": dtype, "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(file, facts)
        shutil.copyfileobj(content, file)


def refused(path: Path, got: str) -> InputError:
    """The one error of a recording that cannot be read."""
    return InputError(
        str(path),
        expected="a recording, whole and of this version",
        got=got,
        action="Make it again with python -m parity.record, and compare sizes after copying",
    )
