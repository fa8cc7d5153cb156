"""Which tensors of an exported graph hold what a checkpoint's modules are given and give.

Convolutions are found again by the name of their weight (the dynamo exporter keeps the checkpoint's
keys) or by their own (the TorchScript exporter writes the path of the module into it). What follows
from a convolution's place is which tensor lies before and which behind it. The export folds a batch
norm that follows a convolution into its weights, and takes the coordinate channels out of it and
adds their share behind it: what is known of the checkpoint is put where it then belongs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from parity.locate.stage_runs import F32
from runtime.model.stages import MODULE_INPUT

WEIGHT_SUFFIX = ".weight"


class ModuleTensors:
    """A graph's tensors by the modules of the checkpoint it was made from.

    Args:
        nodes: all of the graph's, in their order.
        constants: what no picture reaches, by name; convolutions' weights with their `dims`.
    """

    def __init__(self, nodes: Sequence[Any], constants: Mapping[str, Any]) -> None:
        self._nodes = nodes
        self._constants = constants
        self._producer = {name: node for node in nodes for name in node.output}
        self._readers: dict[str, list[Any]] = {}
        for node in nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def known(self, values: Mapping[str, F32]) -> dict[str, F32]:
        """What modules were given and gave, by the names of this graph's tensors.

        Args:
            values: by module path, and path + `MODULE_INPUT`; in one stage.
        """
        found: dict[str, F32] = {}
        for node in self._nodes:
            path = _module_of(node, values)
            if node.op_type == "Conv" and path:
                given, made = values[path + MODULE_INPUT], values[path]
                whole = node
                if self._takes_part(node, given):  # of the module's channels: what the module
                    whole = self._behind(node)  # gives is where the others' share is added
                    if whole.op_type != "Add":
                        continue
                else:
                    found[self._before(node.input[0])] = given
                folded = self._behind(whole).op_type != "BatchNormalization"
                normed = _norm(values, made) if folded else None
                found[self._stored(whole.output[0])] = made if normed is None else normed
        return found

    def _takes_part(self, node: Any, given: F32) -> bool:
        """Whether a convolution takes but some of the channels that its module was given."""
        weight = self._constants.get(node.input[1])
        return weight is not None and int(weight.dims[1]) < given.shape[1]

    def _behind(self, node: Any) -> Any:
        """The batch norm or the sum that follows a node, or the node itself."""
        for reader in self._readers.get(self._stored(node.output[0]), ()):
            if reader.op_type in ("BatchNormalization", "Add"):
                return reader
        return node

    def _before(self, name: str) -> str:
        """The tensor that a rehearsal's nodes, which have no names, round."""
        while name in self._producer and not self._producer[name].name:
            name = self._producer[name].input[0]
        return name

    def _stored(self, name: str) -> str:
        """The tensor under its own name, where a rehearsal rounds it before it is read."""
        plain = name.removesuffix(".raw")
        return plain if plain in self._producer else name


def module_paths(node: Any) -> tuple[str, ...]:
    """The paths that a node's weights and its own name tell of, the likelier first."""
    keys = [name.partition(WEIGHT_SUFFIX)[0] for name in node.input if WEIGHT_SUFFIX in name]
    path = ""
    for scope in node.name.strip("/").split("/")[:-1]:
        path = scope if not path or scope.startswith(f"{path}.") else f"{path}.{scope}"
    # a module that is called again has a number behind its name
    return (*keys, path, re.sub(r"_[0-9]+$", "", path))


def _module_of(node: Any, values: Mapping[str, F32]) -> str:
    """Path of the module that a convolution was, empty where it is not known."""
    for candidate in module_paths(node):
        if candidate in values and candidate + MODULE_INPUT in values:
            return candidate
    return ""


def _norm(values: Mapping[str, F32], made: F32) -> F32 | None:
    """What a batch norm makes of this very array, if there is one."""
    for name, given in values.items():
        if given is made and name.endswith(MODULE_INPUT):
            return values[name.removesuffix(MODULE_INPUT)]
    return None
