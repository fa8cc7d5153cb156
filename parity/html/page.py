"""The comparison's report as one page: tables, drawings, pictures and the JSON."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from parity.html import figures, tables
from parity.html.face import face_map
from parity.html.gallery import MOST_SHOWN, gallery
from parity.html.pictures import have_pictures
from parity.html.tables import TwoSided
from parity.html.words import HERE, Words, exact, figure, percent
from parity.judging.differences import F64, error_table
from parity.judging.expected import BASES
from parity.report.record import Report
from parity.report.text import passing_options
from runtime.files import printable

if TYPE_CHECKING:
    from jinja2 import Environment

    from parity.comparison import Comparison

PAGE, STYLE, SCRIPT = "page.html.j2", "page.css", "page.js"


def as_html(
    comparison: Comparison,
    *,
    language: str,
    command: str,
    timed: bool = True,
) -> str:
    """The report as one page; the same comparison gives the same bytes.

    Args:
        comparison: the report, the two sides as they were judged, and the pictures.
        language: one of `LANGUAGES`.
        command: repeats the comparison.
        timed: show how long the sides took; False where the page must be reproducible.

    Raises:
        InputError: a recording's crops are damaged.
    """
    from markupsafe import Markup

    words = Words(language)
    report, samples = comparison.report, comparison.samples
    sides = (comparison.reference, comparison.candidate)
    topology = sides[0].header.spec.topology
    unit = report.verdict.limits.unit
    table = error_table(*sides)
    errors_px = np.abs(table.px_in(unit))
    by_point = errors_px.max(axis=2)
    pictures = np.argsort(-by_point.max(axis=1), kind="stable").tolist()
    worst_points = by_point.argmax(axis=1).tolist()
    shown = gallery(pictures, worst_points, table, sides, samples)
    times = tables.stage_times(*sides) if timed else []
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in (STYLE, SCRIPT))
    drawings = _drawings(report, errors_px, times, words)
    landmarks = [part.px_in(unit) for part in report.landmarks]
    drawings["face"] = face_map(shown.face, topology, landmarks, words)
    regions = [tables.region_of(point, topology) for point in range(len(landmarks))]
    template = _environment(words).get_template(PAGE)
    return template.render(
        **_of_report(report),
        # worst maximum first
        landmarks=sorted(range(len(landmarks)), key=lambda point: -landmarks[point].max),
        regions=regions,
        pictures=pictures,
        worst_points=worst_points,
        shown=shown,
        most_shown=MOST_SHOWN,
        can_show=have_pictures(sides, samples),
        zeros=int((errors_px == 0).sum()),
        manifests=tables.manifest_facts(*sides),
        has_manifest=tuple(side.header.manifest is not None for side in sides),
        times=times,
        timed=timed,
        command=command,
        # made here, or escaped for its place
        drawings={name: Markup(svg) for name, svg in drawings.items()},  # noqa: S704
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
        policy=_policy(style, script),
    )


def _of_report(report: Report) -> dict[str, Any]:
    """What the template is given of the report alone."""
    from markupsafe import Markup

    return {
        "report": report,
        "limit_names": tables.LIMIT_NAMES,
        "share_of": tables.share_of,
        "bases": BASES,
        "columns": tables.columns(report),
        "statistics": tables.STATISTICS,
        "facts": tables.facts(report),
        "passing": passing_options(report.verdict.smallest_passing),
        "json": Markup(_inert_json(report)),  # noqa: S704  # escaped for its place
    }


def _drawings(
    report: Report, errors_px: F64, times: Sequence[TwoSided[tuple[float, float]]], words: Words
) -> dict[str, str]:
    """The figures by name; an empty one is left out."""
    limits = report.verdict.limits
    drawn: dict[str, str] = {}
    if (errors_px[np.isfinite(errors_px)] > 0).any():
        distances_px = np.hypot(errors_px[..., 0], errors_px[..., 1])
        drawn["histogram"] = figures.histogram(errors_px, limits, words)
        drawn["cumulative"] = figures.cumulative(errors_px, distances_px, limits, words)
        drawn["regions"] = figures.regions(report.regions, limits, words)
    if times:
        medians = (
            {time.name: time.reference[0] for time in times if time.reference},
            {time.name: time.candidate[0] for time in times if time.candidate},
        )
        drawn["stages"] = figures.stages(medians, words)
    return drawn


def _environment(words: Words) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.globals |= {"t": words, "language": words.language, "known": words.known}
    environment.filters |= {"figure": figure, "exact": exact, "percent": percent}
    return environment


def _finalize(value: Any) -> Any:
    """Escape control characters: names come from files and recordings."""
    from markupsafe import Markup

    if isinstance(value, str) and not isinstance(value, Markup):
        return printable(value)
    return value


def _inert_json(report: Report) -> str:
    """The report as JSON in which no HTML parser sees a tag or a comment."""
    text = msgspec.json.encode(report).decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _policy(style: str, script: str) -> str:
    """The content security policy: the page's own style and script, and pictures inside it."""
    hashes = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (style, script)
    ]
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{hashes[0]}';"
        f" script-src 'sha256-{hashes[1]}'; base-uri 'none'; form-action 'none'"
    )
