"""What a bundle's manifest says of an int8 graph: its budget, and what stayed in fp32."""

from __future__ import annotations

import msgspec


class KeptFact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Operators of an int8 graph that compute in fp32, and why."""

    why: str
    operators: tuple[str, ...]


class QuantisationFact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an int8 graph was made.

    Attributes:
        tool: name and version.
        float_sha256: of the float graph it was made from, as `export --precision fp32` makes it.
        budget_px: the limits, by statistic, crop px over |dx| and |dy|.
        found_px: mean, p95, p99 and max against the float graph on the validation pictures, in
            onnxruntime.
        calibration_pictures, validation_pictures: how many.
        pictures_sha256: one hash of both sets: files, boxes and which is in which.
        embedded: both were cuts of the project's own portrait.
        equalised: maps whose channels were scaled to like ranges first.
        evaluations: how many candidates were run.
        convolutions, int8_convolutions: how many there are, and how many compute in int8.
        kept: what stayed in fp32, and why.
    """

    tool: str
    float_sha256: str
    budget_px: dict[str, float]
    found_px: dict[str, float]
    calibration_pictures: int
    validation_pictures: int
    pictures_sha256: str
    embedded: bool
    equalised: int
    evaluations: int
    convolutions: int
    int8_convolutions: int
    kept: tuple[KeptFact, ...]
