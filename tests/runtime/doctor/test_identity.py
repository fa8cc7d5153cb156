"""The names of a machine and its account, as the system gives them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.doctor import identity as identity_module
from runtime.doctor.identity import identity
from runtime.doctor.redaction import Redactor


def test_the_system_is_asked_for_all_its_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of the host with and without its domain; of the user from variables and home."""
    real = tmp_path / "disk7/u100233"
    real.mkdir(parents=True)
    (tmp_path / "zhouyifan").symlink_to(real)
    monkeypatch.setattr("socket.gethostname", lambda: "kunpeng9.dc3.example.org")
    monkeypatch.setenv("HOME", f"{tmp_path}/zhouyifan/")
    who = identity(
        {
            "HOME": f"{tmp_path}/zhouyifan/",
            "HOSTNAME": "pod-x77",
            "USER": "zhouyifan",
            "SUDO_USER": "chenlu",
        }
    )

    assert {"kunpeng9.dc3.example.org", "kunpeng9", "dc3.example.org", "pod-x77"} <= set(who.hosts)
    assert {"zhouyifan", "chenlu", "u100233"} <= set(who.users)
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
    """Whatever lies there."""
    os.mkfifo(tmp_path / "hostname")

    assert identity_module._first_line(tmp_path / "hostname") == ""


def test_a_name_that_the_locale_cannot_spell_is_read_as_utf_8() -> None:
    """Python keeps its bytes as surrogates then, which stand in no text."""
    name = "张伟".encode().decode("ascii", "surrogateescape")
    who = identity({"USER": name, "HOME": f"/home/{name}"})

    assert "张伟" in who.users
    assert "/home/张伟" in who.homes
    assert not [one for one in who.users if any("\udc80" <= c <= "\udcff" for c in one)]
