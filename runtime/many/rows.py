"""The row of a face: the same fields in every format, of folders, batches and videos."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeVar

import msgspec

from runtime.errors import one_line
from runtime.faces import Face
from runtime.many.search import Searched
from runtime.video.file import Frame
from runtime.video.tracking import TrackedFace

# Digits after the point: a thousandth of a pixel, far below what any engine's arithmetic moves.
PLACES, SCORE_PLACES = 3, 4

Status = Literal["ok", "no face", "error"]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One face; or a picture without one, or one that failed.

    Attributes:
        picture: its name, see `PictureFile`.
        status: ok, no face (the finder found none), error.
        width, height: of the picture in px, upright; None where it could not be read.
        faces: how many the picture has.
        face: which of them this is, from 0 in the finder's order.
        box_xyxy: the finder's, image px; None where the picture was taken as a whole.
        score: the finder's.
        points_px: (P, 2) x right, y down, pixel centres at integers, image px.
        spread_px: (P,) standard deviation where each point is least sure, px.
        warning: why these points may be off; empty where they are sure.
        error: why there is nothing; empty where there is.
    """

    picture: str
    status: Status
    width: int | None = None
    height: int | None = None
    faces: int = 0
    face: int | None = None
    box_xyxy: tuple[float, float, float, float] | None = None
    score: float | None = None
    points_px: list[tuple[float, float]] | None = None
    spread_px: list[float] | None = None
    warning: str = ""
    error: str = ""


class FrameRow(Row, frozen=True, kw_only=True):
    """One face in one frame of a video; or a frame without one, or where a video is damaged.

    Attributes:
        frame: from 0.
        time_s: when it is shown, from the first frame on.
        track: the face's number, the same as long as it is followed.
    """

    frame: int
    time_s: float | None = None
    track: int | None = None


AnyRow = TypeVar("AnyRow", bound=Row)


def rows_of(picture: Searched, *, rounded: bool = True) -> list[Row]:
    """One row for each face, and one for a picture without any.

    Args:
        picture: after its search.
        rounded: to `PLACES`; else as the network's float32.
    """
    height, width = (None, None) if picture.image is None else picture.image.shape[:2]
    common = {"picture": picture.file.name, "width": width, "height": height}
    if picture.error is not None:
        # half of a picture's faces would pass for all of them
        return [Row(status="error", error=one_line(str(picture.error)), **common)]
    return _rows(Row, common, [_of_face(face, rounded) for face in picture.faces])


def rows_of_frame(video: str, frame: Frame, faces: Iterable[TrackedFace]) -> list[FrameRow]:
    """One row for each face of a frame, and one for a frame without any."""
    found = [{"track": face.track, **_of_face(face, rounded=True)} for face in faces]
    return _rows(FrameRow, _of_frame(video, frame), found)


def failed_frame(video: str, frame: Frame, error: Exception) -> FrameRow:
    """The row of a frame whose faces could not be found."""
    return FrameRow(status="error", error=one_line(str(error)), **_of_frame(video, frame))


def _of_frame(video: str, frame: Frame) -> dict[str, Any]:
    height, width = frame.image.shape[:2]
    size = {"width": width, "height": height}
    return {"picture": video, **size, "frame": frame.index, "time_s": round(frame.time_s, 6)}


def _rows(
    kind: type[AnyRow], common: dict[str, Any], faces: Sequence[dict[str, Any]]
) -> list[AnyRow]:
    if not faces:
        return [kind(status="no face", **common)]
    common |= {"status": "ok", "faces": len(faces)}
    return [kind(face=index, **common, **face) for index, face in enumerate(faces)]


def _of_face(face: Face | TrackedFace, rounded: bool) -> dict[str, Any]:
    numbers = {
        "box_xyxy": face.box_xyxy,
        "points_px": face.landmarks.points_px.astype(float),
        "spread_px": face.landmarks.spread_px.astype(float),
    }
    found: dict[str, Any] = {
        name: None if values is None else (values.round(PLACES) if rounded else values).tolist()
        for name, values in numbers.items()
    }
    score = face.score
    found["score"] = round(score, SCORE_PLACES) if rounded and score is not None else score
    found["warning"] = "; ".join(face.trace.warnings)
    return found
