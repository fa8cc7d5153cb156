"""Removes names, addresses and secrets from texts before they leave the machine.

Replaced are the host's name and the user's (`<host>`, `<user>`), the home folder (`~`), IP and MAC
addresses (`<ip>`, `<mac>`), labelled serial numbers (`<serial>`), passwords and tokens
(`<secret>`), and the names of pictures (`<picture>`), wherever they stand. Common words and short
names are spared where they are no names (`runtime.doctor.names`), and so is what looks like an
address after the word "version", "npu-smi" or "==", as in opencv-python==4.10.0.84.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.doctor.names import (
    Identity,
    home_pattern,
    is_common,
    is_short,
    longest_first,
    patterns,
)
from runtime.machine.npu_smi_text import COLOUR

HOST, USER, HOME, PICTURE = "<host>", "<user>", "~", "<picture>"
SERIAL, SECRET, IP, MAC = "<serial>", "<secret>", "<ip>", "<mac>"
MARKS = (HOST, USER, IP, MAC, SERIAL, SECRET, PICTURE)

# Common in containers and on boards, and no person's.
SYSTEM_HOMES = ("HwHiAiUser", "HwDmUser", "HwBaseUser", "HwSysUser", "ma-user")
_OTHER_HOME = re.compile(
    rf"(?:(?<=/home/)|(?<=/Users/))(?!(?:{'|'.join(SYSTEM_HOMES)})(?![\w-]))[^/\s\"':;,\\]+"
)

_ADDRESSES = (
    re.compile(r"(?a)(?<![\w:-])(?:[0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}(?![\w:-])"),
    re.compile(r"(?a)(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\.?\w)"),
    re.compile(r"(?a)(?<![\w:.])[0-9a-fA-F]*:[0-9a-fA-F:]*:[0-9a-fA-F]*(?:\.\d+){0,3}(?![\w:])"),
)
_BEFORE_VERSION = re.compile(r"(?i)(?:version|release|npu-smi|==)[^\w\n]{0,40}$")
LOOK_BACK = 80
# Every address that names one machine lies in these; c10::d, a::b and fe::ab, as C++ has them, in
# none. Source: IANA's registry of the IPv6 address space: global unicast, unique local, link-local.
_OF_MACHINES = tuple(map(ipaddress.IPv6Network, ("2000::/3", "fc00::/7", "fe80::/10")))

_SEPARATOR = r"[\"'\\]*[ \t\u3000]*[:=\uff1a\uff1d][ \t\u3000]*[\"'\\]*"
# What npu-smi, ipmitool and others call what is unique to one board.
# [V: hicann/driver, npu_info_print.c:733, 1021-1042; others as posted publicly]
_SERIAL_LABEL = (
    r"(?:serial[ _-]?(?:number|num|no\.?|nr\.?|id|#)|s/?n"
    r"|(?:board|product|chassis|system|elabel|card|pcb|module|device)[ _-]?serial"
    r"|[a-z]{0,8}die[ _-]?id|uuid|asset[ _-]?tag|序列号|资产编号)"
)
# At the beginning of a word, of camelCase's words, too. After "serial" alone, which is many other
# things, a number must follow.
_LABELLED_SERIAL = re.compile(
    r"(?i)((?:(?<![a-z0-9])|(?-i:(?<=[a-z])(?=[A-Z])))"
    rf"(?:{_SERIAL_LABEL}{_SEPARATOR}"
    rf"|serial{_SEPARATOR}(?=(?=[\w.-]*\d)[\w.-]{{5,}}(?:$|[\s\"'\\,;|]))))"
    r"([^\s\"'\\,;|\uff0c\uff1b][^\"'\\,;|\r\n\uff0c\uff1b]*)"
)
SHORTEST_SERIAL = 5
# A word in small letters is a remark: not available, disabled.
_LIKE_A_SERIAL = re.compile(r"(?!(?i:unknown|default)$)(?:.*\d|[^a-z]+$)")

_HIDDEN = (
    r"(?:pass(?:word|wd|phrase)|secret|credentials?|token"
    r"|(?:api|access|private|secret|account)[ _-]?key(?:[ _-]?id)?)"
)
_SECRET_KEY = re.compile(rf"(?i)(?:.*[^a-z])?{_HIDDEN}")
_SECRETS = (
    # http://wei:pw123@proxy/, up to the last @ of the host's part
    re.compile(r"(?P<label>://|:\\/\\/)[^\s/?#\\\"'<>|]+(?=@)"),
    # of a query, whatever holds one of these words
    re.compile(
        r"(?i)(?P<label>(?:[?&]|&amp;)[\w.\[\]-]{0,60}?(?:token|secret|pass|pwd|sig|key|auth"
        r"|credential|session|ticket|code)[\w.\[\]-]{0,60}=)[^&\s\"'<>#;\\]+"
    ),
    re.compile(
        r"(?i)(?P<label>authorization[\"'\\]*\s*[:=]\s*[\"'\\]*(?:(?:bearer|basic|token)\s+)?)"
        r"[^\s\"'\\,]+"
    ),
    # one word and no more: prose may follow a colon
    re.compile(rf"(?i)(?P<label>(?<![a-z]){_HIDDEN}{_SEPARATOR})[^\s\"'\\,;&<]+"),
)

_SUFFIX = r"\.(?i:jpe?g|png|bmp|webp|tiff?|gif|hei[cf]|jp2|p[gpn]m)(?![^\W_])"
# All within the quotes, else the last word.
_PICTURE = re.compile(
    rf"(?<=[\"'])[^\"'/\\\n]+{_SUFFIX}(?=[\"'])"
    rf"|(?<![^\s\"'/\\=:,;|<>()\[\]*])[^\s\"'/\\=:,;|<>()\[\]*]+{_SUFFIX}"
)
# As recordings, comparisons and reports of this project call lists of pictures.
PICTURE_LISTS = ("pictures", "unreadable", "crops_that_differ")


@dataclass
class Redactor:
    """Replaces what `Identity` names, what gives itself away, and what was learned so far.

    A serial number is recognised by its label alone, and the blanks in a picture's name by a report
    that lists it: `learn` from everything first, so that both are replaced elsewhere, too.
    """

    who: Identity
    serials: set[str] = field(default_factory=set)
    pictures: set[str] = field(default_factory=set)

    def learn(self, value: Any) -> None:
        """Remember the serial numbers that a text or a JSON value labels."""
        if isinstance(value, str):
            found = (match[2].strip() for match in _LABELLED_SERIAL.finditer(value))
            self.serials |= set(filter(_is_serial, found))
        elif isinstance(value, Mapping):
            for key, one in value.items():
                self.learn(f"{key}={one}" if isinstance(one, (str, int)) else one)
        elif isinstance(value, (list, tuple)):
            for one in value:
                self.learn(one)

    def text(self, text: str) -> str:
        """Replace them in a text."""
        text = COLOUR.sub("", text)
        for pattern in _SECRETS:
            text = pattern.sub(rf"\g<label>{SECRET}", text)
        text = _LABELLED_SERIAL.sub(_without_serial, text)
        text = _without_pictures(text, self.pictures)
        for home in self.who.homes:
            text = home_pattern(home).sub(HOME, text)
        text = _OTHER_HOME.sub(USER, text)
        for name, mark in self._names():
            for pattern in patterns(name):
                text = pattern.sub(rf"\g<label>{mark}", text)
        return _without_addresses(text)

    def value(self, value: Any) -> Any:
        """Replace them in every text of a JSON value, keys included."""
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
        that are common words, or short, are looked for between slashes.
        """
        text = data.decode("latin-1")
        for name in (*self.who.homes, *(name for name, _ in self._names())):
            written = re.escape(name.encode("utf-8", "replace").decode("latin-1"))
            last = Path(name).name
            if is_common(last) or is_short(last):
                written = (
                    f"(?<![a-zA-Z0-9.-]){written}(?=/)" if "/" in name else f"(?<=/){written}(?=/)"
                )
            text = re.sub(written, lambda found: "x" * len(found[0]), text, flags=re.IGNORECASE)
        return _without_addresses(text, keep_length=True).encode("latin-1")

    def _names(self) -> Iterator[tuple[str, str]]:
        yield from ((serial, SERIAL) for serial in longest_first(self.serials))
        yield from ((name, HOST) for name in self.who.hosts)
        yield from ((name, USER) for name in self.who.users)

    def _under(self, key: str, value: Any) -> Any:
        """A value, with what its key makes of it."""
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            return self.value(value)
        if isinstance(value, str) and value and _SECRET_KEY.fullmatch(key):
            return SECRET
        labelled = self.text(f"{key}={value}").partition("=")[2]
        return labelled if labelled in MARKS else self.value(value)


def counted(value: Any, names: set[str]) -> Any:
    """A report with the number of its pictures in place of their lists; `names` learns theirs."""
    if isinstance(value, list):
        return [counted(one, names) for one in value]
    if not isinstance(value, dict):
        return value
    made = {}
    for key, one in value.items():
        if key in PICTURE_LISTS and isinstance(one, list):
            names |= {str(each["name"] if isinstance(each, dict) else each) for each in one}
            made[key] = len(one)
        else:
            made[key] = counted(one, names)
    return made


def _without_pictures(text: str, known: Collection[str]) -> str:
    for name in longest_first(known):
        if re.search(rf"{_SUFFIX}$", name):
            text = text.replace(name, PICTURE)
    return _PICTURE.sub(PICTURE, text)


def _is_serial(value: str) -> bool:
    return len(value) >= SHORTEST_SERIAL and _LIKE_A_SERIAL.match(value) is not None


def _without_serial(match: re.Match[str]) -> str:
    return f"{match[1]}{SERIAL}" if _is_serial(match[2].strip()) else match[0]


def _without_addresses(text: str, *, keep_length: bool = False) -> str:
    def replaced(match: re.Match[str]) -> str:
        before = match.string[max(0, match.start() - LOOK_BACK) : match.start()]
        if _BEFORE_VERSION.search(before):
            return match[0]
        if pattern is _ADDRESSES[0]:
            mark = MAC
        elif _is_ip(match[0]):
            mark = IP
        else:
            return match[0]
        return "x" * len(match[0]) if keep_length else mark

    for pattern in _ADDRESSES:
        text = pattern.sub(replaced, text)
    return text


def _is_ip(text: str) -> bool:
    """Whether it is one, and not a version, a time of day, or a name in C++."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    return found.version == 4 or any(found in network for network in _OF_MACHINES)
