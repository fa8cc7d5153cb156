"""onnxruntime's CANN provider where it does not start, or fails: against its real releases' words.

The fakes raise what the wheels onnxruntime-cann 1.22.1 and 1.24.4 for x86_64 raised when they were
installed without CANN, and beside libraries of our own whose calls gave these codes: class, chain
and text, with other paths, numbers and hosts.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from builders import run_python
from onnxruntime.capi import onnxruntime_pybind11_state as classes

from runtime.backends import Settings, ort_cann
from runtime.backends.ort import OnnxRuntimeBackend, open_graph
from runtime.errors import ArtifactError, BackendUnavailable, InferenceError
from runtime.machine import visible_devices
from runtime.model.device import Device
from runtime.model.source import find_artifact, parse_source

CANN, CPU = "CANNExecutionProvider", "CPUExecutionProvider"
MISSING = "libascendcl.so: cannot open shared object file: No such file or directory"
LIBRARY = "/opt/venv/lib/python3.11/site-packages/onnxruntime/capi/libonnxruntime_providers_cann.so"
# onnxruntime_pybind_state.cc: the library did not load; the reason went to stderr alone
NOT_CREATED = (
    "/build/onnxruntime/python/onnxruntime_pybind_state.cc:1189 std::shared_ptr<onnxruntime::"
    "IExecutionProviderFactory> onnxruntime::python::CreateExecutionProviderFactoryInstance(const"
    " onnxruntime::SessionOptions&, const std::string&, const onnxruntime::ProviderOptionsMap&)"
    " create CANN ExecutionProvider fail\n"
)
CALL_FAILED = (
    "/build/onnxruntime/core/providers/cann/cann_call.cc:148 bool onnxruntime::CannCall(ERRTYPE,"
    " const char*, const char*, ERRTYPE, const char*) [with ERRTYPE = int; bool THRW = true]"
    " /build/onnxruntime/core/providers/cann/cann_call.cc:142 bool onnxruntime::CannCall(ERRTYPE,"
    " const char*, const char*, ERRTYPE, const char*) [with ERRTYPE = int; bool THRW = true] CANN"
    " failure {code}: (look for ACL_ERROR_xxx in acl.h) ; NPU=32741 ; hostname=box-17 ;"
    " expr={call}; \n\n"
)
NO_SUCH_DEVICE = (
    "/build/onnxruntime/core/providers/cann/cann_execution_provider_info.cc:41 static onnxruntime::"
    "CANNExecutionProviderInfo onnxruntime::CANNExecutionProviderInfo::FromProviderOptions(const"
    " onnxruntime::ProviderOptions&) [ONNXRuntimeError] : 1 : FAIL : provider_options_utils.h:187"
    ' Parse Failed to parse provider option "device_id": cann_execution_provider_info.cc:51'
    " operator() Invalid device ID: 7, must be between 0 (inclusive) and 2 (exclusive).\n"
)
NO_SOC_NAME = (
    "/build/onnxruntime/core/providers/cann/cann_execution_provider.cc:1041 onnxruntime::"
    "CANNExecutionProvider::CANNExecutionProvider(const onnxruntime::CANNExecutionProviderInfo&)"
    " soc_name_ != nullptr was false. aclrtGetSocName return nullptr\n"
)
# 1.22.1 takes the CPU in its place, which the session forbids
CONFLICT = (
    "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Conflicting session configuration: explicitly"
    " added the CPU EP to the session, but also disabled fallback to the CPU EP via session"
    " configuration options."
)


def of_1_24(text: str) -> Callable[..., Any]:
    """A release that raises what happened."""

    def session(*_: Any, **__: Any) -> Any:
        raise RuntimeError(text)

    return session


def of_1_22(text: str) -> Callable[..., Any]:
    """A release that passes over `enable_fallback`, prints, and fails at its second attempt."""

    def session(*_: Any, **__: Any) -> Any:
        try:
            raise RuntimeError(text)
        except RuntimeError as error:
            print("*************** EP Error ***************")  # noqa: T201  # as it does
            raise classes.InvalidArgument(CONFLICT) from error

    return session


@pytest.fixture
def cann_build(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An onnxruntime that has the provider; the loader finds all that its library needs."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CANN, CPU])
    loader_that(monkeypatch, f"{LIBRARY}: undefined symbol: Provider_GetHost")
    return monkeypatch


def loader_that(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    """The system's loader, which is asked for nothing but the provider's library."""

    def refuse(name: str) -> Any:
        assert Path(name).name == Path(LIBRARY).name
        raise OSError(said)

    monkeypatch.setattr(ort_cann, "ctypes", SimpleNamespace(CDLL=refuse))


RELEASES = pytest.mark.parametrize("release", [of_1_24, of_1_22])


@RELEASES
@pytest.mark.parametrize(
    ("missing", "says"),
    [
        (MISSING, "CANN is missing or not sourced: libascendcl.so.*set_env.sh"),
        (MISSING.replace("ascendcl", "fmk_onnx_parser"), "CANN is missing.*libfmk_onnx_parser"),
        (MISSING.replace("ascendcl", "ascend_hal"), "driver's libraries.*npu-smi info"),
        (f"{LIBRARY}: undefined symbol: aclmdlCreateDesc", "not of one release.*aclmdlCreateDesc"),
        (f"{LIBRARY}: {MISSING.partition(': ')[2]}", "onnxruntime-cann's own library.*install"),
    ],
)
def test_provider_without_its_libraries_is_unavailable(
    cann_build: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    release: Callable[[str], Any],
    missing: str,
    says: str,
) -> None:
    """Exit code 3, the loader's words, what mends it; stdout is left to results."""
    cann_build.setattr(onnxruntime, "InferenceSession", release(NOT_CREATED))
    loader_that(cann_build, missing)
    with pytest.raises(BackendUnavailable, match=says) as raised:
        open_graph("g.onnx", b"graph", "npu:0")

    assert raised.value.exit_code == 3
    assert raised.value.where == "g.onnx"
    assert capsys.readouterr().out == ""


@RELEASES
@pytest.mark.parametrize(
    ("text", "says"),
    [
        (CALL_FAILED.format(code=507033, call="aclrtSetDevice(0)"), "could not be set up.*npu-smi"),
        (CALL_FAILED.format(code=507901, call="aclInit(nullptr)"), "disconnected"),
        (NO_SUCH_DEVICE, "Invalid device ID: 7, must be between 0.*2 .exclusive.. Name a device"),
        (NO_SOC_NAME, "aclrtGetSocName return nullptr.*npu-smi info"),
        (NOT_CREATED, "create CANN ExecutionProvider fail.*runtime.doctor"),
    ],
)
def test_provider_that_fails_to_start_is_unavailable(
    cann_build: pytest.MonkeyPatch, release: Callable[[str], Any], text: str, says: str
) -> None:
    """Not a graph that cannot be read; and the host's name stays on the host."""
    cann_build.setattr(onnxruntime, "InferenceSession", release(text))
    with pytest.raises(BackendUnavailable, match=says) as raised:
        open_graph("g.onnx", b"graph", "npu:7")
    assert "box-17" not in str(raised.value)


@pytest.mark.parametrize(
    "text", [NO_SUCH_DEVICE, CALL_FAILED.format(code=107001, call="aclrtSetDevice(7)")]
)
def test_device_that_a_variable_hides_is_told_with_it(
    cann_build: pytest.MonkeyPatch, text: str
) -> None:
    cann_build.setattr(onnxruntime, "InferenceSession", of_1_24(text))
    cann_build.setenv(visible_devices.NAME, "4,2")
    with pytest.raises(BackendUnavailable) as told:
        open_graph("g.onnx", b"graph", "npu:7")
    assert told.value.action == visible_devices.advice()


def test_graph_that_cannot_be_read_is_the_files_fault(cann_build: pytest.MonkeyPatch) -> None:
    """Also on an NPU."""
    cann_build.setattr(
        onnxruntime, "InferenceSession", of_1_24("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF")
    )
    with pytest.raises(ArtifactError, match="INVALID_PROTOBUF"):
        open_graph("g.onnx", b"graph", "npu:0")


def session_on(*providers: str, run: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """A session of the CPU's that says it is on these; its runs may be another's."""
    real = onnxruntime.InferenceSession

    def session(graph: Any, *_: Any, **__: Any) -> Any:
        made = real(graph, providers=[CPU])
        made.get_providers = lambda: list(providers)
        if run is not None:
            made.run = run
        return made

    return session


@pytest.mark.parametrize(
    ("missing", "says"),
    [(MISSING, "CANN is missing or not sourced"), ("", "another one, in its place.*npu-smi info")],
)
def test_session_that_silently_runs_on_the_cpu_is_refused(
    cann_build: pytest.MonkeyPatch, starter_bundle: Path, missing: str, says: str
) -> None:
    """A comparison would compare the CPU with itself, and pass."""
    cann_build.setattr(onnxruntime, "InferenceSession", session_on(CPU))
    if missing:
        loader_that(cann_build, missing)
    with pytest.raises(BackendUnavailable, match=f"a session on {CANN}, got {says}"):
        opened(starter_bundle)


def opened(bundle: Path) -> OnnxRuntimeBackend:
    """The bundle's graph in onnxruntime, on the NPU."""
    source = parse_source(f"{bundle}@onnxruntime/npu:0", "auto")
    return OnnxRuntimeBackend(find_artifact(source), Device("npu", 0), Settings())


def test_run_that_fails_never_moves_to_the_cpu(
    cann_build: pytest.MonkeyPatch, starter_bundle: Path
) -> None:
    """By itself onnxruntime would, after an EPFail: the session is told not to."""
    cann_build.setattr(onnxruntime, "InferenceSession", session_on(CANN, CPU))
    backend = opened(starter_bundle)
    assert backend._session._enable_fallback is False


@pytest.mark.parametrize(
    ("code", "says", "lost"),
    [
        (507015, "an AI Core failed", True),
        (507777, "aclError list", True),
        (207018, "no memory left.*smaller batch", False),
    ],
)
def test_code_of_a_failed_run_is_read(
    cann_build: pytest.MonkeyPatch, starter_bundle: Path, code: int, says: str, *, lost: bool
) -> None:
    """Its meaning and remedy are those of pyACL's; a lost device closes the backend."""

    def fail(*_: Any) -> Any:
        text = CALL_FAILED.format(code=code, call="aclrtSynchronizeStream(stream)")
        raise classes.Fail(f"[ONNXRuntimeError] : 1 : FAIL : {text}")

    cann_build.setattr(onnxruntime, "InferenceSession", session_on(CANN, CPU, run=fail))
    backend = opened(starter_bundle)
    crops = np.zeros(backend.spec.input.shape(1), backend.spec.input.dtype)
    for _ in range(2):
        with pytest.raises(InferenceError, match=f"{says}"):
            backend.run(crops)
        assert backend.closed == lost


def distributions(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    """What pip has installed."""

    def version(name: str) -> str:
        found = versions.get(name.replace("-", "_"))
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(metadata, "version", version)


def test_build_that_another_overwrote_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain build came last: one module, and no provider."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    distributions(monkeypatch, onnxruntime_cann="1.24.4")
    with pytest.raises(BackendUnavailable, match="pip install onnxruntime-cann==1.24.4"):
        open_graph("g.onnx", b"graph", "npu:0")
    distributions(monkeypatch)
    with pytest.raises(BackendUnavailable, match="install the onnxruntime build that has this"):
        open_graph("g.onnx", b"graph", "npu:0")


def test_build_for_numpy_1_says_so_beside_numpy_2(tmp_path: Path) -> None:
    """1.24.4 raises this, 1.22.1 an ImportError without a word; the numbers come with NumPy 2."""
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime/__init__.py").write_text("raise ImportError('import numpy failed')")
    code = "from runtime.backends import _load; _load('onnxruntime')"
    plain = run_python("-c", code, PYTHONPATH=str(tmp_path))
    note = tmp_path / "onnxruntime_cann-1.24.4.dist-info"
    note.mkdir()
    (note / "METADATA").write_text("Name: onnxruntime-cann\nVersion: 1.24.4\n")
    beside = run_python("-c", code, PYTHONPATH=str(tmp_path))

    assert "pip install --force-reinstall onnxruntime" in plain.stderr
    if np.__version__ >= "2":
        assert "onnxruntime-cann 1.24.4: expected NumPy 1" in beside.stderr
        assert "pip install 'numpy<2'" in beside.stderr
