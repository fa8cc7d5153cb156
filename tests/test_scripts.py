"""The commands of a newcomer, and the script that derives the samples."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from builders import ROOT

from runtime.image.picture import read_picture


def checkout(folder: Path) -> Path:
    """A copy of the working tree without what is built or installed."""
    ignore = shutil.ignore_patterns(
        "__pycache__", ".git", ".venv", "build", ".*_cache", "*.egg-info"
    )
    return Path(shutil.copytree(ROOT, folder / "checkout", ignore=ignore))


def fake_environment(folder: Path) -> tuple[dict[str, str], Path]:
    """An active environment whose python writes down how it is called."""
    log = folder / "calls"
    python = folder / "venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(
        f'#!/bin/sh\necho "$*" >>"{log}"\n'
        # pip puts the checkout into the environment, which is asked for it
        f'case "$*" in *"pip install"*) touch "{folder}/editable"; exit 0;;\n'
        f'*find_spec*) [ -e "{folder}/editable" ] && echo "$PWD/runtime/__init__.py"; exit;; esac\n'
        f'exec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)
    environment = {k: v for k, v in os.environ.items() if k != "CONDA_PREFIX"}
    return {**environment, "VIRTUAL_ENV": str(folder / "venv")}, log


def bash(
    script: str, *arguments: str, cwd: Path, env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", script, *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_export_script_does_the_main_job_and_then_nothing(tmp_path: Path) -> None:
    """From another folder, in the active environment; the second run makes no pip call."""
    here = checkout(tmp_path)
    environment, log = fake_environment(tmp_path)
    first = bash(str(here / "scripts/export.sh"), cwd=tmp_path, env=environment)
    assert first.returncode == 0, first.stderr
    assert {p.name for p in (here / "build/starter68").iterdir()} == {
        "model.onnx",
        "manifest.json",
        "parity.html",
        "parity.json",
        "selftest.npz",
    }
    assert "bundle: build/starter68" in first.stdout
    assert first.stdout.count("\n  python -m ") == 3
    assert "pip install" in log.read_text()

    log.unlink()
    second = bash("scripts/export.sh", cwd=here, env=environment)
    assert second.returncode == 0, second.stderr
    assert "up to date: packages" in second.stderr
    assert "up to date: onnx, verify, preflight, parity, selftest, om" in second.stderr
    assert "pip" not in log.read_text()

    # as where pip install . put a copy in its place
    (tmp_path / "editable").unlink()
    third = bash("scripts/export.sh", cwd=here, env=environment)
    assert third.returncode == 0, third.stderr
    assert "--editable .[export]" in log.read_text()


def test_export_script_passes_arguments_and_exit_codes_on(tmp_path: Path) -> None:
    """What the exporter refuses, the script refuses."""
    environment, _ = fake_environment(tmp_path)
    here = checkout(tmp_path)
    done = bash("scripts/export.sh", "--config", "configs/typo.toml", cwd=here, env=environment)

    assert done.returncode == 2
    assert "configs/typo.toml: expected a TOML file" in done.stderr
    assert "Next" not in done.stdout


@pytest.mark.parametrize("missing", ["Python", "network"])
def test_failed_installation_is_exit_3(tmp_path: Path, missing: str) -> None:
    """One line, before anything is made; what failed is tried again the next time."""
    here = checkout(tmp_path)
    environment, _ = fake_environment(tmp_path)
    if missing == "Python":
        tools = tmp_path / "tools"
        tools.mkdir()
        for name in ("bash", "cat", "cksum", "dirname", "rm"):
            (tools / name).symlink_to(shutil.which(name) or "")
        (tools / "python3").write_text("#!/bin/sh\nexit 1\n")
        (tools / "python3").chmod(0o755)
        environment = {"PATH": str(tools), "HOME": str(tmp_path)}
    else:
        python = tmp_path / "venv/bin/python"
        python.write_text(python.read_text().replace("exit 0", "exit 1"))
    done = bash("scripts/export.sh", cwd=here, env=environment)

    assert done.returncode == 3
    wording = {"Python": "expected Python 3.10 or later, got none", "network": "PIP_FIND_LINKS"}
    assert wording[missing] in done.stderr
    assert not (here / ".venv").exists()
    assert not list((tmp_path / "venv").glob(".starmark-*"))


def test_samples_are_derived_from_the_public_domain_portrait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The committed pictures are what the script makes, up to the JPEG encoder of the day."""
    pytest.importorskip("skimage")
    script = runpy.run_path(str(ROOT / "scripts/make_samples.py"))
    monkeypatch.setitem(script["main"].__globals__, "ASSETS", tmp_path)
    script["main"]()
    for name, shape in (("test.jpg", (768, 1024, 3)), ("sample.jpg", (256, 256, 3))):
        made, committed = (read_picture(folder / name) for folder in (tmp_path, ROOT / "assets"))
        assert committed.shape == shape
        assert np.abs(made.astype(int) - committed).mean() < 2


def test_benchmark_script_exports_what_is_missing_and_measures(tmp_path: Path) -> None:
    """Weights from the caller's folder, options passed on; a bundle that is there is left alone."""
    here = checkout(tmp_path)
    environment, log = fake_environment(tmp_path)
    python = Path(environment["VIRTUAL_ENV"]) / "bin/python"
    # an export that fails is no end: the suite says what is missing
    python.write_text(
        f'#!/bin/sh\necho "$*" >>"{log}"\ncase "$*" in *"--precision int8"*) exit 2;; esac\n'
    )
    (tmp_path / "w.pkl").touch()
    (here / "build/star68").mkdir(parents=True)
    (here / "build/star68/manifest.json").touch()
    script = str(here / "scripts/benchmark.sh")
    done = bash(script, "w.pkl", "--runs", "20", cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    calls = [line for line in log.read_text().splitlines() if line.startswith("-m ")]
    exports = [line for line in calls if line.startswith("-m export")]

    assert [line.rpartition("--output ")[2] for line in exports] == [
        "build/starter68",
        "build/starter68_plain",
        "build/starter68_int8",
        "build/star68_plain",
        "build/star68_int8",
    ]
    assert "--rewrites none" in exports[1]
    assert f"--weights {tmp_path}/w.pkl" in exports[3]
    assert "went on without build/star68_int8" in done.stderr
    assert calls[-1] == (
        "-m benchmarks.suite --models starter68=assets/starter68.safetensors"
        f" star68={tmp_path}/w.pkl --runs 20"
    )


def test_benchmark_script_refuses_weights_that_are_not_there(tmp_path: Path) -> None:
    """Named either way, before anything is installed."""
    environment, log = fake_environment(tmp_path)
    script = str(ROOT / "scripts/benchmark.sh")
    for arguments, extra in ((("gone.pkl",), {}), ((), {"FULL_SIZE_WEIGHTS": "gone.pkl"})):
        done = bash(script, *arguments, cwd=tmp_path, env={**environment, **extra})
        assert done.returncode == 2
        assert f"error: {tmp_path}/gone.pkl: expected the full-size model's weights" in done.stderr
    assert not log.exists()


FIGURES = runpy.run_path(str(ROOT / "scripts/rehearsal_figures.py"))


@pytest.mark.parametrize("name", FIGURES["DOCUMENTS"])
def test_rehearsed_figures_are_those_of_the_last_run(name: str) -> None:
    """All documents have one run's figures: python scripts/rehearsal_figures.py writes them."""
    text = (ROOT / name).read_text(encoding="utf-8")
    record = json.loads(FIGURES["RECORD"].read_text(encoding="utf-8"))
    rows = [line for line in text.splitlines() if FIGURES["LABEL"].match(line)]

    assert FIGURES["written"](text, record) == text
    assert len(rows) == 13
    # a figure that another run would give is another row
    record["samples"]["starter68"]["fp16"]["mean"] += 0.001
    assert FIGURES["written"](text, record) != text


def test_rehearsed_figures_are_not_stale(starter_bundle: Path) -> None:
    """Between two machines, the starter's mean differed by 3 %, P95 by 10 %, a maximum by 70 %."""
    record = json.loads(FIGURES["RECORD"].read_text(encoding="utf-8"))["samples"]["starter68"]
    found = FIGURES["on_samples"](starter_bundle)

    for name, within in (("mean", 0.1), ("p95", 0.2)):
        assert found["fp16"][name] == pytest.approx(record["fp16"][name], rel=within), name
