"""The rehearsal's figures, measured in one run and written into the document that has them.

    python scripts/rehearsal_figures.py build/starter68 build/star68 ../shared/faces
    python scripts/rehearsal_figures.py

The first measures both bundles on the samples and on annotated faces, makes a plan, and keeps the
figures in docs/rehearsal.json; the second writes the document from that file alone.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from parity.rehearse import __main__ as rehearse
from runtime.errors import EXIT_FOUND_WANTING, EXIT_OK

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "docs/rehearsal.json"
DOCUMENTS = ("docs/rehearsal.md",)
ARITHMETICS = {"fp16": "fp16", "fp16_cube": "fp16_cube", "hf32": "HF32"}
BUDGET = "max=0.06"
# The first cell of a row that is written: a model, and its arithmetic or budget.
STARTER, FULL_SIZE = "starter68", "star68"
LABEL = re.compile(r"\| (starter68|full[ -]size [^|]+)\W ?(fp16_cube|fp16|HF32|`max=[^`]+`) \| ")
# By the number of a row's cells, which of the figures it has.
SAMPLES = ("mean", "max", "std", "p95", "p99")
PARTS = ("crop mean", "crop max", "photo mean", "photo max")
COLUMNS = {
    9: ("samples", (*SAMPLES, *PARTS)),
    4: ("faces", ("mean", "max", "p95", "p99")),
    6: ("plan", ("alone", "searched", "margin", "judged", "operators", "lists")),
}


def rehearsed(*arguments: object) -> Any:
    """A report of `python -m parity.rehearse`, within its limits or not."""
    with redirect_stdout(StringIO()) as printed:
        code = rehearse.main([*map(str, arguments), "--json"])
    if code not in (EXIT_OK, EXIT_FOUND_WANTING):
        raise SystemExit(code)
    return json.loads(printed.getvalue())


def on_samples(bundle: Path, *options: object) -> dict[str, dict[str, float]]:
    """By arithmetic, over all coordinates of the two samples and over each, px of the photo."""
    found = {}
    for one in rehearsed(bundle, "--as", ",".join(ARITHMETICS), *options)["rehearsals"]:
        everything, photo, crop, _ = (row["statistics"] for row in one["rows"])
        found[ARITHMETICS[one["arithmetic"]]] = {
            **{name: everything[name] for name in SAMPLES},
            **{f"crop {name}": crop[name] for name in ("mean", "max")},
            **{f"photo {name}": photo[name] for name in ("mean", "max")},
        }
    return found


def on_faces(bundle: Path, faces: Path) -> dict[str, dict[str, float]]:
    """By arithmetic, in the boxes of the faces' points, px of the crop."""
    report = rehearsed(bundle, "--as", ",".join(ARITHMETICS), "--images", faces, "--boxes", "pts")
    return {
        ARITHMETICS[one["arithmetic"]]: {
            name: one["rows"][-1]["statistics"][name] for name in COLUMNS[4][1]
        }
        for one in report["rehearsals"]
    }


def of_plan(bundle: Path, faces: Path) -> dict[str, Any]:
    """The largest error of fp16 and of a plan on each part of the faces, px of the photo."""
    with TemporaryDirectory() as folder:
        options = ("--images", faces, "--boxes", "pts", "--plan", Path(folder) / "keep.txt")
        plan = rehearsed(bundle, "--budget", BUDGET, *options)["plan"]
    parts = {name: plan[name]["left_px"]["max"] for name in COLUMNS[6][1][1:4]}
    counts = {"operators": f"{len(plan['kept'])} of {plan['operators']}"}
    alone = {"alone": plan["judged"]["alone_px"]["max"]}
    return {**alone, **parts, **counts, "lists": plan["lists_measured"]}


def written(text: str, record: Mapping[str, Any]) -> str:
    """A document with the record's figures in its rows."""
    return "".join(_row(line, record) for line in text.splitlines(keepends=True))


def _row(line: str, record: Mapping[str, Any]) -> str:
    match = LABEL.match(line)
    if match is None:
        return line
    kind, columns = COLUMNS[line.count("|") - 2]
    model = STARTER if match[1] == STARTER else FULL_SIZE
    figures = record[kind][model][match[2].strip("`")]
    return f"{match[0]}{' | '.join(_cell(figures[name]) for name in columns)} |\n"


def _cell(figure: Any) -> str:
    return f"{figure:.4f}" if isinstance(figure, float) else str(figure)


def main(arguments: Sequence[str]) -> int:
    """Measure where asked to, and write the document."""
    if arguments:
        starter, full_size, faces = map(Path, arguments)
        bundles = {STARTER: starter, FULL_SIZE: full_size}
        record = {
            "samples": {name: on_samples(bundle) for name, bundle in bundles.items()},
            "faces": {name: on_faces(bundle, faces) for name, bundle in bundles.items()},
            "plan": {STARTER: {BUDGET: of_plan(starter, faces)}},
        }
        RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    for name in DOCUMENTS:
        document = ROOT / name
        text = document.read_text(encoding="utf-8")
        document.write_text(written(text, record), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
