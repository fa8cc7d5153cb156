"""Names of pictures are people's names, and leave no machine."""

from __future__ import annotations

import pytest

from runtime.doctor.pictures import counted, without_pictures

KNOWN = {"anna smith.jpg", "holiday/anna.png", "mirrored anna smith.jpg"}


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("cannot read grandmother.JPG: 7", "cannot read <picture>: 7"),
        ("/data/faces/奶奶.jpeg", "/data/faces/<picture>"),
        ('"name": "my old wife.webp", "x": 7', '"name": "<picture>", "x": 7'),
        ("worst: anna smith.jpg 0.7 px", "worst: <picture> 0.7 px"),
        ("worst: mirrored anna smith.jpg", "worst: <picture>"),
        ("left out: holiday/anna.png, b.tiff", "left out: <picture>, <picture>"),
        # no picture's name
        ("a picture (.jpg .jpeg, *.png)", None),
        ("x.jpgx y.pngs z.onnx", None),
        ("benchmark.json parity.html", None),
    ],
)
def test_names_are_replaced_by_their_suffix_and_as_reports_list_them(
    text: str, cleaned: str | None
) -> None:
    """Blanks and folders belong to a name that is known, or in quotes."""
    assert without_pictures(text, KNOWN) == (text if cleaned is None else cleaned)


def test_lists_of_pictures_are_counted_wherever_they_stand() -> None:
    """In the form of this project's reports; their names are learned."""
    names: set[str] = set()
    report = {
        "report": {
            "pictures": [{"name": "a b.jpg", "photo_px": 0.1}, {"name": "c.jpg"}],
            "unreadable": [{"name": "d", "error": "d: 7"}],
            "end_to_end": {"crops_that_differ": ["a b.jpg", "e.png"]},
        },
        "sources": [{"pictures": 7}],
    }

    assert counted(report, names) == {
        "report": {"pictures": 2, "unreadable": 1, "end_to_end": {"crops_that_differ": 2}},
        "sources": [{"pictures": 7}],
    }
    assert names == {"a b.jpg", "c.jpg", "d", "e.png"}
