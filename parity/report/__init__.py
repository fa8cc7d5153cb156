"""A comparison made readable: one record, as JSON for machines and as text for people."""

from parity.report.record import Report, make_report
from parity.report.text import as_text

__all__ = ["Report", "as_text", "make_report"]
