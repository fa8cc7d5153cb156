"""Folders and globs through the command line: every picture one result, whatever happens."""

from __future__ import annotations

import csv
import errno
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from builders import ROOT, CommandLine, noise, read_pts, run_python, tiny_checkpoint

from runtime.detector import Detector
from runtime.faces import YuNetFaces
from runtime.image.picture import read_picture
from runtime.infer import __main__ as command
from runtime.infer.__main__ import main
from runtime.many import folder, inputs, tables
from runtime.many.inputs import find_pictures
from runtime.many.journal import JOURNAL_NAME

SMALL = cv2.resize(read_picture(ROOT / "assets/test.jpg"), (320, 240), interpolation=cv2.INTER_AREA)
TABLES = ["--format", "jsonl", "--format", "csv"]
if importlib.util.find_spec("pyarrow") is not None:
    TABLES += ["--format", "parquet"]


def rows_in(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "results.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A few pictures, one of them broken, in folders with names of all kinds."""
    folder = tmp_path / "photos"
    (folder / "人脸 图片").mkdir(parents=True)
    cv2.imwrite(str(folder / "a.jpg"), SMALL)
    cv2.imwrite(str(folder / "a.png"), SMALL)
    shutil.copy(folder / "a.jpg", folder / "人脸 图片/张 三.jpg")
    cv2.imwrite(str(folder / "sixteen.png"), SMALL.astype(np.uint16) * 257)
    (folder / "broken.jpg").write_bytes((folder / "a.jpg").read_bytes()[:2000])
    (folder / "notes.txt").write_text("no picture")
    (folder / "._a.jpg").write_bytes(b"macOS's")
    (folder / "人脸 图片/again").symlink_to(folder)
    return folder


def test_a_folder_in_every_format(
    infer: CommandLine,
    photos: Path,
    out: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tables, "GROUP", 2)  # three row groups, the last one short
    done = infer(photos, out, "--draw", "--format", "pts", *TABLES)

    assert done.code == 1
    assert "Pictures: 5" in done.out
    assert "Failed: 1" in done.out
    assert "failed: broken.jpg: " in caplog.text
    assert "skipped: 2 files: 1 hidden (._a.jpg), 1 with another suffix (notes.txt)" in caplog.text
    rows = rows_in(out)
    names = ["a.jpg", "a.png", "broken.jpg", "sixteen.png", "人脸 图片/张 三.jpg"]
    assert [row["picture"] for row in rows] == names
    assert [row["status"] for row in rows] == ["ok", "ok", "error", "ok", "ok"]
    assert "truncated" in rows[2]["error"]
    good = [row for row in rows if row["status"] == "ok"]
    for row in good:
        assert (row["width"], row["height"], row["faces"], row["face"]) == (320, 240, 1, 0)
        # 16 bits are rounded before or after the warp, and JPEG is not PNG
        np.testing.assert_allclose(row["points_px"], good[1]["points_px"], atol=0.6)
    check_tables(out, rows)
    assert not (out / JOURNAL_NAME).exists()
    for row in good:
        assert read_picture(out / "drawn" / row["picture"]).shape == (240, 320, 3)
        # a.jpg and a.png would have the same a.pts
        alike = row["picture"].startswith("a.")
        name = row["picture"] if alike else row["picture"].rpartition(".")[0]
        points = read_pts(out / "pts" / f"{name}.pts")
        np.testing.assert_allclose(points, row["points_px"], atol=0.001)


def test_pictures_beyond_max_pixels_are_rows_with_an_error(
    infer: CommandLine, photos: Path, out: Path
) -> None:
    """The limit reaches the threads that read."""
    cv2.imwrite(str(photos / "tiny.png"), SMALL[:100, :100])
    assert infer(photos, out, "--max-pixels", "10000").code == 1
    assert [row["picture"] for row in rows_in(out) if row["status"] == "ok"] == ["tiny.png"]
    assert "at most 10,000 px, got 320x240" in rows_in(out)[0]["error"]


def check_tables(out: Path, rows: list[dict[str, Any]]) -> None:
    """Every cell is that of the JSON lines."""
    if "parquet" in TABLES:
        import pyarrow.parquet as pq

        found = pq.read_table(out / "results.parquet").to_pylist()
        assert json.loads(json.dumps(found)) == rows
    with (out / "results.csv").open(newline="", encoding="utf-8") as file:
        columns, *table = csv.reader(file)
    assert len(columns) == len(set(columns)) == 6 + 5 + 3 * 68 + 2
    for line, row in zip(table, rows, strict=True):
        cells = {name: value for name, value in row.items() if name in columns}
        box = row["box_xyxy"] or [None] * 4
        cells |= dict(zip(("box_x1", "box_y1", "box_x2", "box_y2"), box, strict=True))
        for index, point in enumerate(row["points_px"] or [(None, None)] * 68):
            cells |= {f"{axis}{index}": px for axis, px in zip("xy", point, strict=True)}
        spreads = row["spread_px"] or [None] * 68
        cells |= {f"spread{index}": px for index, px in enumerate(spreads)}
        written = {name: "" if value is None else str(value) for name, value in cells.items()}
        assert dict(zip(columns, line, strict=True)) == written


def test_folder_and_single_picture_agree(infer: CommandLine, photos: Path, out: Path) -> None:
    one = json.loads(infer(photos / "a.png", out.with_suffix(".png"), "--json").out)
    for given in (photos / "a.png", photos / "a.p*g"):
        done = infer(given, out, "--format", "jsonl", "--json")
        assert (done.code, json.loads(done.out)["pictures"]) == (0, 1)
        (row,) = rows_in(out)
        np.testing.assert_allclose(row["points_px"], one["points_px"], atol=0.002)
        assert row["picture"] == str(photos / "a.png")


def test_a_picture_into_a_folder_and_several_inputs(
    infer: CommandLine, photos: Path, out: Path
) -> None:
    """Drawn beside its row; names that several folders share are told apart; skips in the JSON."""
    assert infer(photos / "a.png", f"{out}/").code == 0
    assert {path.name for path in out.iterdir()} >= {"drawn", "results.jsonl", "run.json"}
    assert [path.name for path in out.rglob("*.png")] == ["a.png"]

    more = photos.with_name("more")
    shutil.copytree(photos, more, ignore=shutil.ignore_patterns("人*", "*.png"))
    done = infer(photos, out.with_name("all"), "--input", more, photos.with_name("m*"), "--json")
    assert (done.code, "got it twice" in done.err) == (2, False)
    done = infer(photos, out.with_name("all"), "--input", more, "--json")
    assert [row["picture"] for row in rows_in(out.with_name("all"))][-1] == f"{more}/broken.jpg"
    summary = json.loads(done.out)
    assert (done.code, summary["pictures"], summary["failed"]) == (1, 7, 2)
    assert summary["skipped"]["hidden"] == {"count": 2, "first": ["._a.jpg", "._a.jpg"]}


def test_boxes_of_a_file_are_the_faces_of_their_pictures(
    infer: CommandLine, photos: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Several, one or none; a picture that is not in the file fails; and the results are a file."""
    boxes: dict[str, Any] = {
        "a.jpg": [[20, 20, 220, 220], [90, 30, 300, 230]],
        "a.png": [],
        "broken.jpg": [],
    }
    boxes |= {"sixteen.png": [9.5, 9, 200, 200], "elsewhere.jpg": [1, 2, 30, 40]}
    given = out.with_name("boxes.json")
    given.write_text(json.dumps(boxes))
    assert infer(photos, out, "--boxes", given, "--format", "csv", "--format", "jsonl").code == 1
    rows = rows_in(out)
    assert [row["status"] for row in rows] == ["ok", "ok", "no face", "error", "ok", "error"]
    assert [row["box_xyxy"] for row in rows[:2]] == boxes["a.jpg"]
    assert "its boxes in" in rows[-1]["error"]
    assert "1 of 5 pictures are not in" in caplog.text
    assert "1 of its names are of no picture" in caplog.text

    again = out.with_name("again")
    for name in ("results.csv", "results.jsonl"):
        shutil.rmtree(again, ignore_errors=True)
        assert infer(photos, again, "--boxes", out / name, "--refine", 2).code == 1
        for row, one in zip(rows_in(again), rows, strict=True):
            if row["status"] != "error":
                assert row == one

    done = infer(photos / "a.jpg", out.with_suffix(".png"), "--boxes", given)
    assert (done.code, done.out.count("Box: ")) == (0, 2)
    corners = ",".join(map(str, boxes["a.jpg"][1]))
    assert infer(photos / "a.jpg", f"{again}/of one/", "--bbox", corners).code == 0
    (row,) = rows_in(again / "of one")
    assert row["points_px"] == rows[1]["points_px"]


def test_names_that_spreadsheets_and_terminals_would_obey(
    starter_bundle: Path, tmp_path: Path, out: Path
) -> None:
    """Marked in CSV, which --boxes reads back; escaped in the log; as they are in the rows.

    Names of 255 bytes, or that are no text, are like others, with --resume, too.
    """
    folder = tmp_path / "in\nerror: forged"
    folder.mkdir()
    names = [
        "=cmd|' !A0.jpg",
        "+1.jpg",
        "@SUM.jpg",
        "'=x.jpg",
        "\x1b[2J\x9b2J.jpg",
        "\u202egpj.jpg",
    ]
    names += ["人" * 83 + "ab.jpg", "n" * 251 + ".jpg", "a\nerror: forged.jpg"]
    for name in names:
        cv2.imwrite(str(folder / "a.png"), SMALL)
        (folder / "a.png").rename(folder / name)
    for broken in (b"\xff" * 61 + b".jpg", b"\xff" * 251 + b".jpg", b"b\nc\x1b.jpg"):
        (Path(os.fsdecode(bytes(folder) + b"/" + broken))).write_bytes(b"no picture")
    Path(os.fsdecode(bytes(folder) + b"/\xff.jpg")).write_bytes((folder / "+1.jpg").read_bytes())
    names += ["\\udcff.jpg"]
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({name: [[20, 20, 220, 220], [30, 30, 220, 220]] for name in names}))
    options = ["--model", starter_bundle, "--draw", "--boxes", boxes]
    for one in ("jsonl", "csv", "pts"):
        options += ["--format", one]
    given = ("-m", "runtime.infer", "--input", folder, "--output", out)
    done = run_python(*given, *options)

    assert done.returncode == 1, done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("error")] == []
    assert "b\\nc\\x1b.jpg" in done.stderr
    assert all(c.isprintable() for c in (done.stderr + done.stdout).replace("\n", ""))
    rows = rows_in(out)
    assert {row["picture"] for row in rows if row["status"] == "ok"} == set(names)
    assert len([row for row in rows if row["status"] == "error"]) == 3
    assert len(list((out / "pts").iterdir())) == 2 * len(names)
    assert len(list((out / "drawn").iterdir())) == len(names)
    with (out / "results.csv").open(newline="", encoding="utf-8") as file:
        cells = [row["picture"] for row in csv.DictReader(file)]
    assert {cell for cell in cells if cell[0] in "=+@\t\r"} == set()
    assert {"'+1.jpg", "''=x.jpg"} < set(cells)
    assert run_python(*given, *options, "--resume").returncode == 1
    assert rows_in(out) == rows

    options[4] = out / "results.csv"
    again = tmp_path / "again"
    done = run_python(*given[:-1], again, *options, "--raw-csv")
    assert done.returncode == 1, done.stderr
    assert [r for r in rows_in(again) if r["status"] == "ok"] == [
        r for r in rows if r["status"] == "ok"
    ]
    with (again / "results.csv").open(newline="", encoding="utf-8") as file:
        assert "+1.jpg" in {row["picture"] for row in csv.DictReader(file)}


def test_faces_and_passes_in_a_folder(
    infer: CommandLine, starter_bundle: Path, shared: Path, tmp_path: Path, out: Path
) -> None:
    """Found, refined, and a picture without a face says so and is no failure."""
    folder = tmp_path / "photos"
    folder.mkdir()
    files = sorted((shared / "faces").glob("*.jpg"))[:4]
    for file in files:
        shutil.copy(file, folder)
    pair = [cv2.resize(read_picture(file), (250, 250)) for file in files[:2]]
    cv2.imwrite(str(folder / "two.png"), np.hstack(pair))
    cv2.imwrite(str(folder / "none.png"), np.zeros((100, 120, 3), np.uint8))
    yunet = shared / "models/face_detection_yunet_n.onnx"
    options = ("--faces", yunet, "--refine", "1", "--batch", "4", "--ellipses")
    done = infer(folder, out, *options, *TABLES)

    assert done.code == 0
    assert "Without a face: 1" in done.out
    rows = rows_in(out)
    check_tables(out, rows)
    by_name: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_name.setdefault(row["picture"], []).append(row)
    assert [row["status"] for row in by_name["none.png"]] == ["no face"]
    assert [row["face"] for row in by_name["two.png"]] == [0, 1]
    for file in files:
        (row, *_) = by_name[file.name]
        marked = read_pts(file.with_suffix(".pts"))
        eyes = np.linalg.norm(marked[36] - marked[45])
        apart = np.linalg.norm(np.array(row["points_px"]) - marked, axis=1).mean()
        assert apart / eyes < 0.12
        assert row["score"] >= 0.6
    assert (out / "drawn/none.png").is_file()
    with Detector(starter_bundle, "cpu", faces=YuNetFaces(yunet), refine=1) as detector:
        for name, found in by_name.items():
            # another batch rounds in another order
            faces = detector.detect_faces(read_picture(folder / name))
            for face, row in zip(faces, (r for r in found if r["face"] is not None), strict=True):
                np.testing.assert_allclose(row["points_px"], face.points_px, atol=0.01)


def test_pictures_of_a_folder_run_side_by_side(
    infer: CommandLine, photos: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many at once as there are threads; one alone, or a batch, has them all in one call."""
    opened: list[int] = []

    class Noted(Detector):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            opened.append(self.backend.at_once)

    monkeypatch.setattr(command, "Detector", Noted)
    infer(photos, out, "--threads", 3)
    infer(photos / "a.png", out.with_suffix(".png"), "--threads", 3)
    infer(photos / "a.png", tmp_path / "one", "--threads", 3, "--format", "jsonl")
    infer(photos, tmp_path / "batches", "--threads", 3, "--batch", 4)
    assert opened == [3, 1, 1, 1]


def test_a_checkpoint_runs_folders_too(
    infer: CommandLine, photos: Path, tmp_path: Path, out: Path
) -> None:
    """A folder as it was downloaded, without a manifest."""
    (tmp_path / "model").mkdir()
    tiny_checkpoint(tmp_path / "model/pytorch_model.pkl")
    assert infer(photos, out, "--model", tmp_path / "model").code == 1
    assert len(rows_in(out)) == 5


def test_a_picture_too_large_for_its_format_is_drawn_as_png(
    infer: CommandLine, tmp_path: Path, out: Path
) -> None:
    """WebP ends at 16,383 px; no such picture ends a run."""
    (tmp_path / "photos").mkdir()
    data = cv2.imencode(".png", np.zeros((20, 17_000, 3), np.uint8))[1].tobytes()
    (tmp_path / "photos/wide.webp").write_bytes(data)  # read by its content
    assert infer(tmp_path / "photos", out, "--draw").code == 0
    assert [path.name for path in (out / "drawn").iterdir()] == ["wide.webp.png"]


def test_a_name_that_the_results_cannot_have_costs_its_own_row(
    infer: CommandLine, photos: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other file systems take shorter names than this one, or fewer letters."""
    write = tables.write_pts

    def refusing(path: Path, points: Any, **options: Any) -> None:
        if "a.png" in path.name:
            raise OSError(errno.EINVAL, "Invalid argument", str(path))
        write(path, points, **options)

    monkeypatch.setattr(folder, "write_pts", refusing)
    assert infer(photos, out, "--format", "pts", "--format", "jsonl").code == 1
    errors = {row["picture"]: row["error"] for row in rows_in(out) if row["status"] == "error"}
    assert list(errors) == ["a.png", "broken.jpg"]
    assert "expected paths that the file system takes, got Invalid argument" in errors["a.png"]


def test_a_turned_picture_has_the_points_of_the_upright_one(
    infer: CommandLine, tmp_path: Path, out: Path
) -> None:
    """EXIF's orientation is honoured: points are those of the picture as people see it."""
    best = [cv2.IMWRITE_JPEG_QUALITY, 100]
    lying = cv2.rotate(SMALL, cv2.ROTATE_90_COUNTERCLOCKWISE)
    data = cv2.imencode(".jpg", lying, best)[1].tobytes()
    # one entry: tag 0x112, a short, once, 6: turn it clockwise to see it upright
    entry = bytes.fromhex("01120003000000010006000000000000")
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + entry
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    cv2.imwrite(str(tmp_path / "a.jpg"), SMALL, best)
    (tmp_path / "b.jpg").write_bytes(data[:2] + segment + data[2:])

    assert infer(tmp_path / "*.jpg", out).code == 0
    upright, turned = rows_in(out)
    assert (turned["width"], turned["height"]) == (320, 240)
    np.testing.assert_allclose(turned["points_px"], upright["points_px"], atol=0.5)


def test_what_cannot_be_meant_is_refused(infer: CommandLine, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (photos / "b.json").write_text('{"z.jpg": [1, 2, 30, 40]}')
    cases: list[tuple[str, str, list[object], str]] = [
        ("photos", "file", [], "expected a folder, where"),
        ("empty", "out", [], "a folder without any"),
        ("gone*", "out", [], "no such file, folder or match"),
        ("photos", "photos/out", [], "outside that of the pictures"),
        ("photos/*", "photos", [], "outside that of the pictures"),
        ("photos", "out", ["--bbox", "1,2,30,40"], "--bbox: expected one picture"),
        ("photos", "out", ["--cropped"], "--cropped: expected one picture"),
        ("photos", "out", ["--readers", 0], "--readers: expected 1 to 64"),
        ("photos", "out", ["--batch", 99], "--batch: expected 1 to 32"),
        ("photos", "out", ["--refine", 99], "--refine: expected 0 to 10"),
        ("photos", "out", ["--faces", "gone.onnx"], "gone.onnx: expected YuNet"),
        ("photos", "out", ["--faces", "y", "--faces-side", 4], "expected at least 8, got 4"),
        ("photos", "out", ["--faces", "y", "--least-score", 2], "least_score: expected 0 to 1"),
        ("photos/a.png", "a.png", ["--format", "csv"], "a.png: expected a folder"),
        ("photos/a.png", "a.png", ["--resume"], "a.png: expected a folder"),
        ("photos/a.png", "a.png", ["--faces", "y", "--bbox", "1,2,3,4"], "either --bbox or"),
        ("photos", "out", ["--faces", "y", "--boxes", "b.csv"], "either --boxes or --faces"),
        ("photos", "out", ["--boxes", "gone.csv"], "gone.csv: expected a file of boxes"),
        ("photos", "out", ["--boxes", photos / "b.json"], "a name of the 5 pictures given"),
    ]
    for given, output, options, message in cases:
        done = infer(tmp_path / given, tmp_path / output, *options)
        assert done.code == 2, given
        assert message in done.err
    assert not (photos / "out").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("killed_by", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_stopped_is_continued(
    infer: CommandLine, starter_bundle: Path, tmp_path: Path, out: Path, killed_by: signal.Signals
) -> None:
    """Each picture once, and the same rows as in one go."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(150):
        cv2.imwrite(str(folder / f"{index:03}.png"), noise(rng, 60, 50))
    formats = ("--format", "jsonl", "--format", "pts", "--faces", "none")
    assert infer(folder, tmp_path / "whole", *formats).code == 0
    command = ["runtime.infer", "--input", folder, "--output", out, "--model", starter_bundle]
    process = subprocess.Popen(
        [sys.executable, "-m", *map(str, command), *formats],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    journal = out / JOURNAL_NAME
    deadline = time.monotonic() + 120
    while not journal.exists() or journal.read_bytes().count(b"\n") < 20:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(killed_by)
    _, error = process.communicate(timeout=60)
    assert process.returncode == (-9 if killed_by == signal.SIGKILL else 130)
    assert killed_by == signal.SIGKILL or "--resume goes on" in error
    assert journal.read_bytes().count(b"\n") - 1 < 150
    assert not (out / "results.jsonl").exists()

    (out / "pts/.0123abcd.part.pts").touch()  # killed in the middle of a file
    assert infer(folder, out, *formats).code == 2  # without --resume nothing is thrown away
    assert infer(folder, out, *formats, "--resume").code == 0
    assert rows_in(out) == rows_in(tmp_path / "whole")
    assert len(list((out / "pts").iterdir())) == 150


@pytest.mark.slow
def test_a_finished_run_is_not_run_again(infer: CommandLine, photos: Path, out: Path) -> None:
    """By --resume; without it, or with another picture, it is."""
    assert infer(photos, out).code == 1
    results = out / "results.jsonl"
    before = results.stat().st_mtime_ns
    again = infer(photos, out, "--resume")
    assert again.code == 1
    assert "Pictures: 5 (0 now and 5 before)" in again.out
    assert "Failed: 1" in again.out
    assert results.stat().st_mtime_ns == before
    shutil.copy(photos / "a.png", photos / "b.png")
    for _ in range(2):
        assert infer(photos, out, "--resume").code == 1
        assert len(rows_in(out)) == 6
        results.unlink()


def test_another_run_is_not_continued(
    infer: CommandLine, photos: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [2]

    def reading(path: Path, max_pixels: int) -> Any:
        """Fail in a way that nobody foresaw."""
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("stopped")
        return read_picture(path, max_pixels)

    monkeypatch.setattr(inputs, "read_picture", reading)
    with pytest.raises(RuntimeError, match="stopped"):
        infer(photos, out)
    for given, options, got in (
        (photos, ["--refine", "1"], "got options {"),
        (photos / "*.png", [], f"got given '{photos}'"),
    ):
        done = infer(given, out, "--resume", *options)
        assert done.code == 2
        assert "the same model, engine, input and options" in done.err
        assert got in done.err
    journal = out / JOURNAL_NAME
    journal.write_bytes(b"no journal\n")
    assert "the heading of a run to continue" in infer(photos, out, "--resume").err
    assert journal.read_bytes() == b"no journal\n"


def test_a_full_disk_loses_nothing(
    infer: CommandLine, starter_bundle: Path, photos: Path, out: Path
) -> None:
    """A limit on a file's size breaks a write in its middle, as a full disk does."""
    limited = (
        "import resource, sys; from runtime.infer.__main__ import main;"
        " resource.setrlimit(resource.RLIMIT_FSIZE, (7000, 7000)); sys.exit(main(sys.argv[1:]))"
    )
    given = ("--input", photos, "--output", out, "--model", starter_bundle)
    done = run_python("-c", limited, *given, "--faces", "none")
    assert done.returncode == 4
    assert "expected to read and write here" in done.stderr
    assert "--resume goes on" in done.stderr
    assert (out / JOURNAL_NAME).read_bytes().endswith(b"\n")
    assert infer(photos, out, "--resume").code == 1
    names = [row["picture"] for row in rows_in(out)]
    assert len(names) == len(set(names)) == 5


@pytest.mark.parametrize("option", ["--input", "--output", "--faces", "--boxes"])
def test_an_empty_name_is_not_this_folder(
    option: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--input", "assets", "--output", str(out), option, ""])
    assert "expected a name, got an empty one" in capsys.readouterr().err


def test_cmyk_and_palette_pictures_are_read_like_others(tmp_path: Path) -> None:
    """As printers and drawing programs write them."""
    image = pytest.importorskip("PIL.Image", reason="writes CMYK")
    cv2.imwrite(str(tmp_path / "a.png"), SMALL)
    plain = image.open(tmp_path / "a.png").convert("RGB")
    plain.convert("CMYK").save(tmp_path / "b.jpg", quality=100)
    plain.quantize(256).save(tmp_path / "c.png")
    for file in find_pictures(str(tmp_path)).files:
        assert np.abs(file.read().astype(int) - SMALL).mean() < 8
