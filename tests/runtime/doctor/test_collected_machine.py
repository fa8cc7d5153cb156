"""What is asked of a machine, and where its logs are looked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from doctor_machines import installation, tool

from runtime.doctor import cann, collected_machine, devices
from runtime.doctor.box import LONGEST_TEXT_BYTES, Box
from runtime.doctor.collected_machine import board_queries, plogs
from runtime.machine import npu_smi

# Form of `npu-smi info -l`, hicann/driver src/custom/dev_prod/user/npucli/src
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
LIST_950 = "Total Count                    : 1\n\nNPU ID                         : 3\n"


@pytest.mark.parametrize(
    ("answer", "queries"),
    [
        (LIST, ["5", "9", "5 0", "5 1", "9 0"]),
        (LIST_950, ["3"]),
        ("dcmi module initialize failed. ret is -8005", []),
    ],
)
def test_boards_are_asked_in_both_forms(answer: str, queries: list[str]) -> None:
    """A card alone for 950, with its chip for A3: nothing here must know which it is."""
    assert [" ".join(one) for one in board_queries(answer)] == queries


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Box]:
    """What is collected of an npu-smi that does this, in a place where drivers put it."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(npu_smi, "PLACES", (str(tmp_path / "none"), str(tmp_path / "bin")))

    def ask(script: str) -> Box:
        tool(tmp_path, "npu-smi", script)
        box = Box()
        collected_machine.npu_smi_answers(box)
        return box

    return ask


def test_a_large_machine_is_not_asked_for_every_chip(
    tmp_path: Path, asked: Callable[[str], Box]
) -> None:
    """The first tell of the others; what was left out is told."""
    (tmp_path / "list").write_text("".join(f"NPU ID : {n}\nChip Count : 2\n" for n in range(8)))
    box = asked(f'case "$2" in -l) cat "{tmp_path}/list";; *) echo said $*;; esac')
    boards = [name for name in box.parts if "board" in name]

    assert len(boards) == collected_machine.MOST_BOARD_QUERIES
    assert box.parts["npu-smi/board-0.txt"] == (
        "$ npu-smi info -t board -i 0\n[exit status 0]\nsaid info -t board -i 0\n"
    )
    assert box.failed == [("npu-smi board queries", "the last 8 were left out")]


def test_a_broken_tool_is_collected_with_all_it_prints(asked: Callable[[str], Box]) -> None:
    """That is what the box is for."""
    box = asked("echo said $*; exit 7")

    assert box.parts["npu-smi/info.txt"] == "$ npu-smi info\n[exit status 7]\nsaid info\n"
    assert list(box.parts) == [f"npu-smi/{name}.txt" for name in ("info", "info-l", "info-m")]
    assert box.failed == []


def test_a_tool_that_hangs_is_asked_once(
    asked: Callable[[str], Box], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not once for every question."""
    monkeypatch.setattr(npu_smi, "TIMEOUT_S", 1.0)
    box = asked("exec sleep 600")

    assert list(box.parts) == ["npu-smi/info.txt"]
    assert "no end within 1 s" in str(box.parts["npu-smi/info.txt"])
    assert box.failed == [("npu-smi info", "it hangs; no further query was made")]


def test_a_tool_that_talks_without_end_is_cut(asked: Callable[[str], Box]) -> None:
    """Its last words are kept."""
    box = asked("head -c 3000000 /dev/zero | tr '\\0' x; echo end")
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


def test_version_files_are_tried_one_by_one(
    tmp_path: Path, lock: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that may not be read is told; one that is not there is not; the others are taken."""
    installation(tmp_path, "8.1.RC1")
    files = [tmp_path / name for name in ("closed/install.info", "os-release", "none.info")]
    for file in files[:2]:
        file.parent.mkdir(exist_ok=True)
        file.write_text("NAME=box\n")
    monkeypatch.setattr(collected_machine, "SYSTEM_FILES", tuple(files))
    monkeypatch.setattr(devices, "driver_folders", lambda: [tmp_path / "closed/driver"])
    lock(tmp_path / "closed")
    box = Box()
    collected_machine.version_files(box, cann.find([tmp_path / "Ascend"], {}))
    read = box.parts["versions/read.json"]

    assert box.parts["versions/etc/os-release"] == "NAME=box\n"
    assert any(name.startswith("versions/cann/x86_64-linux/") for name in box.parts)
    assert isinstance(read, dict)
    assert read["cann"]["release"] == "8.1.RC1"
    assert read["driver"] == {}
    told = {what: reason.partition(":")[0] for what, reason in box.failed}
    assert told == dict.fromkeys(
        [
            str(tmp_path / "closed/driver/version.info"),
            str(tmp_path / "closed/firmware/version.info"),
            str(files[0]),
        ],
        "PermissionError",
    )


def test_closed_logs_hide_no_others(tmp_path: Path, lock: Callable[[Path], None]) -> None:
    """A folder may be listed and not entered."""
    for kind in ("debug", "run"):
        (tmp_path / "ascend/log" / kind / "plog").mkdir(parents=True)
        (tmp_path / "ascend/log" / kind / "plog/plog-7_x.log").touch()
    lock(tmp_path / "ascend/log/debug/plog")

    assert [kind for kind, _ in plogs({"HOME": str(tmp_path)})] == ["run"]
