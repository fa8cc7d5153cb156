"""Arrays in a zip file: streamed into it, and read without believing any of them."""

from __future__ import annotations

import shutil
import tokenize
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from runtime.errors import InputError, one_line
from runtime.files.archive import open_zip
from runtime.files.reading import DamageError

LONGEST_NPY_HEADER = 1000
# numpy reads an array's own header with Python's tokenizer, which has an error of its own
HEADER_ERRORS = (ValueError, SyntaxError, TypeError, RecursionError, tokenize.TokenError)

Read = Callable[[tuple[int, ...]], NDArray[Any]]


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip file; whatever its damage raises becomes one error."""
    try:
        with open_zip(path) as archive:
            yield archive
    except (OSError, DamageError) as error:
        raise refused(path, one_line(error, 200)) from error


@contextmanager
def open_member(path: Path, archive: zipfile.ZipFile, name: str) -> Iterator[IO[bytes]]:
    """Open the file of one array."""
    if f"{name}.npy" not in archive.namelist():
        raise refused(path, f"no {name} in it")
    with archive.open(f"{name}.npy") as file:
        yield file


@contextmanager
def open_array(
    path: Path, archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], dtype: Any
) -> Iterator[Read]:
    """Open an array of exactly this shape and dtype, to be read part by part.

    Nothing is allocated by what the array claims of itself.

    Yields:
        Reads the next part, of the shape that it is given.

    Raises:
        InputError: another shape or dtype, or another number of bytes.
    """
    dtype = np.dtype(dtype)
    with open_member(path, archive, name) as file:
        try:
            version = npy.read_magic(file)
            if version != (1, 0):
                raise ValueError(f"array format {version}")
            found = npy.read_array_header_1_0(file, max_header_size=LONGEST_NPY_HEADER)
        except HEADER_ERRORS as error:
            raise refused(path, f"{name}: {one_line(error, 200)}") from error
        if found != (shape, False, dtype):
            raise refused(path, f"{name} of {found[2]} {found[0]} where {dtype} {shape} belongs")

        def read(part: tuple[int, ...]) -> NDArray[Any]:
            count = prod(part) * dtype.itemsize
            content = file.read(count)
            if len(content) != count:
                raise refused(path, f"{name} cut off after {len(content)} of {count} bytes")
            return np.frombuffer(content, dtype).reshape(part)

        yield read
        if file.read(1):
            raise refused(path, f"{name} longer than its shape")


def write_streamed(
    archive: zipfile.ZipFile, name: str, dtype: str, shape: tuple[int, ...], content: IO[bytes]
) -> None:
    """Write an array that is never in memory: `content` holds exactly its bytes."""
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
