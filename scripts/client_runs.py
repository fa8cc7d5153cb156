"""One foreign client on one graph: `python client_runs.py CLIENT GRAPH BATCH.npy`.

Run by scripts/check_clients.py in the environment of the client, which may hold neither this
project nor its versions: this file needs numpy and the client. A JSON line is printed: versions,
the landmarks, or the refusal.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

INPUT, LANDMARKS = "image", "landmarks"
OUTPUTS = (LANDMARKS, "covariance")
F32 = NDArray[np.float32]
# A graph's path and float32 (N, 3, S, S) to landmarks, (N, P, 2).
Client = Callable[[str, F32], Any]


def onnxruntime(graph: str, batch: F32) -> Any:
    """Its Python package."""
    ort: Any = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return session.run([LANDMARKS], {INPUT: batch})[0]


def opencv(graph: str, batch: F32) -> Any:
    """OpenCV's dnn module."""
    cv2: Any = importlib.import_module("cv2")
    net = cv2.dnn.readNetFromONNX(graph)
    net.setInput(batch, INPUT)
    return net.forward(LANDMARKS)


def openvino(graph: str, batch: F32) -> Any:
    """OpenVINO in fp32, which it leaves by itself where a processor has bf16."""
    ov: Any = importlib.import_module("openvino")
    core = ov.Core()
    compiled = core.compile_model(
        core.read_model(graph), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return compiled(batch)[compiled.output(LANDMARKS)]


def mnn(graph: str, batch: F32) -> Any:
    """MNN's converter, then its interpreter."""
    package: Any = importlib.import_module("MNN")
    # else the converter installs a logging package by pip, and reports each conversion to a server
    sys.modules.setdefault("MNN.tools.utils.log", None)  # type: ignore[arg-type]  # bars it
    tools: Any = importlib.import_module("MNN.tools.mnnconvert")
    with tempfile.TemporaryDirectory() as folder:
        converted = str(Path(folder) / "model.mnn")
        asked = ["", "-f", "ONNX", "--modelFile", graph, "--MNNModel", converted]
        sys.argv = [*asked, "--bizCode", "starmark"]
        tools.main()
        expr, nn = package.expr, package.nn
        net = nn.load_module_from_file(converted, [INPUT], list(OUTPUTS))
        given = expr.const(batch.ravel().tolist(), list(batch.shape), expr.NCHW)
        found = net.forward([expr.convert(given, expr.NC4HW4)])[0]
        return np.array(expr.convert(found, expr.NCHW).read(), np.float32)


def tract(graph: str, batch: F32) -> Any:
    """Tract's Python package."""
    package: Any = importlib.import_module("tract")
    return package.onnx().load(graph).into_model().into_runnable().run([batch])[0].to_numpy()


def onnx2tf(graph: str, batch: F32) -> Any:
    """Onnx2tf's LiteRT file in LiteRT's interpreter, whose input is NHWC."""
    converter: Any = importlib.import_module("onnx2tf")
    litert: Any = importlib.import_module("ai_edge_litert.interpreter")
    with tempfile.TemporaryDirectory() as folder:
        converter.convert(
            input_onnx_file_path=graph,
            output_folder_path=folder,
            batch_size=len(batch),
            non_verbose=True,
        )
        (path,) = Path(folder).glob("*_float32.tflite")
        interpreter = litert.Interpreter(str(path))
        interpreter.allocate_tensors()
        (fed,) = interpreter.get_input_details()
        interpreter.set_tensor(fed["index"], batch.transpose(0, 2, 3, 1))
        interpreter.invoke()
        found = [interpreter.get_tensor(o["index"]) for o in interpreter.get_output_details()]
    return next(array for array in found if array.shape[-1] == 2)


def polygraphy(graph: str, batch: F32) -> Any:
    """Polygraphy's loader and its onnxruntime runner."""
    backend: Any = importlib.import_module("polygraphy.backend.onnxrt")
    loader: Any = importlib.import_module("polygraphy.backend.onnx")
    loader.infer_shapes(loader.onnx_from_path(graph))
    with backend.OnnxrtRunner(backend.SessionFromOnnx(graph)) as runner:
        return runner.infer({INPUT: batch})[LANDMARKS]


def onnx_reference(graph: str, batch: F32) -> Any:
    """The onnx package's own slow interpreter."""
    evaluator: Any = importlib.import_module("onnx.reference")
    return evaluator.ReferenceEvaluator(graph).run([LANDMARKS], {INPUT: batch})[0]


# Its distribution's names, and what runs a graph.
CLIENTS: dict[str, tuple[tuple[str, ...], Client]] = {
    "onnxruntime": (("onnxruntime",), onnxruntime),
    "OpenCV dnn": (("opencv-python", "opencv-python-headless"), opencv),
    "OpenVINO": (("openvino",), openvino),
    "ONNX reference evaluator": (("onnx",), onnx_reference),
    "MNN": (("mnn",), mnn),
    "tract": (("tract",), tract),
    "LiteRT by onnx2tf": (("onnx2tf",), onnx2tf),
    "Polygraphy": (("polygraphy",), polygraphy),
}


def version_of(client: str) -> str:
    """Of the distribution that is imported, the first on the path; empty where there is none."""
    names = CLIENTS[client][0]
    found = importlib.metadata.distributions()
    return next((one.version for one in found if one.metadata["Name"].lower() in names), "")


def main() -> int:
    """Write one JSON line; without a client's name, the installed clients and their versions."""
    if len(sys.argv) == 1:
        json.dump({name: found for name in CLIENTS if (found := version_of(name))}, sys.stdout)
        return 0
    client, graph, batch = sys.argv[1:4]
    line = os.dup(1)
    os.dup2(2, 1)  # converters print to stdout what they do
    try:
        found = CLIENTS[client][1](graph, np.load(batch))
        said = {"landmarks": np.asarray(found, np.float64).tolist()}
    # whatever a foreign engine raises is its refusal
    except Exception as error:  # noqa: BLE001
        said = {"refusal": f"{type(error).__name__}: {error}"}
    with os.fdopen(line, "w") as stdout:
        json.dump(said, stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
