"""What the simulated atc writes, the simulated acl loads: one contract, read twice."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from cann import control, graphs
from cann.acl_cycle import Cycle
from cann.atc_driver import conversion, run
from cann.plugin import Cann
from numpy.typing import NDArray

AIPP = """aipp_op {
    aipp_mode: static
    input_format: RGB888_U8
    rbuv_swap_switch: true
    mean_chn_0: 127
    mean_chn_1: 127
    mean_chn_2: 127
    var_reci_chn_0: 0.0078125
    var_reci_chn_1: 0.0078125
    var_reci_chn_2: 0.0078125
}
"""


@pytest.fixture(autouse=True)
def folder(cann: Cann, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with CANN, in a folder with a model of symbolic batch."""
    cann.set_soc("Ascend910B3")
    monkeypatch.chdir(tmp_path)
    graphs.save(tmp_path, graphs.conv(dims=("N", 3, 8, 8)))
    (tmp_path / "aipp.cfg").write_text(AIPP)
    return tmp_path


def expected(model: Path, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """The file's own output in fp32."""
    session = ort.InferenceSession(onnx.load(str(model)).SerializeToString())
    (result,) = session.run(None, {"image": image})
    return np.asarray(result, np.float32)


def test_a_static_model_runs(folder: Path, npu: control.Control, rng: np.random.Generator) -> None:
    assert npu is not None
    assert run(*conversion(input_shape="image:2,3,8,8", precision_mode_v2="origin")).status == 0
    image = rng.uniform(-1, 1, (2, 3, 8, 8)).astype(np.float32)

    with Cycle(importlib.import_module("acl"), folder / "net.om") as cycle:
        (got,) = cycle.run(image)

    np.testing.assert_allclose(got, expected(folder / "model.onnx", image), atol=2e-3)


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_gears_with_aipp_run(
    folder: Path, npu: control.Control, rng: np.random.Generator, batch: int
) -> None:
    """Bytes in BGR, NHWC; the largest gear's memory, the asked gear's rows."""
    assert npu is not None
    done = run(
        *conversion(
            input_shape="image:-1,3,8,8", dynamic_batch_size="1,2,4", insert_op_conf="aipp.cfg"
        )
    )
    assert done.status == 0, done.out
    pixels = rng.integers(0, 256, (batch, 8, 8, 3), dtype=np.uint8)

    with Cycle(importlib.import_module("acl"), folder / "net.om") as cycle:
        (got,) = cycle.run(pixels, batch)

    image = ((pixels[..., ::-1].transpose(0, 3, 1, 2) - 127.0) / 128).astype(np.float32)
    asked = expected(folder / "model.onnx", image)
    np.testing.assert_allclose(got, asked, atol=1e-2)


def test_half_inputs_and_outputs_run(
    folder: Path, npu: control.Control, rng: np.random.Generator
) -> None:
    assert npu is not None
    options = {"input_fp16_nodes": "image", "output_type": "FP16"}
    assert run(*conversion(input_shape="image:1,3,8,8", **options)).status == 0
    image = rng.uniform(-1, 1, (1, 3, 8, 8)).astype(np.float16)

    with Cycle(importlib.import_module("acl"), folder / "net.om") as cycle:
        (got,) = cycle.run(image)

    assert got.dtype == np.float16
    asked = expected(folder / "model.onnx", image.astype(np.float32))
    np.testing.assert_allclose(got.astype(np.float32), asked, atol=1e-2)


def test_another_chips_model_is_refused(folder: Path, cann: Cann, npu: control.Control) -> None:
    assert npu is not None
    acl = importlib.import_module("acl")
    cann.set_fault("atc:wrong-soc")
    assert run(*conversion(input_shape="image:1,3,8,8")).status == 0

    assert acl.init() in (0, 100002)  # once per process
    assert acl.rt.set_device(0) == 0
    assert acl.mdl.load_from_file(str(folder / "net.om"))[1] == 507008
    assert acl.rt.reset_device(0) == 0
