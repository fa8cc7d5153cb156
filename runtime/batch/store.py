"""Files wherever pyarrow or fsspec reach: on this machine, or behind an address such as s3://."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from runtime.errors import BackendUnavailable, InputError, one_line

ADDRESS = "://"


def import_pyarrow() -> Any:
    """PyArrow with its file systems and its Parquet.

    Raises:
        BackendUnavailable: it is missing.
    """
    try:
        import pyarrow as pa
        import pyarrow.fs
        import pyarrow.parquet  # both become attributes of pa
    except ImportError as error:
        raise BackendUnavailable(
            "runtime.batch",
            expected="the package pyarrow",
            got=str(error),
            action="Install it with pip install '.[parquet]'",
        ) from error
    return pa


def place_of(given: str) -> tuple[Any, str]:
    """A file system, and the path in it that a path or address means.

    Raises:
        BackendUnavailable: pyarrow is missing.
        InputError: an address that neither pyarrow nor fsspec understands.
    """
    if ADDRESS not in given:
        return import_pyarrow().fs.LocalFileSystem(), str(Path(given).absolute())
    return _at_address(given)


# a client for each picture would ask for its region, and open its connections, anew
@lru_cache(maxsize=64)
def _at_address(given: str) -> tuple[Any, str]:
    scheme = given.split(ADDRESS, 1)[0]
    pa = import_pyarrow()
    try:
        file_system, path = pa.fs.FileSystem.from_uri(given)
    except (pa.ArrowException, ValueError):  # a scheme of fsspec's, which has many more
        return _by_fsspec(pa, scheme, given)
    return file_system, path


def _by_fsspec(pa: Any, scheme: str, given: str) -> tuple[Any, str]:
    try:
        import fsspec

        file_system, path = fsspec.core.url_to_fs(given)
    # each of its file systems raises what its own library raises
    except Exception as error:
        raise InputError(
            given,
            expected=f"an address that pyarrow or fsspec opens ({scheme}{ADDRESS})",
            got=one_line(f"{type(error).__name__}: {error}", 200),
            action="Check it, and install fsspec with the package for that scheme",
        ) from error
    return pa.fs.PyFileSystem(pa.fs.FSSpecHandler(file_system)), path
