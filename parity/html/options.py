"""The options of a command line that can write the page."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.cli.language import LANGUAGES
from runtime.files import check_target, write_text_whole
from runtime.machine.packages import importing

if TYPE_CHECKING:
    from parity.comparison import Comparison

OPTION = "--html"


@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """Where the page is written, if it is, and in which language."""

    path: Path | None
    language: str

    @staticmethod
    def add(parser: argparse.ArgumentParser) -> None:
        """--html and --lang."""
        add = parser.add_argument
        add(OPTION, type=Path, metavar="FILE", help="write the report as one self-contained page")
        add("--lang", choices=LANGUAGES, help="language of that page (default en)")

    @classmethod
    def of(cls, arguments: argparse.Namespace, others: Iterable[Path]) -> PageOptions:
        """Check that the page can be made and written, before the comparison is run.

        Raises:
            ConfigError: no such folder, not a file, or one of the others (read or written, too).
            BackendUnavailable: as `check_packages`.
        """
        if arguments.html is not None:
            check_target(arguments.html, OPTION, others)
            check_packages(OPTION)
        return cls(path=arguments.html, language=arguments.lang or LANGUAGES[0])

    def write(self, found: Comparison, module: str, argv: Sequence[str] | None) -> None:
        """Write the page if it was asked for, with the command that makes it again.

        Args:
            found: to write about.
            module: the command line's.
            argv: its arguments as `main` got them; None for the process's own.
        """
        if self.path is None:
            return
        from parity.html.page import as_html  # it needs OpenCV, which comparing does not

        command = shlex.join(["python", "-m", module, *(sys.argv[1:] if argv is None else argv)])
        write_text_whole(self.path, as_html(found, language=self.language, command=command))


def check_packages(option: str) -> None:
    """Import the packages that make the page, before the work that it would show is done.

    Raises:
        BackendUnavailable: one is missing or cannot be imported.
    """
    with importing(option):
        import jinja2  # noqa: F401  # whether it can be imported is the question
        import matplotlib.figure  # noqa: F401  # likewise
