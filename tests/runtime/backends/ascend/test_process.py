"""ACL's life in a process: begun once, shared, ended in order, whoever else uses it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from cann.control import Control
from cann.plugin import Cann

from runtime.backends import open_backend
from runtime.backends.ascend import process
from runtime.errors import BackendError, BackendUnavailable


def test_acl_is_initialised_once_and_finalised_by_us(npu: Control, tiny_om: Path) -> None:
    for _ in range(2):
        open_backend(tiny_om, "npu:0").close()
    assert [call.code for call in npu.calls("init")] == [0]
    assert npu.calls("finalize") == []
    process.shut_down()
    assert [call.code for call in npu.calls("finalize")] == [0]


@pytest.mark.parametrize("code", [500000, 107000, 507011])
def test_acl_that_does_not_start(npu: Control, tiny_om: Path, code: int) -> None:
    npu.inject("init", code)
    with pytest.raises(BackendError, match=rf"acl\.init.*{code}"):
        open_backend(tiny_om, "npu:0")
    with open_backend(tiny_om, "npu:0") as again:
        assert again.device == "npu:0"


def test_beside_torch_npu_nothing_of_its_is_touched(npu: Control, tiny_om: Path) -> None:
    """It has initialised ACL (100002): no finalize, no reset of the device."""
    npu.torch_npu_has_initialised()
    with open_backend(tiny_om, "npu:0") as backend:
        backend.run(np.zeros(backend.spec.input.shape(1), np.float32))
    process.shut_down()
    assert [call.code for call in npu.calls("init")] == [100002]
    assert npu.calls("finalize") == npu.calls("rt.reset_device") == []


def test_the_callers_own_context_is_given_back(npu: Control, tiny_om: Path) -> None:
    """torch_npu remembers which device a thread has, and would go on in ours."""
    npu.torch_npu_has_initialised()
    theirs, code = npu.acl.rt.create_context(0)
    assert code == 0
    with open_backend(tiny_om, "npu:0") as backend:
        assert npu.acl.rt.get_context() == (theirs, 0)
        backend.run(np.zeros(backend.spec.input.shape(1), np.float32))
        assert npu.acl.rt.get_context() == (theirs, 0)
    assert npu.acl.rt.get_context() == (theirs, 0)
    assert npu.acl.rt.destroy_context(theirs) == 0


def test_a_forked_process_may_not_use_what_its_parent_opened(npu: Control, tiny_om: Path) -> None:
    """The driver's state does not survive a fork: told at once, not by a hang."""
    with open_backend(tiny_om, "npu:0"):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            said = b"opened"
            try:
                open_backend(tiny_om, "npu:0")
            except BackendUnavailable as error:
                said = str(error).encode()
            os.write(writer, said)
            os._exit(0)
        os.close(writer)
        os.waitpid(child, 0)
        with os.fdopen(reader) as pipe:
            assert "spawn" in pipe.read()
    assert npu.leaks() == {}


def test_what_is_open_at_the_end_is_released(npu: Control, tiny_om: Path) -> None:
    """`shut_down` runs when the interpreter ends; closing afterwards does nothing."""
    backend = open_backend(tiny_om, "npu:0")
    process.shut_down()
    assert npu.leaks() == {}
    calls = len(npu.calls())
    backend.close()
    assert len(npu.calls()) == calls


def test_a_device_that_a_variable_hides_is_explained(
    npu: Control, cann: Cann, tiny_om: Path
) -> None:
    cann.set_soc("Ascend910B3", devices=4)
    cann.set("ASCEND_RT_VISIBLE_DEVICES", "2,3")
    npu.reset()
    with pytest.raises(BackendUnavailable, match="107001") as told:
        open_backend(tiny_om, "npu:2")
    assert "ASCEND_RT_VISIBLE_DEVICES is '2,3'" in told.value.action
