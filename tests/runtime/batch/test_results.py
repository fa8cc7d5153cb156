"""A batch's folder: what is there is gone on with only where it is whole and made from the same."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from runtime.batch.inputs import find_inputs
from runtime.batch.results import Results
from runtime.batch.stored import Partition, stamped
from runtime.errors import ConfigError
from runtime.many.heading import Heading
from runtime.many.rows import Row

pa = pytest.importorskip("pyarrow", reason="batches need the extra parquet")
pq = pytest.importorskip("pyarrow.parquet")

HEADING = Heading(model="m", engine="e", given="g", options={})


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for name in "abcd":
        (tmp_path / f"photos/{name}.jpg").write_bytes(name.encode() * 9)
    return tmp_path / "photos"


@pytest.fixture
def out(photos: Path, tmp_path: Path) -> Path:
    """A batch of two partitions that has ended."""
    results = Results(str(tmp_path / "out"), "0")
    with results.locked():
        results.begin(HEADING)
        for one in partitions(photos):
            rows = [[Row(picture=name, status="no face")] for name in one.names]
            results.write(one, rows, {"engine": "e"}, one.digest_of_contents())
    return tmp_path / "out"


def partitions(photos: Path) -> list[Partition]:
    return list(stamped(find_inputs(str(photos), 2).partitions))


def finished(photos: Path, out: Path, heading: str = "0") -> set[int]:
    return Results(str(out), heading).finished(partitions(photos))


def test_a_part_that_is_damaged_is_made_again(
    photos: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Any byte of the rows that is another one, and any byte that is missing; it is said."""
    part, rng = out / "part-000001.parquet", random.Random(0)  # noqa: S311  # no secret
    whole = part.read_bytes()
    rows = pq.read_table(part).to_pydict()
    assert finished(photos, out) == {0, 1}
    for _ in range(300):
        damaged = bytearray(whole)
        if rng.random() < 0.5:
            damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        else:
            del damaged[rng.randrange(len(whole)) :]
        part.write_bytes(damaged)
        caplog.clear()
        if finished(photos, out) == {0}:
            assert "part-000001.parquet: " in caplog.text
            assert "made again" in caplog.text
        else:  # in what describes the file, and its rows are right
            assert pq.read_table(part).to_pydict() == rows


def test_a_part_is_made_again_where_its_inputs_have_changed(photos: Path, out: Path) -> None:
    """By their content: another time, or another place, is no change."""
    (photos / "a.jpg").touch()
    os.utime(photos / "b.jpg", ns=(1, 1))
    assert finished(photos, out) == {0, 1}
    shutil.copytree(photos, photos.with_name("moved"), copy_function=shutil.copyfile)
    assert finished(photos.with_name("moved"), out) == {0, 1}
    (photos / "a.jpg").write_bytes(b"x" * 9)
    assert finished(photos, out) == {1}
    (photos / "c.jpg").unlink()
    (photos / "c.jpg").symlink_to("nowhere")
    found = [*stamped(find_inputs(str(photos.with_name("moved")), 2).partitions)]
    assert Results(str(out), "1").finished(found) == set()


def test_a_table_of_the_users_is_not_replaced(photos: Path, out: Path) -> None:
    part = out / "part-000000.parquet"
    pq.write_table(pa.table({"row": [0, 1]}), part)
    before = part.read_bytes()
    with pytest.raises(ConfigError, match="part-000000.parquet: expected no file here, or one"):
        finished(photos, out)
    assert part.read_bytes() == before


def test_a_second_batch_is_refused(out: Path) -> None:
    """Also of the same process, and by address; the lock is gone at the end."""
    with (
        Results(str(out), "0").locked(),
        pytest.raises(ConfigError, match="expected a folder that no other run writes to"),
        Results(f"file://{out}", "0").locked(),
    ):
        pass
    assert sorted(path.name for path in out.iterdir()) == [
        "_job.json",
        "part-000000.parquet",
        "part-000001.parquet",
    ]
