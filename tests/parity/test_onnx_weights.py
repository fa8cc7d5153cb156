"""Weights beside a graph, as a hub's cache keeps them: files behind links."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from planted_graphs import clean, linked_cache

from parity.onnx_weights import whole_graph, without_weights
from runtime.errors import ArtifactError


def answer(graph: bytes | str) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    image = np.linspace(-1, 1, 3 * 16 * 16, dtype=np.float32).reshape(1, 3, 16, 16)
    return np.asarray(session.run(None, {"image": image})[0])


def test_whole_graph_answers_as_onnxruntime_does_with_the_files(tmp_path: Path) -> None:
    """The onnx package refuses the links: onnxruntime is what it is held against."""
    cached = linked_cache(clean(), tmp_path)
    whole = whole_graph(cached)

    assert np.array_equal(answer(whole), answer(str(cached)))
    assert not any(
        t.HasField("data_location") for t in onnx.load_from_string(whole).graph.initializer
    )
    inline = tmp_path / "inline.onnx"
    inline.write_bytes(clean().SerializeToString())
    assert whole_graph(inline) == inline.read_bytes()


def test_small_weights_are_kept_for_inference(tmp_path: Path) -> None:
    """Those of 64 numbers or fewer, from beside the graph, too; the rest become inputs."""
    cached = linked_cache(clean(), tmp_path)
    model = onnx.load(cached, load_external_data=False)
    for folder, kept in ((cached.parent, ["bias"]), (tmp_path, []), (None, [])):
        bare = without_weights(model, folder).graph
        assert [tensor.name for tensor in bare.initializer] == kept
        assert {"image", "weight"} <= {value.name for value in bare.input}


@pytest.mark.parametrize(
    ("key", "value"),
    [("location", "../x"), ("location", "/dev/zero"), ("offset", "-1"), ("length", "9" * 5000)],
)
def test_places_that_are_none_are_one_line(tmp_path: Path, key: str, value: str) -> None:
    """Whatever a stranger wrote into the graph, nothing outside its folder is read."""
    cached = linked_cache(clean(), tmp_path)
    model = onnx.load(cached, load_external_data=False)
    for tensor in model.graph.initializer:
        tensor.external_data.add(key=key, value=value)
        if key == "location":
            tensor.external_data[0].value = value
    cached.unlink()
    cached.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="weights in|offset"):
        whole_graph(cached)
