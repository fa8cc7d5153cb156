"""Run the starter model's graph in every installed ONNX client; the table in docs/clients.md.

    python scripts/check_clients.py
    python scripts/check_clients.py --python OTHER/bin/python --target FOLDER --npm FOLDER

More clients and versions come from other environments, from folders that `pip install --target`
made for this Python, and from folders where `npm install onnxruntime-node` was run. A client that
refuses a graph is a row of the table like any other; so is one that finds other points.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from export.config import OnnxTable
from export.graph.float_graph import make_float_graph
from export.graph.reference import Reference
from export.graph.to_onnx import open_checkpoint
from export.graph.verify import real_crops
from parity.samples import default_samples
from runtime.errors import one_line
from runtime.files import write_text_whole
from runtime.model.spec import spec_of

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/clients.md"
STARTER = ROOT / "assets/starter68.safetensors"
RUNS = ROOT / "scripts/client_runs.py"
# A form of the graph: its title, its static batch, and the crops a call.
FORMS = (
    ("any batch, 1 crop", None, 1),
    ("any batch, 2 crops", None, 2),
    ("`--batch 1`", 1, 1),
    ("`--batch 2`", 2, 2),
)
# Crop px: rounding of fp32 stays below.
SAME_PX = 0.01
TIMEOUT_S = 600
NODE = """
const [folder, graph, batch, ...dims] = process.argv.slice(1);
const ort = require(folder + '/node_modules/onnxruntime-node');
const bytes = require('fs').readFileSync(batch);
const pixels = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
ort.InferenceSession.create(graph, {logSeverityLevel: 4})
  .then(session => session.run({image: new ort.Tensor('float32', pixels, dims.map(Number))}))
  .then(found => console.log(JSON.stringify({landmarks: Array.from(found.landmarks.data)})))
  .catch(error => console.log(JSON.stringify({refusal: String(error)})));
"""
BEGIN, END = "<!-- clients -->", "<!-- /clients -->"


@dataclass(frozen=True, kw_only=True)
class Client:
    """A client in one version, and the command that runs a graph's path on a batch's file."""

    name: str
    version: str
    command: Callable[[Path, NDArray[np.float32], Path], list[str]]
    environment: dict[str, str]

    def landmarks(self, graph: Path, batch: NDArray[np.float32]) -> NDArray[np.float64]:
        """Run it in a process of its own: (N, P, 2).

        Raises:
            ValueError: it refused, crashed, or took too long; its words.
        """
        with tempfile.TemporaryDirectory() as folder:
            command = self.command(graph, batch, Path(folder))
            done = subprocess.run(  # noqa: S603  # ours
                command,
                env=os.environ | self.environment,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        lines = done.stdout.splitlines()
        if done.returncode or not lines:
            words = done.stderr.strip().splitlines() or ["nothing said"]
            raise ValueError(f"exit {done.returncode}: {words[-1]}")
        said: dict[str, Any] = json.loads(lines[-1])
        if "refusal" in said:
            raise ValueError(said["refusal"])
        return np.array(said["landmarks"]).reshape(len(batch), -1, 2)


def python_clients(python: str, target: Path | None) -> Iterator[Client]:
    """What one Python has, with a folder of `pip install --target` before its own packages."""
    environment = {"PYTHONPATH": str(target) if target else ""}
    listed = subprocess.run(  # noqa: S603  # a Python that the caller names
        [python, str(RUNS)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    for name, version in json.loads(listed.stdout).items():

        def command(
            graph: Path, batch: NDArray[np.float32], folder: Path, name: str = name
        ) -> list[str]:
            np.save(folder / "batch.npy", batch)
            return [python, str(RUNS), name, str(graph), str(folder / "batch.npy")]

        yield Client(name=name, version=version, command=command, environment=environment)


def node_client(folder: Path) -> Client:
    """onnxruntime-node as npm installed it in a folder."""
    package = json.loads((folder / "node_modules/onnxruntime-node/package.json").read_text())

    def command(graph: Path, batch: NDArray[np.float32], scratch: Path) -> list[str]:
        batch.tofile(scratch / "batch.raw")
        given = [str(folder.resolve()), str(graph), str(scratch / "batch.raw")]
        node = shutil.which("node") or "node"
        return [node, "-e", NODE, *given, *map(str, batch.shape)]

    version = package["version"]
    return Client(name="onnxruntime-node", version=version, command=command, environment={})


def make_graphs(folder: Path) -> dict[int | None, Path]:
    """The starter model for any batch, and for each static one."""
    graphs = {batch: folder / f"model_{batch or 'any'}.onnx" for _, batch, _ in FORMS}
    with Reference(STARTER) as reference:
        opened = open_checkpoint(reference)
        architecture = opened.checkpoint.architecture
        spec = spec_of(points=architecture.points, size=architecture.size)
        for batch, path in graphs.items():
            make_float_graph(opened, OnnxTable(batch=batch), spec, path)
    return graphs


def row_of(
    client: Client,
    graphs: dict[int | None, Path],
    batch: NDArray[np.float32],
    expected: NDArray[np.float32],
    size: int,
    refusals: list[str],
) -> str:
    """A line of the table; refusals are collected behind it."""
    cells = []
    for _, static, pictures in FORMS:
        at_once = [slice(n, n + pictures) for n in range(0, len(batch), pictures)]
        try:
            found = np.concatenate([client.landmarks(graphs[static], batch[n]) for n in at_once])
            worst = float(np.abs(found - expected).max()) * size / 2
            cells.append(f"{worst:.5f}" if worst <= SAME_PX else f"**wrong: {worst:,.2f}**")
        except ValueError as error:
            words = f"{client.name} {client.version}: {one_line(str(error), 100)}"
            if words not in refusals:
                refusals.append(words)
            cells.append(f"refused ({refusals.index(words) + 1})")
    return f"| {client.name} | {client.version} | {' | '.join(cells)} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--python", action="append", default=[sys.executable], metavar="PATH")
    parser.add_argument("--target", action="append", default=[], type=Path, metavar="FOLDER")
    parser.add_argument("--npm", action="append", default=[], type=Path, metavar="FOLDER")
    parser.add_argument("--output", type=Path, default=PAGE, metavar="FILE")
    arguments = parser.parse_args(argv)
    places = [(python, None) for python in arguments.python]
    places += [(sys.executable, target) for target in arguments.target]
    clients = {
        (one.name, one.version): one
        for python, target in places
        for one in python_clients(python, target)
    }
    clients |= {(one.name, one.version): one for one in map(node_client, arguments.npm)}
    refusals: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        graphs = make_graphs(Path(folder))
        with Reference(STARTER) as reference, reference.open() as torch:
            spec = torch.spec.input
            batch = spec.pack(real_crops(default_samples(), spec)).astype(np.float32, copy=False)
            expected = torch.run(batch).landmarks
        rows = [
            row_of(clients[key], graphs, batch, expected, spec.size, refusals)
            for key in sorted(clients, key=_by_version)
        ]
    titles = " | ".join(title for title, _, _ in FORMS)
    head = [f"| client | version | {titles} |", f"| --- | ---{' | ---' * len(FORMS)} |"]
    notes = [f"{number}. {words}" for number, words in enumerate(refusals, 1)]
    before, _, rest = arguments.output.read_text(encoding="utf-8").partition(BEGIN)
    middle = "\n".join([BEGIN, *head, *rows, "", *notes, END])
    write_text_whole(arguments.output, before + middle + rest.partition(END)[2])
    return 0


def _by_version(key: tuple[str, str]) -> tuple[str, tuple[int, ...]]:
    name, version = key
    return name, tuple(int(part) for part in version.split(".") if part.isdecimal())


if __name__ == "__main__":
    sys.exit(main())
