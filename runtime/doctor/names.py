r"""The names of this machine and its account, and how they stand in a text.

A name is a word of its own, in any case of letters. Letters and digits make a word: `_`, `-` and
`.` end it, and so do an escape (the n of "\n") and any character of a script without spaces, so
that a Chinese name is found in the middle of a sentence. A name falls into one of three classes:

- A common word (root, admin, ascend) is replaced in paths only, as one whole part of them.
- A short name is too much like a word: two Latin letters (li, bj), a number, one Chinese
  character. It is replaced in paths, and next to what makes a name of it: user=li, li@bj, host bj.
- Any other is replaced wherever it stands. Two Chinese characters are enough for that.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from runtime.doctor.plain_files import open_plain

LONGEST_HOSTNAME_BYTES = 4096
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
    picture pictures secret secrets
    用户 管理员 测试 开发 访客 默认 主机 服务器 节点 设备 系统 数据 模型 华为 昇腾
"""
COMMON = frozenset(_COMMON_WORDS.split())

# Only ASCII letters and digits join a name to its neighbours; the last one of an escape does not.
_ESCAPES = (r"\\[bfnrt]", r"\\u[0-9a-fA-F]{4}", "%[0-9a-fA-F]{2}")
_BEHIND_AN_ESCAPE = "".join(f"|(?<={one})" for one in _ESCAPES)
_BEGIN = rf"(?:(?<![a-zA-Z0-9]){_BEHIND_AN_ESCAPE})"
_END = r"(?![a-zA-Z0-9])"
_END_OF_PART = r"(?=/|$|[\s\"':;,)\\])"
# JSON in JSON has more than one backslash.
_SLASHES = r"\\{1,4}"
# What makes a name of the word behind it: a label, li@bj, the output of id, a line of a
# system's log, a home.
_LABELS = (
    r"user(?:[ _-]?name)?|logname|owner|account|group|host(?:[ _-]?name)?|node(?:name)?|server"
)
_BEFORE_A_NAME = (
    rf"(?<![a-zA-Z])(?:{_LABELS})(?:[\"'\\]*[ \t]*[=:\uff1a][ \t]*|[ \t]+)[\"'`(\[\\]*"
    r"|(?:用户名?|主机名?)[ \t]*[=:\uff1a]?[ \t]*[\"'`(\[]*"
    r"|@|[=,]\d+\(|\d:\d\d[ \t]|(?<![^\W_/])~"
)
_BEHIND_A_NAME = r"(?=@[\w\[<]|:/)"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Whose machine this is; the longest of each first, for one may hold another."""

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
    homes |= {os.path.realpath(home) for home in homes if home}
    users = {environment.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER")}
    users |= {_account()} | {Path(home).name for home in homes}
    return Identity(
        hosts=longest_first(hosts - {"localhost"}),
        users=longest_first(users),
        homes=longest_first(home.rstrip("/") for home in homes if home.startswith("/")),
    )


def longest_first(names: Iterable[str]) -> tuple[str, ...]:
    """Names in the order in which they are replaced; empty ones left out."""
    return tuple(sorted({one for one in names if one}, key=lambda one: (-len(one), one)))


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""  # a container's user may have no entry anywhere


def _first_line(path: Path) -> str:
    try:
        with open_plain(path) as file:
            text = file.read(LONGEST_HOSTNAME_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    return text.partition("\n")[0].strip()


def is_common(name: str) -> bool:
    """Whether a name is a word that many machines share, to be left alone but in paths."""
    return name.casefold() in COMMON


def is_short(name: str) -> bool:
    """Whether a name is too short, or too much of a number, to be replaced wherever it stands."""
    # a character from CJK on stands for a syllable
    weight = sum(1 if char < "\u2e80" else 2 for char in name)
    return weight < SHORTEST_NAME or name.isdigit()


@lru_cache(maxsize=256)
def patterns(name: str) -> tuple[re.Pattern[str], ...]:
    """The patterns that find a machine's or an account's name; their group "label" stays."""
    written = spelled(name)
    in_path = rf"(?P<label>(?<=/)){written}{_END_OF_PART}"
    if is_common(name):
        return (re.compile(in_path, re.MULTILINE),)
    begin = _BEGIN if name[0].isascii() else ""
    end = _END if name[-1].isascii() else ""
    found = [rf"(?P<label>){begin}{written}{end}"]
    if is_short(name):
        found = [
            in_path,
            rf"(?P<label>{_BEFORE_A_NAME}){written}{end}",
            rf"(?P<label>){begin}{written}{_BEHIND_A_NAME}",
        ]
    return tuple(re.compile(one, re.IGNORECASE | re.MULTILINE) for one in found)


@lru_cache(maxsize=64)
def home_pattern(home: str) -> re.Pattern[str]:
    """The pattern of a home folder: /home/wei is neither in /home/wei2 nor /backup/home/wei."""
    begin = rf"(?:(?<![\w.-]){_BEHIND_AN_ESCAPE})"
    return re.compile(rf"{begin}{spelled(home)}(?![\w-]|\.\w)", re.IGNORECASE)


def spelled(name: str) -> str:
    r"""The pattern of a name as it is, and as JSON ("\u4f1f", "\/") and a URL ("%E4") escape it."""
    return "".join(map(_spelled, name))


def _spelled(char: str) -> str:
    if char.isascii() and char.isalnum():
        return char
    in_url = "".join(f"%{one:02x}" for one in char.encode("utf-8", "replace"))
    if char.isascii():
        return rf"(?:\\{{0,4}}{re.escape(char)}|{in_url})"
    units = char.encode("utf-16-be", "replace").hex()
    in_json = "".join(f"{_SLASHES}u{units[i : i + 4]}" for i in range(0, len(units), 4))
    return f"(?:{char}|{in_url}|{in_json})"
