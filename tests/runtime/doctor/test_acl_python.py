"""Which Python the kit's installer tries first, by the CANN that is there."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from doctor_machines import installation

from runtime.doctor import acl_python

ALL = ("3.10", "3.11", "3.12", "3.13", "3.14")


@pytest.mark.parametrize(
    ("release", "order"),
    [
        # from the installation guides of these releases: 3.7 to 3.10; to 3.11.4; to 3.13; to 3.14
        ("8.0.RC2", "3.10 3.11 3.12 3.13 3.14"),
        ("8.0.0", "3.11 3.10 3.12 3.13 3.14"),
        ("8.3.RC1", "3.11 3.10 3.12 3.13 3.14"),
        ("8.5.0", "3.13 3.12 3.11 3.10 3.14"),
        ("9.0.0", "3.13 3.12 3.11 3.10 3.14"),
        ("9.1.0", "3.14 3.13 3.12 3.11 3.10"),
        ("", "3.11 3.10 3.12 3.13 3.14"),
    ],
)
def test_listed_pythons_come_first_and_the_newest_of_them_before_all(
    release: str, order: str
) -> None:
    """In whatever order the installer found them; none is left out."""
    for given in itertools.islice(itertools.permutations(ALL), 0, None, 7):
        assert acl_python.in_order(given, release) == order.split()


def test_cann_its_script_and_the_order_are_three_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For a shell to read."""
    root = installation(tmp_path, "8.5.0")
    assert acl_python.main(["3.11", "3.13"], [tmp_path / "Ascend"], {}) == 0
    assert capsys.readouterr().out == (
        f"cann=CANN 8.5.0 in {root}\nscript={root}/set_env.sh\norder=3.13 3.11\n"
    )
    acl_python.main(["3.11"], [tmp_path / "none"], {})
    assert capsys.readouterr().out == "cann=\nscript=\norder=3.11\n"
