"""A file of lines that only grows: each is there whole or not at all, whatever ends the process."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

CHUNK_BYTES = 1 << 16


class GrowingLines:
    """Append to a file of lines, which is made where there is none.

    Args:
        path: of the file; a last line without its end is cut off.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        # a buffer would keep what a full disk did not take, and write it behind the cut
        self._file = path.open("ab", buffering=0)
        with path.open("rb") as file:
            self.bytes = _whole_bytes(file.fileno())
        os.truncate(path, self.bytes)

    def add(self, line: bytes) -> int:
        """Append a line and its end.

        Returns:
            Where it begins.

        Raises:
            OSError: there is no room; the file is as before.
        """
        start = self.bytes
        try:
            left = memoryview(line + b"\n")
            while left:
                left = left[self._file.write(left) :]
        except OSError:  # a full disk may take a part of it
            with suppress(OSError):
                os.ftruncate(self._file.fileno(), start)
            raise
        self.bytes += len(line) + 1
        return start

    def close(self) -> None:
        """A second call does nothing."""
        self._file.close()


def _whole_bytes(file: int) -> int:
    """Up to the end of the last line that has one."""
    end = os.fstat(file).st_size
    while end:
        start = max(0, end - CHUNK_BYTES)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
