"""One model's rows, measured side by side."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import msgspec
import numpy as np

from benchmarks.suite.cold import cold_starts
from benchmarks.suite.plan import EAGER, PLAIN, ModelPlan, RowPlan
from benchmarks.suite.processes import REST_S, RowProcesses
from benchmarks.suite.report import (
    DetectTiming,
    ModelRows,
    PixelDifference,
    Ratio,
    RowFigures,
    SuiteRow,
    ratio,
)
from benchmarks.suite.row_worker import Detection
from parity.judging.accuracy import (
    SourceAccuracy,
    nme_percent,
    star_limit_percent,
    summarised,
)
from parity.judging.differences import error_table, statistics
from parity.machine import GemmProbe, gemm_gflops
from parity.recording.recording import STAGES, Recording, load_recording
from parity.samples import Sample
from parity.timing import Throughput, latency
from runtime.cli import command_line
from runtime.errors import ArtifactError, StarmarkError
from runtime.files import shown
from runtime.model.manifest import read_manifest

TIMED_RUNS = 3
BATCHES = (4, 16)
PICTURE_SIZES_WH = ((1920, 1080), (4000, 3000))
# At most, of what takes longer than a run of the network, or is nobody's headline.
BATCH_ROUNDS = 3
PICTURE_ROUNDS = 10
COLD_STARTS = 3
# Below this a P95 is the maximum, and a median of ratios is luck.
FEWEST_ROUNDS = 20
# Of the rounds, where the machine's speed was not the same after them; what disturbed it may pass.
MOST_TRIES = 4
DISTURBED_REST_S = 60.0

logger = logging.getLogger("starmark")


@dataclass(kw_only=True, eq=False)
class Measurements:
    """The measurements of the rows, by the row's key."""

    probe: GemmProbe = field(default_factory=lambda: GemmProbe(before_gflops=0, after_gflops=0))
    about: dict[str, tuple[str, str, int | None]] = field(default_factory=dict)
    recordings: dict[str, Recording] = field(default_factory=dict)
    tries: int = 0
    network: dict[str, list[list[float]]] = field(default_factory=dict)
    batched: dict[int, dict[str, list[list[float]]]] = field(default_factory=dict)
    detections: dict[tuple[int, int], dict[str, list[list[Detection]]]] = field(
        default_factory=dict
    )
    peak: dict[str, int] = field(default_factory=dict)
    peak_batched: dict[str, int] = field(default_factory=dict)
    cold: dict[str, list[float]] = field(default_factory=dict)
    cold_failures: dict[str, StarmarkError] = field(default_factory=dict)
    failures: dict[str, StarmarkError] = field(default_factory=dict)


def measure_model(
    plan: ModelPlan, samples: Sequence[Sample], *, rounds: int, seed: int, scratch: Path
) -> ModelRows:
    """Measure every row that can run: `rounds` of batch 1, in an order by `seed`.

    Differences and accuracy are over the samples; `scratch` is a folder for recordings.
    """
    found = _collect(plan, samples, rounds, seed, scratch)
    return ModelRows(
        name=plan.name,
        checkpoint=shown(plan.checkpoint),
        gemm=found.probe,
        tries=found.tries,
        rows=tuple(_row(row, found) for row in plan.rows),
    )


def _collect(
    plan: ModelPlan, samples: Sequence[Sample], rounds: int, seed: int, scratch: Path
) -> Measurements:
    found = Measurements()
    running = [row for row in plan.rows if not row.missing]
    with RowProcesses(seed) as rows:
        for row in command_line.progress(running, f"Opening {plan.name}", len(running)):
            rows.open(row)
        found.about = rows.each("describe")
        for key in command_line.progress(rows.keys, "Differences", len(rows.keys)):
            path = scratch / f"{plan.name}_{key}.npz"
            rows.call(key, "record", samples, path)
            if path.is_file():
                found.recordings[key] = load_recording(path)
        _measure_network(found, rows, plan.name, rounds)
        found.peak = rows.each("peak_bytes")
        for size_wh in PICTURE_SIZES_WH:
            what = f"{plan.name}: {size_wh[0]} x {size_wh[1]}"
            found.detections[size_wh] = rows.rounds(
                min(PICTURE_ROUNDS, rounds), what, "detect", size_wh, TIMED_RUNS
            )
        for size in BATCHES:
            what = f"{plan.name}: batch {size}"
            found.batched[size] = rows.rounds(min(BATCH_ROUNDS, rounds), what, "network", size, 1)
        found.peak_batched = rows.each("peak_bytes")
        alive = set(rows.keys)
        found.failures = rows.failures
    # with none of the rows left in memory
    still = [row for row in running if row.key in alive]
    found.cold, found.cold_failures = cold_starts(still, min(COLD_STARTS, rounds), seed)
    return found


def _measure_network(found: Measurements, rows: RowProcesses, name: str, rounds: int) -> None:
    """Measure the rounds that ratios are quoted from, again where the machine was disturbed."""
    for found.tries in range(1, MOST_TRIES + 1):
        before = gemm_gflops()  # around these rounds, and nothing else
        found.network = rows.rounds(rounds, f"{name}: batch 1", "network", 1, TIMED_RUNS)
        time.sleep(REST_S)
        found.probe = GemmProbe(before_gflops=before, after_gflops=gemm_gflops())
        if not found.probe.fault or rounds < FEWEST_ROUNDS or found.tries == MOST_TRIES:
            return
        logger.warning(
            "%s: %s; measuring again in %.0f s", name, found.probe.fault, DISTURBED_REST_S
        )
        time.sleep(DISTURBED_REST_S)


def _row(row: RowPlan, collected: Measurements) -> SuiteRow:
    bare = SuiteRow(
        key=row.key,
        label=row.label,
        source=shown(row.opening.source),
        form=row.opening.form,
        missing=row.missing,
        remedy=row.remedy,
    )
    if row.missing:
        return bare
    if row.key in collected.failures:
        error = collected.failures[row.key]
        where = error.where.removeprefix(f"{row.label}: ")
        missing = f"{where}: {error.problem}"
        # where this processor lacks bf16, the command for one that has it
        elsewhere = f"on a processor with bf16: {row.command}"
        remedy = elsewhere if error.where.startswith("bf16 on ") else error.action
        return msgspec.structs.replace(bare, missing=missing, remedy=remedy)
    return msgspec.structs.replace(bare, figures=_figures(row, collected))


def _figures(row: RowPlan, collected: Measurements) -> RowFigures:
    key = row.key
    engine, device, parameters = collected.about[key]
    rounds_ms = round_medians(collected.network[key])
    runs_s = [seconds for turn in collected.network[key] for seconds in turn]
    gflop = gflop_of(row)
    reached = None if gflop is None else gflop / median(rounds_ms) * 1e3
    peak = (collected.probe.before_gflops + collected.probe.after_gflops) / 2
    return RowFigures(
        engine=engine,
        device=device,
        parameters=parameters,
        rounds_ms=rounds_ms,
        network=latency(runs_s),
        over_plain=_over(PLAIN, rounds_ms, collected),
        over_torch=_over(EAGER, rounds_ms, collected),
        throughput=_throughput(key, rounds_ms, collected),
        peak_bytes=collected.peak[key],
        peak_bytes_batched=collected.peak_batched[key],
        cold_starts_s=tuple(collected.cold.get(key, ())),
        cold_start_failure=str(collected.cold_failures.get(key, "")),
        end_to_end=tuple(
            end_to_end(size_wh, by_key[key]) for size_wh, by_key in collected.detections.items()
        ),
        difference=_difference(collected.recordings, key),
        accuracy=accuracy_of(collected.recordings[key]),
        gflop=gflop,
        gflops_reached=reached,
        share_of_gemm=None if reached is None else reached / peak,
    )


def round_medians(turns: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Each round's median in ms: one disturbed run does not make a round."""
    return tuple(median(turn) * 1e3 for turn in turns)


def _over(base: str, rounds_ms: Sequence[float], collected: Measurements) -> Ratio | None:
    if base not in collected.network or base in collected.failures:
        return None
    return ratio(round_medians(collected.network[base]), rounds_ms)


def _throughput(
    key: str, rounds_ms: Sequence[float], collected: Measurements
) -> tuple[Throughput, ...]:
    """Batch 1 is the latency's own runs."""
    ms = {1: rounds_ms, **{n: round_medians(by[key]) for n, by in collected.batched.items()}}
    return tuple(
        Throughput(batch=size, pictures_per_second=size / median(rounds) * 1e3)
        for size, rounds in ms.items()
    )


def end_to_end(size_wh: tuple[int, int], turns: Sequence[Sequence[Detection]]) -> DetectTiming:
    """Summarise the detections of all rounds."""
    runs = [detection for turn in turns for detection in turn]
    stages = [stage for stage in STAGES if stage in runs[0].stages_s]
    return DetectTiming(
        size_wh=size_wh,
        total=latency([run.total_s for run in runs]),
        stages_ms={stage: median(run.stages_s[stage] for run in runs) * 1e3 for stage in stages},
        around_engine_ms=median(run.around_s for run in runs) * 1e3,
        over_floor=ratio([run.around_s for run in runs], [run.floor_s for run in runs]),
    )


def _difference(recordings: Mapping[str, Recording], key: str) -> PixelDifference | None:
    if PLAIN not in recordings:
        return None
    table = error_table(recordings[PLAIN], recordings[key])
    found = statistics(table.crop_px)
    return PixelDifference(
        pictures=len(table.names),
        mean_px=found.mean,
        p95_px=found.p95,
        p99_px=found.p99,
        max_px=found.max,
    )


def accuracy_of(recording: Recording) -> SourceAccuracy | None:
    """The row against the annotations; None where no picture has a usable one."""
    topology = recording.header.spec.topology
    if topology.normaliser is None:
        return None
    nme = nme_percent(recording.points_px, recording.annotations_px, topology.normaliser[1])
    usable = nme[np.isfinite(nme)]
    return summarised(usable, star_limit_percent(topology)) if len(usable) else None


def gflop_of(row: RowPlan) -> float | None:
    """GFLOP of one picture, as a manifest counts the graph that runs; None where none does."""
    for bundle in row.bundles:
        try:
            onnx = read_manifest(bundle).onnx
        except ArtifactError:
            continue
        # a checkpoint is run in its published form, which has up to 0.2 % less
        return onnx.cost.gflop
    return None
