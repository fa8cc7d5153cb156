"""Whose machine this is: the names that a text must not carry away."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.doctor.plain_files import open_plain

LONGEST_HOSTNAME_BYTES = 4096
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
        hosts=longest_first(map(_readable, hosts - {"localhost"})),
        users=longest_first(map(_readable, users)),
        homes=longest_first(_readable(home).rstrip("/") for home in homes if home.startswith("/")),
    )


def longest_first(names: Iterable[str]) -> tuple[str, ...]:
    """Names in the order in which they are replaced; empty ones left out."""
    return tuple(sorted({one for one in names if one}, key=lambda one: (-len(one), one)))


def _readable(name: str) -> str:
    """A name of the system's as texts hold it: where the locale cannot, Python keeps its bytes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


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
