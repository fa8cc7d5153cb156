"""Checkpoints: every container that is read, and every damage that is refused."""

from __future__ import annotations

import json
import os
import pickle
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import STARTER, TINY, distribution, run_python, tiny_network, torch_release
from safetensors.torch import load_file, save_file

from runtime.backends import open_backend
from runtime.errors import ArtifactError
from runtime.network.checkpoint import build_network, load_checkpoint, parameter_count

State = OrderedDict[str, Any]


def state() -> State:
    return OrderedDict(tiny_network().state_dict())


def save(folder: Path, content: Any, name: str = "weights.pkl") -> Path:
    path = folder / name
    torch.save(content, path)
    return path


def test_published_container_and_bare_state_dict_load(tmp_path: Path) -> None:
    """`{"net": ...}`, `{"state_dict": ...}` and the dictionary itself."""
    for content in ({"net": state()}, {"state_dict": state()}, state()):
        checkpoint = load_checkpoint(save(tmp_path, content))
        assert checkpoint.architecture == TINY
        assert parameter_count(build_network(checkpoint)) > 0


def test_modelscope_folder_opens_as_it_was_downloaded(tmp_path: Path) -> None:
    """configuration.json + pytorch_model.pkl, named by the folder."""
    save(tmp_path, {"net": state()}, "pytorch_model.pkl")
    (tmp_path / "configuration.json").write_text('{"task": "facial-68ldk-detection"}')
    with open_backend(tmp_path, "cpu") as backend:
        assert backend.spec.points == 68


def test_fp16_storage_becomes_float32(tmp_path: Path) -> None:
    """Pickled and as safetensors; the values are those that fp16 holds."""
    half = OrderedDict((k, t.half() if t.is_floating_point() else t) for k, t in state().items())
    as_pickle = load_checkpoint(save(tmp_path, {"net": half}))
    path = tmp_path / "half.safetensors"
    save_file({k: t.contiguous() for k, t in half.items()}, path)
    for checkpoint in (as_pickle, load_checkpoint(path)):
        for key, tensor in build_network(checkpoint).state_dict().items():
            assert torch.equal(
                tensor, half[key].float() if half[key].is_floating_point() else half[key]
            )


@pytest.mark.slow
def test_full_size_stand_in_opens(shared: Path) -> None:
    """Weights stored partly in fp16, architecture in the metadata."""
    checkpoint = load_checkpoint(shared / "starter/star68_standin.safetensors")

    assert parameter_count(build_network(checkpoint)) == 17_069_572


def test_embedded_starter_is_the_delivered_one(shared: Path) -> None:
    """Byte for byte."""
    assert STARTER.read_bytes() == (shared / "starter/starter68.safetensors").read_bytes()


def drop(found: State) -> None:
    for key in [k for k in found if k.startswith("features.1")]:
        del found[key]


def rename(found: State) -> None:
    found["extra.0.weight"] = found.pop("features.0.1.conv.bias")


def reshape(found: State) -> None:
    found["out_pointmaps.0.conv.bias"] = torch.zeros(5)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (drop, r"\d+ missing \(features.1.0.bn1.weight, .*, …\)"),
        (
            rename,
            r"1 missing \(features.0.1.conv.bias\); 1 unexpected \(extra.0.weight\)",
        ),
        (reshape, r"1 of wrong shape \(out_pointmaps.0.conv.bias \(5,\) for \(68,\)\)"),
    ],
)
def test_wrong_keys_and_shapes_are_named_and_counted(
    tmp_path: Path, spoil: Callable[[State], None], says: str
) -> None:
    """The first few, and how many."""
    found = state()
    spoil(found)
    with pytest.raises(ArtifactError, match=says) as caught:
        build_network(load_checkpoint(save(tmp_path, {"net": found})))
    assert "\n" not in str(caught.value)


class RunsCode:
    """A pickle that would make a file when loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("inside", [False, True])
def test_pickle_without_weights_is_refused_and_not_run(tmp_path: Path, inside: bool) -> None:
    """Bare or inside a dictionary; the code's trace must not appear."""
    mark = tmp_path / "mark"
    content: Any = RunsCode(mark)
    path = tmp_path / "evil.pkl"
    if inside:
        torch.save({"net": {"x": content}}, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(ArtifactError, match="evil.pkl: expected") as caught:
        load_checkpoint(path)

    assert not mark.exists()
    assert caught.value.exit_code == 2
    if inside:
        assert "net (1 entry)" in str(caught.value)


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.2, 0.7, 0.99])
@pytest.mark.parametrize("suffix", [".pkl", ".safetensors"])
def test_truncated_checkpoint_is_refused(tmp_path: Path, suffix: str, keep: float) -> None:
    """At any length, in either container."""
    whole = STARTER if suffix == ".safetensors" else save(tmp_path, {"net": state()}, "whole.pkl")
    content = whole.read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(ArtifactError, match=f"cut{suffix}: expected a checkpoint"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "content",
    [
        {"net": {}},
        {},
        [1, 2],
        {"net": {"pre.0.conv.weight": 1.5}},
        {"net": {"pre.0.conv.weight": {"pre.0.conv.weight": 1}}},
        {"net": {1: torch.zeros(2)}},
        {"some.other.network": torch.zeros(3)},
        torch.zeros(3),
    ],
    ids=str,
)
def test_other_content_is_refused(tmp_path: Path, content: object) -> None:
    """Empty, other types, another network."""
    with pytest.raises(ArtifactError, match="weights.pkl: expected"):
        load_checkpoint(save(tmp_path, content))


def test_garbage_nan_and_lying_metadata_are_refused(tmp_path: Path) -> None:
    """Random bytes; weights that are not finite; metadata that contradicts the shapes."""
    for name in ("noise.pkl", "noise.safetensors", "noise.pth"):
        path = tmp_path / name
        path.write_bytes(np.random.default_rng(0).bytes(5_000))
        with pytest.raises(ArtifactError, match=name):
            load_checkpoint(path)
    spoiled = state()
    spoiled["pre.0.conv.bias"][1] = torch.nan
    with pytest.raises(ArtifactError, match=r"NaN or infinity in pre.0.conv.bias"):
        load_checkpoint(save(tmp_path, spoiled))
    path = tmp_path / "liar.safetensors"
    lie = {"stacks": 3, "depth": 4, "channels": 96, "stem": 32, "points": 68, "edges": 9}
    for written in (json.dumps(lie), "{", "[]"):
        save_file(load_file(STARTER), path, metadata={"architecture": written})
        with pytest.raises(ArtifactError, match="metadata"):
            load_checkpoint(path)
    for size, says in ((10**9, "outside 32 to 1024"), (250, "cannot halve")):
        save_file(
            load_file(STARTER),
            path,
            metadata={"architecture": json.dumps({**lie, "stacks": 2, "size": size})},
        )
        with pytest.raises(ArtifactError, match=says):
            load_checkpoint(path)


def with_tensor(tensor: Any) -> State:
    found = state()
    found["features.0.1.conv.bias"] = tensor
    return found


def test_tensors_that_are_not_plain_numbers_are_refused(tmp_path: Path) -> None:
    """Complex, sparse, quantised, larger than their storage; integers where floats belong."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch is about to drop them; files with them stay
        quantised = torch.quantize_per_tensor(torch.zeros(8), 0.1, 0, torch.qint8)
    for tensor, says in (
        (torch.zeros(8, dtype=torch.complex64), "1 missing .features.0.1.conv.bias, a tensor"),
        (torch.zeros(8).to_sparse(), "1 missing .features.0.1.conv.bias, a tensor"),
        (quantised, "1 missing .features.0.1.conv.bias, a tensor"),
        (torch.zeros(1).expand(10**12), "larger than its storage"),
        (torch.zeros(8, dtype=torch.int8), "1 of wrong type .features.0.1.conv.bias torch.int8"),
    ):
        path = save(tmp_path, {"net": with_tensor(tensor)})
        with pytest.raises(ArtifactError, match=says):
            build_network(load_checkpoint(path))


def test_old_containers_are_read_and_their_damage_refused(tmp_path: Path) -> None:
    """Torch's format before 1.6, cut off and with flipped bytes: never another exception."""
    path = tmp_path / "old.pth"
    torch.save({"net": state()}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    assert load_checkpoint(path).architecture == TINY
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole[: int(rng.integers(1, len(whole)))])
        for at in rng.integers(0, len(damaged), 3):
            damaged[at] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            build_network(load_checkpoint(path))
        except ArtifactError:
            refused += 1
    assert refused > 50


def test_absurd_shapes_allocate_nothing(tmp_path: Path) -> None:
    """Tensors without elements can claim any width, and keys any depth."""
    wide = state()
    wide["hgs.0.up1.bn1.weight"] = torch.zeros(4096, 0, 1, 1)
    with pytest.raises(ArtifactError, match="of wrong shape"):
        build_network(load_checkpoint(save(tmp_path, wide)))
    for key, tensor, says in (
        ("hgs.0.up1.bn1.weight", torch.zeros(10**9, 0, 1, 1), "channels 1000000000"),
        ("pre.0.conv.weight", torch.zeros(0), "stem 0"),
        ("hgs.0." + "low2." * 5000, torch.zeros(1), "depth 5000"),
    ):
        with pytest.raises(ArtifactError, match=says):
            load_checkpoint(save(tmp_path, OrderedDict(state(), **{key: tensor})))


@pytest.mark.slow
def test_torch_opens_where_torch_npu_is_broken(tmp_path: Path) -> None:
    """An installed torch_npu without CANN breaks `import torch`; the CPU must not care."""
    package = tmp_path / "torch_npu"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('libascendcl.so: cannot open')\n")
    entry_points = "[torch.backends]\ntorch_npu = torch_npu:_autoload\n"
    distribution(tmp_path, "torch_npu", torch_release(), entry_points)
    broken = run_python("-c", "import torch", PYTHONPATH=str(tmp_path))
    assert "Failed to load the backend extension" in broken.stderr  # the control

    done = run_python(
        "-c",
        "import os\n"
        "from runtime import Detector, StarmarkError\n"
        f"found = Detector({str(STARTER)!r})\n"
        "print(found.device, [r for r in found.backend.reasons if 'libascendcl' in r] != [])\n"
        "print('TORCH_DEVICE_BACKEND_AUTOLOAD' in os.environ)\n"
        "try:\n"
        f"    Detector({str(STARTER)!r}, device='npu:0')\n"
        "except StarmarkError as error:\n"
        "    print(error.exit_code, 'libascendcl' in str(error))\n",
        PYTHONPATH=str(tmp_path),
    )
    assert done.stdout.split() == ["cpu", "True", "False", "3", "True"], done.stderr


@pytest.mark.parametrize(
    ("user", "rounds"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "0")],
)
def test_torchs_threads_sleep_soon_and_as_the_user_says(user: dict[str, str], rounds: str) -> None:
    """By libgomp's own word; the process's environment is as before."""
    code = "import os, runtime.network; print(os.environ.get('GOMP_SPINCOUNT', 'none'))"
    done = run_python("-c", code, OMP_DISPLAY_ENV="VERBOSE", **user)
    if "GOMP_SPINCOUNT" not in done.stderr:
        pytest.skip("this torch has another OpenMP than libgomp")
    assert f"GOMP_SPINCOUNT = '{rounds}'" in done.stderr
    assert done.stdout.split() == [user.get("GOMP_SPINCOUNT", "none")]
