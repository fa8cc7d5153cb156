"""Opening a row; and a process that does so, finds one face's landmarks, and ends: a cold start.

    python -m benchmarks.suite.first_landmarks '{"opening": {"source": "m.onnx@cpu"}, ...}'

It imports what a user's program would import, and nothing of the benchmark.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from runtime.backends import Settings, open_backend
from runtime.cli import command_line
from runtime.detector import Detector
from runtime.errors import EXIT_OK
from runtime.image.picture import read_picture

READY = "first landmarks"


class Opening(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a row is opened in another process.

    Attributes:
        source: as every command line takes it.
        form: of torch, see `TorchBackend.use_form`; empty for the checkpoint's own.
        peer: of `benchmarks.suite.peers`, which opens the bundle that `source` is; else empty.
        threads: as in `Settings`.
    """

    source: str
    form: str = ""
    peer: str = ""
    threads: int | None = None

    def detector(self) -> Detector:
        """Open it.

        Raises:
            StarmarkError: as `Detector`, or the form is not available here.
        """
        if self.peer:
            from benchmarks.suite.peers import PeerBackend  # whose engines no other row may load

            return Detector(PeerBackend(self.peer, Path(self.source), self.threads))
        backend = open_backend(self.source, settings=Settings(threads=self.threads))
        if self.form:
            # torch's backend alone has forms; it is not imported here, where others open, too
            backend.use_form(self.form)  # type: ignore[attr-defined]  # as said
        return Detector(backend)


class ColdStart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to open, and the picture to show to it."""

    opening: Opening
    picture: str
    box_xyxy: tuple[float, float, float, float]


def main(argv: list[str] | None = None) -> int:
    """Find the landmarks that the one argument, a `ColdStart` as JSON, describes."""
    return command_line.run(lambda: _find(sys.argv[1:] if argv is None else argv))


def _find(argv: list[str]) -> int:
    given = msgspec.json.decode(argv[0], type=ColdStart)
    with given.opening.detector() as detector:
        detector.detect(read_picture(Path(given.picture)), given.box_xyxy)
        sys.stdout.write(f"{READY}\n")
        sys.stdout.flush()
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
