"""What only its label tells from other words: serial numbers, passwords and tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator

SERIAL, SECRET = "<serial>", "<secret>"

# What npu-smi, ipmitool and others call what is unique to one board. Only with a separator does a
# value follow. [V: hicann/driver, npu_info_print.c:733, 1021-1042; others as posted publicly]
_SERIAL_LABEL = (
    r"(?:serial[ _-]?(?:number|num|no\.?|nr\.?|id|#)|s/?n"
    r"|(?:board|product|chassis|system|elabel|card|pcb|module|device)[ _-]?serial"
    r"|[a-z]{0,8}die[ _-]?id|uuid|asset[ _-]?tag|序列号|资产编号)"
)
# Alone, "serial" is many other things: a number must follow it.
_BARE_LABEL = "serial"
# At the beginning of a word, of camelCase's words, too.
_BEGIN = r"(?:(?<![a-z0-9])|(?-i:(?<=[a-z])(?=[A-Z])))"
_SEPARATOR = r"[\"'\\]*[ \t\u3000]*[:=\uff1a\uff1d][ \t\u3000]*[\"'\\]*"
_VALUE = r"[^\s\"'\\,;|\uff0c\uff1b][^\"'\\,;|\r\n\uff0c\uff1b]*"
_NUMBER = r"(?=[\w.-]*\d)[\w.-]{5,}"
_SERIAL_LINE = re.compile(
    rf"(?i)({_BEGIN}(?:{_SERIAL_LABEL}{_SEPARATOR}(?={_VALUE})|{_BARE_LABEL}{_SEPARATOR}"
    rf"(?={_NUMBER}(?:$|[\s\"'\\,;|]))))({_VALUE})"
)
_SERIAL_KEY = re.compile(rf"(?i)(?:.*[^a-z0-9]|.*(?-i:(?<=[a-z])(?=[A-Z])))?{_SERIAL_LABEL}")
_BARE_KEY = re.compile(rf"(?i){_BARE_LABEL}")
# What stands there in the absence of a number.
NO_SERIAL = frozenset({"na", "n/a", "none", "null", "unknown", "default", "0", "-"})
SHORTEST_SERIAL = 5
# A word in small letters is a remark: not available, disabled.
_LIKE_A_SERIAL = re.compile(r"\d|^[^a-z]+$")

_HIDDEN = (
    r"(?:pass(?:word|wd|phrase)|secret|credentials?|token"
    r"|(?:api|access|private|secret|account)[ _-]?key(?:[ _-]?id)?)"
)
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
_SECRET_KEY = re.compile(rf"(?i)(?:.*[^a-z])?{_HIDDEN}")


def labelled_serials(text: str) -> Iterator[str]:
    """The serial numbers in a text."""
    values = (value.strip() for _, value in _SERIAL_LINE.findall(text))
    return (value for value in values if _is_serial(value))


def without_serials(text: str) -> str:
    """A text with a mark in the place of each serial number that is labelled."""
    return _SERIAL_LINE.sub(_without_serial, text)


def names_a_serial(key: str, value: object) -> bool:
    """Whether a key of a record makes a serial number of its value."""
    if not isinstance(value, (str, int)) or isinstance(value, bool) or not _is_serial(str(value)):
        return False
    return bool(_BARE_KEY.fullmatch(key) or _SERIAL_KEY.fullmatch(key))


def without_secrets(text: str) -> str:
    """A text with a mark in the place of each password and token."""
    for pattern in _SECRETS:
        text = pattern.sub(rf"\g<label>{SECRET}", text)
    return text


def names_a_secret(key: str) -> bool:
    """Whether a key of a record makes a secret of its value."""
    return _SECRET_KEY.fullmatch(key) is not None


def _is_serial(value: str) -> bool:
    if len(value) < SHORTEST_SERIAL or value.casefold() in NO_SERIAL:
        return False
    return _LIKE_A_SERIAL.search(value) is not None


def _without_serial(match: re.Match[str]) -> str:
    return f"{match[1]}{SERIAL}" if _is_serial(match[2].strip()) else match[0]
