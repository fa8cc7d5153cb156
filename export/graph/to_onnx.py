"""The network as an ONNX graph, with a symbolic batch and nothing in it that reads shapes."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

import runtime.network  # noqa: F401  # holds torch's device autoload back; must come first

# isort: split
import torch

from export.config import DYNAMO_OPSET, TORCHSCRIPT_OPSET, OnnxTable
from export.graph.inference_form import inference_form
from export.graph.reference import Reference
from runtime.backends.torch.backend import TorchBackend
from runtime.errors import ExportError, one_line
from runtime.files import shown
from runtime.model.manifest import CheckpointFact
from runtime.model.spec import INPUT_NAME, OUTPUT_NAMES
from runtime.model.stages import tap_names
from runtime.network.checkpoint import parameter_count
from runtime.network.hourglass import StackedHourglass, with_constant_maps

BATCH_AXIS = "N"
# TorchScript's graph is the same for any batch, and one picture is the fastest; dynamo would
# specialise on 1, and any other will do.
TRACED_BATCH = {"torchscript": 1, "dynamo": 2}


@dataclass(frozen=True, kw_only=True)
class ExportedGraph:
    """A graph and how it was made."""

    graph: onnx.ModelProto
    exporter: str
    opset: int
    checkpoint: CheckpointFact


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenNetwork:
    """A checkpoint's network in its published form, and what it was read from."""

    network: StackedHourglass
    checkpoint: CheckpointFact


def export_graph(weights: Path, settings: OnnxTable) -> ExportedGraph:
    """Export a checkpoint file; see `open_checkpoint` and `export_network`."""
    with Reference(weights) as reference:
        return export_network(open_checkpoint(reference), settings)


def open_checkpoint(reference: Reference) -> OpenNetwork:
    """The network that the reference runs, and what it was read from.

    Raises:
        ArtifactError: the checkpoint cannot be used.
    """
    backend = reference.backend
    assert isinstance(backend, TorchBackend)  # noqa: S101  # what opens a checkpoint on the CPU
    network = backend.network
    fact = CheckpointFact(
        file=shown(reference.source.path.name),
        sha256=backend.checkpoint_sha256,
        parameters=parameter_count(network),
        architecture=network.architecture,
    )
    return OpenNetwork(network=network, checkpoint=fact)


def export_network(opened: OpenNetwork, settings: OnnxTable) -> ExportedGraph:
    """Export a network, which stays as it is.

    The exporter "auto" is TorchScript where this torch has it.

    Returns:
        Input `image` float32 (N, 3, S, S), outputs `landmarks` (N, P, 2), `covariance`
        (N, P, 3) and every tap of `runtime.model.stages`, N symbolic.

    Raises:
        ExportError: the exporter failed, or this torch lacks the one named.
    """
    exporter = settings.exporter
    if exporter == "auto":
        exporter = "torchscript" if has_torchscript_exporter() else "dynamo"
    opset = settings.opset or (TORCHSCRIPT_OPSET if exporter == "torchscript" else DYNAMO_OPSET)
    architecture = opened.checkpoint.architecture
    size = architecture.size
    example = torch.zeros(TRACED_BATCH[exporter], 3, size, size)
    form = with_constant_maps(inference_form(opened.network, settings.rewrites))
    # as outputs, because what is inside a graph is named by the exporter and the simplifier
    form.gives = (*OUTPUT_NAMES, *tap_names(architecture))
    export = _by_torchscript if exporter == "torchscript" else _by_dynamo
    try:
        with torch.no_grad(), _quiet():
            graph = export(form, example, opset)
    except (KeyboardInterrupt, MemoryError, OSError):
        raise
    # exporters fail with their own classes, different ones in each release of torch
    except Exception as error:
        raise ExportError(
            f"{exporter} exporter of torch {torch.__version__}",
            expected=f"an ONNX graph at opset {opset}",
            got=one_line(error, 300, kind=True),
            action="Try the other one: --exporter torchscript or --exporter dynamo",
        ) from error
    return ExportedGraph(graph=graph, exporter=exporter, opset=opset, checkpoint=opened.checkpoint)


def has_torchscript_exporter() -> bool:
    """Whether this torch still has the exporter that reaches down to opset 13."""
    if "dynamo" not in inspect.signature(torch.onnx.export).parameters:
        return True  # torch before 2.5 has no other
    # where it lives: since torch 2.9, and before
    homes = ("torch.onnx._internal.torchscript_exporter", "torch.onnx._type_utils")
    return any(importlib.util.find_spec(home) is not None for home in homes)


def _by_torchscript(network: StackedHourglass, example: torch.Tensor, opset: int) -> Any:
    buffer = io.BytesIO()
    # its signature differs between torch's releases, and its types know no buffer
    to_onnx: Any = torch.onnx.export
    chosen = {"dynamo": False} if "dynamo" in inspect.signature(to_onnx).parameters else {}
    to_onnx(
        network,
        (example,),
        buffer,
        input_names=[INPUT_NAME],
        output_names=list(network.gives),
        dynamic_axes={name: {0: BATCH_AXIS} for name in (INPUT_NAME, *network.gives)},
        opset_version=opset,
        **chosen,
    )
    return onnx.load_model_from_string(buffer.getvalue())


def _by_dynamo(network: StackedHourglass, example: torch.Tensor, opset: int) -> Any:
    program = torch.onnx.export(
        network,
        (example,),
        input_names=[INPUT_NAME],
        output_names=list(network.gives),
        dynamic_shapes={INPUT_NAME: {0: torch.export.Dim(BATCH_AXIS)}},
        opset_version=opset,
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise RuntimeError("the exporter returned nothing")
    return program.model_proto


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the exporters' notes to their own developers; errors still come through."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
