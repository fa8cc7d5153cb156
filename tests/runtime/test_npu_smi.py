"""Exact names of chips, out of every dialect of npu-smi."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from builders import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import npu_smi
from runtime.errors import BackendUnavailable, ConfigError
from runtime.npu_smi import NpuDevice, list_devices, soc_version_of_this_machine
from runtime.soc import FAMILIES

SIMULATOR = ROOT / "tests/cann/bin/npu-smi"
KNOWN = [name for _, names in FAMILIES.values() for name in names] + ["Ascend950PR_9579"]

# The shapes of tables of several versions and machines; the figures are made up.
WIDE_310P_DUO = """
+--------------------------------------------------------------------------------------------+
| npu-smi 24.1.0                                   Version: 24.1.0                           |
+-------------------------------+-----------------+------------------------------------------+
| NPU     Name                  | Health          | Power(W)   Temp(C)  Hugepages-Usage(page)|
| Chip    Device                | Bus-Id          | AICore(%)  Memory-Usage(MB)              |
+===============================+=================+==========================================+
| 224     310P3                 | OK              | NA         52       0     / 0            |
| 0       0                     | 0000:04:00.0    | 0          1263 / 44280                  |
+-------------------------------+-----------------+------------------------------------------+
| 224     310P3                 | Alarm           | NA         49       0     / 0            |
| 1       1                     | 0000:04:00.0    | 0          1426 / 43693                  |
+===============================+=================+==========================================+
+-------------------------------+-----------------+------------------------------------------+
| NPU     Chip                  | Process id      | Process name       | Process memory(MB)  |
+===============================+=================+==========================================+
| 224     0                     | 3325989         | python             | 512                 |
+===============================+=================+==========================================+
"""
BOARD_310B = """
+-------------------------------+-----------------+------------------------------------------+
| NPU     Name                  | Health          | Power(W)   Temp(C)  Hugepages-Usage(page)|
| Chip    Device                | Bus-Id          | AICore(%)  Memory-Usage(MB)              |
+===============================+=================+==========================================+
| 0       310B4                 | Alarm           | 0.0        50       15    / 15           |
| 0       0                     | NA              | 0          1628 / 3513                   |
+===============================+=================+==========================================+
"""
OLD_910 = """
+---------------------------+---------------+--------------------------------------------+
| NPU   Name                | Health        | Power(W)  Temp(C)   Hugepages-Usage(page)  |
| Chip                      | Bus-Id        | AICore(%) Memory-Usage(MB)  HBM-Usage(MB)  |
+===========================+===============+============================================+
| 3     910ProB             | OK            | 78.0      38        0    / 0               |
| 0                         | 0000:C1:00.0  | 0         2387 / 13553      18   / 32768   |
+===========================+===============+============================================+
"""
NO_DEVICES = """
+---------------------------+---------------+--------------------------------------------+
| NPU   Name                | Health        | Power(W)  Temp(C)   Hugepages-Usage(page)  |
| Chip                      | Bus-Id        | AICore(%) Memory-Usage(MB)  HBM-Usage(MB)  |
+===========================+===============+============================================+
+---------------------------+---------------+--------------------------------------------+
| NPU   Chip                | Process id    | Process name           | Process memory(MB)|
+===========================+===============+============================================+
"""


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The simulator first on PATH."""
    monkeypatch.setenv("PATH", f"{SIMULATOR.parent}{os.pathsep}{os.environ['PATH']}")
    for name in ("CANNSIM_SOC", "CANNSIM_DEVICES", "CANNSIM_FAULT"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def put_tool(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """Put a shell script on PATH as npu-smi."""
    tool = folder / "npu-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def put_table(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    """Put a tool on PATH that answers every question with the same text."""
    (folder / "answer").write_text(text)
    put_tool(monkeypatch, folder, f"cat '{folder}/answer'")


@pytest.mark.parametrize("name", KNOWN)
def test_every_known_chip_is_named_exactly(simulator: pytest.MonkeyPatch, name: str) -> None:
    """In its own dialect, for all its chips; what ATC takes, never AscendAscend910."""
    simulator.setenv("CANNSIM_SOC", name)
    simulator.setenv("CANNSIM_DEVICES", "3")

    assert [device.soc_version for device in list_devices()] == [name] * 3
    assert soc_version_of_this_machine() == name


def test_chips_of_a3_are_asked_for_one_by_one(simulator: pytest.MonkeyPatch) -> None:
    """Two chips to a card there, one elsewhere."""
    simulator.setenv("CANNSIM_DEVICES", "4")
    simulator.setenv("CANNSIM_SOC", "Ascend910_9362")
    cards = [(device.npu_id, device.chip_id) for device in list_devices()]
    simulator.setenv("CANNSIM_SOC", "Ascend910B4-1")
    single = [(device.npu_id, device.chip_id) for device in list_devices()]

    assert cards == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert single == [(0, 0), (1, 0), (2, 0), (3, 0)]


def test_two_chips_on_a_card_and_processes_below(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The table of processes has rows like those of the chips, and is none of them."""
    put_table(monkeypatch, tmp_path, WIDE_310P_DUO)

    assert list_devices() == (
        NpuDevice(
            npu_id=224,
            chip_id=0,
            soc_version="Ascend310P3",
            health="OK",
            memory_used_mb=1263,
            memory_total_mb=44280,
        ),
        NpuDevice(
            npu_id=224,
            chip_id=1,
            soc_version="Ascend310P3",
            health="Alarm",
            memory_used_mb=1426,
            memory_total_mb=43693,
        ),
    )


def test_a_board_without_a_bus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A developer board has no PCIe address, and its health is not OK."""
    put_table(monkeypatch, tmp_path, BOARD_310B)

    assert [(d.soc_version, d.health) for d in list_devices()] == [("Ascend310B4", "Alarm")]


def test_the_devices_own_memory_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """HBM where the chip has it, not its controller's DDR beside it."""
    put_table(monkeypatch, tmp_path, OLD_910)

    assert [(d.npu_id, d.memory_used_mb, d.memory_total_mb) for d in list_devices()] == [
        (3, 18, 32768)
    ]


def test_an_empty_table_is_no_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing to list is no error; nothing to convert for is one."""
    put_table(monkeypatch, tmp_path, NO_DEVICES)

    assert list_devices() == ()
    with pytest.raises(BackendUnavailable, match="an empty table"):
        soc_version_of_this_machine()


def test_two_kinds_of_chip_must_be_chosen_between(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Both are named; neither is taken."""
    mixed = WIDE_310P_DUO.replace("224     310P3                 | Alarm", "224     310P1 | Alarm")
    put_table(monkeypatch, tmp_path, mixed)

    with pytest.raises(ConfigError, match="1 x Ascend310P1, 1 x Ascend310P3"):
        soc_version_of_this_machine()


def test_a_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Exit code 3, and the way round it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(npu_smi, "PLACES", (str(tmp_path),))

    with pytest.raises(BackendUnavailable, match="name the chip yourself") as raised:
        soc_version_of_this_machine()
    assert raised.value.exit_code == 3


def test_the_tool_is_found_where_drivers_put_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """/usr/local/sbin is on few users' PATH."""
    put_table(monkeypatch, tmp_path, OLD_910)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(npu_smi, "PLACES", (str(tmp_path),))

    assert soc_version_of_this_machine() == "Ascend910ProB"


def test_a_hanging_tool_is_ended(simulator: pytest.MonkeyPatch) -> None:
    """After its time, with what to look at."""
    simulator.setenv("CANNSIM_FAULT", "npu-smi:hang")

    with pytest.raises(BackendUnavailable, match="the tool hangs") as raised:
        list_devices(timeout_s=2)
    assert "dmesg" in str(raised.value)


def test_a_failing_tool_is_quoted(simulator: pytest.MonkeyPatch) -> None:
    """Its status and its words."""
    simulator.setenv("CANNSIM_FAULT", "npu-smi:exit=7")

    with pytest.raises(BackendUnavailable, match="got 7: dcmi module initialize failed"):
        list_devices()


def test_a_failure_that_exits_with_0_is_seen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Some versions say so on the way to status 0."""
    put_tool(monkeypatch, tmp_path, "echo 'dcmi module initialize failed. ret is -8005'")

    with pytest.raises(BackendUnavailable, match="got 0: dcmi module initialize failed"):
        list_devices()


def test_an_unreadable_answer_is_refused(simulator: pytest.MonkeyPatch) -> None:
    """Not taken for a machine without NPUs."""
    simulator.setenv("CANNSIM_FAULT", "npu-smi:garbage")

    with pytest.raises(BackendUnavailable, match="the headings NPU, Name and Health"):
        list_devices()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (WIDE_310P_DUO.replace("| 1       1  ", "+ 1       1  "), "two lines for each chip"),
        (WIDE_310P_DUO.replace("| 224     310P3 ", "| 310P3     224 "), "numbers and a name"),
        (WIDE_310P_DUO.replace("310P3", "310P9"), "a chip that this version knows.*Ascend310P9"),
        # a family and a board that does not say more: an old 910, or an unknown version
        (OLD_910.replace("910ProB   ", "Ascend910"), "a Chip Name and an NPU Name"),
    ],
)
def test_a_table_with_a_fault_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, message: str
) -> None:
    """No name is better than a wrong one."""
    put_table(monkeypatch, tmp_path, text)

    with pytest.raises(BackendUnavailable, match=message):
        list_devices()


def test_what_others_print_in_between_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Drivers warn on stderr, in the middle of the table too."""
    noisy = OLD_910.replace("| 0     ", "[WARN] something | else\n| 0     ", 1)
    put_table(monkeypatch, tmp_path, noisy)

    assert soc_version_of_this_machine() == "Ascend910ProB"


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="|+=- \nNPUHealthmeb0123456789OKsc/.", max_size=400))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No answer makes the reader stumble."""
    said = ""
    rows: tuple[object, ...] = ()
    try:
        rows = npu_smi._table(f"| NPU Name | Health | x |\n| Chip | Bus-Id | y |\n{text}")
    except BackendUnavailable as error:
        said = str(error)
    assert said.count("\n") == 0
    assert len(rows) <= text.count("\n") + 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["list"],
        ["info", "-x"],
        ["info", "-t"],
        ["info", "-t", "cpu", "-i", "0"],
        ["info", "-t", "board"],
        ["info", "-t", "board", "-i", "x"],
        ["info", "-t", "board", "-i", "7"],
        ["info", "-t", "board", "-i", "0", "-c", "5"],
    ],
)
def test_the_simulator_refuses_wrong_arguments(arguments: list[str]) -> None:
    """As the tool does; a question that the tool does not know must not pass here."""
    done = subprocess.run(
        [SIMULATOR, *arguments], capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode != 0
    assert "Error parameter of" in done.stdout or "does not exist" in done.stdout


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("Ascend910_9362", ["-l"], "Total Count                    : 1"),
        ("Ascend910_9362", ["-m"], "Chip Phy-ID"),
        ("Ascend950PR_9579", ["-m"], "Slot ID"),
        ("Ascend310P3", ["-m"], "Ascend 310P3"),
        (
            "Ascend310P3",
            ["-t", "board", "-i", "0", "-c", "0"],
            "Chip Name                      : 310P3",
        ),
    ],
)
def test_the_simulator_knows_the_other_questions(
    name: str, arguments: list[str], expected: str
) -> None:
    """In the tool's layout, and it says on stderr what it is."""
    done = subprocess.run(
        [SIMULATOR, "info", *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "CANNSIM_SOC": name, "CANNSIM_DEVICES": "2"},
    )

    assert expected in done.stdout
    assert "SIMULATOR" in done.stderr


def test_the_simulator_keeps_the_dialects_apart() -> None:
    """950 knows no -c; A3 tells its NPU Name for a chip alone."""

    def board(name: str, *chip: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SIMULATOR, "info", "-t", "board", "-i", "0", *chip],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, "CANNSIM_SOC": name},
        )

    assert board("Ascend950DT_95A1", "-c", "0").returncode != 0
    assert "NPU Name" in board("Ascend950DT_95A1").stdout
    assert "NPU Name" not in board("Ascend910_9391").stdout
    assert "9391" in board("Ascend910_9391", "-c", "0").stdout
    assert "NPU Name" not in board("Ascend910B3", "-c", "0").stdout
