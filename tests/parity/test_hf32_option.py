"""--allow-hf32 on the command lines that compare: it reaches every source, and the names tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from parity.benchmark import __main__ as benchmark
from parity.compare import __main__ as compare
from parity.record import __main__ as record
from parity.recording.recording import load_recording


@pytest.mark.usefixtures("torch_npu")
def test_recording_tells_that_hf32_was_allowed(tiny: Path, tmp_path: Path) -> None:
    """In its header, which crosses the air gap; without the flag it is not."""
    exact, fast = tmp_path / "exact.npz", tmp_path / "fast.npz"

    assert record.main([f"{tiny}@npu:0", "--output", str(exact)]) == 0
    assert record.main([f"{tiny}@npu:0", "--output", str(fast), "--allow-hf32"]) == 0
    assert load_recording(exact).header.engine.endswith(" npu:0")
    assert load_recording(fast).header.engine.endswith(" npu:0 HF32")


@pytest.mark.usefixtures("torch_npu")
@pytest.mark.parametrize(("flag", "ending"), [([], "npu:0"), (["--allow-hf32"], "npu:0 HF32")])
def test_comparison_names_the_engine_with_its_precision(
    tiny: Path, capsys: pytest.CaptureFixture[str], flag: list[str], ending: str
) -> None:
    """The CPU has no such switch, and its name stays."""
    code = compare.main(
        [f"{tiny}@cpu", f"{tiny}@npu:0", "--json", "--max-mean", "90", "--max-error", "90", *flag]
    )
    report = json.loads(capsys.readouterr().out)

    assert code == 0
    assert report["candidate"]["engine"].endswith(ending)
    assert report["reference"]["engine"].endswith(" cpu")
    assert (report["photo_px"]["axis"]["max"] == 0) is (not flag)


def test_benchmark_names_the_engine_with_its_precision(
    torch_npu: Any, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same flag, on the command line that times; a warm-up is never timed."""
    out = tmp_path / "report.json"
    code = benchmark.main(
        [
            *("--sources", f"{tiny}@cpu", f"{tiny}@npu:0", "--runs", "1"),
            *("--allow-hf32", "--output", str(out)),
        ]
    )
    capsys.readouterr()
    report = json.loads(out.read_text())

    assert code in (0, 1)
    assert report["sources"][1]["engine"].endswith(" npu:0 HF32")
    assert report["sources"][1]["stages"]["compute"]["max_ms"] < torch_npu.FIRST_OF_SHAPE_MS
