"""Exact names of chips, asked of a tool that prints what npu-smi prints."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path

import npu_smi_tables as tables
import pytest
from builders import ROOT

from runtime.errors import BackendUnavailable, ConfigError
from runtime.machine import npu_smi
from runtime.machine.npu_smi import list_devices, soc_version_of_this_machine
from runtime.machine.soc import FAMILIES, soc_of

SIMULATOR = ROOT / "tests/cann/bin/npu-smi"
# No table of an Ascend031 was ever posted.
KNOWN = [name for _, names in FAMILIES.values() for name in names if name != "Ascend031"]
KNOWN += ["Ascend950PR_9579", "Ascend950DT_95A1"]
REFUSED = (215, "Error parameter of -c\nUsage: npu-smi info <-h|-m|-l|-t type> [Options...]\n")
NO_C = (215, "This device does not support input parameter of -c.\n")
NOT_SUPPORTED = (0, "This device does not support querying board.\n")
HANGS = (0, "")
A3_ALONE = tables.A3.replace(
    "".join(tables.A3.splitlines(keepends=True)[8:11]), ""
)  # without its second chip


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The simulator first on PATH."""
    monkeypatch.setenv("PATH", f"{SIMULATOR.parent}{os.pathsep}{os.environ['PATH']}")
    for name in ("CANNSIM_SOC", "CANNSIM_DEVICES", "CANNSIM_FAULT"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


class Tool:
    """A tool with an exit status and a text for each question; it refuses all others."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._folder = folder
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def answers(
        self,
        table: str | tuple[int, str],
        boards: Mapping[str, object] = {},
        others: tuple[int, str] = REFUSED,
    ) -> None:
        """Answer `npu-smi info` and, by their options, `npu-smi info -t board`."""
        cases = [self._case("info", table)]
        cases += [self._case(f"info -t board {one}", text) for one, text in boards.items()]
        cases.append(self._case("", others).replace("'')", "*)"))
        log = shlex.quote(str(self._folder / "asked"))
        script = f'#!/bin/sh\necho "$*" >> {log}\ncase "$*" in\n{"".join(cases)}esac\n'
        (self._folder / "npu-smi").write_text(script)
        (self._folder / "npu-smi").chmod(0o755)

    @property
    def asked(self) -> list[str]:
        """The questions so far."""
        return (self._folder / "asked").read_text().splitlines()

    def _case(self, question: str, answer: object) -> str:
        status, text = answer if isinstance(answer, tuple) else (0, answer)
        path = self._folder / f"answer{len(list(self._folder.iterdir()))}"
        path.write_text(text)
        says = f"cat {shlex.quote(str(path))}; exit {status}"
        return f"{shlex.quote(question)}) {'exec sleep 60' if answer is HANGS else says};;\n"


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tool:
    return Tool(monkeypatch, tmp_path)


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "starmark")
    return caplog


def board(chip: str, npu: str = "") -> str:
    """A chip's board answer under other names."""
    text = tables.BOARD_A3_CHIP.replace(": Ascend910", f": {chip}")
    return text.replace("9372", npu) if npu else text.replace("\tNPU Name", "\tSerial")


def one_chip(name: str) -> str:
    return tables.DDR_BOARD.replace("310B1 ", f"{name:<6}")


@pytest.mark.parametrize("name", KNOWN)
def test_every_known_chip_is_named_exactly(simulator: pytest.MonkeyPatch, name: str) -> None:
    """In its own form of table, for all its chips; what ATC takes, never AscendAscend910."""
    simulator.setenv("CANNSIM_SOC", name)
    simulator.setenv("CANNSIM_DEVICES", "3")

    assert [(one.soc_version, one.slice) for one in list_devices()] == [(name, "")] * 3


@pytest.mark.parametrize(
    ("printed", "chip"),
    [
        ("Ascend310Pvir01", "Ascend310P3"),
        ("Ascend910B4-1vir10_3c_16g_nm", "Ascend910B4-1"),
        ("Ascend910_9392vir06_1c_16g", "Ascend910_9392"),
        ("Ascend950PR_9579vir08_3c_30g", "Ascend950PR_9579"),
    ],
)
def test_a_slice_is_its_chip_with_a_name_of_its_own(
    simulator: pytest.MonkeyPatch, printed: str, chip: str
) -> None:
    """The runtime calls it by the whole chip's name; --virtual_type needs to know of the slice."""
    simulator.setenv("CANNSIM_SOC", printed)
    soc = soc_version_of_this_machine()

    assert (soc.name, soc.slice) == (chip, printed.removeprefix("Ascend"))


def test_slices_of_one_chip_are_one_target(tool: Tool) -> None:
    """Whatever their sizes."""
    tool.answers(tables.HBM.replace("910B4-1             |", "910B3vir05_1c_16g   |"))
    both = soc_version_of_this_machine()

    assert (both.name, bool(both.slice)) == ("Ascend910B3", True)


def test_a_whole_chip_beside_slices_of_its_kind_must_be_chosen_between(tool: Tool) -> None:
    """An .om for slices would be slow on the whole chip; the names are what the option takes."""
    row = "".join(tables.HBM.splitlines(keepends=True)[9:12])
    other = row.replace("| 3 ", "| 5 ").replace("vir10_3c_32g ", "vir05_1c_16g ")
    tool.answers(tables.HBM.replace("910B4-1 ", "910B3   ").replace(row, row + other))

    with pytest.raises(ConfigError, match="all whole or all sliced") as raised:
        soc_version_of_this_machine()
    names = ["Ascend910B3", "Ascend910B3vir05_1c_16g", "Ascend910B3vir10_3c_32g"]
    assert raised.value.got == ", ".join(f"1 x {name}" for name in names)
    assert [soc_of(name).as_option for name in names] == names


def test_the_facts_of_each_chip_are_kept_and_no_board_is_asked(tool: Tool) -> None:
    tool.answers(tables.HBM)

    assert list(map(astuple, list_devices())) == [
        (7, 0, "Ascend910B4-1", "OK", 65099, 65531, ""),
        (3, 0, "Ascend910B3", "UNKNOWN", 13, 32740, "910B3vir10_3c_32g"),
    ]
    assert tool.asked == ["info"]


def test_chips_of_a3_are_asked_for_one_by_one(tool: Tool) -> None:
    boards = {"-i 4 -c 0": board("Ascend910", "9381"), "-i 4 -c 1": tables.BOARD_A3_CHIP}
    tool.answers(tables.A3, boards)

    assert [device.soc_version for device in list_devices()] == ["Ascend910_9381", "Ascend910_9372"]


@pytest.mark.parametrize(
    ("table", "boards", "expected"),
    [
        # [V: npu_info.c npu_info_main, NPU_SMI_V2] 950 refuses -c; the older build wants it
        (tables.A5, {"-i 6": tables.BOARD_A5, "-i 6 -c 0": NO_C}, "Ascend950PR_957b"),
        (tables.A5, {"-i 6 -c 0": tables.BOARD_A5}, "Ascend950PR_957b"),
        (tables.A5, {"-i 6": NOT_SUPPORTED, "-i 6 -c 0": tables.BOARD_A5}, "Ascend950PR_957b"),
        (
            tables.A5,
            {"-i 6": tables.BOARD_A2_CARD, "-i 6 -c 0": tables.BOARD_A5},
            "Ascend950PR_957b",
        ),
        (A3_ALONE, {"-i 4": tables.BOARD_A3_CHIP}, "Ascend910_9372"),
        (
            A3_ALONE,
            {"-i 4 -c 0": board("Ascend910"), "-i 4": tables.BOARD_A3_CHIP},
            "Ascend910_9372",
        ),
        # the names in other forms, and one that is newer than the table of chips
        (A3_ALONE, {"-i 4 -c 0": board("Ascend910", "Ascend910_9372")}, "Ascend910_9372"),
        (A3_ALONE, {"-i 4 -c 0": board("Ascend910", "910_9372")}, "Ascend910_9372"),
        (A3_ALONE, {"-i 4 -c 0": board("910B3")}, "Ascend910B3"),
        (A3_ALONE, {"-i 4 -c 0": board("910B3", "910B3")}, "Ascend910B3"),
        (A3_ALONE, {"-i 4 -c 0": board("Ascend910B3", "Ascend910B3")}, "Ascend910B3"),
        (A3_ALONE, {"-i 4 -c 0": board("Ascend910", "9373")}, "Ascend910_9373"),
        # a table that names nothing, or a family
        (one_chip(""), {"-i 0 -c 0": tables.BOARD_A2_CHIP}, "Ascend910B4"),
        (one_chip("310B"), {"-i 0": board("310B2")}, "Ascend310B2"),
        (one_chip("unknown"), {"-i 0 -c 0": board("310P7")}, "Ascend310P7"),
    ],
)
def test_the_board_names_what_the_table_does_not(
    tool: Tool, table: str, boards: dict[str, object], expected: str
) -> None:
    """With the chip's number and without it: which form a driver answers is not known before."""
    tool.answers(table, boards)

    assert list_devices()[0].soc_version == expected


@pytest.mark.parametrize(
    ("printed", "chip", "part"),
    [
        ("A2G4-1", "Ascend910B4-1", ""),
        ("A2G3vir05_1c_16g", "Ascend910B3", "910B3vir05_1c_16g"),
        # [V: hicann/runtime runtime.cc Init310PSocType] slices of any 310P are taken as 310P3
        ("I2vir04_3c_ndvpp", "Ascend310P3", "310Pvir04_3c_ndvpp"),
    ],
)
def test_names_of_other_markets_are_read(tool: Tool, printed: str, chip: str, part: str) -> None:
    """[V: dcmi_inner_info_get.c] A2G and what follows the B of 910B; I2 for 310P."""
    tool.answers(tables.HBM.replace("910B4-1             |", f"{printed:<20}|"))
    device = list_devices()[0]

    assert (device.soc_version, device.slice) == (chip, part)


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        # [V: dcmi_inner_info_get.c] any 310P, slices included, on the board, too
        ("I2", ["Ascend310P1", "Ascend310P3", "--soc_version"]),
        ("310B", ["Ascend310B1", "Ascend310B4"]),
        ("910vir08", ["Ascend910Avir08", " =Ascend910Bvir08", "Ascend910ProBvir08"]),
        # its table shows what an old 910's name would begin with
        ("Ascend910", ["'Ascend910'", "an Atlas A3's is Ascend910_"]),
        ("9?B3", ["npu-smi info", "--soc_version Ascend910B3"]),
        *((name, ["npu-smi info"]) for name in ("A2G", "unknown", "")),
    ],
)
def test_a_chip_without_an_exact_name_is_refused_with_its_choices(
    tool: Tool, name: str, choices: list[str]
) -> None:
    """No name is better than a wrong one; whoever knows the chip names it."""
    tool.answers(one_chip(name), {"-i 0 -c 0": board(name or "NA")})

    with pytest.raises(BackendUnavailable, match="NPU 0 chip 0") as raised:
        soc_version_of_this_machine()
    assert all(one in str(raised.value) for one in choices)
    assert tool.asked == ["info", "info -t board -i 0 -c 0", "info -t board -i 0"]


@pytest.mark.parametrize("name", ["310P9", "910C"])
def test_a_newer_chip_passes_by_its_printed_name(
    tool: Tool, warnings: pytest.LogCaptureFixture, name: str
) -> None:
    """npu-smi printed it, so it exists; a board that knows an exact one is believed before."""
    tool.answers(one_chip(name), {"-i 0 -c 0": tables.BOARD_A3_CHIP})
    assert soc_version_of_this_machine().name == "Ascend910_9372"
    assert warnings.text == ""
    tool.answers(one_chip(name))
    soc = soc_version_of_this_machine()

    assert (soc.name, soc.is_known) == (f"Ascend{name}", False)
    assert f"Ascend{name} is not in this version's table" in warnings.text
    assert ("exact name is Ascend910_93xx" in warnings.text) == (name == "910C")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (tables.HBM.replace("| 7     910B4-1 ", "| ?     910B4-1 "), "line 7"),
        (tables.HBM.replace("910B4-1", "310B   "), "NPU 7 chip 0"),
        (tables.HBM.replace("| 7     910B4-1             | OK   ", "| 7     910B4-1  "), "line 7"),
    ],
)
def test_a_broken_row_does_not_hide_the_other_chips(
    tool: Tool, warnings: pytest.LogCaptureFixture, text: str, named: str
) -> None:
    """It is warned of, by its line or its numbers."""
    tool.answers(text)

    assert [device.npu_id for device in list_devices()] == [3]
    assert named in warnings.text


def test_rows_that_are_all_broken_are_an_error(tool: Tool) -> None:
    tool.answers(tables.DDR_BOARD.replace("| 0       310B1", "| x       310B1"))

    with pytest.raises(BackendUnavailable, match=r"npu-smi info, line 7: .*\| x 310B1 \|"):
        list_devices()


@pytest.mark.parametrize(
    "answer",
    [
        "".join(tables.HBM.splitlines(keepends=True)[:6]),
        # [V: npu_info.c get_total_info] where no chip is there
        "Usage: npu-smi info <watch|proc|-h|-m|-l|-t type> [Options...]\n\nCommands:\n",
    ],
)
def test_a_machine_without_chips_is_no_error(tool: Tool, answer: str) -> None:
    """Nothing to list is none; nothing to convert for is one."""
    tool.answers(answer)

    assert list_devices() == ()
    with pytest.raises(BackendUnavailable, match="an empty table"):
        soc_version_of_this_machine()


def test_two_kinds_of_chip_must_be_chosen_between(tool: Tool) -> None:
    """Both are named; neither is taken."""
    tool.answers(tables.HBM.replace("vir10_3c_32g", " " * 12))

    with pytest.raises(ConfigError, match="1 x Ascend910B3, 1 x Ascend910B4-1"):
        soc_version_of_this_machine()


def test_the_tool_is_looked_for_where_drivers_put_it(
    tool: Tool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """/usr/local/sbin is on few users' PATH; without it, exit code 3 and the way round it."""
    tool.answers(tables.DDR_BOARD)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(npu_smi, "PLACES", (str(tmp_path),))
    assert soc_version_of_this_machine().name == "Ascend310B1"
    (tmp_path / "npu-smi").unlink()

    with pytest.raises(BackendUnavailable, match="name the chip yourself") as raised:
        soc_version_of_this_machine()
    assert raised.value.exit_code == 3


@pytest.mark.slow
def test_a_hanging_tool_is_ended(simulator: pytest.MonkeyPatch) -> None:
    """After its time, with what to look at."""
    simulator.setenv("CANNSIM_FAULT", "npu-smi:hang")

    with pytest.raises(BackendUnavailable, match="the tool hangs.*dmesg"):
        list_devices(timeout_s=2)


@pytest.mark.slow
def test_a_tool_that_hangs_over_boards_is_asked_once_for_each_chip(
    tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in both forms, and not for as long as for the table."""
    tool.answers(tables.A3, others=HANGS)
    monkeypatch.setattr(npu_smi, "BOARD_TIMEOUT_S", 1.5)

    with pytest.raises(BackendUnavailable, match="-t board -i 4 -c 0.*1.5 s.*the tool hangs"):
        list_devices()
    assert tool.asked == ["info", "info -t board -i 4 -c 0", "info -t board -i 4 -c 1"]


@pytest.mark.parametrize(("answering", "hanging"), [(1, 0), (0, 1)])
def test_a_chip_whose_board_hangs_does_not_hide_the_others(
    tool: Tool,
    monkeypatch: pytest.MonkeyPatch,
    warnings: pytest.LogCaptureFixture,
    answering: int,
    hanging: int,
) -> None:
    """It is warned of, wherever it stands."""
    tool.answers(tables.A3, {f"-i 4 -c {answering}": tables.BOARD_A3_CHIP}, others=HANGS)
    monkeypatch.setattr(npu_smi, "BOARD_TIMEOUT_S", 1.5)

    found = [(one.chip_id, one.soc_version) for one in list_devices()]
    assert found == [(answering, "Ascend910_9372")]
    assert f"-t board -i 4 -c {hanging}" in warnings.text
    assert "the tool hangs" in warnings.text


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "dcmi module initialize failed. ret is -8005"),
        (7, "dcmi model initialized failed, because the device is used. ret is -8020"),
        (0, "Failed to get card number."),
        (0, "This command cannot be executed on a VM."),
    ],
)
def test_a_refusal_is_quoted(tool: Tool, status: int, words: str) -> None:
    """Some are printed on the way to exit status 0."""
    tool.answers((status, f"DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\n{words}\n"))

    with pytest.raises(BackendUnavailable) as raised:
        list_devices()
    assert f"got {status}: {words}" in str(raised.value)
    assert "container" in raised.value.action


@pytest.mark.parametrize(
    ("status", "words"),
    [
        # glibc's loader, as users of containers posted it (Project-HAMi/HAMi 615)
        (
            127,
            "npu-smi: error while loading shared libraries: libc_sec.so: cannot open shared",
        ),
        (0, "npu-smi: symbol lookup error: npu-smi: undefined symbol: dcmi_get_device_type"),
        (1, "npu-smi: /lib/libc.so.6: version `GLIBC_2.38' not found (required by npu-smi)"),
    ],
)
def test_a_tool_without_its_libraries_needs_the_hosts_driver(
    tool: Tool, status: int, words: str
) -> None:
    """Not a group, and not a table that looks different."""
    tool.answers((status, f"{words}\n"))

    with pytest.raises(BackendUnavailable) as raised:
        list_devices()
    assert words in raised.value.got
    assert "mount npu-smi and /usr/local/Ascend/driver" in raised.value.action
    folders = [f"/usr/local/Ascend/driver/lib64{one}" for one in ("", "/common", "/driver")]
    assert f"LD_LIBRARY_PATH={':'.join(folders)}:$" in raised.value.action
    assert "HwHiAiUser" not in raised.value.action


def test_a_table_counts_whatever_the_exit_status(
    tool: Tool, warnings: pytest.LogCaptureFixture
) -> None:
    """What was read is there; the status is warned of."""
    tool.answers((1, tables.DDR_BOARD))

    assert [device.soc_version for device in list_devices()] == ["Ascend310B1"]
    assert "ended with 1" in warnings.text


def test_an_unreadable_answer_is_refused(simulator: pytest.MonkeyPatch) -> None:
    """Not taken for a machine without NPUs."""
    simulator.setenv("CANNSIM_FAULT", "npu-smi:garbage")

    with pytest.raises(BackendUnavailable, match="the headings NPU, Name and Health"):
        list_devices()
