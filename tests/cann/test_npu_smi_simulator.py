"""The simulated npu-smi prints what npu-smi prints."""

from __future__ import annotations

import os
import re
import subprocess

import npu_smi_tables as tables
import pytest
from builders import ROOT

SIMULATOR = ROOT / "tests/cann/bin/npu-smi"


def ask(soc: str, *arguments: str, devices: int = 1) -> subprocess.CompletedProcess[str]:
    """Run `npu-smi info ARGUMENTS` on such a box."""
    environment = {**os.environ, "CANNSIM_SOC": soc, "CANNSIM_DEVICES": str(devices)}
    environment.pop("CANNSIM_FAULT", None)
    return subprocess.run(
        [SIMULATOR, "info", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment,
    )


def shape(line: str) -> object:
    """Rulers and headings as they are; of rows, where bars, slashes and values begin."""
    if line.startswith("+") or re.search("Bus-Id|Health|Process id", line):
        return line
    return [found.start() for found in re.finditer(r"[|/]|[^\s|/]+", line)]


@pytest.mark.parametrize(
    ("soc", "form"),
    [
        ("Ascend310", tables.DDR_PCIE),
        ("Ascend310P3", tables.DDR_PCIE),
        ("Ascend310Pvir01", tables.DDR_PCIE),
        ("Ascend310P3Vir04", tables.DDR_PCIE),
        ("Ascend310B4", tables.DDR_BOARD),
        ("Ascend910A", tables.FIRST_910),
        ("Ascend910ProB", tables.HBM),
        ("Ascend910B3", tables.HBM),
        ("Ascend910B4-1", tables.HBM),
        ("Ascend910B3vir05_1c_16g", tables.HBM),
        ("Ascend910_9392", tables.A3),
        ("Ascend910_9392vir06_1c_16g", tables.A3),
        ("Ascend950PR_9579", tables.A5),
        ("Ascend950DT_95A1", tables.A5_UB),
    ],
)
def test_tables_have_the_shape_of_real_ones(soc: str, form: str) -> None:
    """Line by line: rulers and headings to the letter, cells where the real ones begin."""
    printed = ask(soc, devices=len(tables.ROWS[form])).stdout

    assert [shape(line) for line in printed.splitlines()] == [
        shape(line) for line in form.splitlines()
    ]


@pytest.mark.parametrize(
    ("soc", "options", "form"),
    [
        ("Ascend910B4", ["-c", "0"], tables.BOARD_A2_CHIP),
        ("Ascend910B4", [], tables.BOARD_A2_CARD),
        ("Ascend910_9372", ["-c", "0"], tables.BOARD_A3_CHIP),
        ("Ascend950PR_957b", [], tables.BOARD_A5),
    ],
)
def test_boards_have_the_labels_of_real_ones(soc: str, options: list[str], form: str) -> None:
    """In their order, widths and indentation; and the names that matter."""
    printed = ask(soc, "-t", "board", "-i", "0", *options).stdout

    assert [line[:34] for line in printed.splitlines()] == [line[:34] for line in form.splitlines()]
    for label in ("Chip Name", "NPU Name", "Chip Type"):
        pattern = rf"^\t{label} +: .*$"
        assert re.findall(pattern, printed, re.MULTILINE) == re.findall(pattern, form, re.MULTILINE)
