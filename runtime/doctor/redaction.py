"""Removes from texts whose they are and where they come from, before they leave the machine.

Replaced are the host's name and the user's (`<host>`, `<user>`), the home folder (`~`), IP and MAC
addresses (`<ip>`, `<mac>`), and serial numbers (`<serial>`), wherever they stand. Two rules keep
the rest readable:

- A name that is a common word (root, admin, ascend ...), has fewer than three letters or is a
  number is replaced in paths only, as one whole part of them; any other name wherever it stands as
  a word of its own, in either case. Letters and digits make a word: `_`, `-` and `.` end it.
- What looks like an address after the word "version", "npu-smi" or "==" is a version, as in
  opencv-python==4.10.0.84.
"""

from __future__ import annotations

import getpass
import ipaddress
import os
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HOST, USER, HOME, IP, MAC, SERIAL = "<host>", "<user>", "~", "<ip>", "<mac>", "<serial>"
MARKS = (HOST, USER, IP, MAC, SERIAL)
SHORTEST_NAME = 3
# Accounts of the system, words of this trade, keys of what is collected, and the marks' own.
_COMMON_WORDS = """
    root admin administrator user users guest test tester testing demo daemon nobody operator
    ubuntu debian centos kylin openeuler euler linux docker container localhost local host server
    client node master worker box board edge gateway
    huawei ascend hwhiaiuser davinci atlas orangepi cann atc acl npu cpu gpu
    starmark runtime parity export doctor model models python pip dev data home work main build
    opt usr var tmp etc lib bin share name names path file files version release health slot
    device devices driver chip chips level about found mend engine system default public service
    serial mac json text bytes command output status packages environment findings routes
"""
COMMON = frozenset(_COMMON_WORDS.split())
# Common in containers and on boards, and no person's.
SYSTEM_HOMES = frozenset({"HwHiAiUser", "HwDmUser", "HwBaseUser", "HwSysUser", "ma-user"})
# What npu-smi and others call what is unique to one board. Only with a separator does a value
# follow.
SERIAL_LABEL = (
    r"(?:(?:product |board |elabel |chassis )?serial[ _-]?(?:number|num|no\.?)|(?:elabel[ _])?sn"
    r"|[a-z]*die[ _-]?id|uuid|asset[ _-]?tag)"
)
_SERIAL_LINE = re.compile(
    rf"(?im)((?<![a-z0-9]){SERIAL_LABEL}[\"']?[ \t]*[:=][ \t]*[\"']?)([^\s\"',;|][^\"',;|\r\n]*)"
)
_SERIAL_KEY = re.compile(rf"(?i){SERIAL_LABEL}")
# What stands there in the absence of a number.
NO_SERIAL = frozenset({"na", "n/a", "none", "null", "unknown", "default", "0", "-"})
SHORTEST_SERIAL = 5
_MAC = re.compile(r"(?<![\w:-])(?:[0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}(?![\w:-])")
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\.?\w)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9a-fA-F]*:[0-9a-fA-F:]*:[0-9a-fA-F]*(?:\.\d+){0,3}(?![\w:])")
_BEFORE_VERSION = re.compile(r"(?i)(?:version|release|npu-smi|==)[^\w\n]{0,40}$")
LOOK_BACK = 80


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Whose machine this is; the longest of each first, for one may hold another.

    Attributes:
        hosts: names of the machine.
        users: names of the account.
        homes: names of its home folder.
    """

    hosts: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    homes: tuple[str, ...] = ()


def identity(environment: Mapping[str, str] = os.environ) -> Identity:
    """Read the names of this machine and account, without the network."""
    hosts = {socket.gethostname(), os.uname().nodename, environment.get("HOSTNAME", "")}
    hosts |= {_first_line(Path("/etc/hostname"))}
    for full in list(hosts):
        short, _, domain = full.partition(".")
        hosts |= {short, domain if "." in domain else ""}
    homes = {environment.get("HOME", ""), os.path.expanduser("~")}  # noqa: PTH111  # Path's raises
    users = {environment.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER")}
    homes |= {os.path.realpath(home) for home in homes if home}
    users |= {_account()} | {Path(home).name for home in homes}
    return Identity(
        hosts=_longest_first(hosts - {"localhost"}),
        users=_longest_first(users),
        homes=_longest_first(home.rstrip("/") for home in homes if home.startswith("/")),
    )


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""  # a container's user may have no entry anywhere


def _first_line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").partition("\n")[0].strip()
    except OSError:
        return ""


def _longest_first(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({one for one in names if one}, key=lambda one: (-len(one), one)))


def is_common(name: str) -> bool:
    """Whether a name must be left alone but in paths."""
    return len(name) < SHORTEST_NAME or name.isdigit() or name.casefold() in COMMON


@dataclass
class Redactor:
    """Replaces what `Identity` names, addresses, and the serial numbers seen so far.

    A serial number is recognised by its label alone: `learn` from every text first, so that it is
    replaced where it stands without its label, too.
    """

    who: Identity
    serials: set[str] = field(default_factory=set)

    def learn(self, text: str) -> None:
        """Remember the serial numbers that a text labels."""
        values = (value.strip() for _, value in _SERIAL_LINE.findall(text))
        self.serials |= {value for value in values if _is_serial(value)}

    def text(self, text: str) -> str:
        """A text without them."""
        text = _SERIAL_LINE.sub(_without_serial, text)
        for serial in _longest_first(self.serials):
            text = _word(serial).sub(SERIAL, text)
        for home in self.who.homes:
            # /home/wei is neither in /home/wei2 nor in /backup/home/wei
            text = re.sub(rf"(?<![\w.-]){re.escape(home)}(?![\w-]|\.\w)", HOME, text)
        text = re.sub(r"(?<=/home/)[^/\s\"':;,]+", _other_home, text)
        for names, mark in ((self.who.hosts, HOST), (self.who.users, USER)):
            for name in names:
                text = _word(name).sub(mark, text)
        text = _MAC.sub(MAC, text)
        text = _IPV4.sub(_without_ip, text)
        return _IPV6.sub(_without_ip, text)

    def value(self, value: Any) -> Any:
        """A JSON value with every text in it replaced, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {
                self.text(str(key)): SERIAL
                if _SERIAL_KEY.fullmatch(str(key)) and _is_serial(str(one))
                else self.value(one)
                for key, one in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.value(one) for one in value]
        return value

    def head(self, data: bytes) -> bytes:
        """Bytes of a model, each name overwritten by as many x: what follows keeps its place.

        In bytes a word has no beginning: the length before a text may look like a letter. Names
        that are common words are looked for with their slashes here, too.
        """
        for name in (*self.who.homes, *self.serials, *self.who.hosts, *self.who.users):
            pattern = re.escape(name)
            if is_common(Path(name).name):
                pattern = rf"(?<![\w.-]){pattern}(?=/)" if "/" in name else f"(?<=/){pattern}(?=/)"
            data = re.sub(pattern.encode(), _crosses, data, flags=re.IGNORECASE)
        for address in (_MAC, _IPV4, _IPV6):
            data = re.sub(address.pattern.encode(), _crosses_for_addresses, data)
        return data


def _word(name: str) -> re.Pattern[str]:
    if is_common(name):
        return re.compile(rf"(?<=/){re.escape(name)}(?=/|$|[\s\"':;,)])", re.MULTILINE)
    return re.compile(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", re.IGNORECASE)


def _is_serial(value: str) -> bool:
    return len(value) >= SHORTEST_SERIAL and value.casefold() not in NO_SERIAL


def _without_serial(match: re.Match[str]) -> str:
    return f"{match[1]}{SERIAL}" if _is_serial(match[2].strip()) else match[0]


def _other_home(match: re.Match[str]) -> str:
    return match[0] if match[0] in SYSTEM_HOMES else USER


def _without_ip(match: re.Match[str]) -> str:
    before = match.string[max(0, match.start() - LOOK_BACK) : match.start()]
    return IP if _is_address(match[0], before) else match[0]


def _is_address(text: str, before: str) -> bool:
    """Whether it is one, and not a version, a time of day or two colons."""
    if not any(c.isalnum() for c in text) or _BEFORE_VERSION.search(before):
        return False
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return bool(_MAC.fullmatch(text))
    return True


def _crosses(match: re.Match[bytes]) -> bytes:
    return b"x" * len(match[0])


def _crosses_for_addresses(match: re.Match[bytes]) -> bytes:
    before = match.string[max(0, match.start() - LOOK_BACK) : match.start()].decode("latin-1")
    return _crosses(match) if _is_address(match[0].decode("latin-1"), before) else match[0]
