"""ASCEND_RT_VISIBLE_DEVICES, held to the runtime's source; the simulator's reading as well.

Values and counts were worked out by hand from hicann/runtime 681ef7610,
src/runtime/core/src/runtime.cc: SplitString:4725 (digits up to the first other sign; nothing where
the first is none; one comma between two, and one at the end), GetVisibleDevices:4951 (no device at
all where one comes twice or they do not ascend).
"""

from __future__ import annotations

import os

import pytest
from cann.control import Control

from runtime.machine.visible_devices import CODES, NAME, advice, advice_on

# value -> devices that are left of four, and what the advice adds for it
READ: dict[str, tuple[int, str]] = {
    "0,2": (2, ""),
    "3": (1, ""),
    "1,2,": (2, ""),
    "1, 3": (1, "of which '1' counts alone"),
    "0,2 3": (2, "of which '0,2' counts alone"),
    "1;3": (1, "of which '1' counts alone"),
    "0,1,,3": (2, "of which '0,1' counts alone"),
    "2-3": (1, "of which '2' counts alone"),
    "3,1": (0, "does not ascend"),
    "0,2,2": (0, "does not ascend"),
    "2,0,x": (0, "does not ascend"),
    "": (0, "names no device"),
    " 1": (0, "names no device"),
    ",1": (0, "names no device"),
    "npu:1": (0, "names no device"),
}


@pytest.mark.parametrize("value", READ)
def test_a_value_is_shown_with_what_the_runtime_makes_of_it(value: str) -> None:
    """And with the rule."""
    _, fault = READ[value]
    told = advice({NAME: value})

    assert told.startswith(f"{NAME} is {value!r}" if fault else f"{NAME} is {value!r}: ")
    assert fault in told
    assert "npu:0 is the first" in told
    assert "must ascend" in told


@pytest.mark.parametrize("value", READ)
def test_the_simulators_acl_counts_as_the_runtime_does(npu: Control, value: str) -> None:
    usable, _ = READ[value]
    npu.reset(new_process=True, devices=4, visible=value)
    acl = npu.acl
    assert acl.init() == 0
    count, code = acl.rt.get_device_count()

    assert (count if code == 0 else 0) == usable
    assert code in (0, 207004)


def test_a_value_of_any_length_is_shown_in_part() -> None:
    """An error stays one line, and its end is the next action."""
    told = advice({NAME: "9" * 100_000})

    assert len(told) < 500
    assert "unset it" in told


def test_there_is_nothing_to_say_without_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is read when it is needed, and not when this is imported."""
    assert advice({"ASCEND_VISIBLE_DEVICES": "0"}) == ""
    monkeypatch.delenv(NAME, raising=False)
    assert advice() == ""
    monkeypatch.setenv(NAME, "2")
    assert advice() == advice(os.environ) != ""


def test_only_codes_about_the_device_lead_to_it() -> None:
    """[V: errcode_manage.cc] 107001 a number left out, 207004 none left."""
    assert CODES == (107001, 207004)
    for code in CODES:
        assert advice_on(code, {NAME: "2,1"}) == advice({NAME: "2,1"})
        assert advice_on(code, {}) == ""
    assert advice_on(507033, {NAME: "2,1"}) == ""
