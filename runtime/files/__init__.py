"""Files that are whole or absent, and their hashes."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from runtime.errors import ConfigError
from runtime.interrupts import Held

CHUNK_BYTES = 1 << 20
# Names of `written_whole`'s temporary files.
PART = re.compile(r"\.[0-9a-f]{8}\.part(\..*)?")
NOT_ASCII = re.compile(r"[^\x00-\x7e]")
NOT_PLAIN = re.compile(r"[^\x20-\x7e]")
# A list of numbers and nothing else, in indented JSON: text in it would stand in quotes.
NUMBERS = re.compile(r"\[\n([-+.,\w\s]*)\]")
# How a file is written, whole or not at all: `written_whole`, or with a note of it.
Writing = Callable[[Path], AbstractContextManager[Path]]
ANY_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


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


def sha256_json(record: object) -> str:
    """Hash anything that msgspec writes as JSON, whatever the order of its keys."""
    import msgspec  # here: the doctor writes files where nothing is installed

    return hashlib.sha256(msgspec.json.encode(record, order="sorted")).hexdigest()


def printable(text: str) -> str:
    """Escape control characters: a file's own words must not move the terminal's cursor."""
    return NOT_PLAIN.sub(lambda found: _printable_character(found[0]), text)


def _printable_character(one: str) -> str:
    return one if one.isprintable() else one.encode("unicode_escape").decode()


def shown(path: object) -> str:
    """A path as text that any encoding can print: file names need not be valid UTF-8."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def check_target(path: Path, option: str, inputs: Iterable[Path] = ()) -> None:
    """Find out that a file cannot be written before the work for it is done, not after.

    Args:
        path: of the file to be written.
        option: the command line's name for it.
        inputs: files that are read, and must not be overwritten.

    Raises:
        ConfigError: no such folder, a folder, pipe, device or read-only file in its place, an
            input, or a name that is too long.
    """
    got = ""
    if _is_too_long(path):
        got = "a name longer than the file system takes"
    elif leads_in_a_circle(path):
        got = "a link that leads to itself"
    elif path.is_dir():
        got = "a folder"
    elif path.exists() and not path.is_file():
        got = "a pipe or device"
    elif not path.resolve().parent.is_dir():
        got = f"no folder {path.resolve().parent}"
    elif path.exists() and not path.stat().st_mode & ANY_WRITE:
        # renaming over it would not ask: the mode protects no file in a folder that can be written
        got = "a read-only file"
    elif any(path.resolve() == given.resolve() for given in inputs):
        got = "a file that is read, too"
    if got:
        raise ConfigError(
            f"{option} {shown(path)}",
            expected="a new file's name in a folder that exists",
            got=got,
            action="Name another file, or make the folder first",
        )


def _is_too_long(path: Path) -> bool:
    try:
        path.lstat()
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG
    return False


def leads_in_a_circle(path: Path) -> bool:
    """Whether a link leads back to itself, of which pathlib makes an error of its own."""
    try:
        path.resolve()
    except (OSError, RuntimeError):
        return True
    return False


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and rename it into place when the block succeeds.

    The temporary name keeps the suffix, because encoders go by it. After an error or Ctrl-C the
    temporary file is gone and whatever stood at `path` is untouched; what a killed process leaves
    is taken by the next that writes this file. A link is written through.

    Raises:
        OSError: the folder cannot be written to, or a pipe or device stands there.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        raise FileExistsError(errno.EEXIST, "not a regular file", shown(path))
    try:
        with _part(target) as temporary:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(target)
    except OSError as error:
        # about the file that was asked for, not about its temporary name
        raise OSError(error.errno, error.strerror or str(error), shown(path)) from error


@contextmanager
def _part(target: Path) -> Iterator[Path]:
    """Hold an empty file beside the target; whoever does not rename it must raise."""
    own = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:8]
    for tag in (own, secrets.token_hex(4)):
        temporary = target.with_name(f".{tag}.part{target.suffix}")
        # not tempfile: its 0600 would stay with the file, and a bundle is read by other users, too
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        # an interrupt between the making of the file and the `try` would leave it
        with Held() as held:
            try:
                file = os.open(temporary, flags if tag == own else flags | os.O_EXCL, 0o666)
            except OSError:
                if tag == own:  # somebody's link, or file
                    continue
                raise
            try:
                if tag == own and not _is_free(file, temporary):
                    continue
                os.truncate(file, 0)
                held.release()
                yield temporary
            except BaseException:
                held.hold()
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
                raise
            finally:
                os.close(file)
        return


def _is_free(file: int, path: Path) -> bool:
    """Lock an open file; False where another writer has it, or has moved it away meanwhile.

    Also where whose it is cannot be told: on a file system without locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found, there = os.fstat(file), path.lstat()
    except OSError:
        return False
    own = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink == 1
    return own and os.path.samestat(found, there)


def remove_parts(folder: Path, *, deep: bool = True) -> None:
    """Remove what a `written_whole` that was killed has left in a folder, or also below it."""
    for path in (folder.rglob if deep else folder.glob)(".*.part*"):
        if PART.fullmatch(path.name):
            with suppress(OSError):
                path.unlink()


def remove_folder(folder: Path) -> None:
    """Remove a folder with everything in it, also what its owner may not change.

    Raises:
        OSError: it cannot be removed; names what is in the way.
    """
    for place, _, _ in os.walk(folder):
        Path(place).chmod(stat.S_IRWXU)
    if folder.is_dir():
        shutil.rmtree(folder)


def json_text(record: Any) -> str:
    """A record as indented JSON with a final line break, in the order of its fields.

    A list of numbers is one line, so that a point is.
    """
    import msgspec  # here: the doctor writes files where nothing is installed

    text = msgspec.json.format(msgspec.json.encode(record), indent=2).decode() + "\n"
    text = NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text)
    return text if text.isascii() else NOT_ASCII.sub(_as_json, text)


def _as_json(found: re.Match[str]) -> str:
    """A letter as it is, and what a terminal would obey escaped, as JSON does with the first 32."""
    letter = found[0]
    return letter if letter.isprintable() else json.dumps(letter)[1:-1]


def write_text_whole(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
