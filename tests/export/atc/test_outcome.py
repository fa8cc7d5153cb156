"""What stands after a run of atc, and what does not: any output, any file, from an atc of ours.

The files are put together by hand from the public definition (`hand_made_om`), not by the
simulator's writer.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from atc_runs import FAILED, STARTS, conversion
from cann import graphs
from cann.om_writer import delimited, varint
from hand_made_om import OURS, model_def, om, text

from export.atc.to_om import convert
from export.steps.om import ATCS_PATH
from runtime.errors import ExportError
from runtime.model.manifest import ONNX_NAME
from runtime.model.om_file import OmFile

SUCCESS = "ATC run success, welcome to the next use."
GOOD = f"{STARTS}..................................{SUCCESS}\n"
OM = "model_bs3_Ascend310P3.om"


class Bench:
    """An atc that prints and leaves what it is told to, and one conversion by it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.atc = folder / "bin" / "atc"
        self.log = folder / "atc.log"
        for name in ("bin", "made", "graph"):
            (folder / name).mkdir()
        graphs.save(folder / "graph", graphs.conv(dims=(1, 3, 256, 256)))

    def convert(
        self,
        output: str | bytes,
        files: Mapping[str, bytes] | None = None,
        end: str = "exit 0",
        **table: Any,
    ) -> OmFile:
        said = output if isinstance(output, bytes) else output.encode()
        (self.folder / "said").write_bytes(said)
        shutil.rmtree(self.folder / "made")
        (self.folder / "made").mkdir()
        for name, content in ({OM: om(model_def(OURS))} if files is None else files).items():
            (self.folder / "made" / name).write_bytes(content)
        self.atc.write_text(
            f"#!/bin/sh\ncp {self.folder}/made/* . 2>/dev/null\ncat {self.folder}/said\n{end}\n"
        )
        self.atc.chmod(0o755)
        scratch = self.folder / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        graph = self.folder / "graph" / ONNX_NAME
        asked = conversion("Ascend310P3", batch_sizes=(3,), **table)
        return convert(asked, self.atc, graph, scratch, self.log)[1]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


STANDING: list[tuple[str, bytes]] = [
    ("as atc of CANN 8.0 writes it", om(model_def(OURS))),
    ("framework as a number", om(model_def({**OURS, "framework_type": b"\x18\x05"}))),
    ("framework as a list", om(model_def({**OURS, "framework_type": delimited(1, b"")}))),
    ("no chip, as before CANN 8.0", om(model_def({"framework_type": text("Onnx")}))),
    ("no attributes at all", om(model_def({}), old=True)),
    ("a MODEL_DEF that is no protobuf", om(b"\xff" * 77)),
    ("a model of dynamic shape", om(model_def(OURS), dynamic=True)),
    ("an attribute of a type of tomorrow", om(model_def({**OURS, "x": varint(31 << 3 | 5)}))),
    ("a chip that is no text", om(model_def({"soc_version": b"\x18\x07"}))),
    ("the chip in other letters", om(model_def({**OURS, "soc_version": text("ascend310p3")}))),
]


@pytest.mark.parametrize(("what", "content"), STANDING, ids=[what for what, _ in STANDING])
def test_a_whole_file_after_success_stands(bench: Bench, what: str, content: bytes) -> None:
    """Whatever cannot be read in it."""
    assert bench.convert(GOOD, {OM: content}).bytes == len(content), what
    assert bench.log.is_file()


def test_a_file_that_names_the_host_stands(bench: Bench) -> None:
    """As of models with code of the host; and the log begins with the command."""
    found = bench.convert(GOOD, {OM.replace(".om", "_linux_x86_64.om"): om(model_def(OURS))})
    assert found.path.name.endswith("_linux_x86_64.om")
    assert bench.log.read_text().startswith("$ atc --model=model.onnx")


def test_what_could_not_be_read_is_said(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="starmark"):
        said = bench.convert(GOOD, {OM: om(b"\xff" * 77)})
        assert said.unread
        assert all(f"{OM}: not read: {line}" in caplog.text for line in said.unread)
        caplog.clear()
        said = bench.convert(GOOD, {OM: om(model_def({"soc_version": b"\x18\x07"}))})
        assert said.remarks
        assert all(f"{OM}: {line}" in caplog.text for line in said.remarks)
        caplog.clear()
        bench.convert(GOOD, {OM: om(model_def(OURS), dynamic=True)})
        assert "dynamic shape" in caplog.text
        caplog.clear()
        bench.convert(GOOD)
        assert caplog.text == ""
        bench.convert(f"{GOOD}W11001: Op [Slice_7] is slow.\n")
        assert "atc: W11001: Op [Slice_7] is slow." in caplog.text


FALLING: list[tuple[str, dict[str, bytes], str]] = [
    ("another chip", {OM: om(model_def({"soc_version": text("Ascend310P1")}))}, "'Ascend310P1'"),
    ("truncated", {OM: om(model_def(OURS), short=1)}, "not whole: .*truncated.*Convert again"),
    ("something appended", {OM: om(model_def(OURS)) + b"\0"}, "not whole: .*appended"),
    ("shorter than a header", {OM: b"IMOD" + bytes(99)}, "not whole: .*truncated"),
    ("no .om", {OM: b"PK\3\4" + bytes(400)}, "not whole"),
    ("empty", {OM: b""}, "not whole"),
    ("no file", {}, "success and no .om file. Report it"),
    ("two files", {OM: om(b""), OM.replace(".om", "_linux_x86_64.om"): om(b"")}, "2 .om files"),
]


@pytest.mark.parametrize(("what", "files", "says"), FALLING, ids=[f[0] for f in FALLING])
def test_a_file_that_cannot_run_falls(
    bench: Bench, what: str, files: dict[str, bytes], says: str
) -> None:
    """The remedy fits: a full disk is named only where it is full."""
    with pytest.raises(ExportError, match=says) as told:
        bench.convert(GOOD, files)
    assert "disk" not in str(told.value), what
    assert f"Log: {bench.log}" in str(told.value)


def test_a_full_disk_is_named_where_it_is_full(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(bench.folder)._replace(free=4096)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    for files in ({}, {OM: om(model_def(OURS), short=40)}):
        with pytest.raises(ExportError, match="The disk is full"):
            bench.convert(GOOD, files)
    assert bench.convert(GOOD).soc_version == "Ascend310P3"


@pytest.mark.parametrize(
    "output",
    [
        GOOD,
        f"{STARTS}{SUCCESS}\n",
        f"{SUCCESS}\n",  # the first line is missing
        f"{STARTS[:-2]}...\n{SUCCESS}\n",
        f"{STARTS}......{SUCCESS}\nW11001: Op [Slice_7] is slow.\n\n",
        # what Python says of CANN's own modules
        f"{STARTS}<frozen importlib>:914: ImportWarning: T not found\n...\n...\n{SUCCESS}\n",
        f"{STARTS}警告: 算子 [卷积]\n{SUCCESS}\n".encode("gbk"),  # another encoding
        f"{STARTS}\r\n...\r\n{SUCCESS}\r\n",
    ],
    ids=[str(i) for i in range(8)],
)
def test_success_in_all_its_looks(bench: Bench, output: str | bytes) -> None:
    assert bench.convert(output).soc_version == "Ascend310P3"


def test_atc_finds_the_callers_python_first(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export in an environment that is not activated leaves PATH and PYTHONPATH as they were.

    ATC compiles in the python3 that is first on PATH: hicann/ge py_decouple.cc, LaunchDynamicLib.
    """
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.setenv("PATH", f"/opt/py3.9/bin:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", "/opt/cann/python/site-packages")
    bench.convert(GOOD, end='echo "$PATH $PYTHONPATH $VIRTUAL_ENV $PYTHONHOME"')
    last = bench.log.read_text().splitlines()[-1]
    assert last.split() == [os.environ["PATH"], "/opt/cann/python/site-packages"]


@pytest.mark.parametrize(
    ("output", "end", "says"),
    [
        # both lines: something failed beside what succeeded
        (f"{GOOD}{FAILED}E19999: Inner Error!\nE19999  no such axis\n", "exit 0", "no such axis"),
        (f"{STARTS}{FAILED}E10016: none\n{SUCCESS}\n", "exit 0", "E10016: none"),
        (f"{STARTS}...", "kill -11 $$", r"exited -11 .*crashed \(SIGSEGV\).*runtime.doctor"),
        (f"{STARTS}......", "exit 0", "exited 0"),
        ("", "exit 255", "exited 255 after .*: no output. Read the log"),
        (f"{STARTS}....", "kill -9 $$", "exited -9 .*memory.*TE_PARALLEL_COMPILER=1"),
        (f"{STARTS}atc: 9 Killed  atc.bin\n", "exit 137", "memory.*TE_PARALLEL_COMPILER=1"),
        (f"{FAILED}E10016: 图像 不存在\n".encode("gbk"), "exit 255", "E10016: "),
    ],
    ids=[str(i) for i in range(8)],
)
def test_a_failed_run_leaves_nothing(
    bench: Bench, output: str | bytes, end: str, says: str
) -> None:
    """Although a whole .om for this chip lies there; in one line, with the log."""
    with pytest.raises(ExportError, match=says) as told:
        bench.convert(output, end=end)
    assert "\n" not in str(told.value)
    assert bench.log.read_text().startswith("$ atc --model=model.onnx")


# What comes after the success line: plugins are unloaded and Python is shut down (hicann/ge
# api/atc/main_impl.cc:2242, and the guard in main_impl), which is where it may still die.
LATE = ("kill -11 $$", "kill -6 $$", "exit 139", "exit 134", "exit 255", "exit 1")


@pytest.mark.parametrize("end", LATE)
def test_a_death_after_success_leaves_the_file_with_a_warning(
    bench: Bench, caplog: pytest.LogCaptureFixture, end: str
) -> None:
    made = bench.convert(f"{GOOD}Segmentation fault (core dumped)\n", end=end)
    assert made.soc_version == "Ascend310P3"
    (warning,) = (r.getMessage() for r in caplog.records if r.levelname == "WARNING")
    assert f"{OM} is whole and stands" in warning
    assert "parity.selftest" in warning


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, r"crashed \(SIGSEGV\): .*; success and no .om file\. Run python -m runtime.doctor"),
        ({OM: om(model_def(OURS), short=9)}, "SIGSEGV.*not whole"),
        ({OM: om(model_def({"soc_version": text("Ascend310P1")}))}, "a model for 'Ascend310P1'"),
    ],
)
def test_a_death_after_success_without_a_file_that_runs_falls(
    bench: Bench, files: dict[str, bytes], says: str
) -> None:
    with pytest.raises(ExportError, match=says):
        bench.convert(GOOD, files, end="exit 139")


def test_what_was_ended_for_its_time_falls_whatever_it_printed(bench: Bench) -> None:
    """Nobody knows what it was still about."""
    with pytest.raises(ExportError, match="was ended"):
        bench.convert(GOOD, end="sleep 60", timeout_s=1.0)


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("/home/me/build/.star68-x1_2/scratch", True),
        ("/home/模型/build", True),
        ("/home/Max Muster/build", False),
        ("/home/m+n/build", False),
        ("/home/ü/build", False),
        ("/home/(1)/build", False),
    ],
)
def test_the_paths_that_atc_takes(path: str, *, taken: bool) -> None:
    """Letters, digits, . _ - and Chinese: hicann/ge base/common/util.cc, IsPathCharsValid."""
    assert bool(ATCS_PATH.fullmatch(path)) is taken
