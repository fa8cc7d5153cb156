"""Bounds on paper: against Huawei's own peaks, the reference's chip and arithmetic by hand."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from builders import ROOT

from parity.npu_bound import CHIPS, Work, chip_of, fused_s, kernels_s, network_bound_s
from runtime.model.manifest import read_manifest

REFERENCE_EAGER_S = 26.71e-3


@pytest.mark.parametrize(("soc", "tflops"), [("Ascend310P3", 70), ("Ascend910B3", 313)])
def test_the_cube_has_its_published_peak(soc: str, tflops: float) -> None:
    assert 2 * CHIPS[soc].macs_per_s["fp16"] == tflops * 1e12


def test_whichever_unit_takes_longest_bounds_a_call() -> None:
    """A 310P3: 35 GMAC are 1 ms for one picture; 16 MB of fp16 weights stay in its cache."""
    chip = CHIPS["Ascend310P3"]
    assert fused_s(chip, Work(macs=35 * 10**9), "fp16", 4, 0) == pytest.approx(4e-3)
    for weights, rate in ((8 << 20, chip.cube_bytes_per_s), (9 << 20, 204.8e9)):
        found = fused_s(chip, Work(weights=weights), "fp16", 16, weights)
        assert found == pytest.approx(2 * weights / rate)
    add, convolution = Work(vector=10**6, moved=3 * 10**6), Work(macs=35 * 10**9)
    assert kernels_s(chip, (add, convolution), "fp16", 1) == pytest.approx(
        1e-3 + 6e6 / chip.vector_bytes_per_s
    )


def test_the_full_size_network_stays_far_below_what_was_measured() -> None:
    """33.5 GFLOP and 14.5 million numbers; the reference's chip has the 910B3's architecture."""
    bound = network_bound_s("Ascend910B3", 33.5, 14_457_457)
    assert bound == pytest.approx(33.5e9 / 313e12)
    assert bound is not None
    assert bound < REFERENCE_EAGER_S / 100


@pytest.mark.parametrize("soc", ["Ascend910B3vir05_1c_16g", "Ascend910B4", "Ascend310B1"])
def test_slices_and_chips_without_figures_have_no_bound(soc: str) -> None:
    assert chip_of(soc) is None
    assert network_bound_s(soc, 1, 1) is None


def test_the_documents_tables_come_from_the_graph(starter_bundle: Path) -> None:
    """Every kernel lies in one row, and the arithmetic is the manifest's."""
    made = runpy.run_path(str(ROOT / "scripts/npu_bounds.py"))["tables"](starter_bundle)
    rows = [line.split(" | ") for line in made["work"].splitlines()[2:]]
    whole = float(rows[-1][2])
    assert sum(float(row[2]) for row in rows[:-1]) == pytest.approx(whole, abs=0.03)
    assert 2 * whole == pytest.approx(read_manifest(starter_bundle).onnx.cost.gflop, abs=0.01)
    text = (ROOT / "docs/npu_performance.md").read_text()
    assert [name for name in made if f"<!-- {name} -->\n| " not in text] == []
