"""What is compared stage by stage: both sources, opened, and the pictures they are run on."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from parity.judging.differences import check_comparable, crops_that_differ
from parity.locate.stages import U8, RecordedStages, TappedSource, TappedStages, TorchStages
from parity.recording.recording import (
    RECORDING_SUFFIX,
    Recording,
    Unreadable,
    load_recording,
    sha256_pixels,
)
from parity.rehearsal.keep_list import KeepList
from parity.samples import Sample, decoded
from parity.sources import NOTHING_KEPT, REHEARSAL, open_detector, rehearsed_source, rounded_backend
from runtime.backends import Settings, check_precision
from runtime.detector import Detector
from runtime.errors import InputError
from runtime.files import shown
from runtime.image.crop import crop_as
from runtime.model.manifest import MANIFEST_NAME, ONNX_NAME
from runtime.model.source import Source, wants_om

# between two recordings, neither of which is run
NO_CROP = np.empty((0, 0, 3), np.uint8)

logger = logging.getLogger("starmark")


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """One picture as both sides see it."""

    name: str
    crop: U8  # (S, S, 3) BGR; `NO_CROP` between two recordings


def open_source(
    source: Source, settings: Settings, keep_fp32: KeepList = NOTHING_KEPT
) -> TappedSource:
    """Open a checkpoint, a graph, a rehearsal, a debug bundle on any engine, or a recording.

    Raises:
        ArtifactError: a model without the stages' tensors.
        InputError: a recording without them.
        StarmarkError: as `open_detector` and `load_recording`.
    """
    name = shown(source.text)
    if source.path.suffix == RECORDING_SUFFIX:
        return RecordedStages(name, load_recording(source.path))
    with ExitStack() as stack:
        detector, graph = _run_as_a_whole(source, settings, keep_fp32)
        stack.enter_context(detector)
        if graph is not None:
            from parity.locate.onnx_stages import OnnxStages  # onnx: other sources do without

            device = "cpu" if source.engine == REHEARSAL else source.device
            return OnnxStages(name, detector.backend, graph, device, settings.threads)
        # a checkpoint's backend alone looks into its modules
        stages = TorchStages if hasattr(detector.backend, "probe") else TappedStages
        opened = stages(name, detector.backend)
        stack.pop_all()  # its backend stays open
        return opened


def _run_as_a_whole(
    source: Source, settings: Settings, keep_fp32: KeepList
) -> tuple[Detector, bytes | None]:
    """What runs all stages at once, and the graph that they can be cut out of, if any."""
    if source.engine == REHEARSAL:
        check_precision("onnxruntime", source, settings)
        artifact, arithmetic, kept = rehearsed_source(source, keep_fp32)
        return Detector(rounded_backend(artifact, arithmetic, kept, settings)), artifact.graph
    # unlike Path.is_file, this does not raise where the name is too long; opening then does
    in_bundle = os.path.isfile(source.path / MANIFEST_NAME)  # noqa: PTH113  # see above
    path = source.path / ONNX_NAME if in_bundle else source.path
    runs_graph = path.suffix.lower() == ".onnx" and source.engine in (None, "onnxruntime")
    if not runs_graph or (in_bundle and wants_om(source)):
        return open_detector(source, settings), None
    if source.device == "auto":
        # not the bundle's .om, which `auto` opens where there is an NPU: its stages cannot be cut
        source = replace(source, engine="onnxruntime", device="cpu")
    from parity.onnx_weights import whole_graph  # onnx: as above

    return open_detector(source, settings), whole_graph(path)


def pictures_for(
    sides: tuple[TappedSource, TappedSource], samples: Sequence[Sample], *, jobs: int, strict: bool
) -> Iterator[Picture | Unreadable]:
    """The pictures, one at a time, as both sides see them.

    From a recording that carries its crops; else from `samples`, which must give the very crops
    that a recording was made of.

    Args:
        sides: reference and candidate.
        samples: for sides that are run.
        jobs: threads that decode.
        strict: an unreadable picture is an error.

    Raises:
        InputError: the sides were given different crops, or an unreadable picture.
    """
    recordings = [side.recording for side in sides if isinstance(side, RecordedStages)]
    if len(recordings) == 2:
        yield from _recorded(recordings[0], recordings[1])
    elif recordings and recordings[0].header.with_crops:
        pictures = recordings[0].header.pictures
        for picture, crop in zip(pictures, recordings[0].crops(), strict=True):
            yield Picture(name=picture.name, crop=crop)
    else:
        yield from _decoded(recordings, samples, sides[0].size_px, jobs=jobs, strict=strict)


def _recorded(reference: Recording, candidate: Recording) -> Iterator[Picture]:
    check_comparable(reference, candidate)
    differ = crops_that_differ(reference, candidate)
    if differ:
        raise _other_crops(differ[0], "another one", "python -m parity.record --images ONE.npz")
    for picture in reference.header.pictures:
        yield Picture(name=picture.name, crop=NO_CROP)


def _decoded(
    recordings: Sequence[Recording],
    samples: Sequence[Sample],
    size_px: int,
    *,
    jobs: int,
    strict: bool,
) -> Iterator[Picture | Unreadable]:
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
        yield Picture(name=sample.name, crop=crop)


def _crop(sample: Sample, picture: Any, size_px: int) -> U8:
    if isinstance(picture, InputError):
        raise picture
    return crop_as(picture, sample.box_xyxy, size_px, cropped=sample.is_crop_of(size_px)).pixels


def _other_crops(what: str, got: str, how: str) -> InputError:
    return InputError(
        "recording",
        expected=f"the crop of {what} that the other side is shown",
        got=got,
        action=f"Record it again with {how}, so that both sides see the same crops",
    )
