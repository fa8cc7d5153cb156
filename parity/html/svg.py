"""Turns matplotlib's drawings into SVG elements of the page.

The page allows no style but its own, so matplotlib's `style=` becomes attributes. Text stays text,
in the page's font, and `INK` becomes the page's text colour, which is light in the dark scheme.
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from runtime.files import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# a colour that nothing else is drawn in
INK = "#010203"
# prefix of gids that become classes of the page's style sheet
CLASS = "class-"
LINK = "{http://www.w3.org/1999/xlink}href"
LEFT_TO_THE_PAGE = {"font-family"}
LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
REFERENCE = re.compile(r"url\(#([^)]+)\)")


@contextmanager
def drawing() -> Iterator[None]:
    """Draw with fixed settings: this machine's matplotlibrc is ignored."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(
            {
                "svg.fonttype": "none",
                "svg.hashsalt": "starmark",
                "font.family": ["DejaVu Sans"],
                "font.size": 12,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.edgecolor": INK,
                "axes.labelcolor": INK,
                "axes.axisbelow": True,
                "text.color": INK,
                "xtick.color": INK,
                "ytick.color": INK,
                "grid.color": INK,
                "grid.alpha": 0.12,
            }
        )
        yield


def as_svg(
    figure: Figure,
    name: str,
    label: str,
    texts: Mapping[str, str],
    titles: Mapping[str, str] | None = None,
) -> str:
    """Turn a figure into an element of the page.

    Args:
        figure: drawn inside `drawing()`.
        name: of this figure, unique on the page: its ids begin with it.
        label: describes it to screen readers.
        texts: replacements for the drawing's texts. The drawing itself is in plain English, whose
            widths matplotlib can measure with the font it brings along.
        titles: tooltips of parts of the drawing, by their gid.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    root = ET.fromstring(buffer.getvalue())  # noqa: S314  # matplotlib's own
    _drop(root, {"metadata", "style"})
    _, _, width, height = (float(value) for value in root.attrib["viewBox"].split())
    root.attrib.clear()
    root.attrib |= {"viewBox": f"0 0 {width:g} {height:g}", "role": "img", "aria-label": label}
    for element in root.iter():
        _simplify(element, name, titles or {})
        if element.tag == "text" and element.text:
            # regions' names come from recordings
            element.text = printable(texts.get(element.text, element.text))
    return ET.tostring(root, encoding="unicode")


def _drop(root: ET.Element, tags: Collection[str]) -> None:
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.rpartition("}")[2] in tags:
                parent.remove(child)


def _simplify(element: ET.Element, name: str, titles: Mapping[str, str]) -> None:
    """Strip an element's namespaces and style, and make its ids unique on the page."""
    element.tag = element.tag.rpartition("}")[2]
    given = element.attrib
    for declaration in given.pop("style", "").split(";"):
        key, _, value = declaration.partition(":")
        if key.strip() and key.strip() not in LEFT_TO_THE_PAGE:
            given[key.strip()] = value.strip().replace(INK, "currentColor")
    own = given.pop("id", "")
    if own.startswith(CLASS):
        given["class"] = own.removeprefix(CLASS)
    elif own and element.tag in ("path", "clipPath"):
        given["id"] = f"{name}-{own}"
    if own in titles:
        title = ET.Element("title")
        title.text = titles[own]
        element.insert(0, title)
    if LINK in given:
        link = given.pop(LINK)
        given["href"] = f"#{name}-{link[1:]}" if link.startswith("#") else link.replace("\n", "")
    for key, value in given.items():
        if key in ("d", "x", "y"):
            given[key] = LONG_NUMBER.sub(lambda found: f"{float(found[0]):.2f}", value)
        else:
            given[key] = REFERENCE.sub(rf"url(#{name}-\1)", value)
