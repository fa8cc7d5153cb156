"""Work done ahead of its use, in order, a few items at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


def ahead(
    work: Callable[[Given], Made], items: Iterable[Given], threads: int
) -> Generator[Made, None, None]:
    """Do the work for each item in threads, and give what comes of it in the items' order.

    Args:
        work: what it raises is raised at its place.
        items: gone through in the caller's thread, at most twice as far ahead as there are threads.
        threads: how many work.
    """
    coming = iter(items)
    with ThreadPoolExecutor(threads, "starmark-ahead") as pool:
        waiting: deque[Future[Made]] = deque(
            pool.submit(work, item) for item in islice(coming, 2 * threads)
        )
        try:
            while waiting:
                made = waiting.popleft().result()
                waiting += [pool.submit(work, item) for item in islice(coming, 1)]
                yield made
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
