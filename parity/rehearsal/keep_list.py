"""The operators that stay in fp32: the file of ATC's --keep_dtype, read here and there alike.

A node's name or `OpType::TYPE` on each line, types as Ascend calls them, no comments. A line that
names nothing ended a conversion until 2025 (E10042, later E10003); today ATC passes over it, and
the node is not in the precision that was asked for.
Source: ge docs, keep_dtype; keep_dtype_option.cc of 2020, 2022 and 2025.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import ConfigError, one_line
from runtime.files import shown

LARGEST_BYTES = 1 << 20
OF_TYPE = "OpType::"
# What ATC's ONNX parser makes of an operator, where Ascend's name is another one
# [V: supported ONNX operators; what several become depends on shapes and versions].
ASCEND_TYPES = {
    "BatchNormalization": ("BNInfer", "BatchNorm"),
    "Clip": ("ClipByValue",),
    "Concat": ("ConcatD", "ConcatV2"),
    "Conv": ("Conv2D",),
    "ConvTranspose": ("Conv2DTransposeD", "Conv2DTranspose"),
    "Div": ("RealDiv", "Div"),
    "Gemm": ("MatMulV2", "MatMul"),
    "InstanceNormalization": ("InstanceNorm",),
    "MatMul": ("MatMulV2", "BatchMatMulV2", "MatMul"),
    "MaxPool": ("MaxPoolV3", "MaxPool"),
    "ReduceMean": ("ReduceMeanD", "ReduceMean"),
    "ReduceSum": ("ReduceSumD", "ReduceSum"),
    "Resize": ("ResizeNearestNeighborV2", "ResizeBilinearV2", "Resize"),
    "Slice": ("StridedSliceV2", "StridedSlice", "Slice"),
    "Softmax": ("SoftmaxV2",),
    "Where": ("SelectV2", "Select"),
}


@dataclass(frozen=True, kw_only=True)
class KeepList:
    """The lines of a file, each with its place for a message, not yet held to a graph."""

    lines: tuple[tuple[str, str], ...]

    def nodes_in(self, types_by_node: Mapping[str, str]) -> frozenset[str]:
        """The nodes that stay in fp32, of a graph's nodes and their ONNX operators.

        Raises:
            ConfigError: a line that names no node and no operator of this graph.
        """
        kept: set[str] = set()
        for where, line in self.lines:
            if line.startswith(OF_TYPE):
                kept |= _of_type(where, line.removeprefix(OF_TYPE), types_by_node)
            else:
                check_node(where, line, types_by_node)
                kept.add(line)
        return frozenset(kept)


def read_keep_list(path: Path, option: str) -> KeepList:
    """Read a list; an empty file keeps nothing.

    Raises:
        ConfigError: no text file, or an impossible type.
    """
    lines = tuple(named_lines(path, read_setting(path, option)))
    for where, line in lines:
        if line.startswith(OF_TYPE):
            check_type(where, line.removeprefix(OF_TYPE))
    return KeepList(lines=lines)


def read_setting(path: str | Path, option: str) -> str:
    """The text of a file that one of ATC's options names.

    Raises:
        ConfigError: missing, too large, or no text.
    """
    try:
        if Path(path).stat().st_size > LARGEST_BYTES:
            raise refused(path, f"a text file for --{option}", "more than 1 MiB", "Check its path")
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise refused(
            path, f"a text file for --{option}", one_line(error), "Check its path"
        ) from error


def named_lines(path: str | Path, text: str) -> Iterator[tuple[str, str]]:
    """Each line that is not blank, with its place."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield f"{shown(path)}, line {number}", line.strip()


def check_type(where: str, kind: str) -> None:
    """Refuse what can be no operator's type.

    Raises:
        ConfigError: as said.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", kind):
        raise refused(where, "an operator's type, for example Conv2D", repr(kind), "Correct it")


def check_node(where: str, name: str, nodes: Collection[str] | None) -> None:
    """Refuse the name of a node that the graph does not have; without a graph every name passes.

    Raises:
        ConfigError: as said, with the nearest name.
    """
    if nodes is not None and name not in nodes:
        near = difflib.get_close_matches(name, nodes, n=1)
        raise refused(
            where,
            "the name of a node of model.onnx",
            repr(name),
            f"Did you mean {near[0]}" if near else "List them with python -m runtime.info",
        )


def refused(where: str | Path, expected: str, got: str, action: str) -> ConfigError:
    """The error of a setting's file."""
    return ConfigError(shown(where), expected=expected, got=got, action=action)


def _of_type(where: str, kind: str, types_by_node: Mapping[str, str]) -> set[str]:
    """The nodes that become operators of an Ascend type."""
    names = {onnx: ASCEND_TYPES.get(onnx, (onnx,)) for onnx in types_by_node.values()}
    found = {node for node, onnx in types_by_node.items() if kind in names[onnx]}
    if not found:
        known = sorted({one for several in names.values() for one in several})
        # ATC knows operators by Ascend's names: it would pass over ONNX's
        near = list(names.get(kind, ())) or difflib.get_close_matches(kind, known, n=1)
        raise refused(
            where,
            "the Ascend type of an operator of this graph",
            repr(kind),
            f"Did you mean {OF_TYPE}{near[0]}" if near else f"Choose among {', '.join(known)}",
        )
    return found
