"""CANN on machines made for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cann.plugin import Cann
from doctor_machines import installation, of, sourced, tool

from runtime.doctor import cann
from runtime.doctor.cann import examine
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


def test_cann_is_found_by_environment_before_the_usual_places(tmp_path: Path) -> None:
    """With its version, from its own file."""
    usual = installation(tmp_path / "usual", "8.3.RC1")
    named = installation(tmp_path / "named", "9.1.0")
    by_place = cann.find([tmp_path / "usual/Ascend"], {})
    by_name = cann.find([tmp_path / "usual/Ascend"], {"ASCEND_HOME_PATH": str(named)})

    assert by_place is not None
    assert by_name is not None
    assert (by_place.root, by_place.version) == (usual, "8.3.RC1")
    assert (by_name.root, by_name.version) == (named, "9.1.0")


def test_the_older_layout_of_cann(tmp_path: Path) -> None:
    """Below ascend-toolkit/latest, with the script one folder up and the version inside."""
    root = tmp_path / "ascend-toolkit/latest"
    (root / "opp").mkdir(parents=True)
    (root / "version.cfg").write_text("opp_running_version=[7.1.0.9.311:7.0.0]\n")
    (root.parent / "set_env.sh").write_text("")
    found = cann.find([tmp_path], {})

    assert found is not None
    assert (found.version, found.set_env) == ("7.0.0", root.parent / "set_env.sh")


def test_the_release_decides_pairs_and_both_numbers_are_shown(tmp_path: Path) -> None:
    """An internal number is never asked about in a table of releases."""
    root = installation(tmp_path)
    for info in root.glob("*-linux/*"):
        info.unlink()
    (root / "compiler").mkdir()
    (root / "compiler/version.info").write_text("Version=8.3.0.9.200\n")
    internal = cann.find([tmp_path / "Ascend"], {})
    (root / "version.cfg").write_text("toolkit_running_version=[8.3.0.9.200:8.3.RC1]\n")
    both = cann.find([tmp_path / "Ascend"], {})

    assert internal is not None
    assert both is not None
    assert (internal.version, both.version) == ("", "8.3.RC1")
    line = of(cann.examine(internal, [], {}), "CANN")
    assert line.found == f"of unknown release (internal number 8.3.0.9.200) in {root}"
    line = of(cann.examine(both, [], {}), "CANN")
    assert line.found == f"8.3.RC1 (internal number 8.3.0.9.200) in {root}"
    assert line.level == "ok"


def test_packages_of_different_releases_are_warned_of(tmp_path: Path) -> None:
    """They load, and fail in the middle with missing symbols."""
    root = installation(tmp_path, "8.5.0")
    (root / "x86_64-linux/ascend_ops_install.info").write_text("version=8.5.2\n")
    found = of(cann.examine(cann.find([tmp_path / "Ascend"], {}), [], {}), "CANN")

    assert (found.level, found.works) == ("warning", True)
    assert "packages of other versions: ops 8.5.2" in found.found


def test_an_environment_that_is_not_set_is_told_part_by_part(tmp_path: Path) -> None:
    """And the script that sets it."""
    root = installation(tmp_path)
    places = [tmp_path / "Ascend"]

    def environment(given: dict[str, str]) -> Finding:
        found = cann.examine(cann.find(places, given), places, given)
        return of(found, "CANN environment")

    def without(*names: str) -> dict[str, str]:
        return {name: value for name, value in sourced(root).items() if name not in names}

    half = {name: value for name, value in sourced(root).items() if name != "LD_LIBRARY_PATH"}
    assert environment(sourced(root)).level == "ok"
    assert environment(half).found.endswith(": LD_LIBRARY_PATH")
    assert environment(half).mend == f"source {root}/set_env.sh"
    assert environment({}).level == "problem"
    # the runtime finds these two by itself, or does without
    assert environment(without("ASCEND_OPP_PATH")).level == "warning"
    assert environment(without("ASCEND_HOME_PATH", "ASCEND_OPP_PATH")).works


def test_an_acl_that_opens_proves_the_environment(tmp_path: Path) -> None:
    """Other means than these variables may find libraries and modules."""
    installation(tmp_path)
    places = [tmp_path / "Ascend"]
    opened = cann.examine(cann.find(places, {}), places, {}, acl_opens=True)
    found = of(opened, "CANN environment")

    assert (found.level, found.npu_lacks, found.works) == ("warning", "", True)


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
    places = [tmp_path / "Ascend"]
    found = of(cann.examine(cann.find(places, given), places, given), "CANN environment")

    assert (found.level, found.npu_lacks) == ("warning", "")
    assert found.found.endswith(": ASCEND_HOME_PATH")


def test_a_variable_that_names_no_cann_is_a_problem(tmp_path: Path) -> None:
    """A machine without CANN is none; one that claims to have it is."""
    claimed = {"ASCEND_HOME_PATH": str(tmp_path / "gone")}
    absent = of(cann.examine(None, [tmp_path], {}), "CANN")
    gone = of(cann.examine(None, [tmp_path], claimed), "CANN")

    assert absent.level == "warning"
    assert "ASCEND_HOME_PATH is not set" in absent.found
    assert gone.level == "problem"
    assert f"ASCEND_HOME_PATH={tmp_path}/gone" in gone.found


def test_the_operators_of_the_chip_must_be_installed(tmp_path: Path) -> None:
    """Since 8.5 they are a package of their own for each family of chips."""
    root = installation(tmp_path)
    places = [tmp_path / "Ascend"]

    def operators(*families: str) -> Finding:
        found = cann.examine(cann.find(places, {}), places, {}, families)
        return of(found, "CANN operators")

    (root / "bin/atc").touch()
    assert operators("Ascend910B").level == "ok"
    assert operators().found == "for ascend910b"
    assert operators("Ascend310P").level == "problem"
    assert "none for Ascend310P" in operators("Ascend310P").found
    shutil.rmtree(root / "opp/built-in")
    assert operators().npu_lacks == "CANN's ops package"


def test_a_package_that_only_runs_models_has_no_problem_with_converting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither operators nor atc's modules are needed where there is no atc."""
    root = installation(tmp_path)
    places = [tmp_path / "Ascend"]
    tool(tmp_path, "python3", "echo '@ python 3 10 12'; echo '@ lacks scipy'")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")

    def levels() -> list[str]:
        found = cann.examine(cann.find(places, {}), places, {}, ["Ascend310P"])
        return [of(found, about).level for about in ("CANN operators", "atc's Python")]

    runs_only = levels()
    (root / "bin/atc").touch()

    assert runs_only == ["warning", "warning"]
    assert levels() == ["problem", "problem"]


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo 'libascend.so: no such file'; exit 127", "exit 127, without help: libascend.so"),
        (f"echo '{NO_DRIVER}'; exit 127", "libascend_hal.so"),
        ("exec /bin/nowhere", "exit 127"),
    ],
)
def test_atc_must_start_and_not_only_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, says: str
) -> None:
    """What the loader or a shell cannot start converts nothing."""
    monkeypatch.setenv("PATH", f"{tool(tmp_path, 'atc', script).parent}:/usr/bin:/bin")
    found = of(cann.examine(None, [tmp_path], {}), "atc")

    assert (found.level, found.npu_lacks) == ("problem", "an atc that runs")
    assert says in found.found
    assert ("/devlib" in found.mend) == (says == "libascend_hal.so")


@pytest.mark.parametrize("status", [0, 1, 255])
def test_the_help_proves_an_atc_whatever_its_exit_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """1 until 2022: gflags ends so behind its help."""
    (tmp_path / "help").write_text(GFLAGS_HELP if status else GETOPT_HELP)
    atc = tool(tmp_path, "atc", f'cat "{tmp_path}/help"; exit {status}')
    monkeypatch.setenv("PATH", f"{atc.parent}:/usr/bin:/bin")

    assert of(cann.examine(None, [tmp_path], {}), "atc").level == "ok"


@pytest.mark.parametrize(
    ("script", "says"),
    [("exit 3", "exit 3"), ("echo 'usage: something else'", "exit 0"), ("sleep 600", "no end")],
)
def test_an_atc_that_starts_without_help_is_only_doubted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, says: str
) -> None:
    """A slow disk, or a release of another form: a conversion will show it."""
    monkeypatch.setenv("PATH", f"{tool(tmp_path, 'atc', script).parent}:/usr/bin:/bin")
    monkeypatch.setattr(cann, "ATC_TIMEOUT_S", 2.0 if says == "no end" else 300.0)
    found = of(cann.examine(None, [tmp_path], {}), "atc")

    assert (found.level, found.works, found.npu_lacks) == ("warning", True, "")
    assert says in found.found


@pytest.mark.parametrize("release", ["6.0", "8.5.0", "9.1.0"])
def test_the_simulators_help_proves_it_as_well(
    cann: Cann,  # the simulated one
    release: str,
) -> None:
    """With the exit status of the release."""
    cann.set("CANNSIM_CANN", release)

    assert of(examine(None, [], {}), "atc").level == "ok"


def test_atc_off_the_path_is_a_matter_of_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Installed, and not found: set_env.sh was not sourced."""
    root = installation(tmp_path)
    (root / "bin/atc").touch()
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    places = [tmp_path / "Ascend"]
    found = of(cann.examine(cann.find(places, {}), places, {}), "atc")

    assert found.level == "problem"
    assert f"though in {root}/bin" in found.found
    assert found.mend == f"source {root}/set_env.sh"


def test_an_installation_with_a_closed_folder_is_examined(
    tmp_path: Path, lock: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script and atc may be in it: they are not found."""
    root = installation(tmp_path)
    (root / "set_env.sh").unlink()
    (root / "bin/atc").touch()
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    lock(root / "bin")
    found = cann.find([tmp_path / "Ascend"], {})

    assert found is not None
    assert (found.set_env, found.converts) == (None, False)
    atc = of(cann.examine(found, [tmp_path], {}), "atc")
    assert (atc.level, atc.found) == ("warning", "not on PATH")


def test_a_closed_prefix_holds_no_installation(
    tmp_path: Path, lock: Callable[[Path], None]
) -> None:
    """Such as root's home, which a variable may name."""
    root = installation(tmp_path)
    lock(tmp_path / "Ascend")

    assert cann.find([], {"ASCEND_HOME_PATH": str(root)}) is None
