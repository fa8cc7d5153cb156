"""Batches from and to S3, as moto's server speaks it: listed, read, written, gone on with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
from builders import ROOT, tiny_checkpoint

from runtime.batch import __main__ as batch
from runtime.image.picture import read_picture

pa = pytest.importorskip("pyarrow", reason="batches need the extra parquet")
pq = pytest.importorskip("pyarrow.parquet")
moto = pytest.importorskip("moto.server", reason="a server of S3's protocol is moto's")
boto3 = pytest.importorskip("boto3")

SETTINGS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty bucket, which workers find by the environment."""
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        for name, value in SETTINGS.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        made = boto3.resource("s3").Bucket("starmark-test")
        made.create()
        yield made
    finally:
        server.stop()


def run(*arguments: object) -> int:
    return batch.main([str(one) for one in arguments])


def test_a_batch_in_a_bucket(
    bucket: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pictures by prefix and by a table's rows; one replaced makes its partition again."""
    picture = cv2.resize(read_picture(ROOT / "assets/test.jpg"), (64, 48))
    encoded = cv2.imencode(".jpg", picture)[1].tobytes()
    names = ["in/a b.jpg", "in/b#c.jpg", "in/deep/c.jpg", "in/notes.txt", "in/.hidden.jpg"]
    for name in names:
        bucket.put_object(Key=name, Body=encoded)
    root, out = f"s3://{bucket.name}", f"s3://{bucket.name}/out"
    options = ("--model", tiny_checkpoint(tmp_path / "t.pkl"), "--device", "cpu", "--json")
    given = (f"{root}/in", "--output", out, "--partition", 2, *options)

    assert run(*given) == 0
    assert json.loads(capsys.readouterr().out)["pictures_now"] == 3
    found = sorted(one.key for one in bucket.objects.filter(Prefix="out/p"))
    assert found == ["out/part-000000.parquet", "out/part-000001.parquet"]
    keys = {one.key for one in bucket.objects.filter(Prefix="out/")}
    assert keys - {*found, "out/"} == {"out/_job.json"}
    table = pq.read_table(f"{bucket.name}/out", filesystem=pa.fs.FileSystem.from_uri(root)[0])
    assert table["picture"].to_pylist() == ["a b.jpg", "b#c.jpg", "deep/c.jpg"]

    assert run(*given) == 0
    assert json.loads(capsys.readouterr().out)["pictures_now"] == 0
    bucket.put_object(Key="in/deep/c.jpg", Body=encoded + b"\0")
    run(*given)
    assert json.loads(capsys.readouterr().out)["pictures_now"] == 1

    rows = [f"{root}/in/a%20b.jpg", str(ROOT / "assets/test.jpg"), f"{root}/none.jpg"]
    pq.write_table(pa.table({"uri": rows}), tmp_path / "rows.parquet")
    for forbidden, status in ((False, ["ok", "ok", "error"]), (True, ["error", "ok", "error"])):
        place = tmp_path / f"{forbidden}"
        more = ("--forbid-remote",) if forbidden else ()
        assert run(tmp_path / "rows.parquet", "--output", place, *options, *more) == 1
        assert pq.read_table(place)["status"].to_pylist() == status
