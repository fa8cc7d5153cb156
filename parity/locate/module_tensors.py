"""Which tensors of an exported graph are the inputs and outputs of a checkpoint's modules.

A convolution is recognised by the name of its weight (the dynamo exporter keeps the checkpoint's
keys) or by its own (the TorchScript exporter writes the module's path into it). The export folds
the batch norm that follows a convolution into its weights, and splits off the coordinate channels,
whose share it adds behind the convolution: a module's output is mapped to where it then is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from parity.locate.figures import F32
from runtime.model.stages import MODULE_INPUT

WEIGHT_SUFFIX = ".weight"
# `export.graph.inference_form` computes some modules together; the weights it makes of several
# carry a name that no checkpoint has. That name, and the checkpoint's modules; {} is the stack.
COMPOSED = (
    (
        r"merge_maps\.([0-9]+)",
        ("merge_heatmaps.{}.conv", "merge_pointmaps.{}.conv", "merge_edgemaps.{}.conv"),
    ),
    (
        r"out_maps\.([0-9]+)",
        ("out_heatmaps.{}.conv", "out_pointmaps.{}.conv", "out_edgemaps.{}.conv"),
    ),
    (
        r"features\.([0-9]+)\.from_(?:block|input)",
        ("features.{}.0.conv3.conv", "features.{}.1.conv", "features.{}.1.bn"),
    ),
    (r"hgs\.([0-9]+)\.coordconv\.(?:plane_conv|batch)", ("hgs.{}.coordconv.conv",)),
)


class ModuleTensors:
    """A graph's tensors by the modules of its checkpoint, from its nodes and initializers."""

    def __init__(self, nodes: Sequence[Any], constants: Mapping[str, Any]) -> None:
        self._nodes = nodes
        self._constants = constants
        self._producer = {name: node for node in nodes for name in node.output}
        self._readers: dict[str, list[Any]] = {}
        for node in nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def renamed(self, values: Mapping[str, F32]) -> dict[str, F32]:
        """Inputs and outputs of modules, by the names of this graph's tensors.

        Args:
            values: by module path, and path + `MODULE_INPUT`; in one stage.
        """
        found: dict[str, F32] = {}
        for node in self._nodes:
            path = _module_of(node, values)
            if node.op_type == "Conv" and path:
                given, made = values[path + MODULE_INPUT], values[path]
                whole = node
                if self._reads_fewer_channels(node, given):  # the module's output is the sum
                    whole = self._norm_or_sum_after(node)
                    if whole.op_type != "Add":
                        continue
                else:
                    found[self._before_rounding(node.input[0])] = given
                folded = self._norm_or_sum_after(whole).op_type != "BatchNormalization"
                normed = _norm_of(values, made) if folded else None
                found[self._stored(whole.output[0])] = made if normed is None else normed
        return found

    def _reads_fewer_channels(self, node: Any, given: F32) -> bool:
        """Whether a convolution reads only some of its module's input channels."""
        weight = self._constants.get(node.input[1])
        return weight is not None and int(weight.dims[1]) < given.shape[1]

    def _norm_or_sum_after(self, node: Any) -> Any:
        """The batch norm or the sum that reads a node's output, or the node itself."""
        for reader in self._readers.get(self._stored(node.output[0]), ()):
            if reader.op_type in ("BatchNormalization", "Add"):
                return reader
        return node

    def _before_rounding(self, name: str) -> str:
        """The tensor that a rehearsal's nodes, which have no names, round."""
        while name in self._producer and not self._producer[name].name:
            name = self._producer[name].input[0]
        return name

    def _stored(self, name: str) -> str:
        """The tensor under its own name, where a rehearsal rounds it before it is read."""
        plain = name.removesuffix(".raw")
        return plain if plain in self._producer else name


def module_paths(node: Any) -> tuple[str, ...]:
    """Possible paths of a node's module: from the names of its weights, then from its own."""
    keys = [name.partition(WEIGHT_SUFFIX)[0] for name in node.input if WEIGHT_SUFFIX in name]
    path = ""
    for scope in node.name.strip("/").split("/")[:-1]:
        path = scope if not path or scope.startswith(f"{path}.") else f"{path}.{scope}"
    # a module that is called again has a number behind its name
    return (*keys, path, re.sub(r"_[0-9]+$", "", path))


def composed_of(path: str) -> tuple[str, ...]:
    """The checkpoint's modules that the exported form's is composed of; none where it is one."""
    for pattern, keys in COMPOSED:
        found = re.fullmatch(pattern, path)
        if found:
            return tuple(key.format(found.group(1)) for key in keys)
    return ()


def _module_of(node: Any, values: Mapping[str, F32]) -> str:
    """Path of the module that a convolution was; empty where it is not among the values."""
    for candidate in module_paths(node):
        if candidate in values and candidate + MODULE_INPUT in values:
            return candidate
    return ""


def _norm_of(values: Mapping[str, F32], made: F32) -> F32 | None:
    """The output of the batch norm that read this very array, if there is one."""
    for name, given in values.items():
        if given is made and name.endswith(MODULE_INPUT):
            return values[name.removesuffix(MODULE_INPUT)]
    return None
