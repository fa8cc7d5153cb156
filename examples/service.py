"""A service: one Detector for as long as it lives, requests from several threads.

    python examples/service.py build/starter68 assets/*.jpg

A Detector may be shared between threads, and is best opened once: opening takes half a second, and
on an NPU the device's memory. A request that cannot be answered gets its error; the next ones go
on. When the device itself is lost the Detector closes: leave, and let the supervisor start anew.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from runtime import Detector, StarmarkError
from runtime.errors import InferenceError
from runtime.image.picture import decode_picture

# Decoding and cropping run beside the device; more threads than cores only wait.
THREADS = 4


def requests(paths: list[str]) -> Iterator[tuple[str, bytes]]:
    """Stands for the network: a name and the bytes of a picture file."""
    for path in paths:
        yield path, Path(path).read_bytes()
    yield "not a picture", b"\x00" * 100


def answer(detector: Detector, name: str, body: bytes) -> str:
    """One request, as one line of JSON."""
    try:
        landmarks = detector.detect(decode_picture(body, name))
    except InferenceError:
        if detector.backend.closed:
            raise  # the device is lost: every further answer would be this one
        return json.dumps({"request": name, "error": "the engine failed"})
    except StarmarkError as error:  # this picture's own fault
        return json.dumps({"request": name, "error": str(error)})
    return json.dumps({"request": name, "points_px": landmarks.points_px.round(2).tolist()})


def main() -> int:
    """Answer everything, in the order in which it came."""
    bundle, *paths = sys.argv[1:]
    with Detector(bundle) as detector, ThreadPoolExecutor(THREADS) as pool:
        waiting = [pool.submit(answer, detector, *request) for request in requests(paths)]
        for one in waiting:
            print(one.result(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
