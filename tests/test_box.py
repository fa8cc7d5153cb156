"""The whole product on a simulated box, by its command lines: export, compare, infer, benchmark."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import jsonschema
import pytest
from builders import ROOT, STARTER, run_module
from cann.control import Control
from cann.plugin import Cann

from runtime.model.manifest import read_manifest

CHIPS = ("Ascend910B3", "Ascend910_9362")
ORIGIN = ("--precision_mode_v2", "origin")


def compared(*arguments: object) -> tuple[int, dict[str, float], dict[str, float]]:
    """Exit code, photo px and crop px of a comparison on the sample pictures."""
    done = run_module("parity.compare", *arguments, "--json")
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    return done.returncode, report["photo_px"]["axis"], report["crop_px"]["axis"]


@pytest.fixture
def box(npu: Control, cann: Cann) -> Callable[[str], None]:
    """A box with this chip; command lines started from here find it."""

    def choose(soc: str) -> None:
        cann.set_soc(soc)
        npu.reset()

    return choose


@pytest.mark.parametrize("soc", CHIPS)
def test_true_fp32_on_the_box_is_the_checkpoint(
    box: Callable[[str], None], converted: Callable[..., Path], soc: str
) -> None:
    """Checkpoint on the CPU against the .om: within a thousandth of a crop px."""
    bundle = converted("--soc_version", soc, *ORIGIN)
    box(soc)
    code, _, crop = compared(f"{STARTER}@cpu", f"{bundle}@npu:0")
    assert code == 0
    assert crop["max"] < 0.001


@pytest.mark.parametrize("soc", CHIPS)
def test_the_default_precision_is_seen_and_is_small(
    box: Callable[[str], None], converted: Callable[..., Path], soc: str
) -> None:
    """ATC's default is fp16: a mean error between 1e-4 and 0.02, a maximum under 0.3 crop px."""
    bundle = converted("--soc_version", soc)
    box(soc)
    code, _, crop = compared(f"{STARTER}@cpu", f"{bundle}@npu:0")
    assert code == 0
    assert 1e-4 < crop["mean"] < 0.02
    assert crop["max"] < 0.3


def test_hf32_lies_between_them(
    box: Callable[[str], None], converted: Callable[..., Path], tmp_path: Path
) -> None:
    """Origin without enable_float_32_execution: what A2 and A3 chips may run for fp32."""
    own = tmp_path / "own.ini"
    own.write_text("[ByOpType]\nConv2D=high_performance\n")
    bundle = converted(*ORIGIN, "--op_precision_mode", str(own))
    box("Ascend910B3")
    _, _, crop = compared(f"{STARTER}@cpu", f"{bundle}@npu:0")
    assert 1e-4 < crop["mean"] < 0.005


def test_the_manifest_says_what_the_om_is(converted: Callable[..., Path]) -> None:
    bundle = converted("--soc_version", "Ascend910_9362", *ORIGIN)
    (om,) = read_manifest(bundle).om
    assert (om.file, om.soc_version) == ("model_bs1_Ascend910_9362.om", "Ascend910_9362")
    assert (om.batches, om.gears, om.input.dtype) == ((1,), False, "float32")
    assert om.precision == "precision_mode_v2=origin"
    assert om.options["op_precision_mode"] == "op_precision.ini"
    assert om.atc_version.endswith("simulated")
    assert {om.file, "op_precision.ini", "model_bs1_Ascend910_9362.log"} <= set(
        read_manifest(bundle).files
    )


def test_the_references_inference_command(
    box: Callable[[str], None], converted: Callable[..., Path], tmp_path: Path
) -> None:
    """It draws, and says the device, the parameters, the first points and the file."""
    bundle = converted(*ORIGIN)
    box("Ascend910B3")
    picture = tmp_path / "points.png"
    done = run_module(
        "runtime.infer",
        *("--device", "npu:0", "--model", bundle, "--contour"),
        *("--input", ROOT / "assets/test.jpg", "--output", picture),
    )
    assert done.returncode == 0, done.stderr
    assert "Device: npu:0 (pyACL Ascend910B3 precision_mode_v2=origin)" in done.stdout
    assert "Parameters: 1,282,818" in done.stdout
    drawn = cv2.imread(str(picture))
    assert drawn is not None
    assert drawn.shape == (768, 1024, 3)


def test_the_references_benchmark_command(
    box: Callable[[str], None], converted: Callable[..., Path], tmp_path: Path
) -> None:
    """Accuracy and latency by stage of npu:0 against the CPU; the device's promises are judged."""
    bundle = converted(*ORIGIN)
    box("Ascend910B3")
    output = tmp_path / "benchmark_report.json"
    done = run_module(
        "parity.benchmark",
        *("--device_npu", "npu:0", "--device_cpu", "cpu", "--runs", "100"),
        *("--model", bundle, "--output", output),
    )
    report = json.loads(output.read_text())
    broken = any(promise["holds"] is False for promise in report["promises"])  # on a CPU's speed
    assert done.returncode == (4 if report["invalid"] else int(broken)), done.stderr
    schema = json.loads((ROOT / "docs/benchmark_report.schema.json").read_text())
    jsonschema.validate(report, schema)
    cpu, npu = report["sources"]
    assert (cpu["network"]["runs"], npu["network"]["runs"]) == (20, 100)
    assert {"h2d", "compute", "d2h"} <= set(npu["stages"])
    assert report["accuracy"][0]["crop_px"]["axis"]["max"] < 0.001
    assert all(promise["holds"] is not None for promise in report["promises"])


def test_a_box_with_another_chip_refuses_in_one_line(
    box: Callable[[str], None], converted: Callable[..., Path]
) -> None:
    """Exit code 2; no engine runs, nothing falls back to the CPU."""
    bundle = converted(*ORIGIN)
    box("Ascend910B4")
    done = run_module("parity.selftest", bundle, "--device", "npu:0")
    assert done.returncode == 2
    assert "expected an .om for this device, npu:0 Ascend910B4, got one for Ascend910B3" in (
        done.stderr
    )
