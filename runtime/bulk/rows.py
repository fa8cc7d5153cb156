"""What is written of each face: the same fields in every format."""

from __future__ import annotations

from typing import Literal

import msgspec

from runtime.bulk.search import Searched
from runtime.errors import one_line

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
    rows: list[Row] = []
    for index, face in enumerate(faces):
        box = None if face.box_xyxy is None else [round(v, PLACES) for v in face.box_xyxy.tolist()]
        rows.append(
            Row(
                picture=name,
                status="ok",
                width=width,
                height=height,
                faces=len(faces),
                face=index,
                box_xyxy=None if box is None else (box[0], box[1], box[2], box[3]),
                score=None if face.score is None else round(face.score, 4),
                points_px=[
                    (round(x, PLACES), round(y, PLACES))
                    for x, y in face.points_px.astype(float).tolist()
                ],
                spread_px=[round(s, PLACES) for s in face.spread_px.astype(float).tolist()],
                warning="; ".join(face.trace.warnings),
            )
        )
    return rows
