"""A simulator of pyACL for tests: wrong use fails here, not on the box.

It has the calls that the product makes (`tests/cann/acl_contract.py`) and no others. Handles and
pointers are ints, results have pyACL's shapes. What the contract forbids and no return code
expresses is recorded as a violation.
"""

from __future__ import annotations

from pathlib import Path

from . import mdl, rt
from ._calls import api, code_alone, no_text, nothing
from ._objects import DataBuffer
from ._state import Refused, state, watch_exit

__all__ = [
    "create_data_buffer",
    "destroy_data_buffer",
    "finalize",
    "get_recent_err_msg",
    "get_soc_name",
    "init",
    "mdl",
    "rt",
]


@api("init", code_alone, context=False)
def init(config: str = "") -> int:
    """Once in a process."""
    if state.finalised:
        # the newest runtimes allow it, older ones do not
        state.violate("acl.init after acl.finalize")
        raise Refused(100002, "acl was finalised in this process")
    if config and not Path(config).is_file():
        raise Refused(100003, f"no file {config!r}")
    if state.initialised:
        raise Refused(100002, "acl is initialised already")
    state.initialised = True
    return 0


@api("finalize", code_alone, context=False)
def finalize() -> int:
    """Once in a process, after everything was given back."""
    if state.finalised:
        raise Refused(100037, "acl is finalised already")
    if not state.initialised:
        raise Refused(100001, "acl is not initialised")
    if state.torch_npu:
        state.violate("acl.finalize: torch_npu's own resources die with it")
    for kind, texts in state.leaks().items():
        state.violate(f"acl.finalize with {len(texts)} {kind} left: {', '.join(texts[:4])}")
    state.finalised = True
    return 0


@api("get_soc_name", no_text, context=False)
def get_soc_name() -> str | None:
    """The exact name of the chip."""
    return state.settings.soc


@api("get_recent_err_msg", no_text, context=False)
def get_recent_err_msg() -> str | None:
    """What failed in this thread since the last call."""
    texts = list(state.thread.errors)
    state.thread.errors.clear()
    return "\n".join(texts) or None


@api("create_data_buffer", nothing, context=False)
def create_data_buffer(address: int, size: int) -> int:
    """Name a piece of device memory, which stays the caller's."""
    if size < 0 or bool(address) != bool(size):
        raise Refused(100000, f"{size} bytes at {address:#x}")
    return state.add(state.buffers, DataBuffer(address, size))


@api("destroy_data_buffer", code_alone, context=False, release=True)
def destroy_data_buffer(buffer: int) -> int:
    """Give a data buffer back, not its memory."""
    state.find(state.buffers, buffer, "data buffer")
    del state.buffers[buffer]
    return 0


watch_exit()
