"""For every rule of preflight a small graph that breaks it, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIDE_PX = 16
IMAGE = ("N", 3, SIDE_PX, SIDE_PX)
CHANNELS = 4

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


def conv_weights(scale: float = 1.0) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(0)
    weight = rng.normal(0, scale / 5, (CHANNELS, 3, 3, 3)).astype(np.float32)
    return {"weight": weight, "bias": np.ones(CHANNELS, np.float32)}


def conv(**attributes: Any) -> Any:
    given = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], **attributes}
    kept = {name: one for name, one in given.items() if one is not None}
    return node("Conv", ["image", "weight", "bias"], ["y"], **kept)


def clean(opset: int = 13, scale: float = 1.0) -> onnx.ModelProto:
    """One convolution that nothing can be said against."""
    return model([conv()], constants=conv_weights(scale), opset=opset)


def single(kind: str, constants: Arrays | None = None, opset: int = 13, **attributes: Any) -> Any:
    """One node over the image, with constants as its further inputs."""
    inputs = ["image", *(constants or {})]
    return model([node(kind, inputs, ["y"], **attributes)], constants=constants, opset=opset)


def pool(outputs: Sequence[str] = ("y",), **attributes: Any) -> onnx.ModelProto:
    given = {"kernel_shape": [2, 2], "strides": [2, 2], **attributes}
    kept = {name: one for name, one in given.items() if one is not None}
    return model([node("MaxPool", ["image"], outputs, **kept)])


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


def edited(change: Any, base: onnx.ModelProto | None = None) -> onnx.ModelProto:
    made = base or clean()
    change(made)
    return made


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


def loop_model() -> onnx.ModelProto:
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["still"], name="still"),
            helper.make_node("Relu", ["x"], ["next"], name="next"),
        ],
        "body",
        [
            value("step", [], TensorProto.INT64),
            value("go", [], TensorProto.BOOL),
            value("x", IMAGE),
        ],
        [value("still", [], TensorProto.BOOL), value("next", IMAGE)],
    )
    constants = {"count": np.array(2), "go_on": np.ones((), np.bool_)}
    return model([node("Loop", ["count", "go_on", "image"], ["y"], body=body)], constants=constants)


def int64_model() -> onnx.ModelProto:
    return model(
        [
            node("Cast", ["image"], ["whole"], to=TensorProto.INT64),
            node("Add", ["whole", "one"], ["sum"]),
            node("Cast", ["sum"], ["y"], to=TensorProto.FLOAT),
        ],
        constants={"one": np.array([5], np.int64)},
    )


def computed_slice() -> onnx.ModelProto:
    return model(
        [
            node("ReduceMax", ["image"], ["top"], keepdims=0),
            node("Mul", ["top", "three"], ["scaled"]),
            node("Cast", ["scaled"], ["whole"], to=TensorProto.INT64),
            node("Reshape", ["whole", "one"], ["end"]),
            node("Slice", ["image", "start", "end", "axis"], ["y"]),
        ],
        constants={
            "one": np.array([1], np.int64),
            "three": _f32(3),
            "start": np.array([0], np.int64),
            "axis": np.array([1], np.int64),
        },
    )


def _f32(*numbers: float) -> NDArray[np.float32]:
    return np.array(numbers, np.float32)


def _duplicate(made: onnx.ModelProto) -> None:
    made.graph.node.append(node("Relu", ["y"], ["z"]))
    made.graph.node[1].name = made.graph.node[0].name


def _named_as_input(made: onnx.ModelProto) -> None:
    made.graph.node[0].name = "image"


def _damage(made: onnx.ModelProto) -> None:
    made.graph.initializer[0].raw_data = made.graph.initializer[0].raw_data[:-1]


def _foreign(made: onnx.ModelProto) -> None:
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def _volume(**attributes: Any) -> onnx.ModelProto:
    """A 3-D convolution."""
    constants = {"weight": np.ones((2, 3, 1, 3, 3), np.float32)}
    return model(
        [
            node("Unsqueeze", ["image", "axes"], ["x"]),
            node("Conv", ["x", "weight"], ["y"], kernel_shape=[1, 3, 3], **attributes),
        ],
        constants={**constants, "axes": np.array([2], np.int64)},
    )


def _models() -> dict[str, list[Planted]]:
    plain, p = clean, Planted
    image = [value("image", IMAGE)]
    return {
        "opset": [p(model=plain(19)), p(model=plain(9)), p(model=edited(_drop_imports))],
        "domain-versions": [p(model=edited(_import_twice))],
        "foreign-domain": [p(model=edited(_foreign_node))],
        "foreign-import": [p(model=edited(_foreign))],
        "no-input-or-output": [
            p(model=model([conv()], constants=conv_weights(), outputs=[])),
            p(model=model([node("Constant", [], ["y"], value_floats=[1.0])], inputs=[])),
        ],
        "input-type": [
            p(
                model=model(
                    [node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)],
                    inputs=[value("x", [1, 2], kind)],
                ),
                # no crop can be made of it
                beside=frozenset({"unmeasured"}),
            )
            for kind in (TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL)
        ],
        "byte-input": [p(model=_cast_of(TensorProto.UINT8))],
        "dynamic-dimension": [
            p(model=plain(), plan={"batches": ()}),
            p(
                model=model(
                    [conv()], constants=conv_weights(), inputs=[value("image", [1, 3, "H", 16])]
                )
            ),
            p(model=model([conv()], constants=conv_weights(), inputs=[value("image", None)])),
            p(
                model=model(
                    [node("Add", ["image", "other"], ["y"])],
                    inputs=[*image, value("other", IMAGE)],
                )
            ),
        ],
        "empty-dimension": [
            p(
                model=model(
                    [node("Relu", ["image"], ["y"])], inputs=[value("image", [1, 0, 4, 4])]
                ),
            )
        ],
        "duplicate-node": [p(model=edited(_duplicate)), p(model=edited(_named_as_input))],
        "long-name": [
            p(model=_renamed("image", "i" * 128)),
            p(model=_renamed("y", "o" * 128)),
            p(model=edited(_long_node)),
        ],
        "unusable-name": [
            p(model=_renamed("image", "a;b")),
            p(model=_renamed("image", " a")),
            p(model=_renamed("y", "a:0")),
        ],
        "damaged-weight": [p(model=edited(_damage), beside=frozenset({"invalid-graph"}))],
        "fp16-graph": [
            p(
                model=model(
                    [
                        node("Cast", ["half"], ["single"], to=TensorProto.FLOAT),
                        node("Add", ["image", "single"], ["y"]),
                    ],
                    constants={"half": np.ones(1, np.float16)},
                )
            )
        ],
        "64-bit-arithmetic": [
            p(model=int64_model()),
            p(
                model=model(
                    [
                        node("Cast", ["image"], ["wide"], to=TensorProto.DOUBLE),
                        node("Cast", ["wide"], ["y"], to=TensorProto.FLOAT),
                    ]
                )
            ),
        ],
    }


def _chips() -> dict[str, list[Planted]]:
    plain, p = clean, Planted
    return {
        "no-fp32-on-chip": [
            p(
                model=plain(),
                plan={"soc_version": "Ascend310P3", "precision": "precision_mode_v2=origin"},
            )
        ],
        "mode-without-chip": [
            p(
                model=plain(),
                plan={"soc_version": chip, "precision": f"precision_mode_v2={mode}"},
            )
            for chip, mode in (("Ascend310P3", "mixed_bfloat16"), ("Ascend910B3", "mixed_hif8"))
        ],
        "old-chip": [p(model=plain(), plan={"soc_version": "Ascend910B"})],
    }


def _operators() -> dict[str, list[Planted]]:
    p = Planted
    return {
        "unsupported-operator": [p(model=single("Swish")), p(model=single("CenterCropPad"))],
        "newer-operator": [p(model=single("Mish", opset=18))],
        "quantized": [
            p(model=single("QuantizeLinear", {"s": _f32(1), "z": np.zeros(1, np.uint8)}))
        ],
        "loop": [p(model=loop_model())],
        # what is inside the branches is not seen
        "branch": [p(model=if_model(), beside=frozenset({"unmeasured"}))],
        "data-shaped": [
            p(model=single("NonZero"), plan={"batches": (1, 2), "gears": True}),
            p(model=single("Where"), plan={"batches": (1, 2), "gears": True}),
        ],
        "conv-attributes": [
            p(model=model([conv(kernel_shape=None, pads=None)], constants=conv_weights())),
            p(model=model([conv(pads=[1, 1, 1])], constants=conv_weights())),
            p(model=_volume(auto_pad="SAME_UPPER")),
            p(model=model([conv(kernel_shape=[1, 1, 1, 1])], constants=conv_weights())),
        ],
        "batch-norm-training": [
            p(
                model=model(
                    [
                        node(
                            "BatchNormalization",
                            ["image", "scale", "shift", "mean", "variance"],
                            ["y", "mean2", "variance2"],
                            training_mode=1,
                        )
                    ],
                    constants={
                        name: np.ones(3, np.float32)
                        for name in ("scale", "shift", "mean", "variance")
                    },
                    opset=15,
                )
            )
        ],
        "pool-indices": [p(model=pool(("y", "where"))), p(model=pool(storage_order=1))],
        "pool-window": [
            p(model=pool(kernel_shape=None)),
            p(model=pool(kernel_shape=[2, 2, 2, 2], strides=None)),
            p(model=pool(pads=[0, 0, 1])),
        ],
        "pool-dilation": [p(model=pool(dilations=[2, 2]))],
        "pool-padding": [p(model=pool(auto_pad="SAME_LOWER"))],
        "pool-slow": [
            p(model=pool(kernel_shape=[16, 16])),
            p(model=pool(strides=[64, 1]), plan={"soc_version": "Ascend310P3"}),
        ],
        "pool-slow-edges": [
            p(model=pool(kernel_shape=[16, 16], ceil_mode=1)),
            p(model=pool(kernel_shape=[16, 16], auto_pad="SAME_UPPER")),
        ],
        "clip-bounds": [
            p(model=single("Clip")),
            p(model=model([node("Clip", ["image", "", ""], ["y"])])),
        ],
        "cast-type": [
            p(model=single("Cast", to=TensorProto.FLOAT8E4M3FN)),
            p(model=single("Cast", to=99)),
            p(model=single("Cast")),
        ],
        "slice-bounds": [p(model=single("Slice", {"starts": np.array([0])}))],
        "slice-computed": [p(model=computed_slice())],
        "mean-noop": [
            # ONNX itself has the attribute at opset 18 alone, which ATC reads well
            p(
                model=single("ReduceMean", opset=12, noop_with_empty_axes=1),
                beside=frozenset({"invalid-graph"}),
            )
        ],
        "sum-noop": [p(model=single("ReduceSum", noop_with_empty_axes=1))],
    }


def _resizes() -> dict[str, list[Planted]]:
    p = Planted
    return {
        "resize-size": [
            p(model=resize(scales=None)),
            p(model=model([node("Resize", ["image"], ["y"])])),
            p(model=_resize_by_input()),
        ],
        "resize-mode": [p(model=resize(mode="cubic")), p(model=resize(mode="magic"))],
        "resize-rank": [
            p(model=_resize_of([1, 3, 8], mode="nearest")),
            p(model=_resize_of([1, 3, 4, 8, 8], mode="nearest")),
            p(model=_resize_of([1, 3, 4, 8, 8], mode="linear")),
        ],
        "resize-pixels": [
            p(model=resize(nearest_mode="ceil")),
            p(model=resize((1, 1, 1.7, 1.7), nearest_mode="round_prefer_floor")),
            p(
                model=resize(
                    None,
                    (1, 3, 11, 11),
                    coordinate_transformation_mode="align_corners",
                    nearest_mode="floor",
                )
            ),
            p(model=resize((1, 2, 2, 2))),
        ],
        "resize-ignored": [
            p(model=resize(opset=18, mode="linear", antialias=1)),
            p(model=resize((2, 2), opset=18, axes=[2, 3])),
            p(model=resize(None, (1, 3, 32, 32), opset=18, keep_aspect_ratio_policy="not_larger")),
        ],
    }


def _magnitudes() -> dict[str, list[Planted]]:
    p = Planted
    sixty_thousand = _f32(60000)
    return {
        "fp16-weight-overflow": [
            p(
                model=model(
                    [
                        node("Greater", ["image", "large"], ["high"]),
                        node("Where", ["high", "one", "image"], ["y"]),
                    ],
                    constants={"large": _f32(1e5), "one": _f32(1)},
                )
            )
        ],
        "fp16-weight-underflow": [p(model=_tiny_weights())],
        "fp16-activation-overflow": [
            p(
                model=model(
                    [
                        node("Add", ["image", "big"], ["a"]),
                        node("Add", ["a", "big"], ["b"]),
                        node("Div", ["b", "big"], ["y"]),
                    ],
                    constants={"big": sixty_thousand},
                )
            )
        ],
        "fp16-activation-underflow": [
            p(
                model=model(
                    [node("Mul", ["image", "small"], ["a"]), node("Mul", ["a", "small"], ["y"])],
                    constants={"small": _f32(1e-3)},
                )
            )
        ],
        "invalid-graph": [p(model=model([node("Relu", ["nowhere"], ["y"])]))],
        "unmeasured": [
            p(
                model=model(
                    [node("Relu", ["image"], ["y"])], inputs=[value("image", ["N", 1, 8, 8])]
                )
            )
        ],
    }


def _cast_of(kind: int) -> onnx.ModelProto:
    cast = node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)
    return model([cast], inputs=[value("x", IMAGE, kind)])


def _drop_imports(made: onnx.ModelProto) -> None:
    del made.opset_import[:]


def _import_twice(made: onnx.ModelProto) -> None:
    made.opset_import.append(helper.make_opsetid("", 12))


def _foreign_node(made: onnx.ModelProto) -> None:
    made.graph.node[0].domain = "org.example"


def _long_node(made: onnx.ModelProto) -> None:
    made.graph.node[0].name = "n" * 125


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


def _resize_by_input() -> onnx.ModelProto:
    return model(
        [
            node("ReduceMax", ["image"], ["top"], keepdims=0),
            node("Reshape", ["top", "four"], ["scales"]),
            node("Resize", ["image", "", "scales"], ["y"], mode="nearest"),
        ],
        constants={"four": np.array([4], np.int64)},
    )


def _resize_of(shape: Sequence[int], **attributes: Any) -> onnx.ModelProto:
    scales = np.array([1, 1, *[2] * (len(shape) - 2)], np.float32)
    return model(
        [
            node("Reshape", ["image", "shape"], ["x"]),
            node(
                "Resize",
                ["x", "", "scales"],
                ["y"],
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
                **attributes,
            ),
        ],
        constants={"scales": scales, "shape": np.array(shape, np.int64)},
    )


def _tiny_weights() -> onnx.ModelProto:
    weights = conv_weights()
    weights["weight"] = np.full_like(weights["weight"], 1e-6)
    return model([conv()], constants=weights)


PLANTED = {**_models(), **_chips(), **_operators(), **_resizes(), **_magnitudes()}
