"""The wheels that the box needs: our own, and others' for its Python and processor; all by pip."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import BackendUnavailable, ConfigError, ExportError, StarmarkError, one_line
from runtime.files import shown
from runtime.files.shipped import ROOT
from runtime.machine.packages import install_command
from runtime.machine.process import Finished, run
from runtime.model.manifest import Manifest
from runtime.version import VERSION

OWN_WHEEL = f"starmark-{VERSION}-py3-none-any.whl"
# Of every file in it, so that the same code gives the same bytes: 2020-02-02.
WHEEL_DATE_S = 1580601600
LONGEST_BUILD_S = 300

# In the order of their numbers. Huawei lists 3.13 from CANN 8.5.0 on.
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
ARCHES = ("aarch64", "x86_64")
# Wheels that run with this glibc and every later one: CentOS 7.6 is the oldest system on boxes.
GLIBC = "2.17"
# A slow mirror needs minutes for the 60 MB of OpenCV.
LONGEST_FETCH_S = 1800

# What onnxruntime's wheels need.
GLIBC_WITH_CPU = "2.28"

# NumPy 1 and not 2: CANN's own Python parts up to 8.2 fail with 2 (vllm-project/vllm-ascend#2210);
# what was built for NumPy 2 also runs with 1.26 (NumPy's notes for downstream package authors).
NUMPY = "numpy==1.26.4"
# Huawei lists NumPy after 2.1 for Python 3.13, and there is no NumPy 1 for it; 2.2 is the last for
# this glibc.
NUMPY_OF = {"3.13": "numpy==2.2.6"}
# Where constraints.txt leaves the version to pip; the range is that of the whole project.
ONNXRUNTIME_RANGE = ">=1.17,<2"
# The same cv2 as opencv-python's, but it needs no libGL, which servers and containers lack.
OPENCV = "opencv-python-headless"
# The manifest names the package that the workstation has.
OPENCV_KEYS = ("opencv-python", OPENCV)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A box: its Python, for example "3.11", its processor as `uname -m` prints it, its glibc."""

    python: str
    arch: str
    glibc: str = GLIBC

    def __str__(self) -> str:
        return f"Python {self.python} on {self.arch}"


def targets_of(
    pythons: Sequence[str], arches: Sequence[str], glibc: str = GLIBC
) -> tuple[Target, ...]:
    """Every named Python on every named processor.

    Raises:
        ConfigError: a Python that there is no kit for, and why.
    """
    for python in pythons:
        if python not in PYTHONS:
            raise ConfigError(
                f"--python {python}",
                expected=f"one of {', '.join(PYTHONS)}",
                got=repr(python),
                action=_advice(python),
            )
    return tuple(
        Target(python=python, arch=arch, glibc=glibc)
        for python in sorted(set(pythons), key=PYTHONS.index)
        for arch in sorted(set(arches))
    )


def check_checkout() -> None:
    """Check that this machine can build the kit's own wheel.

    Raises:
        ConfigError: this is no checkout, but an installation.
        BackendUnavailable: this Python has no hatchling.
    """
    if not (ROOT / "pyproject.toml").is_file():
        raise ConfigError(
            shown(ROOT),
            expected="a checkout of Starmark, which the kit's own wheel is built from",
            got="an installation",
            action="Run python -m export.kit in a checkout",
        )
    if importlib.util.find_spec("hatchling") is None:
        raise BackendUnavailable(
            "the kit's own wheel",
            expected="the package hatchling, which builds it",
            got="none",
            action=install_command("hatchling"),
        )


def requirements_of(manifest: Manifest, python: str, *, with_cpu: bool = False) -> tuple[str, ...]:
    """The requirements to download with pip, for one of `PYTHONS`: versions of constraints.txt.

    OpenCV is the release that the bundle was judged with: 4 and 5 warp a picture differently, by
    as much as an NPU's own error, and a self-test on the box must not find that.
    """
    pins = _pins(python)
    opencv = pins["opencv-python"]
    known = (manifest.versions.get(key, "") for key in OPENCV_KEYS)
    release = next((m[0] for v in known if (m := re.match(r"\d+\.\d+\.\d+(?=\.|$)", v))), opencv)
    if opencv != release and not opencv.startswith(f"{release}."):
        opencv = f"{release}.*"
    found = (
        NUMPY_OF.get(python, NUMPY),
        f"{OPENCV}=={opencv}",
        f"msgspec=={pins['msgspec']}",
    )
    if not with_cpu:
        return found
    engine = f"=={pins['onnxruntime']}" if "onnxruntime" in pins else ONNXRUNTIME_RANGE
    return (*found, f"onnxruntime{engine}")


def _pins(python: str) -> dict[str, str]:
    """The versions that constraints.txt names for a Python."""
    from packaging.requirements import Requirement  # here: it comes with hatchling

    found = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line)
            if pin.marker is None or pin.marker.evaluate({"python_version": python}):
                found[pin.name] = str(pin.specifier).removeprefix("==")
    return found


def own_wheel(folder: Path) -> Path:
    """Build the wheel of this checkout into a folder, without a network.

    Raises:
        BackendUnavailable: this Python has no pip.
        ExportError: pip failed, or took too long.
    """
    finished = run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--disable-pip-version-check", "--no-input"),
            *("--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)),
        ],
        timeout_s=LONGEST_BUILD_S,
        env={**os.environ, "SOURCE_DATE_EPOCH": str(WHEEL_DATE_S)},
    )
    if finished.timed_out or finished.returncode:
        raise _no_pip(finished) or _failed(
            "pip wheel", OWN_WHEEL, finished, "Correct what it names, and try again"
        )
    return folder / OWN_WHEEL


def fetch(
    folder: Path,
    wanted: Mapping[Target, Sequence[str]],
    source: Path | None = None,
) -> dict[Target, list[Path]]:
    """Put the wheels for every box into a folder.

    Args:
        folder: where they go.
        wanted: for each box what it needs, as pip takes it; their own requirements are not
            followed.
        source: a folder of wheels, the only place to look; None for pip's own index.

    Returns:
        The wheels for each box, sorted by name.

    Raises:
        ConfigError: `source` is no folder, or lacks a wheel.
        BackendUnavailable: this Python has no pip.
        ExportError: pip failed, or took too long.
    """
    if source is not None and not source.is_dir():
        raise ConfigError(
            f"--wheels {shown(source)}",
            expected="a folder of wheels",
            got="a file" if source.exists() else "no such folder",
            action="Name the folder that pip download filled",
        )
    found: dict[Target, list[Path]] = {}
    for target, requirements in wanted.items():
        place = folder / f"{target.python}-{target.arch}"
        finished = run(
            _command(place, target, requirements, source),
            timeout_s=LONGEST_FETCH_S,
            on_line=_tell,
        )
        if finished.timed_out or finished.returncode:
            raise _failure(finished, target, source)
        wheels = sorted(place.glob("*.whl"))
        found[target] = [wheel.replace(folder / wheel.name) for wheel in wheels]
    return found


def _command(
    folder: Path, target: Target, requirements: Sequence[str], source: Path | None
) -> list[str]:
    # isolated: settings of this machine could name further places to look
    place = [] if source is None else ["--isolated", "--no-index", "--find-links", str(source)]
    return [
        *(sys.executable, "-m", "pip", "download", *place),
        *("--disable-pip-version-check", "--no-input", "--progress-bar", "off"),
        *("--only-binary", ":all:", "--no-deps"),
        *("--implementation", "cp", "--python-version", target.python),
        # glibc 2.17 under its old name; pip takes what is named here, and no older one
        *("--platform", f"manylinux2014_{target.arch}"),
        *(word for tag in _platforms(target) for word in ("--platform", tag)),
        *("--dest", str(folder), *requirements),
    ]


def _platforms(target: Target) -> list[str]:
    oldest, newest = (int(glibc.removeprefix("2.")) for glibc in (GLIBC, target.glibc))
    return [f"manylinux_2_{minor}_{target.arch}" for minor in range(newest, oldest - 1, -1)]


def _tell(line: str) -> None:
    # where pip saved a wheel is a temporary place of ours, and of no interest
    if line.strip() and not line.startswith("Saved "):
        logging.getLogger("starmark").info("pip: %s", line.strip())


def _failure(finished: Finished, target: Target, source: Path | None) -> StarmarkError:
    no_pip = _no_pip(finished)
    if no_pip is not None:
        return no_pip
    if source is not None and not finished.timed_out:
        inside = ", ".join(sorted(path.name for path in source.glob("*.whl"))) or "no wheel"
        return ConfigError(
            f"--wheels {shown(source)}",
            expected=f"the wheels for {target}, glibc {target.glibc}",
            got=f"{_first_error(finished.output)}; the folder holds {inside}",
            action="Add the missing one with pip download on a machine with a network,"
            " or name the box's own --python and --arch",
        )
    return _failed(
        "pip download",
        f"the wheels for {target}",
        finished,
        "Set PIP_INDEX_URL to a mirror, or bring the wheels and name their folder with --wheels",
    )


def _no_pip(finished: Finished) -> BackendUnavailable | None:
    if "No module named pip" not in finished.output:
        return None
    return BackendUnavailable(
        sys.executable,
        expected="a Python with pip, which builds and fetches the wheels",
        got="none",
        action=f"Run {sys.executable} -m ensurepip, or use a Python that has pip",
    )


def _failed(where: str, expected: str, finished: Finished, action: str) -> ExportError:
    ending = "no end" if finished.timed_out else f"exit code {finished.returncode}"
    got = f"{ending} after {finished.seconds:.0f} s: {_first_error(finished.output)}"
    return ExportError(where, expected=expected, got=got, action=action)


def _first_error(output: str) -> str:
    """Pip's own words: its first error, and why the index could not be reached."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR:")]
    first = one_line((errors or lines[-1:] or ["it printed nothing"])[0], 120)
    # what the system reported, behind the name and address of a Python object
    broken = re.search(r"connection broken by '(?:.*>: )?(.*?)'?\)?': /", output)
    return first if broken is None else f"{first}, after {one_line(broken[1], 120)}"


def _advice(python: str) -> str:
    numbers = re.fullmatch(r"(\d+)\.(\d+)", python)
    if numbers is None:
        return "Name the box's Python by its first two numbers, as python3 --version prints it"
    if tuple(map(int, numbers.groups())) < (3, 10):
        # Huawei's lists: 3.7 to 3.10 at first, and 3.11 from 8.0.0 on
        return (
            "Starmark needs 3.10; CANN works with 3.10, and with 3.11 from 8.0.0 on: install one of"
            " them on the box beside the old one (conda needs no root) and name it here"
        )
    return (
        f"No NumPy for Python {python} runs with glibc {GLIBC}, as the oldest boxes have it:"
        " install 3.13 (CANN 8.5.0 and later) or 3.11 on the box"
    )
