"""Pictures through a finder of faces and the network, read and cut ahead, one result a picture."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.detector import Detector
from runtime.errors import InferenceError, InputError
from runtime.faces import Face, find_boxes
from runtime.files.ahead import ahead
from runtime.image.geometry import F64, box_around
from runtime.many.inputs import StoredPicture
from runtime.stream.stream import Stream
from runtime.tracing import Trace


@dataclass(kw_only=True, eq=False)
class Searched:
    """A picture, and what was found in it.

    Attributes:
        file: where it came from.
        image: uint8 (H, W, 3) BGR, None where it could not be read.
        faces: without a finder, the picture as a whole.
        error: why there are none, where something failed.
    """

    file: StoredPicture
    image: NDArray[np.uint8] | None = None
    faces: list[Face] = field(default_factory=list)
    error: InputError | InferenceError | None = None


@dataclass(kw_only=True, eq=False)
class _Cut:
    """A face on its way; a picture without one sends an empty cut, so that it gets its turn."""

    picture: Searched
    last: bool
    empty: bool = False
    found_box_xyxy: F64 | None = None
    score: float | None = None
    cut_by_xyxy: F64 | None = None
    trace: Trace | None = None
    error: InputError | InferenceError | None = None


def search(
    detector: Detector | Sequence[Detector],
    files: Iterable[StoredPicture],
    *,
    readers: int = 2,
    batch: int | None = None,
) -> Generator[Searched, None, None]:
    """Find the faces of pictures and their landmarks.

    Args:
        detector: open, with its finder and its passes; or one for each device.
        files: gone through a few pictures ahead.
        readers: threads that read, decode and look for faces, and as many that cut.
        batch: faces in one call of a device at most, as for `Stream`.

    Yields:
        Each picture in the order of the files. One that fails says so itself, and ends nothing.

    Raises:
        InferenceError: a device is lost.
    """
    detectors = [detector] if isinstance(detector, Detector) else [*detector]
    first = detectors[0]

    def read(file: StoredPicture) -> list[_Cut]:
        return _read(first, file)

    with ExitStack() as running:  # closed in turn, the last pass first
        passing = running.enter_context(closing(_cuts(read, files, readers)))
        for again in range(1 + first.refine):
            later = _passed(detectors, passing, again=again > 0, readers=readers, batch=batch)
            passing = running.enter_context(closing(later))
        for cut in passing:
            picture = cut.picture
            if cut.trace is not None:
                face = Face(box_xyxy=cut.found_box_xyxy, score=cut.score, trace=cut.trace)
                picture.faces.append(face)
            elif not cut.empty:
                picture.error = picture.error or cut.error
            if cut.last:
                yield picture


def _cuts(
    read: Callable[[StoredPicture], list[_Cut]], files: Iterable[StoredPicture], readers: int
) -> Generator[_Cut, None, None]:
    for of_picture in ahead(read, files, readers):
        yield from of_picture


def _read(detector: Detector, file: StoredPicture) -> list[_Cut]:
    picture = Searched(file=file)
    try:
        picture.image = file.read()
        if detector.faces is None:
            return [_Cut(picture=picture, last=True)]
        found = find_boxes(detector.faces, picture.image)
    except (InputError, InferenceError) as error:
        # its frames hold the picture
        picture.error = error.with_traceback(None)
        found = []
    if not found:
        return [_Cut(picture=picture, last=True, empty=True)]
    return [
        _Cut(
            picture=picture,
            last=index == len(found) - 1,
            found_box_xyxy=box,
            cut_by_xyxy=box,
            score=score,
        )
        for index, (box, score) in enumerate(found)
    ]


def _passed(
    detectors: Sequence[Detector],
    cuts: Iterator[_Cut],
    *,
    again: bool,
    readers: int,
    batch: int | None,
) -> Generator[_Cut, None, None]:
    """Each cut after one pass of the network; in a later pass, cut by the points found before."""
    sent: deque[_Cut] = deque()

    def items() -> Iterator[tuple[Any, Any]]:
        for cut in cuts:
            sent.append(cut)
            if again and cut.trace is not None:
                cut.cut_by_xyxy = box_around(cut.trace.landmarks.points_px)
            idle = cut.empty or (again and cut.trace is None)
            # a row of its own all the same, or pictures without a face would pile up unseen
            yield (None if idle else cut.picture.image), cut.cut_by_xyxy

    with Stream(detectors, items(), batch=batch, readers=readers, on_error="yield") as stream:
        for row in stream:
            cut = sent.popleft()
            if row.trace is not None:
                cut.trace = row.trace
            elif cut.trace is None and not cut.empty:
                cut.error = cut.error or row.error
            yield cut
