"""Every reason ATC would refuse or silently change a graph, all at once, without CANN."""

from export.preflight.checks import preflight
from export.preflight.finding import Finding, as_text, fatal

__all__ = ["Finding", "as_text", "fatal", "preflight"]
