"""python -m runtime.doctor.acl_python 3.10 3.11: in which order to try pyACL in these Pythons.

The kit's installer runs this out of our wheel, before anything is installed. pyACL is one file
without a Python's tag: whether a Python can import it is found by trying, and Huawei's lists say
where to begin.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from runtime.doctor.cann import PREFIXES, find
from runtime.machine.npu_packages import list_for

# Every list but the oldest holds it: where to begin with a CANN of unknown release.
FOR_UNKNOWN = (3, 11)


def main(
    pythons: Sequence[str],
    prefixes: Iterable[Path] = PREFIXES,
    environment: Mapping[str, str] = os.environ,
) -> int:
    """Print three lines for a shell: `cann=`, `script=` and `order=`.

    Args:
        pythons: the ones to choose from, for example "3.11".
        prefixes: where CANN may lie.
        environment: of this process; where it is CANN's already, there is no script to source.
    """
    cann = find(prefixes, environment)
    release = cann.version if cann else ""
    script = cann.set_env if cann and cann.unset and cann.set_env else ""
    where = f"CANN {release or 'of unknown release'} in {cann.root}" if cann else ""
    lines = (f"cann={where}", f"script={script}", f"order={' '.join(in_order(pythons, release))}")
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


def in_order(pythons: Iterable[str], release: str) -> list[str]:
    """Sort Pythons: those that Huawei lists for a release, the newest first, then newer ones.

    Args:
        pythons: for example "3.11".
        release: of CANN; empty where it is unknown.
    """
    listed = list_for(release)
    newest = listed.newest_python[:2] if listed else FOR_UNKNOWN
    ascending = sorted(pythons, key=_numbers)
    within = [one for one in ascending if _numbers(one) <= newest]
    return [*reversed(within), *ascending[len(within) :]]


def _numbers(python: str) -> tuple[int, ...]:
    return tuple(map(int, python.split(".")))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
