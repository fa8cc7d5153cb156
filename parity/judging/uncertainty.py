"""Whether the largest errors lie where the model itself is unsure: the backend's fault, or not.

It goes by the covariance that the reference gives with its points, and needs no further run.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from parity.judging.differences import ErrorTable

# The points that are looked at: the worst 1 %, at least so many, at most a quarter of all.
WORST_SHARE = 0.01
FEWEST_POINTS = 20
# A point is unsure where its map is wider than three quarters of all: by chance a quarter would be.
UNSURE_PERCENTILE = 75.0
MOSTLY, SELDOM = 0.6, 0.4
# At one landmark lie so many of the worst points: a head is wrong, not a rounding.
AT_ONE_LANDMARK = 0.5
FEWEST_PICTURES = 3

Reading = Literal["one landmark", "model unsure", "backend drifted", "undecided", "no difference"]


class Uncertainty(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the worst points lie.

    Attributes:
        points: how many were looked at.
        least_px: the smallest distance among them, crop px.
        spread_limit_px: above which the reference calls a point unsure, crop px: three quarters of
            all its points lie below.
        unsure_share: of the worst points that lie above; 0.25 by chance.
        landmark: at which most of the worst points lie.
        landmark_share: of the worst points that lie there.
        reading: "one landmark" where half of them lie at one, "model unsure" from 60 % on at
            unsure points, "backend drifted" up to 40 %, else "undecided".
    """

    points: int
    least_px: float
    spread_limit_px: float
    unsure_share: float
    landmark: int
    landmark_share: float
    reading: Reading


def uncertainty_of(table: ErrorTable) -> Uncertainty:
    """Look at the worst points of a comparison."""
    distance = np.hypot(table.crop_px[..., 0], table.crop_px[..., 1])
    pictures, landmarks = distance.shape
    count = max(FEWEST_POINTS, round(distance.size * WORST_SHARE))
    count = max(1, min(count, distance.size // 4))
    # stable, so that ties are taken in the pictures' order on every machine
    worst = np.argsort(-distance, axis=None, kind="stable")[:count]
    limit = float(np.percentile(table.reference_spread_px, UNSURE_PERCENTILE))
    share = float((table.reference_spread_px.ravel()[worst] > limit).mean())
    at = np.bincount(worst % landmarks, minlength=landmarks)
    landmark = int(np.argmax(at))
    landmark_share = float(at[landmark] / count)
    least = float(distance.ravel()[worst[-1]])
    at_one = landmark_share >= AT_ONE_LANDMARK and pictures >= FEWEST_PICTURES
    return Uncertainty(
        points=count,
        least_px=least,
        spread_limit_px=limit,
        unsure_share=share,
        landmark=landmark,
        landmark_share=landmark_share,
        reading=_reading(least, share, at_one=at_one),
    )


def _reading(least_px: float, unsure_share: float, *, at_one: bool) -> Reading:
    if least_px == 0:
        return "no difference"
    if at_one:
        return "one landmark"
    if unsure_share >= MOSTLY:
        return "model unsure"
    return "backend drifted" if unsure_share <= SELDOM else "undecided"


def sentence(doubt: Uncertainty) -> str:
    """What the reading means, with its figures."""
    at = f"{doubt.unsure_share:.0%} of the worst {doubt.points} points lie where the reference's"
    wide = f"{at} maps are wide (spread above {doubt.spread_limit_px:.1f} crop px; by chance 25%)"
    meaning = {
        "model unsure": "the model is unsure there, and small differences of any backend show most",
        "backend drifted": "the backend drifted: it differs where the model is sure, too",
        "undecided": "neither the model's doubt nor a drift of the backend explains it alone",
        "no difference": "nothing differs",
        "one landmark": f"{doubt.landmark_share:.0%} are landmark {doubt.landmark}:"
        " what computes that one has drifted",
    }
    return f"{wide}: {meaning[doubt.reading]}"
