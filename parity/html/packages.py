"""What the page is made with, and finding out early that it is missing."""

from __future__ import annotations

from runtime.errors import BackendUnavailable, one_line


def check_packages(option: str) -> None:
    """Import what draws and sets the page, before the work that it would show is done.

    Args:
        option: the command line's name for the page.

    Raises:
        BackendUnavailable: a package is missing or cannot be imported.
    """
    try:
        import jinja2  # noqa: F401  # whether it can be imported is the question
        import matplotlib.figure  # noqa: F401  # likewise
    except ImportError as error:
        raise BackendUnavailable(
            option,
            expected="jinja2 and matplotlib, which the HTML report is made with",
            got=one_line(error),
            action="Install them with pip install '.[report]' in this project's checkout, or leave"
            f" {option} out",
        ) from error
