"""The chips of this machine by their exact names, as the driver's tool npu-smi tells them.

It speaks three dialects. Most chips stand in its table under Name, without their "Ascend". Atlas A3
and Ascend 950 show no more than a family there ("Ascend910", "Ascend950PR"); the exact name is then
"Chip Name"_"NPU Name" of the board query, which takes a chip on A3 and none on 950.

Source: ATC's documentation of --soc_version; tables as users of npu-smi 23 to 26 have shown them.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from dataclasses import dataclass

from runtime import process
from runtime.errors import BackendUnavailable, ConfigError, one_line
from runtime.soc import soc_of

TOOL = "npu-smi"
# Where drivers put it; /usr/local/sbin is on few users' PATH.
PLACES = ("/usr/local/bin", "/usr/local/sbin")
# It asks every chip in turn: 5 s were seen for eight of them.
TIMEOUT_S = 30.0
NAME_THE_CHIP = "or name the chip yourself, for example --soc_version Ascend910B3"


@dataclass(frozen=True, kw_only=True)
class NpuDevice:
    """One chip.

    Attributes:
        npu_id: number of its card, as npu-smi counts (not the N of npu:N).
        chip_id: number of the chip on that card.
        soc_version: exact name, as ATC takes it.
        health: as the tool says it, "OK" where all is well.
        memory_used_mb: of the device's memory, in MB; None where the tool does not say.
        memory_total_mb: likewise.
    """

    npu_id: int
    chip_id: int
    soc_version: str
    health: str
    memory_used_mb: int | None
    memory_total_mb: int | None


def list_devices(timeout_s: float = TIMEOUT_S) -> tuple[NpuDevice, ...]:
    """Ask npu-smi for the chips of this machine; empty where its table is.

    Args:
        timeout_s: for each question; A3 and 950 need one per chip besides the table.

    Raises:
        BackendUnavailable: no npu-smi, no answer in time, an error, or an answer nobody can read.
    """
    rows = _table(_ask(timeout_s))
    return tuple(
        NpuDevice(
            npu_id=row.npu_id,
            chip_id=row.chip_id,
            soc_version=_exact_name(row, timeout_s),
            health=row.health,
            memory_used_mb=row.memory_mb[0] if row.memory_mb else None,
            memory_total_mb=row.memory_mb[1] if row.memory_mb else None,
        )
        for row in rows
    )


def soc_version_of_this_machine() -> str:
    """Give the exact name of this machine's chip, for `--soc_version auto`.

    Raises:
        BackendUnavailable: as `list_devices`, or there is no chip.
        ConfigError: chips of different names.
    """
    counts = Counter(device.soc_version for device in list_devices())
    if not counts:
        raise BackendUnavailable(
            "--soc_version auto",
            expected="an NPU in npu-smi's table",
            got="an empty table",
            action=f"Run this on the machine with the NPU, {NAME_THE_CHIP}",
        )
    if len(counts) > 1:
        raise ConfigError(
            "--soc_version auto",
            expected="chips of one name in this machine",
            got=", ".join(f"{number} x {name}" for name, number in sorted(counts.items())),
            action="Name the one to convert for with --soc_version",
        )
    return next(iter(counts))


@dataclass(frozen=True, kw_only=True)
class _Row:
    """What the table says about one chip."""

    npu_id: int
    chip_id: int
    name: str
    health: str
    memory_mb: tuple[int, int] | None


def _ask(timeout_s: float, *arguments: str) -> str:
    """Run `npu-smi info ARGUMENTS` and give what it says."""
    asked = " ".join((TOOL, "info", *arguments))
    found = shutil.which(TOOL) or shutil.which(TOOL, path=os.pathsep.join(PLACES))
    if found is None:
        raise BackendUnavailable(
            TOOL,
            expected=f"the driver's tool on PATH or in {' or '.join(PLACES)}",
            got="none",
            action=f"Install the Ascend driver, {NAME_THE_CHIP}",
        )
    done = process.run([found, "info", *arguments], timeout_s=timeout_s)
    if done.timed_out:
        raise BackendUnavailable(
            asked,
            expected=f"an answer within {timeout_s:g} s",
            got="none: the tool hangs, and was ended",
            action=f"Look at dmesg for the driver's messages, restart the machine, {NAME_THE_CHIP}",
        )
    # some versions say so and still exit with 0
    broken = re.search(r"^.*(initialize failed|Error parameter).*$", done.output, re.MULTILINE)
    if done.returncode != 0 or broken:
        said = broken.group() if broken else done.output
        raise BackendUnavailable(
            asked,
            expected="exit status 0",
            got=f"{done.returncode}: {one_line(said, 200) or 'nothing said'}",
            action="Run it as a member of the driver's group (HwHiAiUser) or as root; restart the"
            f" machine after a change of driver or firmware; {NAME_THE_CHIP}",
        )
    return done.output


def _table(text: str) -> tuple[_Row, ...]:
    """Read the plain table: two lines for a chip, under two lines of headings."""
    lines = _cells(text)
    headings = [at for at, cells in enumerate(lines) if re.match(r"NPU\b", cells[0])]
    if not headings or "Health" not in lines[headings[0]]:
        raise _unreadable(f"{TOOL} info", "a table with the headings NPU, Name and Health", text)
    rows = lines[headings[0] + 2 :]
    # the table of processes follows, or, in some versions, only its rows
    for at, cells in enumerate(rows):
        if re.match(r"NPU\b|No running processes", cells[0]):
            rows = rows[:at]
            break
    if len(rows) % 2:
        raise _unreadable(f"{TOOL} info", "two lines for each chip", text)
    try:
        return tuple(_row(*pair) for pair in zip(rows[::2], rows[1::2], strict=True))
    except (ValueError, IndexError) as error:
        raise _unreadable(f"{TOOL} info", "numbers and a name for each chip", text) from error


def _cells(text: str) -> list[list[str]]:
    """The cells of each line that has some; rulers and what others print in between have none."""
    lines = (line.strip() for line in text.splitlines())
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines
        # a line of one cell is a title, but for the idle note that may end the table
        if (line.startswith("|") and line.count("|") > 2) or line.startswith("| No running")
    ]


def _row(first: list[str], second: list[str]) -> _Row:
    """Put one chip's two lines together."""
    # on 950 the name has a column of its own, and no chip is counted
    number, name = first[:2] if len(first) > 3 else first[0].split(maxsplit=1)
    health = first[2] if len(first) > 3 else first[1]
    memory = re.findall(r"(\d+)\s*/\s*(\d+)", second[-1])
    # Memory-Usage, then, where the chip has it, HBM-Usage
    used, total = (int(part) for part in memory[-1]) if memory else (0, 0)
    return _Row(
        npu_id=int(number),
        chip_id=int(second[0].split()[0]) if second[0] else 0,
        name=name,
        health=health,
        memory_mb=(used, total) if total else None,
    )


def _exact_name(row: _Row, timeout_s: float) -> str:
    name = f"Ascend{row.name.removeprefix('Ascend').strip()}"
    where = f"{TOOL} info, NPU {row.npu_id} chip {row.chip_id}"
    if not row.name.startswith("Ascend"):
        return _checked(name, where)
    # a name with its prefix is a family's: the board knows more
    chip = () if name.startswith("Ascend950") else ("-c", str(row.chip_id))
    board = _ask(timeout_s, "-t", "board", "-i", str(row.npu_id), *chip)
    fields = dict(re.findall(r"^\s*(Chip Name|NPU Name)\s*:\s*(\S+)\s*$", board, re.MULTILINE))
    if len(fields) < 2:
        raise _unreadable(f"{where}, -t board", "a Chip Name and an NPU Name", board)
    return _checked(f"{fields['Chip Name']}_{fields['NPU Name']}", where)


def _checked(name: str, where: str) -> str:
    try:
        return soc_of(name, where).name
    except ConfigError as error:
        raise BackendUnavailable(
            where,
            expected="a chip that this version knows",
            got=repr(name),
            action=f"Use a newer Starmark, {NAME_THE_CHIP}",
        ) from error


def _unreadable(where: str, expected: str, text: str) -> BackendUnavailable:
    return BackendUnavailable(
        where,
        expected=expected,
        got=one_line(text, 200) or "no output",
        action=f"Compare with the output of npu-smi info, {NAME_THE_CHIP}",
    )
