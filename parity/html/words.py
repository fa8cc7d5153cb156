"""The page's words in its language, and its numbers in three digits."""

from __future__ import annotations

import math
from pathlib import Path

from runtime.cli import language

HERE = Path(__file__).parent
# in the browser's spelling, for fonts and voices
BROWSER_LANGUAGES = {"en": "en", "zh": "zh-CN"}
SMALLEST_DECIMAL = 0.001
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
TIMES = "×"  # noqa: RUF001  # in powers of ten
NOTHING = "–"  # noqa: RUF001  # a dash, which no number begins with


class Words(language.Words):
    """The page's sentences.

    Args:
        spoken: one of `LANGUAGES`.
    """

    def __init__(self, spoken: str) -> None:
        super().__init__(spoken, HERE)
        self.language = BROWSER_LANGUAGES[spoken]

    def known(self, name: str) -> str:
        """A name from a recording; translated where a known mark-up has it."""
        return self.table.get(name, name)


def figure(value: float | None) -> str:
    """Three significant digits; below a thousandth as a power of ten.

    Example:
        >>> [figure(v) for v in (0.0, 0.01234, 5.678, 123.4)]
        ['0', '0.0123', '5.68', '123']
    """
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    if abs(value) < SMALLEST_DECIMAL:
        digits, _, power = f"{value:.2e}".partition("e")
        return f"{digits}{TIMES}{power_of_ten(int(power))}"
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    if whole:
        return f"{value:,.{max(3 - whole, 0)}f}"
    return f"{value:.{2 - math.floor(math.log10(abs(value)))}f}"


def power_of_ten(power: int) -> str:
    """10 with the power above it."""
    return f"10{str(power).translate(SUPERSCRIPTS)}"


def percent(share: float) -> str:
    """A fraction of 1 in percent; 0 % and 100 % only where they are exact."""
    if math.isnan(share):
        return NOTHING
    text = f"{share * 100:.2f}"
    if text == "100.00" and share < 1:
        return "> 99.99 %"
    if text == "0.00" and share > 0:
        return "< 0.01 %"
    return f"{text.removesuffix('.00')} %"


def exact(value: float | None) -> str:
    """A number in full, as JSON writes it; empty where it is not finite."""
    return "" if value is None or not math.isfinite(value) else repr(float(value))
