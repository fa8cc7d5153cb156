r"""How a name stands in a text: as a word of its own, next to a label, in a path, or escaped.

Letters and digits make a word: `_`, `-` and `.` end it, and so does an escape such as the n of
"\n". Chinese and other scripts are written without spaces: beside their characters a word ends,
and a name of theirs is found in the middle of a sentence.

A name falls into one of three classes:

- A common word (root, admin, ascend) is replaced in paths only, as one whole part of them.
- A short name is too much like a word: two Latin letters (li, bj), a number, one Chinese
  character. It is replaced in paths, and next to what makes a name of it: user=li, li@bj, host bj.
- Any other is replaced wherever it stands. Two Chinese characters are enough for that.
"""

from __future__ import annotations

import re
from functools import lru_cache

from runtime.doctor.identity import COMMON

SHORTEST_NAME = 3
# Of a character that stands for a syllable, against 1 of a letter.
WEIGHT_OF_A_SYLLABLE = 2
# Chinese, Japanese and Korean; Thai and Lao.
_SPACELESS = (
    "\u0e00-\u0eff\u3005-\u3007\u3040-\u318f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_SYLLABLE = re.compile(f"[{_SPACELESS}]")
# Their last letter or digit is none of the word behind it.
_ESCAPES = (
    *(r"\\[abfnrtv0]", r"\\u[0-9a-fA-F]{4}", r"\\x[0-9a-fA-F]{2}", r"\\[0-7]{3}"),
    "%[0-9a-fA-F]{2}",
)
_BEHIND_AN_ESCAPE = "".join(f"|(?<={one})" for one in _ESCAPES)
_BEGIN = rf"(?:(?<![^\W_])|(?<=[{_SPACELESS}]){_BEHIND_AN_ESCAPE})"
_END = rf"(?:(?![^\W_])|(?=[{_SPACELESS}]))"
_END_OF_PART = r"(?=/|$|[\s\"':;,)\\])"
# Of an escape; JSON in JSON has more than one.
_SLASHES = r"\\{1,4}"
# What makes a name of the word behind it.
_LABELS = (
    r"user(?:[ _-]?name)?|usr|log(?:in|name)|owner|account|group|[ug]id"
    r"|host(?:[ _-]?name)?|nodename|node|machine|computer|server"
)
_CHINESE_LABELS = "用户名?|账[号户]|主机名?|服务器|节点|机器"
_BEFORE_A_NAME = (
    rf"(?<![a-zA-Z])(?:{_LABELS})(?:[\"'\\]*[ \t]*[=:\uff1a][ \t]*|[ \t]+)[\"'`(\[\\]*"
    rf"|(?:{_CHINESE_LABELS})[ \t]*[=:\uff1a]?[ \t]*[\"'`(\[\\]*"
    r"|(?<![^\W_])(?:ssh|ping|chown|su(?: -)?|sudo -u)[ \t]+"
    # li@bj, the output of id, an address, a line of a system's log, a home
    r"|@|[=,]\d+\(|://|\d:\d\d[ \t]|(?<![^\W_/])~"
)
_BEHIND_A_NAME = r"@[\w\[<]|:/"


def is_common(name: str) -> bool:
    """Whether a name is a word that many machines share, to be left alone but in paths."""
    return name.casefold() in COMMON


def is_short(name: str) -> bool:
    """Whether a name is too short, or too much of a number, to be replaced wherever it stands."""
    weight = len(name) + (WEIGHT_OF_A_SYLLABLE - 1) * len(_SYLLABLE.findall(name))
    return weight < SHORTEST_NAME or name.isdigit()


def spelled(name: str) -> str:
    """The pattern of a name as it is, and escaped by JSON, a URL, Python or a shell."""
    return "".join(map(_spelled, name))


@lru_cache(maxsize=256)
def patterns(name: str) -> tuple[re.Pattern[str], ...]:
    """The patterns to replace a name by; what their group "label" holds stays.

    Args:
        name: of a machine or an account.
    """
    written = spelled(name)
    # its first letter decides first: most places in a text need no second look
    first = f"(?={spelled(name[0])})"
    in_path = rf"(?P<label>(?<=/)){written}{_END_OF_PART}"
    if is_common(name):
        return (re.compile(in_path, re.MULTILINE),)
    if is_short(name):
        begin, end = (r"(?<![^\W_])", r"(?![^\W_])") if _SYLLABLE.match(name) else (_BEGIN, _END)
        found = [in_path, rf"(?P<label>{_BEFORE_A_NAME}){written}{end}"]
        behind = end if _SYLLABLE.match(name) else f"(?={_BEHIND_A_NAME})"
        found.append(rf"(?P<label>){first}{begin}{written}{behind}")
        return tuple(re.compile(one, re.IGNORECASE | re.MULTILINE) for one in found)
    begin = "" if _SYLLABLE.match(name[0]) else _BEGIN
    end = "" if _SYLLABLE.match(name[-1]) else _END
    return (re.compile(rf"(?P<label>){first}{begin}{written}{end}", re.IGNORECASE),)


@lru_cache(maxsize=64)
def home_pattern(home: str) -> re.Pattern[str]:
    """The pattern of a home folder: /home/wei is neither in /home/wei2 nor /backup/home/wei."""
    begin = rf"(?={spelled(home[0])})(?:(?<![\w.-]){_BEHIND_AN_ESCAPE})"
    return re.compile(rf"{begin}{spelled(home)}(?![\w-]|\.\w)", re.IGNORECASE)


def _spelled(char: str) -> str:
    if char.isascii() and (char.isalnum() or char == "_"):
        return char
    bytes_utf8 = char.encode("utf-8", "replace")
    units = char.encode("utf-16-be", "replace").hex()
    escapes = {
        "".join(rf"{_SLASHES}u{units[i : i + 4]}" for i in range(0, len(units), 4)),
        rf"{_SLASHES}U{ord(char):08x}",
        "".join(f"%{one:02x}" for one in bytes_utf8),
        "".join(rf"{_SLASHES}x{one:02x}" for one in bytes_utf8),
        "".join(rf"{_SLASHES}{one:03o}" for one in bytes_utf8),
    }
    if char.isascii():
        escapes.add(rf"{_SLASHES}{re.escape(char)}")  # a shell's blank, JSON's slash
    if len(bytes_utf8) == len("é".encode()):
        escapes.add(rf"{_SLASHES}x{ord(char):02x}")
    return f"(?:{'|'.join([re.escape(char), *sorted(escapes)])})"
