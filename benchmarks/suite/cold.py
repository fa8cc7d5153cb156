"""Cold starts: from the start of a process to its first landmarks, a fresh process each time."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.suite.first_landmarks import READY, ColdStart
from benchmarks.suite.plan import RowPlan
from benchmarks.suite.row_worker import PHOTO, face_box
from runtime.cli import command_line
from runtime.errors import InferenceError, StarmarkError, one_line
from runtime.machine import process

PATIENCE_S = 900.0
PHOTO_WH = (1024, 768)


def cold_starts(
    rows: Sequence[RowPlan], count: int, seed: int
) -> tuple[dict[str, list[float]], dict[str, StarmarkError]]:
    """Start every row a few times, one at a time, in another random order each round.

    Returns:
        Seconds by the row's key, and why a row has none.
    """
    seconds: dict[str, list[float]] = {row.key: [] for row in rows}
    failures: dict[str, StarmarkError] = {}
    rng = np.random.default_rng(seed)
    for _ in command_line.progress(range(count), "Cold starts", count):
        for index in rng.permutation(len(rows)):
            row = rows[index]
            if row.key in failures:
                continue
            try:
                seconds[row.key].append(seconds_to_landmarks(row))
            except StarmarkError as error:
                failures[row.key] = error
                del seconds[row.key]
    return seconds, failures


def seconds_to_landmarks(row: RowPlan) -> float:
    """Start one process and wait for its first landmarks.

    Raises:
        InferenceError: it ended without any, or took too long.
    """
    start_of = ColdStart(opening=row.opening, picture=str(PHOTO), box_xyxy=face_box(PHOTO_WH))
    command = [
        *(sys.executable, "-m", "benchmarks.suite.first_landmarks"),
        msgspec.json.encode(start_of).decode(),
    ]
    # this process may run out of a checkout that its child would not find
    path = os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)
    ready: list[float] = []

    def look(line: str) -> None:
        if line == READY:
            ready.append(time.perf_counter())

    start = time.perf_counter()
    finished = process.run(
        command, timeout_s=PATIENCE_S, env={**os.environ, "PYTHONPATH": path}, on_line=look
    )
    if not ready:
        last = finished.output.strip().splitlines()[-1:]
        raise InferenceError(
            f"{row.label}: cold start",
            got=one_line(f"exited {finished.returncode} without landmarks: {' '.join(last)}", 300),
            action=row.alone(),
        )
    return ready[0] - start
