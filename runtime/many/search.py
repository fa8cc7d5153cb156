"""Pictures through a face finder and the network, read and cut ahead, one result a picture."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.detector import Detector
from runtime.errors import InferenceError, InputError
from runtime.faces import Face, FaceFinder, find_boxes
from runtime.files.ahead import ahead
from runtime.image.geometry import F64
from runtime.image.picture import MAX_PIXELS
from runtime.many.inputs import StoredPicture
from runtime.refine import next_box
from runtime.stream.stream import Stream, StreamRow
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
    """A face on its way through the network, once or for several passes."""

    picture: _Picture
    found_box_xyxy: F64 | None = None
    given: bool = False
    score: float | None = None
    cut_by_xyxy: F64 | None = None
    trace: Trace | None = None
    passes: int = 0


def _finder(detector: Detector, file: StoredPicture) -> FaceFinder | None:
    boxes = file.boxes
    return detector.faces if boxes is None else lambda _: boxes


class _Picture:
    """A picture on its way, with the faces that are found in it."""

    def __init__(self, detector: Detector, file: StoredPicture, max_pixels: int) -> None:
        self.searched = Searched(file=file)
        self.cuts: list[_Cut] = []
        try:
            image = self.searched.image = file.read(max_pixels)
            finder = _finder(detector, file)
            if finder is None:
                self.cuts = [_Cut(picture=self)]
                return
            self.cuts = [
                _Cut(
                    picture=self,
                    found_box_xyxy=box,
                    cut_by_xyxy=box,
                    score=score,
                    given=file.boxes is not None,
                )
                for box, score in find_boxes(finder, image)
            ]
        except (InputError, InferenceError) as error:
            # its frames hold the picture
            self.searched.error = error.with_traceback(None)
        finally:
            self.open = len(self.cuts)

    def finish(self) -> Searched:
        cuts, self.cuts = self.cuts, []  # a cycle would hold the decoded picture
        self.searched.faces = [
            Face(box_xyxy=cut.found_box_xyxy, score=cut.score, trace=cut.trace)
            for cut in cuts
            if cut.trace is not None
        ]
        return self.searched


def search(
    detector: Detector,
    files: Iterable[StoredPicture],
    *,
    readers: int = 2,
    batch: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Generator[Searched, None, None]:
    """Find the faces of pictures and their landmarks.

    Args:
        detector: open, with its finder and its passes.
        files: gone through a few pictures ahead.
        readers: threads that read, decode and look for faces, and as many that cut.
        batch: faces in one call of the device at most, as for `Stream`.
        max_pixels: as for `read_picture`.

    Yields:
        Each picture in the order of the files. One that fails has its error, and ends nothing.

    Raises:
        InferenceError: a device is lost.
    """
    pictures: deque[_Picture] = deque()  # in the files' order, until all their faces are done
    again: deque[_Cut] = deque()  # to be refined
    sent: deque[_Cut | None] = deque()

    def cuts(read: Iterable[_Picture]) -> Iterator[_Cut | None]:
        for picture in read:
            pictures.append(picture)
            # None becomes a row, too: pictures without a face would pile up unseen
            for cut in picture.cuts or (None,):
                while again:
                    yield again.popleft()
                yield cut
        while pictures:  # any face on its way may need another pass
            yield again.popleft() if again else None

    def items(read: Iterable[_Picture]) -> Iterator[tuple[Any, Any]]:
        for cut in cuts(read):
            sent.append(cut)
            yield (None, None) if cut is None else (cut.picture.searched.image, cut.cut_by_xyxy)

    with (
        closing(ahead(lambda file: _Picture(detector, file, max_pixels), files, readers)) as read,
        Stream(detector, items(read), batch=batch, readers=readers, on_error="yield") as stream,
    ):
        for row in stream:
            cut = sent.popleft()
            if cut is not None and _goes_again(cut, row, detector.refine):
                again.append(cut)
            while pictures and not pictures[0].open:
                yield pictures.popleft().finish()


def _goes_again(cut: _Cut, row: StreamRow, refine: int) -> bool:
    """Whether a face needs another pass; otherwise it is done."""
    searched = cut.picture.searched
    if row.trace is not None:
        cut.trace = row.trace
        if cut.passes < refine and not cut.given:  # the caller's box stays, as in `Detector`
            cut.cut_by_xyxy = next_box(row.trace, searched.image)
            cut.passes += 1
            if cut.cut_by_xyxy is not None:
                return True
    else:
        searched.error = searched.error or row.error
    cut.picture.open -= 1
    return False
