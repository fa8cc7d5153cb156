"""Batches: exactly one row for each input, whatever dies on the way; local and on Ray alike."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from builders import ROOT, run_module, run_python, skip_without_openvino, tiny_checkpoint

from runtime.backends import Settings
from runtime.batch import __main__ as batch
from runtime.batch import workers
from runtime.batch.inputs import find_inputs
from runtime.batch.stored import place_of
from runtime.cli.options import FaceOptions
from runtime.detector import Detector
from runtime.errors import BackendUnavailable, InputError
from runtime.faces import YuNetFaces
from runtime.image.picture import decode_picture, read_picture
from runtime.many.heading import digest_of
from runtime.model.manifest import read_manifest
from runtime.model.source import parse_source

pa = pytest.importorskip("pyarrow", reason="batches need the extra parquet")
pq = pytest.importorskip("pyarrow.parquet")

PHOTO = ROOT / "assets/test.jpg"
COUNT = 500
ENGINES = [
    "local",
    pytest.param(
        "ray",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("ray") is None, reason="needs the extra ray"
        ),
    ),
]


def run(*arguments: object) -> int:
    return batch.main([str(argument) for argument in arguments])


def of_engine(engine: str) -> tuple[str, ...]:
    """Options that make both run one worker here."""
    return ("--engine", engine, "--device", "cpu") + (("--threads", "2") if engine == "ray" else ())


Run = Callable[..., int]


@pytest.fixture
def run_here(starter_bundle: Path, tmp_path: Path) -> Run:
    """The starter model on this machine's processor, into a folder of the test's own."""

    def run_into(given: object, output: object, *options: object) -> int:
        beside = ("--model", starter_bundle, "--device", "cpu")
        return run(given, "--output", tmp_path / str(output), *beside, *options)

    return run_into


def write_all(folder: Path, names: Iterable[str], data: bytes) -> Path:
    """Files of the same bytes."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def table_in(folder: Path) -> dict[str, list[Any]]:
    """All rows, as anybody reads a folder of Parquet files."""
    found: dict[str, list[Any]] = pq.read_table(folder).sort_by("row").to_pydict()
    return found


@pytest.fixture(scope="module")
def small() -> bytes:
    """The embedded photo as a small JPEG."""
    picture = cv2.resize(read_picture(PHOTO), (320, 240), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", picture)[1])


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, small: bytes) -> Path:
    """Five hundred pictures, each of its own, one of them broken."""
    folder = tmp_path_factory.mktemp("many") / "照片 many"
    picture = decode_picture(small, "small")
    for index in range(COUNT):
        place = folder / f"{index // 100}" / f"{index:03d}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        moved = np.roll(picture, index % 20, axis=1)
        place.write_bytes(cv2.imencode(".jpg", moved)[1].tobytes())
    (folder / "1/123.jpg").write_bytes(small[:2000])
    return folder


def check_all_there(
    results: Path, many: Path, bundle: Path, *, device: str = "cpu"
) -> dict[str, list[Any]]:
    """One row for each picture, none twice, of the right model; nothing else in the folder."""
    rows = table_in(results)
    names = sorted(path.relative_to(many).as_posix() for path in many.rglob("*.jpg"))
    assert rows["picture"] == names
    assert rows["row"] == list(range(COUNT))
    manifest = read_manifest(bundle)
    assert set(rows["bundle_sha256"]) == {manifest.digest}
    assert set(rows["model_sha256"]) == {manifest.files["model.onnx"].sha256}
    assert {engine.rsplit(" on ", 1)[1] for engine in rows["engine"]} == {device}
    broken = names.index("1/123.jpg")
    assert rows["status"] == ["error" if i == broken else "ok" for i in range(COUNT)]
    assert "truncated" in rows["error"][broken]
    left = [path.name for path in results.iterdir() if not path.name.startswith("part-")]
    assert left == ["_job.json"]
    return rows


@pytest.fixture(scope="module")
def straight(
    tmp_path_factory: pytest.TempPathFactory, many: Path, starter_bundle: Path
) -> dict[str, list[Any]]:
    """What nothing disturbed."""
    out = tmp_path_factory.mktemp("straight") / "out"
    options = ("--model", starter_bundle, *of_engine("local"), "--partition", 25)
    assert run(many, "--output", out, *options) == 1
    return check_all_there(out, many, starter_bundle)


def workers_of(driver: int, engine: str) -> Iterator[int]:
    """Processes that run the network, among those that the driver has begun."""
    parents: dict[int, int] = {}
    commands: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                parents[int(entry.name)] = int(stat[1])
                said = (entry / "cmdline").read_bytes()
                commands[int(entry.name)] = said.replace(b"\0", b" ").decode()
    for process, command in commands.items():
        above = process
        while above in parents and above != driver:
            above = parents[above]
        ours = command.startswith("ray::") and "BatchWorker" in command
        if above == driver and (ours if engine == "ray" else "spawn_main" in command):
            yield process


def begin(arguments: list[object]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "runtime.batch", *map(str, arguments)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def run_patched(folder: Path, patch: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The command line as a script of its own: workers that are spawned are patched, too."""
    script = folder / "patched.py"
    script.write_text(
        "import os, resource, signal, sys\n"
        "from runtime.batch import __main__ as batch, workers\n"
        f"{patch}\n"
        "if __name__ == '__main__':\n"
        "    sys.exit(batch.main(sys.argv[1:]))\n"
    )
    return run_python(script, *arguments, PYTHONPATH=str(ROOT))


def until(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("engine", ENGINES)
def test_worker_killed_driver_killed_and_gone_on_with(
    engine: str,
    many: Path,
    starter_bundle: Path,
    tmp_path: Path,
    straight: dict[str, list[Any]],
) -> None:
    """Five hundred rows, and those of a run that nothing disturbed."""
    out = tmp_path / "out"
    options = ("--model", starter_bundle, *of_engine(engine), "--partition", 25)
    arguments: list[object] = [many, "--output", out, *options]
    driver = begin(arguments)

    def finished(count: int) -> Callable[[], bool]:
        return lambda: len(list(out.glob("part-*.parquet"))) >= count

    until(finished(2), driver)
    victims = [*workers_of(driver.pid, engine)]
    assert victims
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    until(finished(8), driver)  # others have taken its place
    workers = [*workers_of(driver.pid, engine)]
    driver.kill()
    driver.wait()  # not for its pipes: a worker that lives on holds them open
    deadline = time.monotonic() + 30  # nobody would end them later, and they hold their device
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    driver.communicate()
    there = {path.name: path.stat().st_mtime_ns for path in out.glob("part-*.parquet")}
    assert 8 <= len(there) < COUNT // 25

    last = run_module("runtime.batch", *arguments)
    assert last.returncode == 1, last.stderr
    assert "failed: 1/123.jpg" in last.stderr
    assert "resumed: " in last.stderr
    for name, changed in there.items():
        assert (out / name).stat().st_mtime_ns == changed  # not made again
    rows = check_all_there(out, many, starter_bundle)
    for name in ("points_px", "spread_px"):
        both = [
            (np.array(one), np.array(other))
            for one, other in zip(rows[name], straight[name], strict=True)
        ]
        assert max(np.abs(one - other).max(initial=0) for one, other in both) <= 1e-4


def test_ctrl_c_says_how_to_go_on(many: Path, starter_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    driver = begin([many, "--output", out, "--model", starter_bundle, "--partition", 25])
    until(lambda: len(list(out.glob("part-*.parquet"))) >= 2, driver)
    workers = [*workers_of(driver.pid, "local")]
    driver.send_signal(signal.SIGINT)
    _, said = driver.communicate(timeout=60)

    assert driver.returncode == 130
    assert b"pictures: the same command goes on" in said
    assert b"Traceback" not in said
    assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]
    assert all(path.name.startswith(("part-", "_job")) for path in out.iterdir())
    for path in out.glob("part-*.parquet"):
        assert pq.read_metadata(path).num_rows == 25


DIE = (
    "from runtime.batch import workers\n"
    "run = workers.Worker.run\n"
    "def die(self, partition):\n"
    "    if partition.index in DYING:\n"
    "        os.kill(os.getpid(), signal.SIGKILL)\n"
    "    return run(self, partition)\n"
    "workers.Worker.run = die"
)


def test_a_picture_that_was_replaced_is_run_again_and_one_that_was_touched_is_not(
    run_here: Run, tmp_path: Path, small: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    """By what the worker read: a digest of the bytes, where their time is another."""
    photos = write_all(tmp_path / "photos", ["a.jpg", "b.jpg", "c.jpg"], small)
    for change, expected in (
        (lambda: None, 3),
        (lambda: os.utime(photos / "a.jpg", ns=(0, 0)), 0),
        (lambda: (photos / "c.jpg").write_bytes(small + b"\n"), 1),
        (lambda: (photos / "a.jpg").write_bytes(small + b"\n"), 2),
    ):
        change()
        capfd.readouterr()
        assert run_here(photos, "out", "--partition", 2) == 0
        assert f"Pictures: 3 ({expected} now" in capfd.readouterr().out


@pytest.mark.parametrize("engine", ENGINES)
def test_a_partition_that_ends_its_worker_twice_is_set_aside(
    engine: str, many: Path, starter_bundle: Path, tmp_path: Path
) -> None:
    """And named, exit code 1; the others are run, and the same command tries it again."""
    out = tmp_path / "out"
    options = ("--model", starter_bundle, *of_engine(engine), "--partition", 50)
    given = (many / "0", "--output", out, *options)
    patch = DIE.replace("DYING", "(1,)")
    if engine == "ray":  # its workers begin with this module, and not with the driver's
        write_all(tmp_path, ["patched_worker.py"], f"import os, signal\n{patch}".encode())
        patch = (
            "from runtime.batch import on_ray\n"
            "class BatchWorker(on_ray.BatchWorker):\n"
            "    def run(self, pickled):\n"
            "        import patched_worker\n"
            "        return super().run(pickled)\n"
            "on_ray.BatchWorker = BatchWorker"
        )
    done = run_patched(tmp_path, patch, *given)

    assert done.returncode == 1, done.stderr
    said = "partition 1, 50 pictures, 050.jpg to 099.jpg"
    assert f"set aside: {said}. The same command tries it again" in done.stderr
    assert f"Set aside: {said}" in done.stdout
    assert "Pictures: 50 (50 now" in done.stdout
    assert table_in(out)["row"] == list(range(50))
    assert run(*given) == 0
    assert table_in(out)["row"] == list(range(100))


def test_workers_that_always_die_end_the_job(
    many: Path, starter_bundle: Path, tmp_path: Path
) -> None:
    """Three partitions set aside and none finished: it is the machine."""
    out = tmp_path / "out"
    options = ("--model", starter_bundle, "--device", "cpu", "--partition", 20)
    patch = DIE.replace("DYING", "range(99)")
    done = run_patched(tmp_path, patch, many / "0", "--output", out, *options)

    assert done.returncode == 4
    assert "batch: expected workers that live, got 8 killed and no partition" in done.stderr
    assert not list(out.glob("part-*"))


def test_partitions_of_a_parquet_are_pictures_or_where_they_are(
    starter_bundle: Path, run_here: Run, tmp_path: Path, small: bytes
) -> None:
    """Bytes, Hugging Face's structs, paths beside the file and addresses; null is a row, too."""
    write_all(tmp_path, ["pictures/a b.jpg"], small)
    columns: dict[str, list[Any]] = {
        "image": [small, None, small[:500], small],
        "struct": [
            *[{"bytes": small, "path": "x.jpg"}, {"bytes": None, "path": None}],
            *[{"bytes": None, "path": "pictures/a b.jpg"}, {"bytes": None, "path": ""}],
        ],
        "uri": [
            "pictures/a b.jpg",
            f"file://{tmp_path}/pictures/a%20b.jpg",
            "missing.jpg",
            "s9://x",
        ],
    }
    found: dict[str, dict[str, list[Any]]] = {}
    for name, values in columns.items():
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.table({"other": range(4), name: values}), path, row_group_size=3)
        assert run_here(path, f"of {name}", "--partition", 2, "--column", name) == 1
        found[name] = table_in(tmp_path / f"of {name}")
        # a partition does not reach beyond its row group
        assert len(list((tmp_path / f"of {name}").glob("part-*"))) == 3

    assert found["image"]["status"] == ["ok", "error", "error", "ok"]
    assert found["image"]["picture"] == [f"image.parquet#{i}" for i in range(4)]
    assert "nothing (null)" in found["image"]["error"][1]
    assert found["struct"]["status"] == ["ok", "error"] * 2
    assert found["struct"]["picture"][0] == "x.jpg"
    assert found["uri"]["status"] == ["ok", "ok", "error", "error"]
    assert found["uri"]["picture"] == columns["uri"]
    points = [found[n]["points_px"][0] for n in columns] + [found["uri"]["points_px"][1]]
    assert all(one == points[0] for one in points)
    with Detector(starter_bundle, "cpu") as detector:
        alone = detector.detect(read_picture(tmp_path / "pictures/a b.jpg")).points_px
    assert np.abs(np.array(points[0][0]) - alone).max() <= 1e-4


def test_boxes_of_a_file_reach_the_workers(
    run_here: Run, tmp_path: Path, small: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """By name; of a Parquet from a column."""
    folder = write_all(tmp_path / "p", ["a.jpg", "b.jpg", "in/c.jpg"], small)
    boxes = tmp_path / "boxes.csv"
    lines = ["image;x;y;w;h", "in/c.jpg;10;20;100;110,5", "a.jpg;1;2;90;90", "a.jpg;9;9;90;90"]
    boxes.write_text("\n".join(lines))
    assert run_here(folder, "out", "--boxes", boxes, "--partition", 2) == 1
    rows = table_in(tmp_path / "out")
    assert rows["faces"] == [2, 0, 1]
    assert rows["box_xyxy"][2] == [[10, 20, 110, 130.5]]
    assert f"its boxes in {boxes}, got none" in rows["error"][1]
    of_rows = [[[10, 20, 110, 130.5]], [[1, 2, 91, 92], [9, 9, 99, 99]], [], None, [[1, None]]]
    columns = {"image": [small] * 5, "where": of_rows, "one": [[10.0, 20, 110, 130.5]] * 5}
    table = tmp_path / "t.parquet"
    pq.write_table(pa.table(columns), table)
    assert run_here(table, "column", "--boxes-column", "where", "--partition", 2) == 1
    found = table_in(tmp_path / "column")
    assert found["status"] == ["ok", "ok", "no face", "error", "error"]
    assert found["box_xyxy"][1] == of_rows[1]
    np.testing.assert_allclose(found["points_px"][0], rows["points_px"][2], atol=1e-4)
    assert "its boxes in the column where, got none" in found["error"][3]
    assert "boxes of four numbers" in found["error"][4]
    assert run_here(table, "one", "--boxes-column", "one") == 0
    for given, options, says in (
        (table, ["--boxes", boxes], "--boxes: expected pictures as input"),
        (table, ["--boxes-column", "image"], "the column 'image' of boxes: lists of four numbers"),
        (table, ["--boxes-column", "one", "--faces", "y"], "--boxes-column: expected either"),
        (folder, ["--boxes-column", "one"], "--boxes-column: expected a Parquet as input"),
    ):
        assert run_here(given, "other", *options) == 2
        assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "kind", ["dictionary", "large_string", "string_view", "large_binary", "binary_view", "struct"]
)
def test_columns_are_read_whatever_their_width_or_index(
    tmp_path: Path, small: bytes, kind: str
) -> None:
    """As pandas' categories, polars and newer writers have them."""
    write_all(tmp_path, ["a.jpg"], small)
    if kind == "dictionary":
        column = pa.array(["a.jpg", None, "a.jpg"]).dictionary_encode()
    elif kind == "struct":
        column = pa.array([{"bytes": small}, {"bytes": None}, {"bytes": small}])
        column = column.cast(pa.struct([("bytes", pa.large_binary())]))
    else:
        of_kind = getattr(pa, kind, None)
        if of_kind is None:
            pytest.skip("this pyarrow has no such type")
        value = small if "binary" in kind else "a.jpg"
        column = pa.array([value, None, value], of_kind())
    pq.write_table(pa.table({"image": column}), tmp_path / "t.parquet")
    (partition,) = find_inputs(str(tmp_path / "t.parquet"), 10).partitions
    one, missing, other = partition.pictures()
    assert one.read().shape == other.read().shape == (240, 320, 3)
    with pytest.raises(InputError, match="got nothing"):
        missing.read()


def test_a_parquet_without_pictures_says_what_it_holds(
    run_here: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wrong.parquet"
    pq.write_table(pa.table({"image": [1, 2], "label": ["a", "b"]}), path)
    assert run_here(path, "out") == 2
    error = capsys.readouterr().err
    assert "wrong.parquet: expected a column image, bytes of bytes" in error
    assert "got image: int64, label: string. Name the column with --column" in error
    (tmp_path / "no.parquet").write_text("no Parquet")
    for name, options, expected in (
        ("wrong.parquet", ["--column", "label2"], "expected the column 'label2'"),
        ("[a-c]*.parquet", [], "or Parquet files, got no such file"),
        ("no.parquet", [], "no.parquet: expected a Parquet file"),
        ("missing.parquet", [], "or Parquet files, got no such file"),
    ):
        assert run_here(tmp_path / name, "out", *options) == 2
        assert expected in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_faces_are_entries_of_their_pictures_row(
    starter_bundle: Path, run_here: Run, shared: Path, tmp_path: Path
) -> None:
    """As `detect_faces` finds them; a picture without any is a row that says so."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    files = sorted((shared / "faces").glob("*.jpg"))[:2]
    both = np.hstack([cv2.resize(read_picture(file), (300, 300)) for file in files])
    cv2.imwrite(str(folder / "a.png"), both)
    cv2.imwrite(str(folder / "b.png"), np.zeros((200, 200, 3), np.uint8))
    yunet = shared / "models/face_detection_yunet_n.onnx"
    options = ("--faces", yunet, "--refine", 1)
    assert run_here(folder, "out", *options) == 0

    rows = table_in(tmp_path / "out")
    assert rows["faces"] == [2, 0]
    assert rows["status"] == ["ok", "no face"]
    with Detector(starter_bundle, "cpu", faces=YuNetFaces(yunet), refine=1) as detector:
        faces = detector.detect_faces(read_picture(folder / "a.png"))
    assert np.allclose(rows["points_px"][0], [f.points_px for f in faces], atol=1e-4)
    assert np.allclose(rows["spread_px"][0], [f.spread_px for f in faces], atol=1e-4)
    assert np.allclose(rows["box_xyxy"][0], np.array([f.box_xyxy for f in faces], np.float64))
    assert np.allclose(rows["score"][0], np.array([f.score for f in faces], np.float64))
    assert (rows["width"], rows["height"]) == ([600, 200], [300, 200])
    for other in (("--least-score", 0.5), ("--faces-side", 640)):
        assert run_here(folder, "out", *options, *other) == 2


@pytest.mark.slow
def test_a_job_goes_on_only_as_it_was_begun(
    run_here: Run, tmp_path: Path, small: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """Anything else writes elsewhere; a file that was damaged is made anew."""
    folder = write_all(tmp_path / "p", [f"{name}.jpg" for name in "abcde"], small)
    out = tmp_path / "out"
    assert run_here(folder, out, "--partition", 2) == 0
    first = table_in(out)
    for options, got in (
        (("--partition", 3), "given '5 inputs in 3 partitions"),
        (("--refine", 1), "options {"),
        (("--precision", "bf16"), "options {"),
        (("--allow-hf32",), "options {"),
        (("--model", tiny_checkpoint(tmp_path / "t.pkl")), "model '"),
    ):
        assert run_here(folder, out, "--partition", 2, *options) == 2
        error = capsys.readouterr().err
        assert "_job.json: expected the same model, engine, input" in error
        assert f"got {got}" in error
    short = out / "part-000000.parquet"
    pq.write_table(pq.read_table(short).slice(0, 1), short)  # whole as a file, a row too few
    (out / "part-000001.parquet").write_bytes(b"PAR1 cut off")
    for name in (".part-000001.0123abcd", "._job.0123abcd"):
        (out / name).write_bytes(b"of a driver that was killed")
    assert run_here(folder, out, "--partition", 2) == 0
    assert "Pictures: 5 (4 now" in capsys.readouterr().out
    assert table_in(out) == first
    assert sorted(p.name for p in out.iterdir()) == [
        "_job.json",
        "part-000000.parquet",
        "part-000001.parquet",
        "part-000002.parquet",
    ]

    (folder / "f.jpg").write_bytes(small)
    assert run_here(folder, out, "--partition", 2) == 2
    assert "5 inputs in 3 partitions" in capsys.readouterr().err
    (out / "_job.json").unlink()
    assert run_here(folder, out, "--partition", 2) == 2
    assert "expected a folder without results" in capsys.readouterr().err


@pytest.mark.slow
def test_addresses_of_pyarrow_and_of_fsspec(
    run_here: Run, tmp_path: Path, small: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """file:// is pyarrow's own, local:// fsspec's; a scheme of nobody's says so."""
    pytest.importorskip("fsspec")
    # a folder's listing is the same here and there: what begins with a dot is hidden
    folder = write_all(
        tmp_path / "p", ["a.jpg", "in/b.jpg", "notes.txt", ".c.jpg", "_d.jpg"], small
    )
    assert run_here(folder, "plain") == 0
    for scheme in ("file", "local"):
        given, out = f"{scheme}://{folder}", tmp_path / scheme
        assert run_here(given, "x", "--output", f"{scheme}://{out}") == 0
        assert table_in(out) == table_in(tmp_path / "plain")
    with pytest.raises(InputError, match="an address that pyarrow or fsspec opens"):
        place_of("nobody9://x/y")
    assert run_here("nobody9://x", "o") == 2
    assert "nobody9://x: expected an address" in capsys.readouterr().err
    assert run_here(f"file://{tmp_path}/none", "o") == 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--partition", "0"], "--partition: expected 1 or more, got 0"),
        (["--workers", "0"], "--workers: expected 1 to 256, got 0"),
        (["--refine", "-1"], "--refine: expected 0 to 10, got -1"),
        (["--readers", "0"], "--readers: expected 1 to 64, got 0"),
        (["--batch", "99"], "--batch: expected 1 to 32, got 99"),
        (["--column", "x"], "--column: expected a Parquet as input"),
        (["--device", "cpu,"], "--device: expected a device, or with --engine local"),
        (["--device", "cpu,cpu", "--workers", "3"], "--workers: expected 2"),
        (["--engine", "ray", "--device", "cpu,cpu"], "--device: expected a device, or with"),
        (["--model", "missing"], "missing: expected a bundle, checkpoint or .onnx file"),
        (["--faces", "missing.onnx"], "missing.onnx: expected YuNet"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(
    starter_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    says: str,
) -> None:
    out = tmp_path / "out"
    assert run(ROOT / "assets", "--output", out, "--model", starter_bundle, *options) == 2
    assert says in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_worker_with_another_model_stops_the_job(
    engine: str, starter_bundle: Path, tmp_path: Path, small: bytes
) -> None:
    """The bundle is replaced behind the driver's back: its error comes home as it was raised."""
    bundle = tmp_path / "bundle"
    shutil.copytree(starter_bundle, bundle)
    write_all(tmp_path / "p", ["a.jpg"], small)
    patch = "real = batch.digest_of\nbatch.digest_of = lambda source: real(source)[::-1]"
    out = tmp_path / "out"
    options = ("--output", out, "--model", bundle, *of_engine(engine))
    done = run_patched(tmp_path, patch, tmp_path / "p", *options)
    assert done.returncode == 2, done.stderr
    assert "expected the model of this batch" in done.stderr
    assert "Copy the same bundle to every machine" in done.stderr
    assert not list(out.glob("part-*"))


def test_two_workers_share_the_partitions(
    starter_bundle: Path, many: Path, tmp_path: Path, straight: dict[str, list[Any]]
) -> None:
    out = tmp_path / "out"
    options = ("--model", starter_bundle, "--device", "cpu,cpu", "--partition", 25)
    assert run(many, "--output", out, *options) == 1
    rows = check_all_there(out, many, starter_bundle)
    for one, other in zip(rows["points_px"], straight["points_px"], strict=True):
        assert np.abs(np.array(one) - np.array(other)).max(initial=0) <= 1e-4


def test_without_ray_or_pyarrow_it_says_how_to_get_them(tmp_path: Path) -> None:
    """Exit code 3; a cluster without NPUs says that, too."""
    for missing, options, says in (
        ("pyarrow", [], "pip install -e '.[parquet]'"),
        ("ray", ["--engine", "ray", "--device", "cpu"], "pip install -e '.[ray]'"),
    ):
        code = (
            f"import sys\nsys.modules[{missing!r}] = None\n"
            "from runtime.batch import __main__ as batch\nsys.exit(batch.main(sys.argv[1:]))"
        )
        model = ROOT / "assets/starter68.safetensors"
        out = ("--output", tmp_path / "out", "--model", model)
        done = run_python("-c", code, ROOT / "assets", *out, *options)
        assert done.returncode == 3, done.stderr
        assert says in done.stderr


def test_a_cluster_without_the_device_says_what_it_has(
    starter_bundle: Path, tmp_path: Path
) -> None:
    """Never a silent fallback to the CPU."""
    pytest.importorskip("ray")
    for device, code, says in (
        ("npu", 3, "expected 1 NPU for each worker, got a cluster with 0"),
        ("auto", 2, "--device: expected npu, cuda, cpu"),
    ):
        options = ("--model", starter_bundle, "--engine", "ray", "--device", device)
        done = run_module("runtime.batch", ROOT / "assets", "--output", tmp_path / "o", *options)
        assert done.returncode == code, done.stderr
        assert says in done.stderr


def test_inputs_are_the_same_partitions_each_time(many: Path) -> None:
    """And their digest knows the names, the order and the size of the partitions."""
    one, other = find_inputs(str(many), 25), find_inputs(str(many), 25)
    assert one == other
    assert one.sha256 != find_inputs(str(many), 24).sha256
    assert sum(part.count for part in one.partitions) == one.count == COUNT


def test_the_summary_is_json(
    run_here: Run, tmp_path: Path, small: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    write_all(tmp_path / "p", ["a.jpg"], small)
    write_all(tmp_path / "p", ["b.jpg"], b"")
    assert run_here(tmp_path / "p", "out", "--json") == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["pictures"], said["faces"], said["failed"]) == (2, 1, 1)
    assert said["first_failed"][0][0] == "b.jpg"


def test_parquet_files_of_a_folder_and_of_a_glob_are_one_input(
    run_here: Run, tmp_path: Path, small: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """Hidden ones apart; pictures beside them are refused."""
    tables = tmp_path / "t"
    (tables / "in").mkdir(parents=True)
    for name in ("a", "in/b", "_hidden"):
        pq.write_table(pa.table({"image": [small]}), tables / f"{name}.parquet")
    assert run_here(tables, 1) == 0
    assert table_in(tmp_path / "1")["picture"] == ["a.parquet#0", "in/b.parquet#0"]
    assert run_here(tables / "*.parquet", 2) == 0
    assert len(table_in(tmp_path / "2")["picture"]) == 2
    (tables / "in/c.jpg").write_bytes(small)
    assert run_here(tables, 3) == 2
    assert "expected either pictures or Parquet files, got both" in capsys.readouterr().err


def test_a_full_disk_ends_the_job_and_loses_nothing(
    many: Path, starter_bundle: Path, tmp_path: Path
) -> None:
    """One line, no half file; with room the same command goes on."""
    patch = "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))"
    out = tmp_path / "out"
    given = (many / "0", "--output", out, "--model", starter_bundle, "--device", "cpu")
    done = run_patched(tmp_path, patch, *given, "--partition", 50)

    assert done.returncode == 4
    assert "expected to read and write here" in done.stderr.splitlines()[-1]
    assert [path.name for path in out.iterdir()] == ["_job.json"]
    assert run(*given, "--partition", 50) == 0
    assert len(table_in(out)["row"]) == 100


def test_a_cluster_that_is_not_there_is_said(
    starter_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Ray raises is a ConnectionError, which is an OSError, but no file's."""
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "box:6379")

    def refuse(**_: object) -> None:
        raise ConnectionError("no cluster")

    monkeypatch.setattr(ray, "init", refuse)
    options = ("--model", starter_bundle, "--engine", "ray", "--device", "cpu")
    with pytest.raises(BackendUnavailable, match="a cluster at box:6379, got ConnectionError"):
        batch._batch(
            batch._parse(
                [str(ROOT / "assets"), "--output", str(tmp_path / "o"), *map(str, options)]
            )
        )


def test_results_among_the_inputs_are_refused(
    run_here: Run, tmp_path: Path, small: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """By path, address or pattern; beside what a plain pattern matches they are in nobody's way."""
    (tmp_path / "a.jpg").write_bytes(small)
    for given, output in (
        (tmp_path, tmp_path / "out"),
        (f"file://{tmp_path}", f"file://{tmp_path}/out"),
        (tmp_path, f"file://{tmp_path}/out"),
        ("s3://bucket/in", "s3://bucket/in/out"),
        (tmp_path / "**/*.jpg", tmp_path / "out"),
        (tmp_path / "*.jpg", tmp_path),
    ):
        assert run_here(given, "x", "--output", output) == 2
        assert "expected a folder outside that of the" in capsys.readouterr().err
    assert run_here(tmp_path / "*.jpg", "out") == 0


@pytest.mark.parametrize(("batch_size", "calls"), [(None, 3), (1, 3), (4, 1)])
def test_a_workers_pictures_run_side_by_side(
    starter_bundle: Path, tmp_path: Path, batch_size: int | None, calls: int
) -> None:
    source = parse_source(f"{starter_bundle}@cpu")
    job = workers.Job(
        model=source,
        settings=Settings(threads=3),
        bundle_sha256=digest_of(source),
        faces=FaceOptions(batch=batch_size),
        output=str(tmp_path),
    )
    assert workers.Worker(job)._detector.backend.at_once == calls


def test_the_device_in_the_models_name_counts(
    starter_bundle: Path, tmp_path: Path, small: bytes
) -> None:
    """Also where no --device stands beside it; and it is part of what a job goes on as."""
    skip_without_openvino()
    write_all(tmp_path / "p", ["a.jpg"], small)
    out = tmp_path / "out"
    assert run(tmp_path / "p", "--output", out, "--model", f"{starter_bundle}@openvino/cpu") == 0
    assert table_in(out)["engine"][0].startswith("openvino")
    assert run(tmp_path / "p", "--output", out, "--model", starter_bundle, "--device", "cpu") == 2


def test_what_one_input_has_wrong_is_its_own_row(
    run_here: Run, tmp_path: Path, small: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipe, a name that is no text, no name, a path with a NUL, a host that nobody knows."""
    folder = write_all(tmp_path / "p", ["a.jpg"], small)
    os.mkfifo(folder / "b.jpg")
    (folder / os.fsdecode(b"c\xff.jpg")).write_bytes(small)
    (folder / "d.jpg").symlink_to("d.jpg")
    assert run_here(folder, 1, "--json") == 1
    assert table_in(tmp_path / "1")["status"] == ["ok", "error", "ok"]
    skipped = json.loads(capsys.readouterr().out)["skipped"]
    assert skipped == {"linked to nothing": {"count": 1, "first": ["d.jpg"]}}

    values = [str(folder / "a.jpg"), "a\0b.jpg", "hdfs://nobody.invalid/x.jpg", None, ""]
    pipe = folder / "b.jpg"
    values += ["/dev/zero", "file:///dev/zero", f"file://{pipe}", f"local://{pipe}"]
    values += [f"simplecache::file://{pipe}", f"zip://a.jpg::file://{pipe}"]
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"uri": values}), path)
    assert run_here(path, 2) == 1
    assert table_in(tmp_path / "2")["status"] == ["ok"] + ["error"] * 10
    assert table_in(tmp_path / "2")["picture"][3:5] == ["t.parquet#3", "t.parquet#4"]
    assert "pipe or device" in table_in(tmp_path / "2")["error"][-1]


@pytest.mark.parametrize("scheme", ["file", "local"])
def test_an_address_of_this_machine_is_listed_as_its_path(
    tmp_path: Path, small: bytes, scheme: str
) -> None:
    """Links, circles, hidden files, names that begin with _; and what a named file is."""
    folder = write_all(tmp_path / "p q", ["_a.jpg", "b.jpg", ".c.jpg", "_in/d.jpg", "e.txt"], small)
    (folder / "top").symlink_to(folder)
    os.mkfifo(tmp_path / "pipe")
    by_path, by_address = (
        find_inputs(given, 10) for given in (str(folder), f"{scheme}://{folder}")
    )
    assert by_address == by_path
    assert by_path.partitions[0].names == ("_a.jpg", "_in/d.jpg", "b.jpg")
    for pipe in ("pipe", "pipe.parquet"):
        (tmp_path / "pipe.parquet").unlink(missing_ok=True)
        os.mkfifo(tmp_path / "pipe.parquet")
        with pytest.raises(InputError, match="a pipe or device"):
            find_inputs(f"{scheme}://{tmp_path}/{pipe}", 10)


def test_addresses_are_kept_whole(small: bytes) -> None:
    """Names that an address would have to escape, and paths beside a Parquet that has one."""
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe("/kept/in/a b#c?d.jpg", small)
    inputs = find_inputs("memory://kept", 10)
    (picture,) = inputs.partitions[0].pictures()
    assert picture.name == "in/a b#c?d.jpg"
    assert picture.read().shape == (240, 320, 3)

    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"uri": ["in/a b#c?d.jpg", "in/none.jpg"]}), sink)
    memory.pipe("/kept/table.parquet", sink.getvalue().to_pybytes())
    there, missing = find_inputs("memory://kept/table.parquet", 10).partitions[0].pictures()
    assert there.read().shape == (240, 320, 3)
    with pytest.raises(InputError, match="none.jpg: expected a whole JPEG"):
        missing.read()


def test_a_batch_has_the_limit_of_pixels_in_its_workers(
    run_here: Run, tmp_path: Path, small: bytes
) -> None:
    write_all(tmp_path / "photos", ["a.jpg"], small)
    run_here(tmp_path / "photos", "out", "--max-pixels", "9")
    (error,) = table_in(tmp_path / "out")["error"]
    assert "at most 9 px, got 320x240" in error


def test_remote_addresses_in_rows_can_be_forbidden(tmp_path: Path, small: bytes) -> None:
    """A table of somebody else's must not make this machine call others; paths work as before."""
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").pipe("/kept/remote.jpg", small)
    (tmp_path / "here.jpg").write_bytes(small)
    here = f"file://{tmp_path}/here.jpg"
    rows = ["here.jpg", here, "memory://kept/remote.jpg", f"file://{tmp_path}/x::{here}"]
    pq.write_table(pa.table({"uri": rows}), tmp_path / "table.parquet")

    for forbid, readable in ((False, 3), (True, 2)):
        inputs = find_inputs(str(tmp_path / "table.parquet"), 10, forbid_remote=forbid)
        pictures = list(inputs.partitions[0].pictures())
        for picture in pictures[:readable]:
            assert picture.read().shape == (240, 320, 3)
    for picture in pictures[2:]:
        with pytest.raises(InputError, match="a remote address, which --forbid-remote excludes"):
            picture.read()
