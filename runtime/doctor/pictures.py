"""Names of pictures in texts and reports: a person's name, as often as not."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

PICTURE = "<picture>"
# As recordings, comparisons and reports of this project call lists of pictures.
LISTS = ("pictures", "unreadable", "crops_that_differ")
LONGEST_NAME = 200
_SUFFIX = re.compile(r"(?i)\.(?:jpe?g|png|bmp|webp|tiff?|gif|hei[cf]|jp2|p[gpn]m)(?![^\W_])")
# What ends with the suffix: all within the quotes, else the last word.
_QUOTED = re.compile(r"[\"']([^\"'/\\]+)$")
_LAST_WORD = re.compile(r"[^\s\"'/\\=:,;|<>()\[\]*]*$")


def without_pictures(text: str, known: Collection[str]) -> str:
    """A text with a mark in the place of each picture's name.

    Args:
        text: whatever is read by people.
        known: whole names, blanks and folders included, as reports list them.
    """
    made: list[str] = []
    done = 0
    for match in _SUFFIX.finditer(text):
        end = match.end()
        earliest = max(done, text.rfind("\n", 0, end) + 1, end - LONGEST_NAME)
        before = text[earliest : match.start()]
        quoted = _QUOTED.search(before) if text[end : end + 1] in ('"', "'") else None
        word = _LAST_WORD.search(before)
        found = quoted.start(1) if quoted else word.start() if word else len(before)
        found = next((i for i in range(found) if text[earliest + i : end] in known), found)
        # a suffix alone is no name
        if found < len(before):
            made += (text[done : earliest + found], PICTURE)
            done = end
    return "".join((*made, text[done:]))


def counted(value: Any, names: set[str]) -> Any:
    """A report with the number of its pictures in the place of their lists.

    Args:
        value: of JSON.
        names: the pictures' names are added to it.
    """
    if isinstance(value, list):
        return [counted(one, names) for one in value]
    if not isinstance(value, dict):
        return value
    made = {}
    for key, one in value.items():
        if key in LISTS and isinstance(one, list):
            names |= {
                str(each.get("name")) if isinstance(each, dict) else str(each) for each in one
            }
            made[key] = len(one)
        else:
            made[key] = counted(one, names)
    return made
