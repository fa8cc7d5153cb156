"""What a comparison is held to: the one table of limits, by the arithmetic of its two sides.

An NPU may be off by what the reference promises of one. Two fp32 engines may not: they differ by
rounding alone, ten thousand times less, so that what is within the promise may still be another
network. Measured over torch, onnxruntime and OpenVINO, the starter and the full-size stand-in, on
48 faces in their boxes and as whole pictures: 468 pairs of one picture each, the worst of them a
mean of 1.5e-5, P95 5.5e-5, P99 8.4e-5 and a maximum of 1.7e-4 crop px, a spread that moved by a
mean of 3.9e-5 and P99 4.8e-4 crop px, and an axis by 1.5e-4 and 3.4e-3 degrees. One convolution's
weight of the starter changed by 0.05 moves the points by a mean of 8e-5 crop px or more in 96 of
100 cases.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from parity.judging.accuracy import AccuracyReport
from parity.judging.differences import ErrorTable
from parity.judging.verdict import LANDMARK_FIELDS, NOT_JUDGED, Basis, Limits, Verdict, judge
from parity.recording.recording import Header

# Limits that a caller chose, by their names in `Limits`; what is not in it is for the table.
Given = Mapping[str, Any]

BASES: dict[Basis, str] = {
    "rounding": "fp32 on the CPU on both sides: rounding alone",
    "budget": "int8: its budget",
    "promise": "the reference's promise",
    "given": "as given",
}
FP32, INT8 = "fp32", "int8"
# Room of 2 to 4 over the worst single picture. Only the maximum has room for one flip of the
# boundary gate (heat > 0.05), which is a step.
ROUNDING = Limits(
    max_mean_px=4e-5,
    max_error_px=0.05,
    max_p95_px=1.2e-4,
    max_p99_px=2e-4,
    max_spread_px=1.5e-4,
    max_spread_p99_px=1.5e-3,
    max_axis_deg=1e-3,
    max_axis_p99_deg=2e-2,
    unit="crop",
)
# Rounding moves the centre of a wide map by more, as the square of its spread: on noise and blank
# pictures (spread up to 57 px) by ten times as much as on faces, whose spread is up to here.
SPREAD_OF_FACES_PX = 16.0
# Budgets are of the points. Five times what the starter's covariance moved in int8, with the points
# off by a P99 of 0.8 crop px.
COVARIANCE_OF_INT8 = {
    "max_spread_px": 0.3,
    "max_spread_p99_px": 2.0,
    "max_axis_deg": 2.0,
    "max_axis_p99_deg": 10.0,
}
# The largest P99 that the project calls the same answer; crop px.
USUAL_P99_PX = 0.5


def arithmetic_of(header: Header) -> str:
    """What a recording's side computed in; of one made before this was kept, where it is certain.

    An onnxruntime run without a manifest is not: its graph may have been int8.
    """
    engine, *_, last = header.engine.split(" ")
    kind, _, rehearsed = header.device.partition("/")
    if header.arithmetic or kind == "rehearse":
        return header.arithmetic or rehearsed
    if header.device != "cpu":
        return ""
    if engine == "openvino":
        return next((one for one in last.split("+") if one != FP32), FP32)
    if engine == "onnxruntime" and header.manifest is not None:
        return FP32 if header.manifest.quantisation is None else INT8
    return FP32 if engine == "torch" else ""


def wants_nme(given: Given | Limits) -> bool:
    """Whether an increase of the NME is to be judged."""
    limits = given if isinstance(given, Limits) else Limits(**given)
    return limits.max_nme_increase_points is not None


def judged_by_table(
    table: ErrorTable,
    sides: tuple[Header, Header],
    given: Given | Limits,
    accuracy: AccuracyReport | None = None,
    bound: Limits | None = None,
    *,
    same_crops: bool = True,
) -> Verdict:
    """Hold a comparison to what its sides' arithmetic allows.

    Args:
        table: the differences.
        sides: reference and candidate.
        given: limits that replace the table's: one of the landmarks' replaces all of them.
        accuracy: for a limit of the NME.
        bound: a bundle's own limits, which hold in place of the promise, and beside rounding.
        same_crops: both sides saw the same bytes; else they differ by more than rounding.

    Raises:
        InputError: a limit of the NME without accuracy.
    """
    if isinstance(given, Limits):
        return judge(table, given, accuracy, bound=bound)
    basis, limits = _expected(table, sides, same_crops=same_crops)
    limits = bound if bound is not None and basis == "promise" else limits
    if any(field in given for field in LANDMARK_FIELDS):
        own = {name: getattr(Limits(), name) for name in (*LANDMARK_FIELDS, "unit")}
        basis, limits = "given", msgspec.structs.replace(limits, **own)
    unit = {} if basis in ("given", "promise") else {"unit": limits.unit}
    asked = msgspec.structs.replace(limits, **{**given, **unit})
    # fp32 shows other weights in its figures; what an NPU may be off can hide them
    stale = basis not in ("given", "rounding") and different_checkpoints(sides)
    faults = ("made from different checkpoints",) if stale else ()
    return judge(table, asked, accuracy, basis=basis, bound=bound, faults=faults)


def different_checkpoints(sides: tuple[Header, Header]) -> bool:
    """Whether both sides' weights are known by their hashes, and those differ."""
    here, there = (side.checkpoint_sha256 for side in sides)
    return bool(here and there and here != there)


def rounding_of(table: ErrorTable) -> Limits:
    """`ROUNDING`, wider where both sides' maps are wider than a face's."""
    larger = np.stack(
        [table.reference_spread_px, table.reference_spread_px + table.spread_px[..., 0]]
    )
    wide = max(1.0, float(np.square(larger.min(axis=0)).mean()) / SPREAD_OF_FACES_PX**2)
    fields = [field for field in Limits.__struct_fields__ if field not in ("unit", "max_error_px")]
    limits = {field: getattr(ROUNDING, field) for field in fields}
    scaled = {field: float(f"{limit * wide:.3g}") for field, limit in limits.items() if limit}
    return msgspec.structs.replace(ROUNDING, **scaled)


def _expected(
    table: ErrorTable, sides: tuple[Header, Header], *, same_crops: bool
) -> tuple[Basis, Limits]:
    arithmetics = [arithmetic_of(side) for side in sides]
    if INT8 in arithmetics:
        return "budget", _budget(sides)
    # an NPU's fp32 adds in another order, and its functions are its own
    on_cpu = all(side.device in ("cpu", "rehearse/fp32") for side in sides)
    if arithmetics == [FP32, FP32] and on_cpu and same_crops:
        return "rounding", rounding_of(table)
    return "promise", Limits()


def _budget(sides: tuple[Header, Header]) -> Limits:
    """The budget of the manifest of the int8 side, the candidate's first."""
    facts = (side.manifest.quantisation for side in reversed(sides) if side.manifest is not None)
    px = next((dict(fact.budget_px) for fact in facts if fact is not None), {"p99": USUAL_P99_PX})
    names = {"mean": "mean", "max": "error", "p95": "p95", "p99": "p99"}
    limits = {f"max_{names[name]}_px": limit for name, limit in px.items()}
    return msgspec.structs.replace(NOT_JUDGED, unit="crop", **COVARIANCE_OF_INT8, **limits)
