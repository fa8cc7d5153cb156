"""The one door to files of others: whatever lies in their place, nothing waits for it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_plain(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    A pipe would be waited for without end, and a device may do anything when it is opened.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise _other_kind(path)
    # another file may have taken its place: even a pipe opens at once so
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise _other_kind(path)
    return file


def _other_kind(path: Path) -> OSError:
    return OSError(errno.EINVAL, "not a plain file", str(path))
