"""python -m runtime.doctor --collect: what a fault report needs from a machine, in one archive.

It holds no pictures and no weights. Names of host, user and pictures, the home folder, addresses,
serial numbers and passwords are replaced: see `runtime.doctor.redaction`. Nothing is sent anywhere.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from runtime.cli import command_line
from runtime.doctor import cann, collected_machine, collected_sources
from runtime.doctor.box import FOLDER, Box, as_json, write_box
from runtime.doctor.findings import Examination
from runtime.doctor.names import identity
from runtime.doctor.redaction import MARKS, Redactor
from runtime.errors import ConfigError
from runtime.files import check_target, leads_in_a_circle, shown, written_whole
from runtime.version import VERSION

logger = logging.getLogger("starmark")

SUFFIXES = (".tar.gz", ".tgz")
OPTION = "--collect"
CONTENTS = "collected.json"


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What the archive will hold; `contents` are those of its collected.json."""

    files: dict[str, bytes]
    contents: dict[str, Any]
    created_s: int

    def text(self) -> str:
        """The contents as lines."""
        lines = [f"{FOLDER}/ will hold these files; no pictures and no weights:"]
        lines += [f"{len(data):>11,}  {name}" for name, data in self.files.items()]
        lines += [
            f"not collected: {one['what']}: {one['reason']}"
            for one in self.contents["not_collected"]
        ]
        marks = [f"{count} x {mark}" for mark, count in self.contents["replaced"].items() if count]
        return "\n".join([*lines, f"replaced in them: {', '.join(marks) or 'no name was found'}"])


def check_archive(archive: Path) -> None:
    """Refuse a name before the work for it is done.

    Raises:
        ConfigError: another suffix, no such folder, or something stands there already.
    """
    where = f"{OPTION} {shown(archive)}"
    if not archive.name.endswith(SUFFIXES):
        raise ConfigError(
            where,
            expected=f"a name that ends with {' or '.join(SUFFIXES)}",
            got=repr(archive.name),
            action=f"For example: {OPTION} box.tar.gz",
        )
    check_target(archive, OPTION)
    if archive.exists() or archive.is_symlink() or leads_in_a_circle(archive):
        raise ConfigError(
            where,
            expected="the name of a new file",
            got="one that exists",
            action=f"Name another, or remove it first: rm {shown(archive)}",
        )


def gather(
    found: Examination, sources: Sequence[Path], *, exit_code: int, selftest: bool
) -> Collected:
    """Gather everything, and replace the names in it.

    Args:
        found: the doctor's examination.
        sources: bundles, .om files, recordings and logs.
        exit_code: the doctor's.
        selftest: whether each bundle runs its self-test.
    """
    created_s = int(time.time())
    box = Box(parts={"doctor.json": found.record(), "doctor.txt": found.text() + "\n"})
    steps: list[tuple[str, Callable[[], None]]] = [
        ("npu-smi", partial(collected_machine.npu_smi_answers, box)),
        ("versions", partial(collected_machine.version_files, box, cann.find())),
        ("python.json", partial(collected_machine.python, box)),
        ("environment.json", partial(collected_machine.settings, box)),
        ("plog", partial(collected_machine.newest_logs, box)),
        *(
            (str(path), partial(collected_sources.source, box, index, path, selftest=selftest))
            for index, path in enumerate(sources, start=1)
        ),
    ]
    for what, step in command_line.progress(steps, "collecting", len(steps)):
        with box.attempt(what):
            step()
    redactor = Redactor(identity())
    files = box.files(redactor)
    data = b"".join(files.values())
    contents: dict[str, Any] = redactor.value(
        {
            "starmark": VERSION,
            "collected_utc": datetime.fromtimestamp(created_s, timezone.utc).isoformat(),
            "doctor_exit_code": exit_code,
            "files": [{"name": name, "bytes": len(one)} for name, one in files.items()],
            "not_collected": [{"what": what, "reason": reason} for what, reason in box.failed],
            "replaced": {mark: data.count(mark.encode()) for mark in MARKS},
        }
    )
    return Collected(
        files={CONTENTS: as_json(contents), **files}, contents=contents, created_s=created_s
    )


def write(archive: Path, collected: Collected) -> None:
    """Write the archive, whole or not at all.

    Raises:
        ConfigError: as `check_archive`: somebody else was faster.
        OSError: it cannot be written.
    """
    check_archive(archive)
    with written_whole(archive) as temporary:
        write_box(temporary, collected.files, collected.created_s)
    logger.info("wrote %s: %s bytes", shown(archive), f"{archive.stat().st_size:,}")
