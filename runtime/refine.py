"""When a face is cut again by the points just found in it: one policy for every caller.

A refining pass runs the network on the box of the points before. It is skipped, and the points
stay, where they are unsure or their box lies outside the picture: what an unsure box shows is no
nearer to the face. An engine that fails in a pass is an error, as in the first one.
"""

from __future__ import annotations

from typing import Any

from runtime.errors import InputError
from runtime.image.geometry import F64, box_around, check_box
from runtime.tracing import Trace

# Points settle after one or two.
MOST_PASSES = 10


def next_box(trace: Trace, image: Any) -> F64 | None:
    """Return the box of the next pass or frame: (4,) x1, y1, x2, y2 in image px, or None.

    Args:
        trace: of the pass before.
        image: (H, W, ...) the picture.
    """
    if trace.warnings:
        return None
    height, width = image.shape[:2]
    try:
        return check_box(box_around(trace.landmarks.points_px), size_wh=(width, height))
    except InputError:  # points in one spot, or outside the picture
        return None
