"""Bad input to parity's command lines: one line, the right exit code, and nothing written."""

from __future__ import annotations

import importlib
import os
import shlex
from pathlib import Path

import numpy as np
import pytest
from builders import STARTER
from recordings import recording_of

from parity.recording.recording import save_recording

PAIR = f"{STARTER}@cpu {{bundle}}"

BAD = [
    # pictures, boxes and jobs, which all commands read alike
    ("compare", f"{PAIR} --images gone", 2, "gone: expected pictures"),
    ("compare", f"{PAIR} --images configs", 2, "configs: expected pictures"),
    ("compare", f"{PAIR} --images README.md", 2, "no decoder takes"),
    ("compare", f"{PAIR} --images assets/test.jpg --max-pixels 9", 2, "at most 9 px, got 1024x768"),
    ("compare", f"{PAIR} --images assets/test.jpg README.md --strict", 2, "no decoder takes"),
    ("compare", f"{PAIR} --images assets/test.jpg assets/test.jpg", 2, "got it twice"),
    ("compare", f"{PAIR} --images assets/*.jpg --boxes gone.csv", 2, "got no such file"),
    ("compare", f"{PAIR} --boxes crop", 2, "--boxes: expected --images"),
    ("compare", f"{PAIR} --jobs 0", 2, "--jobs: expected 1 to 64, got 0"),
    ("compare", f"{PAIR} --max-mean -1", 2, "max_mean: expected a finite number"),
    ("compare", f"{PAIR} --max-error nan", 2, "max_error: expected a finite number"),
    ("compare", f"{PAIR} --output no/folder/x.json", 2, "in a folder that exists"),
    ("compare", f"{PAIR} --keep gone", 2, "a rehearsal among the sources"),
    ("compare", "gone.pkl {bundle}", 2, "gone.pkl"),
    ("compare", f"{PAIR}@npu:0", 3, "a bundle with a converted model"),
    ("compare", "{bundle}", 2, "name two sources or none"),
    ("compare", "a b c", 2, "name two sources or none"),
    ("compare", "{tmp}/1.npz {tmp}/1.npz", 2, "1.npz twice"),
    ("compare", "{tmp}/1.npz gone.npz", 2, "gone.npz: expected a recording"),
    ("compare", "{tmp}/1.npz {tmp}/2.npz@npu:0", 2, "a recording without a device"),
    ("compare", "{tmp}/1.npz {tmp}/pipe.npz", 2, "a folder, pipe or device"),
    ("compare", "{tmp}/1.npz {tmp}/2.npz --images assets", 2, "two recordings, which have theirs"),
    ("compare", "{tmp}/1.npz {tmp}/2.npz --record x.npz", 2, "expected 0 different files"),
    # which would lose the crops that it replays
    ("compare", f"{STARTER}@cpu {{tmp}}/1.npz --record {{tmp}}/1.npz", 2, "a file that is read"),
    ("record", "{bundle} --images {tmp}/1.npz --output {tmp}/1.npz", 2, "a file that is read"),
    ("compare", "{tmp}/1.npz {tmp}/2.npz --max-p95 -1", 2, "max_p95: expected a finite"),
    ("compare", "{tmp}/1.npz {tmp}/2.npz --max-nme-increase 0.1", 2, "none whose NME can be told"),
    # before a missing engine is found missing
    ("compare", f"{STARTER}@cpu {STARTER}@npu:0 --max-nme-increase 1", 2, "none among 2 pictures"),
    ("record", "{bundle} --output {tmp}/r.json", 2, "a name that ends in .npz"),
    ("record", "{bundle} --output no/such/r.npz", 2, "in a folder that exists"),
    ("record", "{bundle} --output {tmp}/r.npz --images gone.npz", 2, "expected a recording"),
    ("record", "{bundle} --output {tmp}/r.npz --images README.md", 2, "at least one that can be"),
    ("record", "{bundle} --output {tmp}/r.npz --jobs 1000", 2, "--jobs: expected 1 to 64"),
    ("record", "{bundle} --output {tmp}/r.npz --keep gone", 2, "a rehearsal among the sources"),
    ("record", "{bundle} --output {tmp}/r.npz --taps", 2, "python -m export --taps"),
    ("stability", "gone.pkl", 2, "gone.pkl"),
    ("stability", "{bundle}@npu:0", 3, "a bundle with a converted model"),
    ("stability", "{bundle} --images README.md", 2, "at least one that can be read"),
    ("stability", "{bundle} --output assets/test.jpg", 2, "a file that is read"),
    ("benchmark", "--output {tmp}/r.json --runs 0", 2, "--runs: expected 1 to 100,000, got 0"),
    ("benchmark", "--output {tmp}/r.json --runs 1000000000", 2, "got 1000000000"),
    ("benchmark", "--output {tmp}/r.json --sources a@cpu a@cpu", 2, "a@cpu twice"),
    ("benchmark", "--output {tmp}/r.json --sources gone.pkl@cpu", 2, "gone.pkl"),
    ("benchmark", "--device_npu none --device_cpu none", 2, "at least one device"),
    ("benchmark", "--device_npu cpu", 2, "auto, none or npu:N, got cpu"),
    ("benchmark", "--device_npu npu:x", 2, "auto, none or npu:N, got npu:x"),
    ("benchmark", "--device_cpu npu:0", 2, "cpu or none, got npu:0"),
    ("benchmark", "--sources a@cpu --device_npu npu:0", 2, "got --device_npu"),
    ("benchmark", "--sources {bundle}@cpu --keep gone", 2, "a rehearsal among the sources"),
    ("benchmark", "--model {bundle} --output no/such/r.json", 2, "in a folder that exists"),
    ("benchmark", "--model {bundle} --output {bundle}/model.onnx", 2, "a file that is read"),
    ("benchmark", "--suite", 2, "python -m benchmarks.suite"),
    ("rehearse", "{bundle} --as fp8", 2, "each once, of fp32"),
    ("rehearse", "{bundle} --as fp16,fp16", 2, "each once, of fp32"),
    ("rehearse", "{bundle} --as hf32 --budget max=1 --plan k.txt", 2, "fp16 alone"),
    ("rehearse", "{bundle} --budget max=1", 2, "go together"),
    ("rehearse", "{bundle} --budget max=1 --plan k.txt --keep k.txt", 2, "choose one"),
    ("rehearse", "{bundle} --budget max=1 --plan k.txt --max-p95 1", 2, "leave the --max options"),
    ("rehearse", "{bundle} --budget max=1 --plan no/such/k.txt", 2, "a folder that exists"),
    ("rehearse", "{bundle} --budget max=1 --plan {bundle}/model.onnx", 2, "a file that is read"),
    ("rehearse", "{bundle} --keep no/such/file", 2, "a text file for --keep"),
    ("rehearse", "{bundle}@npu:0", 2, "Leave the @"),
    ("rehearse", f"{STARTER}", 2, "Export it first"),
    ("selftest", "{tmp}", 2, "no manifest.json"),
    ("selftest", "{tmp}/nothing", 2, "expected a bundle"),
    ("selftest", "{bundle} --runs 0", 2, "--runs: expected 1 to 100,000, got 0"),
    ("selftest", "{bundle} --device npu:0", 3, "a bundle with a converted model"),
    ("selftest", "{bundle} --output {tmp}/x.txt", 2, "ends in .npz"),
    ("selftest", "{bundle} --output {bundle}/selftest.npz", 2, "a file that is read"),
    ("diff", "{bundle} gone", 2, "got nothing there"),
    ("diff", "{bundle} {tmp}/1.npz", 2, "a bundle and a recording"),
    ("diff", "{bundle} {bundle}/model.onnx", 2, "got another file"),
    ("diff", "{bundle} {bundle}/../starter68", 2, "twice"),
    ("diff", "{bundle} {tmp}", 2, "manifest.json: expected"),
    ("diff", "{tmp}/1.npz {tmp}/pipe.npz", 2, "a folder, pipe or device"),
]


@pytest.mark.parametrize(
    ("command", "line", "code", "says"), BAD, ids=[f"{row[0]} {row[3]}" for row in BAD]
)
def test_bad_input_is_one_line(
    starter_bundle: Path,
    tmp_path: Path,
    rng: np.random.Generator,
    capsys: pytest.CaptureFixture[str],
    command: str,
    line: str,
    code: int,
    says: str,
) -> None:
    made = recording_of(rng)
    save_recording(tmp_path / "1.npz", made)
    save_recording(tmp_path / "2.npz", made)
    os.mkfifo(tmp_path / "pipe.npz")
    read = [*starter_bundle.iterdir(), *tmp_path.iterdir()]
    before = {path: path.stat().st_mtime_ns for path in read}
    given = [part.format(bundle=starter_bundle, tmp=tmp_path) for part in shlex.split(line)]
    try:
        found = importlib.import_module(f"parity.{command}.__main__").main(given)
    except SystemExit as usage:
        found = usage.code
    said = capsys.readouterr()

    assert (found, said.out) == (code, "")
    assert says in said.err.splitlines()[-1]
    read = [*starter_bundle.iterdir(), *tmp_path.iterdir()]
    assert {path: path.stat().st_mtime_ns for path in read} == before
