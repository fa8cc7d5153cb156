"""Importing Intel's packages without their telemetry.

Importing openvino or nncf where openvino-telemetry is installed, as pip does, writes an identity
into the home folder and reports the import to a server. Where that package is barred, both use the
stub they have for the case.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

TELEMETRY = "openvino_telemetry"


@contextmanager
def unreported() -> Iterator[None]:
    """Bar the telemetry package for the length of an import."""
    absent = object()
    before: Any = sys.modules.get(TELEMETRY, absent)
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # Python's own way to bar a module
    try:
        yield
    finally:
        if before is absent:
            del sys.modules[TELEMETRY]
        else:
            sys.modules[TELEMETRY] = before
