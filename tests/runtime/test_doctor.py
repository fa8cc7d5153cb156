"""The doctor in machines made for it: bare, half-installed, broken, hanging, and whole."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from builders import ROOT, run_module

from runtime.doctor import cann, devices, packages, probe, pytorch
from runtime.doctor.__main__ import examine
from runtime.doctor.findings import Finding
from runtime.npu_smi import NpuDevice, list_devices

SIMULATOR = ROOT / "tests/cann/bin"
CPU_PACKAGES = {"numpy": "2.1.0", "cv2": "4.10.0", "msgspec": "0.19.0"}
ORT = """
__version__ = "1.20.0"
def get_available_providers():
    return ["CPUExecutionProvider"]
"""
# What torch does at the end of its import, where torch_npu is installed.
AUTOLOADING_TORCH = """
import os
__version__ = "2.7.1+cpu"
if os.environ.get("TORCH_DEVICE_BACKEND_AUTOLOAD", "1") == "1":
    try:
        raise ImportError("libhccl.so: cannot open shared object file")
    except ImportError as error:
        raise RuntimeError("Failed to load the backend extension: torch_npu.") from error
"""
OPENVINO = """
import sys
assert sys.modules.get("openvino_telemetry", "not barred") is None
__version__ = "2026.4.1-22982-e213a147257"
class Core:
    available_devices = ["CPU", "GPU"]
    def get_property(self, device, name):
        assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
        return ["FP32", "INT8"]
"""
NO_LIBRARY = "raise ImportError('libhccl.so: cannot open shared object file')"
TORCH = """
import types
__version__ = "2.7.1+cpu"
npu = types.SimpleNamespace(is_available=lambda: True, device_count=lambda: 2)
"""
ACL = """
import sys, types
calls = []
def init(): return {init}
def finalize(): return 0
def get_soc_name(): return {soc!r}
rt = types.SimpleNamespace(
    get_device_count=lambda: ({count}, 0), set_device=lambda n: {set_device},
    reset_device=lambda n: 0)
"""
real_ascend = pytest.mark.skipif(
    Path("/usr/local/Ascend").exists(), reason="this machine has CANN itself"
)


@dataclass
class Machine:
    """A Python without packages, and a place to fake some."""

    python: Path
    folder: Path

    def package(self, name: str, source: str, version: str = "") -> None:
        """Put a module where Python finds it, with pip's note of its version if asked."""
        (self.folder / "site").mkdir(exist_ok=True)
        (self.folder / "site" / f"{name}.py").write_text(source)
        if version:
            note = self.folder / "site" / f"{name}-{version}.dist-info"
            note.mkdir()
            (note / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")

    def cpu_packages(self) -> None:
        """What every engine needs, and onnxruntime."""
        for name, version in CPU_PACKAGES.items():
            self.package(name, f"__version__ = {version!r}")
        self.package("onnxruntime", ORT)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the doctor there; nothing of this machine's environment reaches it."""
        clean = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.folder),
            "PYTHONPATH": str(self.folder / "site"),
        }
        return subprocess.run(
            [self.python, "-m", "runtime.doctor", *arguments],
            cwd=ROOT,
            env={**clean, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )

    def examine(self, code: int, **environment: str) -> Report:
        """Run it with --json."""
        done = self.run("--json", **environment)
        assert done.returncode == code, done.stdout + done.stderr
        return Report(json.loads(done.stdout))


@dataclass
class Report:
    """The doctor's JSON."""

    record: dict[str, Any]

    def about(self, name: str) -> dict[str, Any]:
        """The one finding about a thing."""
        (found,) = [one for one in self.record["findings"] if one["about"] == name]
        return dict(found)

    def refused(self, engine: str, device: str) -> str:
        """Why an engine cannot run."""
        (found,) = [
            one
            for one in self.record["routes"]
            if (one["engine"], one["device"]) == (engine, device)
        ]
        assert found["usable"] == (not found["refused"])
        return str(found["refused"])


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with nothing in it, not even pip."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=300)
    return folder / "bin/python"


@pytest.fixture
def machine(bare_python: Path, tmp_path: Path) -> Machine:
    return Machine(python=bare_python, folder=tmp_path)


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """Fake packages for functions called in this process, and for their children."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site))
    return Machine(python=Path(sys.executable), folder=tmp_path)


def installation(folder: Path, version: str = "8.5.0") -> Path:
    """The parts of CANN that the doctor looks at."""
    root = folder / "Ascend/cann"
    for part in ("bin", "lib64", "python/site-packages", "opp", "x86_64-linux"):
        (root / part).mkdir(parents=True)
    (root / "set_env.sh").write_text("")
    (root / "x86_64-linux/ascend_toolkit_install.info").write_text(
        f"package_name=Ascend-cann-toolkit\nversion={version}\narch=x86_64\n"
    )
    operators = root / "opp/built-in/op_impl/ai_core/tbe/config/ascend910b"
    operators.mkdir(parents=True)
    (operators / "aic-ascend910b-ops-info.json").write_text("{}")
    return root


def sourced(root: Path) -> dict[str, str]:
    """The environment after its set_env.sh."""
    return {
        "ASCEND_HOME_PATH": str(root),
        "ASCEND_OPP_PATH": str(root / "opp"),
        "LD_LIBRARY_PATH": f"{root}/lib64:/somewhere/else",
        "PYTHONPATH": f"{root}/python/site-packages",
    }


def tool(folder: Path, name: str, script: str) -> Path:
    """A shell script in a folder of its own."""
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def of(findings: list[Finding], about: str) -> Finding:
    (found,) = [one for one in findings if one.about == about]
    return found


@real_ascend
def test_a_bare_python_is_told_what_to_install(machine: Machine) -> None:
    """Nothing but the standard library: no traceback, exit code 3, a command for each line."""
    report = machine.examine(3)

    for about, command in (("numpy", "numpy"), ("OpenCV", "opencv-python"), ("msgspec", "msgspec")):
        assert report.about(about)["level"] == "problem"
        assert f"pip install '{command}>=" in report.about(about)["mend"]
    assert report.refused("onnxruntime", "cpu") == "numpy: not installed"
    assert not any(route["usable"] for route in report.record["routes"])


def test_python_without_its_site_packages(machine: Machine) -> None:
    """As bare as this very Python can be made."""
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-s", "-m", "runtime.doctor", "--json"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "HOME": str(machine.folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )

    assert done.returncode == 3, done.stderr
    assert Report(json.loads(done.stdout)).about("numpy")["found"] == "not installed"


@real_ascend
def test_a_machine_without_an_npu_has_no_problem(machine: Machine) -> None:
    """The CPU counts; what the NPU path lacks is listed, in one line too."""
    machine.cpu_packages()
    report = machine.examine(0)
    done = machine.run()

    assert not [one for one in report.record["findings"] if one["level"] == "problem"]
    assert report.refused("onnxruntime", "cpu") == ""
    assert report.refused("torch", "cpu") == "torch: not installed: no checkpoint can run"
    assert "acl" in report.refused("om (pyACL)", "npu")
    assert done.stdout.endswith(
        "\nThis machine can use: onnxruntime on cpu\n"
        "NPU path: missing torch_npu, CANN, atc, driver, npu-smi, acl (pyACL)\n"
    )


def test_every_line_that_is_not_ok_has_its_remedy_below(machine: Machine) -> None:
    """Aligned: level, thing, what was found; then the command."""
    machine.cpu_packages()
    done = machine.run()
    lines = done.stdout.split("\n\n")[0].splitlines()

    assert done.returncode == 0
    columns = set()
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith(" "):
            continue
        match = re.match(r"(ok|warning|problem) +(\S.*?) {2,}(?=\S)", line)
        assert match, line
        columns.add(match.end())
        assert line.startswith("ok") or below.lstrip().startswith("-> "), line
    assert len(columns) == 1


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("raise ImportError('DLL gone')", "cannot be imported: ImportError: DLL gone"),
        ("import os; os.abort()", "cannot be imported: it crashes: Aborted"),
        ("import sys; sys.exit('bye')", "cannot be imported: SystemExit: bye"),
        ("import os; os._exit(0)", "cannot be imported: exit status 0"),
        ("__version__ = '1.19.5'", "1.19.5, and 1.26 or newer is needed"),
        ("print('chatter', end=''); __version__ = '1.26.4'", "1.26.4"),
    ],
)
def test_a_broken_numpy_takes_nothing_down(machine: Machine, source: str, says: str) -> None:
    """It is tried in a child, and only what it says counts."""
    machine.cpu_packages()
    machine.package("numpy", source)
    sound = says == "1.26.4"
    report = machine.examine(0 if sound else 3)

    assert report.about("numpy")["found"].startswith(says)
    assert report.about("numpy")["level"] == ("ok" if sound else "problem")


def test_opencv_without_a_desktop(machine: Machine) -> None:
    """The commonest fault of a server has its own remedy."""
    machine.package("cv2", "raise ImportError('libGL.so.1: cannot open shared object file')")

    assert "opencv-python-headless" in machine.examine(3).about("OpenCV")["mend"]


def test_a_package_that_hangs_is_ended(fakes: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time; the rest of the examination goes on."""
    fakes.package("acl", "import time; time.sleep(600)")
    monkeypatch.setattr(probe, "TIMEOUT_S", 2.0)
    found = devices.acl(None)

    assert found.level == "problem"
    assert "it hangs" in found.found


@real_ascend
def test_the_autoload_trap_is_explained(machine: Machine) -> None:
    """torch_npu without CANN breaks `import torch`; this project's engine runs all the same."""
    machine.cpu_packages()
    machine.package("torch", AUTOLOADING_TORCH, "2.7.1+cpu")
    machine.package("torch_npu", NO_LIBRARY, "2.7.1.post4")
    report = machine.examine(0)
    torch, torch_npu = report.about("torch"), report.about("torch_npu")

    assert torch["level"] == "problem"
    assert torch["found"].startswith("2.7.1+cpu is sound, but `import torch` fails")
    assert "libhccl.so" in torch["found"]
    assert "TORCH_DEVICE_BACKEND_AUTOLOAD=0" in torch["mend"]
    assert "install CANN" in torch["mend"]
    assert report.refused("torch", "cpu") == ""
    assert torch_npu["found"].startswith("2.7.1.post4 cannot be imported: ImportError: libhccl")
    assert "libhccl" in report.refused("torch", "npu")


def test_the_trap_with_cann_names_its_script(fakes: Machine) -> None:
    """There, the environment is what is missing."""
    root = installation(fakes.folder)
    fakes.package("torch", AUTOLOADING_TORCH, "2.7.1")
    fakes.package("torch_npu", NO_LIBRARY, "2.7.1.post2")
    torch, torch_npu = pytorch.examine(cann.find([fakes.folder / "Ascend"], {}))

    assert f"source {root}/set_env.sh" in torch.mend
    assert torch_npu.mend == f"with an NPU: source {root}/set_env.sh"


def test_the_trap_of_another_accelerator_is_not_blamed_on_torch_npu(fakes: Machine) -> None:
    """Others load themselves, too."""
    fakes.package("torch", AUTOLOADING_TORCH.replace("torch_npu", "torch_other"))
    torch, _ = pytorch.examine(None)

    assert "torch loads the device backend" in torch.found
    assert torch.works


def test_a_torch_that_is_broken_itself(fakes: Machine) -> None:
    """Not taken for the trap, though torch_npu is installed."""
    fakes.package("torch", "raise OSError('libtorch.so: file too short')")
    fakes.package("torch_npu", "", "2.7.1")
    torch, _ = pytorch.examine(None)

    assert torch.found == "cannot be imported: OSError: libtorch.so: file too short"
    assert not torch.works


@pytest.mark.parametrize(
    ("torch_npu", "version", "level", "mend"),
    [
        ("2.7.1.post2", "8.5.0", "ok", ""),
        ("2.7.1.post2+git1a2b", "8.5.0", "ok", ""),
        ("2.7.1.post2", "8.5.0.alpha001", "ok", ""),
        ("2.7.1", "8.3.rc1", "ok", ""),
        ("2.7.1", "8.5.0", "warning", "pip install 'torch==2.7.1' 'torch_npu==2.7.1.post2'"),
        ("2.7.1", "8.0.0", "warning", "pip install 'torch==2.4.0' 'torch_npu==2.4.0.post2'"),
        ("2.6.0", "8.5.0", "problem", "pip install 'torch==2.7.1' 'torch_npu==2.7.1.post2'"),
        ("2.6.0", "8.0.0", "problem", "pip install 'torch==2.6.0' 'torch_npu==2.6.0'"),
    ],
)
def test_torch_torch_npu_and_cann_must_pair(
    fakes: Machine, torch_npu: str, version: str, level: str, mend: str
) -> None:
    """The base versions must be equal; with CANN, a pair outside the table is warned of."""
    installation(fakes.folder, version)
    fakes.package("torch", TORCH, "2.7.1+cpu")
    fakes.package("torch_npu", f"__version__ = {torch_npu!r}", torch_npu)
    _, found = pytorch.examine(cann.find([fakes.folder / "Ascend"], {}))

    assert (found.level, found.mend) == (level, mend)
    assert found.works == (level != "problem")


def test_torch_npu_without_a_device(fakes: Machine) -> None:
    """An import that succeeds is not enough."""
    fakes.package("torch", TORCH.replace("True", "False"), "2.7.1")
    fakes.package("torch_npu", "", "2.7.1")
    _, found = pytorch.examine(None)

    assert not found.works
    assert found.npu_lacks == "an NPU that torch_npu sees"


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
    (root / "opp/version.info").write_text("Version=7.0.0\nversion_dir=CANN-7.0\n")
    (root.parent / "set_env.sh").write_text("")
    found = cann.find([tmp_path], {})

    assert found is not None
    assert (found.version, found.set_env) == ("7.0.0", root.parent / "set_env.sh")


def test_files_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    """Many of CANN's files are readable to root alone; a folder stands for one here."""
    root = installation(tmp_path)
    info = root / "x86_64-linux/ascend_toolkit_install.info"
    info.unlink()
    info.mkdir()
    found = cann.find([tmp_path / "Ascend"], {})

    assert found is not None
    assert found.version == ""


def test_an_environment_that_is_not_set_is_told_part_by_part(tmp_path: Path) -> None:
    """And the script that sets it."""
    root = installation(tmp_path)
    places = [tmp_path / "Ascend"]

    def environment(given: dict[str, str]) -> Finding:
        found = cann.examine(cann.find(places, given), places, given)
        return of(found, "CANN environment")

    half = {name: value for name, value in sourced(root).items() if name != "LD_LIBRARY_PATH"}
    assert environment(sourced(root)).level == "ok"
    assert environment(half).found.endswith(": LD_LIBRARY_PATH")
    assert environment(half).mend == f"source {root}/set_env.sh"
    assert environment({}).level == "problem"


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

    assert operators("Ascend910B").level == "ok"
    assert operators().found == "for ascend910b"
    assert operators("Ascend310P").level == "problem"
    assert "none for Ascend310P" in operators("Ascend310P").found
    next((root / "opp").rglob("*.json")).unlink()
    assert operators().npu_lacks == "CANN's ops package"


def test_modules_that_atc_needs_are_looked_for_in_its_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The python3 on PATH, which need not be this one."""
    installation(tmp_path)
    places = [tmp_path / "Ascend"]
    python = tool(tmp_path, "python3", "echo noise; echo '@ decorator attr'")
    monkeypatch.setenv("PATH", f"{python.parent}:/usr/bin:/bin")
    lacking = of(cann.examine(cann.find(places, {}), places, {}), "atc's Python")
    tool(tmp_path, "python3", "exit 1")
    broken = of(cann.examine(cann.find(places, {}), places, {}), "atc's Python")
    tool(tmp_path, "python3", "echo @")
    whole = of(cann.examine(cann.find(places, {}), places, {}), "atc's Python")

    assert lacking.mend == f"{python} -m pip install decorator attrs"
    assert lacking.npu_lacks == "decorator, attrs for atc"
    assert "does not work" in broken.found
    assert whole.level == "ok"


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo usage", ""),
        ("echo 'libascend.so: no such file'; exit 127", "exits with 127: libascend.so"),
        ("sleep 600", "hangs"),
    ],
)
def test_atc_must_run_and_not_only_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, says: str
) -> None:
    """Asked for its help; it may fail or hang there."""
    monkeypatch.setenv("PATH", f"{tool(tmp_path, 'atc', script).parent}:/usr/bin:/bin")
    monkeypatch.setattr(cann, "ATC_TIMEOUT_S", 2.0 if says == "hangs" else 300.0)
    found = of(cann.examine(None, [tmp_path], {}), "atc")

    assert found.level == ("problem" if says else "ok")
    assert says in found.found


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


def test_driver_files_and_device_nodes_belong_together(tmp_path: Path) -> None:
    """Containers have the one without the other."""
    files, nodes = tmp_path / "Ascend", tmp_path / "dev"
    nodes.mkdir()
    none = devices.driver([files], nodes)
    (files / "driver").mkdir(parents=True)
    (files / "driver/version.info").write_text("Version=25.5.1\nascendhal_version=7.35\n")
    no_nodes = devices.driver([files], nodes)
    (nodes / "davinci0").touch()
    (nodes / "davinci_manager").touch()
    whole = devices.driver([files], nodes)
    no_files = devices.driver([tmp_path / "nowhere"], nodes)

    assert (none.level, none.npu_lacks) == ("warning", "driver")
    assert (no_nodes.level, no_nodes.npu_lacks) == ("problem", "device nodes")
    assert (whole.level, whole.found) == ("ok", "25.5.1, davinci0")
    assert "docker run -v" in no_files.mend


@pytest.mark.parametrize(
    ("values", "level", "says"),
    [
        ({"init": 500000}, "problem", "acl.init() gives 500000 (internal error)"),
        ({"init": 100039}, "problem", "acl.init() gives 100039 (a stub library"),
        ({"set_device": 507033}, "problem", "acl.rt.set_device(0) gives 507033"),
        ({"set_device": 42}, "problem", "acl.rt.set_device(0) gives 42"),
        ({"count": 0}, "problem", "opens, and sees no device"),
        ({"soc": "Ascend910B1"}, "warning", "calls the first Ascend910B1, npu-smi Ascend910B3"),
        ({}, "ok", "opens 2 device(s), the first is Ascend910B3"),
    ],
)
def test_acl_is_opened_step_by_step(
    fakes: Machine, values: dict[str, Any], level: str, says: str
) -> None:
    """The first call that fails is named, with its code."""
    whole = {"init": 0, "count": 2, "set_device": 0, "soc": "Ascend910B3"}
    fakes.package("acl", ACL.format(**{**whole, **values}))
    chip = NpuDevice(
        npu_id=0,
        chip_id=0,
        soc_version="Ascend910B3",
        health="OK",
        memory_used_mb=None,
        memory_total_mb=None,
    )
    found = devices.acl(None, [chip])

    assert found.level == level
    assert says in found.found
    assert found.works == (level != "problem")


def test_another_module_called_acl_is_not_taken_for_it(fakes: Machine) -> None:
    """Access control lists have a module of that name, too."""
    fakes.package("acl", "ACL_READ = 4")

    assert "has no attribute 'init'" in devices.acl(None).found


@pytest.mark.parametrize(("end", "says"), [("abort", "it crashes"), ("_exit, 3", "exit status 3")])
def test_an_acl_that_fails_at_its_end_has_not_opened(fakes: Machine, end: str, says: str) -> None:
    """Its answers before that do not count."""
    crash = f"\nimport atexit, os\natexit.register(os.{end})"
    fakes.package("acl", ACL.format(init=0, count=1, set_device=0, soc="Ascend910B3") + crash)

    assert says in devices.acl(None).found


def test_chips_are_listed_by_their_exact_names(machine: Machine) -> None:
    """Out of npu-smi, in text and JSON."""
    environment = {
        "PATH": f"{SIMULATOR}:/usr/bin:/bin",
        "CANNSIM_SOC": "Ascend910_9362",
        "CANNSIM_DEVICES": "2",
    }
    report = machine.examine(3, **environment)

    assert report.about("NPU 0 chip 1")["found"].startswith("Ascend910_9362, health OK, 3369 of")
    assert [one["soc_version"] for one in report.record["devices"]] == ["Ascend910_9362"] * 2


def test_a_silent_npu_smi_is_a_problem_where_a_driver_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It hangs, and is ended; a machine without a driver has only a warning."""
    monkeypatch.setenv("PATH", f"{SIMULATOR}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CANNSIM_FAULT", "npu-smi:hang")
    monkeypatch.setattr(devices, "list_devices", lambda: list_devices(timeout_s=1))
    (there,) = devices.chips(driver_there=True).findings
    (absent,) = devices.chips(driver_there=False).findings

    assert (there.level, absent.level) == ("problem", "warning")
    assert "the tool hangs" in there.found


def test_an_unhealthy_chip_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the question to ask next."""
    chip = NpuDevice(
        npu_id=3,
        chip_id=0,
        soc_version="Ascend310P3",
        health="Alarm",
        memory_used_mb=1,
        memory_total_mb=2,
    )
    monkeypatch.setattr(devices, "list_devices", lambda: (chip,))
    (found,) = devices.chips(driver_there=True).findings

    assert (found.level, found.mend) == ("warning", "npu-smi info -t health -i 3")


def test_a_whole_machine_lacks_nothing(machine: Machine) -> None:
    """Every part in place: all engines but onnxruntime's own run, and the NPU path is whole."""
    root = installation(machine.folder)
    machine.cpu_packages()
    machine.package("torch", TORCH, "2.7.1+cpu")
    machine.package("torch_npu", "__version__ = '2.7.1.post2'", "2.7.1.post2")
    machine.package("acl", ACL.format(init=0, count=2, set_device=0, soc="Ascend910B3"))
    for name in cann.ATC_MODULES:
        machine.package(name, "__version__ = '9.9'")
    tool(machine.folder, "atc", "exit 0")
    python = tool(machine.folder, "python3", f'exec "{machine.python}" "$@"')
    environment = sourced(root)
    environment["PYTHONPATH"] += f":{machine.folder}/site"
    environment["PATH"] = f"{python.parent}:{SIMULATOR}:/usr/bin:/bin"
    report = machine.examine(0, **environment)

    assert [one for one in report.record["npu_lacks"] if one != "driver"] == []
    assert report.refused("om (pyACL)", "npu") == ""
    assert report.refused("torch", "npu") == ""
    assert report.about("CANN")["found"] == f"8.5.0 in {root}"


def test_this_very_machine() -> None:
    """Where these tests run, graphs run on the CPU; the log goes to stderr."""
    done = run_module("runtime.doctor")

    assert done.returncode == 0, done.stderr
    assert "This machine can use: onnxruntime on cpu" in done.stdout
    assert "trying numpy" in done.stderr


def test_the_examination_leaves_no_packages_behind() -> None:
    """They are tried in children, not in the process that asks."""
    before = set(sys.modules)
    examine()

    loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
    assert not loaded & {"torch", "torch_npu", "acl", "onnxruntime"}


def test_lowest_versions_are_those_of_the_project() -> None:
    """As pyproject.toml gives them to pip."""
    project = (ROOT / "pyproject.toml").read_text()
    lowest = {pip: low for _, pip, low in [*packages.NEEDED.values(), packages.ONNXRUNTIME]}
    lowest["torch"] = pytorch.LOWEST

    for pip, low in lowest.items():
        assert re.search(rf'"{pip}>={re.escape(low)}[",]', project), pip


def test_openvino_is_told_with_its_devices_and_without_its_telemetry(machine: Machine) -> None:
    """Version, devices, whether bf16 pays; asked with the package barred that would report it."""
    machine.cpu_packages()
    machine.package("openvino", OPENVINO)
    report = machine.examine(0)

    assert report.about("OpenVINO")["level"] == "ok"
    assert report.about("OpenVINO")["found"] == "2026.4.1 (CPU, GPU; bf16 not on this processor)"
    assert not report.refused("openvino", "cpu")


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (None, "not installed; onnxruntime runs the same graphs"),
        (NO_LIBRARY, "cannot be imported: ImportError: libhccl.so: cannot open shared object file"),
        (OPENVINO.replace("2026.4.1", "2023.0.0"), "2023.0.0, and 2024.4 or newer is needed"),
    ],
)
def test_openvino_that_does_not_work_stops_nobody(
    machine: Machine, source: str | None, found: str
) -> None:
    """A warning with the command, and exit code 0: onnxruntime opens the same files."""
    machine.cpu_packages()
    if source is not None:
        machine.package("openvino", source)
    report = machine.examine(0)
    said = report.about("OpenVINO")

    assert said["level"] == "warning"
    assert said["found"].startswith(found)
    assert "openvino>=2024.4" in said["mend"]
    assert "OpenVINO" in report.refused("openvino", "cpu")
    assert not report.refused("onnxruntime", "cpu")
