"""Ratios of two rows: of pairs alone, because a machine's clock moves under a benchmark."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np


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
