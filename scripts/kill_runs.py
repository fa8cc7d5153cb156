"""Kill runs at random moments and go on: python scripts/kill_runs.py [KILLS] [SEED] [KIND ...].

A folder, a video and a batch with a tiny network, each killed by SIGINT, SIGTERM, SIGHUP or SIGKILL
at a random moment and gone on with (a video: run again), until each was killed so many times. Once
a run is through, its folder must hold what an undisturbed run writes: every row once, every file
whole and nothing else. Exit code 1 where it does not.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from builders import run_python, tiny_checkpoint, tiny_config

from runtime.files.lock import LOCK_NAME
from runtime.files.owned import FILES_NAME
from runtime.many.folder import RUN_NAME

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
PICTURES, FRAMES, PARTITION = 60, 60, 12
LONGEST_S = 120
# A result, comparable with that of another run.
Content = dict[str, object]


@dataclass(frozen=True)
class Kind:
    """A kind of run: its command, what goes on with it, and what its folder holds."""

    name: str
    command: list[str]
    go_on: list[str]
    content: Callable[[Path], Content]


def tiny_bundle(folder: Path) -> str:
    """ONNX, which loads without torch: the runs are many."""
    config = tiny_config(folder, tiny_checkpoint(folder / "tiny.pkl"))
    words = ("--config", config, "--output", folder / "tiny", "--no-parity", "--om", "never")
    done = run_python("-m", "export", *words)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return str(folder / "tiny")


def kinds(folder: Path) -> list[Kind]:
    """Inputs and commands of all three."""
    rng = np.random.default_rng(0)
    model = tiny_bundle(folder)
    photos, clip = folder / "photos", folder / "clip.avi"
    photos.mkdir()
    for index in range(PICTURES):
        picture = rng.integers(0, 256, (48, 64, 3), np.uint8)
        cv2.imwrite(str(photos / f"{index:03d}.png"), picture)
    codec = cv2.VideoWriter.fourcc(*"MJPG")
    video = cv2.VideoWriter(str(clip), codec, 25, (64, 48))
    for _ in range(FRAMES):
        video.write(rng.integers(0, 256, (48, 64, 3), np.uint8))
    video.release()
    formats = [word for name in ("jsonl", "csv", "pts") for word in ("--format", name)]
    infer = ["runtime.infer", "--model", model, "--threads", "1", *formats]
    infer += ["--faces", "none", "--draw"]
    batch = ["runtime.batch", str(photos), "--model", model, "--device", "cpu", "--threads", "1"]
    return [
        Kind("folder", [*infer, "--input", str(photos)], ["--resume"], _files),
        Kind("video", [*infer, "--input", str(clip)], [], _files),
        Kind("batch", [*batch, "--partition", str(PARTITION)], [], _parts),
    ]


def _files(folder: Path) -> Content:
    """Bytes of every file; of the records, which hold times, that they are there."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(folder)): path.name in (RUN_NAME, FILES_NAME) or path.read_bytes()
        for path in found
    }


def _parts(folder: Path) -> Content:
    parts = {path.name: pq.read_table(path).to_pydict() for path in folder.glob("part-*")}
    return {path.name: parts.get(path.name, True) for path in folder.iterdir()}


class Runs:
    """Runs of a kind into one folder, killed and gone on with until each is through."""

    def __init__(self, kind: Kind, folder: Path, rng: random.Random) -> None:
        self._kind, self._rng, self._folder = kind, rng, folder
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        whole = folder / f"{kind.name} whole"
        self._end(self._begin(whole, []), whole)
        self._whole = kind.content(whole)
        # from the lock, which is taken when the work begins, to the end
        self._active_s = self._seconds

    def kill(self) -> None:
        """One run to its end, or to its kill; then what is there is looked at or gone on with."""
        out = self._folder / self._kind.name
        process = self._begin(out, self._kind.go_on if out.exists() else [])
        number = self._rng.choice(SIGNALS)
        with suppress(subprocess.TimeoutExpired):
            process.wait(self._rng.uniform(0, self._active_s))
        process.send_signal(number)
        code = self._end(process, out)
        if code == 0:
            self.counts["through"] += 1
            self._check(out)
        else:
            self.counts[number.name] += 1
            if code not in (130, -number):
                self.wrong.append(f"{self._kind.name}: exit code {code} of {number.name}")

    def finish(self) -> None:
        """Go on without a kill."""
        out = self._folder / self._kind.name
        if out.exists():
            code = self._end(self._begin(out, self._kind.go_on), out)
            self.counts["through"] += 1
            if code:
                self.wrong.append(f"{self._kind.name}: exit code {code} at the end")
            self._check(out)

    def _check(self, out: Path) -> None:
        found = self._kind.content(out)
        differing = [n for n in found | self._whole if found.get(n) != self._whole.get(n)]
        self.wrong += [f"{self._kind.name}: {name} is not as it should be" for name in differing]
        shutil.rmtree(out)

    def _begin(self, out: Path, options: list[str]) -> subprocess.Popen[bytes]:
        """Start a run in a group of its own, and wait until it has begun to work."""
        words = [sys.executable, "-m", *self._kind.command, "--output", str(out), *options]
        process = subprocess.Popen(  # noqa: S603  # our own command
            words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        )
        # what a killed run left is of an older time
        started = time.time()
        lock = out / LOCK_NAME
        while process.poll() is None:
            with suppress(FileNotFoundError):
                if lock.stat().st_mtime >= started:
                    break
            time.sleep(0.005)
        self._started = time.perf_counter()
        return process

    def _end(self, process: subprocess.Popen[bytes], out: Path) -> int:
        said = process.communicate(timeout=LONGEST_S)[1].decode()
        self._seconds = time.perf_counter() - self._started
        code = process.returncode
        if code not in (0, 130) and code >= 0:
            self.wrong.append(f"{self._kind.name}: {said.splitlines()[-1:]}")
        with suppress(ProcessLookupError):
            deadline = time.monotonic() + LONGEST_S
            while time.monotonic() < deadline:
                os.killpg(process.pid, 0)  # workers end with their driver
                time.sleep(0.05)
            self.wrong.append(f"{self._kind.name}: a worker outlives its driver")
        if code == 130 and (left := [p.name for p in out.rglob(".*")]):
            self.wrong.append(f"{self._kind.name}: {left} after an interrupt")
        return code


def main() -> int:
    """Kill, go on, compare."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    rng = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 0)  # noqa: S311  # reproducible
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds(Path(folder)):
            if sys.argv[3:] and kind.name not in sys.argv[3:]:
                continue
            runs = Runs(kind, Path(folder), rng)
            while runs.counts.total() - runs.counts["through"] < kills:
                runs.kill()
            runs.finish()
            counts = ", ".join(f"{name} {count}" for name, count in sorted(runs.counts.items()))
            sys.stdout.write(f"{kind.name}: {counts}, wrong {len(runs.wrong)}\n")
            sys.stdout.flush()
            wrong += runs.wrong
    sys.stdout.write("".join(f"{one}\n" for one in wrong))
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
