"""What went wrong in a run of ATC: one cause and one remedy, out of all that it printed.

The forms of an error, from the oldest CANN to the newest:

    E10016: text                                        until 7
    E10016: [PID: 7] time text                          8.0 to 8.3
    [PID: 7] time Title(E10016): text                   8.5 and later
    EZ9999: Inner Error!            (later: Internal error!)
    EZ9999  text                                        until 7
    EZ9999: [PID: 7] time text                          8.0 to 8.3
    EZ9999[PID: 7] time (EZ9999):  text                 8.3 and later

Under it stand "Possible Cause:", "Solution:" and "TraceBack (most recent call last):", the last
with what each caller of the failed function added.

Source: hicann/runtime src/dfx/error_manager/error_manager.cc, AssembleInnerErrorMessage and
GetErrorMessage [V] (the newest); outputs of CANN 7.0, 8.0, 8.1, 8.3 and 8.5 as users posted them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from export.atc.codes import CODES, DOCTOR, INNER, SET_ENV, meaning_of, remedy_for
from export.atc.environment import (
    OUT_OF_MEMORY,
    Explained,
    crash_of,
    was_killed,
    what_is_missing,
)
from runtime.errors import one_line
from runtime.machine.process import Finished

FAILURE = "ATC run failed"
LONGEST_SAID = 190
LONGEST_TAIL = 200
# The exit status of a command that a shell or the loader could not start.
NOT_STARTED = (126, 127)
# Where these stand, the environment may be the cause behind them, and is the better answer.
COMPILER = ("E2", "E4", "EC", "EZ", "EE")

_CODE = r"E[A-Z0-9]\d{3}[0-9A-F]"
_STAMP = r"(?:\[PID:?\s*\d+\]\s*)?(?:\d{4}[-/]\d\d[-/]\d\d[-T ]?[\d:.]*\s*)?"
_TITLE = r"[A-Z][A-Za-z]*(?:_[A-Za-z]+)+"
# dots of the operators' compiler may stand before it, without a line break
_HEADS = (
    re.compile(rf"^[\s.]*(?:{_CODE})?{_STAMP}(?:{_TITLE})?\(({_CODE})\):\s*(.*)$"),
    re.compile(rf"^[\s.]*({_CODE}):\s*{_STAMP}(?:{_TITLE}:\s+)?(.*)$"),
    re.compile(rf"^[\s.]*(E[A-Z0-9](?:{'|'.join(INNER)}))(?:\s+{_STAMP}|\[PID.*?\]\s*)(\S.*)$"),
)
_WARNING = re.compile(r"^[\s.]*(?:W[A-Z0-9]\d{4}: .*|\[PID.*\(W[A-Z0-9]\d{4}\): .*)$")
_UNKNOWN_FLAG = re.compile(r"ERROR: (unknown command line flag '[^']*'|Non-option parameter: .*)")
_PLACEHOLDER = re.compile(r"^(?:(?:inner|internal) error[!.]?|unknown error.*)?$", re.IGNORECASE)
_SECTION = re.compile(r"^(?:Possible Cause|Solution|TraceBack)\b")
_TRACEBACK = "TraceBack"
_HOST_OPTION = "host_env_"
# where in CANN's source it was reported: nothing for a reader
_PLACES = re.compile(r"\[(?:FUNC|FILE|LINE|THREAD):[^\]]*\]|^(?:\[[A-Z][A-Za-z-]*\]){2,}\s*")
_NUMBERS = re.compile(
    r"\b(?:ret|ret_?code|result|runtime result|error[ _]?code"
    r"|(?:graph|session|model|task|thread|stream|device)[ _]?id)\b\s*(?:is\b)?[\s:=\[(]*-?\w+",
    re.IGNORECASE,
)


@dataclass
class _Error:
    """A coded line, and what stands under it until the next."""

    code: str
    text: str
    under: list[str] = field(default_factory=list)

    @property
    def inner(self) -> bool:
        return self.code.endswith(INNER)

    def trace(self) -> list[str]:
        """What each caller added."""
        marks = [at for at, line in enumerate(self.under) if line.startswith(_TRACEBACK)]
        return [_plain(line) for line in self.under[marks[0] + 1 :]] if marks else []


def explain(done: Finished) -> Explained:
    """Find the cause of a failed run; the last lines where nothing better is found."""
    lines = done.output.splitlines()
    error = _chosen(_after_failure(lines)) or _chosen(lines)
    about_input = error is not None and not error.inner and not error.code.startswith(COMPILER)
    missing = None if about_input else what_is_missing(done.output)
    if missing is not None:
        prefix = f"{error.code}: " if error is not None else ""
        return Explained(cause=f"{prefix}{missing.cause}", action=missing.action)
    if was_killed(done):
        return OUT_OF_MEMORY
    if error is not None:
        return _explained(error)
    flag = _UNKNOWN_FLAG.search(done.output)
    if flag is not None:
        return Explained(
            cause=one_line(flag.group(1), LONGEST_TAIL),
            action="Leave that option out, or convert with a CANN that has it",
        )
    tail = _tail(done.output) or "no output"
    crash = crash_of(done)
    if crash is not None:
        return Explained(cause=f"{crash.cause}: {tail}", action=crash.action)
    action = "Raise --atc_timeout" if done.timed_out else "Read the log"
    if done.returncode in NOT_STARTED:
        action = f"{DOCTOR}: atc did not start"
    return Explained(cause=tail, action=action)


def warnings_in(output: str) -> tuple[str, ...]:
    """Warnings that ATC prints beside its success; they are no errors."""
    return tuple(line.strip() for line in output.splitlines() if _WARNING.match(line))


def _tail(output: str) -> str:
    """The last words, none of them cut."""
    folded = one_line(output[-20 * LONGEST_TAIL :])
    if len(folded) <= LONGEST_TAIL:
        return folded
    _, blank, whole = folded[-LONGEST_TAIL:].partition(" ")
    return f"… {whole}" if blank else f"…{folded[-LONGEST_TAIL:]}"


def _after_failure(lines: Sequence[str]) -> Sequence[str]:
    """The block under the last line that reports a failure: what is above it may be noise."""
    at = [index for index, line in enumerate(lines) if FAILURE in line]
    return lines[at[-1] + 1 :] if at else ()


def _chosen(lines: Sequence[str]) -> _Error | None:
    """The first error is the cause, unless it is one inside CANN and another follows."""
    errors = list(_errors(lines))
    outer = [error for error in errors if not error.inner]
    named = [error for error in errors if not _PLACEHOLDER.match(error.text)]
    return next(iter((*outer, *named, *errors)), None)


def _errors(lines: Sequence[str]) -> Iterator[_Error]:
    current: _Error | None = None
    for line in lines:
        match = next(filter(None, (head.match(line) for head in _HEADS)), None)
        if match is not None:
            if current is not None:
                yield current
            current = _Error(match[1], match[2].strip())
        elif current is not None and line.strip():
            current.under.append(line.strip())
    if current is not None:
        yield current


def _explained(error: _Error) -> Explained:
    text = _plain(error.text)
    if _PLACEHOLDER.match(text):
        text = next((_plain(line) for line in error.under if not _SECTION.match(line)), text)
    telling = [line for line in error.trace() if not _is_hollow(line) and line != text]
    if telling and (_is_hollow(text) or error.code.startswith(COMPILER)):
        text = telling[0] if _is_hollow(text) else f"{text}; {telling[0]}"
    cause, action = meaning_of(error.code)
    if _HOST_OPTION in text:
        # the user did not give it: ATC looks the host's system up in the ops package
        cause, action = "CANN's environment is not set", SET_ENV
    elif error.inner and re.search(r"\bunsupported op", text, re.IGNORECASE):
        cause, action = CODES["E16002"]
    line = one_line(f"{error.code}: {text}".removesuffix(": "), LONGEST_SAID)
    likely = f" (likely: {cause})" if cause else ""
    return Explained(cause=f"{line}{likely}", action=remedy_for(action, text) or "Read the log")


def _plain(line: str) -> str:
    return one_line(_PLACES.sub("", line.strip()))


def _is_hollow(text: str) -> bool:
    """Whether a line tells no more than that something failed, with numbers of CANN's own."""
    after = re.search(r"\bfail(?:ed|ure|s)?\b(.*)$", text, re.IGNORECASE)
    return not text or (after is not None and not re.search("[A-Za-z]", _NUMBERS.sub("", after[1])))
