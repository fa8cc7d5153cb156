"""The tables of docs/npu_performance.md, counted from a bundle's graph; nothing is measured.

    python scripts/npu_bounds.py build/star68

prints them, and with --write puts them into the document, between its marks.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import onnx

from export.graph.cost import kernels, map_numbers
from parity.npu_bound import ARITHMETICS, CHIPS, Arithmetic, Chip, Work, fused_s, kernels_s
from runtime.model.manifest import ONNX_NAME, read_manifest
from runtime.model.stages import living_stages

DOCUMENT = Path(__file__).resolve().parents[1] / "docs/npu_performance.md"
BATCHES = (1, 4, 8, 16)
# Parts of a stage's name, under the name of the table's row.
ROWS = {
    "stem": "stem",
    "hourglass": "hourglasses",
    "features": "features",
    "heatmaps": "maps",
    "pointmaps": "maps",
    "edgemaps": "maps",
    "merged": "merges",
    "fused": "decoder",
    "landmarks": "decoder",
}


class Counted:
    """A graph's kernels by row, with what crosses the border of each.

    Args:
        graph: exported with this project's names of tensors.
        stacks, contours: of its network.
    """

    def __init__(self, graph: onnx.ModelProto, stacks: int, *, contours: bool) -> None:
        self.kernels: dict[str, list[Work]] = {}
        self.borders: Counter[str] = Counter()
        self.off_cube: dict[str, list[int]] = {}
        numbers = map_numbers(graph)
        nodes = kernels(graph)
        maker = {name: i for i, (node, _) in enumerate(nodes) for name in node.output}
        taken: set[int] = set()
        for stage in living_stages(stacks, contours=contours):
            row = ROWS[stage.part]
            self.borders[row] += sum(numbers[n] for n in (*stage.inputs, *stage.outputs))
            waiting = [name for name in stage.outputs if name not in stage.inputs]
            while waiting:
                index = maker.get(waiting.pop())
                if index is None or index in taken:
                    continue
                taken.add(index)
                node, work = nodes[index]
                self.kernels.setdefault(row, []).append(work)
                waiting += [n for n in node.input if n not in stage.inputs]
                if not work.macs:
                    seen = self.off_cube.setdefault(node.op_type, [0, 0, 0])
                    for place, more in enumerate((1, work.vector, work.moved)):
                        seen[place] += more
        ends = [value.name for value in (*graph.graph.input, *graph.graph.output)]
        self.ends = sum(numbers[name] for name in ends)

    def whole(self, row: str | None = None) -> Work:
        """A row's work, or the graph's, as if no map inside it were written."""
        rows = self.kernels if row is None else (row,)
        total = sum((one for name in rows for one in self.kernels[name]), Work())
        moved = self.ends if row is None else self.borders[row]
        return Work(macs=total.macs, vector=total.vector, moved=moved, weights=total.weights)

    def all_kernels(self, row: str | None = None) -> list[Work]:
        """The kernels of a row, or of the graph."""
        rows = self.kernels if row is None else (row,)
        return [one for name in rows for one in self.kernels[name]]


def work_table(counted: Counted) -> list[str]:
    """What each row has to do for one picture."""
    lines = [
        "| stage | kernels | GMAC | vector, M numbers | maps, MB in fp16 | weights, MB in fp16 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in (*counted.kernels, None):
        all_of = counted.all_kernels(row)
        total = sum(all_of, Work())
        busy = sum(one != Work() for one in all_of)
        lines.append(
            f"| {row or '**all**'} | {busy} | {total.macs / 1e9:.2f} | {total.vector / 1e6:.1f} |"
            f" {2 * total.moved / 1e6:.1f} | {2 * total.weights / 1e6:.2f} |"
        )
    return lines


def time_table(counted: Counted, chip: Chip, arithmetic: Arithmetic) -> list[str]:
    """Milliseconds of a call, by row and batch: fused / kernel by kernel."""
    weights = counted.whole().weights
    lines = [
        "| stage | " + " | ".join(f"batch {batch}" for batch in BATCHES) + " |",
        "| --- |" + " --- |" * len(BATCHES),
    ]
    for row in (*counted.kernels, None):
        cells = [
            f"{fused_s(chip, counted.whole(row), arithmetic, batch, weights) * 1e3:.3f} /"
            f" {kernels_s(chip, counted.all_kernels(row), arithmetic, batch) * 1e3:.3f}"
            for batch in BATCHES
        ]
        lines.append(f"| {row or '**all**'} | {' | '.join(cells)} |")
    return lines


def off_cube_table(counted: Counted) -> list[str]:
    """Operators that the cube has no part in, for one picture."""
    lines = [
        "| operator | nodes | vector, M numbers | maps, MB in fp16 |",
        "| --- | --- | --- | --- |",
    ]
    for kind, (nodes, vector, moved) in sorted(
        counted.off_cube.items(), key=lambda item: item[1][2], reverse=True
    ):
        lines.append(f"| {kind} | {nodes} | {vector / 1e6:.2f} | {2 * moved / 1e6:.2f} |")
    return lines


def tables(bundle: Path) -> dict[str, str]:
    """Every table of the document, by the name of its mark."""
    manifest = read_manifest(bundle)
    architecture = manifest.checkpoint.architecture
    counted = Counted(
        onnx.load(bundle / ONNX_NAME), architecture.stacks, contours=architecture.has_contours
    )
    found = {"work": work_table(counted), "off the cube": off_cube_table(counted)}
    for name, chip in CHIPS.items():
        for arithmetic in ARITHMETICS:
            found[f"{name} {arithmetic}"] = time_table(counted, chip, arithmetic)
    return {name: "\n".join(lines) for name, lines in found.items()}


def main(argv: list[str] | None = None) -> int:
    """Print the tables, or write them into the document."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--write", action="store_true", help=f"into docs/{DOCUMENT.name}")
    arguments = parser.parse_args(argv)
    made = tables(arguments.bundle)
    if arguments.write:
        text = DOCUMENT.read_text(encoding="utf-8")
        for name, table in made.items():
            text = re.sub(f"(<!-- {name} -->\n)(\\|.*\n)*", f"\\1{table}\n", text)
        DOCUMENT.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write("".join(f"{name}\n\n{table}\n\n" for name, table in made.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
