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


@pytest.mark.parametrize(("flag", "ending"), [([], " npu:0"), (["--allow-hf32"], " npu:0 HF32")])
def test_every_command_names_the_engine_with_its_precision(
    torch_npu: Any,
    tiny: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flag: list[str],
    ending: str,
) -> None:
    """In a recording's header, too, which crosses the air gap; the CPU's name stays."""
    pair, npz, timed = (f"{tiny}@cpu", f"{tiny}@npu:0"), tmp_path / "r.npz", tmp_path / "r.json"
    assert record.main([pair[1], "--output", str(npz), *flag]) == 0
    assert load_recording(npz).header.engine.endswith(ending)

    # 4: a single run is too few to quote
    assert benchmark.main(["--sources", *pair, "--runs", "1", "--output", str(timed), *flag]) == 4
    source = json.loads(timed.read_text())["sources"][1]
    assert source["engine"].endswith(ending)
    # a warm-up is never timed
    assert source["stages"]["compute"]["max_ms"] < torch_npu.FIRST_OF_SHAPE_MS

    capsys.readouterr()
    assert compare.main([*pair, "--json", "--max-mean", "90", "--max-error", "90", *flag]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["candidate"]["engine"].endswith(ending)
    assert report["reference"]["engine"].endswith(" cpu")
    assert (report["photo_px"]["axis"]["max"] == 0) is (not flag)
