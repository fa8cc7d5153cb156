"""Who and where a text comes from does not leave the machine, and nothing else is lost."""

from __future__ import annotations

import json
import time

import pytest

from runtime.doctor.box import LONGEST_TEXT_BYTES
from runtime.doctor.identity import Identity
from runtime.doctor.redaction import Redactor

WHO = Identity(
    hosts=("inspur-7f.lab.example", "lab.example", "inspur-7f"),
    users=("liwenqiang",),
    homes=("/home/liwenqiang",),
)
CHINESE = Identity(
    hosts=("zs-昇腾一号.lab.example", "zs-昇腾一号"), users=("张伟",), homes=("/home/张伟",)
)
SHORT = Identity(hosts=("bj",), users=("li",), homes=("/home/li",))
ROOT = Identity(hosts=("ascend",), users=("root",), homes=("/srv/root",))


def clean(text: str, who: Identity = WHO) -> str:
    made = Redactor(who)
    made.learn(text)
    return made.text(text)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("/home/liwenqiang/x.om", "~/x.om"),
        ("HOME=/home/liwenqiang", "HOME=~"),
        ("a:/home/liwenqiang/.local/bin:b", "a:~/.local/bin:b"),
        ("Saved in /home/liwenqiang.", "Saved in ~."),
        ("/backup/home/liwenqiang/x", "/backup/home/<user>/x"),
        ("/home/liwenqiang2/x", "/home/<user>/x"),
        ("/home/HwHiAiUser/Ascend", "/home/HwHiAiUser/Ascend"),
        ("/data/liwenqiang-models/a_liwenqiang.om", "/data/<user>-models/a_<user>.om"),
        ("owner LiWenQiang, uid 7", "owner <user>, uid 7"),
        ("liwenqiangs", "liwenqiangs"),
        ("ssh inspur-7f.lab.example", "ssh <host>"),
        ("[INSPUR-7F] mail to a@lab.example", "[<host>] mail to a@<host>"),
        ("inspur-7fa", "inspur-7fa"),
    ],
)
def test_names_are_replaced_where_they_are_words(text: str, cleaned: str) -> None:
    """Whole ones, in either case, with everything around them as it was."""
    assert clean(text) == cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("root failed: the root of the tree", "root failed: the root of the tree"),
        ("/srv/root/ascend/log/x", "~/<host>/log/x"),
        ("/data/root/x /srv/roots/y", "/data/<user>/x /srv/roots/y"),
        ("LD=/usr/local/Ascend/lib64", "LD=/usr/local/Ascend/lib64"),
        ("hicann ascend 910B", "hicann ascend 910B"),
        ("/nfs/ascend", "/nfs/<host>"),
    ],
)
def test_common_words_are_replaced_in_paths_only(text: str, cleaned: str) -> None:
    """A user called root and a host called ascend would take half of every log with them."""
    assert clean(text, ROOT) == cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("张伟运行了export", "<user>运行了export"),
        ("由张伟转换。", "由<user>转换。"),
        ("主机zs-昇腾一号上", "主机<host>上"),
        ("azs-昇腾一号", "azs-昇腾一号"),
        ("mail a@zs-昇腾一号.lab.example", "mail a@<host>"),
        ("/data/张伟-models/张伟.om", "/data/<user>-models/<user>.om"),
        # JSON in both cases, JSON in JSON, Python's bytes, a URL, a shell
        (r'{"a": "\u5f20\u4f1f", "b": "\u5F20\u4F1F/x"}', '{"a": "<user>", "b": "<user>/x"}'),
        (r'"{\"a\": \"/home/\\u5f20\\u4f1f/x\"}"', r'"{\"a\": \"~/x\"}"'),
        (r"b'\xe5\xbc\xa0\xe4\xbc\x9f'", "b'<user>'"),
        ("file:///home/%E5%BC%A0%e4%bc%9f/x.om", "file://~/x.om"),
        (r"cd $'/data/\345\274\240\344\274\237'", "cd $'/data/<user>'"),
        (r"zs-\u6607\u817e\u4e00\u53f7 is up", "<host> is up"),
        ("张三和伟大的张", "张三和伟大的张"),
    ],
)
def test_chinese_names_need_no_spaces_and_hide_in_no_escape(text: str, cleaned: str) -> None:
    """Two characters are a name, in the middle of a sentence, too."""
    assert clean(text, CHINESE) == cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("user=li, USER: Li", "user=<user>, USER: <user>"),
        ("SUDO_USER=li HOSTNAME=bj", "SUDO_USER=<user> HOSTNAME=<host>"),
        ("[li@bj ~]$ scp x bj:/data", "[<user>@<host> ~]$ scp x <host>:/data"),
        ("uid=1000(li) gid=1000(li) groups=1000(li),27(sudo)", None),
        ('{"owner": "li", "host": "bj"}', '{"owner": "<user>", "host": "<host>"}'),
        ("http://bj:8080/ or host bj", "http://<host>:8080/ or host <host>"),
        ("/home/li/x ~li/y /data/li/z", "~/x ~<user>/y /data/<user>/z"),
        ("11:22:07 bj kernel: up", "11:22:07 <host> kernel: up"),
        ("用户li在主机bj上", "用户<user>在主机<host>上"),
        ("lib list blink bjorn li bj", "lib list blink bjorn li bj"),
        ("superuser linear, ghost bjx", "superuser linear, ghost bjx"),
    ],
)
def test_short_names_are_replaced_where_a_label_makes_names_of_them(
    text: str, cleaned: str | None
) -> None:
    """Two letters are half of all words; a path, a label or an @ tells."""
    id_output = "uid=1000(<user>) gid=1000(<user>) groups=1000(<user>),27(sudo)"
    assert clean(text, SHORT) == (cleaned or id_output)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("/home/zhang san/x", "/home/<user>/x"),
        (r"/home/zhang\ san/x", "/home/<user>/x"),
        ("/home/zhang%20san/x", "/home/<user>/x"),
        ('"/home/zhang san", 7', '"/home/<user>", 7'),
        ("/mnt/c/Users/Zhang San/x", "/mnt/c/Users/<user>/x"),
        ("/home/wu and /data/x", "/home/<user> and /data/x"),
        ("ls /home/wu\n/data/x y", "ls /home/<user>\n/data/x y"),
    ],
)
def test_other_peoples_homes(text: str, cleaned: str) -> None:
    """A blank may belong to the name."""
    assert clean(text) == cleaned


@pytest.mark.parametrize("before", [r".\n", r"-\t", "%2F", r"\u673a", r"\x00", r"\012", "机"])
def test_an_escape_before_a_name_is_no_part_of_it(before: str) -> None:
    """Its last letter is none of the word's."""
    assert clean(f'"{before}liwenqiang{before}INSPUR-7f"') == f'"{before}<user>{before}<host>"'


def test_a_colour_before_a_name_is_no_part_of_it() -> None:
    r"""ESC[31m ends with a letter; JSON's values have colours, too."""
    made = Redactor(WHO)

    assert made.value(["\x1b[31mliwenqiang\x1b[0m"]) == ["<user>"]


def test_a_key_is_a_label_for_its_value() -> None:
    """Of a short name, of a password."""
    value = {"user": "li", "host": "bj", "name": "li", "proxy_password": "pw1", "tokens": "li"}

    assert Redactor(SHORT).value(value) == {
        "user": "<user>",
        "host": "<host>",
        "name": "li",
        "proxy_password": "<secret>",
        "tokens": "li",
    }


def test_what_a_record_labels_is_replaced_in_texts_too() -> None:
    """Learned from JSON, nested as it may be."""
    made = Redactor(WHO)
    made.learn({"cards": [{"Serial Number": "2102Q10D77"}, {"sn": 210235123}]})

    assert made.text("card 2102q10d77 of 7") == "card <serial> of 7"
    assert {"2102Q10D77", "210235123"} == made.serials


@pytest.mark.parametrize(
    "text",
    [
        *("x", "1", "aA", "a_", "a:", "=1", "?a", "\\", '"', "@", "://", ".jpg"),
        *("/home/a a ", "serial ", "user ", "%5f", "\\u5f20", "张"),
    ],
)
def test_no_text_takes_long(text: str) -> None:
    """As long as one may be that is collected: a pattern that looks back would take for ever."""
    long = text * (LONGEST_TEXT_BYTES // len(text))
    begin = time.process_time()
    for who in (WHO, CHINESE, SHORT):
        clean(long, who)

    assert time.process_time() - begin < 30


def test_json_is_replaced_in_every_text_and_stays_json() -> None:
    """Keys, lists, what is nested, and serial numbers by their key."""
    value = {
        "path": "/home/liwenqiang/a.om",
        "liwenqiang.om": [1, True, None, "INSPUR-7F"],
        "deep": {"Serial Number": "Q1234567", "sn": "", "n": 2.5},
    }
    made = Redactor(WHO).value(value)

    assert json.loads(json.dumps(made)) == {
        "path": "~/a.om",
        "<user>.om": [1, True, None, "<host>"],
        "deep": {"Serial Number": "<serial>", "sn": "", "n": 2.5},
    }


def test_a_line_break_before_a_name_does_not_hide_it_in_json() -> None:
    r"""Written out, "\nliwenqiang" begins with an n."""
    made = Redactor(WHO).value({"text": "line\nliwenqiang\tinspur-7f"})

    assert made == {"text": "line\n<user>\t<host>"}


def test_a_models_head_keeps_its_length() -> None:
    """Offsets in it stay true; a length before a text may look like a letter of it."""
    head = b"IMOD\x00\x01A/home/liwenqiang/x.onnx\x00\x0aLiWenQiang\xff192.168.7.21\xfe7.6.0.1.220"
    made = Redactor(WHO).head(b"q" + head + b"zliwenqiangz")

    assert len(made) == len(head) + 13
    assert b"wenqiang" not in made.lower()
    assert made[:8] == b"qIMOD\x00\x01A"
    assert b"192.168" not in made
    assert made.count(b"7.6.0.1.220") == 1
    assert b"/x.onnx" in made


def test_common_names_in_a_models_head() -> None:
    """In paths, there, too."""
    made = Redactor(ROOT).head(b"root IMOD /data/root/x /srv/root/y \x05ascend")

    assert made == b"root IMOD /data/xxxx/x xxxxxxxxx/y \x05ascend"


def test_chinese_names_in_a_models_head_keep_their_length() -> None:
    """Of bytes, as offsets count; escaped, too."""
    head = "IMOD --model=/home/张伟/x zs-昇腾一号 \\u5f20\\u4f1f".encode()
    made = Redactor(CHINESE).head(head)

    assert len(made) == len(head)
    assert "张".encode() not in made
    assert "昇腾".encode() not in made
    assert b"u5f20" not in made
    assert made.startswith(b"IMOD --model=xxxx")


def test_a_name_that_no_encoding_spells_stops_nothing() -> None:
    """Half a character, as JSON may hold it."""
    made = Redactor(WHO)
    made.learn({"sn": "2102\ud83dQ10D77"})

    assert made.head(b"IMOD") == b"IMOD"
    assert made.text("of liwenqiang") == "of <user>"
