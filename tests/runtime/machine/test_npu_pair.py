"""torch and torch_npu: which release belongs to which, and the commands that install a pair."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.machine.npu_pair import install_commands, release_of

# What the wheels themselves require, in the spellings that their METADATA has: by version and
# processor, written down from torch_npu's wheels (2.1.0.post8 and 2.6.0 put the version into
# brackets, 2.11.0 a space before it, 2.13.0 a wildcard behind it).
REQUIRES = {
    ("2.1.0.post8", "x86_64"): "torch (==2.1.0+cpu)",
    ("2.6.0", "x86_64"): "torch (==2.6.0+cpu)",
    ("2.6.0", "aarch64"): "torch==2.6.0",
    ("2.9.0.post2", "x86_64"): "torch==2.9.0+cpu",
    ("2.11.0", "x86_64"): "torch ==2.11.0+cpu",
    ("2.12.0", "x86_64"): "torch ==2.12.0",
    ("2.12.0", "aarch64"): "torch ==2.12.0",
    ("2.13.0", "x86_64"): "torch==2.13.0.*",
}


@given(
    release=st.tuples(*[st.integers(0, 99)] * 3),
    suffix=st.sampled_from(["", ".post8", "+cpu", "rc1", ".dev20250218", ".post2+gitdc51c2d"]),
)
def test_release_is_read_off_any_version(release: tuple[int, int, int], suffix: str) -> None:
    """Whatever pip's versions carry behind it; missing numbers are zeros."""
    text = ".".join(map(str, release))
    assert release_of(text + suffix) == release
    assert release_of(f"{release[0]}.{release[1]}") == (*release[:2], 0)


@pytest.mark.parametrize(("wheel", "processor"), REQUIRES)
def test_commands_meet_what_the_wheel_requires(
    monkeypatch: pytest.MonkeyPatch, wheel: str, processor: str
) -> None:
    """`torch==X` is met by X and X+cpu, `torch==X+cpu` by that build alone (PEP 440)."""
    monkeypatch.setattr("platform.machine", lambda: processor)
    said = install_commands(f"{wheel}+git0a1b2c3")
    torch, npu = re.findall(r"pip install '([^']+)'", said)
    wanted = re.sub(r"[() ]|\.\*$", "", REQUIRES[wheel, processor])

    assert torch in (wanted, f"{wanted}+cpu")
    assert npu == f"torch_npu=={wheel}"
    # of the usual index x86_64 gets a CUDA build, and from 2.12 on aarch64, too
    assert said.index("--index-url") < said.index("torch_npu")
