"""Where code comes from: pinned versions that install, and no network while our own runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import ROOT, run_python, tiny_config
from kits import HERE_PYTHON, wheels_folder
from packaging.requirements import Requirement

from starmark.__main__ import COMMANDS

CONSTRAINTS, LOCK = ROOT / "constraints.txt", ROOT / "requirements.lock"
# What an index offers as torch differs by machine, and so does its hash.
NOT_LOCKED = {"torch"}


def pins(path: Path, python: str) -> Iterator[tuple[str, str]]:
    """Names and versions of a requirements file that count for a Python on Linux."""
    here = {"python_version": python, "python_full_version": f"{python}.9"}
    for line in re.findall(r"(?m)^[A-Za-z].*?(?= \\$|$)", path.read_text()):
        pin = Requirement(line)
        if pin.marker is None or pin.marker.evaluate({**here, "sys_platform": "linux"}):
            yield re.sub(r"[-_.]+", "-", pin.name).lower(), str(pin.specifier)


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_the_lock_holds_the_exporters_packages_in_the_tested_versions(python: str) -> None:
    """All but torch; whoever changes constraints.txt locks again, as the lock's first lines say."""
    locked, tested = dict(pins(LOCK, python)), dict(pins(CONSTRAINTS, python))
    tomllib = pytest.importorskip("tomllib", reason="Python reads TOML itself from 3.11 on")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needs = project["dependencies"] + project["optional-dependencies"]["export"]
    needs += project["optional-dependencies"]["report"] + project["optional-dependencies"]["torch"]
    names = {
        need.name.replace("_", "-")
        for need in map(Requirement, needs)
        if need.marker is None or need.marker.evaluate({"python_version": python})
    }

    assert names - {"starmark"} - NOT_LOCKED <= locked.keys()
    assert not NOT_LOCKED & locked.keys()
    assert {name: locked[name] for name in locked.keys() & tested.keys()} == {
        name: tested[name] for name in locked.keys() & tested.keys()
    }
    if python != "3.10":  # for which constraints.txt leaves some versions to pip
        assert locked.keys() <= tested.keys() | {"setuptools", "tzdata"}


def test_installing_an_extra_keeps_the_checkout_in_use() -> None:
    """After scripts/export.sh, `pip install .` puts a copy in its place that goes stale."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", "*.md", "*.py", ":!tests"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    plain = re.compile(r"""pip install (?!.*-e)[^`\n]*['" ]\.(\[|['"`]|$)""", re.MULTILINE)

    assert plain.search("pip install '.[video]'")
    assert plain.search("pip install -c constraints.txt .\n")
    assert not plain.search("pip install -e '.[video]'")
    found = [
        name for name in listed.split("\0") if name and plain.search((ROOT / name).read_text())
    ]
    assert found == []


@pytest.mark.slow
@pytest.mark.parametrize("python", ["lock", "3.10", HERE_PYTHON])
def test_every_pinned_version_installs(tmp_path: Path, python: str) -> None:
    """As wheels, also for the oldest Python; the locked ones with those hashes. Needs an index."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    probe = [*pip, "download", "--quiet", "--no-deps", "--dest", str(tmp_path), "iniconfig==0"]
    reached = subprocess.run(probe, capture_output=True, text=True, check=False).stderr
    if "from versions: none" in reached or "from versions:" not in reached:
        pytest.skip(f"no index is reached: {reached[-300:]}")
    options = ["--dry-run", "--ignore-installed", "--no-deps", "--only-binary", ":all:"]
    listed = LOCK
    if python != "lock":
        # pip goes by the markers for the Python that it runs in
        listed = tmp_path / "constraints.txt"
        found = dict(pins(CONSTRAINTS, python))
        if python != HERE_PYTHON:
            del found["torch"]  # its CPU build may lie on this machine, for this Python alone
        listed.write_text("".join(f"{name}{version}\n" for name, version in found.items()))
        options += ["--python-version", python, "--target", str(tmp_path / "none")]

    done = subprocess.run(
        [*pip, "install", "--quiet", *options, "-r", listed],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-2000:]


# Loaded by every Python below; what asks for an address is written down, and refused.
GUARD = """
import os, sys

def guard(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        if not isinstance(address, tuple) or str(address[0]) in ("127.0.0.1", "::1"):
            return
    elif event not in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        return
    with open(os.environ["NETWORK_LOG"], "a") as log:
        log.write(f"{sys.argv}: {event} {arguments}\\n")
    raise PermissionError("no network in this test")

sys.addaudithook(guard)
"""
RUN_ALL = """
import json, sys
from starmark.__main__ import main

codes = [main(command) for command in json.loads(sys.argv[1])]
print(json.dumps(codes), file=sys.stderr)
"""


@pytest.mark.slow
def test_no_command_opens_the_network(tmp_path: Path, tiny: Path) -> None:
    """Nor what it starts; a Python without the audit hook would write no log, so one is asked."""
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard/sitecustomize.py").write_text(GUARD)
    log, build = tmp_path / "log", tmp_path / "build/tiny"
    guarded = {"PYTHONPATH": f"{tmp_path}/guard:{ROOT}", "NETWORK_LOG": str(log)}
    photo, sources = str(ROOT / "assets"), ["--images", str(ROOT / "assets/sample.jpg")]
    bundle, recorded = f"{build}@cpu", str(tmp_path / "r.npz")
    wheels, box = wheels_folder(tmp_path / "wheels"), ["--python", "3.11", "--arch", "aarch64"]
    commands: list[list[object]] = [
        ["export", "--config", tiny_config(tmp_path, tiny), "--output", build],
        ["preflight", build, "--soc_version", "Ascend910B3"],
        ["kit", build, "--output", tmp_path / "k.tar", "--wheels", wheels, *box],
        ["infer", "--model", build, "--input", photo, "--output", tmp_path / "rows"],
        ["batch", photo, "--model", build, "--output", tmp_path / "parts", "--device", "cpu"],
        ["info", build],
        ["doctor", "--collect", tmp_path / "box.tar.gz", build, "--selftest"],
        ["compare", f"{tiny}@cpu", bundle, *sources, "--html", tmp_path / "report.html"],
        ["record", bundle, *sources, "--output", recorded],
        ["selftest", build, "--device", "cpu", "--output", tmp_path / "s.npz"],
        ["locate", f"{tiny}@cpu", bundle, *sources],
        ["rehearse", build, "--as", "fp16", *sources],
        ["stability", bundle, *sources],
        ["benchmark", "--sources", bundle, "--runs", "10", "--output", tmp_path / "b.json"],
        ["diff", recorded, tmp_path / "s.npz"],
    ]
    names = [command[0] for command in commands]
    assert sorted(map(str, names)) == sorted(COMMANDS)

    as_text = json.dumps([[str(word) for word in command] for command in commands])
    done = run_python("-c", RUN_ALL, as_text, **guarded)

    assert not log.exists(), log.read_text()
    codes = json.loads(done.stderr.splitlines()[-1])
    found = dict(zip(names, codes, strict=True))
    assert found.pop("doctor") in {0, 1, 3}  # this machine may lack an NPU
    assert found.pop("benchmark") in {0, 1, 4}  # invalid where other work has the cores
    assert set(found.values()) <= {0, 1}, (found, done.stderr)
    probe = "import urllib.request as u; u.urlopen('http://192.0.2.1/', timeout=1)"
    assert run_python("-c", probe, **guarded).returncode == 1
    assert "192.0.2.1" in log.read_text()
