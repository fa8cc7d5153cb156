"""For every rule of preflight a small graph that breaks it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIDE_PX = 16
IMAGE = ("N", 3, SIDE_PX, SIDE_PX)
CHANNELS = 4
INT64 = TensorProto.INT64

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A graph, how it is to be converted, and what else must be found beside its own rule."""

    model: onnx.ModelProto
    plan: dict[str, Any] = field(default_factory=dict)
    beside: frozenset[str] = frozenset()


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> Any:
    return helper.make_node(kind, inputs, outputs, name=outputs[0] if outputs else "", **attributes)


def value(name: str, shape: Sequence[Any] | None, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: Sequence[Any],
    *,
    constants: Arrays | None = None,
    inputs: Sequence[Any] | None = None,
    outputs: Sequence[Any] | None = None,
    opset: int = 13,
) -> onnx.ModelProto:
    """A graph from `image` to `y`."""
    graph = helper.make_graph(
        list(nodes),
        "planted",
        [value("image", IMAGE)] if inputs is None else list(inputs),
        [value("y", ("a", "b", "c", "d"))] if outputs is None else list(outputs),
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def conv_weights() -> dict[str, NDArray[Any]]:
    weight = np.random.default_rng(0).normal(0, 0.2, (CHANNELS, 3, 3, 3)).astype(np.float32)
    return {"weight": weight, "bias": np.ones(CHANNELS, np.float32)}


def conv() -> Any:
    return node("Conv", ["image", "weight", "bias"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])


def clean(opset: int = 13) -> onnx.ModelProto:
    """One convolution without a fault."""
    return model([conv()], constants=conv_weights(), opset=opset)


def single(kind: str, constants: Arrays | None = None, opset: int = 13, **attributes: Any) -> Any:
    """One node over the image, with constants as its further inputs."""
    inputs = ["image", *(constants or {})]
    return model([node(kind, inputs, ["y"], **attributes)], constants=constants, opset=opset)


def pool(**attributes: Any) -> onnx.ModelProto:
    given = {"kernel_shape": [2, 2], "strides": [2, 2], **attributes}
    return model([node("MaxPool", ["image"], ["y"], **given)])


def resize(
    scales: Sequence[float] | None = (1, 1, 2, 2),
    sizes: Sequence[int] | None = None,
    opset: int = 13,
    **attributes: Any,
) -> onnx.ModelProto:
    constants: dict[str, NDArray[Any]] = {}
    inputs = ["image", "", ""]
    if scales is not None:
        constants["scales"] = np.array(scales, np.float32)
        inputs[2] = "scales"
    if sizes is not None:
        constants["sizes"] = np.array(sizes, np.int64)
        inputs.append("sizes")
    given = {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
        **attributes,
    }
    return model([node("Resize", inputs, ["y"], **given)], constants=constants, opset=opset)


def edited(change: Callable[[onnx.ModelProto], object]) -> onnx.ModelProto:
    made = clean()
    change(made)
    return made


def half_scales() -> onnx.ModelProto:
    """A Resize whose scales are of fp16, which ONNX does not have."""
    made = resize()
    (scales,) = made.graph.initializer
    halves = numpy_helper.to_array(scales).astype(np.float16)
    scales.CopyFrom(numpy_helper.from_array(halves, scales.name))
    return made


def linked_cache(made: onnx.ModelProto, folder: Path, size_threshold: int = 0) -> Path:
    """A model and its weights in a folder of links to files of other names, as hubs keep them."""
    blobs, names = folder / "blobs", folder / "snapshots/r"
    blobs.mkdir(parents=True)
    names.mkdir(parents=True)
    onnx.save(
        made,
        blobs / "model.onnx",
        save_as_external_data=True,
        location="model.onnx_data",
        size_threshold=size_threshold,
    )
    for name, blob in (("model.onnx", "x"), ("model.onnx_data", "y")):
        (blobs / name).rename(blobs / blob)
        (names / name).symlink_to(f"../../blobs/{blob}")
    return names / "model.onnx"


def if_model() -> onnx.ModelProto:
    """If with a constant condition: both branches make an image."""
    branches = {
        f"{side}_branch": helper.make_graph(
            [helper.make_node("Relu", ["image"], [f"{side}_y"], name=f"{side}_relu")],
            side,
            [],
            [value(f"{side}_y", IMAGE)],
        )
        for side in ("then", "else")
    }
    return model([node("If", ["yes"], ["y"], **branches)], constants={"yes": np.ones((), np.bool_)})


def loop_model(count: int = 2) -> onnx.ModelProto:
    body = helper.make_graph(
        [node("Identity", ["go"], ["still"]), node("Relu", ["x"], ["next"])],
        "body",
        [
            value("step", [], TensorProto.INT64),
            value("go", [], TensorProto.BOOL),
            value("x", IMAGE),
        ],
        [value("still", [], TensorProto.BOOL), value("next", IMAGE)],
    )
    constants = {"count": np.array(count), "go_on": np.ones((), np.bool_)}
    return model([node("Loop", ["count", "go_on", "image"], ["y"], body=body)], constants=constants)


def _computed_slice() -> onnx.ModelProto:
    return model(
        [
            node("ReduceMax", ["image"], ["top"], keepdims=0),
            node("Mul", ["top", "three"], ["scaled"]),
            node("Cast", ["scaled"], ["whole"], to=TensorProto.INT64),
            node("Reshape", ["whole", "one"], ["end"]),
            node("Slice", ["image", "start", "end", "one"], ["y"]),
        ],
        constants={"one": np.array([1]), "three": _f32(3), "start": np.array([0])},
    )


def _computed_resize() -> onnx.ModelProto:
    return model(
        [
            node("ReduceMax", ["image"], ["top"], keepdims=0),
            node("Reshape", ["top", "four"], ["scales"]),
            node("Resize", ["image", "", "scales"], ["y"], mode="nearest"),
        ],
        constants={"four": np.array([4])},
    )


def _training() -> onnx.ModelProto:
    weights = ("scale", "shift", "mean", "variance")
    outputs = ["y", "mean2", "variance2"]
    norm = node("BatchNormalization", ["image", *weights], outputs, training_mode=1)
    return model([norm], constants={name: np.ones(3, np.float32) for name in weights}, opset=15)


def _dropout(switch: Arrays) -> onnx.ModelProto:
    """In training, by a constant or by what the graph computes."""
    computed = [
        node("ReduceMax", ["image"], ["top"], keepdims=0),
        node("Cast", ["top"], ["train"], to=TensorProto.BOOL),
    ]
    return model(
        [*([] if switch else computed), node("Dropout", ["image", "ratio", "train"], ["y"])],
        constants={"ratio": np.array(0.5, np.float32), **switch},
    )


def _convolution(kind: str, **attributes: Any) -> Any:
    return node(kind, ["image", "weight"], ["y"], **attributes)


def _weight(channels: int, *sides: int) -> dict[str, NDArray[Any]]:
    return {"weight": np.full((channels, 3, *sides), 0.1, np.float32)}


def _f32(*numbers: float) -> NDArray[np.float32]:
    return np.array(numbers, np.float32)


def _repeat_name(made: onnx.ModelProto) -> None:
    made.graph.node.append(node("Relu", ["y"], ["z"]))
    made.graph.node[1].name = made.graph.node[0].name


def _renamed(old: str, new: str) -> onnx.ModelProto:
    made = clean()
    for names in (made.graph.node[0].input, made.graph.node[0].output):
        for index, name in enumerate(names):
            if name == old:
                names[index] = new
    for each in (*made.graph.input, *made.graph.output):
        if each.name == old:
            each.name = new
    made.graph.node[0].name = "conv"
    return made


def _of_graphs() -> dict[str, list[Planted]]:
    relu = node("Relu", ["image"], ["y"])
    half = node("Cast", ["half"], ["single"], to=TensorProto.FLOAT)
    cast = node("Cast", ["image"], ["y"], to=TensorProto.FLOAT)
    both = [value("image", IMAGE), value("other", IMAGE)]

    def chip(soc_version: str, mode: str) -> Planted:
        plan = {"soc_version": soc_version, "precision": f"precision_mode_v2={mode}"}
        return Planted(model=clean(), plan=plan)

    models = {
        "opset": [clean(19), clean(10), edited(lambda made: made.ClearField("opset_import"))],
        "foreign-domain": [
            edited(lambda made: setattr(made.graph.node[0], "domain", "org.example"))
        ],
        "byte-input": [model([cast], inputs=[value("image", IMAGE, TensorProto.UINT8)])],
        "dynamic-dimension": [
            model([relu], inputs=[value("image", [1, 3, "H", 16])]),
            model([relu], inputs=[value("image", None)]),
            model([node("Add", ["image", "other"], ["y"])], inputs=both),
        ],
        "duplicate-node": [
            edited(_repeat_name),
            edited(lambda made: setattr(made.graph.node[0], "name", "image")),
        ],
        "long-name": [
            _renamed("image", "i" * 128),
            _renamed("y", "o" * 128),
            edited(lambda made: setattr(made.graph.node[0], "name", "n" * 125)),
        ],
        "unusable-name": [_renamed("image", "a;b"), _renamed("image", " a"), _renamed("y", "a:0")],
        "fp16-graph": [
            model(
                [half, node("Add", ["image", "single"], ["y"])],
                constants={"half": np.ones(1, np.float16)},
            )
        ],
        "invalid-graph": [model([node("Relu", ["nowhere"], ["y"])])],
        "dynamic-output": [
            model([node("NonZero", ["image"], ["y"])], outputs=[value("y", (4, "k"), INT64)])
        ],
        "unmeasured": [model([relu], inputs=[value("image", ["N", 1, 8, 8])])],
    }
    planted = {name: [Planted(model=one) for one in some] for name, some in models.items()}
    planted["dynamic-dimension"].append(Planted(model=clean(), plan={"batches": ()}))
    planted["invalid-graph"].append(Planted(model=half_scales(), beside=frozenset({"fp16-graph"})))
    return planted | {
        "no-fp32-on-chip": [chip("Ascend310P3", "origin")],
        "mode-without-chip": [
            chip("Ascend310P3", "mixed_bfloat16"),
            chip("Ascend910B3", "mixed_hif8"),
        ],
        "old-chip": [Planted(model=clean(), plan={"soc_version": "Ascend910B"})],
    }


def _of_operators() -> dict[str, list[Planted]]:
    to_int64, to_double = (
        node("Cast", ["image"], ["wide"], to=kind)
        for kind in (TensorProto.INT64, TensorProto.DOUBLE)
    )
    gears = {"batches": (1, 2), "gears": True}
    models = {
        "unsupported-operator": [single("Swish"), single("CenterCropPad"), loop_model()],
        "newer-operator": [single("Mish", opset=18)],
        "quantized": [single("QuantizeLinear", {"s": _f32(1), "z": np.zeros(1, np.uint8)})],
        "64-bit-arithmetic": [
            model(
                [
                    to_int64,
                    node("Add", ["wide", "one"], ["sum"]),
                    node("Cast", ["sum"], ["y"], to=TensorProto.FLOAT),
                ],
                constants={"one": np.array([5])},
            ),
            model([to_double, node("Cast", ["wide"], ["y"], to=TensorProto.FLOAT)]),
        ],
        "training-mode": [_training(), _dropout({"train": np.ones((), np.bool_)}), _dropout({})],
        "random": [
            model([node(kind, ["image"], ["noise"]), node("Add", ["image", "noise"], ["y"])])
            for kind in ("RandomNormalLike", "RandomUniformLike")
        ],
        "conv-limits": [
            *(
                model([_convolution(kind, **{name: [1, size]})], constants=_weight(3, 3, 1))
                for kind in ("Conv", "ConvTranspose")
                for name, size in (("strides", 64), ("dilations", 256))
            ),
            model([_convolution("Conv", pads=[0, 256, 0, 0])], constants=_weight(3, 3, 3)),
            model([_convolution("Conv", pads=[0, 255, 0, 255])], constants=_weight(3, 1, 512)),
            model([_convolution("ConvTranspose")], constants=_weight(3, 1, 256)),
        ],
        "pool-dilation": [pool(dilations=[2, 2])],
        "pool-slow": [pool(kernel_shape=[16, 16]), pool(strides=[64, 1])],
        "clip-bounds": [single("Clip"), model([node("Clip", ["image", "", ""], ["y"])])],
        "slice-computed": [_computed_slice()],
        "resize-size": [
            resize(scales=None),
            model([node("Resize", ["image"], ["y"])]),
            _computed_resize(),
        ],
        "resize-mode": [resize(mode="cubic"), resize(mode="magic")],
        "resize-pixels": [
            resize(nearest_mode="ceil"),
            resize((1, 1, 1.7, 1.7), nearest_mode="round_prefer_floor"),
            resize(None, (1, 3, 11, 11), coordinate_transformation_mode="align_corners"),
            resize((1, 2, 2, 2)),
        ],
        "resize-ignored": [
            resize(opset=18, mode="linear", antialias=1),
            resize((2, 2), opset=18, axes=[2, 3]),
            resize(None, (1, 3, 32, 32), opset=18, keep_aspect_ratio_policy="not_larger"),
        ],
    }
    planted = {name: [Planted(model=one) for one in some] for name, some in models.items()}
    return planted | {
        # what is inside the branches is not measured
        "branch": [Planted(model=if_model(), beside=frozenset({"unmeasured"}))],
        "data-shaped": [Planted(model=single(kind), plan=gears) for kind in ("NonZero",)],
    }


def guarded(kind: str, bound: float = 1e-10) -> onnx.ModelProto:
    """Division by a sum that is kept above a bound."""
    return model(
        [
            node("ReduceSum", ["image"], ["sum"], keepdims=0),
            node(kind, ["sum", "bound"], ["kept"]),
            node("Unsqueeze", ["kept", "axis"], ["one"]),
            node("Div", ["image", "one"], ["y"]),
        ],
        constants={"bound": np.array(bound, np.float32), "axis": np.array([0])},
    )


def _of_magnitudes() -> dict[str, list[Planted]]:
    def chain(kinds: Sequence[str], constant: float) -> onnx.ModelProto:
        """Nodes over the image, each with the same constant."""
        names = ["image", *(f"x{index}" for index in range(1, len(kinds))), "y"]
        nodes = [node(k, [names[i], "one"], [names[i + 1]]) for i, k in enumerate(kinds)]
        return model(nodes, constants={"one": _f32(constant)})

    weights = conv_weights()
    tiny = {**weights, "weight": np.full_like(weights["weight"], 1e-6)}
    models = {
        "fp16-weight-overflow": model(
            [
                node("Greater", ["image", "large"], ["high"]),
                node("Where", ["high", "one", "image"], ["y"]),
            ],
            constants={"large": _f32(1e5), "one": _f32(1)},
        ),
        "fp16-weight-underflow": model([conv()], constants=tiny),
        "fp16-activation-overflow": chain(("Add", "Add", "Div"), 60000),
        "fp16-activation-underflow": chain(("Mul", "Mul"), 1e-3),
    }
    planted = {name: [Planted(model=one)] for name, one in models.items()}
    return planted | {"fp16-guard": [Planted(model=guarded("Max")), Planted(model=guarded("Clip"))]}


PLANTED = {**_of_graphs(), **_of_operators(), **_of_magnitudes()}
