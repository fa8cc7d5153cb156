"""What is written of each face: the same fields in every format."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from runtime.errors import one_line
from runtime.image.geometry import F64
from runtime.image.landmarks import Landmarks
from runtime.many.search import Searched
from runtime.video.file import Frame
from runtime.video.tracking import TrackedFace

# Digits after the point: a thousandth of a pixel, far below what any engine's arithmetic moves.
PLACES = 3

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
        warning: what to know about these points; empty where nothing is.
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


def rows_of(picture: Searched) -> list[Row]:
    """One row for each face, and one for a picture without any."""
    name, faces = picture.file.name, picture.faces
    height, width = (None, None) if picture.image is None else picture.image.shape[:2]
    if picture.error is not None:
        # a picture is one thing: half of its faces would be taken for all of them
        said = one_line(str(picture.error))
        return [Row(picture=name, status="error", width=width, height=height, error=said)]
    if not faces:
        return [Row(picture=name, status="no face", width=width, height=height)]
    return [
        Row(
            picture=name,
            status="ok",
            width=width,
            height=height,
            faces=len(faces),
            face=index,
            **_of_face(face.box_xyxy, face.score, face.landmarks, face.trace.warnings),
        )
        for index, face in enumerate(faces)
    ]


def rows_of_frame(video: str, frame: Frame, faces: list[TrackedFace]) -> list[FrameRow]:
    """One row for each face of a frame, and one for a frame without any."""
    height, width = frame.image.shape[:2]
    common: dict[str, Any] = {
        "picture": video,
        "width": width,
        "height": height,
        "frame": frame.index,
        "time_s": round(frame.time_s, 6),
    }
    if not faces:
        return [FrameRow(status="no face", **common)]
    return [
        FrameRow(
            status="ok",
            faces=len(faces),
            face=index,
            track=face.track,
            **common,
            **_of_face(face.box_xyxy, face.score, face.landmarks, face.trace.warnings),
        )
        for index, face in enumerate(faces)
    ]


def _of_face(
    box_xyxy: F64 | None, score: float | None, landmarks: Landmarks, warnings: tuple[str, ...]
) -> dict[str, Any]:
    box = None if box_xyxy is None else tuple(round(v, PLACES) for v in box_xyxy.tolist())
    points = landmarks.points_px.astype(float).tolist()
    return {
        "box_xyxy": box,
        "score": None if score is None else round(score, 4),
        "points_px": [(round(x, PLACES), round(y, PLACES)) for x, y in points],
        "spread_px": [round(s, PLACES) for s in landmarks.spread_px.astype(float).tolist()],
        "warning": "; ".join(warnings),
    }
