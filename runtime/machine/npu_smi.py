"""The chips of this machine by their exact names, read from the driver's tool npu-smi.

Most chips stand in its table under Name, without their "Ascend". Atlas A3 and Ascend 950 show no
more than a family there ("Ascend910", "Ascend950PR"); the exact name is then "Chip Name"_"NPU Name"
of the board query, which needs a chip's number on A3 and allows none on 950. Drivers of some
markets rename chips (`runtime.machine.soc`).

Source: hicann/ge, docs, --soc_version; hicann/driver, src/custom/dev_prod/user/npucli and
dcmi_inner_info_get.c (dcmi_copy_npu_chip_name: names by product).
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections import Counter
from dataclasses import asdict, dataclass

from runtime.errors import BackendUnavailable, ConfigError, one_line
from runtime.machine import process
from runtime.machine.npu_smi_text import ChipRow, Table, read_board, read_table
from runtime.machine.soc import AUTO, Soc, advice_on_family, as_atc_spells, note_on_unknown, soc_of

TOOL = "npu-smi"
# Where drivers put it; /usr/local/sbin is on few users' PATH.
PLACES = ("/usr/local/bin", "/usr/local/sbin")
# All chips are queried in turn for the table: 5 s were seen for eight of them.
TIMEOUT_S = 30.0
# A board query concerns one chip; where many hang, each of them costs this much.
BOARD_TIMEOUT_S = 10.0
NAME_THE_CHIP = "or name the chip yourself, for example --soc_version Ascend910B3"
COMPARE = f"Compare with the output of npu-smi info, {NAME_THE_CHIP}"
# Where the driver's libraries lie [V: hicann/runtime, scripts/package/runtime/set_env.sh:127].
DRIVER = "/usr/local/Ascend/driver"
LIBRARIES = ":".join(f"{DRIVER}/lib64{folder}" for folder in ("", "/common", "/driver"))
# The loader's messages, which may come with exit status 0, too.
_LOADER = re.compile(
    r"^.*(error while loading shared libraries|symbol lookup error|version `\S+ not found).*$",
    re.MULTILINE,
)
# Printed by some versions on the way to exit status 0 [V: npu_smi.c, npu_card_info.c, npu_info.c].
_REFUSALS = re.compile(
    r"^.*(initializ\w* failed|Error parameter|does not support|cannot be executed|info failed!).*$"
    r"|^Failed to.*$",
    re.MULTILINE,
)

logger = logging.getLogger("starmark")


@dataclass(frozen=True, kw_only=True)
class NpuDevice:
    """One chip.

    Attributes:
        npu_id: number of its card, as npu-smi counts (not the N of npu:N).
        soc_version: exact name of the whole chip, as ATC spells it.
        health: as printed, "OK" where all is well.
        memory_used_mb: None where it is not printed, as is the total.
        slice: the slice's own name, for example "910B3vir05_1c_16g"; empty for a whole chip.
    """

    npu_id: int
    chip_id: int
    soc_version: str
    health: str
    memory_used_mb: int | None
    memory_total_mb: int | None
    slice: str = ""


def list_devices(timeout_s: float = TIMEOUT_S) -> tuple[NpuDevice, ...]:
    """Ask npu-smi for the chips of this machine; empty where its table is.

    A chip whose lines cannot be read, that has no exact name, or whose board query hangs is warned
    of and left out where others can be listed.

    Args:
        timeout_s: for the table, and for each board query, which has BOARD_TIMEOUT_S at most; A3
            and 950 need one per chip.

    Raises:
        BackendUnavailable: no npu-smi, no answer in time, an error, or an answer with no chip
            that can be read.
    """
    table = _ask_table(timeout_s)
    failures = [
        _unreadable(f"{TOOL} info, line {one.number}", one.expected, one.text)
        for one in table.bad_lines
    ]
    devices = []
    for row in table.chips:
        try:
            soc = _identify(row, timeout_s)
        except BackendUnavailable as error:
            failures.append(error)
        else:
            facts = {key: value for key, value in asdict(row).items() if key != "name"}
            devices.append(NpuDevice(**facts, soc_version=soc.name, slice=soc.slice))
    if failures and not devices:
        raise failures[0]
    for failure in failures:
        logger.warning("WARNING: %s The other chips are listed.", failure)
    return tuple(devices)


def _ask_table(timeout_s: float) -> Table:
    done = _run(timeout_s)
    table = read_table(done.output)
    unloaded = _LOADER.search(done.output)
    if unloaded is not None and table is None:
        # mostly in a container, without the host's driver
        raise BackendUnavailable(
            f"{TOOL} info",
            expected="a tool whose libraries are found",
            got=one_line(unloaded.group(), 200),
            action=f"In a container, mount {TOOL} and {DRIVER} of one host, on a base as new as"
            f" that host's; then export LD_LIBRARY_PATH={LIBRARIES}:$LD_LIBRARY_PATH,"
            f" {NAME_THE_CHIP}",
        )
    refusal = _refusal(done)
    if refusal and not (table and table.chips):
        raise BackendUnavailable(
            f"{TOOL} info",
            expected="a table of chips, and exit status 0",
            got=refusal,
            action="Run it as a member of the driver's group (HwHiAiUser) or as root; in a"
            " container, end the other container that holds the device (ret -8005 or -8020);"
            f" restart the machine after a change of driver or firmware; {NAME_THE_CHIP}",
        )
    if table is None:
        if re.search(rf"^Usage: {TOOL} info", done.output, re.MULTILINE):
            # its help, on a machine without chips [V: npu_info.c get_total_info]
            return Table(chips=(), bad_lines=())
        raise _unreadable(
            f"{TOOL} info", "a table with the headings NPU, Name and Health", done.output
        )
    if refusal:
        logger.warning("WARNING: %s info ended with %s; its table is used.", TOOL, refusal)
    return table


def chosen_soc(soc_version: str) -> Soc:
    """The chip that a `--soc_version` means: a name, or "auto" for this machine's.

    Raises:
        BackendUnavailable: as `soc_version_of_this_machine`.
        ConfigError: no exact name, or chips of different names.
    """
    return soc_version_of_this_machine() if soc_version == AUTO else soc_of(soc_version)


def soc_version_of_this_machine() -> Soc:
    """Give the chip of this machine, whole or sliced, for `--soc_version auto`.

    Raises:
        BackendUnavailable: as `list_devices`, or there is no chip.
        ConfigError: chips of different names, or whole ones beside slices.
    """
    socs = [
        soc_of(f"Ascend{one.slice}" if one.slice else one.soc_version, f"{TOOL} info", printed=True)
        for one in list_devices()
    ]
    if not socs:
        raise BackendUnavailable(
            "--soc_version auto",
            expected="an NPU in npu-smi's table",
            got="an empty table",
            action=f"Run this on the machine with the NPU, {NAME_THE_CHIP}",
        )
    # a model for slices serves every size; some operators run on one core in it, and a whole
    # chip's model does not run on slices [V: hicann/ge, docs, --virtual_type]
    if len({(soc.name, bool(soc.slice)) for soc in socs}) > 1:
        counts = Counter(soc.as_option for soc in socs)
        raise ConfigError(
            "--soc_version auto",
            expected="chips of one name in this machine, all whole or all sliced",
            got=", ".join(f"{number} x {name}" for name, number in sorted(counts.items())),
            action="Name the one to convert for with --soc_version",
        )
    return max(socs, key=lambda soc: soc.slice)


def find_tool() -> str | None:
    """Where npu-smi lies: on PATH, else where drivers put it; None where it is not there."""
    return shutil.which(TOOL) or shutil.which(TOOL, path=os.pathsep.join(PLACES))


def _run(timeout_s: float, *arguments: str) -> process.Finished:
    query = " ".join((TOOL, "info", *arguments))
    found = find_tool()
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
            query,
            expected=f"an answer within {timeout_s:g} s",
            got="none: the tool hangs, and was ended",
            action=f"Look at dmesg for the driver's messages, restart the machine, {NAME_THE_CHIP}",
        )
    return done


def _refusal(done: process.Finished) -> str:
    """Exit status and message of a failed query; empty where it succeeded."""
    broken = _REFUSALS.search(done.output)
    if done.returncode == 0 and broken is None:
        return ""
    words = broken.group() if broken else done.output
    return f"{done.returncode}: {one_line(words, 200) or 'no output'}"


def _identify(row: ChipRow, timeout_s: float) -> Soc:
    """Find a chip's exact name: in the table, else on its board.

    Raises:
        BackendUnavailable: neither shows it, or the board query hangs.
    """
    where = f"{TOOL} info, NPU {row.npu_id} chip {row.chip_id}"
    printed = as_atc_spells(row.name)
    in_table = _named(printed, where)
    if in_table is not None and in_table.is_known:
        return in_table
    on_board, answer = _ask_board(row, where, min(timeout_s, BOARD_TIMEOUT_S))
    soc = on_board or in_table
    if soc is None:
        choices = advice_on_family(printed)
        raise BackendUnavailable(
            where,
            expected="a chip's exact name in the table, or a Chip Name and an NPU Name of -t board",
            got=f"{row.name!r}, and of the board {one_line(answer, 120) or 'no answer'}",
            action=f"Name the chip yourself with --soc_version; {choices}" if choices else COMPARE,
        )
    if not soc.is_known:
        logger.warning("WARNING: %s: its name is taken as it is: %s.", where, note_on_unknown(soc))
    return soc


def _ask_board(row: ChipRow, where: str, timeout_s: float) -> tuple[Soc | None, str]:
    """The chip that the board query names, and its last answer.

    On A3 the chip's number is needed, on 950 it is an error; both forms are tried, the likelier
    first.
    """
    card = ("-t", "board", "-i", str(row.npu_id))
    forms = [(*card, "-c", str(row.chip_id)), card]
    if row.name.startswith("Ascend950"):
        forms.reverse()
    found, answer = None, ""
    for form in forms:
        done = _run(timeout_s, *form)
        answer = _refusal(done) or done.output
        for name in _spelt_on_board(read_board(done.output)):
            soc = _named(name, where)
            if soc is not None and soc.is_known:
                return soc, answer
            found = found or soc
    return found, answer


def _named(name: str, where: str) -> Soc | None:
    """The chip of a name that was printed; None where it is no exact one."""
    if not re.match(r"Ascend\d", name):
        return None
    try:
        return soc_of(name, where, printed=True)
    except ConfigError:
        return None


def _spelt_on_board(fields: dict[str, str]) -> tuple[str, ...]:
    """What may be the exact name in a board's answer, the likeliest first."""
    chip, npu = fields.get("chip name", ""), fields.get("npu name", "")
    whole = as_atc_spells(chip)
    if not chip.startswith("Ascend") or not npu:
        return (whole,)  # other boards than those of A3 and 950
    if as_atc_spells(npu).startswith(f"{whole}_"):
        return (as_atc_spells(npu),)
    return (f"{whole}_{npu}", whole)


def _unreadable(where: str, expected: str, text: str) -> BackendUnavailable:
    got = one_line(text, 200) or "no output"
    return BackendUnavailable(where, expected=expected, got=got, action=COMPARE)
