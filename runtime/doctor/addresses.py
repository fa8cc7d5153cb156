"""Addresses of machines and network cards in a text, and what only looks like one."""

from __future__ import annotations

import ipaddress
import re

IP, MAC = "<ip>", "<mac>"
_MAC = re.compile(r"(?<![\w:-])(?:[0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}(?![\w:-])")
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\.?\w)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9a-fA-F]*:[0-9a-fA-F:]*:[0-9a-fA-F]*(?:\.\d+){0,3}(?![\w:])")
_BEFORE_VERSION = re.compile(r"(?i)(?:version|release|npu-smi|==)[^\w\n]{0,40}$")
LOOK_BACK = 80
# Every address that names one machine lies in these; c10::d, a::b and fe::ab, as C++ has them, in
# none. Source: IANA's registry of the IPv6 address space: global unicast, unique local, link-local.
_OF_MACHINES = tuple(map(ipaddress.IPv6Network, ("2000::/3", "fc00::/7", "fe80::/10")))


def without_addresses(text: str) -> str:
    """A text with a mark in the place of each address."""
    text = _MAC.sub(MAC, text)
    for address in (_IPV4, _IPV6):
        text = address.sub(_without_ip, text)
    return text


def without_addresses_in_bytes(data: bytes) -> bytes:
    """Bytes with each address overwritten by as many x."""
    for address in (_MAC, _IPV4, _IPV6):
        data = re.sub(address.pattern.encode(), _crosses, data)
    return data


def _without_ip(match: re.Match[str]) -> str:
    before = match.string[max(0, match.start() - LOOK_BACK) : match.start()]
    return IP if _is_address(match[0], before) else match[0]


def _crosses(match: re.Match[bytes]) -> bytes:
    before = match.string[max(0, match.start() - LOOK_BACK) : match.start()].decode("latin-1")
    return b"x" * len(match[0]) if _is_address(match[0].decode("latin-1"), before) else match[0]


def _is_address(text: str, before: str) -> bool:
    """Whether it is one, and not a version, a time of day, or a name in C++."""
    if _BEFORE_VERSION.search(before):
        return False
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return bool(_MAC.fullmatch(text))
    return found.version == 4 or any(found in network for network in _OF_MACHINES)
