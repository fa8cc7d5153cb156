"""The one lister of pictures: what a folder holds, each file once, for every command alike."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parity.samples import find_samples
from runtime.errors import InputError
from runtime.files.listing import DEAD_LINK, FOLDER, HIDDEN, OTHER_SUFFIX
from runtime.many.inputs import find_pictures


def names_in(*given: object) -> list[str]:
    return [file.name for file in find_pictures(*map(str, given)).files]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.slow
def test_fifty_thousand_files_are_listed(tmp_path: Path) -> None:
    for folder in range(50):
        touch(tmp_path, *(f"{folder}/{index}.jpg" for index in range(1000)))
    found = names_in(tmp_path)
    assert len(set(found)) == 50_000
    assert found == sorted(found)


@pytest.mark.parametrize("given", ["", "**/*.png", "**"])
def test_a_loop_of_links_is_walked_once(tmp_path: Path, given: str) -> None:
    """Also two of them, by which each folder can be reached on a million ways."""
    touch(tmp_path, "a/x.png", "a/b/y.png")
    (tmp_path / "a/b/up").symlink_to(tmp_path / "a")
    (tmp_path / "a/b/top").symlink_to(tmp_path)
    (tmp_path / "a/b/self").symlink_to("self")
    found = find_pictures(str(tmp_path / given)).files
    assert [file.path for file in found] == [tmp_path / "a/b/y.png", tmp_path / "a/x.png"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", ["a.jpg", "b.JPEG", "in/c.jpg", "in/deep/e.jpg"]),
        ("a.jpg", ["a.jpg"]),
        ("*", ["a.jpg", "b.JPEG"]),
        ("[ab].*", ["a.jpg", "b.JPEG"]),
        ("*/*.jpg", ["in/c.jpg"]),
        ("*/deep/e.jpg", ["in/deep/e.jpg"]),
        ("**/*.jpg", ["a.jpg", "in/c.jpg", "in/deep/e.jpg"]),
        ("**/deep/**", ["in/deep/e.jpg"]),
        (".hidden/*", [".hidden/d.jpg"]),
        (".*.jpg", ["._a.jpg"]),
        ("in", ["in/c.jpg", "in/deep/e.jpg"]),
    ],
)
def test_images_of_a_comparison_are_the_inputs_of_a_run(
    tmp_path: Path, given: str, expected: list[str]
) -> None:
    """A folder's pictures are those of its folders, too; hidden files and folders apart."""
    touch(tmp_path, "a.jpg", "b.JPEG", "in/c.jpg", "in/deep/e.jpg")
    touch(tmp_path, ".hidden/d.jpg", "._a.jpg", "notes.txt", "in/f.gif")
    where = str(tmp_path / given)
    files = [file.path for file in find_pictures(where).files]
    assert [sample.path for sample in find_samples([where])] == files
    assert files == [tmp_path / name for name in expected]


def test_a_pattern_may_stand_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are as the pattern gives them; one that is a file's name is that file."""
    touch(tmp_path, "in/a[1].jpg", "in/a1.jpg")
    monkeypatch.chdir(tmp_path)
    assert names_in("**/*.jpg") == ["in/a1.jpg", "in/a[1].jpg"]
    assert names_in("in/a[1].jpg") == ["in/a[1].jpg"]


def test_what_is_passed_over_is_counted_by_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a pattern, what it matches; and said by a comparison, too."""
    touch(tmp_path, "a.jpg", "._a.jpg", ".git/x", "in/b.jpg", *(f"{i}.txt" for i in range(9)))
    (tmp_path / "in/c.jpg").symlink_to("gone.jpg")
    (tmp_path / "disk").symlink_to("/unmounted")
    listing = find_pictures(str(tmp_path))
    counts = {reason: (skip.count, skip.first) for reason, skip in listing.skipped.items()}
    assert counts == {
        HIDDEN: (2, ["._a.jpg", ".git"]),
        OTHER_SUFFIX: (9, ["0.txt", "1.txt", "2.txt", "3.txt", "4.txt"]),
        DEAD_LINK: (2, ["disk", "in/c.jpg"]),
    }
    by_pattern = find_pictures(str(tmp_path / "[ai]*")).skipped
    assert {reason: skip.first for reason, skip in by_pattern.items()} == {
        FOLDER: [str(tmp_path / "in")]
    }
    find_samples([str(tmp_path)])
    (line,) = [r.getMessage() for r in caplog.records if r.getMessage().startswith("skipped")]
    assert "skipped: 13 files: " in line
    assert "2 linked to nothing (disk, in/c.jpg)" in line
    assert "9 with another suffix (0.txt, 1.txt, 2.txt, 3.txt, 4.txt, …)" in line


def lock(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the right to list a folder away; root keeps it, so that scandir must refuse."""
    folder.chmod(0)
    scandir: Callable[[Any], Any] = os.scandir

    def refusing(path: Any) -> Any:
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)


@pytest.mark.parametrize("given", ["", "*/*.jpg", "**/*.jpg"])
def test_a_folder_that_cannot_be_read_is_a_picture_that_cannot(
    tmp_path: Path, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it holds is missing from the results, so that it is a failure of the run."""
    touch(tmp_path, "a/a.jpg", "b/b.jpg")
    lock(tmp_path / "b", monkeypatch)
    one, other = find_pictures(str(tmp_path / given)).files
    assert one.path == tmp_path / "a/a.jpg"
    assert other.name.endswith("b/")
    with pytest.raises(InputError, match="b: expected a whole JPEG.* got a folder"):
        other.read()
    with pytest.raises(InputError, match="b: expected a file, got a folder"):
        find_samples([str(tmp_path / given)])
    with pytest.raises(InputError, match="b: expected a folder that can be read"):
        find_pictures(str(tmp_path / "b"))


def test_pipes_sockets_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "b.jpg"))
        for path in (tmp_path / "a.jpg", tmp_path / "b.jpg", "/dev/zero"):
            with pytest.raises(InputError, match="got a pipe or device"):
                find_pictures(str(path))
        for file in find_pictures(str(tmp_path)).files:
            with pytest.raises(InputError, match="got a pipe or device"):
                file.read()


@pytest.mark.parametrize("given", ["file:///tmp/a.jpg", "https://example.com/*.jpg"])
def test_an_address_is_no_path(given: str) -> None:
    """It is named as it was written."""
    with pytest.raises(InputError, match="a path of this machine, got an address") as caught:
        find_pictures(given)
    assert given in str(caught.value)


def test_two_names_that_are_written_alike_are_refused(tmp_path: Path) -> None:
    """One of their rows would pass for the other's."""
    for name in (b"\xff.jpg", b"\\udcff.jpg"):
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).touch()
    with pytest.raises(InputError, match="udcff.jpg: expected names that differ"):
        find_pictures(str(tmp_path))


def test_several_inputs_are_one_list_with_names_that_differ(tmp_path: Path) -> None:
    """By the folder that was given; nothing twice."""
    touch(tmp_path, "one/a.jpg", "two/a.jpg", "two/b.jpg")
    one, two = tmp_path / "one", tmp_path / "two/"
    assert names_in(one, two / "a*") == [str(one / "a.jpg"), str(two / "a.jpg")]
    (tmp_path / "link").symlink_to("two")
    for again in (two / "a.jpg", tmp_path / "link"):
        with pytest.raises(InputError, match="a.jpg: expected each picture once, got it twice"):
            find_pictures(str(two), str(again))
    with pytest.raises(InputError, match="gone: expected pictures"):
        find_pictures(str(one), str(tmp_path / "gone"))
