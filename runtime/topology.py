"""Which points a model marks, and which contours they lie on."""

from __future__ import annotations

import msgspec


class Contour(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run of consecutive points, `first` to `last` inclusive, counted from 0."""

    name: str
    first: int
    last: int
    closed: bool = False


class Topology(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Number of points, their contours, and the outer eye corners that NME is normalised by."""

    name: str
    points: int
    contours: tuple[Contour, ...] = ()
    outer_eye_corners: tuple[int, int] | None = None


def _contour(name: str, first: int, last: int, closed: bool = False) -> Contour:
    return Contour(name=name, first=first, last=last, closed=closed)


# Source: 300W's 68-point mark-up, https://ibug.doc.ic.ac.uk/resources/300-W/
FACE_68 = Topology(
    name="300W-68",
    points=68,
    contours=(
        _contour("jaw", 0, 16),
        _contour("right brow", 17, 21),
        _contour("left brow", 22, 26),
        _contour("nose bridge", 27, 30),
        _contour("nose base", 31, 35),
        _contour("right eye", 36, 41, closed=True),
        _contour("left eye", 42, 47, closed=True),
        _contour("outer lip", 48, 59, closed=True),
        _contour("inner lip", 60, 67, closed=True),
    ),
    outer_eye_corners=(36, 45),
)

# Source: WFLW's 98-point mark-up, https://wywu.github.io/projects/LAB/WFLW.html
FACE_98 = Topology(
    name="WFLW-98",
    points=98,
    contours=(
        _contour("jaw", 0, 32),
        _contour("right brow", 33, 41, closed=True),
        _contour("left brow", 42, 50, closed=True),
        _contour("nose bridge", 51, 54),
        _contour("nose base", 55, 59),
        _contour("right eye", 60, 67, closed=True),
        _contour("left eye", 68, 75, closed=True),
        _contour("outer lip", 76, 87, closed=True),
        _contour("inner lip", 88, 95, closed=True),
    ),
    outer_eye_corners=(60, 72),
)


def check_topology(topology: Topology) -> None:
    """Refuse a mark-up whose contours or eye corners are not among its points.

    Raises:
        ValueError: says which.
    """
    last = topology.points - 1
    if topology.points < 1:
        raise ValueError(f"{topology.points} points")
    for contour in topology.contours:
        if not 0 <= contour.first <= contour.last <= last:
            raise ValueError(f"contour {contour.name!r} from {contour.first} to {contour.last}")
    if len({contour.name for contour in topology.contours}) < len(topology.contours):
        raise ValueError("two contours of one name")
    corners = topology.outer_eye_corners or (0, 0)
    if not all(0 <= corner <= last for corner in corners):
        raise ValueError(f"eye corners {corners}")


def topology_of(points: int) -> Topology:
    """Look a mark-up up by its number of points; an unknown number has points and no contours."""
    for known in (FACE_68, FACE_98):
        if known.points == points:
            return known
    return Topology(name=f"{points}-points", points=points)
