"""What the mark-ups say of left and right."""

from __future__ import annotations

from itertools import combinations, pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
from builders import read_pts
from numpy.typing import NDArray

from runtime.model.topology import FACE_29, FACE_68, FACE_98, Contour, Topology, mirrored_points


def neighbours(contour: Contour) -> set[frozenset[int]]:
    points = [*contour.indices]
    pairs = set(map(frozenset, pairwise(points)))
    return pairs | {frozenset((points[0], points[-1]))} if contour.closed else pairs


@pytest.mark.parametrize("topology", [FACE_68, FACE_98, FACE_29], ids=lambda t: str(t.name))
def test_mirror_of_a_mirror_is_the_face_itself(topology: Topology) -> None:
    """Pairs, and every contour becomes the one of the other side, point beside point."""
    mirror = mirrored_points(topology)
    assert mirror is not None
    assert sorted(mirror) == list(range(topology.points))
    assert [mirror[point] for point in mirror] == list(range(topology.points))
    contours = {contour.name: contour for contour in topology.contours}
    for contour in topology.contours:
        side, _, rest = contour.name.partition(" ")
        other = {"right": f"left {rest}", "left": f"right {rest}"}.get(side, contour.name)
        moved = {frozenset(mirror[point] for point in pair) for pair in neighbours(contour)}
        assert moved == neighbours(contours[other])
    assert topology.outer_eye_corners is not None
    right, left = topology.outer_eye_corners
    assert mirror[right] == left


def test_contours_and_normaliser_of_cofw_are_the_fields() -> None:
    """The table of STAR's conf/alignment.py; its left eye is open by a slip."""
    published = [
        *((0, 4, 2, 5), (1, 6, 3, 7), (8, 12, 10, 13), (9, 14, 11, 15)),
        *((18, 20, 19, 21), (22, 26, 23, 27), (22, 24, 23, 25)),
    ]
    assert [contour.indices for contour in FACE_29.contours] == published
    assert all(contour.closed for contour in FACE_29.contours)
    assert FACE_29.normaliser == ("pupils", (16, 17))
    assert FACE_68.normaliser == ("outer eye corners", (36, 45))


def test_what_is_written_of_the_68_points_keeps_its_bytes() -> None:
    """Manifests and recordings made before have neither an order nor pupils."""
    written = msgspec.json.encode(FACE_68)

    assert b"order" not in written
    assert b"pupils" not in written
    assert msgspec.json.decode(msgspec.json.encode(FACE_29), type=Topology) == FACE_29


def test_pairs_lie_across_from_each_other_on_real_faces(shared: Path) -> None:
    """The mean of the frontal ones, mirrored: exchanging any two partners fits it worse.

    Not each point's nearest: the lips' corners, outer and inner, lie too close together for that.
    """
    mirror = mirrored_points(FACE_68)
    assert mirror is not None
    frontal: list[NDArray[np.float64]] = []
    for path in sorted((shared / "faces").glob("*.pts")):
        points = read_pts(path)
        x, y = points[45] - points[36]
        upright = np.array([[x, y], [-y, x]]) / (x * x + y * y)
        face = (points - points[[36, 45]].mean(axis=0)) @ upright.T
        if abs(face[27:31, 0]).max() < 0.1:
            frontal.append(face)
    mean = np.mean(frontal, axis=0)
    distances = np.linalg.norm(mean[None] - (mean * (-1, 1))[:, None], axis=-1)

    assert len(frontal) >= 5
    for one, other in combinations(range(68), 2):
        here = distances[one, mirror[one]] + distances[other, mirror[other]]
        assert here < distances[one, mirror[other]] + distances[other, mirror[one]], (one, other)


def test_98_points_mirror_as_the_68_among_them_do() -> None:
    """Both mark-ups share points: the even jaw points, the eyes' and the mouth's corners."""
    same = {0: 0, 4: 8, 8: 16, 12: 24, 16: 32, 17: 33, 21: 37, 22: 42, 26: 46, 31: 55, 35: 59}
    same |= {36: 60, 39: 64, 42: 68, 45: 72, 48: 76, 51: 79, 54: 82, 57: 85, 60: 88, 64: 92}
    one, other = mirrored_points(FACE_68), mirrored_points(FACE_98)
    assert one is not None
    assert other is not None
    for few, many in same.items():
        assert other[many] == same[one[few]]
