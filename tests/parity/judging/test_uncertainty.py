"""Whether large errors lie where the model is unsure: planted on either side."""

from __future__ import annotations

import numpy as np
import pytest
from recordings import recording_of, shifted

from parity.judging.differences import error_table
from parity.judging.uncertainty import uncertainty_of
from parity.judging.verdict import Limits
from parity.report import as_text, make_report
from runtime.image.landmarks import spread_of


@pytest.mark.parametrize("pictures", [2, 40])
def test_error_that_grows_with_the_maps_is_the_models_doubt(
    rng: np.random.Generator, pictures: int
) -> None:
    """Each point off by a tenth of its own spread, as where every value is rounded alike."""
    here = recording_of(rng, pictures=pictures)
    by = np.zeros(here.landmarks.shape)
    by[..., 0] = spread_of(here.covariance) / 10
    found = uncertainty_of(error_table(here, shifted(here, by)))

    assert found.reading == "model unsure"
    assert found.unsure_share == 1
    assert found.points == (20 if pictures == 2 else 27)


@pytest.mark.parametrize("pictures", [2, 40])
def test_error_without_regard_to_the_maps_is_the_backends_drift(
    rng: np.random.Generator, pictures: int
) -> None:
    """The same noise at sure and at unsure points: a quarter of the worst are unsure by chance."""
    here = recording_of(rng, pictures=pictures)
    by = rng.normal(0, 0.01, here.landmarks.shape)
    by[spread_of(here.covariance) > np.percentile(spread_of(here.covariance), 90)] /= 10
    found = uncertainty_of(error_table(here, shifted(here, by)))

    assert found.reading == "backend drifted"
    assert found.unsure_share <= 0.4


def test_one_drifted_landmark_is_named(rng: np.random.Generator) -> None:
    """Also where its maps are wide, as the jaw's are."""
    here = recording_of(rng, pictures=40)
    by = np.zeros(here.landmarks.shape)
    by[:, 8] = 0.05
    report = make_report(here, shifted(here, by), Limits())

    assert (report.doubt.reading, report.doubt.landmark) == ("one landmark", 8)
    assert "100% are landmark 8" in as_text(report)


def test_equal_recordings_leave_nothing_to_explain(rng: np.random.Generator) -> None:
    """No reading of nothing, and no sentence where the verdict is good."""
    here = recording_of(rng)
    report = make_report(here, here, Limits())

    assert report.doubt.reading == "no difference"
    assert "maps are wide" not in as_text(report)


def test_limit_is_three_quarters_of_the_references_own_spreads(rng: np.random.Generator) -> None:
    """In crop px, by counting."""
    here = recording_of(rng, pictures=7)
    found = uncertainty_of(error_table(here, shifted(here, rng.normal(0, 1, here.landmarks.shape))))
    spreads = [
        128 * float(np.sqrt(np.linalg.eigvalsh([[xx, xy], [xy, yy]])[-1]))
        for xx, xy, yy in here.covariance.reshape(-1, 3)
    ]

    above = sum(spread > found.spread_limit_px for spread in spreads)
    assert above == len(spreads) // 4
