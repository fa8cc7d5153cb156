"""The simulated acl notes each wrong use that the real one would let pass, or crash at."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from builders import run_python
from cann.control import PATHS, Control
from cann.small_models import SIZE, write_small

H2D, D2H = 1, 2
BYTES = 3 * SIZE * SIZE * 4


@pytest.fixture
def box(npu: Control, tmp_path: Path) -> SimpleNamespace:
    """A model that is ready to run, each of its things made by a call that must succeed."""
    npu.reset(new_process=True)
    npu.expect_violations()
    acl = npu.acl
    acl.init()
    acl.rt.set_device(0)
    made = SimpleNamespace(acl=acl, rt=acl.rt, mdl=acl.mdl, npu=npu)
    made.context = acl.rt.create_context(0)[0]
    made.stream = acl.rt.create_stream()[0]
    made.model = acl.mdl.load_from_file(str(write_small(tmp_path / "a.om")))[0]
    made.host, made.datasets, made.pixels = acl.rt.malloc_host(BYTES)[0], [], 0
    for sizes in ((BYTES,), (2 * SIZE * SIZE * 4, 8)):
        dataset = acl.mdl.create_dataset()
        for size in sizes:
            made.device = acl.rt.malloc(size, 0)[0]
            made.pixels = made.pixels or made.device
            made.buffer = acl.create_data_buffer(made.device, size)
            acl.mdl.add_dataset_buffer(dataset, made.buffer)
        made.datasets.append(dataset)
    made.execute = lambda stream: acl.mdl.execute_async(made.model, *made.datasets, stream)
    assert npu.violations() == []
    return made


def other_stream(box: SimpleNamespace) -> int:
    found: int = box.rt.create_stream()[0]
    return found


# what is done; the code of its last call; what is noted
WRONG: list[tuple[Callable[[SimpleNamespace], Any], int, str]] = [
    (lambda b: [b.rt.free(b.device), b.rt.free(b.device)], 107000, "freed twice"),
    (lambda b: [b.rt.free_host(b.host), b.rt.free_host(b.host)], 107000, "freed twice"),
    (lambda b: [b.rt.free(b.host)], 107000, "another kind"),
    (lambda b: [b.rt.free_host(b.device)], 107000, "another kind"),
    (lambda b: [b.rt.free(b.device + 4)], 107000, "never given"),
    (lambda b: [b.rt.memcpy(b.device, 99, b.host, 99, H2D)], 107000, "99 bytes where 8 are left"),
    (lambda b: [b.rt.memcpy(b.host + BYTES - 4, 8, b.device, 8, D2H)], 107000, "where 4 are left"),
    (
        lambda b: [b.rt.free_host(b.host), b.rt.memcpy(b.device, 8, b.host, 8, H2D)],
        107000,
        "was freed",
    ),
    (lambda b: [b.rt.memcpy(b.device, 8, 1 << 40, 8, H2D)], 107000, "never allocated"),
    (
        lambda b: [b.execute(b.stream), b.rt.free(b.device), b.rt.synchronize_stream(b.stream)],
        507011,
        "was freed",
    ),
    (lambda b: [b.execute(b.stream), b.execute(other_stream(b))], 0, "on two streams at once"),
    (lambda b: [b.execute(b.stream), b.mdl.unload(b.model)], 0, "is being executed"),
    (lambda b: [b.execute(b.stream), b.rt.destroy_stream(b.stream)], 0, "still queued"),
    (lambda b: [b.mdl.unload(b.model), b.execute(b.stream)], 145003, "model"),
    (lambda b: [b.rt.destroy_context(b.context)], 0, "1 models left"),
    (lambda b: [b.rt.reset_device(0)], 0, "4 allocations left"),
    (lambda b: [b.rt.reset_device(0), b.rt.reset_device(0)], 107001, "without a set_device"),
    (lambda b: [b.mdl.destroy_dataset(b.datasets[0])], 0, "1 data buffers left"),
    (
        lambda b: [b.acl.destroy_data_buffer(b.buffer), b.execute(b.stream)],
        145000,
        "data buffer",
    ),
    (lambda b: [b.acl.finalize()], 0, "1 streams left"),
    (lambda b: [b.acl.finalize(), b.acl.init()], 100002, "init after acl.finalize"),
    (lambda b: [b.acl.finalize(), b.rt.free(b.device)], 100001, "rt.free after acl.finalize"),
]


@pytest.mark.parametrize(("do", "code", "noted"), WRONG)
def test_wrong_use_is_noted(
    box: SimpleNamespace, do: Callable[[SimpleNamespace], Any], code: int, noted: str
) -> None:
    assert do(box)[-1] == code
    assert noted in "\n".join(box.npu.violations())
    assert (code == 0) or "(simulated)" in box.acl.get_recent_err_msg()


def test_results_come_with_synchronisation(box: SimpleNamespace) -> None:
    """Before it the output is noise, as after one that failed; after it the numbers are there."""

    def output() -> float:
        box.rt.memcpy(box.host, 8, box.device, 8, D2H)
        return float(ctypes.cast(box.host, ctypes.POINTER(ctypes.c_float))[0])

    ctypes.memset(box.host, 0, BYTES)
    box.rt.memcpy(box.pixels, BYTES, box.host, BYTES, H2D)
    box.execute(box.stream)
    assert np.isnan(output())
    box.npu.inject("rt.synchronize_stream", 507015)
    assert box.rt.synchronize_stream(box.stream) == 507015
    assert box.rt.synchronize_stream(box.stream) == 0
    assert np.isnan(output())
    box.execute(box.stream)
    assert box.rt.synchronize_stream(box.stream) == 0
    assert np.isfinite(output())


def test_a_lost_device_answers_nothing_until_it_is_reset(box: SimpleNamespace) -> None:
    """507033 for everything on it; what is given back is gone all the same."""
    box.npu.lose_device(0)
    assert box.rt.malloc(8, 0) == (0, 507033)
    assert (box.rt.free(box.device), box.mdl.unload(box.model)) == (507033, 507033)
    assert box.rt.destroy_context(box.context) == 507033
    assert set(box.npu.leaks()) == {
        *("device references", "device memory", "host memory", "datasets", "data buffers"),
    }
    assert box.rt.reset_device(0) == 0
    assert box.rt.set_device(0) == 0


def test_a_model_of_another_chip_or_a_damaged_one_is_refused(
    box: SimpleNamespace, tmp_path: Path
) -> None:
    whole = write_small(tmp_path / "whole.om").read_bytes()
    (tmp_path / "cut.om").write_bytes(whole[:-1])
    (tmp_path / "foreign.om").write_bytes(b"PK" + whole[2:])
    write_small(tmp_path / "soc.om", soc="Ascend910B4")
    codes = {"cut": 145006, "foreign": 145006, "soc": 507008}
    for name, code in codes.items():
        assert box.mdl.load_from_file(str(tmp_path / f"{name}.om")) == (0, code), name


def test_a_child_process_reports_what_it_did_wrong_and_left(npu: Control) -> None:
    npu.expect_violations()
    code = "import acl; acl.init(); acl.rt.set_device(0); acl.rt.free(5)"
    run_python("-c", code, PYTHONPATH=PATHS)
    (report,) = npu.child_reports()
    assert "never given" in report["violations"][0]
    assert report["leaks"].keys() == {"device references", "process"}
