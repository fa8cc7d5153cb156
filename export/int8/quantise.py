"""A float graph to an int8 one whose landmarks stay within a budget, by NNCF's accuracy control."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from export.int8.damage import Damage
from export.int8.equalise import equalise
from export.int8.scope import left_in_fp32, quantised_convolutions
from export.int8.table import quantiser
from parity.judging.differences import Statistics
from parity.plan.search import Budget
from runtime.errors import ExportError, one_line
from runtime.machine.telemetry import unreported
from runtime.model.spec import INPUT_NAME, InputSpec

logger = logging.getLogger("starmark")

# The control stops at the budget itself; the verdict is torch's word against the graph's, whose
# rounding is not the control's.
ROOM = 0.99
# The share of a crop's activations that may lie beyond the range, at each end: one in ten thousand.
CUT = 1e-4
# Operators are ranked by so many crops, those that int8 moves most; the budget is held on all.
RANKED_BY = 12


@dataclass(frozen=True, kw_only=True)
class Quantised:
    """A quantised graph.

    Attributes:
        graph: with QuantizeLinear and DequantizeLinear around what engines compute in int8.
        left: what stayed in fp32 from the outset, and why, by the node's name.
        at_first: convolutions in int8 before any was given back.
        found: its damage on the validation crops, crop px, in onnxruntime against the float graph.
        evaluations: how many graphs were run to find it.
        equalised: maps whose channels were scaled to like ranges.
    """

    graph: onnx.ModelProto
    left: Mapping[str, str]
    at_first: frozenset[str]
    found: Statistics
    evaluations: int
    equalised: tuple[str, ...]


def quantise(
    graph: onnx.ModelProto,
    calibration: NDArray[np.uint8],
    validation: NDArray[np.uint8],
    budget: Budget,
    spec: InputSpec,
) -> Quantised:
    """Take every convolution to int8 that the budget allows.

    Channels are scaled to like ranges first; then activations get the range that covers all but
    the rarest of the calibration crops, and weights one by channel. Operators are given back to
    fp32 one by one, the most harmful first, until the budget holds on the validation crops; where
    it never does, what came nearest is returned all the same.

    Args:
        graph: simplified, float32, with a symbolic batch.
        calibration: uint8 (N, S, S, 3) BGR crops.
        validation: likewise, others.
        budget: what is to hold, crop px.
        spec: of the graph's input.

    Raises:
        BackendUnavailable: nncf is not installed.
        ExportError: nncf failed.
    """
    quantiser()
    left = left_in_fp32(graph)
    damage = Damage(graph, validation, spec, budget)
    items = [{INPUT_NAME: spec.pack(crop[None])} for crop in calibration]
    level, equalised = equalise(graph, [item[INPUT_NAME] for item in items])
    try:
        # NNCF prints bars and notes also where there is no terminal
        with contextlib.redirect_stdout(io.StringIO()):
            made = _by_nncf(level, items, damage, list(left))
    except (KeyboardInterrupt, MemoryError, OSError):
        raise
    # a library that raises whatever its passes raise
    except Exception as error:
        raise ExportError(
            quantiser(),
            expected="a graph in int8",
            got=one_line(error, 300, kind=True),
            action="Try other calibration pictures, or the versions in constraints.txt",
        ) from error
    if not quantised_convolutions(made) and damage.best is not None:
        # all of it went back to fp32: that is no int8 graph, and what came nearest is judged
        made = onnx.load_model_from_string(damage.best)
    return Quantised(
        graph=made,
        left=left,
        at_first=damage.at_first,
        found=damage.of(made),
        evaluations=damage.evaluations,
        equalised=equalised,
    )


def _by_nncf(
    graph: onnx.ModelProto, items: list[dict[str, Any]], damage: Damage, left: list[str]
) -> onnx.ModelProto:
    with unreported():
        import nncf
    # not nncf.set_log_level: that also mutes handlers that others have hung on its logger
    logging.getLogger("nncf").setLevel(logging.ERROR)
    advanced = nncf.AdvancedQuantizationParameters(
        disable_bias_correction=True,  # measured here: it doubled the damage
        activations_range_estimator_params=_ranges(nncf.quantization.range_estimator),
        # for processors without VNNI, whose sums of products may overflow in 16 bits
        overflow_fix=nncf.quantization.advanced_parameters.OverflowFix.DISABLE,
    )
    made: onnx.ModelProto = nncf.quantize_with_accuracy_control(
        graph,
        nncf.Dataset(items),
        nncf.Dataset(damage.items),
        damage.validate,
        max_drop=ROOM,  # of the budget, whose excess the metric is
        drop_type=nncf.DropType.ABSOLUTE,
        subset_size=len(items),
        preset=nncf.QuantizationPreset.MIXED,  # from 0 where a ReLU leaves nothing below it
        ignored_scope=nncf.IgnoredScope(names=left, validate=False),
        advanced_quantization_parameters=advanced,
        advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
            ranking_subset_size=min(RANKED_BY, len(damage.items))
        ),
    )
    return made


def _ranges(of: Any) -> Any:
    """What an activation's int8 covers: each crop's but the rarest, of all crops the widest."""

    def end(aggregated: Any) -> Any:
        return of.StatisticsCollectorParameters(
            statistics_type=of.StatisticsType.QUANTILE,
            aggregator_type=aggregated,
            quantile_outlier_prob=CUT,
        )

    return of.RangeEstimatorParameters(
        min=end(of.AggregatorType.MIN), max=end(of.AggregatorType.MAX)
    )
