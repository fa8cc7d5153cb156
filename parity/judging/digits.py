"""Figures as every report writes them: four decimals, or a power of ten below a thousandth."""

from __future__ import annotations

SMALLEST_DECIMAL = 0.001


def px(value: float) -> str:
    """Four decimals, as the reference prints; smaller values as a power of ten: 2.1e-06."""
    decimal = abs(value) >= SMALLEST_DECIMAL or value == 0
    return f"{value + 0.0:.4f}" if decimal else f"{value:.1e}"  # + 0.0: never -0.0000


def signed(value: float) -> str:
    """As `px`, with a plus sign where it is not negative."""
    text = px(value)
    return text if text.startswith("-") else f"+{text}"


def told_apart(value: float, limit: float) -> str:
    """As `px`, or in as many digits as it takes to stay on the same side of the limit."""
    for text in (px(value), *(f"{value:.{digits}g}" for digits in range(4, 18))):
        if (float(text) <= limit) == (value <= limit):
            return text
    return repr(value)
