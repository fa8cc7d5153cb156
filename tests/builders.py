"""Small real things for tests: checkpoints, pictures, command lines."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.model.spec import Architecture

if TYPE_CHECKING:
    from runtime.network.hourglass import StackedHourglass

ROOT = Path(__file__).resolve().parents[1]
STARTER = ROOT / "assets/starter68.safetensors"
STARTER_PARAMETERS = 1_282_818

# The box that assets/sample.jpg shows, in the photo: a face whose points the starter model finds.
PHOTO_BOX = (340.0, 270.0, 660.0, 575.0)

TINY = Architecture(stacks=2, depth=1, channels=8, stem=4, points=68, contours=9)


def tiny_network(seed: int = 0) -> StackedHourglass:
    """Random weights, scaled so that its maps look alive."""
    import torch  # here, so that tests without torch can use the rest

    from runtime.network.hourglass import StackedHourglass

    torch.manual_seed(seed)
    network = StackedHourglass(TINY).eval()
    network.e2h_transform.weight[:, 0] = 1
    return network


def tiny_checkpoint(path: Path, seed: int = 0) -> Path:
    """Write a tiny checkpoint in the published container."""
    import torch

    torch.save({"net": tiny_network(seed).state_dict()}, path)
    return path


def tiny_config(folder: Path, weights: Path, *, name: str = "tiny", extra: str = "") -> Path:
    """Write a TOML for a tiny checkpoint."""
    parameters = sum(p.numel() for p in tiny_network().parameters())
    path = folder / f"{name}.toml"
    path.write_text(
        f'name = "{name}"\nweights = "{weights}"\n{extra}\n'
        f"[model]\npoints = 68\nparameters = {parameters}\n"
    )
    return path


FAKES = ROOT / "tests/fakes"


def distribution(folder: Path, name: str, version: str, entry_points: str = "") -> Path:
    """What pip leaves behind of an installed package, apart from the package."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if entry_points:
        (info / "entry_points.txt").write_text(entry_points)
    return folder


def torch_release() -> str:
    """Of the installed torch, without what it was built for: torch_npu must be of the same."""
    return metadata.version("torch").partition("+")[0]


def cann_environment() -> dict[str, str]:
    """PATH with the simulated atc and npu-smi, and this Python for them."""
    tools = [str(ROOT / "tests/cann/bin"), str(Path(sys.executable).parent)]
    return {"PATH": os.pathsep.join([*tools, os.environ["PATH"]])}


def convert(bundle: Path, folder: Path, *options: object) -> Path:
    """A copy of a bundle with .om files in it, made by the command line and the simulated atc."""
    shutil.copytree(bundle, folder)
    given = list(options)
    cut = given.index("--") if "--" in given else len(given)
    asked = ["--output", folder, "--om", "require", *given[:cut]]
    if "--soc_version" not in given:
        asked += ["--soc_version", "Ascend910B3"]
    asked += given[cut:]
    done = run_python("-m", "export", *asked, **cann_environment())
    assert done.returncode == 0, done.stderr
    return folder


def tiny_with_gears(folder: Path, weights: Path, *options: object) -> Path:
    """A tiny checkpoint's bundle with an .om of gears 1, 2, 4 and 8 in true fp32."""
    done = run_python(
        *("-m", "export", "--config", tiny_config(folder, weights), "--output", folder / "tiny"),
        *("--om", "require", "--soc_version", "Ascend910B3", "--no-parity"),
        *("--dynamic_batch_size", "1,2,4,8", "--precision_mode_v2", "origin"),
        *options,
        **cann_environment(),
    )
    assert done.returncode == 0, done.stderr
    return folder / "tiny"


def noise(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """A picture of noise, BGR."""
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def skip_without_openvino() -> None:
    """Skip where it is missing. Never pytest.importorskip: that brings its telemetry in."""
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("openvino is not installed (extra openvino)")


def run_python(
    *arguments: object, cwd: str | Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run this Python, in the repository's root unless told otherwise."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=580,  # below the limit of a test; a busy machine takes its time
    )


def run_module(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `python -m module` in the repository's root."""
    return run_python("-m", module, *arguments)


def read_pts(path: Path) -> NDArray[np.float64]:
    """Points of a 300W file, which counts pixels from one, as pixel centres at integers."""
    inside = path.read_text().split("{")[1].split("}")[0]
    return np.array([[float(v) for v in line.split()] for line in inside.strip().splitlines()]) - 1


class Done(NamedTuple):
    """What a command line gave in this process: its exit code, and what it printed."""

    code: int
    out: str
    err: str


# A command line in this process, bound to a model by a fixture.
CommandLine = Callable[..., Done]


def done_here(
    main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str], *arguments: object
) -> Done:
    """Run a command line's `main` in this process."""
    capsys.readouterr()
    return Done(main([str(argument) for argument in arguments]), *capsys.readouterr())
