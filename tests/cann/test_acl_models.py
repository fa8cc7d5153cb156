"""The simulated acl runs models as the contract says, and refuses what it forbids."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from cann.acl_cycle import D2H, GEARS_INPUT, H2D, Cycle, good, value
from cann.control import Control
from cann.small_models import AIPP, FLOAT16, SIZE, graph, write_small
from numpy.typing import NDArray


@pytest.fixture
def image(rng: np.random.Generator) -> NDArray[np.float32]:
    """Two pictures, (2, 3, 8, 8)."""
    return rng.normal(size=(2, 3, SIZE, SIZE)).astype(np.float32)


@pytest.fixture(autouse=True)
def fresh(npu: Control) -> None:
    """Each test is a process that has not initialised acl; the product's own is not touched."""
    npu.reset(new_process=True)


def reference(image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """What the graph says in float32."""
    session = onnxruntime.InferenceSession(graph("N"), providers=["CPUExecutionProvider"])
    return [np.asarray(a, np.float32) for a in session.run(None, {"image": image})]


@pytest.mark.parametrize("way", ["run", "run_now"])
def test_a_static_model_runs(
    npu: Control, tmp_path: Path, image: NDArray[np.float32], way: str
) -> None:
    """Load, run thrice, close: the graph's own numbers, nothing left, and finalised once."""
    with Cycle(npu.acl, write_small(tmp_path / "a.om")) as cycle:
        for one in (image[:1], image[1:], image[:1]):
            for said, right in zip(getattr(cycle, way)(one), reference(one), strict=True):
                np.testing.assert_allclose(said, right, atol=1e-6)
    good(npu.acl.finalize())

    assert not any(npu.live_handles().values())


def test_descriptions_are_those_of_the_contract(npu: Control, tmp_path: Path) -> None:
    """Names, dims, types and sizes; a bad index gives 0 or an empty name."""
    mdl = npu.acl.mdl
    with Cycle(npu.acl, write_small(tmp_path / "a.om")) as cycle:
        desc = cycle.desc
        assert (mdl.get_num_inputs(desc), mdl.get_num_outputs(desc)) == (1, 2)
        assert mdl.get_input_dims(desc, 0) == (
            {"name": "image", "dimCount": 4, "dims": [1, 3, SIZE, SIZE]},
            0,
        )
        assert mdl.get_output_name_by_index(desc, 1) == "pool:0:mean"
        assert mdl.get_cur_output_dims(desc, 1)[0]["dims"] == [1, 2, 1, 1]
        assert (mdl.get_input_data_type(desc, 0), mdl.get_input_format(desc, 0)) == (0, 0)
        assert mdl.get_output_size_by_index(desc, 0) == 2 * SIZE * SIZE * 4
        assert mdl.get_output_size_by_index(desc, 2) == 0
        assert mdl.get_input_name_by_index(desc, -1) == ""
        assert mdl.get_input_index_by_name(desc, "picture")[1] == 100000
        assert mdl.get_dynamic_batch(desc) == ({"batchCount": 0, "batch": []}, 0)
        assert mdl.query_size(str(tmp_path / "a.om")) == (1 << 20, 4096, 0)


def test_gears_run_the_batch_that_was_chosen(
    npu: Control, tmp_path: Path, image: NDArray[np.float32]
) -> None:
    """A hidden last input; -1 in the input's dims; outputs told for the largest gear."""
    mdl = npu.acl.mdl
    with Cycle(npu.acl, write_small(tmp_path / "g.om", gears=(1, 2, 4))) as cycle:
        assert mdl.get_num_inputs(cycle.desc) == 2
        assert mdl.get_input_name_by_index(cycle.desc, 1) == GEARS_INPUT
        assert mdl.get_input_dims(cycle.desc, 0)[0]["dims"] == [-1, 3, SIZE, SIZE]
        assert mdl.get_input_size_by_index(cycle.desc, 0) == 4 * 3 * SIZE * SIZE * 4
        assert mdl.get_output_dims(cycle.desc, 0)[0]["dims"] == [4, 2, SIZE, SIZE]
        assert mdl.get_dynamic_batch(cycle.desc)[0]["batch"] == [1, 2, 4]
        for batch in (2, 1):
            said = cycle.run(image[:batch], batch)
            assert mdl.get_cur_output_dims(cycle.desc, 0)[0]["dims"] == [batch, 2, SIZE, SIZE]
            for a, b in zip(said, reference(image[:batch]), strict=True):
                np.testing.assert_allclose(a, b, atol=1e-6)


def test_gears_that_were_never_chosen_are_the_largest(
    npu: Control, tmp_path: Path, image: NDArray[np.float32]
) -> None:
    """All rows are computed, whatever the hidden input's memory holds."""
    four = np.concatenate([image, image])
    with Cycle(npu.acl, write_small(tmp_path / "g.om", gears=(1, 4))) as cycle:
        np.testing.assert_allclose(cycle.run(four)[0], reference(four)[0], atol=1e-6)


def test_choosing_a_gear_has_its_codes(npu: Control, tmp_path: Path) -> None:
    """0, not a gear, no such input, no memory, too little memory, no gears at all."""
    acl = npu.acl
    with Cycle(acl, write_small(tmp_path / "g.om", gears=(1, 2))) as cycle:
        choose, inputs = acl.mdl.set_dynamic_batch_size, cycle.datasets[0]
        assert choose(cycle.model, inputs, 1, 0) == 100000
        assert choose(cycle.model, inputs, 1, 3) == 145013
        assert choose(cycle.model, inputs, 2, 2) == 100000
        buffer, pointer, _, nbytes = cycle.buffers[0][1]
        good(acl.update_data_buffer(buffer, pointer, 2))
        assert choose(cycle.model, inputs, 1, 3) == 145012
        good(acl.update_data_buffer(buffer, 0, nbytes))
        assert choose(cycle.model, inputs, 1, 2) == 100000
        good(acl.update_data_buffer(buffer, pointer, nbytes))
    with Cycle(acl, write_small(tmp_path / "s.om")) as cycle:
        assert choose(cycle.model, cycle.datasets[0], 0, 1) == 145013


def test_a_gear_written_over_the_pixels_is_seen(npu: Control, tmp_path: Path) -> None:
    """The real thing does not look which input it is."""
    npu.expect_violations()
    with Cycle(npu.acl, write_small(tmp_path / "g.om", gears=(1, 2))) as cycle:
        choose = npu.acl.mdl.set_dynamic_batch_size
        assert choose(cycle.model, cycle.datasets[0], 0, 2) == 100000
    assert "over input 0's pixels" in npu.violations()[0]


def test_a_gear_belongs_to_its_dataset(npu: Control, tmp_path: Path) -> None:
    """Chosen once, a second dataset whose hidden input holds noise is an error, not a guess."""
    acl = npu.acl
    with Cycle(acl, write_small(tmp_path / "g.om", gears=(1, 2))) as cycle:
        good(acl.mdl.set_dynamic_batch_size(cycle.model, cycle.datasets[0], 1, 2))
        buffer, pointer, _, nbytes = cycle.buffers[0][1]
        fresh = value(acl.rt.malloc(nbytes, 0))
        good(acl.update_data_buffer(buffer, fresh, nbytes))
        assert acl.mdl.execute(cycle.model, *cycle.datasets) == 507011
        good(acl.update_data_buffer(buffer, pointer, nbytes))
        good(acl.rt.free(fresh))


def test_aipp_takes_uint8_and_rounds_as_the_chip(
    npu: Control, tmp_path: Path, rng: np.random.Generator
) -> None:
    """NHWC, channels swapped before mean and factor, the factor and the result in fp16."""
    pixels = rng.integers(0, 256, (1, SIZE, SIZE, 3), dtype=np.uint8)
    factor = np.array(AIPP["var_reci"], np.float16).astype(np.float32)
    shifted = pixels[..., ::-1].astype(np.float32) - np.array([10.5, 20.25, 30.0], np.float32)
    fed = (shifted * factor).astype(np.float16).astype(np.float32).transpose(0, 3, 1, 2)

    with Cycle(npu.acl, write_small(tmp_path / "u.om", aipp=AIPP)) as cycle:
        dims = npu.acl.mdl.get_input_dims(cycle.desc, 0)[0]["dims"]
        said = cycle.run(pixels)[0]

    assert dims == [1, SIZE, SIZE, 3]
    np.testing.assert_allclose(said, reference(np.ascontiguousarray(fed))[0], atol=1e-6)


def test_float16_inputs_and_outputs(
    npu: Control, tmp_path: Path, image: NDArray[np.float32]
) -> None:
    """Buffers of half-precision numbers where the descriptor says so."""
    half = image[:1].astype(np.float16)
    with Cycle(npu.acl, write_small(tmp_path / "h.om", dtype=FLOAT16)) as cycle:
        said = cycle.run(half)[0]

    assert said.dtype == np.float16
    expected = reference(half.astype(np.float32))[0].astype(np.float16)
    np.testing.assert_allclose(said, expected, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize(("precision", "step"), [("fp16", 2.0**-10), ("hf32", 2.0**-11)])
def test_the_precision_mode_rounds(
    npu: Control, tmp_path: Path, image: NDArray[np.float32], precision: str, step: float
) -> None:
    """Off from fp32, and by no more than rounding explains; kept nodes are exact."""
    right = reference(image[:1])[0]
    with Cycle(npu.acl, write_small(tmp_path / "p.om", precision=precision)) as cycle:
        error = np.abs(cycle.run(image[:1])[0] - right).max()
    kept = write_small(tmp_path / "k.om", precision="mixed", keep_fp32=("conv",))
    with Cycle(npu.acl, kept) as cycle:
        exact = np.abs(cycle.run(image[:1])[0] - right).max()

    assert exact < 2e-6 < error < 27 * 16 * step


def test_loading_has_its_codes(npu: Control, tmp_path: Path) -> None:
    """Missing, foreign, cut, encrypted, another chip's, a newer CANN's; each with a text."""
    acl = npu.acl
    assert acl.init() in (0, 100002)
    good(acl.rt.set_device(0))
    whole = write_small(tmp_path / "a.om").read_bytes()
    (tmp_path / "cut.om").write_bytes(whole[:-1])
    (tmp_path / "foreign.om").write_bytes(b"PK" + whole[2:])
    (tmp_path / "encrypted.om").write_bytes(whole[:80] + b"\1" + whole[81:])
    write_small(tmp_path / "soc.om", soc="Ascend910B4")
    write_small(tmp_path / "newer.om", atc_version="9.0.0.simulated")
    codes = {"none": 145002, "cut": 145006, "foreign": 145006, "encrypted": 145006}
    codes |= {"soc": 507008, "newer": 545001}
    for name, code in codes.items():
        assert acl.mdl.load_from_file(str(tmp_path / f"{name}.om")) == (0, code), name
        text = acl.get_recent_err_msg()
        assert "(simulated)" in text
        assert str(code) in text
        assert acl.get_recent_err_msg() is None
    good(acl.rt.reset_device(0))


def test_a_damaged_file_is_a_code(npu: Control, tmp_path: Path, rng: np.random.Generator) -> None:
    """Flipped and cut bytes before the weights: a code, or what was not hit; never more."""
    good(npu.acl.init())
    whole = bytearray(write_small(tmp_path / "a.om").read_bytes())
    path = tmp_path / "b.om"
    codes = set()
    for _ in range(300):
        damaged = whole.copy()
        for at in rng.integers(0, 1200, 2):
            damaged[at] = rng.integers(0, 256)
        path.write_bytes(damaged)
        codes.add(npu.acl.mdl.query_size(str(path))[2])

    assert codes <= {0, 145006, 207000, 507008, 545001, 545002}
    assert len(codes) > 3


def test_the_layout_of_2021_is_read(npu: Control, tmp_path: Path) -> None:
    """Entries of 12 bytes, and the length in 32 bits."""
    good(npu.acl.init())
    path = write_small(tmp_path / "old.om", age="2021")
    assert npu.acl.mdl.query_size(str(path)) == (1 << 20, 4096, 0)


def test_a_model_is_loaded_from_memory(npu: Control, tmp_path: Path) -> None:
    """As from a file; the bytes may go afterwards."""
    acl = npu.acl
    assert acl.init() in (0, 100002)
    good(acl.rt.set_device(0))
    content = write_small(tmp_path / "a.om").read_bytes()
    model = value(acl.mdl.load_from_mem(acl.util.bytes_to_ptr(content), len(content)))
    good(acl.mdl.unload(model))
    good(acl.rt.reset_device(0))


def test_execution_checks_numbers_and_sizes(npu: Control, tmp_path: Path) -> None:
    """Another number of buffers is 145000 with E13025; 64 bytes may lack, 65 not; more may be."""
    acl = npu.acl
    with Cycle(acl, write_small(tmp_path / "a.om")) as cycle:
        empty = acl.mdl.create_dataset()
        assert acl.mdl.execute(cycle.model, empty, cycle.datasets[1]) == 145000
        assert "E13025" in acl.get_recent_err_msg()
        good(acl.mdl.destroy_dataset(empty))
        buffer, pointer, _, nbytes = cycle.buffers[0][0]
        for size, code in ((nbytes - 65, 145000), (nbytes - 64, 0), (nbytes, 0)):
            good(acl.update_data_buffer(buffer, pointer, size))
            assert acl.mdl.execute(cycle.model, *cycle.datasets) == code


def test_an_empty_output_buffer_is_allocated(
    npu: Control, tmp_path: Path, image: NDArray[np.float32]
) -> None:
    """(0, 0) for an output: the runtime allocates, the caller frees."""
    acl = npu.acl
    with Cycle(acl, write_small(tmp_path / "a.om")) as cycle:
        buffer, pointer, host, nbytes = cycle.buffers[1][0]
        good(acl.update_data_buffer(buffer, 0, 0))
        cycle.run_now(image[:1])
        made = acl.get_data_buffer_addr(buffer)
        assert (made != pointer, acl.get_data_buffer_size(buffer)) == (True, nbytes)
        good(acl.rt.memcpy(host, nbytes, made, nbytes, D2H))
        np.testing.assert_allclose(cycle.outputs()[0], reference(image[:1])[0], atol=1e-6)
        good(acl.rt.free(made))


def test_host_memory_in_a_data_buffer_is_refused(npu: Control, tmp_path: Path) -> None:
    """All buffers of an execution are device memory."""
    npu.expect_violations()
    with Cycle(npu.acl, write_small(tmp_path / "a.om")) as cycle:
        buffer, _, host, nbytes = cycle.buffers[0][0]
        good(npu.acl.update_data_buffer(buffer, host, nbytes))
        assert npu.acl.mdl.execute(cycle.model, *cycle.datasets) == 145007

    assert "is not device memory" in npu.violations()[0]


def test_load_execute_and_unload_share_a_context(npu: Control, tmp_path: Path) -> None:
    """In another context of the same device both are refused; so is a stream of another."""
    acl = npu.acl
    with Cycle(acl, write_small(tmp_path / "a.om")) as cycle:
        other = value(acl.rt.create_context(0))
        assert acl.mdl.execute(cycle.model, *cycle.datasets) == 107003
        assert acl.mdl.unload(cycle.model) == 107003
        assert acl.rt.synchronize_stream(cycle.stream) == 107003
        good(acl.rt.destroy_context(other))
        cycle.enter()


def test_what_is_not_synchronised_is_not_there(
    npu: Control, tmp_path: Path, image: NDArray[np.float32]
) -> None:
    """Results come with synchronisation; inputs changed before it change the results."""
    with Cycle(npu.acl, write_small(tmp_path / "a.om")) as cycle:
        cycle.queue(image[:1])
        assert np.isnan(cycle.outputs()[0]).any()
        cycle.host(0, 0)[:] = image[1:].reshape(-1).view(np.uint8)
        good(npu.acl.rt.synchronize_stream(cycle.stream))
        np.testing.assert_allclose(cycle.outputs()[0], reference(image[1:])[0], atol=1e-6)


def test_one_model_on_two_streams_is_a_violation(
    npu: Control, tmp_path: Path, image: NDArray[np.float32]
) -> None:
    """A model id holds one execution's working memory."""
    npu.expect_violations()
    acl = npu.acl
    with Cycle(acl, write_small(tmp_path / "a.om")) as cycle:
        cycle.queue(image[:1])
        good(acl.mdl.execute(cycle.model, *cycle.datasets))
        good(acl.rt.synchronize_stream(cycle.stream))
        second = value(acl.rt.create_stream())
        good(acl.mdl.execute_async(cycle.model, *cycle.datasets, cycle.stream))
        good(acl.mdl.execute_async(cycle.model, *cycle.datasets, second))
        for stream in (second, cycle.stream):
            good(acl.rt.synchronize_stream(stream))
        good(acl.rt.destroy_stream(second))

    assert len(npu.violations()) == 2
    assert "at once" in npu.violations()[0]


def test_one_model_in_two_threads_is_a_violation(
    npu: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with synchronous calls; here the first waits in its arithmetic for the second."""
    npu.expect_violations()
    acl: Any = npu.acl
    both = threading.Barrier(2, timeout=60)
    arithmetic = acl._arithmetic.run

    def meet(*arguments: Any) -> Any:
        both.wait()
        return arithmetic(*arguments)

    monkeypatch.setattr(acl._arithmetic, "run", meet)
    with Cycle(acl, write_small(tmp_path / "a.om")) as cycle:

        def work() -> None:
            cycle.enter()
            good(acl.mdl.execute(cycle.model, *cycle.datasets))

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert npu.peaks()["executions at once"] == 2
    assert "two threads" in npu.violations()[0]


def test_two_loads_may_run_at_once(
    npu: Control, tmp_path: Path, image: NDArray[np.float32]
) -> None:
    """Separate models, contexts and streams: eight threads, the same numbers, no violation."""
    path = write_small(tmp_path / "a.om")
    right = reference(image[:1])[0]
    wrong: list[float] = []

    def work() -> None:
        with Cycle(npu.acl, path) as cycle:
            wrong.extend(np.abs(cycle.run(image[:1])[0] - right).max() for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(wrong) == 40
    assert max(wrong) < 1e-6


def test_memory_runs_out(npu: Control, tmp_path: Path) -> None:
    """207018 where a model does not fit, 207001 where malloc does not, and no model is left."""
    npu.reset(memory_bytes=3 << 20)
    acl = npu.acl
    path = write_small(tmp_path / "a.om", memory_bytes=2 << 20)
    with Cycle(acl, path):
        assert acl.mdl.load_from_file(str(path)) == (0, 207018)
        assert acl.rt.malloc(1 << 20, 0) == (0, 207001)
        free, total, ret = acl.rt.get_mem_info(1)
        assert (total, ret) == (3 << 20, 0)
        assert 0 < free < 1 << 20


def test_unloading_under_way_is_a_violation(
    npu: Control, tmp_path: Path, image: NDArray[np.float32]
) -> None:
    """What was queued then fails where it is waited for."""
    npu.expect_violations()
    acl = npu.acl
    cycle = Cycle(acl, write_small(tmp_path / "a.om"))
    cycle.queue(image[:1])
    good(acl.mdl.unload(cycle.model))

    assert acl.rt.synchronize_stream(cycle.stream) == 507011
    assert "is being executed" in npu.violations()[0]


def test_buffers_freed_before_synchronisation_are_seen(npu: Control, tmp_path: Path) -> None:
    """Device memory and pinned memory alike."""
    npu.expect_violations()
    acl = npu.acl
    cycle = Cycle(acl, write_small(tmp_path / "a.om"))
    _, pointer, host, nbytes = cycle.buffers[0][0]
    good(acl.rt.memcpy_async(pointer, nbytes, host, nbytes, H2D, cycle.stream))
    good(acl.rt.free_host(host))
    good(acl.rt.synchronize_stream(cycle.stream))
    good(acl.mdl.execute_async(cycle.model, *cycle.datasets, cycle.stream))
    good(acl.rt.free(pointer))

    assert acl.rt.synchronize_stream(cycle.stream) == 507011
    assert "after free_host" in npu.violations()[0]
    assert "was freed" in npu.violations()[1]
