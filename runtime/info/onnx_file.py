"""Facts of an ONNX file, read off its protobuf without the onnx package or any engine.

Source: onnx.proto of the ONNX project (ModelProto, GraphProto, NodeProto, TensorProto).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from runtime.errors import ArtifactError
from runtime.files import shown
from runtime.files.kind import HEAD_BYTES, no_file, seems_to_be
from runtime.files.wire_format import BYTES, VARINT, Field, FileBytes, WireError

Facts = dict[str, Any]

# onnx.TensorProto.DataType
DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
}
STANDARD_DOMAIN = "ai.onnx"
# Names are short; a longer one is there to cost memory.
LONGEST_TEXT = 1 << 16
NUMBER, TEXT, SIZE = "number", "text", "size"
# message -> field number -> its name, and its kind: a number, text, the size of it, or a message
SCHEMA: dict[str, dict[int, tuple[str, str]]] = {
    "Model": {
        1: ("ir_version", NUMBER),
        2: ("producer", TEXT),
        3: ("producer", TEXT),  # its version
        7: ("graph", "Graph"),
        8: ("opsets", "Opset"),
        14: ("metadata", "Entry"),
    },
    "Graph": {
        1: ("nodes", "Node"),
        2: ("name", TEXT),
        5: ("initializers", "Tensor"),
        11: ("inputs", "Value"),
        12: ("outputs", "Value"),
    },
    "Node": {4: ("operator", TEXT), 7: ("domain", TEXT)},
    # float_data, int32_data, string_data, int64_data, raw_data, double_data, uint64_data
    "Tensor": {
        **dict.fromkeys((4, 5, 6, 7, 9, 10, 11), ("content", SIZE)),
        8: ("name", TEXT),
        13: ("external", "Entry"),
    },
    "Value": {1: ("name", TEXT), 2: ("type", "Type")},
    "Type": {1: ("tensor", "TensorType")},
    "TensorType": {1: ("dtype", NUMBER), 2: ("shape", "Shape")},
    "Shape": {1: ("dims", "Dim")},
    "Dim": {1: ("value", NUMBER), 2: ("value", TEXT)},
    "Opset": {1: ("key", TEXT), 2: ("value", NUMBER)},
    "Entry": {1: ("key", TEXT), 2: ("value", TEXT)},
}


def read_onnx(path: Path) -> Facts:
    """Read an ONNX file's own words and counts of its main graph; weights are stepped over.

    Returns:
        `nodes` without those inside If, Loop and functions; `operators` with foreign domains before
        the name; `inputs` without those that initializers fill, a free dimension by its name or
        "?"; `initializer_bytes` of this file, and in `external` the files beside it that hold the
        rest.

    Raises:
        ArtifactError: not there, no ONNX, truncated or damaged.
    """
    try:
        if absent := no_file(path):
            raise _refused(path, absent)
        size = path.stat().st_size
        with path.open("rb") as file:
            data = FileBytes(file, size)
            kind = seems_to_be(data.read(0, min(HEAD_BYTES, size)))
            model = _decode(data, "Model", 0, size)
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from error
    except WireError as error:
        known = "ONNX" in kind or kind.startswith("unknown")
        raise _refused(path, f"damage: {error}" if known else kind) from error
    if not model["opsets"] or not model["graph"] or not model["graph"][-1]["outputs"]:
        raise _refused(path, f"no graph with an opset and outputs in it; it seems to be {kind}")
    return {"bytes": size, **_facts(model)}


def _facts(model: Facts) -> Facts:
    graph = model["graph"][-1]
    domains = [_last(node["domain"], "") for node in graph["nodes"]]
    operators = Counter(
        _last(node["operator"], "")
        if domain in ("", STANDARD_DOMAIN)
        else f"{domain}.{_last(node['operator'], '')}"
        for node, domain in zip(graph["nodes"], domains, strict=True)
    )
    # before IR version 4 the constants were listed among the inputs, too
    filled = {_last(tensor["name"], "") for tensor in graph["initializers"]}
    inputs = [_tensor(value) for value in graph["inputs"]]
    external = [_pairs(tensor["external"]).get("location") for tensor in graph["initializers"]]
    return {
        "ir_version": _last(model["ir_version"], 0),
        "producer": " ".join(filter(None, model["producer"])),
        "graph": _last(graph["name"], ""),
        "opsets": {key or STANDARD_DOMAIN: v for key, v in _pairs(model["opsets"], 0).items()},
        "nodes": operators.total(),
        "operators": dict(sorted(operators.items())),
        "inputs": tuple(one for one in inputs if one["name"] not in filled),
        "outputs": tuple(_tensor(value) for value in graph["outputs"]),
        "initializers": len(graph["initializers"]),
        "initializer_bytes": sum(sum(tensor["content"]) for tensor in graph["initializers"]),
        "external": tuple(dict.fromkeys(filter(None, external))),
        "metadata": _pairs(model["metadata"]),
    }


def _tensor(value: Facts) -> Facts:
    kinds = [one for outer in value["type"] for one in outer["tensor"]]
    shapes = [shape for kind in kinds for shape in kind["shape"]]
    number = _last([n for kind in kinds for n in kind["dtype"]], None)
    dims = tuple(_last(dim["value"], "?") for dim in shapes[-1]["dims"]) if shapes else None
    dtype = "?" if number is None else DTYPES.get(number, f"type {number}")
    return {"name": _last(value["name"], ""), "dtype": dtype, "dims": dims}


def _pairs(entries: list[Facts], default: Any = "") -> Facts:
    return {_last(one["key"], ""): _last(one["value"], default) for one in entries}


def _last(values: list[Any], default: Any) -> Any:
    """Of a field that is there more than once, protobuf takes the last."""
    return values[-1] if values else default


def _decode(data: FileBytes, message: str, start: int, end: int) -> Facts:
    """The fields of a message that the schema names, each as a list."""
    schema = SCHEMA[message]
    found: dict[str, list[Any]] = {name: [] for name, _ in schema.values()}
    for one in data.fields(start, end):
        if one.number in schema:
            name, kind = schema[one.number]
            found[name].append(_value(data, one, kind))
    return found


def _value(data: FileBytes, one: Field, kind: str) -> Any:
    if kind == SIZE:
        return one.size
    if kind == NUMBER:
        return one.expect(VARINT).signed
    one.expect(BYTES)
    if kind != TEXT:
        return _decode(data, kind, one.start, one.end)
    if one.size > LONGEST_TEXT:
        raise WireError(f"a name of {one.size} bytes")
    return data.text(one)


def _refused(path: Path, got: str) -> ArtifactError:
    return ArtifactError(
        shown(path),
        expected="an ONNX file",
        got=got,
        action="Copy the file again, or export the model again",
    )
