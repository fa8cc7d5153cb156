"""The packages of the NPU path: what Huawei lists, which pairs belong together, which builds.

Seen with onnxruntime-cann 1.24.4 for x86_64: under Python 3.13 it does not import beside NumPy 2.5
("A module that was compiled using NumPy 1.x cannot be run"), and no NumPy 1 has a wheel for it.
"""

from __future__ import annotations

import re
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.markers import Marker

from runtime.machine.npu_packages import (
    MODULES,
    NEEDED,
    beside_numpy_2,
    install_command,
    install_pair,
    list_for,
    pinned,
    pip_name,
    release_of,
)

PINNED = "'numpy<2'"
# Table 1 of "Runtime Dependencies" (instg_0045) of CANN 9.1.0, in its order, as pip calls them; so,
# but for "cython", Ascend/pytorch 7.
HUAWEIS = [
    *("numpy", "decorator", "sympy", "cffi", "attrs", "cython", "pyyaml", "pathlib2", "protobuf"),
    *("scipy", "requests", "psutil", "absl-py"),
]


@pytest.mark.parametrize(
    ("python", "release", "numpy"),
    [
        ((3, 10), "7.0.0", PINNED),
        ((3, 11, 4), "8.0.0", PINNED),
        ((3, 12, 9), "8.5.0", PINNED),
        ((3, 12), "9.0.0-beta.1", PINNED),
        ((3, 12), "", PINNED),
        # no NumPy 1 exists there: pip would compile it, and fail
        ((3, 13), "8.0.0", "numpy"),
        ((3, 13, 0), "8.5.0", "numpy"),
        ((3, 14, 1), "", "numpy"),
        # allowed by Huawei's lists
        ((3, 10), "9.0.0", "numpy"),
        ((3, 11, 9), "9.1.0", "numpy"),
        ((3, 8), "10.0.RC1", "numpy"),
        (None, "9.0.0", "numpy"),
    ],
)
def test_numpy_is_pinned_where_the_release_needs_it_and_the_python_has_it(
    python: tuple[int, ...] | None, release: str, numpy: str
) -> None:
    assert pinned(python, release) == numpy


@pytest.mark.parametrize("release", ["", "8.0.0", "8.5.0"])
def test_for_an_unknown_python_pip_itself_decides(release: str) -> None:
    """By a marker of PEP 508, as the packaging library reads it."""
    requirement = pinned(None, release).strip("'")
    name, _, marker = requirement.partition(";")

    assert name == "numpy<2"
    for version, applies in (("3.7", True), ("3.12", True), ("3.13", False), ("3.14", False)):
        assert Marker(marker).evaluate({"python_version": version}) == applies


def test_a_shell_reads_the_command_as_one_line_of_arguments(tmp_path: Path) -> None:
    """Neither < nor " is left to the shell."""
    pip = tmp_path / "pip"
    pip.write_text('#!/bin/sh\nfor one; do echo "$one"; done\n')
    pip.chmod(0o755)
    command = install_command(None, "8.2.RC1", "absl-py", str(pip_name("pkg_resources")))
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        env={"PATH": f"{tmp_path}:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )

    numpy = 'numpy<2;python_version<"3.13"'
    assert done.stdout.splitlines() == ["install", numpy, *HUAWEIS[1:], "setuptools<82"]


def test_the_command_installs_what_huawei_lists() -> None:
    """Each once, under pip's name."""
    command = install_command((3, 11), "9.1.0", "numpy", "scipy").split()

    assert command == ["pip", "install", *HUAWEIS]
    assert [pip_name(one) for one in MODULES] == HUAWEIS
    assert set(MODULES) > NEEDED


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("google.protobuf", "protobuf"),
        ("google.protobuf.internal.builder", "protobuf"),
        ("google", "protobuf"),
        ("google.cloud", None),
        ("yaml", "pyyaml"),
        ("absl.logging", "absl-py"),
        ("pkg_resources", "'setuptools<82'"),
        ("attr", "attrs"),
        ("attrs", "attrs"),
        ("_cffi_backend", "cffi"),
        ("cv2", "opencv-python"),
        ("scipy.sparse.linalg", "scipy"),
        ("torch_npu._C", None),
        ("frobnicate", None),
        ("", None),
    ],
)
def test_an_imports_name_becomes_pips(module: str, name: str | None) -> None:
    """By one table: on an index the name of a module may be anybody's package."""
    assert pip_name(module) == name


@pytest.mark.parametrize(
    ("release", "since"),
    [
        ("6.2.RC2", (0, 0, 0)),
        # previews and candidates come before what they lead to
        ("8.0.RC2", (0, 0, 0)),
        ("8.0.0", (8, 0, 0)),
        ("8.1.RC1", (8, 0, 0)),
        ("8.5.0.alpha001", (8, 0, 0)),
        ("8.5.0", (8, 5, 0)),
        ("9.0.0-beta.1", (8, 5, 0)),
        ("9.0.1", (9, 0, 0)),
        ("9.1.T9", (9, 0, 0)),
        ("11", (9, 1, 0)),
    ],
)
def test_a_release_has_the_list_of_its_span(release: str, since: tuple[int, int, int]) -> None:
    listed = list_for(release)

    assert listed is not None
    assert listed.since == since


@pytest.mark.parametrize("release", ["", "(unknown)", "V100R001"])
def test_what_is_no_release_has_no_list(release: str) -> None:
    assert list_for(release) is None


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
    said = install_pair(f"{wheel}+git0a1b2c3")
    torch, npu = re.findall(r"pip install '([^']+)'", said)
    wanted = re.sub(r"[() ]|\.\*$", "", REQUIRES[wheel, processor])

    assert torch in (wanted, f"{wanted}+cpu")
    assert npu == f"torch_npu=={wheel}"
    # of the usual index x86_64 gets a CUDA build, and from 2.12 on aarch64, too
    assert said.index("--index-url") < said.index("torch_npu")


def installed(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    def version(name: str) -> str:
        if name.replace("-", "_") not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name.replace("-", "_")]

    monkeypatch.setattr(metadata, "version", version)


@pytest.mark.parametrize(
    ("python", "mend"),
    [((3, 11, 7), "pip install 'numpy<2'"), ((3, 13, 0), "Python 3.11 or 3.12")],
)
def test_numpy_2_beside_it_is_mended_as_the_python_allows(
    monkeypatch: pytest.MonkeyPatch, python: tuple[int, ...], mend: str
) -> None:
    """Where pip finds no NumPy 1, another Python is the only way."""
    installed(monkeypatch, onnxruntime_cann="1.24.4", numpy="2.5.5")
    monkeypatch.setattr("runtime.machine.npu_packages.sys.version_info", python)
    found = beside_numpy_2()

    assert found is not None
    assert (found.version, found.numpy) == ("1.24.4", "2.5.5")
    assert mend in found.mend
    assert ("pip" in found.mend) == (python < (3, 13))


def test_numpy_1_or_another_build_is_no_fault_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, onnxruntime_cann="1.22.1", numpy="1.26.4")
    assert beside_numpy_2() is None
    installed(monkeypatch, onnxruntime="1.25.0", numpy="2.1.0")
    assert beside_numpy_2() is None
    installed(monkeypatch, onnxruntime_cann="1.22.1")
    assert beside_numpy_2() is None
