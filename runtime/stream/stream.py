"""Many pictures through one or several devices: an iterator in, an iterator out, in order.

Readers decode, crop and pack the next pictures while the devices run; whoever iterates pulls the
input and brings the results home. So the input iterator runs in the caller's own thread, and
nothing is read further ahead than a fixed number of pictures.
"""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, get_args

from runtime.backends import Settings
from runtime.backends.base import DEFAULT_SETTINGS
from runtime.detector import LARGEST_BATCH, Detector
from runtime.errors import ConfigError, InferenceError, InputError
from runtime.image.landmarks import Landmarks
from runtime.model.source import Source
from runtime.stream.pipeline import Item, Job, Pipeline
from runtime.tracing import Trace, traces_of

MOST_READERS = 64

OnError = Literal["raise", "yield"]


@dataclass(frozen=True, kw_only=True, eq=False)
class StreamRow:
    """One picture's result.

    Attributes:
        index: its place in the input, from 0.
        item: as it was given.
        trace: everything seen on the way, with "read" among its timings where a file was decoded;
            None where the picture failed.
        error: why it failed, else None.
        device: which device ran it; empty where none did.
    """

    index: int
    item: Any
    trace: Trace | None
    error: InputError | InferenceError | None = None
    device: str = ""

    @property
    def landmarks(self) -> Landmarks:
        """The picture's landmarks.

        Raises:
            InputError, InferenceError: the picture failed.
        """
        if self.trace is None:
            raise self.error or ValueError("a row holds a trace or an error")
        return self.trace.landmarks


class Stream(Iterator[StreamRow]):
    """Landmarks of any number of pictures: one row for each, in the order of the input.

    For one consumer. It ends when the input does, at the first error that is raised, when it is
    closed, or when nobody refers to it any more; then no thread of it is left.

    Example:
        >>> for row in Stream("build/starter68", ["assets/test.jpg", "no.jpg"], on_error="yield"):
        ...     print(row.item, row.error or row.landmarks.points_px.shape)
        assets/test.jpg (68, 2)
        no.jpg picture 1: no.jpg: expected ..., got No such file or directory. Check the path...

    Args:
        source: what `Detector` takes, opened on each device and closed with the stream; or an open
            Detector, or several, which stay open. Their `faces` and `refine` are not asked: a
            stream's items say where their face is.
        items: pictures, paths of pictures, or pairs of one of these and its face box (or None). It
            is gone through in the caller's thread.
        devices: where a source is opened, for example ("npu:0", "npu:1"); None lets it choose one.
        batch: pictures in one call of a device at most; what is ready goes, nothing is waited for.
            None is the largest that a converted model was made for, and 1 on other engines.
        readers: threads that decode and crop.
        on_error: what becomes of a picture that cannot be used or run: "raise" ends the stream at
            its row, "yield" makes it a row with its error. Anything else that goes wrong, a lost
            device or the input's own exception, is raised at its row in either case.
        settings: what else may be chosen about the engine of a source. `Settings(throughput=True)`
            runs pictures side by side: for those that are there already, not for a camera's.

    Attributes:
        detectors: one for each device.
        ahead: pictures that are on their way at most; a decoded file is let go once it is cropped,
            so at most `readers` of these are held.

    Raises:
        ConfigError: an argument cannot be, or the devices' models take different inputs.
        ArtifactError, BackendUnavailable: as for `Detector`.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Source | Detector | Sequence[Detector],
        items: Iterable[Item],
        *,
        devices: Sequence[str] | None = None,
        batch: int | None = None,
        readers: int = 2,
        on_error: OnError = "raise",
        settings: Settings = DEFAULT_SETTINGS,
    ) -> None:
        _check_count("readers", readers, MOST_READERS)
        if batch is not None:
            _check_count("batch", batch, LARGEST_BATCH)
        if on_error not in get_args(OnError):
            raise ConfigError(
                "on_error", expected="raise or yield", got=repr(on_error), action="Name one"
            )
        self._items: Iterator[Item] | None = _iterator(items)
        self._yields = on_error == "yield"
        with ExitStack() as opening:
            self.detectors = _detectors(source, devices, settings, opening)
            _check_alike(self.detectors)
            pipeline = Pipeline(self.detectors, batch=batch, readers=readers)
            self.ahead = pipeline.ahead
            owned = opening.pop_all()
        self._pipeline = pipeline
        self._jobs: deque[Job] = deque()
        self._awaited: Job | None = None
        self._failure: BaseException | None = None
        self._count = 0
        self._process = os.getpid()
        self._shut_down = weakref.finalize(self, _shut_down, pipeline, owned)
        # not when the interpreter ends: the threads are joined by then, and engines see to that
        self._shut_down.atexit = False

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> StreamRow:
        if not self._shut_down.alive:
            raise StopIteration
        if os.getpid() != self._process:
            # the threads that would finish the rows are in the other process
            raise InferenceError(
                "stream",
                expected=f"a call in process {self._process}, which opened it",
                got=f"one in its fork {os.getpid()}",
                action="Open a Stream in each process",
            )
        try:
            self._pull()
            if self._jobs:
                self._awaited = self._jobs[0]  # before it is taken out: `close` looks for both
                return self._row(self._jobs.popleft())
            raise self._failure or StopIteration
        except BaseException as error:
            closed = not self._shut_down.alive
            self.close()
            if closed and isinstance(error, Exception):
                raise StopIteration from None  # another thread's doing: the rest is dropped
            raise

    def close(self) -> None:
        """Stop reading and running, and wait for what has begun; a second call does nothing.

        Another thread may call it: a consumer that waits for a row then sees the stream end.
        """
        self._items = None
        self._shut_down()
        for job in (*self._jobs.copy(), self._awaited):
            if job is not None:
                job.said.cancel()
        self._jobs.clear()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _pull(self) -> None:
        """Take in one picture, and more as long as the next row is not ready."""
        while (items := self._items) is not None and len(self._jobs) < self.ahead:
            try:
                item = next(items)
            except StopIteration:
                self._items = None
            except Exception as error:  # noqa: BLE001  # raised at its place, after the rows before
                self._items, self._failure = None, error
            else:
                self._jobs.append(Job(self._count, item))
                self._count += 1
                self._pipeline.begin(self._jobs[-1])
                if self._jobs[0].said.done():
                    return

    def _row(self, job: Job) -> StreamRow:
        try:
            said = job.said.result()
        except (InputError, InferenceError) as error:
            if job.lost_device or not self._yields:
                raise
            return StreamRow(
                index=job.index, item=job.item, trace=None, error=error, device=job.device
            )
        (trace,) = traces_of([job.crop], said, [job.timings], {}, self.detectors[0].error_scale)
        return StreamRow(index=job.index, item=job.item, trace=trace, device=job.device)


def _shut_down(pipeline: Pipeline, owned: ExitStack) -> None:
    with owned:
        pipeline.stop()


def _iterator(items: Any) -> Iterator[Item]:
    """Anything that can be gone through; a path or a picture alone would be taken apart."""
    one = isinstance(items, (str, bytes, os.PathLike)) or getattr(items, "ndim", 4) != 4
    if not one and isinstance(items, Iterable):
        return iter(items)
    raise InputError(
        "stream",
        expected="an iterable of pictures, paths, or pairs of one of these and a face box",
        got=f"one {type(items).__name__}" if one else type(items).__name__,
        action="Pass a list or a generator; for a folder, sorted(Path(folder).iterdir())",
    )


def _check_count(name: str, given: Any, most: int) -> None:
    if type(given) is not int or not 1 <= given <= most:
        raise ConfigError(name, expected=f"1 to {most}", got=repr(given), action="Correct it")


def _detectors(
    source: Any, devices: Any, settings: Settings, opening: ExitStack
) -> tuple[Detector, ...]:
    """One Detector for each device; those that are opened here are owed to `opening`."""
    given = [source] if isinstance(source, Detector) else source
    if isinstance(given, (list, tuple)):
        if not given or not all(isinstance(one, Detector) for one in given):
            raise ConfigError(
                "stream",
                expected="a source, a Detector, or a list of open Detectors",
                got=f"a list of {', '.join(type(one).__name__ for one in given) or 'nothing'}",
                action="Name one source, and its devices beside it: devices=['npu:0', 'npu:1']",
            )
        if devices is not None:
            raise ConfigError(
                "devices",
                expected="none beside a Detector, which has one",
                got=repr(devices),
                action="Name a source with devices, or pass one Detector for each",
            )
        return tuple(given)
    chosen = ("auto",) if devices is None else devices
    if isinstance(chosen, str) or not chosen:
        raise ConfigError(
            "devices", expected="a list of devices", got=repr(devices), action="Pass ['npu:0']"
        )
    return tuple(
        opening.enter_context(Detector(source, device, settings=settings)) for device in chosen
    )


def _check_alike(detectors: Sequence[Detector]) -> None:
    """Pictures are packed before it is known which device takes them."""
    first = detectors[0]
    for other in detectors[1:]:
        if (other.spec.input, other.spec.points) != (first.spec.input, first.spec.points):
            raise ConfigError(
                f"stream: {other.backend.name}",
                expected=f"{first.spec.points} points and {first.spec.input}, as"
                f" {first.backend.name}",
                got=f"{other.spec.points} points and {other.spec.input}",
                action="Open a stream for each model",
            )
