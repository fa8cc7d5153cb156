"""The language of what commands print to people: English in the code, others in tables."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from unicodedata import east_asian_width

HERE = Path(__file__).parent
LANGUAGES = ("en", "zh")
# In the order in which they count.
_LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")


class Words:
    """English as it stands in the code, or its translation; one that is missing is an error.

    Args:
        language: one of `LANGUAGES`.
        tables: folder of the translations, zh.json for Chinese.
    """

    def __init__(self, language: str, tables: Path = HERE) -> None:
        self.table = {} if language == "en" else table_of(tables, language)
        self._is_english = language == "en"

    def __call__(self, message: str, **values: object) -> str:
        """A sentence with its `{values}` put in."""
        text = message if self._is_english else self.table[message]
        return text.format(**values) if values else text


ENGLISH = Words("en")


def table_of(tables: Path, language: str) -> Mapping[str, str]:
    """English to another language, sentence by sentence."""
    table: dict[str, str] = json.loads((tables / f"{language}.json").read_text("utf-8"))
    return table


class LanguageOption:
    """The language of what is printed; JSON, tables, the log and errors stay as they are."""

    @staticmethod
    def add(parser: argparse.ArgumentParser) -> None:
        """--lang."""
        parser.add_argument(
            "--lang",
            choices=LANGUAGES,
            help="language of what is printed (default: the locale's, else en)",
        )

    @staticmethod
    def of(arguments: argparse.Namespace) -> Words:
        """The words in the language that was asked for, or of LC_ALL, LC_MESSAGES or LANG."""
        return Words(arguments.lang or _of_locale(os.environ))


def _of_locale(environment: Mapping[str, str]) -> str:
    locale = next((environment[name] for name in _LOCALE if environment.get(name)), "")
    return next((name for name in LANGUAGES if locale.lower().startswith(name)), LANGUAGES[0])


def padded(text: str, columns: int, *, right: bool = False) -> str:
    """Pad to a width in a terminal's columns, of which a Chinese character takes two.

    Args:
        text: a label or a figure.
        columns: the width; a longer text stays whole.
        right: align the text to the right.
    """
    room = " " * (columns - sum(1 + (east_asian_width(c) in "FW") for c in text))
    return f"{room}{text}" if right else f"{text}{room}"
