"""atc's command line: the flags, GNU getopt_long's grammar, and the values checked while parsing.

Source: hicann/ge api/atc/cmd_flag_info.cc (grammar, value sets), atc_flags.cc (flags, defaults).
Old releases parse with gflags: graphengine r1.11, 910/ge/offline/main.cc:341. Of that only this is
here: names are whole, what is no flag is ignored, and an unknown flag comes before the help.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from cann.atc_simulator.flag_table import (
    FRAMEWORKS,
    INT_FLAGS,
    SINCE,
    TEXT_FLAGS,
    VALUES,
    ZERO_OR_ONE,
)
from cann.atc_simulator.messages import MARK, AtcError, bad, fail
from cann.atc_simulator.release import Release

_TRUE = {"", "1", "t", "true", "y", "yes"}
_FALSE = {"0", "f", "false", "n", "no"}
_LARGEST_INT = 2**31 - 1


class UsageError(Exception):
    """A command line that the grammar refuses: its text goes to stderr."""


class HelpWanted(Exception):  # noqa: N818  # no error: the usage is asked for
    """--help or -h."""


@dataclass
class Flags:
    """The values of all flags, as text, and which of them the caller gave."""

    release: Release
    values: dict[str, str] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers = {name: str(value) for name, value in INT_FLAGS.items()}
        self.values = {**TEXT_FLAGS, **numbers}
        for name, since in SINCE.items():
            if self.release.number < since:
                del self.values[name]

    def __getitem__(self, name: str) -> str:
        return self.values.get(name, "")

    def number(self, name: str) -> int:
        """An int flag's value."""
        return int(self.values[name])

    def take(self, name: str, value: str) -> None:
        """Set one flag, checking its value as atc does while parsing.

        Raises:
            AtcError: E10001, E10003, E10006, E10007 or E10010.
        """
        if name in VALUES and value not in VALUES[name]:
            raise _outside(name, value)
        if name in INT_FLAGS and not (value.isascii() and value.isdigit()):
            raise fail(
                "E10003", parameter=name, value=value, reason="The value type must be [int32]."
            )
        if name in INT_FLAGS and int(value) > _LARGEST_INT:
            raise fail(
                "E10003", parameter=name, value=value, reason="The value type must be [int32]."
            )
        self.values[name] = value
        self.given[name] = value


def _outside(name: str, value: str) -> AtcError:
    if name in ZERO_OR_ONE:
        return fail("E10006", parameter=name, value=value)
    if name == "log":
        return fail("E10010", loglevel=value)
    if name == "framework":
        return fail("E10007", parameter=name, support=FRAMEWORKS)
    listed = "".join(f"[{one}] " for one in sorted(VALUES[name]))
    reason = f"The value is not within the range of values. The valid range is {listed}."
    return bad(f"--{name}", value, reason)


def parse(arguments: list[str], release: Release) -> Flags:
    """Read a command line (without the program's name) as getopt_long with ":h" would.

    Raises:
        UsageError: unknown or ambiguous flag, missing argument, words that belong to no flag.
        HelpWanted: usage was asked for before anything was wrong.
        AtcError: a value outside its set.
    """
    flags = Flags(release)
    words = [_with_underscores(_with_two_dashes(word)) for word in arguments]
    strays: list[str] = []
    help_wanted = False
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if word == "--":
            strays += words[position:]
            break
        if not word.startswith("-") or word == "-":
            strays.append(word)  # GNU getopt_long moves them to the end
            continue
        try:
            position += _one_flag(flags, word, words, position)
        except HelpWanted:
            if not release.parses_with_gflags:
                raise
            help_wanted = True
    if help_wanted:
        raise HelpWanted
    if strays and not release.parses_with_gflags:
        raise UsageError("\n".join(f"ERROR: Non-option parameter: {stray}" for stray in strays))
    return flags


def _one_flag(flags: Flags, word: str, words: list[str], position: int) -> int:
    """Take one flag; gives how many words its value used."""
    if not word.startswith("--"):
        _short(word)
    name, equals, value = word[2:].partition("=")
    full = _complete(name, flags)
    if full in ("help", "h"):
        if value.lower() in _FALSE:
            return 0
        if value.lower() not in _TRUE:
            raise fail(
                "E10003", parameter="help", value=value, reason="The value type must be [bool]."
            )
        raise HelpWanted
    if equals:
        flags.take(full, value)
        return 0
    if position >= len(words):
        message = f"ERROR: flag '{word}' is missing its argument; flag description: --{full}"
        raise UsageError(message)
    flags.take(full, words[position])
    return 1


def _short(word: str) -> None:
    if word[1] == "h":
        raise HelpWanted
    raise _unknown(word)


def _complete(name: str, flags: Flags) -> str:
    """A flag's full name: exact, or the only one that starts so."""
    names = [*flags.values, "help", "h"]
    if name in names:
        return name
    whole = flags.release.parses_with_gflags
    candidates = [] if whole else [one for one in names if one.startswith(name)]
    if len(candidates) != 1:
        raise _unknown(f"--{name}")
    return candidates[0]


def _unknown(word: str) -> UsageError:
    return UsageError(f"ERROR: unknown command line flag '{re.sub(r'^-+|=.*', '', word)}' {MARK}")


def _with_two_dashes(word: str) -> str:
    return re.sub(r"^-(?=[A-Za-z]{2,})", "--", word)


def _with_underscores(word: str) -> str:
    if not re.match(r"--[A-Za-z]{2,}", word):
        return word
    name, equals, value = word.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value


def usage(release: Release) -> str:
    """What --help prints: every flag of the release, under atc's headings.

    gflags puts the program's name before it, and looks in vain for a source file of that name.
    """
    names = sorted(Flags(release).values)
    old = release.parses_with_gflags
    head = f"atc.bin: usage: ./atc <args> {MARK}" if old else f"usage: atc <args> {MARK}"
    lines = [head, "", "===== Basic Functionality =====", "[General]"]
    lines += ["  --h/help            Show this help message", "[Input] [Output] [Target]"]
    basic = {"model", "weight", "om", "framework", "output", "soc_version", "mode", "json"}
    basic |= {"input_format", "input_shape", "dynamic_batch_size", "dynamic_dims"}
    lines += [f"  --{name}" for name in names if name in basic]
    lines += ["===== Advanced Functionality =====", "[Feature] [Model Tuning] [Debug]"]
    lines += [f"  --{name}" for name in names if name not in basic]
    lines += ["", "  No modules matched: use -help"] if old else []
    return "\n".join(lines)
