"""The suite's report: one strict record and its JSON schema."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from parity.judging.accuracy import SourceAccuracy
from parity.machine import GemmProbe
from parity.timing import Latency, Throughput

SCHEMA = 1


class Ratio(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many times as fast a row is as another, over the rounds in which both ran.

    Attributes:
        median: of the pairs' ratios; above 1 the row is the faster.
        p10, p90: of the same ratios: how far the rounds disagree.
    """

    median: float
    p10: float
    p90: float


def ratio(base_ms: Sequence[float], row_ms: Sequence[float]) -> Ratio:
    """Divide round by round, then take the median; never a quotient of two medians.

    Args:
        base_ms: what the row is compared with, ms, one a round.
        row_ms: the row's, ms, of the same rounds.
    """
    found = np.asarray(base_ms, np.float64) / np.asarray(row_ms, np.float64)
    p10, median, p90 = np.percentile(found, (10, 50, 90)).tolist()
    return Ratio(median=median, p10=p10, p90=p90)


class DetectTiming(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`detect(image, face_bbox)` on a decoded picture. Milliseconds.

    Attributes:
        size_wh: of the picture, px.
        total: from call to return.
        stages_ms: median of each stage; h2d, compute and d2h are the engine's own.
        around_engine_ms: median of everything but the engine's own call.
        over_floor: of that, call by call, over OpenCV's warp and one packing call, which are
            timed behind a run of the network, too.
    """

    size_wh: tuple[int, int]
    total: Latency
    stages_ms: Mapping[str, float]
    around_engine_ms: float
    over_floor: Ratio


class PixelDifference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far the points are from those of the plain export in onnxruntime.

    Over |dx| and |dy| in crop px of all pictures' points.
    """

    pictures: int
    mean_px: float
    p95_px: float
    p99_px: float
    max_px: float


class RowFigures(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was measured of one row, in its own process.

    Attributes:
        engine: name and version, with what it really computes in.
        rounds_ms: of the network at batch 1, the median of each round's timed runs: what ratios
            are taken of.
        network: at batch 1, over all timed runs of all rounds.
        over_plain: over the plain export in onnxruntime; None where that row did not run.
        over_torch: over torch eager; likewise.
        throughput: at batches of 1, 4 and 16.
        peak_bytes: resident set of the row's process, at its largest, after batches of 1.
        peak_bytes_batched: the same at the end, after batches of 16.
        cold_starts_s: from the start of a process to its first landmarks, a fresh one each time.
        cold_start_failure: why there are none; empty where there are.
        end_to_end: on a small and on a large picture.
        difference: from the plain export in onnxruntime; None where that row did not run.
        accuracy: against annotations, where pictures have them.
        gflop: of a picture, as the bundle's manifest counts the graph that this row runs; None
            where it has no count.
        gflops_reached: gflop over the median latency.
        share_of_gemm: of this machine's measured fp32 matrix product; bf16 and int8 may pass 1.
    """

    engine: str
    device: str
    parameters: int | None
    rounds_ms: tuple[float, ...]
    network: Latency
    over_plain: Ratio | None
    over_torch: Ratio | None
    throughput: tuple[Throughput, ...]
    peak_bytes: int
    peak_bytes_batched: int
    cold_starts_s: tuple[float, ...]
    cold_start_failure: str
    end_to_end: tuple[DetectTiming, ...]
    difference: PixelDifference | None
    accuracy: SourceAccuracy | None
    gflop: float | None
    gflops_reached: float | None
    share_of_gemm: float | None


class SuiteRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row: figures, or why there are none and the command that would make it possible."""

    key: str
    label: str
    source: str
    form: str = ""
    figures: RowFigures | None = None
    missing: str = ""
    remedy: str = ""


class ModelRows(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All rows of one model, measured side by side.

    Attributes:
        gemm: the matrix product before and after the rounds at batch 1.
        tries: how often these were measured; the last is here, the others were disturbed.
    """

    name: str
    checkpoint: str
    gemm: GemmProbe
    tries: int = 1
    rows: tuple[SuiteRow, ...]


class StreamRun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`runtime.Stream` over a simulated device of fixed latency.

    Attributes:
        given: "files" are decoded on the way, "decoded" pictures are not.
        pictures: how many went through; `distinct` ones, repeated.
        utilisation: share of the wall-clock time in which the device was at work.
        in_order: whether every row came in its turn, with its own picture's answer.
        early_rss_bytes: resident set after `early_after` pictures.
        late_rss_bytes: after all of them.
    """

    given: str
    pictures: int
    distinct: int
    device_ms: float
    readers: int
    seconds: float
    pictures_per_second: float
    utilisation: float
    in_order: bool
    early_after: int
    early_rss_bytes: int
    late_rss_bytes: int


class ManyRun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Many pictures through one model on the CPU, in one way.

    Attributes:
        name: the way.
        pictures: how many went through; `distinct` ones, repeated.
        seconds: without the start, and of a batch without its first partition.
        over: the way whose speed `ratio` is a multiple of; empty where it is of none.
        ratios: of each turn, where both took turns.
        ratio: their median, or of both runs as a whole.
        early_rss_bytes: resident set after a tenth of the pictures; 0 where it was not looked at.
        late_rss_bytes: at the end.
    """

    name: str
    pictures: int
    distinct: int
    seconds: float
    pictures_per_second: float
    over: str = ""
    ratios: tuple[float, ...] = ()
    ratio: float | None = None
    early_rss_bytes: int = 0
    late_rss_bytes: int = 0


class SuiteReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole report. `invalid` lists why its latencies must not be quoted.

    Attributes:
        left_out: what could have been measured besides, and how.
        rounds: in which every row took its turn.
        timed_runs: of each turn, after one that is not timed.
        pictures: how many differences and accuracy are taken over.
        stream_failure: why there is no stream section; empty where there is.
        many: many pictures, from a folder and by batches, with the first model.
        many_failure: why that is not all; empty where it is.
    """

    schema: int = SCHEMA
    invalid: tuple[str, ...]
    left_out: tuple[str, ...]
    rounds: int
    timed_runs: int
    seed: int
    pictures: int
    models: tuple[ModelRows, ...]
    stream: tuple[StreamRun, ...]
    stream_failure: str
    many: tuple[ManyRun, ...] = ()
    many_failure: str = ""
    threads: Mapping[str, str]
    machine: str
    versions: Mapping[str, str]
    command: str
    created_utc: str


def json_schema() -> str:
    """The schema of the JSON report, as docs/benchmark_suite.schema.json holds it."""
    schema: dict[str, Any] = msgspec.json.schema(SuiteReport)
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"
