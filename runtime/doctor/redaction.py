"""Removes from texts whose they are and where they come from, before they leave the machine.

Replaced are the host's name and the user's (`<host>`, `<user>`), the home folder (`~`), IP and MAC
addresses (`<ip>`, `<mac>`), serial numbers (`<serial>`), passwords and tokens (`<secret>`), and the
names of pictures (`<picture>`), wherever they stand. Two rules keep the rest readable:

- Names that are common words are replaced in paths only, short ones there and next to a label that
  makes a name of them: see `runtime.doctor.name_patterns`.
- What looks like an address after the word "version", "npu-smi" or "==" is a version, as in
  opencv-python==4.10.0.84.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.doctor.addresses import IP, MAC, without_addresses, without_addresses_in_bytes
from runtime.doctor.identity import Identity, longest_first
from runtime.doctor.labelled import (
    SECRET,
    SERIAL,
    labelled_serials,
    names_a_secret,
    names_a_serial,
    without_secrets,
    without_serials,
)
from runtime.doctor.name_patterns import home_pattern, is_common, is_short, patterns, spelled
from runtime.doctor.pictures import PICTURE, without_pictures
from runtime.machine.npu_smi_text import COLOUR

HOST, USER, HOME = "<host>", "<user>", "~"
MARKS = (HOST, USER, IP, MAC, SERIAL, SECRET, PICTURE)
# Common in containers and on boards, and no person's.
SYSTEM_HOMES = frozenset({"HwHiAiUser", "HwDmUser", "HwBaseUser", "HwSysUser", "ma-user"})
# A name in it may have blanks, in quotes, escaped, or where a slash follows its last word.
_WORD = r"(?:\\ |[^/\s\"':;,\\])+"
_OTHER_HOME = re.compile(
    r"(?:(?<=[\"']/home/)|(?<=[\"']/Users/))[^/\"'\\\n]+(?=\\*[\"'])"
    rf"|(?:(?<=/home/)|(?<=/Users/))(?:{_WORD}(?: {_WORD}){{0,2}}(?=/)|[^/\s\"':;,]+)"
)


@dataclass
class Redactor:
    """Replaces what `Identity` names, what gives itself away, and what was learned so far.

    A serial number is recognised by its label alone, and the blanks in a picture's name by a report
    that lists it: `learn` from everything first, so that both are replaced elsewhere, too.

    Attributes:
        who: the names of machine and account.
        serials: serial numbers.
        pictures: names of pictures.
    """

    who: Identity
    serials: set[str] = field(default_factory=set)
    pictures: set[str] = field(default_factory=set)

    def learn(self, value: Any) -> None:
        """Remember the serial numbers that a text or a JSON value labels."""
        if isinstance(value, str):
            self.serials |= set(labelled_serials(value))
        elif isinstance(value, Mapping):
            for key, one in value.items():
                self.serials |= {str(one)} if names_a_serial(str(key), one) else set()
                self.learn(one)
        elif isinstance(value, (list, tuple)):
            for one in value:
                self.learn(one)

    def text(self, text: str) -> str:
        """A text without them."""
        text = without_serials(without_secrets(COLOUR.sub("", text)))
        text = without_pictures(text, self.pictures)
        for serial in longest_first(self.serials):
            for pattern in patterns(serial):
                text = pattern.sub(rf"\g<label>{SERIAL}", text)
        for home in self.who.homes:
            text = home_pattern(home).sub(HOME, text)
        text = _OTHER_HOME.sub(_other_home, text)
        for name, mark in self._names():
            for pattern in patterns(name):
                text = pattern.sub(rf"\g<label>{mark}", text)
        return without_addresses(text)

    def value(self, value: Any) -> Any:
        """A JSON value with every text in it replaced, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self._under(str(key), one) for key, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(one) for one in value]
        return value

    def head(self, data: bytes) -> bytes:
        """Bytes of a model, each name overwritten by as many x: what follows keeps its place.

        In bytes a word has no beginning: the length before a text may look like a letter. Names
        that are common words, or short, are looked for with their slashes here, too.
        """
        for name in (*self.who.homes, *self.serials, *self.who.hosts, *self.who.users):
            pattern = spelled(name)
            if is_common(Path(name).name) or is_short(Path(name).name):
                pattern = rf"(?<![\w.-]){pattern}(?=/)" if "/" in name else f"(?<=/){pattern}(?=/)"
            written = pattern.encode("utf-8", "surrogatepass")
            data = re.sub(written, _crosses, data, flags=re.IGNORECASE)
        return without_addresses_in_bytes(data)

    def _names(self) -> Iterator[tuple[str, str]]:
        yield from ((name, HOST) for name in self.who.hosts)
        yield from ((name, USER) for name in self.who.users)

    def _under(self, key: str, value: Any) -> Any:
        """A value, with what its key makes of it."""
        if names_a_serial(key, value):
            return SERIAL
        if not isinstance(value, str):
            return self.value(value)
        if names_a_secret(key) and value:
            return SECRET
        line = f"{key}={value}"
        for name, mark in self._names():
            if is_short(name) and any(
                found.end() == len(line) and found.end("label") == len(key) + 1
                for pattern in patterns(name)
                for found in pattern.finditer(line)
            ):
                return mark
        return self.text(value)


def _other_home(match: re.Match[str]) -> str:
    return match[0] if match[0] in SYSTEM_HOMES else USER


def _crosses(match: re.Match[bytes]) -> bytes:
    return b"x" * len(match[0])
