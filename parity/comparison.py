"""Two sources on the same pictures, in pixels, with a verdict."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from parity.judging.accuracy import check_annotations
from parity.judging.differences import check_comparable, crops_that_differ
from parity.judging.expected import Given, wants_nme
from parity.judging.verdict import Limits
from parity.recording.recorder import Recorder, record, replay
from parity.recording.recording import (
    RECORDING_SUFFIX,
    Recording,
    load_recording,
    save_recording,
)
from parity.rehearsal.keep_list import KeepList
from parity.report import Report, make_report
from parity.samples import Sample
from parity.sources import NOTHING_KEPT, open_detector
from runtime.backends import Backend, Settings
from runtime.backends.base import DEFAULT_SETTINGS
from runtime.detector import Detector
from runtime.errors import ConfigError, InputError
from runtime.model.source import Source


def is_recording(source: Source) -> bool:
    """Whether a source is a recording, which is read and not run."""
    return source.path.suffix == RECORDING_SUFFIX


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """A report, and what it was made of.

    Attributes:
        reference, candidate: as judged: on the shared crops, where there are such.
        samples: the pictures that were shown; empty where both sides are recordings.
    """

    report: Report
    reference: Recording
    candidate: Recording
    samples: tuple[Sample, ...]


def judged_comparison(
    sources: tuple[Source, Source],
    samples: Sequence[Sample],
    limits: Given | Limits,
    *,
    bound: Limits | None = None,
    jobs: int = 1,
    strict: bool = True,
    record_to: Sequence[Path] = (),
    with_crops: bool = False,
    settings: Settings = DEFAULT_SETTINGS,
    keep_fp32: KeepList = NOTHING_KEPT,
    reference: Backend | None = None,
) -> Comparison:
    """Compare a reference with a candidate, and judge.

    Recordings are read, everything else is run: both on the same decoded pictures, in one pass
    that keeps no pixels. Where a recording's crops differ from a running source's and the recording
    carries them, that source is run on them, too, and the verdict is on those shared crops.

    Args:
        sources: reference and candidate.
        samples: for the sources that are run.
        limits: what passes, as `given` of `judged_by_table`.
        bound: a bundle's own limits, as there.
        jobs: threads that decode.
        strict: an unreadable picture is an error.
        record_to: files for the recordings of the sources that are run, in their order.
        with_crops: keep the crops in those files.
        settings: as for `open_detector`.
        keep_fp32: likewise, of what is rehearsed.
        reference: the first source, where it is open already; closed with this comparison.

    Raises:
        StarmarkError: as `open_detector`, `record`, `load_recording`, `check_annotations` and
            `make_report`.
    """
    with ExitStack() as stack:
        read = {i: load_recording(s.path) for i, s in enumerate(sources) if is_recording(s)}
        run = {
            i: stack.enter_context(
                Detector(reference)
                if reference is not None and i == 0
                else open_detector(source, settings, keep_fp32)
            )
            for i, source in enumerate(sources)
            if i not in read
        }
        if wants_nme(limits):
            for detector in run.values():
                check_annotations(samples, detector.spec.points)
        crops: list[IO[bytes] | None] = [
            stack.enter_context(tempfile.TemporaryFile(dir=path.parent)) if with_crops else None
            for path in record_to
        ] or [None] * len(run)
        recorders = [
            Recorder(sources[i].text, detector, file)
            for (i, detector), file in zip(run.items(), crops, strict=True)
        ]
        made = record(recorders, samples, jobs=jobs, strict=strict) if run else []
        for path, recording, file in zip(record_to, made, crops, strict=False):
            save_recording(path, recording, file)
        sides = {**read, **dict(zip(run, made, strict=True))}
        shared = _on_shared_crops(sides, read, run, sources)
    judged = shared or (sides[0], sides[1])
    return Comparison(
        report=make_report(sides[0], sides[1], limits, shared, bound),
        reference=judged[0],
        candidate=judged[1],
        samples=tuple(samples),
    )


def _on_shared_crops(
    sides: dict[int, Recording],
    read: dict[int, Recording],
    run: dict[int, Detector],
    sources: tuple[Source, Source],
) -> tuple[Recording, Recording] | None:
    check_comparable(sides[0], sides[1])
    if not crops_that_differ(sides[0], sides[1]):
        return None
    for i, carrier in read.items():
        other = 1 - i
        if carrier.header.with_crops and other in run:
            again = replay(run[other], sources[other].text, carrier)
            return (carrier, again) if i == 0 else (again, carrier)
    return None


def check_pair(sources: tuple[Source, Source]) -> None:
    """Refuse a pair of sources that makes no sense.

    Raises:
        ConfigError: a recording with a device.
        InputError: the same source twice.
    """
    for source in sources:
        if is_recording(source) and (source.engine or source.device != "auto"):
            raise ConfigError(
                source.text,
                expected="a recording without a device: it is not run",
                got=f"device {source.device!r}",
                action="Leave the @ and what follows out",
            )
    one, other = ((s.path.resolve(), s.engine, s.device) for s in sources)
    if one == other:
        raise InputError(
            "comparison",
            expected="two different sources",
            got=f"{sources[0].text} twice",
            action="A source always agrees with itself: name another one",
        )
