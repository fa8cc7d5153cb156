"""The two sides beside each other: what they are, what their manifests say, how long they took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np

from parity.recording.recording import STAGES, Recording
from parity.report.record import Report

# each side's facts that are the same kind of fact in every comparison
TOP_FACTS = ("source", "engine", "device", "parameters", "checkpoint_sha256", "machine")


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One row: a name, and what each side says; None where it says nothing."""

    name: str
    reference: str | None
    candidate: str | None

    @property
    def differs(self) -> bool:
        """Whether the sides say different things."""
        return self.reference != self.candidate


@dataclass(frozen=True, kw_only=True)
class StageTime:
    """One stage's median and P95 in ms on both sides; None where an engine does not tell it."""

    stage: str
    reference: tuple[float, float] | None
    candidate: tuple[float, float] | None


def facts(report: Report) -> list[Fact]:
    """What ran where, and with which versions."""
    here, there = (
        {name: _text(getattr(side, name)) for name in TOP_FACTS}
        | {f"versions.{name}": version for name, version in sorted(side.versions.items())}
        for side in (report.reference, report.candidate)
    )
    return _beside(here, there)


def manifest_facts(reference: Recording, candidate: Recording) -> list[Fact]:
    """Both manifests, entry by entry, differing ones first; empty where neither side has one."""
    here, there = (
        {}
        if side.header.manifest is None
        else dict(_flat(msgspec.to_builtins(side.header.manifest)))
        for side in (reference, candidate)
    )
    return sorted(_beside(here, there), key=lambda fact: not fact.differs)


def stage_times(reference: Recording, candidate: Recording) -> list[StageTime]:
    """Latency by stage as this comparison met it; stages that nobody tells are left out."""
    here, there = (_milliseconds(side) for side in (reference, candidate))
    return [
        StageTime(stage=stage, reference=here.get(stage), candidate=there.get(stage))
        for stage in STAGES
        if stage in here or stage in there
    ]


def _milliseconds(side: Recording) -> dict[str, tuple[float, float]]:
    found = {}
    for stage, seconds in zip(STAGES, side.timings.T, strict=True):
        told = seconds[np.isfinite(seconds)] * 1e3
        if told.size:
            median, p95 = np.percentile(told, (50, 95)).tolist()
            found[stage] = (median, p95)
    return found


def _beside(here: Mapping[str, str], there: Mapping[str, str]) -> list[Fact]:
    names = [*here, *(name for name in there if name not in here)]
    return [Fact(name=name, reference=here.get(name), candidate=there.get(name)) for name in names]


def _flat(value: object, name: str = "") -> list[tuple[str, str]]:
    """Nested entries as dotted names with a text each."""
    if isinstance(value, dict) and value:
        return [
            entry
            for key, inner in value.items()
            for entry in _flat(inner, f"{name}.{key}" if name else str(key))
        ]
    if isinstance(value, (list, tuple)) and any(isinstance(inner, dict) for inner in value):
        return [entry for i, inner in enumerate(value) for entry in _flat(inner, f"{name}[{i}]")]
    return [(name, _text(value))]


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
