"""Plant single faults in the modules where a silent one costs most, and count those noticed.

    python scripts/mutations.py --sample 300 --seed 1        an hour or two on one core
    python scripts/mutations.py --only runtime/image/crop.py --sample 40

Works on a copy of the checkout. A fault is one change by cosmic-ray (pip install cosmic-ray).
Places are drawn evenly over all modules, then one operator for each place. Noticed means that a
test of the module's own room fails. Survivors are written with their differences, to be read:
each is a missing test, or no fault at all.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections import defaultdict
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Each with the tests that hold it.
MODULES = {
    "runtime/image/geometry.py": ("tests/runtime/image",),
    "runtime/image/crop.py": ("tests/runtime/image",),
    "runtime/image/landmarks.py": ("tests/runtime/image",),
    "runtime/image/draw.py": ("tests/runtime/image",),
    "runtime/faces/scaled.py": ("tests/runtime/test_faces.py",),
    "runtime/model/spec.py": ("tests/runtime/model",),
    "runtime/model/manifest.py": ("tests/runtime/model",),
    "runtime/model/om_file.py": ("tests/runtime/model", "tests/cann/test_om_format.py"),
    "runtime/backends/ascend/backend.py": ("tests/runtime/backends/ascend",),
    "runtime/refine.py": ("tests/runtime/test_refine.py",),
    "runtime/many/boxes.py": ("tests/runtime/many/test_boxes.py",),
    "runtime/many/folder.py": ("tests/runtime/infer",),
    "runtime/many/heading.py": ("tests/runtime/infer", "tests/runtime/batch"),
    "runtime/many/rows.py": ("tests/runtime/infer",),
    "runtime/batch/results.py": ("tests/runtime/batch",),
    "parity/judging/differences.py": ("tests/parity/judging",),
    "parity/judging/verdict.py": ("tests/parity/judging",),
    "parity/boxes.py": ("tests/parity/test_boxes.py",),
    "parity/samples.py": ("tests/parity/test_boxes.py", "tests/parity/compare"),
    "parity/recording/recording.py": ("tests/parity/recording",),
    "parity/timing.py": ("tests/parity/benchmark",),
    "parity/rehearsal/arithmetic.py": ("tests/parity/rehearsal",),
    "parity/plan/search.py": ("tests/parity/plan",),
    "export/atc/to_om.py": ("tests/export/atc",),
    "export/atc/options.py": ("tests/export/atc",),
    "export/atc/aipp.py": ("tests/export/atc", "tests/runtime/backends/ascend"),
    "export/steps/step.py": ("tests/export/steps", "tests/export/test_pipeline.py"),
    "export/bundle.py": ("tests/export/test_bundle.py", "tests/export/test_pipeline.py"),
}
# Unions of types, which nothing evaluates.
NOT_A_FAULT = "core/ReplaceBinaryOperator_BitOr_"
# How a record is made: frozen or not changes no answer.
RECORD = "frozen=True"
TIMEOUT_S = 300.0


def main(argv: list[str] | None = None) -> int:
    """Run a sample and report; 1 where fewer were noticed than --least asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sample", type=int, default=300, metavar="N", help="(default 300)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="(default 1)")
    parser.add_argument("--only", nargs="+", choices=MODULES, default=list(MODULES), metavar="PATH")
    parser.add_argument("--least", type=float, default=0.85, help="share (default 0.85)")
    parser.add_argument("--survivors", type=Path, metavar="FILE", help="write their differences")
    arguments = parser.parse_args(argv)
    if shutil.which("cosmic-ray") is None:
        parser.error("cosmic-ray is not on PATH: pip install cosmic-ray")
    with tempfile.TemporaryDirectory(prefix="mutations-") as scratch:
        tree = Path(scratch) / "tree"
        ignored = shutil.ignore_patterns(".git", ".venv", "build", "__pycache__", ".*_cache")
        shutil.copytree(ROOT, tree, ignore=ignored)
        if (ROOT.parent / "shared").exists():
            (tree.parent / "shared").symlink_to(ROOT.parent / "shared")
        sessions = {name: _session(name, tree, Path(scratch)) for name in arguments.only}
        _draw(sessions, tree, arguments.sample, random.Random(arguments.seed))  # noqa: S311  # a sample
        outcomes = {name: _run(name, *session, tree) for name, session in sessions.items()}
    return _report(outcomes, arguments)


def _session(name: str, tree: Path, scratch: Path) -> tuple[Path, Path]:
    tests = " ".join(test for test in MODULES[name] if (tree / test).exists())
    config = scratch / f"{name.replace('/', '.')}.toml"
    command = f"{sys.executable} -m pytest -x -q -p no:cacheprovider --no-header {tests}"
    config.write_text(
        f"[cosmic-ray]\nmodule-path = {json.dumps(name)}\ntimeout = {TIMEOUT_S}\n"
        f"excluded-modules = []\ntest-command = {json.dumps(command)}\n"
        '[cosmic-ray.distributor]\nname = "local"\n'
    )
    session = config.with_suffix(".sqlite")
    _cosmic_ray("init", config, session, tree)
    return config, session


def _cosmic_ray(verb: str, config: Path, session: Path, tree: Path) -> None:
    command = [shutil.which("cosmic-ray") or "", verb, str(config), str(session)]
    subprocess.run(command, cwd=tree, check=True)  # noqa: S603  # our own command line


def _draw(
    sessions: dict[str, tuple[Path, Path]], tree: Path, count: int, chance: random.Random
) -> None:
    """Leave a sample in the sessions: places first, so that a `+` with 12 operators counts once."""
    by_place = defaultdict(list)
    for name, (_, session) in sessions.items():
        with closing(sqlite3.connect(session)) as opened:
            rows = opened.execute(
                "SELECT start_pos_row, start_pos_col, operator_name, job_id FROM mutation_specs"
                " ORDER BY start_pos_row, start_pos_col, operator_name, occurrence"
            )
            lines = (tree / name).read_text().splitlines()
            for row, column, operator, job in rows:
                if not operator.startswith(NOT_A_FAULT) and RECORD not in lines[row - 1]:
                    by_place[name, row, column].append(job)
    places = chance.sample(sorted(by_place), min(count, len(by_place)))
    chosen = {chance.choice(by_place[place]) for place in places}
    for _, session in sessions.values():
        with closing(sqlite3.connect(session)) as opened:
            for (job,) in opened.execute("SELECT job_id FROM work_items").fetchall():
                if job not in chosen:
                    opened.execute("DELETE FROM mutation_specs WHERE job_id = ?", (job,))
                    opened.execute("DELETE FROM work_items WHERE job_id = ?", (job,))
            opened.commit()


def _run(name: str, config: Path, session: Path, tree: Path) -> list[tuple[str, str]]:
    """The outcome and the difference of each fault in one module."""
    _cosmic_ray("exec", config, session, tree)
    with closing(sqlite3.connect(session)) as opened:
        rows = opened.execute("SELECT test_outcome, diff FROM work_results").fetchall()
    noticed = sum("SURVIVED" not in str(outcome).upper() for outcome, _ in rows)
    sys.stderr.write(f"{name}: {noticed} of {len(rows)} noticed\n")
    return [(str(outcome).upper(), diff) for outcome, diff in rows]


def _report(outcomes: dict[str, list[tuple[str, str]]], arguments: argparse.Namespace) -> int:
    every = [one for found in outcomes.values() for one in found]
    survivors = [diff for outcome, diff in every if "SURVIVED" in outcome]
    if arguments.survivors:
        arguments.survivors.write_text("\n\n".join(survivors))
    noticed = len(every) - len(survivors)
    sys.stdout.write(f"{noticed} of {len(every)} noticed: {noticed / max(len(every), 1):.1%}\n")
    return int(noticed < arguments.least * len(every))


if __name__ == "__main__":
    sys.exit(main())
