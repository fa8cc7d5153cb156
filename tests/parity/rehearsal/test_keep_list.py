"""The file that says what stays in fp32: atc's form, and every line held to the graph."""

from __future__ import annotations

from pathlib import Path

import pytest

from parity.rehearsal.keep_list import read_keep_list
from runtime.errors import ConfigError

NODES = {"/pre/conv": "Conv", "/relu": "Relu", "/Sum": "ReduceSum", "/head/conv": "Conv"}


def kept(tmp_path: Path, text: str) -> frozenset[str]:
    path = tmp_path / "keep.txt"
    path.write_text(text)
    return read_keep_list(path, "keep").nodes_in(NODES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", set()),
        ("\n  /relu  \n\n", {"/relu"}),
        ("/relu\r\n/Sum\r\n", {"/relu", "/Sum"}),
        ("OpType::Conv2D\n/Sum", {"/pre/conv", "/head/conv", "/Sum"}),
        ("OpType::ReduceSumD\nOpType::Relu", {"/Sum", "/relu"}),
    ],
)
def test_names_and_types_are_found(tmp_path: Path, text: str, expected: set[str]) -> None:
    assert kept(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("/relu\n\n/pre/cnov\n", "line 3: expected the name of a node.*Did you mean /pre/conv"),
        ("# kept\n", "line 1: expected the name of a node"),
        # ATC knows operators by Ascend's names and passes over ONNX's
        ("OpType::Conv\n", "line 1.*Did you mean OpType::Conv2D"),
        ("OpType::Relu6\n", "Did you mean OpType::Relu"),
        ("OpType::LSTM\n", "Choose among .*Conv2D"),
        ("OpType::Conv 2D\n", "an operator's type"),
        ("OpType::\n", "an operator's type"),
    ],
)
def test_a_line_that_names_nothing_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        kept(tmp_path, text)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keep.txt").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path, tmp_path / "gone.txt", tmp_path / "keep.txt"):
        with pytest.raises(ConfigError, match="a text file for --keep"):
            read_keep_list(path, "keep")
