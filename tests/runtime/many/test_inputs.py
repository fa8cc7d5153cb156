"""The one lister of pictures: what a folder holds, each file once, for every command alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from parity.samples import find_samples
from runtime.many.inputs import find_pictures


@pytest.mark.slow
def test_fifty_thousand_files_are_listed(tmp_path: Path) -> None:
    for folder in range(50):
        (tmp_path / str(folder)).mkdir()
        for index in range(1000):
            (tmp_path / str(folder) / f"{index}.jpg").touch()
    found = find_pictures(str(tmp_path))
    assert len({file.name for file in found}) == 50_000
    assert [file.name for file in found] == sorted(file.name for file in found)


def test_a_loop_of_links_is_walked_once(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/x.png").touch()
    (tmp_path / "a/b/y.png").touch()
    (tmp_path / "a/b/up").symlink_to(tmp_path / "a")
    (tmp_path / "a/b/self").symlink_to("self")
    assert [file.name for file in find_pictures(str(tmp_path))] == ["a/b/y.png", "a/x.png"]


@pytest.mark.parametrize("given", ["", "a.jpg", "*.jpg", "**/*.jpg", "in"])
def test_images_of_a_comparison_are_the_inputs_of_a_run(tmp_path: Path, given: str) -> None:
    """A folder's pictures are those of its folders, too; hidden files and folders apart."""
    for name in ("a.jpg", "b.JPEG", "in/c.jpg", ".hidden/d.jpg", "._a.jpg", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("not decoded here")
    where = str(tmp_path / given)
    files = [file.path for file in find_pictures(where)]
    assert [sample.path for sample in find_samples([where])] == files
    assert len(files) == {"": 3, "a.jpg": 1, "*.jpg": 1, "**/*.jpg": 2, "in": 1}[given]
