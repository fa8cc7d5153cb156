"""Where this code runs from, and which of its extras are there."""

from __future__ import annotations

import sys
from pathlib import Path

from runtime.doctor.findings import Finding, ok
from runtime.doctor.probe import installed
from runtime.machine.packages import EXTRAS, IS_PACKAGED, ROOT, install_extra
from runtime.version import VERSION

# What a kit has in its folder, above the environment that it installs.
KIT_FILES = ("install.sh", "SHA256SUMS", "wheels")


def code() -> Finding:
    """Version and kind: a kit, a wheel, or a checkout."""
    kit = kit_folder()
    if kit is not None:
        return ok("Starmark", f"{VERSION}, of the kit in {kit}")
    return ok("Starmark", f"{VERSION}, {'a wheel' if IS_PACKAGED else 'the checkout'} in {ROOT}")


def extras() -> Finding:
    """Which are installed, and the command for the others; a kit has no network for them."""
    there = [name for name, modules in EXTRAS.items() if all(map(installed, modules))]
    absent = [name for name in EXTRAS if name not in there]
    found = f"{', '.join(there) or 'none'}{'; without ' if absent else ''}{', '.join(absent)}"
    installs = absent and kit_folder() is None
    return ok("extras", found, install_extra(",".join(absent)) if installs else "")


def kit_folder() -> Path | None:
    """The kit whose environment this Python is; None elsewhere."""
    above = Path(sys.prefix).resolve().parents
    kits = (one for one in above if all((one / name).exists() for name in KIT_FILES))
    return next(kits, None)
