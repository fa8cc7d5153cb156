"""Streams: work waits until somebody synchronises, so that who does not sees stale data."""

from __future__ import annotations

from ._calls import current
from ._objects import Stream
from ._state import Refused, state


def create() -> int:
    """A stream in the current context."""
    handle = next(state.handles)
    state.streams[handle] = Stream(handle, current().handle)
    return handle


def find(handle: int) -> Stream:
    """A stream of the current context; 0 is the context's default stream.

    Raises:
        Refused: 107003, it is none or another context's.
    """
    context = current()
    if handle == 0:
        return context.default_stream
    found = state.find(state.streams, handle, "stream", 107003)
    if found.context != context.handle:
        raise Refused(107003, "the stream is not in the current context")
    return found


def destroy(handle: int) -> None:
    """Destroy a stream; its work should have been waited for."""
    if handle == 0:
        state.violate("rt.destroy_stream of the default stream")
        raise Refused(107000, "the default stream goes with its context")
    found = find(handle)
    if found.queue and not state.devices[current().device].lost:
        state.violate(f"rt.destroy_stream with {len(found.queue)} calls still queued on it")
    clear(found)
    del state.streams[handle]


def synchronize(handle: int) -> None:
    """Do a stream's work in order; the first failure drops the rest.

    Raises:
        Refused: as the work failed; what is no failure of execution comes as 507011.
    """
    with state.lock:
        stream = find(handle)
    with stream.turn:
        while True:
            with state.lock:
                if not stream.queue:
                    return
                work = stream.queue.popleft()
            try:
                work.perform()
            except Refused as refused:
                clear(stream)
                code = refused.code if refused.code >= 500000 else 507011
                raise Refused(code, f"queued before: {refused}") from refused


def clear(stream: Stream) -> None:
    """Drop the queue."""
    with state.lock:
        while stream.queue:
            stream.queue.popleft().drop()


def drop_queue(handle: int) -> None:
    """After an injected failure of synchronisation: its results never come."""
    if state.context:
        clear(find(handle))
