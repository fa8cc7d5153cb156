"""The simulated acl is strict: each wrong use gets its code, or is recorded as a violation."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import run_python
from cann.acl_cycle import H2D, Cycle, good, value
from cann.control import Control
from cann.small_models import SIZE, write_small

H2H, D2D, DEFAULT = 0, 3, 4
IMAGE = np.ones((1, 3, SIZE, SIZE), np.float32)


@pytest.fixture(autouse=True)
def fresh(npu: Control) -> None:
    """Each test is a process that has not initialised acl; the product's own is not touched."""
    npu.reset(new_process=True)


@pytest.fixture
def acl(npu: Control) -> Any:
    """The module."""
    return npu.acl


@pytest.fixture
def device(acl: Any) -> Any:
    """The module with device 0 set in this thread."""
    good(acl.init())
    good(acl.rt.set_device(0))
    return acl


def in_thread(work: Callable[[], Any]) -> Any:
    """What another thread gets."""
    said: list[Any] = []
    thread = threading.Thread(target=lambda: said.append(work()))
    thread.start()
    thread.join()
    return said[0]


def run_child(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the simulator on its path."""
    home = Path(__file__).parent / "python"
    return run_python("-c", code, PYTHONPATH=str(home), **environment)


# order of life


def test_nothing_works_before_init(acl: Any) -> None:
    """100001, in every shape of return."""
    assert acl.rt.set_device(0) == 100001
    assert acl.rt.malloc(4, 0) == (0, 100001)
    assert acl.mdl.create_desc() == 0
    assert acl.mdl.query_size("a.om") == (0, 0, 100001)
    assert acl.finalize() == 100001
    assert "(simulated)" in acl.get_recent_err_msg()


def test_init_once(acl: Any, tmp_path: Path) -> None:
    """Again is 100002, whatever the configuration; without its file it is 100003."""
    config = tmp_path / "acl.json"
    config.write_text("{}")
    assert acl.init(str(tmp_path / "none.json")) == 100003
    assert acl.init() == 0
    assert acl.init() == 100002
    assert acl.init(str(config)) == 100002


def test_after_finalize_nothing_works(npu: Control, acl: Any) -> None:
    """Finalise again is 100037; everything else is a violation, init too."""
    npu.expect_violations()
    good(acl.init())
    good(acl.finalize())
    assert acl.finalize() == 100037
    assert npu.violations() == []
    assert acl.rt.set_device(0) == 100001
    assert acl.init() == 100002
    assert len(npu.violations()) == 2


def test_finalize_reports_what_is_left(npu: Control, device: Any) -> None:
    """Device references, memory, descriptions, each by kind."""
    npu.expect_violations()
    device.rt.malloc(100, 0)
    device.mdl.create_desc()
    good(device.finalize())

    text = "\n".join(npu.violations())
    for kind in ("1 device references", "1 device memory", "1 descriptions"):
        assert kind in text


def test_a_missing_device_has_its_code(acl: Any) -> None:
    """Unknown ids are 107001 wherever a device is named."""
    good(acl.init())
    assert acl.rt.get_device_count() == (1, 0)
    assert [acl.rt.set_device(i) for i in (1, -1)] == [107001, 107001]
    assert acl.rt.create_context(7) == (0, 107001)


def test_a_context_belongs_to_a_thread(device: Any) -> None:
    """A new thread has none; set_context or set_device gives it one."""
    context = value(device.rt.get_context())
    assert in_thread(lambda: device.rt.malloc(4, 0)) == (0, 107002)
    assert in_thread(device.rt.get_context) == (0, 107002)
    assert in_thread(lambda: device.mdl.load_from_file("a.om")) == (0, 107002)
    assert in_thread(device.get_soc_name) == "Ascend910B3"
    assert in_thread(lambda: (device.rt.set_context(context), device.rt.get_device())) == (
        0,
        (0, 0),
    )
    assert in_thread(lambda: (device.rt.set_device(0), device.rt.get_context())) == (
        0,
        (context, 0),
    )
    good(device.rt.reset_device(0))
    good(device.rt.reset_device(0))
    assert device.rt.get_context() == (0, 107002)


def test_the_box_is_what_the_settings_say(npu: Control, acl: Any) -> None:
    """Chip, devices, run mode, the kind of memory."""
    npu.reset(new_process=True, soc="Ascend310P3", devices=2)
    good(acl.init())
    good(acl.rt.set_device(1))
    assert acl.get_soc_name() == "Ascend310P3"
    assert acl.rt.get_device() == (1, 0)
    assert acl.rt.get_run_mode() == (1, 0)
    assert acl.rt.get_mem_info(0)[1] == 16 << 30
    assert acl.rt.get_mem_info(1) == (0, 0, 0)
    good(acl.rt.reset_device(1))


@pytest.mark.parametrize(
    ("visible", "usable"),
    [("2,3", 2), ("3", 1), ("1, 2", 1), ("0,7,1", 1), ("", 0), ("2,1", 0), ("1,1", 0), ("x", 0)],
)
def test_a_variable_hides_devices_and_counts_the_others_anew(
    npu: Control, acl: Any, visible: str, usable: int
) -> None:
    """The list ends at its first entry that is no device; one that does not ascend hides all."""
    npu.reset(new_process=True, devices=4, visible=visible)
    good(acl.init())
    assert acl.rt.get_device_count() == ((usable, 0) if usable else (0, 207004))
    assert [acl.rt.set_device(index) for index in range(usable)] == [0] * usable
    assert acl.rt.set_device(usable) == 107001
    for index in range(usable):
        good(acl.rt.reset_device(index))


def test_reset_device_comes_last(npu: Control, device: Any, tmp_path: Path) -> None:
    """Resetting under a model, streams, contexts and memory is a violation for each kind."""
    npu.expect_violations()
    Cycle(device, write_small(tmp_path / "a.om"))
    good(device.rt.reset_device(0))
    assert npu.violations() == []
    good(device.rt.reset_device(0))

    text = "\n".join(npu.violations())
    for kind in ("models", "streams", "contexts", "device allocations", "pinned host blocks"):
        assert kind in text
    assert device.rt.reset_device(0) == 107001


def test_contexts_go_after_what_is_in_them(npu: Control, device: Any) -> None:
    """A stream left in a context is a violation; the default context is never destroyed."""
    npu.expect_violations()
    default = value(device.rt.get_context())
    assert device.rt.destroy_context(default) == 107000
    context = value(device.rt.create_context(0))
    stream = value(device.rt.create_stream())
    good(device.rt.destroy_context(context))
    good(device.rt.set_context(default))
    assert device.rt.destroy_stream(stream) == 107003
    assert device.rt.destroy_context(context) == 107000

    assert "default context" in npu.violations()[0]
    assert "1 streams left" in npu.violations()[1]


def test_a_stream_is_waited_for_before_it_goes(npu: Control, device: Any) -> None:
    """Queued work on a destroyed stream is a violation."""
    npu.expect_violations()
    stream = value(device.rt.create_stream())
    there, here = value(device.rt.malloc(8, 0)), value(device.rt.malloc_host(8))
    good(device.rt.memcpy_async(there, 8, here, 8, H2D, stream))
    good(device.rt.destroy_stream(stream))

    assert "still queued" in npu.violations()[0]


def test_datasets_go_after_their_buffers(npu: Control, device: Any) -> None:
    """And a data buffer that is gone cannot be executed with, or destroyed again."""
    npu.expect_violations()
    there = value(device.rt.malloc(8, 0))
    buffer, dataset = device.create_data_buffer(there, 8), device.mdl.create_dataset()
    value(device.mdl.add_dataset_buffer(dataset, buffer))
    good(device.mdl.destroy_dataset(dataset))
    assert "data buffers left" in npu.violations()[0]
    good(device.destroy_data_buffer(buffer))
    assert device.destroy_data_buffer(buffer) == 100000
    assert "no longer" in npu.violations()[1]


def test_arguments_are_checked_as_an_extension_does(device: Any) -> None:
    """Wrong types, names and numbers of arguments raise TypeError."""
    for call, arguments in (
        (device.rt.malloc, (4.0, 0)),
        (device.rt.malloc, (4,)),
        (device.mdl.load_from_file, (Path("a.om"),)),
        (device.util.bytes_to_ptr, (np.zeros(3),)),
        (device.util.ptr_to_numpy, (4096, [3], 11)),
    ):
        with pytest.raises(TypeError, match="simulated|integer"):
            call(*arguments)
    with pytest.raises(TypeError, match="keyword"):
        device.rt.set_device(device=0)
    good(device.rt.reset_device(0))


# faults


def test_any_call_can_be_made_to_fail(npu: Control, device: Any) -> None:
    """The n-th time, so many times, in the call's own shape of return, with a text."""
    npu.inject("rt.malloc", 207001, nth=2, times=2)
    said = [device.rt.malloc(8, 0) for _ in range(4)]
    assert [code for _, code in said] == [0, 207001, 207001, 0]
    assert "as it was ordered" in device.get_recent_err_msg()
    npu.inject("mdl.create_desc", 200000)
    assert device.mdl.create_desc() == 0
    assert [c.code for c in npu.calls("rt.malloc")] == [0, 207001, 207001, 0]
    with pytest.raises(LookupError, match="rt.maloc"):
        npu.inject("rt.maloc", 1)
    for pointer, code in said:
        assert code or device.rt.free(pointer) == 0
    good(device.rt.reset_device(0))


def test_a_release_that_fails_keeps_its_handle(npu: Control, device: Any) -> None:
    """It lives on, and is not counted as a leak; what else is left is."""
    first, second = (value(device.rt.create_stream()) for _ in range(2))
    npu.inject("rt.destroy_stream", 507000)
    assert device.rt.destroy_stream(first) == 507000
    assert npu.live_handles()["streams"] == 2
    assert len(npu.leaks()["streams"]) == 1
    good(device.rt.destroy_stream(second))
    good(device.rt.reset_device(0))


def test_a_failed_synchronisation_brings_no_results(npu: Control, acl: Any, tmp_path: Path) -> None:
    """Who passes over its code sees stale data."""
    with Cycle(acl, write_small(tmp_path / "a.om")) as cycle:
        cycle.queue(IMAGE)
        npu.inject("rt.synchronize_stream", 507015)
        assert acl.rt.synchronize_stream(cycle.stream) == 507015
        good(acl.rt.synchronize_stream(cycle.stream))
        assert np.isnan(cycle.outputs()[0]).any()
        assert np.isfinite(cycle.run(IMAGE)[0]).all()


def test_a_lost_device_answers_nothing_until_it_is_reset(
    npu: Control, acl: Any, tmp_path: Path
) -> None:
    """507033 for everything on it; giving back lets go though it fails; then it works again."""
    cycle = Cycle(acl, write_small(tmp_path / "a.om"))
    cycle.queue(IMAGE)
    npu.lose_device(0, after=1)
    good(acl.rt.get_device()[1])
    assert acl.rt.synchronize_stream(cycle.stream) == 507033
    assert acl.rt.malloc(8, 0) == (0, 507033)
    assert acl.rt.set_device(0) == 507033
    for buffers in cycle.buffers:
        for buffer, pointer, host, _ in buffers:
            good(acl.destroy_data_buffer(buffer))
            assert (acl.rt.free(pointer), acl.rt.free_host(host)) == (507033, 507033)
    assert [acl.mdl.destroy_dataset(d) for d in cycle.datasets] == [0, 0]
    assert acl.mdl.unload(cycle.model) == 507033
    good(acl.mdl.destroy_desc(cycle.desc))
    assert acl.rt.destroy_stream(cycle.stream) == 507033
    assert acl.rt.destroy_context(cycle.context) == 507033
    good(acl.rt.reset_device(0))
    assert npu.leaks() == {}

    with Cycle(acl, tmp_path / "a.om") as again:
        assert np.isfinite(again.run(IMAGE)[0]).all()


def test_a_hang_lasts_until_the_test_ends_it(npu: Control, device: Any) -> None:
    """The call is made, and does not return."""
    npu.inject_hang("rt.get_device")
    context = value(device.rt.get_context())
    said: list[Any] = []

    def work() -> None:
        good(device.rt.set_context(context))
        said.append(device.rt.get_device())

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(0.05)
    assert (thread.is_alive(), said) == (True, [])
    npu.end_hangs()
    thread.join()
    assert said == [(0, 507000)]
    good(device.rt.reset_device(0))


def test_executions_take_the_time_they_are_told(
    npu: Control, acl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The latency is slept once for each execution."""
    slept: list[float] = []
    monkeypatch.setattr(acl._models.time, "sleep", slept.append)
    npu.set_latency(0.25)
    with Cycle(acl, write_small(tmp_path / "a.om")) as cycle:
        cycle.run(IMAGE)
        cycle.run_now(IMAGE)

    assert slept == [0.25, 0.25]


def test_torch_npu_in_the_same_process(npu: Control, acl: Any, tmp_path: Path) -> None:
    """Init is 100002; what resets or finalises is a violation, what leaves both alone is not."""
    npu.torch_npu_has_initialised()
    assert acl.init() == 100002
    good(acl.rt.set_device(0))
    assert acl.mdl.load_from_file(str(tmp_path / "none.om")) == (0, 145002)
    npu.judge()
    npu.expect_violations()
    good(acl.rt.reset_device(0))
    good(acl.finalize())

    assert len(npu.violations()) == 2
    assert all("torch_npu's own resources" in text for text in npu.violations())


@pytest.mark.parametrize("initialised", [False, True])
def test_a_new_process_lasts_as_long_as_its_test(npu: Control, *, initialised: bool) -> None:
    """What initialised acl before, and remembers it, finds acl initialised afterwards."""
    if initialised:
        good(npu.acl.init())
    inner = type(npu)(npu.acl, npu.reports)
    inner.reset(new_process=True)
    good(npu.acl.init())
    good(npu.acl.finalize())
    inner.end()
    inner.reset()
    assert npu.acl.init() == (100002 if initialised else 0)


def test_error_texts_belong_to_a_thread(device: Any) -> None:
    """Reading clears them, and nobody sees another thread's."""
    assert device.rt.malloc(0, 0) == (0, 100000)
    assert in_thread(device.get_recent_err_msg) is None
    assert "rt.malloc" in device.get_recent_err_msg()
    assert device.get_recent_err_msg() is None
    good(device.rt.reset_device(0))


# child processes


def test_a_child_process_reports_what_it_left(npu: Control) -> None:
    """As JSON where CANNSIM_REPORT says, and on stderr; the fixture reads it."""
    npu.expect_violations()
    done = run_child("import acl; acl.init(); acl.rt.set_device(0); acl.rt.free(5)")

    (report,) = npu.child_reports()
    assert done.stderr.count("simulator") >= 3
    assert "address that malloc never gave" in report["violations"][0]
    assert report["leaks"].keys() == {"device references", "process"}
    assert report["calls"][-1] == ["rt.free", 107000]


def test_a_clean_child_process_is_silent(npu: Control) -> None:
    """Nothing on stderr, and a report that holds nothing."""
    done = run_child(
        "import acl; acl.init(); acl.rt.set_device(0); print(acl.get_soc_name());"
        "acl.rt.reset_device(0); acl.finalize()",
        CANNSIM_SOC="Ascend310P3",
    )

    assert (done.stdout, done.stderr) == ("Ascend310P3\n", "")
    assert [report["leaks"] for report in npu.child_reports()] == [{}]


def test_the_environment_orders_faults(npu: Control) -> None:
    """Codes and losses of acl; other tools' items are passed over, unreadable ones are not."""
    npu.expect_violations()
    code = (
        "import acl; acl.init(); r = acl.rt\n"
        "print([r.set_device(0) for _ in range(3)], [r.get_device()[1] for _ in range(3)])"
    )
    faults = "atc:hang,acl:rt.set_device=507033@2,acl:lost@4"
    done = run_child(code, CANNSIM_FAULT=faults)
    assert done.stdout == "[0, 507033, 0] [0, 0, 507033]\n"
    assert (
        "cannot read 'acl:rt.malloc'"
        in run_child("import acl", CANNSIM_FAULT="acl:rt.malloc").stderr
    )


def test_no_room_of_the_product_finds_the_simulator(npu: Control) -> None:
    """It is importable only while the fixture stands, and never replaces another acl."""
    control: Any = importlib.import_module("cann.control")
    assert sys.modules["acl"] is npu.acl
    control.remove()
    try:
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("acl")
    finally:
        control.install(npu.reports)
    assert importlib.import_module("acl") is npu.acl
