"""CANN on machines made for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from doctor_machines import installation, of, sourced, tool

from runtime.doctor import cann
from runtime.doctor.cann import Cann
from runtime.doctor.findings import Finding

# Form of glibc's loader, as users of atc in containers without a driver have posted it.
NO_DRIVER = (
    "atc.bin: error while loading shared libraries: libascend_hal.so: cannot open shared object"
    " file: No such file or directory"
)

# Forms of the two helps, with options of both: the usage that atc gives to gflags, which puts the
# program's name before it and an empty list of modules behind it (mindspore-ai/graphengine r1.8,
# ge/offline/main.cc:230; gflags_reporting.cc, ShowUsageWithFlagsMatching), and the one of getopt
# (hicann/ge, api/atc/main_impl.cc, SetUsageMessage).
GFLAGS_HELP = (
    "ATC start working now, please wait for a moment.\n"
    "atc.bin: usage: ./atc <args>\nexample:\n./atc --model=./a.prototxt --framework=0\n"
    "\n===== Basic Functionality =====\n[General]\n"
    "  --h/help            Show this help message\n"
    "\n[Input]\n  --model             Model file\n  --weight            Weight file.\n"
    "\n  No modules matched: use -help\n"
)
GETOPT_HELP = (
    "ATC start working now, please wait for a moment.\nusage: atc.bin <args>\ngenerate offline"
    " model example:\natc --model=./b.onnx --framework=5 --output=./c\n"
    "\n===== Basic Functionality =====\n[General]\n"
    "  --h/help            Show this help message\n"
    "\n[Input]\n  --model             Model file\n  --om                The model file\n"
)


def found_in(folder: Path, environment: Mapping[str, str] = {}) -> Cann:
    found = cann.find([folder / "Ascend"], environment)
    assert found is not None
    return found


def about(
    what: str,
    folder: Path,
    environment: Mapping[str, str] = {},
    families: Sequence[str] = (),
    *,
    acl_opens: bool = False,
) -> Finding:
    """The doctor's line about a part of the CANN below a folder, or on its absence."""
    places = [folder / "Ascend"]
    installed = cann.find(places, environment)
    lines = cann.examine(installed, places, environment, families, acl_opens=acl_opens)
    return of(lines, what)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose bin/ is first on PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    return tmp_path


def test_cann_is_found_by_environment_before_the_usual_places(tmp_path: Path) -> None:
    """With its version, from its own file."""
    usual = installation(tmp_path / "usual", "8.3.RC1")
    named = installation(tmp_path / "named", "9.1.0")
    by_place = found_in(tmp_path / "usual")
    by_name = found_in(tmp_path / "usual", {"ASCEND_HOME_PATH": str(named)})

    assert (by_place.root, by_place.version) == (usual, "8.3.RC1")
    assert (by_name.root, by_name.version) == (named, "9.1.0")


def test_the_older_layout_of_cann(tmp_path: Path) -> None:
    """Below ascend-toolkit/latest, with the script one folder up and the version inside."""
    root = tmp_path / "Ascend/ascend-toolkit/latest"
    (root / "opp").mkdir(parents=True)
    (root / "version.cfg").write_text("opp_running_version=[7.1.0.9.311:7.0.0]\n")
    (root.parent / "set_env.sh").write_text("")
    found = found_in(tmp_path)

    assert (found.version, found.set_env) == ("7.0.0", root.parent / "set_env.sh")


def test_of_several_releases_side_by_side_the_newest_counts(tmp_path: Path) -> None:
    for release in ("8.5.0", "9.1.0", "9.0.0"):
        (tmp_path / "Ascend" / f"cann-{release}" / "opp").mkdir(parents=True)

    assert found_in(tmp_path).root.name == "cann-9.1.0"


def test_the_release_decides_pairs_and_both_numbers_are_shown(tmp_path: Path) -> None:
    """An internal number is never asked about in a table of releases."""
    root = installation(tmp_path)
    for info in root.glob("*-linux/*"):
        info.unlink()
    (root / "compiler").mkdir()
    (root / "compiler/version.info").write_text("Version=8.3.0.9.200\n")
    unknown = f"of unknown release (internal number 8.3.0.9.200) in {root}"
    assert found_in(tmp_path).version == ""
    assert about("CANN", tmp_path).found == unknown
    (root / "version.cfg").write_text("toolkit_running_version=[8.3.0.9.200:8.3.RC1]\n")
    line = about("CANN", tmp_path)

    assert found_in(tmp_path).version == "8.3.RC1"
    assert line.found == f"8.3.RC1 (internal number 8.3.0.9.200) in {root}"
    assert line.level == "ok"


def test_packages_of_different_releases_are_warned_of(tmp_path: Path) -> None:
    """They load, and fail in the middle with missing symbols."""
    root = installation(tmp_path, "8.5.0")
    (root / "x86_64-linux/ascend_ops_install.info").write_text("version=8.5.2\n")
    found = about("CANN", tmp_path)

    assert (found.level, found.works) == ("warning", True)
    assert "packages of other versions: ops 8.5.2" in found.found


@pytest.mark.parametrize(
    ("unset", "level"),
    [
        ((), "ok"),
        (("LD_LIBRARY_PATH",), "problem"),
        (("PYTHONPATH",), "problem"),
        # the runtime finds these two by itself, or does without
        (("ASCEND_HOME_PATH", "ASCEND_OPP_PATH"), "warning"),
    ],
)
def test_an_environment_that_is_not_set_is_told_part_by_part(
    tmp_path: Path, unset: tuple[str, ...], level: str
) -> None:
    """And the script that sets it; an ACL that opens proves that others found it."""
    root = installation(tmp_path)
    environment = {name: value for name, value in sourced(root).items() if name not in unset}
    found = about("CANN environment", tmp_path, environment)
    opens = about("CANN environment", tmp_path, environment, acl_opens=True)

    assert (found.level, found.works) == (level, level != "problem")
    assert found.mend == (f"source {root}/set_env.sh" if unset else "")
    assert found.found.endswith(f": {', '.join(unset)}" if unset else "sourced")
    assert (opens.works, opens.npu_lacks) == (True, "")


def test_the_runtime_packages_older_layout_is_set_as_its_dockerfiles_do(tmp_path: Path) -> None:
    """Form of public Dockerfiles for nnrt of CANN 20.x and 5.x: acllib and pyACL folders."""
    root = tmp_path / "Ascend/nnrt/latest"
    for part in ("acllib/lib64", "pyACL/python/site-packages/acl", "opp", "lib64"):
        (root / part).mkdir(parents=True)
    given = {
        "ASCEND_OPP_PATH": f"{root}/opp",
        "LD_LIBRARY_PATH": f"/usr/lib:{root}/acllib/lib64",
        "PYTHONPATH": f"{root}/pyACL/python/site-packages/acl:",
    }
    found = about("CANN environment", tmp_path, given)

    assert (found.level, found.npu_lacks) == ("warning", "")
    assert found.found.endswith(": ASCEND_HOME_PATH")


def test_a_variable_that_names_no_cann_is_a_problem(tmp_path: Path) -> None:
    """A machine without CANN is none; one that claims to have it is."""
    absent = about("CANN", tmp_path)
    gone = about("CANN", tmp_path, {"ASCEND_HOME_PATH": str(tmp_path / "gone")})

    assert absent.level == "warning"
    assert "ASCEND_HOME_PATH is not set" in absent.found
    assert gone.level == "problem"
    assert f"ASCEND_HOME_PATH={tmp_path}/gone" in gone.found


def test_the_operators_of_the_chip_must_be_installed(tmp_path: Path) -> None:
    """Since 8.5 they are a package of their own for each family of chips."""
    root = installation(tmp_path)
    (root / "bin/atc").touch()
    whole = about("CANN operators", tmp_path, families=["Ascend910B"])
    other = about("CANN operators", tmp_path, families=["Ascend310P"])
    shutil.rmtree(root / "opp/built-in")

    assert (whole.level, whole.found) == ("ok", "for ascend910b")
    assert other.level == "problem"
    assert "none for Ascend310P" in other.found
    assert about("CANN operators", tmp_path).npu_lacks == "CANN's ops package"


def test_a_package_that_only_runs_models_has_no_problem_with_converting(path: Path) -> None:
    """Neither operators nor atc's modules are needed where there is no atc."""
    root = installation(path)
    tool(path, "python3", "echo '@ python 3 10 12'; echo '@ lacks scipy'")
    lines = ("CANN operators", "atc's Python")
    runs_only = [about(line, path, families=["Ascend310P"]).level for line in lines]
    (root / "bin/atc").touch()

    assert runs_only == ["warning", "warning"]
    assert [about(line, path, families=["Ascend310P"]).level for line in lines] == ["problem"] * 2


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo 'libascend.so: no such file'; exit 127", "exit 127, without help: libascend.so"),
        (f"echo '{NO_DRIVER}'; exit 127", "libascend_hal.so"),
        ("exec /bin/nowhere", "exit 127"),
        ("exit 126", "exit 126"),
    ],
)
def test_atc_must_start_and_not_only_be_there(path: Path, script: str, says: str) -> None:
    """What the loader or a shell cannot start converts nothing."""
    tool(path, "atc", script)
    found = about("atc", path)

    assert (found.level, found.npu_lacks) == ("problem", "an atc that runs")
    assert says in found.found
    assert ("/devlib" in found.mend) == (says == "libascend_hal.so")


@pytest.mark.parametrize("status", [0, 1, 255])
def test_the_help_proves_an_atc_whatever_its_exit_status(path: Path, status: int) -> None:
    """1 until 2022: gflags ends so behind its help."""
    (path / "help").write_text(GFLAGS_HELP if status else GETOPT_HELP)
    tool(path, "atc", f'cat "{path}/help"; exit {status}')

    assert about("atc", path).level == "ok"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "says"),
    [("exit 3", "exit 3"), ("echo 'usage: something else'", "exit 0"), ("sleep 600", "no end")],
)
def test_an_atc_that_starts_without_help_is_only_doubted(
    path: Path, monkeypatch: pytest.MonkeyPatch, script: str, says: str
) -> None:
    """A slow disk, or a release of another form: a conversion will show it."""
    tool(path, "atc", script)
    monkeypatch.setattr(cann, "ATC_TIMEOUT_S", 2.0 if says == "no end" else 300.0)
    found = about("atc", path)

    assert (found.level, found.works, found.npu_lacks) == ("warning", True, "")
    assert says in found.found


def test_atc_off_the_path_is_a_matter_of_the_script(path: Path) -> None:
    """Installed, and not found: set_env.sh was not sourced."""
    root = installation(path)
    (root / "bin/atc").touch()
    found = about("atc", path)

    assert found.level == "problem"
    assert f"though in {root}/bin" in found.found
    assert found.mend == f"source {root}/set_env.sh"


def test_a_closed_folder_of_an_installation_and_a_closed_installation(
    path: Path, lock: Callable[[Path], None]
) -> None:
    """The script and atc may be in it: they are not found; a variable may name root's home."""
    root = installation(path)
    (root / "set_env.sh").unlink()
    (root / "bin/atc").touch()
    lock(root / "bin")
    atc = about("atc", path)

    assert (found_in(path).set_env, found_in(path).converts) == (None, False)
    assert (atc.level, atc.found) == ("warning", "not on PATH")
    lock(path / "Ascend")
    assert cann.find([], {"ASCEND_HOME_PATH": str(root)}) is None
