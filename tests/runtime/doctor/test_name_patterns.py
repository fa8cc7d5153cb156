"""Which names may be replaced where."""

from __future__ import annotations

import re

import pytest

from runtime.doctor.name_patterns import home_pattern, is_common, is_short, patterns, spelled


@pytest.mark.parametrize(
    ("name", "common", "short"),
    [
        ("root", True, False),
        ("Admin", True, False),
        ("管理员", True, False),
        ("pi", False, True),
        ("li", False, True),
        ("1000", False, True),
        ("20231107", False, True),
        ("李", False, True),
        ("wei", False, False),
        ("张伟", False, False),
        ("李x", False, False),
        ("김철", False, False),
    ],
)
def test_which_class_a_name_is_of(name: str, common: bool, short: bool) -> None:
    """A character of Chinese weighs as much as two letters."""
    assert (is_common(name), is_short(name)) == (common, short)


def found(name: str, text: str) -> bool:
    return any(pattern.search(text) for pattern in patterns(name))


@pytest.mark.parametrize(
    ("name", "text", "there"),
    [
        ("李", "由 李 转换", True),
        ("李", "user=李", True),
        ("李", "行李和桃李满", False),
        ("20231107", "user: 20231107", True),
        ("20231107", "timestamp=20231107_030405", False),
        ("wei", "weit hawei", False),
        ("wei", "用户wei的", True),
        ("root", "user=root", False),
        ("root", "/data/root/x", True),
    ],
)
def test_where_a_name_is_found(name: str, text: str, there: bool) -> None:
    assert found(name, text) is there


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("José", r"Jos\u00e9"),
        ("José", r"Jos\xe9"),
        ("José", r"Jos\xc3\xa9"),
        ("José", "Jos%C3%A9"),
        ("José", r"Jos\303\251"),
        ("zhang san", r"zhang\ san"),
        ("zhang san", "zhang%20san"),
        ("zhang san", r"zhang\040san"),
        ("𠮷野", r"\ud842\udfb7\u91ce"),
        ("𠮷野", r"\U00020BB7\u91CE"),
        ("a/b", r"a\/b"),
    ],
)
def test_how_a_name_may_be_spelled(name: str, text: str) -> None:
    """By JSON, Python, a URL and a shell: the forms are their own, written by hand."""
    assert re.fullmatch(spelled(name), text, re.IGNORECASE)
    assert re.fullmatch(spelled(name), name)


def test_a_home_is_one_whole_path() -> None:
    home = home_pattern("/home/wei")

    assert home.sub("~", "/home/wei/x %2Fhome%2Fwei%2Fx") == "~/x ~%2Fx"
    assert home.sub("~", "/home/wei2 /backup/home/wei /home/wei.bak") == (
        "/home/wei2 /backup/home/wei /home/wei.bak"
    )
