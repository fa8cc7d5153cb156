"""A device's name is parsed in one place, and written back as it was."""

from __future__ import annotations

import pytest

from runtime.errors import ConfigError
from runtime.model.device import CPU, Device


@pytest.mark.parametrize(
    ("text", "device", "number"),
    [
        ("cpu", CPU, 0),
        ("npu", Device("npu"), 0),
        ("npu:0", Device("npu", 0), 0),
        ("cuda:12", Device("cuda", 12), 12),
        ("cpu:bf16", Device("cpu", detail="bf16"), 0),
        ("npu:²", Device("npu", detail="²"), 0),
        ("AUTO:GPU:1", Device("AUTO", detail="GPU:1"), 0),
    ],
)
def test_a_name_has_a_kind_and_a_number_or_something_else(
    text: str, device: Device, number: int
) -> None:
    found = Device.of(text)

    assert (found, found.number, str(found)) == (device, number, text)


def test_a_colon_wants_something_behind_it() -> None:
    with pytest.raises(ConfigError, match="device 'npu:': .*npu:0, got nothing after the colon"):
        Device.of("npu:")
