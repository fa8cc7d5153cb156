"""What the box's engineer sees: the two notes, and the installer run for real on empty wheels."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from kits import HERE_ARCH, HERE_PYTHON, empty_wheel, install, installs, kit_for, unpack

from export.kit.wheelhouse import OWN_WHEEL
from runtime.backends.ascend.codes import CODES

A_PAGE = 55


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kit for this machine in which every package but ours is empty."""
    return kit_for(tmp_path_factory.mktemp("packed"), [HERE_PYTHON])


@pytest.fixture
def unpacked(packed: Path, tmp_path: Path) -> Path:
    """The kit as it lies on the box, in a folder with a space in its name."""
    return unpack(packed, tmp_path)


def notes_of(packed: Path) -> dict[str, str]:
    with tarfile.open(packed) as archive:
        found = {}
        for name in ("README.md", "README.zh-CN.md", "install.sh"):
            member = archive.extractfile(f"tiny-kit/{name}")
            assert member is not None
            found[name] = member.read().decode()
    return found


def test_both_notes_have_the_same_commands_codes_and_rows(packed: Path) -> None:
    """English and Chinese: the same blocks in the same order, and the same table of failures."""
    notes = notes_of(packed)
    english, chinese = notes["README.md"], notes["README.zh-CN.md"]
    blocks = re.compile(r"```(?:bash|python)\n.*?```", re.DOTALL)

    assert len(blocks.findall(english)) == 5
    assert blocks.findall(english) == blocks.findall(chinese)
    words, same_words = (
        sorted(re.findall(r"`[^`\n]+`", blocks.sub("", text))) for text in (english, chinese)
    )
    assert words == same_words
    for code in r"\b\d{6}\b", r"\bEE?\d{4,5}\b", r"(?m)^## \d", r"(?m)^\|":
        assert re.findall(code, english) == re.findall(code, chinese)


def test_the_notes_are_filled_in_and_two_pages_long(packed: Path) -> None:
    """Nothing is left open, and nobody has to scroll for ever."""
    for name, text in notes_of(packed).items():
        assert not re.findall(r"@[A-Z]+@", text), name
        assert len(text.splitlines()) <= (5 if name == "install.sh" else 2) * A_PAGE
    note = notes_of(packed)["README.md"]
    assert "`model_bs1_Ascend910B3.om` (Ascend910B3)" in note
    assert f"| Python on the box | {HERE_PYTHON} |" in note
    assert "python -m parity.selftest bundle/tiny --device npu:0 --output box.npz" in note


def test_every_failure_that_ascend_boxes_are_known_for_is_in_the_note(packed: Path) -> None:
    """Each in a row of its own with what to do; a code alone helps nobody."""
    rows = [line for line in notes_of(packed)["README.md"].splitlines() if line.startswith("| ")]
    for known in (
        *("507008", "107002", "507033", "145006", "100039", "207018", "507009", "E19999"),
        *("libascendcl.so", "No module named 'acl'", "pip check"),
    ):
        (row,) = (row for row in rows if known in row)
        assert len([cell for cell in row.split("|") if cell.strip()]) == 3


def test_the_note_lists_the_codes_after_which_a_detector_is_closed(packed: Path) -> None:
    """Those of the table that the detector itself goes by, and no other."""
    lost = {number for number, code in CODES.items() if code.loses_device}
    for name, to in (("README.md", " to "), ("README.zh-CN.md", " 至 ")):
        rows = [line for line in notes_of(packed)[name].splitlines() if line.startswith("| ")]
        listed: set[int] = set()
        for row in rows:
            for first, last in re.findall(rf"\b(\d{{6}})(?:{to}(\d{{6}}))?", row.split("|")[1]):
                numbers = set(range(int(first), int(last or first) + 1))
                assert not listed & numbers, "a code has one row"
                listed |= numbers
        assert lost <= listed
        (row,) = (row for row in rows if row.startswith("| 107022"))
        for first, last in re.findall(rf"(\d{{6}})(?:{to}(\d{{6}}))?", row):
            assert set(range(int(first), int(last or first) + 1)) <= lost, first


@pytest.mark.slow
@installs
def test_the_kit_installs_without_network_and_says_what_comes_next(unpacked: Path) -> None:
    """From any folder, into one of its own; a second time, too."""
    for _ in range(2):
        done = install(unpacked, PIP_INDEX_URL="http://127.0.0.1:9/", PYTHON=sys.executable)

        assert done.returncode == 0, done.stderr
    assert "python -m parity.selftest bundle/tiny --device npu:0 --output box.npz" in done.stdout
    python = unpacked / "venv/bin/python"
    code = "import numpy, cv2, msgspec, runtime, parity; print(runtime.__file__)"
    seen = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert Path(seen.stdout.strip()).is_relative_to(unpacked / "venv")


@pytest.mark.slow
@installs
@pytest.mark.parametrize("own_pip", [True, False])
def test_a_python_without_ensurepip_installs_with_its_own_pip(
    unpacked: Path, tmp_path: Path, *, own_pip: bool
) -> None:
    """As on Debian without python3-venv; without a pip it is a missing tool, and nothing stays."""
    fails = '*"--prompt venv .venvs"*)' if own_pip else '*"--prompt venv .venvs"*|*"-m pip"*)'
    python = tmp_path / "python3"
    python.write_text(
        f'#!/bin/sh\ncase "$*" in {fails} exit 1 ;; esac\nexec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)

    done = install(unpacked, PYTHON=str(python))

    assert done.returncode == (0 if own_pip else 3), done.stderr
    assert not (unpacked / "venv/bin/pip").exists()
    if not own_pip:
        assert "expected a Python with venv and with ensurepip or pip" in done.stderr
        assert not list(unpacked.glob("*venv*"))


@pytest.mark.parametrize("said", ["3.8 aarch64", "3.14 x86_64", "3.11 armv7l", ""])
def test_another_python_or_processor_is_refused(unpacked: Path, tmp_path: Path, said: str) -> None:
    """Before anything is written, with the command that makes the right kit."""
    python = tmp_path / "python3"
    python.write_text(f"#!/bin/sh\n[ -n '{said}' ] && echo '{said}'\n")
    python.chmod(0o755)

    done = install(unpacked, PYTHON=str(python))

    assert done.returncode == 3
    assert f"expected Python {HERE_PYTHON} on {HERE_ARCH}, got {said or 'none'}." in done.stderr
    assert f"python -m export.kit --python VERSION --arch {os.uname().machine}" in done.stderr
    assert not (unpacked / "venv").exists()


def test_a_damaged_kit_installs_nothing(unpacked: Path) -> None:
    """The file is named, and what to do."""
    with (unpacked / f"wheels/{OWN_WHEEL}").open("ab") as file:
        file.write(b"x")

    done = install(unpacked, PYTHON=sys.executable)

    assert done.returncode == 2
    assert f"wheels/{OWN_WHEEL}: FAILED" in done.stderr
    assert "Copy the kit again" in done.stderr
    assert not (unpacked / "venv").exists()


def test_a_file_that_is_not_listed_is_refused(unpacked: Path) -> None:
    """Checksums do not see a wheel more: of an older kit in the same folder, or somebody else's."""
    name, content = empty_wheel("starmark", "9.9.9", "py3-none-any", ["runtime"])
    (unpacked / "wheels" / name).write_bytes(content)

    done = install(unpacked, PYTHON=sys.executable)

    assert done.returncode == 2
    assert f"error: wheels/{name}: expected only files that SHA256SUMS lists" in done.stderr
    assert not list(unpacked.glob("*venv*"))


@pytest.mark.slow
@installs
def test_a_pip_conf_of_the_box_does_not_matter(unpacked: Path, tmp_path: Path) -> None:
    """Constraints without hashes, another target, an index: pip would go by each of them."""
    (tmp_path / "c.txt").write_text("numpy==1.0\n")
    (tmp_path / "pip").mkdir()
    conf = f"[global]\nconstraint = {tmp_path}/c.txt\n[install]\ntarget = {tmp_path}/else\n"
    (tmp_path / "pip/pip.conf").write_text(conf)

    done = install(unpacked, PYTHON=sys.executable, XDG_CONFIG_DIRS=str(tmp_path))

    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "else").exists()


@pytest.mark.slow
@installs
def test_a_folder_in_pythonpath_that_hides_a_package_is_named(
    unpacked: Path, tmp_path: Path
) -> None:
    """PYTHONPATH, which CANN's set_env.sh fills, comes before what was installed."""
    (tmp_path / "old/runtime").mkdir(parents=True)
    (tmp_path / "old/runtime/__init__.py").touch()

    done = install(unpacked, PYTHON=sys.executable, PYTHONPATH=str(tmp_path / "old"))

    assert done.returncode == 4
    assert f"error: runtime: expected the one in {unpacked}/.venvs/" in done.stderr
    assert f", got {tmp_path}/old/runtime/__init__.py. Take that folder out of" in done.stderr
    assert not list(unpacked.glob("*venv*"))


@installs
def test_a_folder_of_somebody_elses_is_not_deleted(unpacked: Path) -> None:
    """The installer removes only an environment."""
    (unpacked / "venv").mkdir()
    (unpacked / "venv/notes.txt").write_text("mine")

    done = install(unpacked, PYTHON=sys.executable)

    assert done.returncode == 2
    assert "Move it away" in done.stderr
    assert (unpacked / "venv/notes.txt").read_text() == "mine"


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing_in_the_installer(unpacked: Path) -> None:
    """It runs once, far away, where nobody can mend it."""
    done = subprocess.run(
        ["shellcheck", unpacked / "install.sh"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout
