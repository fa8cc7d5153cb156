"""The conversion: the argument list, the run, and what is believed of it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from builders import ROOT, tiny_config
from cann import graphs
from cann.plugin import Cann
from numpy.typing import NDArray

from export.__main__ import main
from export.atc.aipp import aipp_config, aipp_error, normalised_by_aipp
from export.atc.options import AtcTable
from export.atc.plan import plan_om
from export.atc.to_om import (
    FLOAT32_CONVOLUTIONS,
    Conversion,
    atc_arguments,
    conversions,
    convert,
    setting_files,
)
from runtime.errors import BackendUnavailable, ConfigError, ExportError
from runtime.machine.soc import soc_of
from runtime.model.manifest import ONNX_NAME, read_manifest
from runtime.model.spec import InputSpec


def one(soc: str = "Ascend910B3", **table: Any) -> Conversion:
    found = conversions(AtcTable(soc_version=soc, **table), soc_of(soc), InputSpec())
    return found[0]


def test_the_argument_list_says_everything_and_nothing_of_this_machine() -> None:
    assert atc_arguments(one()) == [
        "--model=model.onnx",
        "--framework=5",
        "--output=model_bs1_Ascend910B3",
        "--soc_version=Ascend910B3",
        "--input_format=NCHW",
        "--input_shape=image:1,3,256,256",
    ]
    given = {"op_select_implmode": "high_precision", "optypelist_for_implmode": "Gelu,Sigmoid"}
    given |= {"precision_mode": "force_fp16", "output_type": "FP16"}
    assert {f"--{name}={value}" for name, value in given.items()} <= {*atc_arguments(one(**given))}


def test_gears_are_one_file_and_batches_are_several() -> None:
    gears = conversions(AtcTable(dynamic_batch_size="8,1,2"), soc_of("Ascend910B3"), InputSpec())
    assert [c.stem for c in gears] == ["model_bs1-2-8_Ascend910B3"]
    assert "--input_shape=image:-1,3,256,256" in atc_arguments(gears[0])
    assert "--dynamic_batch_size=1,2,8" in atc_arguments(gears[0])
    static = conversions(AtcTable(batch_sizes=(4, 1)), soc_of("Ascend910B3"), InputSpec())
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
    conversion = one(soc, **{option: value})
    assert ("--op_precision_mode=op_precision.ini" in atc_arguments(conversion)) is asked
    assert (setting_files(conversion).get("op_precision.ini") == FLOAT32_CONVOLUTIONS) is asked


def test_a_users_own_precision_file_is_not_replaced(tmp_path: Path) -> None:
    own = tmp_path / "mine.ini"
    own.write_text("[ByOpType]\nConv2D=high_performance\n")
    conversion = one(precision_mode_v2="origin", op_precision_mode=str(own))
    assert setting_files(conversion) == {"op_precision.ini": own.read_text()}
    own.write_text("conv\n\nrelu\n")  # ATC refuses a blank line in one of these two alone
    assert setting_files(one(keep_dtype=str(own))) == {"keep_dtype.txt": "conv\n\nrelu\n"}
    assert setting_files(one(customize_dtypes=str(own))) == {"customize_dtypes.txt": "conv\nrelu\n"}


def test_aipp_is_derived_from_the_network() -> None:
    """BGR to BGR: no swap; 127 and a half as AIPP's whole mean and its minimum."""
    text = aipp_config(InputSpec(size=64))
    for line in (
        "aipp_mode: static",
        "input_format: RGB888_U8",
        "rbuv_swap_switch: false",
        "src_image_size_w: 64",
        "mean_chn_2: 127",
        "min_chn_0: 0.5",
        "var_reci_chn_1: 0.00784313725490196",
    ):
        assert f"    {line}\n" in text


def test_aipps_rounding_is_what_fp16_makes_of_it() -> None:
    """Every grey level: off by 1.5e-5 relative from the reciprocal, and half an fp16 step."""
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    spec = InputSpec(size=16)
    exact, rounded = spec.pack(levels), normalised_by_aipp(levels, spec)
    slow = (levels.astype(np.float64) - 127 - 0.5) * float(np.float16(1 / 127.5))
    expected = slow.astype(np.float16).astype(np.float32).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(rounded, expected)
    relative = np.abs(rounded - exact) / np.abs(exact)
    assert 1.4e-5 < abs(float(np.float16(1 / 127.5)) * 127.5 - 1) < 1.6e-5
    assert relative.max() < 2**-11 + 2e-5


def test_the_error_stated_of_aipp_is_in_crop_px(
    starter_bundle: Path, rng: np.random.Generator
) -> None:
    """Landmarks lie in -1 to 1 over a crop of 256 px."""
    crops = rng.integers(0, 256, (3, 256, 256, 3), dtype=np.uint8)
    fact = aipp_error(starter_bundle / ONNX_NAME, crops)
    session = onnxruntime.InferenceSession(starter_bundle / ONNX_NAME)
    spec = InputSpec()
    here, there = (
        session.run(["landmarks"], {"image": image})[0]
        for image in (spec.pack(crops), normalised_by_aipp(crops, spec))
    )
    moved = np.abs(here - there) * 128
    assert fact.pictures == 3
    assert (fact.mean_px, fact.max_px) == pytest.approx((moved.mean(), moved.max()), rel=0.1)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A graph that converts in a moment."""
    folder = tmp_path / "graph"
    folder.mkdir()
    graphs.save(folder, graphs.conv(dims=(1, 3, 256, 256)))
    return folder / ONNX_NAME


def attempt(cann: Cann, small: Path, tmp_path: Path, **table: Any) -> tuple[Path, Path]:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    log = tmp_path / "atc.log"
    file, _ = convert(one("Ascend910B3", **table), cann.atc, small, scratch, log)
    return file, log


@pytest.mark.parametrize("cann_version", ["6.0", "8.5.0", "9.0.0"])
def test_it_converts_under_every_look_of_atc(
    cann: Cann, small: Path, tmp_path: Path, cann_version: str
) -> None:
    cann.set_version(cann_version)
    file, log = attempt(cann, small, tmp_path)
    assert file.name == "model_bs1_Ascend910B3.om"
    assert log.read_text().startswith("$ atc --model=model.onnx")


def test_whatever_suffix_the_file_gets_is_found(cann: Cann, small: Path, tmp_path: Path) -> None:
    cann.set("CANNSIM_SUFFIX", "1")
    file, _ = attempt(cann, small, tmp_path)
    assert file.name.startswith("model_bs1_Ascend910B3_linux_")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("exit=7", r"exited 7 after \d+ s: no output"),
        ("success-without-file", "success and no .om file"),
        ("truncated-file", "success and a file that is not whole"),
        ("silent-failure", "exited 0"),
        ("oom", "exited -9"),
        ("E10054", r"E10054.*\(likely: a required option is empty\)"),
        ("wrong-soc", "success and a model for"),
        ("partial-then-die", "exited -9"),
    ],
)
@pytest.mark.parametrize("cann_version", ["6.0", "9.0.0"])
def test_success_is_believed_only_of_the_file(
    cann: Cann, small: Path, tmp_path: Path, fault: str, says: str, cann_version: str
) -> None:
    """And the log is named, and there."""
    cann.set_version(cann_version)
    cann.set_fault(f"atc:{fault}")
    with pytest.raises(ExportError, match=says) as told:
        attempt(cann, small, tmp_path)
    assert f"Log: {tmp_path / 'atc.log'}" in str(told.value)
    assert (tmp_path / "atc.log").is_file()


class Running:
    """The processes of the one atc that this test started; others may run beside it."""

    def __init__(self, cann: Cann) -> None:
        self._place = cann.folder / "pids"
        cann.set("CANNSIM_PIDS", str(self._place))

    def pids(self) -> list[int]:
        return [int(one) for one in self._place.read_text().split()]

    def wait(self, export: subprocess.Popen[str], processes: int) -> None:
        """Return once so many run: the export's own handlers are in place by then."""
        deadline = time.monotonic() + 300
        while not (self._place.exists() and len(self.pids()) == processes):
            assert export.poll() is None, export.communicate()
            assert time.monotonic() < deadline, "atc did not start"
            time.sleep(0.05)

    def left(self) -> list[str]:
        """Those that live on; what was killed may need a moment on a busy machine."""
        deadline = time.monotonic() + 60
        while (left := self._alive()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left

    def _alive(self) -> list[str]:
        command = ["ps", "-o", "stat=,pid=,args=", "-p", ",".join(map(str, self.pids()))]
        listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return [line for line in listed.splitlines() if not line.startswith("Z")]


@pytest.fixture
def running(cann: Cann) -> Running:
    return Running(cann)


def test_a_hanging_atc_is_ended_with_all_its_children(
    cann: Cann, small: Path, tmp_path: Path, running: Running
) -> None:
    cann.set_fault("atc:hang")
    with pytest.raises(ExportError, match=r"was ended after \d+ s \(its --atc_timeout\)"):
        attempt(cann, small, tmp_path, timeout_s=10.0)
    assert len(running.pids()) == 2
    assert running.left() == []


def test_require_without_atc_is_unavailable() -> None:
    with pytest.raises(BackendUnavailable, match="set_env.sh"):
        plan_om(AtcTable(soc_version="Ascend910B3"), "require")
    with pytest.raises(ConfigError, match="exact chip"):
        plan_om(AtcTable(), "require")


@pytest.mark.parametrize("soc", ["Ascend910B3", "Ascend310P3", "Ascend910_9362"])
def test_auto_asks_the_machine(cann: Cann, soc: str) -> None:
    cann.set_soc(soc)
    plan = plan_om(AtcTable(soc_version="auto"), "require")
    assert plan.soc is not None
    assert plan.soc.name == soc


@pytest.fixture
def bundle(tiny: Path, tmp_path: Path) -> tuple[Path, list[str]]:
    """A tiny bundle without .om, and the command line that made it."""
    config = tiny_config(tmp_path, tiny)
    line = ["--config", str(config), "--output", str(tmp_path / "out"), "--no-parity"]
    assert main(line) == 0
    return tmp_path / "out", line


def test_auto_without_atc_says_so_and_prints_the_command(
    bundle: tuple[Path, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    """The exact one, for this export and this chip."""
    folder, line = bundle
    assert main([*line, "--soc_version", "Ascend910B3", "--aipp"]) == 0
    assert "holds no .om: atc, CANN's converter, is not on PATH" in caplog.text
    assert "--om require --soc_version Ascend910B3" in caplog.text
    assert "atc --model=model.onnx --framework=5" in caplog.text
    assert read_manifest(folder).om == ()


def test_require_without_atc_is_exit_3(bundle: tuple[Path, list[str]]) -> None:
    folder, line = bundle
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


@pytest.mark.usefixtures("cann")
def test_converted_files_are_kept_until_something_changes(
    bundle: tuple[Path, list[str]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
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
    # another graph: the files are of the old one
    assert main([*chip, "--batch_sizes", "1,2", "--exporter", "dynamo"]) == 0
    assert read_manifest(folder).om == ()


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


@pytest.mark.usefixtures("cann")
def test_dry_run_says_what_would_be_dropped(
    bundle: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    _, line = bundle
    assert main([*line, "--soc_version", "Ascend910B3"]) == 0
    capsys.readouterr()
    assert main([*line, "--om", "never", "--dry-run"]) == 0
    assert "om: would drop model_bs1_Ascend910B3.om: --om never" in capsys.readouterr().out


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


def test_preflight_stops_a_conversion_until_its_rule_is_ignored(
    bundle: tuple[Path, list[str]],
    cann: Cann,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Exit code 1 with the old bundle in place; the line names the flag, and what is left stops."""
    from export.preflight import Finding

    found = [
        Finding(severity="refused", rule=rule, node="n", found="f", remedy="r", source="s")
        for rule in ("opset", "long-name")
    ]
    monkeypatch.setattr("export.preflight.preflight", lambda *_, **__: tuple(found))
    folder, line = bundle
    line += ["--om", "require", "--soc_version", "Ascend910B3"]
    before = (folder / "manifest.json").read_bytes()
    assert main(line) == 1
    said = capfd.readouterr().err
    assert "--ignore-preflight long-name --ignore-preflight opset" in said
    assert main([*line, "--ignore-preflight", "opset"]) == 1
    assert "1 findings, the first: long-name" in capfd.readouterr().err
    assert (folder / "manifest.json").read_bytes() == before
    assert not list(cann.folder.glob("*.om"))
    assert main([*line, "--ignore-preflight", "opset", "--ignore-preflight", "long-name"]) == 0
    manifest = read_manifest(folder)
    assert len(manifest.om) == 1
    assert [one.split(": ")[1] for one in manifest.preflight] == ["opset", "long-name"]


def test_the_printed_command_repeats_what_is_ignored(
    bundle: tuple[Path, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    _, line = bundle
    line += ["--soc_version", "Ascend910B3", "--ignore-preflight", "opset"]
    assert main([*line, "--ignore-preflight", "long-name"]) == 0
    assert "--ignore-preflight=opset --ignore-preflight=long-name" in caplog.text


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


@pytest.mark.parametrize("rule", ["quantized", "byte-input"])
def test_a_quantised_graph_is_exit_2(
    bundle: tuple[Path, list[str]], cann: Cann, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    from export.preflight import Finding

    found = Finding(
        severity="refused", rule=rule, node="q", found="QuantizeLinear", remedy="r", source="s"
    )
    monkeypatch.setattr("export.preflight.preflight", lambda *_, **__: (found,))
    _, line = bundle
    assert cann.atc.is_file()
    assert main([*line, "--om", "require", "--soc_version", "Ascend910B3"]) == 2


def started(line: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "export", *line, "--om", "require", "--soc_version", "Ascend910B3"],
        cwd=ROOT,
        env=dict(os.environ),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_atc_too_and_leaves_the_old_bundle(
    bundle: tuple[Path, list[str]], cann: Cann, running: Running, number: signal.Signals
) -> None:
    folder, line = bundle
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    cann.set_fault("atc:hang")
    process = started(line)
    running.wait(process, 2)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "interrupted" in said
    assert running.left() == []
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert sorted(p.name for p in folder.parent.iterdir()) == [".out.lock", "out", "tiny.toml"]


def test_kill_during_atc_leaves_the_old_bundle(
    bundle: tuple[Path, list[str]], cann: Cann, running: Running
) -> None:
    """SIGKILL: nothing can be tidied up then; the next export does."""
    folder, line = bundle
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    cann.set("CANNSIM_ATC_SECONDS", "600")
    process = started(line)
    running.wait(process, 1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    for pid in running.pids():  # the killed export could not end it
        os.kill(pid, signal.SIGKILL)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    cann.set("CANNSIM_ATC_SECONDS", None)
    assert main([*line, "--om", "require", "--soc_version", "Ascend910B3"]) == 0
    assert len(read_manifest(folder).om) == 1
    assert sorted(p.name for p in folder.parent.iterdir()) == [".out.lock", "out", "tiny.toml"]


def test_the_float_graph_is_what_atc_gets(
    bundle: tuple[Path, list[str]], cann: Cann, rng: np.random.Generator
) -> None:
    """The stored graph computes what model.onnx does."""
    from cann.atc_driver import stored_graph

    assert cann.atc.is_file()
    folder, line = bundle
    assert main([*line, "--om", "require", "--soc_version", "Ascend910B3"]) == 0
    (om,) = read_manifest(folder).om
    stored = stored_graph(folder / om.file).SerializeToString()
    x: NDArray[np.float32] = rng.normal(size=(1, 3, 256, 256)).astype(np.float32)
    sessions = (
        onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        for graph in ((folder / ONNX_NAME).read_bytes(), stored)
    )
    here, there = (session.run(None, {"image": x}) for session in sessions)
    for one_output, other in zip(here, there, strict=True):
        np.testing.assert_allclose(one_output, other, atol=1e-5)
