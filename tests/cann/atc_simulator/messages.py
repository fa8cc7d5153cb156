"""The errors and warnings atc prints: codes, titles, texts, and the looks of a block.

Source: hicann/ge base/common/error_registry (codes, titles and texts), hicann/runtime
src/dfx/error_manager (how several errors become one block).
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from cann.atc_simulator.release import Release

MARK = "(simulated)"
CATALOGUE: dict[str, dict[str, str]] = json.loads(
    (Path(__file__).parent / "catalogue.json").read_text(encoding="utf-8")
)


@dataclass(frozen=True)
class Message:
    """One error or warning."""

    code: str
    text: str


def message(code: str, **arguments: object) -> Message:
    """Fill a text of the catalogue; a code it lacks gets a text that says so."""
    if code not in CATALOGUE:
        return Message(code, "An error that the catalogue has no text for")
    return Message(code, CATALOGUE[code]["text"].format(**arguments))


def injected_message(code: str) -> Message:
    """A code that was ordered: nothing is wrong, so nothing fills its text."""
    text = CATALOGUE[code]["text"] if code in CATALOGUE else "injected"
    return Message(code, re.sub(r"\{\w+\}", "INJECTED", text))


class AtcError(Exception):
    """What ends a run: one or several errors, the first of which is the one atc names."""

    def __init__(self, *messages: Message) -> None:
        super().__init__(*messages)
        self.messages = messages


def fail(code: str, **arguments: object) -> AtcError:
    """The exception for one error of the catalogue."""
    return AtcError(message(code, **arguments))


def bad(parameter: str, value: object, reason: str) -> AtcError:
    """The most common error: E10001, a value that an option does not take."""
    return fail("E10001", parameter=parameter, value=value, reason=reason)


@dataclass
class Journal:
    """What was said while working: warnings come out after success."""

    warnings: list[Message] = field(default_factory=list)

    def warn(self, code: str, **arguments: object) -> None:
        """Keep a warning once."""
        one = message(code, **arguments)
        if one not in self.warnings:
            self.warnings.append(one)


def block(messages: tuple[Message, ...], release: Release) -> str:
    """The text of an error block: the first error that is not inner, then the others."""
    outer = [one for one in messages if not one.code.endswith("9999")]
    first = outer[0] if outer else messages[0]
    others = [one for one in messages if one is not first]
    lines = []
    if first.code.endswith("9999"):
        kind = "Internal error!" if release.flush_traceback else "Inner Error!"
        lines.append(f"{first.code}: {kind}")
    lines.append(headline(first, release))
    if solution := CATALOGUE.get(first.code, {}).get("solution"):
        lines.append(f"        Solution: {solution} {MARK}")
    traceback = "TraceBack (most recent call last):"
    lines.append(traceback if release.flush_traceback else f"        {traceback}")
    # one space less under an inner error of the newer looks [V: AssembleInnerErrorMessage]
    indent = 7 if first.code.endswith("9999") and release.bracketed_codes else 8
    lines += [f"{' ' * indent}{one.text} {MARK}" for one in others]
    lines.append(f"{' ' * indent}atc ran on a simulator: no CANN was involved {MARK}")
    return "\n".join(lines)


def headline(one: Message, release: Release) -> str:
    """Code and text in the look of the release."""
    inner = one.code.endswith("9999")
    if release.plain_errors:
        return f"{one.code}{'  ' if inner else ': '}{one.text} {MARK}"
    now = datetime.now(tz=timezone.utc)
    stamp = f"{now:%Y-%m-%d-%H:%M:%S}.{now.microsecond // 1000:03d}.{now.microsecond % 1000:03d}"
    head = f"[PID: {os.getpid()}] {stamp}"
    if not release.bracketed_codes:
        return f"{one.code}: {head} {one.text} {MARK}"
    if inner:
        return f"{one.code}{head} ({one.code}):  {one.text} {MARK}"
    title = CATALOGUE.get(one.code, {}).get("title") or "Unknown_Error"
    return f"{head} {title}({one.code}): {one.text} {MARK}"
