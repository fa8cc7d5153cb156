"""Opening a row's source, the same in a worker and in a process whose start is timed."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.backends import Settings, open_backend
from runtime.detector import Detector


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What it takes to open a row in another process.

    Attributes:
        source: as every command line takes it.
        form: of torch, see `TorchBackend.use_form`; empty for what the file holds.
        threads: as in `Settings`.
    """

    source: str
    form: str = ""
    threads: int | None = None

    def detector(self) -> Detector:
        """Open it.

        Raises:
            StarmarkError: as `Detector`, or the form cannot be had here.
        """
        backend = open_backend(self.source, settings=Settings(threads=self.threads))
        if self.form:
            # torch's backend alone has forms; it is not imported here, where others open, too
            backend.use_form(self.form)  # type: ignore[attr-defined]  # as said
        return Detector(backend)
