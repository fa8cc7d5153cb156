"""What the box's engineer sees: the two notes, and the installer run for real on empty wheels."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from kits import empty_bundle, wheels_folder

from export import kit
from export.own_wheel import wheel_name
from export.wheelhouse import ARCHES, PYTHONS

HERE_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
HERE_ARCH = platform.machine()
A_PAGE = 55

real_ascend = pytest.mark.skipif(
    Path("/usr/local/Ascend").exists(), reason="this machine has CANN itself"
)
installs = pytest.mark.skipif(
    HERE_PYTHON not in PYTHONS or HERE_ARCH not in ARCHES, reason="a kit cannot be for this machine"
)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kit for this machine in which every package but ours is empty."""
    return kit_for(tmp_path_factory.mktemp("packed"), [HERE_PYTHON])


@pytest.fixture(scope="module")
def packed_for_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for every Python."""
    return kit_for(tmp_path_factory.mktemp("packed"), list(PYTHONS))


def kit_for(folder: Path, pythons: list[str]) -> Path:
    wheels = folder / "wheels"
    for python in pythons:
        wheels_folder(wheels, python=python, arch=HERE_ARCH)
    command = [str(empty_bundle(folder / "b")), "--output", str(folder / "kit.tar")]
    box = ["--arch", HERE_ARCH, "--wheels", str(wheels), "--python", *pythons]
    assert kit.main([*command, *box]) == 0
    return folder / "kit.tar"


@pytest.fixture
def unpacked(packed: Path, tmp_path: Path) -> Path:
    """The kit as it lies on the box, in a folder with a space in its name."""
    return unpack(packed, tmp_path)


def unpack(packed: Path, folder: Path) -> Path:
    place = folder / "a box"
    place.mkdir()
    subprocess.run(["tar", "-xf", packed], cwd=place, check=True)
    return place / "tiny-kit"


def install(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the installer from elsewhere, as on a box: no settings but these."""
    return subprocess.run(
        ["bash", folder / "install.sh"],
        cwd="/",
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


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
        assert len(text.splitlines()) <= (4 if name == "install.sh" else 2) * A_PAGE
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


@installs
def test_a_python_without_ensurepip_installs_with_its_own_pip(
    unpacked: Path, tmp_path: Path
) -> None:
    """As on Debian without python3-venv, from where no network can help."""
    python = tmp_path / "python3"
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *"-m venv venv") exit 1 ;; esac\nexec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)

    done = install(unpacked, PYTHON=str(python))

    assert done.returncode == 0, done.stderr
    assert not (unpacked / "venv/bin/pip").exists()


@installs
def test_a_python_with_no_pip_at_all_is_a_missing_tool(unpacked: Path, tmp_path: Path) -> None:
    """And no half-made environment stays behind."""
    python = tmp_path / "python3"
    python.write_text(
        '#!/bin/sh\ncase "$*" in *"-m venv venv"|*"-m pip"*) exit 1 ;; esac\n'
        f'exec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)

    done = install(unpacked, PYTHON=str(python))

    assert done.returncode == 3
    assert "expected a Python with venv and with ensurepip or pip" in done.stderr
    assert not (unpacked / "venv").exists()


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
    with (unpacked / f"wheels/{wheel_name()}").open("ab") as file:
        file.write(b"x")

    done = install(unpacked, PYTHON=sys.executable)

    assert done.returncode == 2
    assert f"wheels/{wheel_name()}: FAILED" in done.stderr
    assert "Copy the kit again" in done.stderr
    assert not (unpacked / "venv").exists()


@installs
def test_a_folder_in_pythonpath_that_hides_a_package_is_named(
    unpacked: Path, tmp_path: Path
) -> None:
    """PYTHONPATH, which CANN's set_env.sh fills, comes before what was installed."""
    (tmp_path / "old/runtime").mkdir(parents=True)
    (tmp_path / "old/runtime/__init__.py").touch()

    done = install(unpacked, PYTHON=sys.executable, PYTHONPATH=str(tmp_path / "old"))

    assert done.returncode == 4
    assert f"error: runtime: expected the one in {unpacked}/venv, got {tmp_path}" in done.stderr
    assert "out of PYTHONPATH" in done.stderr


@installs
def test_a_folder_of_somebody_elses_is_not_deleted(unpacked: Path) -> None:
    """The installer removes only an environment."""
    (unpacked / "venv").mkdir()
    (unpacked / "venv/notes.txt").write_text("mine")

    done = install(unpacked, PYTHON=sys.executable)

    assert done.returncode == 2
    assert "Move it away" in done.stderr
    assert (unpacked / "venv/notes.txt").read_text() == "mine"


# A Python of another version: its environments are this one's, with a mark inside.
OTHER_PYTHON = """#!/bin/sh
case "$*" in
*"sys.version_info[:2], platform"*) echo {version} {arch} ;;
*"-m venv venv"*) cp -a "{template}" venv && echo {version} > venv/made_by ;;
*) exec "{python}" "$@" ;;
esac
"""
# CANN's pyACL, one file for every Python, which works in some of them.
ACL = """
import pathlib, sys
made_by = pathlib.Path(sys.prefix, "made_by").read_text().strip()
if made_by not in {works!r}:
    raise ImportError(f"acl.so: undefined symbol: _Py{{made_by}}")
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment to copy: making one takes ten times as long."""
    folder = tmp_path_factory.mktemp("template") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=300)
    return folder


def box_with(
    folder: Path, template: Path, *pythons: str, release: str = "", works: str = ""
) -> dict[str, str]:
    """Pythons on PATH, and CANN of this release whose pyACL works in some; the environment."""
    (folder / "bin").mkdir()
    for name in ("python3", "python", *(f"python{version}" for version in PYTHONS)):
        version = name.removeprefix("python")
        text = "#!/bin/sh\nexit 127\n"  # a shim without a Python, before the system's own
        if version in pythons:
            text = OTHER_PYTHON.format(
                version=version, arch=HERE_ARCH, python=sys.executable, template=template
            )
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    if release:
        root = folder / "Ascend/cann"
        info = root / f"{HERE_ARCH}-linux/ascend_toolkit_install.info"
        for one in (info.parent, root / "opp", root / "python/site-packages"):
            one.mkdir(parents=True)
        info.write_text(f"package_name=Ascend-cann-toolkit\nversion={release}\n")
        (root / "python/site-packages/acl.py").write_text(ACL.format(works=works.split()))
        (root / "set_env.sh").write_text(
            f"echo sourced; unset_variable=$NOT_SET_BEFORE\nexport ASCEND_HOME_PATH={root}\n"
            f"export PYTHONPATH={root}/python/site-packages:$PYTHONPATH\n"
        )
    return {"PATH": f"{folder}/bin:/usr/bin:/bin", "HOME": str(folder)}


@installs
@real_ascend
@pytest.mark.parametrize(
    ("pythons", "release", "works", "order", "taken"),
    [
        # Huawei lists 3.13 from 8.5.0 on
        ("3.10 3.12 3.13", "8.5.0", "3.10 3.12 3.13", "3.13 3.12 3.10", "3.13"),
        # 3.11 until then; what is newer comes last, and is not refused
        ("3.10 3.12 3.13", "8.2.RC1", "3.10 3.12", "3.10 3.12 3.13", "3.10"),
        ("3.10 3.12 3.13", "8.2.RC1", "3.13", "3.10 3.12 3.13", "3.13"),
        ("3.10 3.11", "8.0.RC2", "3.11", "3.10 3.11", "3.11"),
    ],
)
def test_newest_listed_python_that_imports_pyacl_is_taken(
    packed_for_all: Path,
    template: Path,
    tmp_path: Path,
    pythons: str,
    release: str,
    works: str,
    order: str,
    taken: str,
) -> None:
    """With CANN's settings, which stay in there; each that fails is told with its reason."""
    folder = unpack(packed_for_all, tmp_path)
    environment = box_with(tmp_path, template, *pythons.split(), release=release, works=works)
    done = install(folder, **environment)

    assert done.returncode == 0, done.stderr
    assert f"CANN {release} in {tmp_path}/Ascend/cann. " in done.stdout
    assert f"in the order to try: {order}\n" in done.stdout
    tried = order.partition(taken)[0].split()
    for version in tried:
        said = f"python{version}): import acl fails: ImportError: acl.so: undefined symbol: _Py"
        assert f"{said}{version}\n" in done.stdout
    assert done.stdout.count("import acl fails") == len(tried)
    assert f"Python {taken} (python{taken}): taken, it imports acl" in done.stdout
    assert (folder / "venv/made_by").read_text() == f"{taken}\n"
    assert f"  source {tmp_path}/Ascend/cann/set_env.sh\n" in done.stdout


@installs
@real_ascend
def test_box_whose_pythons_all_fail_is_installed_with_a_warning(
    packed_for_all: Path, template: Path, tmp_path: Path
) -> None:
    """Everything but the NPU works; the first in the order stays."""
    folder = unpack(packed_for_all, tmp_path)
    done = install(folder, **box_with(tmp_path, template, "3.10", "3.13", release="8.5.0"))

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("import acl fails") == 2
    assert "warning: no Python here imports acl, see above; Python 3.13 is taken." in done.stderr
    assert (folder / "venv/made_by").read_text() == "3.13\n"


@installs
@real_ascend
def test_box_without_cann_gets_the_python_that_most_cann_list(
    packed_for_all: Path, template: Path, tmp_path: Path
) -> None:
    """CANN may come after the kit."""
    folder = unpack(packed_for_all, tmp_path)
    done = install(folder, **box_with(tmp_path, template, "3.10", "3.12", "3.11", "3.13"))

    assert done.returncode == 0, done.stderr
    assert "No CANN found. " in done.stdout
    assert "in the order to try: 3.11 3.10 3.12 3.13\n" in done.stdout
    assert "Python 3.11 (python3.11): taken; without CANN pyACL cannot be tried" in done.stdout


@installs
@real_ascend
def test_python_that_is_named_is_the_only_one(
    packed_for_all: Path, template: Path, tmp_path: Path
) -> None:
    """It is tried, too; and settings of CANN that are there already are not sourced again."""
    folder = unpack(packed_for_all, tmp_path)
    environment = box_with(tmp_path, template, "3.10", "3.13", release="8.5.0", works="3.13")
    root = tmp_path / "Ascend/cann"
    environment |= {
        "PYTHON": f"{tmp_path}/bin/python3.10",
        "ASCEND_HOME_PATH": str(root),
        "ASCEND_OPP_PATH": f"{root}/opp",
        "LD_LIBRARY_PATH": f"{root}/lib64",
        "PYTHONPATH": f"{root}/python/site-packages",
    }
    done = install(folder, **environment)

    assert done.returncode == 0, done.stderr
    assert "in the order to try: 3.10\n" in done.stdout
    assert "import acl fails: ImportError: acl.so: undefined symbol: _Py3.10" in done.stdout
    assert "Python 3.10 is taken" in done.stderr
    assert "  source " not in done.stdout


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing_in_the_installer(unpacked: Path) -> None:
    """It runs once, far away, where nobody can mend it."""
    done = subprocess.run(
        ["shellcheck", unpacked / "install.sh"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout
