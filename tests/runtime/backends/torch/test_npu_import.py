"""Every way in which torch_npu is known not to import, and what it is told as."""

from __future__ import annotations

import builtins
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import FAKES, ROOT, STARTER, distribution, run_python, torch_release

from runtime.backends import open_backend
from runtime.backends.torch import npu_import
from runtime.backends.torch.npu_failures import SOURCE_CANN, refusal_of
from runtime.errors import BackendUnavailable
from runtime.machine import visible_devices

ENTRY_POINT = "[torch.backends]\ntorch_npu = torch_npu:_autoload\n"
NOT_FOUND = "\n[ERROR] 2025-05-09-08:06:34 (PID:1, Device:-1, RankID:-1) ERR00009 PTA not found"
NO_CANN = (
    "libhccl.so: cannot open shared object file: No such file or directory. Please check that the"
    " cann package is installed. Please run 'source set_env.sh' in the CANN installation path."
)
NO_RUNTIME = (
    "libascendcl.so: cannot open shared object file: No such file or directory. Please check that"
    " the runtime package is installed. Please run 'source set_env.sh' in the CANN path."
)
TWO = (
    "Two accelerators cannot be used at the same time in PyTorch: npu and {}. You can install the"
    " cpu version of PyTorch to use your npu device, or use the {} device with"
    " 'export TORCH_DEVICE_BACKEND_AUTOLOAD=0'.\n[ERROR] ERR00007 PTA feature not supported"
)


def raising(kind: str, text: str) -> str:
    """A package that fails with this text."""
    return f"raise {kind}({text + NOT_FOUND!r})\n"


# What torch_npu of torch 2.1 to 2.4 does where CANN is missing.
ENDING = (
    "import sys, traceback\n"
    f"traceback.print_exception(ImportError, ImportError({NO_CANN!r}), None)\n"
    "sys.exit()\n"
)
MISSING = "cannot open shared object file: No such file or directory"
NO_SOURCE = "CANN is missing or not sourced"
PARTLY = "only partly sourced"
NOT_PAIRED = "not of one release.*the torch that torch_npu was built for"
# how it fails, the text (torch_npu's own), what it is explained as
FAILURES: tuple[tuple[str, str, str], ...] = (
    ("ImportError", NO_CANN, f"{NO_SOURCE}.*libhccl.so.*ascend-toolkit/set_env.sh.*cann/set_env"),
    ("ImportError", NO_RUNTIME, f"{NO_SOURCE}.*libascendcl.so.*set_env.sh"),
    ("Exception", "ASCEND_OPP_PATH environment variable is not set. Please check", PARTLY),
    ("Exception", "ASCEND_RUNTIME_PATH : /usr/local/Ascend/runtime does not exist. ", PARTLY),
    (
        "RuntimeError",
        TWO.format("cuda", "cuda"),
        "built for another accelerator.*pip uninstall -y torch.*--index-url.*/whl/cpu",
    ),
    (
        "RuntimeError",
        TWO.format("npu", "npu"),
        "loaded halfway before.*TORCH_DEVICE_BACKEND_AUTOLOAD=0",
    ),
    ("ImportError", f"libascend_hal.so: {MISSING}", "driver's.*npu-smi info.*HwHiAiUser"),
    ("ImportError", "libtorch_npu.so: undefined symbol: _ZN5torch10ValueErrorC1EPKcz", NOT_PAIRED),
    ("ImportError", f"libtorch_cpu.so: {MISSING}", NOT_PAIRED),
    ("ImportError", "libgomp.so.1: cannot allocate memory in static TLS block", "LD_PRELOAD"),
    ("ImportError", f"libatb.so: {MISSING}", "NNAL package.*libatb.so.*nnal/atb/set_env.sh"),
    # Ascend/pytorch 24, and docs/zh/installation_guide/faq.md there
    (
        "ModuleNotFoundError",
        "No module named 'torch_npu._C'",
        "source folder.*torch_npu._C.*another folder",
    ),
    (
        "ImportError",
        "/opt/lib/libstdc++.so.6: version `GLIBCXX_3.4.29' not found (required by libtorch_npu.so)",
        "C.. library.*older.*GLIBCXX_3.4.29.*LD_PRELOAD",
    ),
    (
        "ImportError",
        "/lib64/libc.so.6: version `GLIBC_2.28' not found (required by x)",
        "this system is older.*GLIBC_2.28.*container",
    ),
    ("ModuleNotFoundError", "No module named 'tbe.common'", f"{PARTLY}.*tbe.common.*set_env.sh"),
    ("ModuleNotFoundError", "No module named 'absl'", "misses its Python packages.*absl-py"),
    ("ModuleNotFoundError", "No module named 'yaml'", "misses a package.*pip install pyyaml"),
    # what the wheels 2.7.1 and 2.13.0 link, and what CANN's and the driver's libraries link
    *(
        ("ImportError", f"{name}: {MISSING}", f"{says}.*{name}")
        for says, names in (
            (
                NO_SOURCE,
                (
                    *("libgraph.so", "libruntime.so", "libc_sec.so", "libfmk_parser.so"),
                    *("libacl_tdt_channel.so", "libascend_protobuf.so.3.13.0.0", "libmmpa.so.1"),
                ),
            ),
            ("driver's libraries", ("libdrvdsmi_host.so", "libdcmi.so", "libdrv_vascend.so")),
            ("does not import", ("libGL.so.1", "libpython3.11.so.1.0", "libgomp-a34b.so.1")),
        )
        for name in names
    ),
    ("OSError", "moon phase", "does not import: OSError: moon phase.*set_env.sh"),
)


@pytest.mark.parametrize(("kind", "text", "says"), FAILURES)
def test_import_that_fails_is_explained(kind: str, text: str, says: str) -> None:
    """The cause, and what mends it."""
    error = getattr(builtins, kind)(text + NOT_FOUND)
    refused = refusal_of(error, otherwise="torch_npu does not import", action=SOURCE_CANN)
    assert re.search(says, f"{refused.got}. {refused.action}")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed torch_npu of the right release, with nothing in its __init__.py yet."""
    folder = distribution(tmp_path / "site", "torch_npu", torch_release(), ENTRY_POINT)
    (folder / "torch_npu").mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(npu_import, "_outcome", None)
    yield folder / "torch_npu/__init__.py"
    sys.modules.pop("torch_npu", None)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (raising("ImportError", NO_CANN), f"{NO_SOURCE}: ImportError: libhccl.so"),
        (ENDING, f"{NO_SOURCE}: ImportError: libhccl.so.*set_env.sh"),
    ],
)
def test_import_is_attempted_once(package: Path, body: str, says: str) -> None:
    """Exit code 3, and the same on every attempt, though a second import would fail otherwise."""
    package.write_text(f"open({str(package) + '.log'!r}, 'a').write('tried ')\n{body}")
    for _ in range(2):
        with pytest.raises(BackendUnavailable, match=says) as raised:
            open_backend(STARTER, "npu:0")
        assert len(str(raised.value).splitlines()) == 1
    assert Path(f"{package}.log").read_text() == "tried "
    assert open_backend(STARTER, "cpu").device == "cpu"


def test_failed_import_leaves_the_environment_as_it_was(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch_npu switches autoload off while it loads, and where it fails it stays off."""
    package.write_text(
        f"import os\nos.environ[{npu_import.AUTOLOAD!r}] = '0'\nraise ImportError('x')\n"
    )
    monkeypatch.setenv(npu_import.AUTOLOAD, "1")
    with pytest.raises(BackendUnavailable):
        open_backend(STARTER, "npu:0")
    assert os.environ[npu_import.AUTOLOAD] == "1"


def test_owner_that_differs_is_only_a_warning(
    package: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where warnings are errors, as in these tests."""
    package.write_text(
        "import types, warnings\n"
        "warnings.warn('Permission mismatch: The owner of /usr/local/Ascend does not match.')\n"
        "npu = types.SimpleNamespace(is_available=lambda: False)\n"
    )
    caplog.set_level(logging.WARNING, logger="starmark")
    with pytest.raises(BackendUnavailable, match="torch_npu sees no device.*npu-smi info"):
        open_backend(STARTER, "npu:0")
    assert "Permission mismatch" in caplog.text


@pytest.mark.slow
def test_autoload_that_fails_does_not_reach_us(package: Path, tmp_path: Path) -> None:
    """`import torch` alone fails; our command lines run on the CPU, and explain the NPU."""
    package.write_text(raising("ImportError", NO_CANN))
    path = str(package.parents[1])
    control = run_python("-c", "import torch", PYTHONPATH=path)
    assert "Failed to load the backend extension: torch_npu" in control.stderr

    out = tmp_path / "out.png"
    arguments = ["--input", ROOT / "assets/test.jpg", "--output", out, "--model", STARTER]
    arguments += ["--faces", "none"]
    on_cpu = run_python("-m", "runtime.infer", *arguments, "--device", "cpu", PYTHONPATH=path)
    on_npu = run_python("-m", "runtime.infer", *arguments, "--device", "npu:0", PYTHONPATH=path)

    assert on_cpu.returncode == 0, on_cpu.stderr
    assert on_cpu.stdout.startswith(f"Device: cpu (torch {torch.__version__} cpu)\n")
    assert on_npu.returncode == 3
    assert on_npu.stderr.startswith("error: device 'npu:0': expected")
    assert "CANN is missing or not sourced" in on_npu.stderr
    # torch_npu 2.1 calls sys.exit() without a code; a shell would see 0 and believe it
    package.write_text(ENDING)
    ended = run_python("-m", "runtime.infer", *arguments, "--device", "npu:0", PYTHONPATH=path)
    assert (ended.returncode, ended.stderr.count("\n")) == (3, 1)


@pytest.mark.slow
def test_npu_runs_from_the_command_line(tmp_path: Path) -> None:
    """With a torch_npu that torch has loaded by itself, and with one that we load."""
    site = distribution(tmp_path / "site", "torch_npu", torch_release(), ENTRY_POINT)
    out = tmp_path / "out.png"
    code = (
        "import sys\n"
        "if sys.argv[1] == 'before': import torch; assert torch.npu\n"
        "from runtime.infer import __main__ as infer\n"
        "sys.exit(infer.main(sys.argv[2:]))\n"
    )
    arguments = ["--input", ROOT / "assets/test.jpg", "--output", out, "--model", STARTER]
    for when in ("before", "by us"):
        done = run_python(
            *("-c", code, when, *arguments, "--device", "npu:1", "--allow-hf32"),
            PYTHONPATH=os.pathsep.join((str(FAKES), str(site), str(ROOT))),
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"Device: npu:1 (torch {torch.__version__} npu:1 HF32)\n")


@pytest.mark.parametrize(
    ("processor", "torch_build"), [("x86_64", "2.1.0+cpu"), ("aarch64", "2.1.0")]
)
def test_torch_and_torch_npu_must_be_a_pair(
    package: Path, monkeypatch: pytest.MonkeyPatch, processor: str, torch_build: str
) -> None:
    """Refused before the import, with the commands that install the pair on this processor."""
    package.write_text("raise AssertionError('imported')\n")
    other = distribution(package.parents[2] / "other", "torch_npu", "2.1.0.post8")
    monkeypatch.syspath_prepend(str(other))
    monkeypatch.setattr("platform.machine", lambda: processor)
    with pytest.raises(BackendUnavailable) as raised:
        open_backend(STARTER, "npu:0")
    said = str(raised.value)

    assert f"built for torch 2.1.0, beside torch {torch.__version__}" in said
    assert f"pip install 'torch=={torch_build}' --index-url" in said
    assert said.endswith("&& pip install 'torch_npu==2.1.0.post8'.")


def test_device_that_is_not_there_is_counted(
    torch_npu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ASCEND_RT_VISIBLE_DEVICES where that hides the rest."""
    assert len(torch_npu.chips) == 2
    with pytest.raises(BackendUnavailable, match="2 npu devices found. Name one of them"):
        open_backend(STARTER, "npu:7")
    monkeypatch.setenv(visible_devices.NAME, "5,6")
    with pytest.raises(BackendUnavailable, match="2 npu devices found") as told:
        open_backend(STARTER, "npu:5")
    assert told.value.action == visible_devices.advice()
    # torch_npu counts none where the numbers do not ascend
    torch_npu.chips[:] = []
    monkeypatch.setenv(visible_devices.NAME, "3,1")
    with pytest.raises(BackendUnavailable, match="torch_npu sees no device") as told:
        open_backend(STARTER, "npu:0")
    assert told.value.action == visible_devices.advice()


def test_count_that_fails_is_explained(torch_npu: Any) -> None:
    """Older releases ask ACL, which may have no driver."""
    torch_npu.faults["device_count"] = RuntimeError("GetDeviceCount, error code is 507033")
    with pytest.raises(BackendUnavailable, match="could not be set up.*npu-smi info"):
        open_backend(STARTER, "npu:0")
