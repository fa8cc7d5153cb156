"""One run at a time in a folder of results: a lock that ends with its process."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runtime.errors import ConfigError, one_line
from runtime.files import shown
from runtime.interrupts import Held

LOCK_NAME = ".starmark.lock"

logger = logging.getLogger("starmark")


@contextmanager
def folder_locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder that exists.

    Where the file system has no locks, a warning says so, and the run goes on.

    Raises:
        ConfigError: another run holds it.
        OSError: the folder cannot be written to.
    """
    path = folder / LOCK_NAME
    with Held() as held:
        file = _locked(path)
        try:
            held.release()
            os.truncate(file, 0)
            os.write(file, f"process {os.getpid()} on {socket.gethostname()}".encode())
            yield
        finally:
            held.hold()
            # while it is held: whoever opened it meanwhile finds another file there, or none
            path.unlink(missing_ok=True)
            os.close(file)


def _locked(path: Path) -> int:
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = one_line(os.read(file, 200).decode(errors="replace"))
            os.close(file)
            raise ConfigError(
                f"--output {shown(path.parent)}",
                expected="a folder that no other run writes to",
                got=f"a run that has not ended: {holder or 'its process is not known'}",
                action="Wait for its end or stop it, or write to another folder",
            ) from error
        except OSError as error:
            message = (
                "warning: %s: this file system cannot lock files (%s). Let no other run write there"
            )
            logger.warning(message, shown(path.parent), error.strerror)
            return file
        # the one who held it before may have removed it in between
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), path.lstat()):
                return file
        os.close(file)
