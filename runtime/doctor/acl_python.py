"""python -m runtime.doctor.acl_python 3.10 3.11: in which order to try pyACL in these Pythons.

The kit's installer runs this out of our wheel, before anything is installed. pyACL is one file
without a Python's tag: whether a Python can import it is found by trying, in the order of Huawei's
lists.
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

    Where the environment is CANN's already, there is no script to source.
    """
    cann = find(prefixes, environment)
    release = cann.version if cann else ""
    script = cann.set_env if cann and cann.unset and cann.set_env else ""
    where = f"CANN {release or 'of unknown release'} in {cann.root}" if cann else ""
    order = " ".join(in_order(pythons, release))
    sys.stdout.write(f"cann={where}\nscript={script}\norder={order}\n")
    return 0


def in_order(pythons: Iterable[str], release: str) -> list[str]:
    """Sort Pythons such as "3.11": those listed for CANN's release, newest first, then newer."""
    listed = list_for(release)
    newest = listed.newest_python[:2] if listed else FOR_UNKNOWN
    numbers = {python: tuple(map(int, python.split("."))) for python in pythons}
    ascending = sorted(numbers, key=lambda python: numbers[python])
    within = [python for python in ascending if numbers[python] <= newest]
    return [*reversed(within), *ascending[len(within) :]]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
