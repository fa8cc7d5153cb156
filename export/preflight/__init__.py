"""Every reason ATC would refuse or silently change a graph, all at once, without CANN."""

from export.preflight.checks import RULES, preflight
from export.preflight.finding import Finding, as_text, fatal

__all__ = ["RULES", "Finding", "as_text", "fatal", "preflight"]
