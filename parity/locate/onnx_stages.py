"""The stages of an ONNX graph, each cut out of it and run alone; nothing is written anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from parity.locate.figures import F32
from parity.locate.module_tensors import ModuleTensors, composed_of, module_paths
from parity.locate.stages import U8, StagedSource, Step, image_of, stages_in
from runtime.backends import Backend
from runtime.backends.ort import open_graph
from runtime.errors import ArtifactError, InferenceError, one_line
from runtime.model.spec import INPUT_NAME, InputSpec
from runtime.model.stages import Stage

WEIGHTED_OPERATORS = frozenset({"Conv", "BatchNormalization"})


class OnnxStages(StagedSource):
    """A graph whose tensors carry the stages' names, on one of onnxruntime's devices.

    Args:
        name: of the source.
        backend: opened on the whole graph; it may be closed.
        graph: an ONNX file's bytes.
        device: for the slices, as a source names it.
        threads: as in `Settings`.
    """

    def __init__(
        self, name: str, backend: Backend, graph: bytes, device: str, threads: int | None
    ) -> None:
        self._device = device
        self._threads = threads
        self._model = onnx.load_model_from_string(graph)
        given = self._model.graph.input[0].type.tensor_type
        self._takes_bytes = given.elem_type == onnx.TensorProto.UINT8
        self._nodes = list(self._model.graph.node)
        self._producer = {name: i for i, node in enumerate(self._nodes) for name in node.output}
        self._constants = {tensor.name: tensor for tensor in self._model.graph.initializer}
        self._modules = ModuleTensors(self._nodes, self._constants)
        self._sessions: dict[tuple[tuple[str, ...], tuple[str, ...]], Any] = {}
        super().__init__(
            name,
            backend.name,
            backend.checkpoint_sha256,
            backend.spec.input.size,
            stages_in(name, self._producer),
        )

    def taps(self, crop: U8) -> dict[str, F32]:
        """Every stage's tensors for one picture."""
        names = [name for stage in self.stages for name in stage.outputs]
        return self._run(tuple(names), {INPUT_NAME: image_of(crop)})

    def run_stage(self, stage: Stage, inputs: Mapping[str, F32]) -> dict[str, F32]:
        """Run one stage. What it rounds as it stores it is not rounded again by the next."""
        return self._run(stage.outputs, {name: inputs[name] for name in stage.inputs})

    def inside(self, stage: Stage, inputs: Mapping[str, F32]) -> dict[str, F32]:
        """Every float32 tensor that the stage computes, in the graph's order."""
        nodes = self._between(stage.outputs, stage.inputs)
        fed = {name: inputs[name] for name in stage.inputs}
        names = tuple(n for i in nodes if not self._is_constant(i) for n in self._nodes[i].output)
        made = self._run(names, fed, keep=False)
        return {name: value for name, value in made.items() if value.dtype == np.float32}

    def steps(self, stage: Stage, values: Mapping[str, F32]) -> list[Step]:
        """Cut a stage at the tensors of the same name and shape, and at those of modules."""
        own = self.inside(stage, values)
        theirs = {**self._modules.renamed(values), **values}
        shared = {n: v for n, v in theirs.items() if n in own and own[n].shape == v.shape}
        known = {**{name: values[name] for name in stage.inputs}, **shared}
        inside = self._between(stage.outputs, stage.inputs)
        made = [n for i in inside for n in self._nodes[i].output if n in known]
        steps: list[Step] = []
        for name in made:
            stops = {*stage.inputs, *made} - {name}
            nodes = [self._nodes[i] for i in self._between((name,), stops)]
            read = {n for node in nodes for n in node.input}
            operators = (n for n in nodes if n.name and n.op_type != "Constant")
            steps.append(
                Step(
                    output=name,
                    expected=known[name],
                    inputs={n: known[n] for n in sorted(read & stops)},
                    operators=tuple(f"{node.op_type} {node.name}" for node in operators),
                )
            )
        return steps

    def run_step(self, step: Step) -> F32:
        """Run one step alone."""
        return self._run((step.output,), step.inputs, keep=False)[step.output]

    def weights(self, step: Step) -> dict[str, F32]:
        """Weights of a step's convolutions and batch norms, by node and place among its inputs."""
        return {
            f"{node.name} input {place}": onnx.numpy_helper.to_array(self._constants[name])
            for node in self._weighted(step)
            for place, name in enumerate(node.input)
            if name in self._constants
        }

    def composed(self, step: Step) -> tuple[str, ...]:
        """The checkpoint's modules that a step's weights were composed of at export, if any."""
        paths = (path for node in self._weighted(step) for path in module_paths(node))
        return tuple(dict.fromkeys(key for path in paths for key in composed_of(path)))

    def _weighted(self, step: Step) -> list[Any]:
        """The nodes of a step that have weights; none where this graph has no such step."""
        if not {step.output, *step.inputs} <= {*self._producer, INPUT_NAME}:
            return []
        inside = self._between((step.output,), {*step.inputs, INPUT_NAME})
        nodes = (self._nodes[i] for i in inside)
        return [node for node in nodes if node.op_type in WEIGHTED_OPERATORS]

    def close(self) -> None:
        """Let the sessions go."""
        self._sessions.clear()

    def _run(
        self, outputs: tuple[str, ...], inputs: Mapping[str, F32], *, keep: bool = True
    ) -> dict[str, F32]:
        key = (outputs, tuple(inputs))
        session = self._sessions.get(key)
        if session is None:
            part = self._slice(outputs, tuple(inputs))
            session = open_graph(self.name, part, self._device, self._threads)
            if keep:
                self._sessions[key] = session
        try:
            return dict(zip(outputs, session.run(list(outputs), self._fed(inputs)), strict=True))
        # onnxruntime raises its own classes, which it does not export, and RuntimeError
        except Exception as error:
            raise InferenceError(
                self.name,
                expected=f"a run from {', '.join(inputs)} to {outputs[0]} without an error",
                got=one_line(f"{type(error).__name__}: {error}", 300),
                action="Run the same source with @cpu to see whether the device is at fault",
            ) from error

    def _fed(self, inputs: Mapping[str, F32]) -> dict[str, NDArray[Any]]:
        """The inputs in the graph's types: the picture as bytes where the graph normalises it."""
        fed: dict[str, NDArray[Any]] = dict(inputs)
        if self._takes_bytes and INPUT_NAME in fed:
            spec = InputSpec()
            crops = np.rint(fed[INPUT_NAME] * spec.scale + spec.mean).astype(np.uint8)
            fed[INPUT_NAME] = np.ascontiguousarray(crops.transpose(0, 2, 3, 1))
        return fed

    def _slice(self, outputs: Iterable[str], inputs: Iterable[str]) -> bytes:
        """The nodes between some tensors and others, as a model of its own."""
        nodes = [self._nodes[i] for i in self._between(outputs, inputs)]
        read = {name for node in nodes for name in node.input}
        graph = onnx.GraphProto(name="slice", node=nodes)
        for name in inputs:
            bytes_in = self._takes_bytes and name == INPUT_NAME
            kind = onnx.TensorProto.UINT8 if bytes_in else onnx.TensorProto.FLOAT
            graph.input.append(onnx.helper.make_tensor_value_info(name, kind, None))
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
        graph.initializer.extend(t for t in self._model.graph.initializer if t.name in read)
        model = onnx.ModelProto(
            ir_version=self._model.ir_version,
            opset_import=self._model.opset_import,
            functions=self._model.functions,
            graph=graph,
        )
        return bytes(model.SerializeToString())

    def _between(self, outputs: Iterable[str], inputs: Iterable[str]) -> list[int]:
        """Indices of the nodes that make some tensors of others, in the graph's order.

        Raises:
            ArtifactError: they are made of something else, too.
        """
        stops, found, waiting = set(inputs), set[int](), list(outputs)
        while waiting:
            name = waiting.pop()
            if not name or name in stops or name in self._constants:
                continue
            if name not in self._producer:
                raise ArtifactError(
                    self.name,
                    expected=f"{', '.join(outputs)} to be made of {', '.join(sorted(stops))} alone",
                    got=f"{name!r} read, too",
                    action="Export it again with python -m export",
                )
            index = self._producer[name]
            if index not in found:
                found.add(index)
                waiting += self._nodes[index].input
        return sorted(found)

    def _is_constant(self, index: int) -> bool:
        """Whether this node does not depend on the picture."""
        read = self._nodes[index].input
        makers = (self._producer[name] for name in read if name in self._producer)
        return INPUT_NAME not in read and all(self._is_constant(maker) for maker in makers)
