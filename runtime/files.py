"""Files that are whole or absent, and their hashes."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.errors import ConfigError

CHUNK_BYTES = 1 << 20


def sha256_file(path: Path) -> str:
    """Hash a file without holding it in memory; lower-case hexadecimal.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def check_folder_of(path: Path, option: str) -> None:
    """Find out that a file cannot be written before the work for it is done, not after.

    Raises:
        ConfigError: its folder is not there, or the path is a folder itself.
    """
    got = "a folder" if path.is_dir() else f"no folder {path.parent}"
    if path.is_dir() or not path.parent.is_dir():
        raise ConfigError(
            f"{option} {path}",
            expected="a file's name in a folder that exists",
            got=got,
            action="Make the folder first, or name a file in another one",
        )


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and rename it into place when the block succeeds.

    The temporary name keeps the suffix, because encoders go by it. After an error or Ctrl-C the
    temporary file is gone and whatever stood at `path` is untouched.

    Raises:
        OSError: the folder cannot be written to.
    """
    # not tempfile: its 0600 would stay with the file, and a bundle is read by other users, too
    temporary = path.with_name(f".{path.stem[:100]}.{secrets.token_hex(4)}.part{path.suffix}")
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text_whole(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
