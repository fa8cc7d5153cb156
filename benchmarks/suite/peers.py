"""Other programs on the same file: what a user would write who has a bundle's model.onnx alone.

Each engine by its own Python interface, with its own defaults, but in fp32, and on all cores where
no number of threads is asked for; the crops, and what becomes of the landmarks, are this project's.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.backends import Backend, Outputs
from runtime.errors import BackendUnavailable, ConfigError
from runtime.machine.packages import MISSING, install_command, module_version
from runtime.machine.processor import cores
from runtime.machine.telemetry import unreported
from runtime.model.manifest import ONNX_NAME, read_manifest
from runtime.model.spec import INPUT_NAME, OUTPUT_NAMES

# float32 (N, 3, S, S) to landmarks and covariance, as the graph gives them
Run = Callable[[NDArray[Any]], Any]


def onnxruntime(graph: Path, threads: int | None) -> Run:
    """A session and its `run`, nothing else."""
    ort: Any = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or 0  # 0: its own choice
    session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(list(OUTPUT_NAMES), {INPUT_NAME: batch})


def openvino(graph: Path, threads: int | None) -> Run:
    """A compiled model, called; without the hint it would compute in bf16 where a processor can."""
    with unreported():
        ov: Any = importlib.import_module("openvino")
    # 0: its own choice
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads or 0}
    compiled = ov.Core().compile_model(str(graph), "CPU", settings)

    def run(batch: NDArray[Any]) -> Any:
        found = compiled(batch)
        return [found[compiled.output(name)] for name in OUTPUT_NAMES]

    return run


def opencv(graph: Path, threads: int | None) -> Run:
    """OpenCV's dnn module; its threads are those of the whole process."""
    if threads is not None:
        cv2.setNumThreads(threads)
    net = cv2.dnn.readNetFromONNX(str(graph))

    def run(batch: NDArray[Any]) -> Any:
        net.setInput(batch, INPUT_NAME)
        return net.forward(OUTPUT_NAMES)

    return run


def mnn(graph: Path, threads: int | None) -> Run:
    """MNN's converter, once, then its modules; by itself it takes four threads."""
    with _printing_to_stderr():
        return _mnn(graph, threads or cores())


def _mnn(graph: Path, threads: int) -> Run:
    package: Any = importlib.import_module("MNN")
    # else the converter installs a logging package by pip, and reports each conversion to a server
    sys.modules.setdefault("MNN.tools.utils.log", None)  # type: ignore[arg-type]  # bars it
    converter: Any = importlib.import_module("MNN.tools.mnnconvert")
    with tempfile.TemporaryDirectory() as folder:
        converted = str(Path(folder) / "model.mnn")
        asked = ["", "-f", "ONNX", "--modelFile", str(graph), "--MNNModel", converted]
        given, sys.argv = sys.argv, [*asked, "--bizCode", "benchmark"]
        try:
            converter.main()
        finally:
            sys.argv = given
        chosen = {"backend": "CPU", "numThread": threads, "precision": "high"}
        manager = package.nn.create_runtime_manager((chosen,))
        net = package.nn.load_module_from_file(
            converted, [INPUT_NAME], list(OUTPUT_NAMES), runtime_manager=manager
        )
    expr = package.expr

    def run(batch: NDArray[Any]) -> Any:
        fed = expr.convert(expr.const(batch, list(batch.shape), expr.NCHW), expr.NC4HW4)
        return [np.array(expr.convert(one, expr.NCHW).read()) for one in net.forward([fed])]

    return run


@contextmanager
def _printing_to_stderr() -> Iterator[None]:
    """Let what native code prints go where a report on stdout is not."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(stdout, 1)
        os.close(stdout)


# By the name that a row gives; the module whose version is reported, and the package that has it.
PEERS: dict[str, tuple[str, str, Callable[[Path, int | None], Run]]] = {
    "onnxruntime": ("onnxruntime", "onnxruntime", onnxruntime),
    "openvino": ("openvino", "openvino", openvino),
    "opencv": ("cv2", "opencv-python", opencv),
    "mnn": ("MNN", "mnn", mnn),
}


class PeerBackend(Backend):
    """A bundle's graph in a peer.

    Args:
        peer: of `PEERS`.
        bundle: a folder whose model.onnx takes float32.
        threads: of the peer; None is one for each core.

    Raises:
        ArtifactError: no bundle.
        BackendUnavailable: the peer is not installed.
    """

    def __init__(self, peer: str, bundle: Path, threads: int | None = None) -> None:
        manifest = read_manifest(bundle)
        module, package, open_peer = PEERS[peer]
        version = module_version(module, package)
        if version == MISSING:
            raise BackendUnavailable(
                package,
                expected="an installed package",
                got="none",
                action=install_command(package),
            )
        if manifest.spec.input.dtype != "float32":
            raise ConfigError(
                str(bundle),
                expected="a graph that takes float32",
                got=manifest.spec.input.dtype,
                action="Export it without --input uint8",
            )
        self.name, self.device, self.spec = f"{package} {version} alone", "cpu", manifest.spec
        self.arithmetic, self.manifest = "fp32", manifest
        self.parameters = manifest.checkpoint.parameters
        self._answer = open_peer(bundle / ONNX_NAME, threads)

    def _run(self, batch: NDArray[Any]) -> Outputs:
        start = time.perf_counter()
        landmarks, covariance = self._answer(batch)
        return Outputs(
            landmarks=np.asarray(landmarks, np.float32).reshape(len(batch), -1, 2),
            covariance=np.asarray(covariance, np.float32).reshape(len(batch), -1, 3),
            timings={"compute": time.perf_counter() - start},
        )

    def _close(self) -> None:
        del self._answer
