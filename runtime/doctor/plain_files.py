"""Files of others: whatever lies in their place, and whether or not this user may see it.

Before Python 3.14, `Path.exists` and its like raise PermissionError below a folder that the user
may not enter, such as root's home; os.path's functions return False.
"""

from __future__ import annotations

import errno
import os.path
import stat
from pathlib import Path
from typing import BinaryIO

exists, is_dir, is_file = os.path.exists, os.path.isdir, os.path.isfile


def open_plain(path: Path) -> BinaryIO:
    """Open a regular file for reading: a pipe would be waited for, and a device has no end.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    return path.open("rb")
