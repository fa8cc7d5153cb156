"""The reference's command line: its log, its flags, and every bad input as one line."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from builders import ROOT, CommandLine, run_module

from runtime.image.picture import read_picture, write_picture
from runtime.infer import __main__ as infer

PHOTO = ROOT / "assets/test.jpg"
FIRST_POINTS = "(343.4, 324.2), (340.9, 366.1), (348.1, 399.9), (351.5, 433.4), (359.1, 476.2)"


def infer_main(*arguments: object) -> int:
    return infer.main([str(argument) for argument in arguments])


def test_log_is_the_references(
    starter_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Device, parameters, picture and size, number of points, the first five, the file written."""
    out = tmp_path / "out.png"
    code = infer_main("--input", PHOTO, "--output", out, "--model", starter_bundle, "--contour")
    lines = capsys.readouterr().out.splitlines()

    assert code == 0
    assert re.fullmatch(r"Device: cpu \(onnxruntime \S+ CPUExecutionProvider\)", lines[0])
    assert lines[1:] == [
        "Parameters: 1,282,818",
        f"Image: {PHOTO} (1024x768)",
        "Landmarks: 68 points",
        f"First 5 points: {FIRST_POINTS}",
        f"Saved: {out}",
    ]
    assert read_picture(out).shape == (768, 1024, 3)


@pytest.mark.parametrize("picture", ["a photo", "a folder"])
def test_a_first_own_group_photo_is_told_what_it_needs(
    infer: CommandLine,
    shared: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    picture: str,
) -> None:
    """Taken as one face, its points are unsure: the option and the file are named, once.

    With the file in the current folder, every face is found, and one line says by what.
    """
    photo = read_picture(PHOTO)
    group = np.full((768, 4096, 3), 128, np.uint8)
    group[:, :1024], group[:, 3072:] = photo, photo[:, ::-1]
    given = tmp_path / "group/group.png"
    given.parent.mkdir()
    write_picture(given, group)
    source, suffix = (given, ".png") if picture == "a photo" else (given.parent, "")
    monkeypatch.chdir(tmp_path)

    alone = infer(source, tmp_path / f"alone{suffix}")
    (hint,) = [text for text in caplog.messages if text.startswith("hint: ")]
    assert "--faces FINDER" in hint
    assert "face_detection_yunet_2023mar.onnx of github.com/opencv/opencv_zoo" in hint
    assert "face_bbox" not in caplog.text
    assert picture == "a photo" or "Faces: 1 (1 unsure)" in alone.out

    caplog.clear()
    shutil.copy(shared / "models/face_detection_yunet_n.onnx", "yunet.onnx")
    found = infer(source, tmp_path / f"found{suffix}")
    assert caplog.messages[0].startswith(f"faces: {tmp_path / 'yunet.onnx'} finds them")
    assert "hint: " not in caplog.text
    assert "Faces: 2\n" in found.out
    none = infer(source, tmp_path / f"none{suffix}", "--faces", "none").out
    assert none.splitlines()[1:3] == alone.out.splitlines()[1:3]


def test_json_is_for_machines(
    starter_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stdout is one JSON document; box and ellipses are honoured."""
    out = tmp_path / "out.jpg"
    code = infer_main(
        *("--input", PHOTO, "--output", out, "--model", starter_bundle, "--json"),
        *("--bbox", "340,270,660,575", "--ellipses", "--device", "cpu"),
    )
    result = json.loads(capsys.readouterr().out)

    assert code == 0
    assert np.array(result["points_px"]).shape == (68, 2)
    assert len(result["spread_px"]) == 68
    assert (result["size_wh"], result["warnings"]) == ([1024, 768], [])


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--input", "gone.jpg"], 2, "gone.jpg: expected a whole JPEG"),
        (["--max-pixels", "1000"], 2, "at most 1,000 px, got 1024x768. Raise --max-pixels"),
        (["--bbox", "1,2,3"], 2, "face box: expected four finite numbers"),
        (["--bbox", "1,2,3,nan"], 2, "face box: expected four finite numbers"),
        (["--bbox", "a,b"], 2, "--bbox: expected four finite numbers"),
        (["--bbox", "9,9,1,1"], 2, "x1 < x2"),
        (["--bbox", "5000,5000,5100,5100"], 2, "overlaps the picture"),
        (["--bbox", "1,2,30,40", "--cropped"], 2, "either --cropped or --bbox"),
        (["--cropped"], 2, "crop: expected exactly 256x256 px, got 1024x768"),
        (["--model", "gone"], 2, "gone: expected a bundle, checkpoint or .onnx"),
        (["--device", "npu:0"], 3, "a bundle with a converted model"),
        (["--device", "cuda:0"], 3, "expected a provider of onnxruntime"),
        (["--device", "gpu"], 3, "expected a provider of onnxruntime"),
        (["--model", "assets/starter68.safetensors", "--device", "npu:0"], 3, "torch_npu"),
        (["--output", "no/such/folder/x.png"], 2, "in a folder that exists"),
        (["--output", "assets"], 2, "expected a folder outside that of the pictures"),
        (["--input", "assets/test.jpg", "assets/test.jpg"], 2, "got a picture's name"),
        (["--output", "x.nonsense"], 2, "ends in .png"),
    ],
)
def test_bad_input_is_one_line_and_the_right_code(
    starter_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    says: str,
) -> None:
    """On stderr; nothing on stdout, nothing written."""
    base = ["--output", tmp_path / "out.png", "--model", starter_bundle]
    given = [] if "--input" in arguments else ["--input", PHOTO]
    assert infer_main(*base, *given, *arguments) == code
    said = capsys.readouterr()

    assert said.out == ""
    (line,) = [text for text in said.err.splitlines() if text.startswith("error: ")]
    assert says in line
    assert list(tmp_path.iterdir()) == []


def test_box_may_begin_with_a_minus(starter_bundle: Path, tmp_path: Path) -> None:
    """Boxes leave the picture; argparse would take this one for an option."""
    out = tmp_path / "out.png"
    base = ["--input", PHOTO, "--output", out, "--model", starter_bundle]

    assert infer_main(*base, "--bbox", "-5,-10,1000,700") == 0
    assert infer_main(*base, "--bbox=-5,-10,1000,700") == 0


def test_input_is_not_overwritten(tmp_path: Path, starter_bundle: Path) -> None:
    """The same file as --input and --output."""
    path = Path(shutil.copy(PHOTO, tmp_path))
    before = path.read_bytes()

    assert infer_main("--input", path, "--output", path, "--model", starter_bundle) == 2
    assert path.read_bytes() == before


def test_names_that_are_no_text_are_printed(
    tmp_path: Path, starter_bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A GBK name on a UTF-8 system, as text and as JSON, in any locale."""
    path = tmp_path / os.fsdecode(b"\xc3\xcf.jpg")
    shutil.copy(PHOTO, path)
    base = ["--input", path, "--output", tmp_path / "out.png", "--model", starter_bundle]

    assert infer_main(*base, "--json") == 0
    assert json.loads(capfd.readouterr().out)["image"].endswith("\\udcc3\\udccf.jpg")
    for encoding in ("utf-8:strict", "ascii"):
        done = subprocess.run(
            [sys.executable, "-m", "runtime.infer", *map(str, base)],
            env={**os.environ, "PYTHONIOENCODING": encoding},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert b"Saved: " in done.stdout


@pytest.mark.parametrize(("target", "code"), [("/dev/full", 4), ("closed pipe", 0)])
def test_output_that_cannot_be_printed(
    tmp_path: Path, starter_bundle: Path, target: str, code: int
) -> None:
    """A full disk behind stdout is an error of ours; a reader that went away is not."""
    command = [sys.executable, "-m", "runtime.infer", "--input", str(PHOTO)]
    command += ["--output", str(tmp_path / "out.png"), "--model", str(starter_bundle)]
    if target == "/dev/full":
        stdout = os.open(target, os.O_WRONLY)
    else:
        reader, stdout = os.pipe()
        os.close(reader)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, env=environment, check=False, text=True
    )
    os.close(stdout)

    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert (tmp_path / "out.png").is_file()


def test_usage_errors_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Like every other error."""
    with pytest.raises(SystemExit, match="2"):
        infer_main("--input", "x", "--outptu", "y")
    said = capsys.readouterr().err

    assert said.startswith("error: python -m runtime.infer: ")
    assert said.count("\n") == 1


def test_help_has_an_example_and_needs_no_engine() -> None:
    """As a real process: help and version."""
    done = run_module("runtime.infer", "--help")
    assert done.returncode == 0
    assert "example:\n  python -m runtime.infer --input" in done.stdout
    assert run_module("runtime.infer", "--version").stdout.startswith("starmark 0.")
    assert run_module("runtime.infer").returncode == 2
