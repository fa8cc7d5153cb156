"""What is asked of a machine, and where its logs are looked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from doctor_machines import tool

from runtime.doctor import collected_machine
from runtime.doctor.box import LONGEST_TEXT_BYTES, Box
from runtime.doctor.collected_machine import board_queries, plogs
from runtime.machine import npu_smi

# Forms of `npu-smi info -l` and `-m`, hicann/driver src/custom/dev_prod/user/npucli/src
# npu_info_print.c:700-760 and docs/en/Ascend_950_npu-smi, with ids of our own.
LIST = """\
\tTotal Count                    : 2

\tNPU ID                         : 5
\tProduct Name                   : IT21XXXX
\tSerial Number                  : 2199Q10D77K0
\tChip Count                     : 2

\tNPU ID                         : 9
\tChip Count                     : 1
"""


def mapping(*rows: str) -> str:
    """Cells of 30 characters after a tab, as it prints them."""
    cells = [[one.strip() for one in row.split("|")] for row in rows]
    return "".join(
        "\t" + " ".join(f"{one:<30}" for one in row[:-1]) + f" {row[-1]}\n" for row in cells
    )


MAP = mapping(
    "NPU ID | Chip ID | Chip Logic ID | Chip Name",
    "5 | 0 | 0 | Ascend910",
    "5 | 1 | 1 | Ascend910",
    "5 | 2 | - | Mcu",
    "9 | 0 | 2 | Ascend910",
)
MAP_950 = mapping(
    "NPU ID | Slot ID | Chip ID | Chip Phy-ID | Chip Name", "3 | 7 | 0 | 4 | Ascend950PR"
)
LIST_950 = "Total Count                    : 1\n\nNPU ID                         : 3\n"


def test_boards_are_asked_in_both_forms() -> None:
    """A card alone for 950, with its chip for A3: nothing here must know which it is."""
    assert board_queries(LIST + MAP) == [
        ["-t", "board", "-i", "5"],
        ["-t", "board", "-i", "9"],
        ["-t", "board", "-i", "5", "-c", "0"],
        ["-t", "board", "-i", "5", "-c", "1"],
        ["-t", "board", "-i", "5", "-c", "2"],
        ["-t", "board", "-i", "9", "-c", "0"],
    ]
    assert board_queries(LIST_950) == [["-t", "board", "-i", "3"]]
    assert board_queries(LIST_950 + MAP_950)[1:] == [["-t", "board", "-i", "3", "-c", "0"]]
    assert board_queries(MAP)[:2] == [["-t", "board", "-i", "5"], ["-t", "board", "-i", "9"]]
    assert board_queries("dcmi module initialize failed. ret is -8005") == []


def test_the_tool_is_found_where_drivers_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the rest of this project finds it."""
    tool(tmp_path, "npu-smi", "echo said $*")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(npu_smi, "PLACES", (str(tmp_path / "none"), str(tmp_path / "bin")))
    box = Box()
    collected_machine.npu_smi_answers(box)

    assert str(box.parts["npu-smi/info-l.txt"]).endswith("said info -l\n")
    assert box.failed == []


def test_a_large_machine_is_not_asked_for_every_chip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first tell of the others; what was left out is told."""
    rows = [f"{n // 2} | {n % 2} | {n} | Ascend910" for n in range(16)]
    table = mapping("NPU ID | Chip ID | Chip Logic ID | Chip Name", *rows)
    (tmp_path / "map").write_text(table)
    script = f'case "$2" in -m) cat "{tmp_path}/map";; *) echo said $*;; esac'
    tool(tmp_path, "npu-smi", script)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    box = Box()
    collected_machine.npu_smi_answers(box)
    boards = [name for name in box.parts if "board" in name]

    assert len(boards) == collected_machine.MOST_BOARD_QUERIES
    assert box.parts["npu-smi/board-0.txt"] == (
        "$ npu-smi info -t board -i 0\n[exit status 0]\nsaid info -t board -i 0\n"
    )
    assert box.failed == [("npu-smi board queries", "the last 8 were left out")]


def test_a_tool_that_talks_without_end_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last words are kept."""
    tool(tmp_path, "npu-smi", "head -c 3000000 /dev/zero | tr '\\0' x; echo end")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    box = Box()
    collected_machine.npu_smi_answers(box)
    text = str(box.parts["npu-smi/info.txt"])

    assert len(text) < LONGEST_TEXT_BYTES + 100
    assert text.endswith("xend\n")


def log(folder: Path, kind: str, name: str, seconds: int) -> Path:
    path = folder / kind / "plog" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (seconds, seconds))
    return path


def test_the_newest_log_of_each_kind_is_taken(tmp_path: Path) -> None:
    """By its time, not by its name; other files do not count."""
    root = tmp_path / "ascend/log"
    newest = log(root, "debug", "plog-1_a.log", 300)
    log(root, "debug", "plog-9_z.log", 200)
    log(root, "debug", "other.log", 400)
    run = log(root, "run", "plog-1_b.log", 100)
    log(root, "security", "plog-1_c.log", 500)

    assert list(plogs({"HOME": str(tmp_path)})) == [("debug", newest), ("run", run)]


def test_logs_are_where_the_variables_say(tmp_path: Path) -> None:
    """[V: hicann/runtime plog_file_mgr.c] the log's path, then the work path's log, then home."""
    at_home = log(tmp_path / "home/ascend/log", "debug", "plog-1_x.log", 1)
    at_work = log(tmp_path / "work/log", "debug", "plog-2_x.log", 1)
    named = log(tmp_path / "named", "debug", "plog-3_x.log", 1)
    home = {"HOME": f"{tmp_path}/home"}
    work = {**home, "ASCEND_WORK_PATH": f"{tmp_path}/work"}
    path = {**work, "ASCEND_PROCESS_LOG_PATH": f"{tmp_path}/named"}

    for environment, found in ((home, at_home), (work, at_work), (path, named)):
        assert [one for _, one in plogs(environment)] == [found]
    assert list(plogs({"HOME": f"{tmp_path}/nobody"})) == []


def test_only_settings_of_the_npu_path_are_taken() -> None:
    """Other variables hold secrets."""
    box = Box()
    names = ["ASCEND_RT_VISIBLE_DEVICES", "TORCH_HOME", "OMP_NUM_THREADS", "PATH", "PYTHONPATH"]
    secret = ["AWS_SECRET", "MY_ASCEND_TOKEN", "PATHOLOGY", "HTTP_PROXY", "LD_PRELOAD"]
    collected_machine.settings(box, dict.fromkeys([*names, "LD_LIBRARY_PATH", *secret], "x"))

    assert box.parts["environment.json"] == dict.fromkeys(sorted([*names, "LD_LIBRARY_PATH"]), "x")
