"""A bundle's folder, replaced as a whole: the old one or the new one is there, never a mixture."""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from runtime.errors import ArtifactError, ConfigError, ExportError
from runtime.files import ANY_WRITE, remove_folder
from runtime.files.reading import DamageError, decode_json, read_bytes
from runtime.model.manifest import (
    MANIFEST_NAME,
    FileFact,
    Manifest,
    check_files,
    read_manifest,
)

logger = logging.getLogger("starmark")

LONGEST_WAIT_S = 600
RENAME_EXCHANGE = 2
AT_FDCWD = -100
# A file system or kernel that cannot exchange two folders answers with one of these.
CANNOT_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EXDEV)


def check_output(folder: Path, *, make_parent: bool = True) -> None:
    """Refuse to replace anything that is not a bundle of ours; without make_parent, write nothing.

    Raises:
        ConfigError: a file, a folder with other things in it, or one that cannot be written to.
    """
    if folder.exists() and not folder.is_dir():
        raise _refused(folder, "a file", "Choose another --output")
    if folder.is_mount():
        raise _refused(
            folder, "a mount point, which nothing can replace", "Name a folder inside it"
        )
    foreign = _foreign_files(folder) if folder.is_dir() else []
    if foreign:
        named = ", ".join(foreign[:3]) + (", …" if len(foreign) > 3 else "")
        raise _refused(
            folder,
            f"a folder that holds {named}, which exporting would delete",
            "Move them away, or choose another --output",
        )
    if folder.exists() and not (folder.stat().st_mode & ANY_WRITE and os.access(folder, os.W_OK)):
        # the exchange would not ask, and the old bundle could not be removed afterwards
        raise _refused(folder, "a read-only folder", "Make it writable, or choose another --output")
    if Path.cwd().is_relative_to(folder):
        raise _refused(folder, "the current folder or one above it", "Choose another --output")
    if not make_parent and not folder.parent.exists():
        return
    probe = beside(folder, "probe")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()  # permissions do not tell all: a file system may be read-only
        probe.unlink()
    except (OSError, ValueError) as error:
        got = getattr(error, "strerror", None) or str(error)
        raise _refused(folder, got, "Choose another --output") from error


def bundle_in_place(folder: Path) -> Manifest | None:
    """The manifest of a bundle whose every file was checked; None where there is no whole one."""
    if not (folder / MANIFEST_NAME).exists():
        return None
    try:
        manifest = read_manifest(folder)
        check_files(folder, manifest)
    except ArtifactError as error:
        logger.info("made again, because %s", error)
        return None
    return manifest


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Hold the folder's lock and give an empty folder beside it to build in.

    What a killed export left behind is removed first; what is left in the staging folder at the end
    is removed, too.

    Raises:
        ConfigError: the file system has no locks.
        ExportError: another export into the same folder did not end in time.
    """
    with _locked(folder):
        staging = beside(folder, "staging")
        _settle(folder)
        staging.mkdir()
        try:
            yield staging
        finally:
            _settle(folder)


def _settle(folder: Path) -> None:
    """Put back an old bundle that stepped aside for none, and remove what else is left."""
    aside = beside(folder, "previous")
    if aside.exists() and bundle_in_place(folder) is None:
        remove_folder(folder)
        aside.rename(folder)
    for role in ("staging", "previous", "copy"):
        remove_folder(beside(folder, role))


def replace_folder(staging: Path, folder: Path) -> None:
    """Put the staged folder in the other's place, in one step where the system can.

    Linux exchanges the two in one system call. Elsewhere the old folder steps aside first; `staged`
    puts it back where the new one did not come into place, also after a kill.

    Raises:
        ConfigError: the folder came to hold something that is not ours.
        OSError: the file system refused.
    """
    check_output(folder)  # again: somebody may have put a file into it meanwhile
    if not folder.exists():
        staging.rename(folder)
        return
    if _exchange(staging, folder):
        return  # the old bundle now lies in the staging folder, which is about to be removed
    aside = beside(folder, "previous")
    _step_aside(folder, aside)
    staging.rename(folder)
    remove_folder(aside)


def _step_aside(folder: Path, aside: Path) -> None:
    """Move a bundle; copy it where its file system does not, and it cannot be halfway there.

    OverlayFS renames no folder of a lower layer, such as an image's.
    """
    try:
        folder.rename(aside)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy = beside(folder, "copy")
        shutil.copytree(folder, copy)
        copy.rename(aside)
        # the manifest last: what lacks it is nobody's bundle, and would not be replaced
        for path in sorted(folder.iterdir(), key=lambda path: path.name == MANIFEST_NAME):
            path.unlink()
        folder.rmdir()


def beside(folder: Path, role: str) -> Path:
    """A hidden neighbour of the bundle's folder."""
    return folder.parent / f".{folder.name}.{role}"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout  # here: --help and --dry-run need no lock

    lock = FileLock(beside(folder, "lock"))
    try:
        with suppress(Timeout):
            lock.acquire(timeout=0)
        if not lock.is_locked:
            logger.info("waiting for another export into %s to end", folder)
            lock.acquire(timeout=LONGEST_WAIT_S)
    except OSError as error:
        if not isinstance(error, Timeout):
            got = f"{lock.lock_file} cannot be locked: {error.strerror or error}"
            raise _refused(folder, got, "Choose another --output, on a local disk") from error
        raise ExportError(
            str(folder),
            expected="to be the only export into this folder",
            got=f"another one that has run for {LONGEST_WAIT_S} s",
            action="Wait for it or end it, or choose another --output",
        ) from error
    try:
        yield
    finally:
        lock.release()


def _exchange(one: Path, other: Path) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    flags = ctypes.c_uint(RENAME_EXCHANGE)
    if libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), flags) == 0:
        return True
    number = ctypes.get_errno()
    if number in CANNOT_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(other))


def _foreign_files(folder: Path) -> list[str]:
    """What a bundle's own manifest does not list; without one, everything is somebody's."""
    try:
        content = read_bytes(folder / MANIFEST_NAME)
        ours = {MANIFEST_NAME, *decode_json(content, _AnyManifest).files}
    except (OSError, DamageError):
        ours = set()
    inside = sorted(folder.iterdir())
    return [path.name for path in inside if path.name not in ours or not path.is_file()]


class _AnyManifest(msgspec.Struct):
    """What every manifest of ours has had, also an older or an edited one."""

    schema: int
    digest: str
    files: dict[str, FileFact]


def _refused(folder: Path, got: str, action: str) -> ConfigError:
    return ConfigError(
        f"--output {folder}", expected="a bundle's folder or a new one", got=got, action=action
    )
