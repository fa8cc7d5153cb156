"""onnxruntime-cann: what its wheels need and do not declare.

Seen with onnxruntime-cann 1.24.4 for x86_64: under Python 3.13 it does not import beside NumPy 2.5
("A module that was compiled using NumPy 1.x cannot be run"), and no NumPy 1 has a wheel for it.
"""

from __future__ import annotations

from importlib import metadata

import pytest

from runtime.machine.ort_cann_build import beside_numpy_2, missing_in


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
    monkeypatch.setattr("runtime.machine.ort_cann_build.sys.version_info", python)
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


def test_onnxruntimes_own_part_is_not_missing() -> None:
    """The loader's last word, where everything else was found."""
    assert missing_in("lib.so: undefined symbol: Provider_GetHost") == ""
    assert missing_in("libascendcl.so: cannot open shared object file") != ""
    assert missing_in("") == ""
