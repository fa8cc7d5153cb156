"""The page: it shows the report's figures, whatever the names in it."""

from __future__ import annotations

import ast
import json
import re
import zipfile
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from builders import ROOT, STARTER, noise, run_module, run_python
from recordings import (
    HOSTILE,
    comparison_of,
    moved,
    recording_of,
    with_header,
    with_pictures,
)

from parity.compare import __main__ as compare
from parity.comparison import Comparison
from parity.html import tables
from parity.html.gallery import MOST_SHOWN
from parity.html.page import as_html
from parity.html.words import Words, exact, figure, percent
from parity.judging.expected import BASES
from parity.judging.verdict import NOT_JUDGED, UNITS, Limits
from parity.recording.recording import STAGES, Unreadable, sha256_pixels
from parity.samples import Sample
from runtime.cli.language import LANGUAGES, table_of
from runtime.files import json_text
from runtime.model.topology import FACE_29, FACE_68, FACE_98, REST_OF_THE_FACE

HTML = ROOT / "parity/html"
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """A page as a browser would parse it: elements with texts, and cells by their data-path."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.values: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        if tag not in VOID:
            self._open.append(tag)
        if given.get("data-path"):
            self.values[str(given["data-path"])] = str(given["data-value"])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts.setdefault(self._open[-1], []).append(data)

    @property
    def report(self) -> Any:
        """The copy of the report."""
        return json.loads(self.texts["script"][0])


def set_page(comparison: Comparison, language: str = "en", *, timed: bool = True) -> str:
    return as_html(comparison, language=language, command="python -m parity.compare", timed=timed)


def at(report: Any, path: str) -> Any:
    """The value at a dotted path; `share_under.0.1` names the limit 0.1."""
    head, _, share = path.partition("share_under.")
    for key in head.strip(".").split("."):
        report = report[int(key)] if isinstance(report, list) else report[key]
    return report["share_under"][share] if share else report


def case(rng: np.random.Generator, language: str, *, passes: bool) -> tuple[str, Comparison]:
    here = recording_of(rng, pictures=3)
    found = comparison_of(here, moved(here, 0.001 if passes else 0.4))
    return set_page(found, language), found


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("passes", [True, False])
def test_every_figure_is_the_reports(rng: np.random.Generator, language: str, passes: bool) -> None:
    """Cells carry the exact value; the copy inside is the report that --json prints."""
    text, found = case(rng, language, passes=passes)
    page = Page(text)
    report = json.loads(json_text(found.report))

    assert page.report == report
    assert page.values.pop("verdict.passed") == str(passes).lower()
    # 5 columns of 7 statistics, 4 of 4 shares, 68 landmarks and 3 pictures of 4, and two more
    assert len(page.values) == 5 * 7 + 4 * 4 + (68 + 3) * 4 + 2
    for path, value in page.values.items():
        assert float(value) == at(report, path), path
    verdicts = {"en": ("FAILED", "PASSED"), "zh": ("未通过", "通过")}
    assert page.texts["strong"][0] == verdicts[language][passes]


def test_limits_show_what_was_found_and_which_is_exceeded(rng: np.random.Generator) -> None:
    """Each given limit has a row, and no other."""
    here = recording_of(rng)
    limits = msgspec.structs.replace(
        NOT_JUDGED, max_mean_px=9, max_error_px=0.5, max_p99_px=0.1, unit="crop"
    )
    found = comparison_of(here, moved(here, 0.4), limits)
    text = set_page(found)
    body = text.partition('<table class="limits">')[2].partition("</table>")[0]

    rows = re.findall(r'<tr class="(\w+)">', body)
    assert rows == ["held", "held", "exceeded"]
    assert body.count("crop px") == 3
    assert found.report.verdict.exceeded[0].startswith("p99")


def test_an_increase_of_the_nme_is_judged_on_the_page(rng: np.random.Generator) -> None:
    """Its own row, in percentage points, and the section on accuracy."""
    here = recording_of(rng, pictures=12)
    marked = replace(here, annotations_px=here.points_px + rng.normal(0, 1, (12, 68, 2)))
    there = moved(marked, 3.0)
    limits = Limits(max_mean_px=99, max_error_px=99, max_nme_increase_points=0.1)
    found = comparison_of(marked, there, limits)
    page = Page(set_page(found))
    accuracy = found.report.accuracy

    assert accuracy is not None
    assert not found.report.verdict.passed
    assert float(page.values["accuracy.candidate.auc"]) == accuracy.candidate.auc
    assert exact(accuracy.change_points) in {attrs.get("data-value") for _, attrs in page.tags}
    assert "✗ exceeded" in page.texts["td"]


def test_the_same_comparison_gives_the_same_bytes(tmp_path: Path, starter_bundle: Path) -> None:
    """Also in another process, with other hashes and another taste in drawings."""
    (tmp_path / "matplotlibrc").write_text("font.size: 30\naxes.grid: True\nsvg.hashsalt: x\n")
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from parity.comparison import judged_comparison\n"
        "from parity.html.page import as_html\n"
        "from parity.samples import default_samples\nfrom parity.judging.verdict import Limits\n"
        "from runtime.model.source import parse_source\n"
        f"sources = parse_source({str(STARTER)!r}), parse_source({str(starter_bundle)!r})\n"
        "found = judged_comparison(sources, default_samples(), Limits())\n"
        "page = as_html(found, language='en', command='x', timed=False)\n"
        "Path(sys.argv[1]).write_text(page, encoding='utf-8')\n"
    )
    for name, seed, folder in (("a", "1", ""), ("b", "2", str(tmp_path))):
        done = run_python(*("-c", code, tmp_path / name), PYTHONHASHSEED=seed, MATPLOTLIBRC=folder)
        assert done.returncode == 0, done.stderr

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_text().count("data:image/jpeg") == 6


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_hostile_names_are_text(rng: np.random.Generator, language: str) -> None:
    """In pictures, sources, versions, regions, unreadable files and the title."""
    names = HOSTILE
    topology = msgspec.structs.replace(
        FACE_68,
        contours=tuple(
            msgspec.structs.replace(contour, name=f"{index} {name}")
            for index, (contour, name) in enumerate(zip(FACE_68.contours, names, strict=False))
        ),
    )
    here = with_pictures(recording_of(rng, pictures=len(names)), name=names)
    here = with_header(
        here,
        source=names[1],
        engine=names[0],
        versions={names[0]: names[1]},
        machine=names[3],
        spec=msgspec.structs.replace(here.header.spec, topology=topology),
        unreadable=tuple(Unreadable(name=name, error=name) for name in names),
    )
    page = Page(set_page(comparison_of(here, moved(here, 0.1, source=names[2])), language))
    plain = Page(case(rng, language, passes=True)[0])
    kinds = {tag for tag, _ in page.tags}

    assert [picture["name"] for picture in page.report["pictures"]] == list(names)
    assert kinds <= {tag for tag, _ in plain.tags} | {"ul", "li", "details", "summary"}
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert not any(key.startswith("on") for _, attrs in page.tags for key in attrs)
    shown = "".join(text for tag, texts in page.texts.items() if tag != "script" for text in texts)
    assert "<img src=x onerror=alert(1)>.jpg" in shown
    assert "\\u202egpj.exe" in shown
    assert "{{ 7 * 7 }}" in shown
    for character in "\u202e\u2066\x07\x00":
        assert character not in shown


def test_no_style_or_script_but_the_pages_own(rng: np.random.Generator) -> None:
    """The policy names them by hash; nothing asks for anything outside the page."""
    text, _ = case(rng, "en", passes=True)
    page = Page(text)
    policy = next(a["content"] for tag, a in page.tags if "http-equiv" in a)

    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not any("style" in attrs for _, attrs in page.tags)
    links = [
        (tag, str(attrs[key]))
        for tag, attrs in page.tags
        for key in ("src", "href", "xlink:href")
        if key in attrs
    ]
    assert links
    assert all(link.startswith(("#", "data:image/")) for _, link in links)
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    named = {f"#{name}" for name in ids}
    assert {link for _, link in links if link.startswith("#")} <= named


@pytest.mark.slow
def test_a_thousand_pictures_stay_small(rng: np.random.Generator, tmp_path: Path) -> None:
    """Below 15 MB: the worst 50 are shown, of pictures that compress as badly as any."""
    picture = noise(rng, 768, 1024)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    hashes = [sha256_pixels(picture)] * 1000
    here = with_pictures(recording_of(rng, pictures=1000), sha256_picture=hashes)
    there = moved(here, 0.2)
    there.landmarks[:, 5] += rng.normal(0, 0.01, (1000, 2)).astype(np.float32)
    samples = [Sample(name=one.name, path=tmp_path / "a.png") for one in here.header.pictures]
    found = comparison_of(here, there, samples=samples)
    text = set_page(found)
    page = Page(text)
    maxima = [picture.photo_px.axis.max for picture in found.report.pictures]
    shown = [
        int(str(a["alt"]).partition(".")[0])
        for tag, a in page.tags
        if tag == "img" and str(a["alt"]).endswith("points") and a["width"] == "264"
    ]

    assert len(text.encode()) < 15e6
    assert sorted(shown) == sorted(np.argsort(maxima)[::-1][:MOST_SHOWN].tolist())
    assert text.count("data:image/jpeg") == 2 * MOST_SHOWN + 2
    assert sum(path.startswith("pictures.") for path in page.values) == 4000
    assert len(page.report["pictures"]) == 1000


def test_equal_sides_have_nothing_to_draw(rng: np.random.Generator) -> None:
    """Without an error there is no logarithm of one."""
    here = recording_of(rng)
    text = set_page(comparison_of(here, moved(here, 0.0)))

    assert "Both sides gave exactly the same coordinates" in text
    assert 'aria-label="Histogram' not in text
    assert 'aria-label="Mean error of every landmark"' in text


@pytest.mark.slow
@pytest.mark.parametrize("points", [1, 2, 7, 98])
def test_other_mark_ups_have_a_page(rng: np.random.Generator, points: int) -> None:
    """One point alone, and mark-ups without contours or eyes."""
    here = recording_of(rng, points=points, pictures=1)
    page = Page(set_page(comparison_of(here, moved(here, 5.0)), "zh"))

    assert sum(path.startswith("landmarks.") for path in page.values) == points * 4
    assert ("percent_interocular.distance.mean" in page.values) == (points == 98)


def test_times_are_left_out_where_the_page_must_not_depend_on_a_clock(
    rng: np.random.Generator,
) -> None:
    """And stages that an engine does not measure have no figure."""
    here = recording_of(rng)
    here.timings[:, STAGES.index("h2d")] = np.nan
    found = comparison_of(here, moved(here, 0.1))
    timed, timeless = set_page(found), set_page(found, timed=False)

    assert 'id="latency"' in timed
    assert '<th scope="row">compute</th>' in timed
    assert '<th scope="row">h2d</th>' not in timed
    assert 'id="latency"' not in timeless
    assert "median, ms" not in timeless
    silent = replace(here, timings=np.full_like(here.timings, np.nan))
    assert "Neither side says" in set_page(comparison_of(silent, moved(silent, 0.1)))


def test_manifests_stand_beside_each_other(starter_bundle: Path, rng: np.random.Generator) -> None:
    """What differs is marked; what is the same is folded."""
    from runtime.model.manifest import read_manifest

    manifest = read_manifest(starter_bundle)
    other = msgspec.structs.replace(
        manifest, onnx=msgspec.structs.replace(manifest.onnx, opset=18, exporter="dynamo")
    )
    here = with_header(recording_of(rng), manifest=manifest)
    text = set_page(comparison_of(here, with_header(moved(here, 0.1), manifest=other)))
    differing = text.partition("<h3>Manifests</h3>")[2].partition("<details>")[0]

    assert re.findall(r"</span> ([\w.\[\]]+)</th>", differing) == ["onnx.exporter", "onnx.opset"]
    assert "<td><mark>13</mark></td><td><mark>18</mark></td>" in differing


def literals(path: Path) -> set[str]:
    """First arguments of t("...") in templates and of words("...") in code."""
    if path.suffix == ".py":
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        return {
            str(call.args[0].value)
            for call in calls
            if isinstance(call.func, ast.Name)
            and call.func.id == "words"
            and isinstance(call.args[0], ast.Constant)
        }
    from jinja2 import Environment, nodes

    return {
        call.args[0].value
        for call in Environment(autoescape=True).parse(path.read_text()).find_all(nodes.Call)
        if isinstance(call.node, nodes.Name)
        and call.node.name == "t"
        and isinstance(call.args[0], nodes.Const)
    }


def test_no_sentence_is_untranslated_and_no_translation_is_stale() -> None:
    """Every sentence of templates and code, the tables' names, and the known mark-ups' regions."""
    written = set().union(*(literals(p) for p in HTML.iterdir() if p.suffix in {".py", ".j2"}))
    heads = {*tables.LIMIT_NAMES.values(), *UNITS.values(), *tables.FRAMES, "distance"}
    heads |= {*BASES.values(), *(name for name, _ in tables.STATISTICS)}
    regions = {c.name for mark_up in (FACE_29, FACE_68, FACE_98) for c in mark_up.contours}
    names = regions | {REST_OF_THE_FACE, *STAGES, "box", "whole", "crop"}
    names |= {m.normaliser[0] for m in (FACE_29, FACE_68, FACE_98) if m.normaliser is not None}
    chinese = table_of(HTML, "zh")

    assert len(written) > 100
    assert set(chinese) == written | heads | names
    for english, other in chinese.items():
        assert other.strip()
        assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", other))
        if english not in {"P50", "P90", "P95", "P99"}:
            assert re.search(r"[\u4e00-\u9fff]", other), english


def test_a_missing_translation_is_an_error() -> None:
    """Not English in the middle of a Chinese page."""
    with pytest.raises(KeyError):
        Words("zh")("A sentence that nobody has translated.")
    assert Words("zh").known("somebody's own region") == "somebody's own region"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (3.0517578125e-05, "3.05×10⁻⁵"),  # noqa: RUF001  # as it is written
        (0.01234, "0.0123"),
        (0.1, "0.100"),
        (5.678, "5.68"),
        (123.4, "123"),
        (98765.0, "98,765"),
        (-0.25, "-0.250"),
        (float("nan"), "–"),  # noqa: RUF001  # as it is written
        (float("inf"), "∞"),
        (None, "–"),  # noqa: RUF001  # as it is written
    ],
)
def test_figures_have_three_digits(value: float | None, text: str) -> None:
    """And no more zeros than a reader can count."""
    assert figure(value) == text


def test_a_share_is_100_percent_only_where_nothing_is_missing() -> None:
    """A single coordinate in a million above the limit is not none."""
    assert [percent(s) for s in (0.0, 1e-6, 0.25, 1 - 1e-6, 1.0)] == [
        "0 %",
        "< 0.01 %",
        "25 %",
        "> 99.99 %",
        "100 %",
    ]


def test_the_command_line_writes_both_languages(
    starter_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside what goes to stdout, with the command that makes it again, quoted for a shell."""
    path = tmp_path / "it's a page.html"
    arguments = [f"{STARTER}@cpu", str(starter_bundle), "--json", "--html", str(path)]
    assert compare.main(arguments) == 0
    english = Page(path.read_text(encoding="utf-8"))
    assert json.loads(capsys.readouterr().out) == {**english.report, "skipped": {}}
    assert compare.main([*arguments, "--lang", "zh"]) == 0
    chinese = Page(path.read_text(encoding="utf-8"))

    assert ("html", {"lang": "en"}) in english.tags
    assert ("html", {"lang": "zh-CN"}) in chinese.tags
    assert "'\"'\"'s a page.html'" in english.texts["code"][-1]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("assets/test.jpg", "a file that is read, too"),
        ("no/folder/x.html", "in a folder that exists"),
        ("configs", "a folder"),
    ],
)
def test_a_page_that_cannot_be_written_is_found_out_first(
    starter_bundle: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    words: str,
) -> None:
    """Exit code 2 before anything is run."""
    monkeypatch.setattr(compare, "judged_comparison", None)
    assert compare.main([f"{STARTER}@cpu", str(starter_bundle), "--html", path]) == 2
    assert words in capsys.readouterr().err


def test_page_and_report_are_two_files(
    starter_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And a language without a page is a mistake."""
    both = ["--output", str(tmp_path / "x"), "--html", str(tmp_path / "x")]
    (tmp_path / "x").write_text("mine")
    assert compare.main([f"{STARTER}@cpu", str(starter_bundle), *both]) == 2
    assert (tmp_path / "x").read_text() == "mine"
    with pytest.raises(SystemExit, match="2"):
        compare.main(["--lang", "zh"])
    assert "--lang is about --html" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["jinja2", "matplotlib"])
def test_a_missing_package_is_found_out_first(
    starter_bundle: Path, tmp_path: Path, missing: str
) -> None:
    """Exit code 3 and the command that mends it, before the comparison is run."""
    code = (
        f"import sys\nsys.modules[{missing!r}] = None\n"
        "from parity.compare import __main__ as compare\ncompare.judged_comparison = None\n"
        "sys.exit(compare.main(sys.argv[1:]))"
    )
    html = ("--html", tmp_path / "x.html")
    done = run_python("-c", code, f"{STARTER}@cpu", starter_bundle, *html)

    assert done.returncode == 3
    assert "pip install -e '.[report]'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_comparing_without_a_page_imports_nothing_for_it() -> None:
    """Neither matplotlib nor jinja2."""
    done = run_python(
        "-c",
        "import sys, parity.compare.__main__\n"
        "print([m for m in ('matplotlib', 'jinja2', 'cv2') if m in sys.modules])",
    )

    assert done.stdout == "[]\n"


def test_the_installed_package_holds_templates_style_and_words(tmp_path: Path) -> None:
    """What hatch packs, beside the code."""
    pytest.importorskip("hatchling")
    done = run_module("hatchling", "build", "-t", "wheel", "-d", tmp_path)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as archive:
        names = set(archive.namelist())
    assert {f"parity/html/{p.name}" for p in HTML.iterdir() if p.is_file()} <= names
