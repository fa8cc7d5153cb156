"""Facts as aligned lines for people; the same facts are JSON for machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runtime.errors import one_line
from runtime.files import printable

# What a line of text shows of one value; --json shows all of it.
LONGEST_SHOWN = 2000


def as_text(facts: Mapping[str, Any]) -> str:
    """Aligned lines of key and value; control characters of a file's own texts are escaped."""
    rows = list(_rows(facts))
    width = max(len(key) for key, _ in rows) + 2
    return "".join(f"{key + ':' if key else '':{width}}{value}\n" for key, value in rows)


def _rows(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in facts.items():
        key = _printable(f"{prefix}{name}" if prefix else name.replace("_", " "))
        if isinstance(value, Mapping) and any(not isinstance(one, int) for one in value.values()):
            yield from _rows(value, f"{key}.")
        elif isinstance(value, (list, tuple)) and value and isinstance(value[0], Mapping):
            for index, one in enumerate(value):
                yield ("" if index else key), _printable(_shown(one))
        else:
            yield key, _printable(_shown(value))


def _shown(value: Any) -> str:
    if value is None or value in ("", [], {}, ()):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_inner(one)}" for key, one in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_shown(one) for one in value)
    return str(value)


def _inner(value: Any) -> str:
    return f"[{_shown(value)}]" if isinstance(value, (list, tuple, Mapping)) else _shown(value)


def _printable(text: str) -> str:
    return printable(one_line(text, LONGEST_SHOWN))
