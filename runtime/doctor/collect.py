"""python -m runtime.doctor --collect: what a first real box should send back, in one archive.

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
from runtime.doctor import cann, collected_machine, collected_models
from runtime.doctor.box import CONTENTS, FOLDER, Box, Member, as_json, write_box
from runtime.doctor.findings import Examination
from runtime.doctor.names import identity
from runtime.doctor.redaction import MARKS, Redactor
from runtime.errors import ConfigError
from runtime.files import check_target, leads_in_a_circle, shown, written_whole
from runtime.version import VERSION

logger = logging.getLogger("starmark")

SUFFIXES = (".tar.gz", ".tgz")
OPTION = "--collect"


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What the archive will hold.

    Attributes:
        members: its files.
        contents: of its collected.json.
        created_s: when, in seconds since 1970.
    """

    members: list[Member]
    contents: dict[str, Any]
    created_s: int

    def text(self) -> str:
        """The contents as lines."""
        lines = [f"{FOLDER}/ will hold these files; no pictures and no weights:"]
        lines += [f"{len(one.data):>11,}  {one.name}" for one in self.members]
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
    box = Box()
    box.parts |= {"doctor.json": found.record(), "doctor.txt": found.text() + "\n"}
    steps = _steps(box, sources, selftest=selftest)
    for what, step in command_line.progress(steps, "collecting", len(steps)):
        with box.attempt(what):
            step()
    redactor = Redactor(identity())
    members = box.members(redactor)
    contents = redactor.value(_contents(box, members, created_s, exit_code))
    members.insert(0, Member(name=CONTENTS, data=as_json(contents)))
    return Collected(members=members, contents=contents, created_s=created_s)


def write(archive: Path, collected: Collected) -> None:
    """Write the archive, whole or not at all.

    Raises:
        ConfigError: as `check_archive`: somebody else was faster.
        OSError: it cannot be written.
    """
    check_archive(archive)
    with written_whole(archive) as temporary:
        write_box(temporary, collected.members, collected.created_s)
    logger.info("wrote %s: %s bytes", shown(archive), f"{archive.stat().st_size:,}")


def _steps(
    box: Box, sources: Sequence[Path], *, selftest: bool
) -> list[tuple[str, Callable[[], None]]]:
    machine = collected_machine
    steps: list[tuple[str, Callable[[], None]]] = [
        ("npu-smi", partial(machine.npu_smi_answers, box)),
        ("versions", partial(machine.version_files, box, cann.find())),
        ("python.json", partial(machine.python, box)),
        ("environment.json", partial(machine.settings, box)),
        ("plog", partial(machine.newest_logs, box)),
    ]
    for index, path in enumerate(sources, start=1):
        steps.append(
            (str(path), partial(collected_models.source, box, index, path, selftest=selftest))
        )
    return steps


def _contents(
    box: Box, members: Sequence[Member], created_s: int, exit_code: int
) -> dict[str, Any]:
    """What collected.json holds."""
    data = b"".join(one.data for one in members)
    return {
        "starmark": VERSION,
        "collected_utc": datetime.fromtimestamp(created_s, timezone.utc).isoformat(),
        "doctor_exit_code": exit_code,
        "files": [{"name": one.name, "bytes": len(one.data)} for one in members],
        "not_collected": [{"what": what, "reason": reason} for what, reason in box.failed],
        "replaced": {mark: data.count(mark.encode()) for mark in MARKS},
    }
