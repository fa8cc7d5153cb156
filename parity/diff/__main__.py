"""python -m parity.diff: what differs between two bundles or recordings, and what it changes."""

from __future__ import annotations

import argparse
import sys
from itertools import groupby, takewhile
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec

from parity.diff.consequences import (
    ANOTHER_NETWORK,
    ANSWERS,
    BUNDLE_RULES,
    KINDS,
    NONE,
    RECORDING_RULES,
    ROUNDING,
    Kind,
    Rule,
    consequence_of,
)
from parity.recording.recording import RECORDING_SUFFIX, load_recording
from runtime.cli import command_line
from runtime.errors import EXIT_FOUND_WANTING, EXIT_OK, ConfigError, InputError
from runtime.files import json_text, printable, sha256_json, shown
from runtime.model.manifest import check_files, read_manifest

LONGEST_VALUE = 40
LEAD = 8
ABSENT = "nothing"
PRESENT = "there"
CONVERTED = ("om", "manifest.om")


class Difference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field that is not the same on both sides; values as JSON, shortened."""

    field: str
    kind: Kind
    a: str
    b: str
    consequence: str


class DiffReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of them; `same_answers` where none can move a point."""

    a: str
    b: str
    same_answers: bool
    differences: tuple[Difference, ...]


def diff(one: Path, other: Path) -> DiffReport:
    """Compare the manifests of two bundles, or the headers of two recordings.

    Raises:
        ConfigError: a bundle with a recording, or something that is neither.
        ArtifactError: a bundle that is damaged, or of another schema.
        InputError: a damaged recording, or the same thing twice.
    """
    if one.resolve() == other.resolve():
        raise InputError(
            "diff",
            expected="two different bundles or recordings",
            got=f"{shown(one)} twice",
            action="Name another one",
        )
    (here, kind), (there, other_kind) = _facts(one), _facts(other)
    if kind != other_kind:
        raise ConfigError(
            "diff",
            expected="two bundles or two recordings",
            got=f"a {kind} and a {other_kind}",
            action="Name two of one kind: a recording carries its bundle's manifest",
        )
    if kind == "recording" and None in (here["manifest"], there["manifest"]):
        # all its fields would be listed, where the one fact is that there is none
        for facts in (here, there):
            facts["manifest"] = None if facts["manifest"] is None else facts["manifest"]["name"]
    rules = BUNDLE_RULES if kind == "bundle" else RECORDING_RULES
    found = _differences(_flat(here), _flat(there), rules)
    return DiffReport(
        a=shown(one),
        b=shown(other),
        same_answers=not any(difference.kind in (ANSWERS, ROUNDING) for difference in found),
        differences=found,
    )


def _facts(path: Path) -> tuple[dict[str, Any], str]:
    """Its manifest or header, and which of the two it is."""
    if path.is_dir():
        manifest = read_manifest(path)
        check_files(path, manifest)  # or its hashes would be of other files
        return msgspec.to_builtins(manifest), "bundle"
    if path.suffix == RECORDING_SUFFIX:
        header = msgspec.to_builtins(load_recording(path).header)
        # thousands of pictures are one fact: the same ones in the same order, or not
        digest = sha256_json(header["pictures"])[:12]
        header["pictures"] = f"{len(header['pictures'])} pictures, {digest}"
        return header, "recording"
    raise ConfigError(
        shown(path),
        expected=f"a bundle's folder, or a recording that ends in {RECORDING_SUFFIX}",
        got="another file" if path.exists() else "nothing there",
        action="Name what python -m export or python -m parity.record wrote",
    )


def _flat(value: Any, at: str = "") -> dict[str, str]:
    """Dotted names to JSON values. A list is one value, but each converted model has its name."""
    if not isinstance(value, dict):
        return {at: msgspec.json.encode(value).decode()}
    found: dict[str, str] = {}
    for name, inner in value.items():
        inside = f"{at}.{name}" if at else name
        if inside in CONVERTED:
            for model in inner:
                found |= _flat(model, f"{inside}[{model['file']}]")
        else:
            found |= _flat(inner, inside)
    return found


def _differences(
    here: dict[str, str], there: dict[str, str], rules: tuple[Rule, ...]
) -> tuple[Difference, ...]:
    found: list[Difference] = []
    left, right = _folded(here, there), _folded(there, here)
    fields = [field for field in sorted({*left, *right}) if left.get(field) != right.get(field)]
    another_network = any(consequence_of(field, rules)[1] == ANOTHER_NETWORK for field in fields)
    for field in fields:
        kind, consequence = consequence_of(field, rules, another_network=another_network)
        a, b = _shortened(left.get(field, ABSENT), right.get(field, ABSENT))
        found.append(Difference(field=field, kind=kind, a=a, b=b, consequence=consequence))
    return tuple(sorted(found, key=lambda difference: KINDS.index(difference.kind)))


def _folded(here: dict[str, str], there: dict[str, str]) -> dict[str, str]:
    """Fields of one side; a model or file that the other side lacks is one field."""
    known = {_owner(field) for field in there}
    found: dict[str, str] = {}
    for field, value in here.items():
        owner = _owner(field)
        if owner and owner not in known:
            found[owner] = PRESENT
        else:
            found[field] = value
    return found


def _owner(field: str) -> str:
    """The converted model or the file that a field belongs to; empty for other fields."""
    before, closing, _ = field.partition("]")
    if closing:
        return before + closing
    in_files = field.removeprefix("manifest.").startswith("files.")
    return field.rpartition(".")[0] if in_files else ""


def _shortened(one: str, other: str) -> tuple[str, str]:
    """Both values, long ones from a little before where they part."""
    alike = sum(
        1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    )
    start = max(0, alike - LEAD)
    return _cut(one, start), _cut(other, start)


def _cut(value: str, start: int) -> str:
    if len(value) <= LONGEST_VALUE:
        return value
    part = value[start : start + LONGEST_VALUE]
    return f"{'…' if start else ''}{part}{'…' if start + LONGEST_VALUE < len(value) else ''}"


def as_text(report: DiffReport, *, everything: bool = False) -> str:
    """Grouped by what a difference changes, the gravest first; without effect only if asked for."""
    verdict = (
        "the same answers are expected"
        if report.same_answers
        else "something differs that can change answers"
    )
    lines = [verdict, f"A: {report.a}", f"B: {report.b}"]
    for kind in KINDS:
        inside = [difference for difference in report.differences if difference.kind == kind]
        hidden = kind == NONE and not everything
        if inside:
            lines += ["", f"{kind} ({len(inside)}{', listed by --all' if hidden else ''})"]
        for consequence, rows in groupby([] if hidden else inside, attrgetter("consequence")):
            lines += [f"  {one.field}: {one.a} -> {one.b}" for one in rows]
            lines.append(f"      {consequence}")
    if not report.differences:
        lines += ["", "nothing differs"]
    return "".join(f"{printable(line)}\n" for line in lines)


def main(argv: list[str] | None = None) -> int:
    """Compare; the exit code tells whether answers may differ.

    Returns:
        0 if the same answers are expected, 1 if not, or as `runtime.errors` lists.
    """
    return command_line.run(lambda: _diff(_parse(argv)))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = command_line.parser(
        "parity.diff",
        "What differs between two bundles, or two recordings, and what it may change.\n"
        "Nothing is run. Exit code 1: something differs that can change answers.",
        "python -m parity.diff build/star68 build/star68.rejected",
    )
    parser.add_argument("a", type=Path, metavar="A", help="a bundle's folder, or a recording")
    parser.add_argument("b", type=Path, metavar="B", help="another one of the same kind")
    parser.add_argument("--all", action="store_true", help="list what has no effect, too")
    parser.add_argument("--json", action="store_true", help="print the differences as JSON")
    return parser.parse_args(argv)


def _diff(arguments: argparse.Namespace) -> int:
    command_line.log_to_stderr()
    report = diff(arguments.a, arguments.b)
    text = json_text(report) if arguments.json else as_text(report, everything=arguments.all)
    print(text, end="")
    return EXIT_OK if report.same_answers else EXIT_FOUND_WANTING


if __name__ == "__main__":
    sys.exit(main())
