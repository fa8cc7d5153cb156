"""The modules of CANN's operator compiler, and the NumPy that suits a Python and a release."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from runtime.machine.cann_python import MODULES, NEEDED, install_command, list_for, pinned, pip_name

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
        assert _marker_holds(marker, version) == applies


def _marker_holds(marker: str, python_version: str) -> bool:
    from packaging.markers import Marker

    return Marker(marker).evaluate({"python_version": python_version})


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
