"""Checkpoints as trainers write them: wrappers, prefixes, other objects, other names."""

from __future__ import annotations

import argparse
import io
import os
import sys
import types
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import STARTER, TINY, tiny_network
from safetensors.torch import save_file

from runtime.backends import Settings, open_backend
from runtime.errors import ArtifactError
from runtime.model.checkpoint.contents import open_contents
from runtime.network.checkpoint import build_network, load_checkpoint

State = OrderedDict[str, Any]
PLAIN: State = OrderedDict(tiny_network().state_dict())
AVERAGE: State = OrderedDict(tiny_network(1).state_dict())


def save(path: Path, content: Any, **how: Any) -> Path:
    torch.save(content, path, **how)
    return path


def renamed(prefix: str) -> State:
    return OrderedDict((prefix + key, tensor) for key, tensor in PLAIN.items())


def is_state(path: Path, state: State, key: str = "") -> bool:
    """Whether a network of the file has exactly these weights."""
    found = build_network(load_checkpoint(path, key)).state_dict()
    return all(
        torch.equal(found[name], tensor)
        for name, tensor in state.items()
        if not name.endswith("num_batches_tracked")
    )


def averaged() -> Any:
    return torch.optim.swa_utils.AveragedModel(tiny_network()).state_dict()


def compiled_inside() -> State:
    """Submodules that were compiled and wrapped one by one."""
    return OrderedDict(
        (key.replace("hgs.0.", "hgs.0._orig_mod.").replace("hgs.1.", "hgs.1.module."), tensor)
        for key, tensor in PLAIN.items()
    )


WRAPPED: dict[str, tuple[Callable[[], Any], str, str]] = {
    "module.": (lambda: renamed("module."), "", "module."),
    "_orig_mod.": (lambda: renamed("_orig_mod."), "", "_orig_mod."),
    "both": (lambda: renamed("module._orig_mod."), "", "module._orig_mod."),
    "both in net": (lambda: {"net": renamed("_orig_mod.module.")}, "net", "module._orig_mod."),
    "Lightning": (
        lambda: {"state_dict": renamed("model.net."), "epoch": 3},
        "state_dict",
        "model.net.",
    ),
    "inside": (compiled_inside, "", "module._orig_mod."),
    "AveragedModel": (averaged, "", "module."),
    "model": (lambda: {"model": PLAIN, "step": 1}, "model", ""),
    "model_state_dict": (lambda: {"model_state_dict": PLAIN}, "model_state_dict", ""),
    "ema only": (lambda: {"net_ema": PLAIN, "lr": 0.1}, "net_ema", ""),
    "any name": (lambda: {"generator": {"weights": PLAIN}}, "generator.weights", ""),
    "average first": (lambda: {"ema": AVERAGE, "model": PLAIN}, "model", ""),
    "an object kept as a dictionary": (lambda: {"net": OwnDict(PLAIN)}, "net", ""),
}


class OwnDict(OrderedDict[str, Any]):
    """As a framework's configuration class."""


@pytest.mark.parametrize("name", WRAPPED)
def test_weights_are_found_in_wrappers_and_under_prefixes(tmp_path: Path, name: str) -> None:
    """Bit for bit, and the log names both."""
    made, key, prefix = WRAPPED[name]
    path = save(tmp_path / "w.pth", made())
    with open_contents(path) as contents:
        assert (contents.key, contents.prefix) == (key, prefix)
        assert contents.architecture == TINY
    assert is_state(path, PLAIN)


def test_of_two_sets_of_weights_one_is_taken_and_the_other_can_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`net` and `net_ema`; a name that is not there is refused with those that are."""
    caplog.set_level("INFO", logger="starmark")
    path = save(tmp_path / "w.pkl", {"net": PLAIN, "net_ema": AVERAGE, "epoch": 7})

    assert is_state(path, PLAIN)
    assert "weights from net; others in net_ema (--weights-key takes them)" in caplog.text
    assert is_state(path, AVERAGE, "net_ema")
    crop = np.zeros((1, 3, 256, 256), np.float32)
    with open_backend(path, "cpu", settings=Settings(weights_key="net_ema")) as backend:
        answer = backend.run(crop).landmarks
    with torch.inference_mode():
        assert np.allclose(answer, tiny_network(1)(torch.from_numpy(crop))[0].numpy(), atol=1e-6)
    with pytest.raises(ArtifactError, match=r"--weights-key swa: expected net, net_ema, got no w"):
        load_checkpoint(path, "swa")


class Mark:
    """A pickle that would leave a trace when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_trainers_whole_file_gives_its_tensors_and_runs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Optimiser, scheduler with a Counter, a numpy number, a Namespace, and code."""
    caplog.set_level("INFO", logger="starmark")
    network = tiny_network()
    optimiser = torch.optim.Adam(network.parameters())
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [5, 9])
    content = {
        "net": OrderedDict(PLAIN, best=np.float64(0.1), total_ops=torch.zeros(1)),
        "optimizer": optimiser.state_dict(),
        "scheduler": schedule.state_dict(),
        "milestones": Counter([5, 9]),
        "args": argparse.Namespace(lr=0.1),
        "evil": Mark(tmp_path / "mark"),
        "epoch": 12,
    }
    path = save(tmp_path / "w.tar", content)

    assert is_state(path, PLAIN)
    assert not (tmp_path / "mark").exists()
    assert "args (argparse.Namespace)" in caplog.text
    with open_contents(path) as contents:
        assert contents.left_out["best"].endswith("multiarray.scalar")
        assert contents.left_out["evil"].endswith(".mkdir")


def test_counters_that_inference_does_not_use_are_not_needed(tmp_path: Path) -> None:
    """Absent, as floats, and thop's counts at every level."""
    without = OrderedDict((k, t) for k, t in PLAIN.items() if "num_batches" not in k)
    floats = OrderedDict((k, t.float()) for k, t in PLAIN.items())
    counted = OrderedDict(PLAIN)
    for key in PLAIN:
        counted[key.rpartition(".")[0] + ".total_ops"] = torch.zeros(1, dtype=torch.float64)
    counted["total_params"] = torch.zeros(1)
    for state in (without, floats, counted):
        assert is_state(save(tmp_path / "w.pkl", {"net": state}), PLAIN)


@pytest.mark.parametrize(
    "name", ["w.pt", "w.ckpt", "w.bin", "w.tar", "w", "w.PKL", "w.onnx.bak", "epoch=3.weights"]
)
@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_content_decides_what_a_file_is(tmp_path: Path, name: str, form: str) -> None:
    """Each container under each name."""
    path = tmp_path / name
    if form == "safetensors":
        save_file(dict(PLAIN), path)
    else:
        save(path, {"net": PLAIN}, _use_new_zipfile_serialization=form == "zip")
    with open_backend(path, "cpu") as backend:
        assert backend.spec.points == 68
    assert is_state(path, PLAIN)


def test_tensors_saved_from_an_ascend_device_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch_npu writes a function of its own; it need not be installed."""
    home = types.ModuleType("torch_npu.utils.storage")

    def _rebuild_npu_tensor(*_: Any) -> None: ...

    _rebuild_npu_tensor.__module__, _rebuild_npu_tensor.__qualname__ = (
        home.__name__,
        "_rebuild_npu_tensor",
    )
    home._rebuild_npu_tensor = _rebuild_npu_tensor  # type: ignore[attr-defined]
    with monkeypatch.context() as patched:
        for part in ("torch_npu", "torch_npu.utils", home.__name__):
            patched.setitem(sys.modules, part, home)

        class OnDevice:
            def __init__(self, tensor: torch.Tensor) -> None:
                self.tensor = tensor

            def __reduce__(self) -> tuple[Any, ...]:
                t = self.tensor
                typed: Any = torch.storage.TypedStorage
                storage = typed(wrap_storage=t.untyped_storage(), dtype=t.dtype, _internal=True)
                parts = (storage, t.storage_offset(), tuple(t.size()), t.stride())
                return _rebuild_npu_tensor, (*parts, False, OrderedDict(), True)

        on_device = OrderedDict((key, OnDevice(tensor)) for key, tensor in PLAIN.items())
        path = save(tmp_path / "npu.pth", {"net": on_device})

    assert is_state(path, PLAIN)


def repacked(
    source: Path, change: Callable[[str, bytes], bytes], kind: int = zipfile.ZIP_STORED
) -> bytes:
    """A checkpoint's archive with other members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(buffer, "w", kind) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, change(entry.filename, old.read(entry)))
    return buffer.getvalue()


def test_numbers_with_their_high_byte_first_are_read(tmp_path: Path) -> None:
    """As torch writes them on such a processor, and says so."""
    path = save(tmp_path / "w.pth", {"net": PLAIN})
    with open_contents(path) as contents:
        width = {tensor.storage: tensor.itemsize for tensor in contents.stored.values()}

    def swap(name: str, content: bytes) -> bytes:
        _, _, key = name.rpartition("/data/")
        if key in width and "/data/" in name:
            return np.frombuffer(content, f"u{width[key]}").byteswap().tobytes()
        return b"big" if name.endswith("byteorder") else content

    path.write_bytes(repacked(path, swap))
    assert is_state(path, PLAIN)


def test_a_flipped_byte_of_a_tensor_is_refused_by_its_member(tmp_path: Path) -> None:
    """The zip's own checksum."""
    path = save(tmp_path / "w.pth", {"net": PLAIN})
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("w/data/0")
    numbers = PLAIN["pre.0.conv.weight"].numpy().tobytes()
    content[content.index(numbers[:64]) + 5] ^= 1
    path.write_bytes(content)

    with pytest.raises(ArtifactError, match="Bad CRC-32 for file 'w/data/0'"):
        load_checkpoint(path)
    assert entry.file_size == len(numbers)


def test_an_archive_that_becomes_gigabytes_is_refused_unopened(tmp_path: Path) -> None:
    """4 MB of deflated zeros; a directory that claims a size."""
    path = tmp_path / "bomb.pth"
    whole = save(tmp_path / "w.pth", {"net": PLAIN})
    path.write_bytes(repacked(whole, lambda _, content: content, zipfile.ZIP_DEFLATED))
    assert is_state(path, PLAIN)  # deflated alone is no fault
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("w/data/9999", "w", force_zip64=True) as member,
    ):
        for _ in range(300):
            member.write(bytes(1 << 20))
    with pytest.raises(ArtifactError, match=r"\d+ bytes, unpacked, in a file of \d+"):
        load_checkpoint(path)
    assert path.stat().st_size < 1 << 20


def test_input_size_is_what_is_stated(tmp_path: Path) -> None:
    """No shape tells it; a safetensors file may, and then nothing else is believed."""
    path = save(tmp_path / "w.pth", {"net": PLAIN})
    with open_backend(path, "cpu", settings=Settings(input_size=128)) as backend:
        assert backend.spec.input.size == 128
        assert backend.run(np.zeros((1, 3, 128, 128), np.float32)).landmarks.shape == (1, 68, 2)
    with open_backend(path, "cpu") as backend:
        assert backend.spec.input.size == 256
    with pytest.raises(ArtifactError, match="size 2048, outside 32 to 1024"):
        load_checkpoint(path, size=2048)
    with pytest.raises(ArtifactError, match="metadata that says 256 px, where 128 are asked for"):
        load_checkpoint(STARTER, size=128)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"a": torch.zeros(1), "b": [1, 2]}, r"got a \(tensor\), b \(2 entries\)"),
        (torch.nn.Linear(1, 1), r"got torch.nn.modules.linear.Linear, which was not built"),
        ([1], "got a pickled 1 entry"),
        ({}, "got no tensors"),
        ({"pre.0.conv.weight": torch.zeros(4, 6, 7, 7)}, "none of which is 'hgs.0.up1"),
        ({"net": OrderedDict(PLAIN, **renamed("module."))}, "two tensors for pre.0.conv.weight"),
    ],
)
def test_files_without_such_weights_are_told_by_what_they_hold(
    tmp_path: Path, content: Any, says: str
) -> None:
    """Exit 2, on one line."""
    with pytest.raises(ArtifactError, match=says) as caught:
        load_checkpoint(save(tmp_path / "w.pth", content))
    assert "\n" not in str(caught.value)
