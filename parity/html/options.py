"""The options of a command line that can write the page."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from parity.html.packages import check_packages
from parity.html.words import LANGUAGES
from runtime.files import check_target, write_text_whole

if TYPE_CHECKING:
    from parity.comparison import Comparison

OPTION = "--html"


def add_page_options(parser: argparse.ArgumentParser) -> None:
    """--html and --lang."""
    add = parser.add_argument
    add(OPTION, type=Path, metavar="FILE", help="write the report as one self-contained page")
    add("--lang", choices=LANGUAGES, help="language of that page (default en)")


def check_page(arguments: argparse.Namespace, others: Iterable[Path]) -> None:
    """Find out that the page cannot be made or written before the comparison is run.

    Args:
        arguments: with html and lang.
        others: files that are read or written, too.

    Raises:
        ConfigError: no such folder, not a file, or one of the others.
        BackendUnavailable: what makes the page is not installed.
    """
    if arguments.html is not None:
        check_target(arguments.html, OPTION, others)
        check_packages(OPTION)


def write_page(
    arguments: argparse.Namespace, module: str, given: Sequence[str] | None, found: Comparison
) -> None:
    """Write the page where it was asked for, with the command that makes it again.

    Args:
        arguments: with html and lang.
        module: the command line's.
        given: its arguments as `main` got them; None takes the process's own.
        found: what to write about.

    Raises:
        OSError: the disk is full or cannot be written to.
    """
    if arguments.html is None:
        return
    from parity.html.page import as_html  # it needs OpenCV, which comparing does not

    command = shlex.join(["python", "-m", module, *(sys.argv[1:] if given is None else given)])
    page = as_html(found, language=arguments.lang or LANGUAGES[0], command=command)
    write_text_whole(arguments.html, page)
