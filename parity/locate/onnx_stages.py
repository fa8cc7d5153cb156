"""The stages of an ONNX graph, each cut out of it and run alone; nothing is written anywhere."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from parity.locate.composed_modules import composed_of
from parity.locate.module_tensors import ModuleTensors, module_paths
from parity.locate.stage_runs import F32, Shown, Step, image_of, stacks_in
from runtime.backends.ort import open_graph
from runtime.errors import ArtifactError, InferenceError, one_line
from runtime.model.spec import INPUT_NAME, InputSpec
from runtime.model.stages import Stage, living_stages

WEIGHTED_OPERATORS = frozenset({"Conv", "BatchNormalization"})


class OnnxStages:
    """A graph whose tensors carry the stages' names, on one of onnxruntime's devices.

    Args:
        where: names the source.
        graph: an ONNX file's bytes.
        device: as a source names it.
    """

    by_module = False

    def __init__(self, where: str, graph: bytes, device: str, threads: int | None = None) -> None:
        self.name = where
        self._device = device
        self._threads = threads
        self._model = onnx.load_model_from_string(graph)
        given = self._model.graph.input[0].type.tensor_type
        self._takes_bytes = given.elem_type == onnx.TensorProto.UINT8
        self._nodes = list(self._model.graph.node)
        self._producer = {name: i for i, node in enumerate(self._nodes) for name in node.output}
        self._constants = {tensor.name: tensor for tensor in self._model.graph.initializer}
        self.stacks = stacks_in(where, self._producer)
        self._modules = ModuleTensors(self._nodes, self._constants)
        self._sessions: dict[tuple[tuple[str, ...], tuple[str, ...]], Any] = {}

    def taps(self, shown: Shown) -> dict[str, F32]:
        """Every stage's tensors for one picture."""
        names = [name for stage in living_stages(self.stacks) for name in stage.outputs]
        return self._run(tuple(names), {INPUT_NAME: image_of(shown)})

    def run_stage(self, stage: Stage, inputs: Mapping[str, F32]) -> dict[str, F32]:
        """One stage alone. What a stage rounds as it stores it is not rounded again by the next."""
        return self._run(stage.outputs, {name: inputs[name] for name in stage.inputs})

    def inside(self, stage: Stage, inputs: Mapping[str, F32]) -> dict[str, F32]:
        """Every float32 tensor that the stage makes on its way, in the graph's order."""
        nodes = self._between(stage.outputs, stage.inputs)
        fed = {name: inputs[name] for name in stage.inputs}
        names = tuple(n for i in nodes if not self._is_constant(i) for n in self._nodes[i].output)
        made = self._run(names, fed, keep=False)
        return {name: value for name, value in made.items() if value.dtype == np.float32}

    def known_by(self, stage: Stage, values: Mapping[str, F32]) -> dict[str, F32]:
        """Tensors of the same name and shape; of a checkpoint, those its modules tell of."""
        own = self.inside(stage, values)
        mine = {**self._modules.known(values), **values}
        fitting = {n: v for n, v in mine.items() if n in own and own[n].shape == v.shape}
        return {**{name: values[name] for name in stage.inputs}, **fitting}

    def steps(self, stage: Stage, known: Collection[str]) -> list[Step]:
        """Cut a stage at every tensor whose value is known, in the graph's order.

        Args:
            stage: which.
            known: names of tensors in this graph; all others are computed on the way.
        """
        inside = self._between(stage.outputs, stage.inputs)
        made = [n for i in inside for n in self._nodes[i].output if n in known]
        steps: list[Step] = []
        for name in made:
            stops = {*stage.inputs, *made} - {name}
            nodes = self._between((name,), stops)
            read = {n for i in nodes for n in self._nodes[i].input}
            real = [self._nodes[i] for i in nodes if self._nodes[i].name]
            steps.append(
                Step(
                    output=name,
                    inputs=tuple(sorted(read & stops)),
                    operators=tuple(
                        f"{node.op_type} {node.name}" for node in real if node.op_type != "Constant"
                    ),
                )
            )
        return steps

    def run_step(self, step: Step, values: Mapping[str, F32]) -> F32:
        """One step alone."""
        fed = {name: values[name] for name in step.inputs}
        return self._run((step.output,), fed, keep=False)[step.output]

    def weights(self, step: Step) -> dict[str, F32]:
        """What a step's convolution or batch norm multiplies with, by the place it is read at."""
        found: dict[str, F32] = {}
        for node in self._nodes_of(step):
            for place, name in enumerate(node.input):
                if node.op_type in WEIGHTED_OPERATORS and name in self._constants:
                    found[f"{node.name} input {place}"] = onnx.numpy_helper.to_array(
                        self._constants[name]
                    )
        return found

    def composed(self, step: Step) -> tuple[str, ...]:
        """The checkpoint's modules that a step's weights were composed of at export, if any."""
        return tuple(
            dict.fromkeys(
                key
                for node in self._nodes_of(step)
                if node.op_type in WEIGHTED_OPERATORS
                for path in module_paths(node)
                for key in composed_of(path)
            )
        )

    def _nodes_of(self, step: Step) -> list[Any]:
        """The nodes of a step; none of another source's step."""
        if not {step.output, *step.inputs} <= {*self._producer, INPUT_NAME}:
            return []
        inside = self._between((step.output,), {*step.inputs, INPUT_NAME})
        return [self._nodes[i] for i in inside]

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
        """As the graph takes them: the picture is bytes again where the graph normalises it."""
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
        """Whether no picture reaches this node."""
        return (
            all(
                name in self._constants or self._is_constant(self._producer[name])
                for name in self._nodes[index].input
                if name and (name in self._constants or name in self._producer)
            )
            and INPUT_NAME not in self._nodes[index].input
        )
