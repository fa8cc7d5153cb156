"""`--collect`: one archive out of any machine, without anybody's names, pictures or weights."""

from __future__ import annotations

import gzip
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import ROOT, run_module
from cann.om_writer import write_om
from cann.plugin import Cann
from doctor_machines import Machine, chip, recording

from runtime.doctor import collect as collect_module
from runtime.doctor.__main__ import main
from runtime.doctor.collect import Collected, gather, write
from runtime.doctor.findings import Examination, Finding, Route

USER, HOST, SERIAL = "zhangweiqiang", "kunpeng-7f3a", "2199Q10D77K0X"
ADDRESS, MAC = "192.168.77.41", "02:42:ac:11:77:0b"
PLANTED = (USER, HOST, SERIAL, ADDRESS, MAC)


class Opened:
    """An archive as its reader sees it."""

    def __init__(self, path: Path) -> None:
        self.raw = gzip.decompress(path.read_bytes())
        with tarfile.open(path) as archive:
            self.entries = archive.getmembers()
            self.files = {
                one.name.removeprefix("starmark-box/"): archive.extractfile(one).read()  # type: ignore[union-attr]
                for one in self.entries
            }

    def json(self, name: str) -> Any:
        return json.loads(self.files[name])

    def text(self, name: str) -> str:
        return self.files[name].decode()

    @property
    def contents(self) -> dict[str, Any]:
        found: dict[str, Any] = self.json("collected.json")
        return found

    @property
    def failed(self) -> dict[str, str]:
        return {one["what"]: one["reason"] for one in self.contents["not_collected"]}


EXAMINED = Examination(
    findings=(Finding(level="ok", about="Python", found=f"of {USER} on {HOST}"),),
    routes=(Route(engine="om (pyACL)", device="npu", opens="models", refused="no acl"),),
    devices=(chip(),),
)


def boxed(folder: Path, *sources: Path, selftest: bool = False) -> Opened:
    """Collect in this process, after an examination of our own."""
    archive = folder / "box.tar.gz"
    write(archive, gather(EXAMINED, sources, exit_code=3, selftest=selftest))
    return Opened(archive)


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of somebody with a name, on a host with a name."""
    home = tmp_path / "home" / USER
    home.mkdir(parents=True)
    for name, value in {"HOME": home, "USER": USER, "LOGNAME": USER}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr("socket.gethostname", lambda: f"{HOST}.example.net")
    monkeypatch.chdir(tmp_path)
    return home


def om(path: Path, weights: bytes = b"", graph: str = "", **attributes: str) -> Path:
    """An .om in atc's form; its graph's size is that of `graph`."""
    names = {"soc_version": "Ascend910B3", "atc_version": "7.6.0.9.417", **attributes}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_om(
        path,
        name="net",
        attributes={**names, "framework_type": "Onnx", "graph_text": graph},
        partitions={1: weights or b"\x3f\x80WEIGHT" * 4096},
    )
    return path


def planted_machine(cann: Cann, home: Path) -> Path:
    """A box with CANN, an NPU, logs and a bundle, all of which name their owner; the bundle."""
    (cann.folder / "bin").mkdir()
    smi = cann.folder / "bin/npu-smi"
    smi.write_text(
        f'#!/bin/sh\n"{ROOT}/tests/cann/bin/npu-smi" "$@"; code=$?\n'
        f'case "$*" in *board*|*-l*) echo "\tSerial Number                  : {SERIAL}";; esac\n'
        "exit $code\n"
    )
    smi.chmod(0o755)
    cann.set("PATH", f"{smi.parent}{os.pathsep}{os.environ['PATH']}{os.pathsep}{home}/bin")
    cann.set("ASCEND_CUSTOM_OPP_PATH", f"{home}/opp")
    cann.set("TORCH_HOME", f"/data/{USER}/torch")
    cann.set("SECRET_TOKEN", "hunter2-hunter2")
    plog = home / "ascend/log/debug/plog"
    plog.mkdir(parents=True)
    (plog / "plog-77_20260101.log").write_text("an older one")
    (plog / "plog-99_20260102.log").write_text(
        f"[ERROR] {HOST} {USER} card {SERIAL} lost, peer {ADDRESS} {MAC}\n"
        f"Log in /home/{USER}/x, version 24.1.1.1\n"
    )
    os.utime(plog / "plog-77_20260101.log", (1, 1))
    folder = home / f"build/{USER}-star"
    om(folder / "model_b1.om", atc_cmdline=f"--model=/data/{USER}/m.onnx", user=USER, host=HOST)
    manifest = {"name": USER, "files": {f"{USER}.onnx": {"bytes": 7}}, "text": f"a\n{USER}"}
    manifest["digest"] = "7f3a"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "model_b1.log").write_text(f"\x1b[31m{USER}@{HOST}\x1b[0m converted for {ADDRESS}\n")
    (folder / "model.onnx").write_bytes(b"ONNXWEIGHTS" * 99)
    header = {"device": "npu:0", "machine": f"Linux {HOST} aarch64"}
    pictures = [{"name": "grandmother.jpg"}, {"name": "me.jpg"}]
    recording(folder / "selftest.npz", None, *pictures, **header)
    recording(folder.parent / "selftest_npu0.npz", "7f3a", *pictures, **header)
    return folder


def test_a_box_with_everything_names_nobody(cann: Cann, person: Path, tmp_path: Path) -> None:
    """What is there is in it, and true; what was planted is in no byte of it.

    Of an .om it holds the head up to its weights, of recordings their headers, of graphs nothing.
    """
    bundle = planted_machine(cann, person)
    om(tmp_path / "large.om", graph="g" * 9000)
    box = boxed(tmp_path, bundle, tmp_path / "large.om", bundle / "model.onnx")
    raw = box.raw.lower()

    for planted in (*PLANTED, str(person), "hunter2", "grandmother"):
        assert planted.lower().encode() not in raw, planted
    for mark in (b"<user>", b"<host>", b"<serial>", b"<ip>", b"<mac>", b'"~/build'):
        assert mark in box.raw, mark
    for content in (b"\x3f\x80WEIGHT", b"ONNXWEIGHTS", b"CROPPIXELS"):
        assert content not in box.raw
    assert "of <user> on <host>" in box.text("doctor.txt")
    assert box.json("doctor.json")["devices"][0]["soc_version"] == "Ascend910B3"
    assert box.contents["doctor_exit_code"] == 3
    assert box.json("versions/read.json")["cann"]["release"] == "8.5.0"
    assert box.text("npu-smi/info.txt").startswith("$ npu-smi info\n[exit status 0]\n")
    for name in ("info-l", "info-m", "board-0", "board-0-0"):
        assert f"npu-smi/{name}.txt" in box.files
    assert f"numpy=={np.__version__}" in box.json("python.json")["packages"]
    assert box.json("environment.json")["TORCH_HOME"] == "/data/<user>/torch"
    assert "SECRET_TOKEN" not in box.json("environment.json")
    assert "version 24.1.1.1" in box.text("plog/debug-plog-99_20260102.log")
    folder = "models/1-_user_-star"
    assert box.json(f"{folder}/manifest.json") == {
        "name": "<user>",
        "files": {"<user>.onnx": {"bytes": 7}},
        "text": "a\n<user>",
        "digest": "7f3a",
    }
    assert "converted for <ip>" in box.text(f"{folder}/model_b1.log")
    assert box.json(f"{folder}/model_b1/om.json")["soc_version"] == "Ascend910B3"
    assert "framework_type[Onnx]" in box.text(f"{folder}/model_b1/atc_mode6.txt")
    assert box.files[f"{folder}/model_b1/head.bin"].startswith(b"IMOD")
    assert len(box.files["models/2-large.om/head.bin"]) == 4096
    selftests = [name for name in box.files if "selftest" in name]
    assert selftests == ["selftest/build-selftest_npu0.npz.json"]
    assert box.json(selftests[0])["pictures"] == 2
    (reason,) = [why for what, why in box.failed.items() if what.endswith("model.onnx")]
    assert "a file of another kind" in reason


@pytest.mark.parametrize("damage", ["noise", "picture", "short", "empty", "cut", "pipe", "none"])
@pytest.mark.usefixtures("cann", "person")
def test_a_hostile_om_is_a_line_and_no_more(tmp_path: Path, damage: str) -> None:
    """No crash, no hang, nothing of what may be a picture, no weights of what cannot be read."""
    path = om(tmp_path / "x.om", weights=b"\x3f\x80WEIGHT" * 4096)
    whole = path.read_bytes()
    picture = b"\xff\xd8\xff\xe0JFIF" + b"PICTURE" * 999
    content = {
        "noise": b"IMOD" + np.random.default_rng(3).bytes(9000),
        "picture": picture,
        "short": whole[:100],
        "empty": b"",
        "cut": whole[:-1],
    }.get(damage)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    if damage == "pipe":
        os.mkfifo(path)
    box = boxed(tmp_path, path)

    assert [what for what in box.failed if "x.om" in what]
    assert b"PICTURE" not in box.raw
    assert b"WEIGHT" not in box.raw
    assert ("models/1-x.om/head.bin" in box.files) == (damage in ("noise", "short", "cut"))


def test_a_machine_with_nothing_gives_a_box_all_the_same(machine: Machine, tmp_path: Path) -> None:
    """The standard library alone, exit code 3, and what is missing is told."""
    archive = tmp_path / "box.tgz"
    path = om(tmp_path / "x.om")
    done = machine.run("--collect", str(archive), str(path))
    box = Opened(archive)

    assert done.returncode == 3, done.stderr
    assert box.contents["doctor_exit_code"] == 3
    assert box.failed["npu-smi"].startswith("not on PATH")
    assert box.json("python.json")["packages"] == []
    assert box.json("models/1-x.om/om.json")["soc_version"] == "Ascend910B3"
    assert any(what.startswith("atc --mode=6") for what in box.failed)


@pytest.mark.slow
def test_the_contents_are_listed_before_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names and bytes, what is missing, and what was replaced; whoever reads it can stop it."""
    archive = tmp_path / "box.tar.gz"
    listed = []

    def stop(path: Path, collected: Collected) -> None:
        assert not path.exists()
        listed.append(capsys.readouterr().out)
        write(path, collected)

    monkeypatch.setattr(collect_module, "write", stop)
    code = main(["--collect", str(archive), str(tmp_path / "none.om")])
    box = Opened(archive)
    (text,) = listed

    assert code == 0
    for name, data in box.files.items():
        assert f"{len(data):>11,}  {name}\n" in text
    assert f"not collected: {tmp_path}/none.om: expected" in text
    assert "NPU path: " in text
    assert [one["name"] for one in box.contents["files"]] == sorted(
        name for name in box.files if name != "collected.json"
    )


@pytest.mark.slow
def test_json_is_the_list_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """For machines; the rest is logged."""
    archive = tmp_path / "box.tar.gz"
    code = main(["--json", "--collect", str(archive)])

    assert code == 0
    assert json.loads(capsys.readouterr().out) == Opened(archive).contents
    assert f"wrote {archive}" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--collect", "box.zip"], "ends with .tar.gz or .tgz"),
        (["--collect", "nowhere/box.tar.gz"], "no folder"),
        (["--collect", "there.tar.gz"], "rm there.tar.gz"),
        (["--collect", "link.tar.gz"], "one that exists"),
        (["--collect", "folder.tar.gz"], "a folder"),
        (["some.om"], "belong to --collect"),
        (["--selftest"], "belong to --collect"),
        (["--collect", "box.tar.gz", "--selftest"], "name its folder"),
        (["--collect", f"{'n' * 260}.tar.gz"], "longer than the file system takes"),
    ],
)
def test_wrong_commands_are_refused_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    """Before anything is looked at; what stands there is not overwritten."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.tar.gz").write_bytes(b"precious")
    (tmp_path / "link.tar.gz").symlink_to("gone")
    (tmp_path / "folder.tar.gz").mkdir()
    try:
        code: object = main(arguments)
    except SystemExit as ended:
        code = ended.code
    told = capsys.readouterr().err

    assert code == 2
    assert says in told
    assert len(told.splitlines()) == 1
    assert (tmp_path / "there.tar.gz").read_bytes() == b"precious"


@pytest.mark.usefixtures("person")
def test_a_failed_export_leaves_its_log(tmp_path: Path) -> None:
    """No bundle came of it; what atc said lies beside where it would be."""
    (tmp_path / "star68.atc.log").write_text("E10054: it failed\n")
    box = boxed(tmp_path, tmp_path / "star68")

    assert box.text("models/1-star68/star68.atc.log") == "E10054: it failed\n"


@pytest.mark.usefixtures("person")
def test_the_self_test_runs_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its exit status and all it prints; not without the option."""
    folder = tmp_path / "star"
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    without = boxed(tmp_path, folder)
    (tmp_path / "box.tar.gz").unlink()
    asked = boxed(tmp_path, folder, om(tmp_path / "x.om"), selftest=True)
    text = asked.text("models/1-star/selftest.txt")

    assert "models/1-star/selftest.txt" not in without.files
    assert text.startswith("$ python")
    assert "-m parity.selftest" in text.splitlines()[0]
    assert "[exit status 2]" in text
    assert asked.failed[f"self-test of {tmp_path}/x.om"] == "only a bundle's folder has one"


@pytest.mark.usefixtures("person")
def test_a_bundle_that_passes_its_self_test(
    starter_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict is in the box, of the recording with its crops only the header.

    One in the current folder is recognised by its manifest, under any name.
    """
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    options = ("--device", "cpu", "--runs", "1", "--output", tmp_path / "selftest_cpu.npz")
    done = run_module("parity.selftest", starter_bundle, *options)
    assert done.returncode == 0, done.stderr
    box = boxed(tmp_path, starter_bundle, selftest=True)
    text = box.text(f"models/1-{starter_bundle.name}/selftest.txt")
    header = box.json(f"selftest/{tmp_path.name}-selftest_cpu.npz.json")

    assert "[exit status 0]" in text
    assert json.loads(text[text.index("\n{") :])["report"]["verdict"]["passed"] is True
    assert (header["device"], header["pictures"]) == ("cpu", 4)
    assert not [name for name in box.files if name.endswith((".npz", ".onnx"))]
    assert all(len(data) < 300_000 for data in box.files.values())
