"""Every reason ATC would refuse or silently change a graph, all at once, without CANN."""

from export.preflight.checks import preflight
from export.preflight.finding import Finding, fatal

__all__ = ["Finding", "fatal", "preflight"]
