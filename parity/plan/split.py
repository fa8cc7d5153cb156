"""Which pictures a plan is searched on, which set its margin, and which judge it.

A list that just meets its budget on the pictures it was searched on exceeds it on others: the
search makes use of their rounding errors, and other pictures have larger ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from parity.judging.differences import statistics

Indices = tuple[int, ...]

# In the order of their errors in fp16: the hardest are searched on, a quarter each is not.
TURNS = ("searched", "judged", "margin", "searched")
# Each list is measured on all that are searched on, and there are hundreds of lists.
MOST_SEARCHED = 16
# A margin covers nine of ten random halves, and is at most so large: beyond that, search more.
COVERED_PERCENT, HALVES, MOST_MARGIN = 90, 100, 4.0
FEWEST_PEOPLE = 4


@dataclass(frozen=True, kw_only=True)
class Split:
    """The pictures of each part, by index; nobody is in two parts."""

    searched: Indices
    margin: Indices
    judged: Indices


def people_in(names: Sequence[str]) -> list[Indices]:
    """The pictures of each person, by index, where names differ in a final number alone.

    `Ada_01.jpg` and `Ada_02.jpg` are one person's. Where that would make one person of more than a
    third of all, as of `frame_0001.jpg` and so on, numbers count pictures: each is a person.
    """
    found: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        stem = PurePosixPath(name).stem
        person = re.sub(r"[\W_]*\d+$", "", stem)
        found.setdefault(person or stem, []).append(index)
    if len(found) == 1 or max(map(len, found.values())) * 3 > max(len(names), 6):
        return [(index,) for index in range(len(names))]
    return [tuple(indices) for indices in found.values()]


def split_pictures(people: Sequence[Indices], alone_px: NDArray[np.float64]) -> Split:
    """Deal people out, those with the largest errors first.

    Args:
        people: at least two, as `people_in` gives them.
        alone_px: (N, P, 2) each picture's errors with everything in fp16.
    """
    parts: dict[str, list[int]] = {name: [] for name in TURNS}
    hardest = np.abs(alone_px).max(axis=(1, 2))
    in_order = sorted(people, key=lambda pictures: -max(hardest[i] for i in pictures))
    for turn, pictures in enumerate(in_order):
        part = TURNS[turn % len(TURNS)]
        if part == "searched" and len(parts[part]) + len(pictures) > MOST_SEARCHED and turn:
            part = min(("judged", "margin"), key=lambda name: len(parts[name]))
        parts[part] += pictures
    return Split(**{name: tuple(sorted(indices)) for name, indices in parts.items()})


def margins(
    people: Sequence[Indices], alone_px: NDArray[np.float64], names: Sequence[str]
) -> Mapping[str, float]:
    """How many times as large each statistic is on some people as on others.

    Learned from the errors in fp16: of random halves of the people, the ratio that nine of ten stay
    below. 1 with fewer than four people, which show none.
    """
    if len(people) < FEWEST_PEOPLE:
        return dict.fromkeys(names, 1.0)
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(HALVES):
        halves = np.array_split(rng.permutation(len(people)), 2)
        one, other = (
            statistics(alone_px[[i for person in half for i in people[person]]]) for half in halves
        )
        with np.errstate(invalid="ignore", divide="ignore"):  # nothing or overflow in one of them
            ratios.append([np.divide(getattr(other, n), getattr(one, n)) for n in names])
    ratio = np.clip(np.nan_to_num(ratios, nan=1.0, posinf=MOST_MARGIN), 1.0, MOST_MARGIN)
    return dict(zip(names, np.percentile(ratio, COVERED_PERCENT, axis=0).tolist(), strict=True))
