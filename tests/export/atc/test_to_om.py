"""The conversion: the argument list, the run, and what is believed of it."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from atc_runs import conversion, planned
from builders import ROOT, tiny_config
from cann.plugin import Cann

from export.__main__ import main
from export.atc.to_om import (
    FLOAT32_CONVOLUTIONS,
    atc_arguments,
    setting_files,
)
from runtime.model.manifest import read_manifest


def test_the_argument_list_says_everything_and_nothing_of_this_machine() -> None:
    assert atc_arguments(conversion()) == [
        "--model=model.onnx",
        "--framework=5",
        "--output=model_bs1_Ascend910B3",
        "--soc_version=Ascend910B3",
        "--input_format=NCHW",
        "--input_shape=image:1,3,256,256",
    ]
    given = {"op_select_implmode": "high_precision", "optypelist_for_implmode": "Gelu,Sigmoid"}
    given |= {"precision_mode": "force_fp16", "output_type": "FP16"}
    assert {f"--{name}={value}" for name, value in given.items()} <= {
        *atc_arguments(conversion(**given))
    }


def test_gears_are_one_file_and_batches_are_several() -> None:
    gears = planned(dynamic_batch_size="8,1,2")
    assert [c.stem for c in gears] == ["model_bs1-2-8_Ascend910B3"]
    assert "--input_shape=image:-1,3,256,256" in atc_arguments(gears[0])
    assert "--dynamic_batch_size=1,2,8" in atc_arguments(gears[0])
    static = planned(batch_sizes=(4, 1))
    assert [c.stem for c in static] == ["model_bs1_Ascend910B3", "model_bs4_Ascend910B3"]
    assert "--input_shape=image:4,3,256,256" in atc_arguments(static[1])


@pytest.mark.parametrize(
    "mode", ["precision_mode=must_keep_origin_dtype", "precision_mode_v2=origin"]
)
@pytest.mark.parametrize(
    ("soc", "asked"), [("Ascend910B3", True), ("Ascend910_9362", True), ("Ascend310P3", False)]
)
def test_true_fp32_convolutions_are_asked_for_where_hf32_would_run(
    mode: str, soc: str, asked: bool
) -> None:
    option, _, value = mode.partition("=")
    made = conversion(soc, **{option: value})
    assert ("--op_precision_mode=op_precision.ini" in atc_arguments(made)) is asked
    assert (setting_files(made).get("op_precision.ini") == FLOAT32_CONVOLUTIONS) is asked


def test_a_users_own_precision_file_is_not_replaced(tmp_path: Path) -> None:
    own = tmp_path / "mine.ini"
    own.write_text("[ByOpType]\nConv2D=high_performance\n")
    made = conversion(precision_mode_v2="origin", op_precision_mode=str(own))
    assert setting_files(made) == {"op_precision.ini": own.read_text()}
    own.write_text("conv\n\nrelu\n")  # ATC refuses a blank line in one of these two alone
    assert setting_files(conversion(keep_dtype=str(own))) == {"keep_dtype.txt": "conv\n\nrelu\n"}
    assert setting_files(conversion(customize_dtypes=str(own))) == {
        "customize_dtypes.txt": "conv\nrelu\n"
    }


@pytest.fixture
def bundle(tiny: Path, tmp_path: Path) -> tuple[Path, list[str]]:
    """A tiny bundle without .om, and the command line that made it."""
    config = tiny_config(tmp_path, tiny)
    line = ["--config", str(config), "--output", str(tmp_path / "out"), "--no-parity"]
    assert main(line) == 0
    return tmp_path / "out", line


@pytest.mark.slow
def test_auto_without_atc_says_so_and_prints_the_command(
    bundle: tuple[Path, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    """The exact one, for this export and this chip; --om require is an error instead."""
    folder, line = bundle
    ignored = ["--ignore-preflight", "opset", "--ignore-preflight", "long-name"]
    assert main([*line, "--soc_version", "Ascend910B3", "--aipp", *ignored]) == 0
    assert "holds no .om: atc, CANN's converter, is not on PATH" in caplog.text
    assert f"{' '.join(ignored)} --om require --soc_version Ascend910B3" in caplog.text
    assert "atc --model=model.onnx --framework=5" in caplog.text
    assert read_manifest(folder).om == ()
    before = (folder / "manifest.json").read_bytes()
    assert main([*line, "--om", "require", "--soc_version", "Ascend910B3"]) == 3
    assert main([*line, "--om", "require"]) == 2
    assert (folder / "manifest.json").read_bytes() == before


def test_print_atc_prints_the_command_alone(cann: Cann, capsys: pytest.CaptureFixture[str]) -> None:
    cann.set("PATH", "/nowhere")
    assert main(["--print-atc", "--soc_version", "Ascend910B3", "--batch_sizes", "1,4"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in printed] == [
        ["atc", "--model=model.onnx", "--framework=5", f"--output=model_bs{n}_Ascend910B3"]
        for n in (1, 4)
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("cann")
def test_converted_files_are_kept_until_something_changes(
    bundle: tuple[Path, list[str]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also on a machine without atc; another option converts anew, never drops them."""
    folder, line = bundle
    chip = [*line, "--soc_version", "Ascend910B3"]
    assert main([*chip, "--batch_sizes", "1,2"]) == 0
    made = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {om.batches for om in read_manifest(folder).om} == {(1,), (2,)}
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    caplog.clear()
    assert main([*chip, "--batch_sizes", "1,2"]) == 0
    assert "up to date: onnx, verify, preflight, parity, selftest, om" in caplog.text
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == made
    # nobody names a chip: what is there stays, and it is said
    caplog.clear()
    assert main([*line, "--max-mean", "0.2"]) == 0
    assert "up to date: om (model_bs1_Ascend910B3.om, model_bs2_Ascend910B3.om)" in caplog.text
    assert {om.batches for om in read_manifest(folder).om} == {(1,), (2,)}
    assert main([*line, "--om", "never", "--dry-run"]) == 0
    assert "om: would drop model_bs1_Ascend910B3.om" in capsys.readouterr().out
    # another graph: the files are of the old one
    assert main([*chip, "--batch_sizes", "1,2", "--exporter", "dynamo"]) == 0
    assert read_manifest(folder).om == ()


@pytest.mark.slow
@pytest.mark.usefixtures("cann")
def test_a_setting_files_content_counts(bundle: tuple[Path, list[str]], tmp_path: Path) -> None:
    """The same name with other words converts anew; the manifest holds no path of this machine."""
    folder, line = bundle
    switches = tmp_path / "switches"
    made: list[str] = []
    for text in ("APass:off\n", "BPass:off\n"):
        switches.write_text(text)
        asked = ["--soc_version", "Ascend910B3", "--fusion_switch_file", str(switches)]
        assert main([*line, *asked]) == 0
        manifest = read_manifest(folder)
        assert manifest.om[0].options["fusion_switch_file"] == "fusion_switch.cfg"
        assert (folder / "fusion_switch.cfg").read_text() == text
        assert str(tmp_path) not in (folder / "manifest.json").read_text()
        made.append(manifest.steps["om"])
    assert made[0] != made[1]


@pytest.mark.slow
@pytest.mark.usefixtures("cann")
def test_a_rejected_bundle_is_not_converted(
    bundle: tuple[Path, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    _, line = bundle
    strict = [option for option in line if option != "--no-parity"]
    strict += ["--max-error", "1e-12", "--max-mean", "1e-12"]
    assert main([*strict, "--om", "require", "--soc_version", "Ascend910B3"]) == 1
    assert "parity was not passed, so nothing was converted" in caplog.text
    assert "--om require" not in caplog.text


def findings(monkeypatch: pytest.MonkeyPatch, *rules: str) -> None:
    """Let preflight find these."""
    from export.preflight import Finding

    found = tuple(
        Finding(severity="refused", rule=rule, node="n", found="f", remedy="r", source="s")
        for rule in rules
    )
    monkeypatch.setattr("export.preflight.preflight", lambda *_, **__: found)


@pytest.mark.slow
def test_preflight_stops_a_conversion_until_its_rule_is_ignored(
    bundle: tuple[Path, list[str]],
    cann: Cann,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Exit code 1 with the old bundle in place; the line names the flag, and what is left stops."""
    findings(monkeypatch, "opset", "long-name")
    folder, line = bundle
    line += ["--om", "require", "--soc_version", "Ascend910B3"]
    before = (folder / "manifest.json").read_bytes()
    assert main(line) == 1
    said = capfd.readouterr().err
    assert "--ignore-preflight long-name --ignore-preflight opset" in said
    assert main([*line, "--ignore-preflight", "opsett"]) == 2
    assert "Did you mean opset" in capfd.readouterr().err
    assert main([*line, "--ignore-preflight", "opset"]) == 1
    assert "1 findings, the first: long-name" in capfd.readouterr().err
    assert (folder / "manifest.json").read_bytes() == before
    assert not list(cann.folder.glob("*.om"))
    assert main([*line, "--ignore-preflight", "opset", "--ignore-preflight", "long-name"]) == 0
    manifest = read_manifest(folder)
    assert len(manifest.om) == 1
    assert [one.split(": ")[1] for one in manifest.preflight] == ["opset", "long-name"]


@pytest.mark.slow
@pytest.mark.usefixtures("cann")
def test_a_folder_that_atc_does_not_take_is_left_for_another(
    bundle: tuple[Path, list[str]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It looks at the model's real path, however the model is named."""
    _, line = bundle
    caplog.set_level(logging.INFO, logger="starmark")
    odd = tmp_path / "two words (1)"
    output = [*line, "--output", str(odd / "out"), "--om", "require"]
    odd.mkdir()
    assert main([*output, "--soc_version", "Ascend910B3vir05_1c_16g"]) == 0
    (om,) = read_manifest(odd / "out").om
    assert (om.soc_version, om.options["virtual_type"]) == ("Ascend910B3", "1")
    assert "910B3vir05_1c_16g is a slice: converting with --virtual_type" in caplog.text
    assert "atc runs in" in caplog.text
    assert [path.name for path in odd.iterdir() if not path.name.startswith(".")] == ["out"]


@pytest.mark.slow
@pytest.mark.usefixtures("cann")
def test_a_quantised_graph_is_exit_2(
    bundle: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, line = bundle
    for rule in ("quantized", "byte-input"):
        findings(monkeypatch, rule)
        assert main([*line, "--om", "require", "--soc_version", "Ascend910B3"]) == 2


def running(process: subprocess.Popen[str], place: Path, count: int) -> list[int]:
    """Wait until atc runs in so many processes: the export's own handlers are in place by then."""
    deadline = time.monotonic() + 300
    while not place.exists() or len(place.read_text().split()) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "atc did not start"
        time.sleep(0.05)
    return [int(pid) for pid in place.read_text().split()]


def alive(pids: list[int]) -> list[str]:
    """Those that still run, zombies aside."""
    command = ["ps", "-o", "stat=,pid=,args=", "-p", ",".join(map(str, pids))]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return [line for line in listed.splitlines() if not line.startswith("Z")]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_atc_too_and_leaves_the_old_bundle(
    bundle: tuple[Path, list[str]], cann: Cann, number: signal.Signals
) -> None:
    folder, line = bundle
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    cann.set_fault("atc:hang")
    cann.set("CANNSIM_PIDS", str(cann.folder / "pids"))
    process = subprocess.Popen(
        [sys.executable, "-m", "export", *line, "--om", "require", "--soc_version", "Ascend910B3"],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    pids = running(process, cann.folder / "pids", 2)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "interrupted" in said
    deadline = time.monotonic() + 60  # what was killed may need a moment on a busy machine
    while alive(pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive(pids) == []
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert sorted(p.name for p in folder.parent.iterdir()) == [".out.lock", "out", "tiny.toml"]
