"""Many pictures: a folder's run against a loop over decoded pictures, and Ray against none."""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.suite.report import ManyRun
from parity.machine import rss_bytes
from parity.samples import Sample
from runtime.backends import Settings
from runtime.detector import Detector
from runtime.errors import InferenceError, one_line
from runtime.image.picture import read_picture
from runtime.machine import processor
from runtime.machine.process import run as run_program
from runtime.many.folder import Wanted, run_folder
from runtime.many.heading import Heading
from runtime.many.inputs import find_pictures

# Loop and folder take turns, so that a machine that changes its speed changes both.
TURNS = 5
SAMPLE_S = 0.05
# The share of the first turn after which the process has grown to its size: a tenth of all.
EARLY = 0.5
PARTITIONS = 20
ENGINE_S = 3600.0
LOOP, FOLDER = "loop over decoded pictures", "folder"


class ManyWorker:
    """Many pictures through one bundle, in each way; the samples are repeated, each as a whole."""

    def __init__(self, bundle: Path, samples: Sequence[Sample], pictures: int) -> None:
        self._bundle, self._pictures = bundle, pictures
        self._files = [sample.path.resolve() for sample in samples]

    def folder(self) -> list[ManyRun]:
        """A loop over decoded pictures, and a folder of the same as `infer` runs it, in turns."""
        decoded = [read_picture(path) for path in self._files]
        each = max(1, self._pictures // TURNS)
        loops: list[float] = []
        folders: list[float] = []
        early = late = 0
        with (
            Detector(self._bundle, "cpu") as alone,
            Detector(self._bundle, "cpu", settings=Settings(throughput=True)) as detector,
            self._linked(each) as pictures,
        ):
            listing = find_pictures(str(pictures))
            heading = Heading(model="", engine="", given=str(pictures), options={})
            alone.detect(decoded[0])
            for turn in range(TURNS):
                start = time.perf_counter()
                for index in range(each):
                    alone.detect(decoded[index % len(decoded)])
                loops.append(time.perf_counter() - start)
                with tempfile.TemporaryDirectory() as results, _memory() as sizes:
                    wanted = Wanted(output=Path(results))
                    folders.append(run_folder(detector, listing, heading, wanted).seconds_now)
                early = early if turn else sizes[int(EARLY * len(sizes))]
                late = sizes[-1]
        ratios = tuple(loop / folder for loop, folder in zip(loops, folders, strict=True))
        count = each * TURNS
        folder = self._run(
            FOLDER,
            count,
            sum(folders),
            over=LOOP,
            ratios=ratios,
            ratio=float(np.median(ratios)),
            early_rss_bytes=early,
            late_rss_bytes=late,
        )
        return [self._run(LOOP, count, sum(loops)), folder]

    def engine(self, name: str) -> ManyRun:
        """`python -m runtime.batch`, from its first partition's end on.

        To be called in the process that Ctrl-C reaches: it ends the batch and its workers.

        Raises:
            InferenceError: it failed, for example because Ray is not there.
        """
        threads = processor.cores()
        with self._linked(self._pictures) as pictures, tempfile.TemporaryDirectory() as results:
            command = ["-m", "runtime.batch", str(pictures), "--output", results, "--engine", name]
            command += ["--model", str(self._bundle), "--device", "cpu", "--workers", "1"]
            command += ["--threads", str(threads), "--json", "--partition"]
            command += [str(max(1, self._pictures // PARTITIONS))]
            done = run_program([sys.executable, *command], timeout_s=ENGINE_S)
        if done.returncode != 0:
            raise InferenceError(
                f"runtime.batch --engine {name}",
                got=f"exited {done.returncode}: {one_line(done.output.splitlines()[-1:], 300)}",
                action="Run it alone",
            )
        summary = json.loads(done.output[f"\n{done.output}".index("\n{") :])
        return self._run(
            f"batch, {name} engine", summary["pictures_after_first"], summary["first_to_last_s"]
        )

    @contextmanager
    def _linked(self, count: int) -> Iterator[Path]:
        """A folder of so many pictures, which are links to the same few files."""
        with tempfile.TemporaryDirectory(prefix="starmark-many-") as folder:
            for index in range(count):
                file = self._files[index % len(self._files)]
                (Path(folder) / f"{index:06d}{file.suffix}").symlink_to(file)
            yield Path(folder)

    def _run(self, name: str, pictures: int, seconds: float, **compared: Any) -> ManyRun:
        return ManyRun(
            name=name,
            pictures=pictures,
            distinct=len(self._files),
            seconds=seconds,
            pictures_per_second=pictures / seconds,
            **compared,
        )


def against(run: ManyRun, other: ManyRun) -> ManyRun:
    """A run with its speed as a multiple of another's."""
    ratio = run.pictures_per_second / other.pictures_per_second
    return msgspec.structs.replace(run, over=other.name, ratio=ratio)


@contextmanager
def _memory() -> Iterator[list[int]]:
    """The process's resident set while the block runs, in bytes, from its begin to its end."""
    sizes: list[int] = [rss_bytes()]
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(SAMPLE_S):
            sizes.append(rss_bytes())

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield sizes
    finally:
        ended.set()
        looking.join()
        sizes.append(rss_bytes())
