"""A process that starts, finds one face's landmarks, says so and ends: a cold start.

    python -m benchmarks.suite.first_landmarks '{"source": "build/starter68@cpu", ...}'

It imports what a user's program would import, and nothing of the benchmark.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from benchmarks.suite.opening import Opening
from runtime.cli import command_line
from runtime.errors import EXIT_OK
from runtime.image.picture import read_picture

READY = "first landmarks"


class ColdStart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to open, and what to show to it."""

    opening: Opening
    picture: str
    box_xyxy: tuple[float, float, float, float]


def main(argv: list[str] | None = None) -> int:
    """Find the landmarks that the one argument, JSON, asks for."""
    return command_line.run(lambda: _find(sys.argv[1:] if argv is None else argv))


def _find(argv: list[str]) -> int:
    asked = msgspec.json.decode(argv[0], type=ColdStart)
    with asked.opening.detector() as detector:
        detector.detect(read_picture(Path(asked.picture)), asked.box_xyxy)
        sys.stdout.write(f"{READY}\n")
        sys.stdout.flush()
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
