"""The page in a browser: opened from disk, as its readers open it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import ROOT
from recordings import (
    HOSTILE,
    comparison_of,
    moved,
    recording_of,
    with_header,
    with_pictures,
)

from parity.comparison import Comparison
from parity.html.page import as_html
from parity.recording.recording import Unreadable, sha256_pixels
from parity.samples import default_samples
from runtime.cli.language import LANGUAGES
from runtime.image.picture import read_picture

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page

# set where a browser must be there, so that these tests cannot be skipped
DEMANDED = "STARMARK_NEEDS_CHROMIUM"
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SECTIONS = ("verdict", "distribution", "landmarks", "regions", "pictures", "latency", "sides")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window and with a profile of its own."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if path is None:
        reason = "no Chromium on PATH, and $CHROMIUM names none: apt-get install chromium"
        if os.environ.get(DEMANDED):
            pytest.fail(f"{DEMANDED} is set, and there is {reason}")
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=OPTIONS, headless=True)
        yield opened
        opened.close()


@cache
def compared(*, passes: bool = True, pictures: int = 2) -> Comparison:
    """Numbers as points on the two sample pictures, over and over."""
    here = recording_of(np.random.default_rng(3), pictures=pictures)
    files = [default_samples()[index % 2] for index in range(pictures)]
    hashes = [sha256_pixels(read_picture(sample.path)) for sample in files]
    here = with_pictures(here, sha256_picture=hashes)
    samples = [replace(f, name=r.name) for f, r in zip(files, here.header.pictures, strict=True)]
    there = moved(here, 0.001 if passes else 0.4)
    there.landmarks[:, :, 1] += np.linspace(0, 1e-3, pictures, dtype=np.float32)[:, None]
    return comparison_of(here, there, samples=samples)


@cache
def page_of(comparison: Comparison, language: str) -> str:
    """Drawn once for all widths and schemes."""
    return as_html(comparison, language=language, command="x")


Show = Callable[..., "Page"]


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Show]:
    """Open a comparison's page; at the end, nothing was requested and nothing went wrong."""
    wrong: list[str] = []
    requested: list[str] = []
    contexts = []

    def refused(dialog: Dialog) -> None:
        wrong.append(dialog.message)
        dialog.dismiss()

    def opened(comparison: Comparison, language: str = "en", **how: Any) -> Page:
        path = tmp_path / "report.html"
        path.write_text(page_of(comparison, language), encoding="utf-8")
        context = browser.new_context(**how)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", refused)
        page.on("requestfailed", lambda request: wrong.append(request.url))
        page.on("request", lambda request: requested.append(request.url))
        page.goto(path.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []
    # pictures inside the page are no requests
    outside = {url for url in requested if not url.startswith("data:")}
    assert outside == {(tmp_path / "report.html").as_uri()}


@pytest.mark.parametrize(("language", "verdict"), [("en", "FAILED"), ("zh", "未通过")])
def test_the_verdict_is_seen_first(show: Show, language: str, verdict: str) -> None:
    """Large, above the fold, and every picture decodes."""
    page = show(compared(passes=False), language, viewport={"width": 1280, "height": 800})
    stamp = page.locator(".stamp strong")

    assert stamp.inner_text() == verdict
    box = stamp.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 400
    assert box["height"] > 30
    assert page.locator(f"#{' , #'.join(SECTIONS)}").count() == len(SECTIONS)
    assert page.evaluate(
        "[...document.querySelectorAll('main img')].every((one) => one.naturalWidth > 100)"
    )


def test_a_table_is_sorted_by_mouse_and_keyboard(show: Show) -> None:
    """Both ways, with aria-sort set, and the focus kept."""
    page = show(compared(pictures=12))
    table = page.locator("table.gallery")
    names = "rows => rows.map(row => row.querySelector('th').dataset.value)"
    values = "cells => cells.map(cell => Number(cell.dataset.value))"
    largest = table.locator("thead th", has_text="max, photo px")
    cells = table.locator("tbody tr td:nth-child(6)")
    before = cells.evaluate_all(values)
    assert before == sorted(before, reverse=True)
    assert largest.get_attribute("aria-sort") == "descending"

    largest.locator("button").click()
    assert cells.evaluate_all(values) == sorted(before)
    assert largest.get_attribute("aria-sort") == "ascending"

    picture = table.locator("thead th", has_text="Picture")
    picture.locator("button").focus()
    page.keyboard.press("Enter")
    found = table.locator("tbody tr").evaluate_all(names)
    assert found == sorted(f"{n}.jpg" for n in range(12))
    page.keyboard.press("Space")
    assert table.locator("tbody tr").evaluate_all(names) == found[::-1]
    assert largest.get_attribute("aria-sort") is None
    assert page.evaluate("document.activeElement.textContent") == "Picture"


def test_a_picture_opens_large_and_closes(show: Show) -> None:
    """By keyboard, too."""
    page = show(compared())
    small = page.locator("button.picture").first
    small.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog")
    assert dialog.is_visible()
    width = dialog.locator("img").evaluate("one => one.clientWidth")
    assert width > 3 * small.locator("img").evaluate("one => one.clientWidth")

    page.keyboard.press("Escape")
    assert not dialog.is_visible()


@cache
def with_long_names() -> Comparison:
    """Names that no line can be broken in."""
    found = compared(pictures=3)
    unreadable = (Unreadable(name="z" * 400 + ".jpg", error="w" * 400),)
    here = with_header(found.reference, source="x" * 400, machine="y" * 400, unreadable=unreadable)
    there = moved(found.reference, 0.1, source="v" * 400)
    return comparison_of(here, there, samples=found.samples)


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window(
    show: Show, width: int, language: str, scheme: Any
) -> None:
    """Tables scroll inside themselves; names without spaces break."""
    found = with_long_names()
    page = show(found, language, viewport={"width": width, "height": 800}, color_scheme=scheme)
    wide = page.evaluate(
        "[document.documentElement.scrollWidth, ...[...document.querySelectorAll('.card')]"
        ".map((one) => Math.ceil(one.getBoundingClientRect().right))]"
    )

    assert max(wide) <= width


def test_ink_follows_the_readers_scheme(show: Show) -> None:
    """Text in figures is light in the dark."""
    colours = {
        scheme: show(compared(), color_scheme=scheme)
        .locator("#distribution svg text")
        .first.evaluate("one => getComputedStyle(one).fill")
        for scheme in ("light", "dark")
    }

    assert sum(int(v) for v in colours["light"][4:-1].split(",")) < 200
    assert sum(int(v) for v in colours["dark"][4:-1].split(",")) > 600


@pytest.mark.parametrize("language", LANGUAGES)
def test_all_of_it_prints(show: Show, language: str, tmp_path: Path) -> None:
    """Every section on A4, within the paper's width, folded lists unfolded."""
    page = show(compared(pictures=30), language)
    printed = page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)

    assert printed.startswith(b"%PDF-")
    assert printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") >= 3
    assert b"595" in printed
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 703, "height": 1000})  # A4 without its margins
    hidden = [
        name for name in (*SECTIONS, "reproduce") if not page.locator(f"#{name}").is_visible()
    ]
    assert hidden == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 703
    clipped = "one => one.scrollHeight > one.clientHeight + 1"
    assert not page.locator(".tall").evaluate(clipped)


@pytest.mark.parametrize("language", LANGUAGES)
def test_hostile_names_do_nothing(show: Show, language: str) -> None:
    """No alert, no request, no element; names are shown as they are."""
    found = compared(pictures=len(HOSTILE))
    here = with_header(with_pictures(found.reference, name=HOSTILE), source=HOSTILE[1])
    samples = [replace(s, name=name) for s, name in zip(found.samples, HOSTILE, strict=True)]
    page = show(comparison_of(here, moved(here, 0.1, source=HOSTILE[0]), samples=samples), language)
    page.wait_for_timeout(300)

    assert page.locator("script").count() == 2
    assert page.locator("[onerror], [onload]").count() == 0
    assert "<img src=x onerror=alert(1)>" in page.locator("h1").inner_text()
    names = page.evaluate("JSON.parse(document.querySelector('#report').textContent).pictures")
    assert [picture["name"] for picture in names] == list(HOSTILE)
    page.locator("button.picture").first.click()
    assert page.locator("dialog p").inner_text()


def test_a_script_that_is_not_ours_does_not_run(browser: Browser, tmp_path: Path) -> None:
    """The control: the policy holds even if something had slipped through."""
    text = page_of(compared(), "en")
    path = tmp_path / "tampered.html"
    path.write_text(text.replace("</main>", "<script>document.title = 'run'</script></main>"))
    page = browser.new_page()
    logged: list[str] = []
    page.on("console", lambda message: logged.append(message.text))
    page.goto(path.as_uri())

    assert page.title() != "run"
    assert any("Content Security Policy" in text for text in logged)
    page.close()


def test_the_scripts_of_ci_demand_the_browser() -> None:
    """In CI a missing browser fails."""
    assert f"{DEMANDED}=1" in (ROOT / ".ci/run").read_text()
