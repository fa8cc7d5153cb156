"""One worker: a Detector, to which partitions come one after the other."""

from __future__ import annotations

import time
from dataclasses import replace
from types import TracebackType
from typing import Any

import msgspec

from runtime.batch.job import Job, Results, bundle_sha256_of
from runtime.batch.reading import Partition
from runtime.batch.store import import_pyarrow
from runtime.detector import Detector
from runtime.errors import ArtifactError, one_line
from runtime.faces import YuNetFaces
from runtime.files import sha256_file
from runtime.many.search import Searched, search
from runtime.model.source import find_artifact


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """A partition that is in place; what its rows say is read from them.

    Attributes:
        index: which.
        pictures: how many rows.
        seconds: it took, without opening the model.
    """

    index: int
    pictures: int
    seconds: float


class Worker:
    """Opens the model once, and gives each partition its file.

    Args:
        job: see `Job`.
        device: instead of the job's, where each worker has one of its own.

    Raises:
        ArtifactError: the model here is not the one the batch began with.
        StarmarkError: as `Detector`.
    """

    def __init__(self, job: Job, device: str = "") -> None:
        self._job = job
        found = bundle_sha256_of(job.model)
        if found != job.bundle_sha256:
            raise ArtifactError(
                job.model.text,
                expected=f"the model of this batch, {job.bundle_sha256[:12]}",
                got=found[:12],
                action="Copy the same bundle to every machine",
            )
        finder = None
        if job.yunet:
            finder = YuNetFaces(
                job.yunet, least_score=job.least_score, longest_side_px=job.faces_side_px
            )
        meant = replace(job.model, device=device or job.model.device)
        self._detector = Detector(meant, settings=job.settings, faces=finder, refine=job.refine)
        opened = replace(meant, device=self._detector.device)
        self._model_sha256 = sha256_file(find_artifact(opened).path)
        self._results = Results(job.output)

    def run(self, partition: Partition) -> Done:
        """Run a partition's pictures and put its rows into place.

        Raises:
            InputError: its Parquet file cannot be read any more.
            InferenceError: the device is lost.
            OSError: its rows cannot be written.
        """
        start = time.perf_counter()
        searched = search(
            self._detector,
            partition.pictures(),
            readers=self._job.readers,
            batch=self._job.batch,
        )
        rows: list[dict[str, Any]] = []
        for picture in searched:
            rows.append(self._row(picture, partition.first + len(rows)))
            picture.image = None  # rows are kept until the partition is whole, pictures are not
        pa = import_pyarrow()
        self._results.write(partition.index, pa.Table.from_pylist(rows, schema_of(pa)))
        seconds = time.perf_counter() - start
        return Done(index=partition.index, pictures=len(rows), seconds=seconds)

    def close(self) -> None:
        """Release the engine."""
        self._detector.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _row(self, picture: Searched, place: int) -> dict[str, Any]:
        # a picture is one thing: half of its faces would be taken for all of them
        faces = [] if picture.error is not None else picture.faces
        status = "error" if picture.error is not None else "ok" if faces else "no face"
        height, width = (None, None) if picture.image is None else picture.image.shape[:2]
        return {
            "row": place,
            "input": picture.file.name,
            "status": status,
            "width": width,
            "height": height,
            "faces": len(faces),
            "box_xyxy": [None if f.box_xyxy is None else f.box_xyxy.tolist() for f in faces],
            "score": [face.score for face in faces],
            "points_px": [face.points_px.tolist() for face in faces],
            "spread_px": [face.spread_px.tolist() for face in faces],
            "warning": ["; ".join(face.trace.warnings) for face in faces],
            "error": "" if picture.error is None else one_line(str(picture.error)),
            "engine": f"{self._detector.backend.name} on {self._detector.device}",
            "model_sha256": self._model_sha256,
            "bundle_sha256": self._job.bundle_sha256,
        }


def schema_of(pa: Any) -> Any:
    """The columns: one row for each input, and in it a list with an entry for each face."""
    number = pa.float32()
    return pa.schema(
        [
            ("row", pa.int64()),
            ("input", pa.string()),
            ("status", pa.string()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("faces", pa.int32()),
            ("box_xyxy", pa.list_(pa.list_(pa.float64()))),
            ("score", pa.list_(pa.float64())),
            ("points_px", pa.list_(pa.list_(pa.list_(number)))),
            ("spread_px", pa.list_(pa.list_(number))),
            ("warning", pa.list_(pa.string())),
            ("error", pa.string()),
            ("engine", pa.string()),
            ("model_sha256", pa.string()),
            ("bundle_sha256", pa.string()),
        ]
    )
