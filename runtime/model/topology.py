"""Which points a model marks, and which contours they lie on."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, UnsetType

REST_OF_THE_FACE = "other"


class Contour(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Points joined in order, counted from 0: `first` to `last` inclusive, or those of `order`."""

    name: str
    first: int
    last: int
    closed: bool = False
    # left out where the points are consecutive: what was written before keeps its bytes
    order: tuple[int, ...] | UnsetType = UNSET

    @property
    def indices(self) -> Sequence[int]:
        """Its points, in the order in which they are joined."""
        return range(self.first, self.last + 1) if self.order is UNSET else self.order


class Topology(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Number of points, their contours, and the pair whose distance NME is normalised by."""

    name: str
    points: int
    contours: tuple[Contour, ...] = ()
    outer_eye_corners: tuple[int, int] | None = None
    # left out of files where the field does not normalise by them
    pupils: tuple[int, int] | UnsetType = UNSET

    @property
    def regions(self) -> dict[str, list[int]]:
        """Points by contour, and those on none."""
        found = {contour.name: [*contour.indices] for contour in self.contours}
        rest = sorted(set(range(self.points)).difference(*found.values()))
        return {**found, REST_OF_THE_FACE: rest} if rest else found

    @property
    def normaliser(self) -> tuple[str, tuple[int, int]] | None:
        """The pair of points that NME of this mark-up is normalised by, and what they are."""
        if self.pupils is not UNSET:
            return "pupils", self.pupils
        corners = self.outer_eye_corners
        return None if corners is None else ("outer eye corners", corners)


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


def _ring(name: str, *order: int) -> Contour:
    return Contour(name=name, first=min(order), last=max(order), closed=True, order=order)


# Source: COFW's 29-point mark-up, http://www.vision.caltech.edu/xpburgos/ICCV13/, with the contours
# and the normaliser of STAR's conf/alignment.py. The left eye is open there, by a slip: its mirror
# is closed.
FACE_29 = Topology(
    name="COFW-29",
    points=29,
    contours=(
        _ring("right brow", 0, 4, 2, 5),
        _ring("left brow", 1, 6, 3, 7),
        _ring("right eye", 8, 12, 10, 13),
        _ring("left eye", 9, 14, 11, 15),
        _ring("nose", 18, 20, 19, 21),
        _ring("lower lip", 22, 26, 23, 27),
        _ring("upper lip", 22, 24, 23, 25),
    ),
    outer_eye_corners=(8, 9),
    pupils=(16, 17),
)

# Runs of points, and the runs they become in a mirror; a point in neither becomes itself.
MIRRORED_RUNS: dict[str, tuple[tuple[range, range], ...]] = {
    FACE_68.name: (
        (range(8), range(16, 8, -1)),
        (range(17, 22), range(26, 21, -1)),
        (range(31, 33), range(35, 33, -1)),
        (range(36, 40), range(45, 41, -1)),
        (range(40, 42), range(47, 45, -1)),
        (range(48, 51), range(54, 51, -1)),
        (range(58, 60), range(56, 54, -1)),
        (range(60, 62), range(64, 62, -1)),
        (range(67, 68), range(65, 66)),
    ),
    FACE_98.name: (
        (range(16), range(32, 16, -1)),
        (range(33, 38), range(46, 41, -1)),
        (range(38, 42), range(50, 46, -1)),
        (range(55, 57), range(59, 57, -1)),
        (range(60, 65), range(72, 67, -1)),
        (range(65, 68), range(75, 72, -1)),
        (range(76, 79), range(82, 79, -1)),
        (range(86, 88), range(84, 82, -1)),
        (range(88, 90), range(92, 90, -1)),
        (range(95, 96), range(93, 94)),
        (range(96, 97), range(97, 98)),
    ),
    FACE_29.name: (
        (range(0, 3, 2), range(1, 4, 2)),
        (range(4, 6), range(6, 8)),
        (range(8, 11, 2), range(9, 12, 2)),
        (range(12, 14), range(14, 16)),
        (range(16, 19, 2), range(17, 20, 2)),
        (range(22, 23), range(23, 24)),
    ),
}


def mirrored_points(topology: Topology) -> tuple[int, ...] | None:
    """For each point, the one that lies in its place in a mirrored picture.

    Returns:
        (P,) indices; None for a mark-up whose left and right are not known here.
    """
    runs = MIRRORED_RUNS.get(topology.name)
    if runs is None:
        return None
    found = list(range(topology.points))
    for here, there in runs:
        for one, other in zip(here, there, strict=True):
            found[one], found[other] = other, one
    return tuple(found)


def check_topology(topology: Topology) -> None:
    """Refuse a mark-up whose contours or eye corners are not among its points.

    Raises:
        ValueError: which one.
    """
    last = topology.points - 1
    if topology.points < 1:
        raise ValueError(f"{topology.points} points")
    for contour in topology.contours:
        ends = (contour.first, contour.last)
        inside = contour.order is UNSET or ends == (min(contour.order), max(contour.order))
        if not 0 <= contour.first <= contour.last <= last or not inside:
            raise ValueError(f"contour {contour.name!r} from {contour.first} to {contour.last}")
    if len({contour.name for contour in topology.contours}) < len(topology.contours):
        raise ValueError("two contours of one name")
    pupils = (0, 0) if topology.pupils is UNSET else topology.pupils
    eyes = (*(topology.outer_eye_corners or (0, 0)), *pupils)
    if not all(0 <= point <= last for point in eyes):
        raise ValueError(f"eye corners and pupils {eyes}")


def topology_of(points: int) -> Topology:
    """Look a mark-up up by its number of points; an unknown number has points and no contours."""
    for known in (FACE_68, FACE_98, FACE_29):
        if known.points == points:
            return known
    return Topology(name=f"{points}-points", points=points)
