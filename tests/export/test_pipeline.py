"""The pipeline as a whole: what it makes, what it skips, and what survives its end."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from builders import ROOT, STARTER, run_module, run_python, tiny_checkpoint, tiny_config
from msgspec import UNSET

from export import __main__ as export_main
from export.bundle import beside, staged
from export.steps.step import CODE_ROOMS, code_digest
from runtime.model.manifest import (
    ONNX_NAME,
    ErrorScale,
    Manifest,
    check_file,
    read_manifest,
    save_manifest,
)


@pytest.fixture
def config(tiny: Path, tmp_path: Path) -> Path:
    return tiny_config(tmp_path, tiny)


@pytest.fixture(scope="module")
def exported(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's bundle, made once."""
    folder = tmp_path_factory.mktemp("exported")
    assert export(tiny_config(folder, tiny), folder / "out") == 0
    return folder / "out"


@pytest.fixture
def out(exported: Path, tmp_path: Path) -> Path:
    """A copy of it, for an export to find in place."""
    return Path(shutil.copytree(exported, tmp_path / "out"))


def export(config: Path, output: Path, *arguments: str) -> int:
    return export_main.main(["--config", str(config), "--output", str(output), *arguments])


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def check_bundle(folder: Path) -> Manifest:
    manifest = read_manifest(folder)
    for name in manifest.files:
        check_file(folder, manifest, name)
    return manifest


def test_starter_bundle_holds_what_the_design_lists(starter_bundle: Path) -> None:
    """model.onnx, manifest.json, parity.json; judged, and with every fact filled in."""
    manifest = check_bundle(starter_bundle)
    parity = json.loads((starter_bundle / "parity.json").read_text())

    assert {p.name for p in starter_bundle.iterdir()} == {*manifest.files, "manifest.json"}
    assert manifest.parity.passed
    assert parity["verdict"]["passed"]
    assert parity["photo_px"]["axis"]["count"] == 272
    assert manifest.onnx.opset == 13
    assert set(manifest.verification) == {
        f"{kind}/{output}" for kind in ("real", "random") for output in ("landmarks", "covariance")
    }
    assert manifest.versions["torch"].startswith("2.")
    assert str(ROOT) not in (starter_bundle / "manifest.json").read_text()
    assert not list(starter_bundle.parent.glob(".*staging*"))


def test_same_inputs_give_the_same_bytes_from_two_checkouts(
    starter_bundle: Path, tmp_path: Path
) -> None:
    """model.onnx and both reports to the byte, the manifest but for its timestamp."""
    checkout = tmp_path / "elsewhere"
    for room in ("runtime", "parity", "export", "configs", "assets"):
        shutil.copytree(ROOT / room, checkout / room, ignore=shutil.ignore_patterns("__pycache__"))
    done = run_python("-m", "export", "--output", "made", cwd=checkout, PYTHONPATH=str(checkout))
    assert done.returncode == 0, done.stderr
    here, there = content(starter_bundle), content(checkout / "made")

    assert here[ONNX_NAME] == there[ONNX_NAME]
    assert here["parity.json"] == there["parity.json"]
    assert here["parity.html"] == there["parity.html"]
    first, second = (
        [line for line in made["manifest.json"].decode().splitlines() if "created_utc" not in line]
        for made in (here, there)
    )
    assert first == second


def test_the_page_in_the_bundle_is_the_report_and_names_no_machine_path(
    starter_bundle: Path,
) -> None:
    """What parity.json says is inside it; no times, no folders of the one who exported."""
    page = (starter_bundle / "parity.html").read_text(encoding="utf-8")
    inside = page.partition('<script type="application/json" id="report">')[2]
    manifest = read_manifest(starter_bundle)

    assert json.loads(inside.partition("</script>")[0]) == json.loads(
        (starter_bundle / "parity.json").read_text()
    )
    assert 'data-path="verdict.passed" data-value="true"' in page
    assert "python -m parity.compare starter68.safetensors@cpu model.onnx@cpu</code>" in page
    assert str(ROOT) not in page
    assert str(starter_bundle.parent) not in page
    assert 'id="latency"' not in page
    assert {"jinja2", "matplotlib"} <= set(manifest.versions)


def test_a_changed_template_is_no_longer_up_to_date(tmp_path: Path) -> None:
    """The page is made again when its style is another, not only when the code is."""
    for room in CODE_ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    found = [code_digest(tmp_path)]
    for name in ("page.css", "page.js", "page.html.j2", "zh.json", "page.py"):
        with (tmp_path / "parity/html" / name).open("a") as file:
            file.write("\n")
        found.append(code_digest(tmp_path))

    assert len(set(found)) == 6


def test_second_run_does_nothing_and_imports_no_torch(starter_bundle: Path) -> None:
    """And says what was up to date."""
    before = content(starter_bundle)
    done = run_python(
        "-c",
        "import sys\n"
        "from export.__main__ import main\n"
        f"code = main(['--output', {str(starter_bundle)!r}])\n"
        "print(code, [m for m in ('torch', 'onnxruntime', 'onnx') if m in sys.modules])\n",
    )

    assert done.stdout.splitlines()[-1] == "0 []"
    assert "up to date: onnx, verify, preflight, parity, selftest, om" in done.stderr
    assert "PASSED: mean" in done.stdout
    assert content(starter_bundle) == before


@pytest.mark.slow
def test_changed_limits_judge_again_and_export_nothing(
    config: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The graph is kept, and the error scale with it; another exporter makes a new one."""
    first = check_bundle(out)
    regions = dict.fromkeys(first.spec.topology.regions, 0.5)
    scale = ErrorScale(regions=regions, pictures=48, within=(0.39, 0.86))
    save_manifest(out, msgspec.structs.replace(first, error_scale=scale))
    assert export(config, out, "--max-mean", "0.2") == 0
    second = check_bundle(out)

    assert {"up to date: onnx", "up to date: verify"} <= set(caplog.messages)
    assert "up to date: parity" not in caplog.messages
    assert second.parity.max_mean_px == 0.2
    assert second.files[ONNX_NAME] == first.files[ONNX_NAME]
    assert second.error_scale == scale
    assert export(config, out, "--exporter", "dynamo") == 0
    third = check_bundle(out)
    assert (third.onnx.opset, third.error_scale) == (18, UNSET)


def test_damaged_bundle_is_made_again(config: Path, out: Path) -> None:
    """A changed byte is found although the manifest's keys are fresh."""
    whole = content(out)
    (out / ONNX_NAME).write_bytes(whole[ONNX_NAME][:-1])
    assert export(config, out) == 0

    assert content(out)[ONNX_NAME] == whole[ONNX_NAME]


def test_rejected_bundle_goes_aside(
    config: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, the good bundle untouched, the rejected one beside it and marked."""
    before = content(out)
    assert export(config, out, "--max-error", "1e-12", "--max-mean", "1e-12") == 1

    assert content(out) == before
    rejected = check_bundle(tmp_path / "out.rejected")
    assert rejected.parity.passed is False
    page = (tmp_path / "out.rejected/parity.html").read_text(encoding="utf-8")
    assert 'data-path="verdict.passed" data-value="false"' in page
    assert "rejected: " in capsys.readouterr().out


def test_skipped_parity_is_in_the_manifest(
    config: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By request only, said loudly, and judged when asked again."""
    assert export(config, out, "--no-parity") == 0
    assert "parity was skipped by request" in caplog.text
    assert check_bundle(out).parity.passed is None
    assert not (out / "parity.json").exists()
    assert export(config, out) == 0
    assert check_bundle(out).parity.passed is True


def test_dry_run_writes_nothing(
    config: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what would run, before and after an export."""
    assert export(config, tmp_path / "deep/out", "--dry-run") == 0
    assert capsys.readouterr().out.count("would run") == 5
    assert not (tmp_path / "deep").exists()
    assert export(config, out, "--dry-run") == 0
    assert capsys.readouterr().out.count("up to date") == 6


def test_missing_atc_is_said(config: Path, out: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody may take this bundle for one an NPU runs; the command that mends it is this one."""
    assert export(config, out, "--om", "auto", "--no-parity", "--", "--log=info") == 0
    assert "holds no .om: atc, CANN's converter, is not on PATH; no chip is named" in caplog.text
    line = f"--config {config} --output {out} --no-parity --om require --soc_version NAME"
    assert f"python -m export {line} -- --log=info" in caplog.text


def test_missing_full_size_weights_say_where_they_come_from(tmp_path: Path) -> None:
    """Model id, file, client, and where to put them; as a real process."""
    done = run_module("export", "--config", "configs/star68.toml", "--output", tmp_path / "out")

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    for part in (
        "iic/cv_human_68-facial-landmark-detection",
        "pytorch_model.pkl",
        "modelscope download",
        "--weights",
    ):
        assert part in line
    assert not (tmp_path / "out").exists()


def test_bad_input_leaves_nothing_behind(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong weights, wrong configuration, an output that is not ours: exit 2 and no file."""
    config = tiny_config(tmp_path, tiny)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    plain = tmp_path / "plain"
    plain.write_text("a file")
    before = sorted(tmp_path.rglob("*"))
    cases = [
        ([str(tmp_path / "out"), "--weights", str(tmp_path / "gone.pkl")], "gone.pkl"),
        ([str(tmp_path / "out"), "--weights", str(STARTER)], "68 points and 1,282,818 parameters"),
        ([str(tmp_path / "out"), "--weights", str(ROOT / "README.md")], "README.md"),
        ([str(tmp_path / "out"), "--opset", "19"], "11 to 18"),
        ([str(tmp_path / "out"), "--max-mean", "nan"], "max_mean"),
        ([str(mine)], "holds thesis.txt, which exporting would delete"),
        ([str(plain)], "a file"),
        ([str(plain / "below")], "expected a bundle's folder or a new one"),
        (["/proc/starmark/out"], "expected a bundle's folder or a new one"),
        (["/proc/starmark"], "expected a bundle's folder or a new one"),
        ([str(ROOT)], "which exporting would delete"),
    ]
    for arguments, says in cases:
        code = export(config, Path(arguments[0]), *arguments[1:])
        said = capsys.readouterr()
        assert code == 2, (arguments, said.err)
        assert says in said.err.splitlines()[-1]
        assert said.err.splitlines()[-1].startswith("error: ")
        left = [p for p in sorted(tmp_path.rglob("*")) if not p.name.endswith(".lock")]
        assert left == before


def test_link_to_a_bundle_stays_a_link(config: Path, out: Path, tmp_path: Path) -> None:
    """The new bundle goes where the link points."""
    link = tmp_path / "link"
    link.symlink_to(out)
    assert export(config, link, "--max-mean", "0.2") == 0

    assert link.is_symlink()
    assert check_bundle(out).parity.max_mean_px == 0.2
    assert {p.name for p in tmp_path.iterdir() if ".staging" in p.name} == set()


def test_current_folder_is_not_exchanged_away(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would pull the ground from under the shell."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")

    assert export(config, Path()) == 2
    assert list(Path().iterdir()) == []


@pytest.mark.slow
def test_full_disk_keeps_the_old_bundle(
    config: Path, out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 4, one line, nothing half-written."""
    before = content(out)
    original = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if self.name == ONNX_NAME:
            original(self, data[: len(data) // 2])
            raise OSError(28, "No space left on device", str(self))
        return original(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    assert export(config, out, "--exporter", "dynamo") == 4

    assert "No space left on device" in capsys.readouterr().err.splitlines()[-1]
    assert content(out) == before
    assert not beside(out, "staging").exists()


@pytest.mark.slow
def test_two_exports_at_once_give_one_whole_bundle(config: Path, tmp_path: Path) -> None:
    """The second waits, says so, and finds everything up to date or makes it again."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "export", "--config", str(config), "--output", str(out)]
    running = [
        subprocess.Popen(
            command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=300)[1] for process in running]

    assert [process.returncode for process in running] == [0, 0], said
    assert check_bundle(out).parity.passed
    assert not beside(out, "staging").exists()


# Forks exports that kill themselves: each before or after one of the calls that change files.
KILLED_EXPORTS = """
import os, signal, sys
from pathlib import Path
import torch, onnx, onnxsim, onnxruntime, cv2
import export.graph.float_graph, export.preflight
from export import bundle, pipeline
from export.__main__ import main

cv2.setNumThreads(1)
HOMES = {
    "make": (pipeline.Onnx, "run"),
    "judge": (pipeline.Parity, "run"),
    "seal": (pipeline, "save_manifest"),
    "exchange": (bundle, "_exchange"),
    "rename": (Path, "rename"),
}

def kill_at(call, when, number):
    home, name = HOMES[call]
    real, calls = getattr(home, name), []
    def mortal(*arguments, **named):
        calls.append(name)
        if when == "before" and len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        found = real(*arguments, **named)
        if when == "after" and len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    if call == "rename":
        bundle._exchange = lambda *_: False
    setattr(home, name, mortal)

for place, out in zip(sys.argv[2::2], sys.argv[3::2]):
    pid = os.fork()
    if pid == 0:
        call, when, number = place.split()
        kill_at(call, when, int(number))
        os._exit(main(["--config", sys.argv[1], "--output", out]))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL, place
"""
# Whose bundle is found next after each.
FOUND_AFTER = {
    "make before 1": "tiny",
    "make after 1": "tiny",
    "judge after 1": "tiny",
    "seal after 1": "tiny",
    "exchange before 1": "tiny",
    "exchange after 1": "other",
    "rename before 1": "tiny",
    "rename after 1": "tiny",  # it had stepped aside
    "rename before 2": "tiny",  # likewise
    "rename after 2": "other",
}


@pytest.mark.slow
def test_a_killed_export_leaves_the_old_bundle_or_the_new_one(
    exported: Path, tmp_path: Path
) -> None:
    """Never a mixture, whichever change of the files it dies at; the next one removes the rest."""
    other = tiny_config(tmp_path, tiny_checkpoint(tmp_path / "other.pkl", seed=5), name="other")
    places = {name: tmp_path / name / "out" for name in FOUND_AFTER}
    for out in places.values():
        shutil.copytree(exported, out)
    arguments = [word for place in places.items() for word in place]
    done = run_python("-c", KILLED_EXPORTS, other, *arguments)

    assert done.returncode == 0, done.stderr
    found = {}
    for name, out in places.items():
        assert beside(out, "staging").exists() or "rename" in name
        with staged(out):
            found[name] = check_bundle(out).name
        assert not beside(out, "staging").exists()
    assert found == FOUND_AFTER


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_terminated_export_cleans_up(config: Path, tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM, and a terminal that is closed, unwind like Ctrl-C: exit 130, no staging folder."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "export", "--config", str(config), "--output", str(out)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not beside(out, "staging").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]

    assert process.returncode == 130, said
    assert "interrupted" in said
    assert not out.exists()
    assert not beside(out, "staging").exists()


@pytest.mark.slow
def test_rewrites_are_chosen_on_the_command_line(
    config: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Any order, the same bytes; the manifest names them. --verbose counts what they changed."""
    made = {}
    for name in ("merges,features", "features,merges", "none"):
        folder = tmp_path / name.replace(",", "_")
        assert export(config, folder, "--rewrites", name, "--no-parity") == 0
        made[name] = (folder / ONNX_NAME).read_bytes(), check_bundle(folder).onnx
    plain = made["none"][1]

    assert made["merges,features"] == made["features,merges"]
    assert made["none"][0] != made["merges,features"][0]
    assert plain.rewrites == ()
    rewritten = made["merges,features"][1]
    assert rewritten.rewrites == ("features", "merges")
    assert rewritten.cost.nodes == rewritten.nodes < plain.nodes
    assert "nodes" in caplog.text
    assert f"{plain.nodes} -> {rewritten.nodes}" not in caplog.text
    assert export(config, tmp_path / "said", "--rewrites", "merges,features", "--verbose") == 0
    assert f"{plain.nodes} -> {rewritten.nodes}" in caplog.text
