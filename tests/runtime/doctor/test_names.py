"""The names of a machine and its account, and which of them may be replaced where."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from runtime.doctor import names
from runtime.doctor.names import identity, spelled
from runtime.doctor.redaction import Redactor


def test_the_system_is_asked_for_all_its_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of the host with and without its domain; of the user from variables and home."""
    real = tmp_path / "disk7/u100233"
    real.mkdir(parents=True)
    (tmp_path / "zhouyifan").symlink_to(real)
    monkeypatch.setattr("socket.gethostname", lambda: "kunpeng9.dc3.example.org")
    home = f"{tmp_path}/zhouyifan/"
    monkeypatch.setenv("HOME", home)
    who = identity({"HOME": home, "HOSTNAME": "pod-x77", "USER": "zhou", "SUDO_USER": "chenlu"})

    assert {"kunpeng9.dc3.example.org", "kunpeng9", "dc3.example.org", "pod-x77"} <= set(who.hosts)
    assert {"zhouyifan", "zhou", "chenlu", "u100233"} <= set(who.users)
    assert {f"{tmp_path}/zhouyifan", str(real)} <= set(who.homes)
    assert list(who.homes) == sorted(who.homes, key=lambda one: (-len(one), one))


def test_a_container_without_a_user_or_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """No entry anywhere, and a home that is the root of everything."""

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 7777")

    monkeypatch.setattr("getpass.getuser", nobody)
    monkeypatch.setenv("HOME", "/")
    who = identity({"HOME": "/"})

    assert who.homes == ()
    assert Redactor(who).text("/usr/local/Ascend") == "/usr/local/Ascend"


def test_a_pipe_in_the_place_of_the_hosts_name_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "hostname")

    assert names._first_line(tmp_path / "hostname") == ""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("José", r"Jos\u00e9"),
        ("José", "Jos%C3%A9"),
        ("zhang san", "zhang%20san"),
        ("𠮷野", r"\ud842\udfb7\u91ce"),
        ("a/b", r"a\/b"),
    ],
)
def test_how_json_and_urls_spell_a_name(name: str, text: str) -> None:
    """The forms are written by hand."""
    assert re.fullmatch(spelled(name), text, re.IGNORECASE)
    assert re.fullmatch(spelled(name), name)
