"""Opening what is compared stage by stage, and the pictures both sides are shown."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parity.judging.differences import check_comparable, crops_that_differ
from parity.locate.stage_runs import Shown, StagedSource, TappedSource
from parity.locate.tapped_sources import RecordedStages, TappedStages
from parity.locate.torch_stages import TorchStages
from parity.options import RECORDING_SUFFIX
from parity.recording.recording import Recording, Unreadable, load_recording, sha256_pixels
from parity.rehearsal.keep_list import KeepList
from parity.samples import Sample, decoded
from parity.sources import NOTHING_KEPT, REHEARSAL, open_detector, rehearsal_of
from runtime.backends import Settings
from runtime.detector import Detector
from runtime.errors import InputError
from runtime.files import shown
from runtime.image.crop import crop_as
from runtime.model.source import Source, find_artifact

# What runs an ONNX graph as it is written, so that its stages can be cut out of it.
GRAPH_ENGINES = (None, "onnxruntime", REHEARSAL)

logger = logging.getLogger("starmark")


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """One side, opened.

    Attributes:
        text: the source as it was named.
        engine: what runs it, or ran it.
        checkpoint_sha256: of the weights it was made from; empty where nothing says.
        size_px: side of its crops.
        tapped: gives the tensors between the stages.
        staged: the same, where its stages can be run alone.
        recording: the same, where it is answers made elsewhere.
    """

    text: str
    engine: str
    checkpoint_sha256: str
    size_px: int
    tapped: TappedSource
    staged: StagedSource | None = None
    recording: Recording | None = None


def open_side(source: Source, settings: Settings, keep_fp32: KeepList = NOTHING_KEPT) -> Side:
    """Open a checkpoint, a graph, a rehearsal, a debug bundle on any engine, or a recording.

    Raises:
        ArtifactError: a model without the stages' tensors.
        InputError: a recording without them.
        StarmarkError: as `open_detector` and `load_recording`.
    """
    text = shown(source.text)
    if source.path.suffix == RECORDING_SUFFIX:
        recording = load_recording(source.path)
        header = recording.header
        return Side(
            text=text,
            engine=header.engine,
            checkpoint_sha256=header.checkpoint_sha256,
            size_px=header.spec.input.size,
            tapped=RecordedStages(text, recording),
            recording=recording,
        )
    kind = find_artifact(source).kind
    is_graph = kind == "onnx" and source.engine in GRAPH_ENGINES
    if is_graph and source.device == "auto":
        # not the bundle's .om, which `auto` takes where there is an NPU: its stages cannot be cut
        source = replace(source, engine="onnxruntime", device="cpu")
    detector = open_detector(source, settings, keep_fp32)
    try:
        return _opened(source, text, kind, detector, settings, keep_fp32, is_graph=is_graph)
    except BaseException:
        detector.close()  # on a device it would be held until the process ends
        raise


def _opened(
    source: Source,
    text: str,
    kind: str,
    detector: Detector,
    settings: Settings,
    keep_fp32: KeepList,
    *,
    is_graph: bool,
) -> Side:
    backend = detector.backend
    staged: StagedSource | None = None
    if is_graph:
        detector.close()
        staged = _graph_stages(source, text, keep_fp32, settings.threads)
    elif kind == "checkpoint":
        staged = TorchStages(text, backend)
    return Side(
        text=text,
        engine=backend.name,
        checkpoint_sha256=backend.checkpoint_sha256,
        size_px=detector.spec.input.size,
        tapped=staged or TappedStages(text, backend),
        staged=staged,
    )


def _graph_stages(
    source: Source, text: str, keep_fp32: KeepList, threads: int | None
) -> StagedSource:
    from parity.locate.onnx_stages import (
        OnnxStages,  # here: checkpoints and recordings need no onnx
    )

    if source.engine == REHEARSAL:
        return OnnxStages(text, rehearsal_of(source, keep_fp32).graph, "cpu", threads)
    return OnnxStages(text, find_artifact(source).path.read_bytes(), source.device, threads)


def pictures_for(
    reference: Side, candidate: Side, samples: Sequence[Sample], *, jobs: int, strict: bool
) -> Iterator[Shown | Unreadable]:
    """The pictures, one at a time, as both sides see them.

    A recording has its own: its crops where it carries them; else `samples` must give the very
    crops it was made of.

    Args:
        reference: one side.
        candidate: the other.
        samples: for sides that are run, where no recording carries crops.
        jobs: threads that decode.
        strict: an unreadable picture is an error.

    Raises:
        InputError: two sides that were shown different crops, or an unreadable picture.
    """
    recordings = [side.recording for side in (reference, candidate) if side.recording is not None]
    size_px = reference.size_px
    if len(recordings) == 2:
        yield from _recorded(recordings[0], recordings[1])
    elif recordings and recordings[0].header.with_crops:
        names = [picture.name for picture in recordings[0].header.pictures]
        for index, crop in enumerate(recordings[0].crops()):
            yield Shown(index=index, name=names[index], size_px=size_px, crop=crop)
    else:
        yield from _decoded(recordings, samples, size_px, jobs=jobs, strict=strict)


def _recorded(reference: Recording, candidate: Recording) -> Iterator[Shown]:
    check_comparable(reference, candidate)
    differ = crops_that_differ(reference, candidate)
    if differ:
        raise _other_crops(differ[0], "another one", "python -m parity.record --images ONE.npz")
    for index, picture in enumerate(reference.header.pictures):
        size_px = reference.header.spec.input.size
        yield Shown(index=index, name=picture.name, size_px=size_px, crop=None)


def _decoded(
    recordings: Sequence[Recording],
    samples: Sequence[Sample],
    size_px: int,
    *,
    jobs: int,
    strict: bool,
) -> Iterator[Shown | Unreadable]:
    wanted = [picture.sha256_crop for one in recordings for picture in one.header.pictures]
    if recordings and len(wanted) != len(samples):
        raise _other_crops(f"{len(wanted)} pictures", f"{len(samples)} pictures", "--with-crops")
    for index, (sample, picture, _) in enumerate(decoded(samples, jobs)):
        try:
            crop = _crop(sample, picture, size_px)
        except InputError as error:
            if strict or recordings:
                raise
            logger.warning("left out: %s", error)
            yield Unreadable(name=sample.name, error=str(error))
            continue
        if recordings and sha256_pixels(crop) != wanted[index]:
            raise _other_crops(sample.name, "another one", "--with-crops")
        yield Shown(index=index, name=sample.name, size_px=size_px, crop=crop)


def _crop(sample: Sample, picture: Any, size_px: int) -> NDArray[np.uint8]:
    if isinstance(picture, InputError):
        raise picture
    return crop_as(picture, sample.box_xyxy, size_px, cropped=sample.cropped).pixels


def _other_crops(what: str, got: str, how: str) -> InputError:
    return InputError(
        "recording",
        expected=f"the crop of {what} that the other side is shown",
        got=got,
        action=f"Record it again with {how}, so that both sides see the same crops",
    )
