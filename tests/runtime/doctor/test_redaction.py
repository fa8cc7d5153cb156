"""Who and where a text comes from does not leave the machine, and nothing else is lost."""

from __future__ import annotations

import json
import time

import pytest

from runtime.doctor.box import LONGEST_TEXT_BYTES
from runtime.doctor.names import Identity
from runtime.doctor.redaction import Redactor, counted

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
NOBODY = Identity()
PICTURES = {"anna smith.jpg", "holiday/anna.png", "mirrored anna smith.jpg", "d"}


def clean(text: str, who: Identity = WHO) -> str:
    made = Redactor(who, pictures=PICTURES)
    made.learn(text)
    return made.text(text)


# On whose machine what becomes of a text; one that stands alone stays as it is.
CASES: dict[str, tuple[Identity, list[str | tuple[str, str]]]] = {
    # Whole ones, in either case, with everything around them as it was.
    "names_are_replaced_where_they_are_words": (
        WHO,
        [
            ("/home/liwenqiang/x.om", "~/x.om"),
            ("HOME=/home/liwenqiang", "HOME=~"),
            ("a:/home/liwenqiang/.local/bin:b", "a:~/.local/bin:b"),
            ("Saved in /home/liwenqiang.", "Saved in ~."),
            ("/backup/home/liwenqiang/x", "/backup/home/<user>/x"),
            ("/home/liwenqiang2/x", "/home/<user>/x"),
            ("/home/liwenqiang.bak/x", "/home/<user>/x"),
            ("x=%2Fhome%2Fliwenqiang%2Fx", "x=~%2Fx"),
            ("用户liwenqiang的", "用户<user>的"),
            ("/data/liwenqiang-models/a_liwenqiang.om", "/data/<user>-models/a_<user>.om"),
            ("owner LiWenQiang, uid 7", "owner <user>, uid 7"),
            ("liwenqiangs inspur-7fa", "liwenqiangs inspur-7fa"),
            ("ssh inspur-7f.lab.example", "ssh <host>"),
            ("[INSPUR-7F] mail to a@lab.example", "[<host>] mail to a@<host>"),
            # other people's homes, and the driver's
            ("/home/zhang%20san/x /mnt/c/Users/Zhang/x", "/home/<user>/x /mnt/c/Users/<user>/x"),
            ("ls /home/wu\n/data/x y", "ls /home/<user>\n/data/x y"),
            ("/home/HwHiAiUser/Ascend /home/HwHiAiUser2", "/home/HwHiAiUser/Ascend /home/<user>"),
        ],
    ),
    # A user called root and a host called ascend would take half of every log with them.
    "common_words_are_replaced_in_paths_only": (
        ROOT,
        [
            "root failed: the root of the tree",
            ("/srv/root/ascend/log/x", "~/<host>/log/x"),
            ("/data/root/x /srv/roots/y", "/data/<user>/x /srv/roots/y"),
            "LD=/usr/local/Ascend/lib64",
            "user=root",
            "hicann ascend 910B",
            ("/nfs/ascend", "/nfs/<host>"),
        ],
    ),
    # Two characters are a name, in the middle of a sentence, too.
    "chinese_names_need_no_spaces_and_hide_in_no_escape": (
        CHINESE,
        [
            ("张伟运行了export, 张伟ran", "<user>运行了export, <user>ran"),
            ("由张伟转换。by张伟", "由<user>转换。by<user>"),
            ("主机zs-昇腾一号上", "主机<host>上"),
            ("azs-昇腾一号", "azs-昇腾一号"),
            ("mail a@zs-昇腾一号.lab.example", "mail a@<host>"),
            # JSON in both cases, JSON in JSON, a URL
            (r'{"a": "\u5f20\u4f1f", "b": "\u5F20\u4F1F/x"}', '{"a": "<user>", "b": "<user>/x"}'),
            (r'"{\"a\": \"/home/\\u5f20\\u4f1f/x\"}"', r'"{\"a\": \"~/x\"}"'),
            ("file:///home/%E5%BC%A0%e4%bc%9f/x.om", "file://~/x.om"),
            (r"zs-\u6607\u817e\u4e00\u53f7 is up", "<host> is up"),
            ("张三和伟大的张", "张三和伟大的张"),
        ],
    ),
    # Two letters are half of all words; a path, a label or an @ tells.
    "short_names_are_replaced_where_a_label_makes_names_of_them": (
        SHORT,
        [
            ("user=li, USER: Li", "user=<user>, USER: <user>"),
            ("SUDO_USER=li HOSTNAME=bj", "SUDO_USER=<user> HOSTNAME=<host>"),
            ("[li@bj ~]$ scp x bj:/data", "[<user>@<host> ~]$ scp x <host>:/data"),
            (
                "uid=1000(li) groups=1000(li),27(sudo)",
                "uid=1000(<user>) groups=1000(<user>),27(sudo)",
            ),
            ('{"owner": "li", "host": "bj"}', '{"owner": "<user>", "host": "<host>"}'),
            ("http://bj:8080/ or host bj", "http://<host>:8080/ or host <host>"),
            ("/home/li/x ~li/y /data/li/z", "~/x ~<user>/y /data/<user>/z"),
            ("11:22:07 bj kernel: up", "11:22:07 <host> kernel: up"),
            ("用户li在主机bj上", "用户<user>在主机<host>上"),
            ("lib list blink bjorn li bj", "lib list blink bjorn li bj"),
            ("superuser linear, ghost bjx", "superuser linear, ghost bjx"),
        ],
    ),
    # As one character of Chinese is, or a number; three letters, or two characters, are a name.
    "numbers_and_single_characters_are_short_names": (
        Identity(hosts=("20231107", "1000"), users=("Admin", "管理员", "wei", "김철", "李x", "李")),
        [
            ("user=李, owner: 李", "user=<user>, owner: <user>"),
            "行李和桃李满",
            ("host: 20231107 at 1000:/x", "host: <host> at <host>:/x"),
            "timestamp=20231107_030405 of 1000",
            ("wei, 김철 and 李x ran", "<user>, <user> and <user> ran"),
            "weit hawei",
            ("ask Admin 管理员 in /data/Admin/x", "ask Admin 管理员 in /data/<user>/x"),
        ],
    ),
    # And, once one is known, wherever it stands.
    "serial_numbers_are_replaced_by_their_labels": (
        NOBODY,
        [
            # forms of npu-smi's list and boards, hicann/driver npu_info_print.c:733 and :1029
            (
                "\tSerial Number    : 2199Q10D77K0\nSlot: 2",
                "\tSerial Number    : <serial>\nSlot: 2",
            ),
            ("| Serial Number : 2199Q10D77K0 | OK |", "| Serial Number : <serial>| OK |"),
            ("VDie ID : 5F2E0C11 3344AABB 90817263", "VDie ID : <serial>"),
            ('{"serial_number": "2199Q10D77K0", "a": 1}', '{"serial_number": "<serial>", "a": 1}'),
            ("SN=2199Q10D77K0, later 2199q10d77k0!", "SN=<serial>, later <serial>!"),
            ("SN=12345; 512345 bytes", "SN=<serial>; 512345 bytes"),
            ("uuid: 3f1c9a40-aaaa-4bbb-8ccc-0123456789ab", "uuid: <serial>"),
            # forms of ipmitool's and dmidecode's output, of labels on boards, and of Chinese tools
            ("Board Serial          : 2102Q10D77", "Board Serial          : <serial>"),
            (" Product Serial : ABCDEFGH", " Product Serial : <serial>"),
            ("S/N: 2102Q10D77", "S/N: <serial>"),
            ("serial: 2102Q10D77 (slot 3)", "serial: <serial>"),
            ("PCB SN\uff1a 2102Q10D77\uff0c ok", "PCB SN\uff1a <serial>\uff0c ok"),
            ("序列号\uff1a2102Q10D77", "序列号\uff1a<serial>"),
            ("boardSerialNumber: 2102Q10D77", "boardSerialNumber: <serial>"),
            (r'"{\"serial\": \"2102Q10D77\"}"', r'"{\"serial\": \"<serial>\"}"'),
            # nothing that names one board
            "serial: enabled by default",
            "serial: Unknown",
            "Serial Number : not available",
            "device serial: disabled, disabled",
            "serial8250: ttyS0 at I/O 0x3f8",
            "in serial: 3 workers",
            "basn: 123456",
            "Serial Number : NA",
            "Die ID : 0",
            "asn1crypto==1.5.1",
        ],
    ),
    # In addresses, in queries, and by their labels.
    "passwords_and_tokens_are_replaced": (
        NOBODY,
        [
            ("http://wei:pw123@proxy:3128/", "http://<secret>@proxy:3128/"),
            ("https://ghp_abc123@git.example/x.git", "https://<secret>@git.example/x.git"),
            ("https://u:p@ss@mirror.example/simple", "https://<secret>@mirror.example/simple"),
            (r"http:\/\/wei:pw123@proxy\/", r"http:\/\/<secret>@proxy\/"),
            (
                "GET /x?page=7&access_token=abc.def-1&sig=q%2F7#end",
                "GET /x?page=7&access_token=<secret>&sig=<secret>#end",
            ),
            ("a?x-amz-signature=0f9&amp;key=7;", "a?x-amz-signature=<secret>&amp;key=<secret>;"),
            ("password=pw1 next", "password=<secret> next"),
            ("PIP_TOKEN: abc.def", "PIP_TOKEN: <secret>"),
            ('{"api_key": "k-7", "n": 1}', '{"api_key": "<secret>", "n": 1}'),
            ("Authorization: Bearer abc.def==", "Authorization: Bearer <secret>"),
            ("--registry-password\uff1a秘密7", "--registry-password\uff1a<secret>"),
            # nothing that opens anything
            "http://mirror.example/a@b/c",
            "max_tokens=512 tokens: 7",
            "x ? keys[7] : auth",
            "secretary: Wu",
            "user@host.example:/x?y=1&z=2",
        ],
    ),
    # Of both families, and of network cards.
    "addresses_are_replaced_and_versions_are_not": (
        NOBODY,
        [
            ("connect to 192.168.7.21:8080 failed", "connect to <ip>:8080 failed"),
            ("地址10.0.0.5是", "地址<ip>是"),
            ("fe80::dead:beef", "<ip>"),
            ("fdab::cafe", "<ip>"),
            ("2409:8a00:7::5/64", "<ip>/64"),
            ("::ffff:192.168.7.21", "::ffff:<ip>"),
            ("via fe80::1ff:fe23:4567:890a%eth0.", "via <ip>%eth0."),
            ("2001:db8:0:1:2:3:4:5 is up", "<ip> is up"),
            ("ether 02:42:AC:11:00:0b txqueuelen", "ether <mac> txqueuelen"),
            ("mac-addr 0 : 02-42-ac-11-00-0b", "mac-addr 0 : <mac>"),
            # none of these is an address
            "toolkit_running_version=[7.6.0.1.220:8.0.0]",
            "| npu-smi 24.1.1.1      Version: 24.1.1.1  |",
            "opencv-python==4.10.0.84",
            "Software Version               : 25.7.0.1",
            "E10054: [PID: 7] 2026-03-24-12:14:45.885.234 x",
            "Bus-Id 0000:C1:00.0 at 12:14:45",
            "ge::PluginManager std::string fe::TeConfig ::",
            "999.1.1.1",
            # torch's, GE's and others' names in C++, all of hexadecimal digits
            "c10::d, a::b and dead::beef",
            "[fe::ab] ad::c10::d at ::ad",
        ],
    ),
    # Blanks and folders belong to a name that is known, or in quotes.
    "pictures_are_replaced_by_their_suffix_and_as_reports_list_them": (
        NOBODY,
        [
            ("cannot read grandmother.JPG: 7", "cannot read <picture>: 7"),
            ("/data/faces/奶奶.jpeg", "/data/faces/<picture>"),
            ('"name": "my old wife.webp", "x": 7', '"name": "<picture>", "x": 7'),
            ("worst: anna smith.jpg 0.7 px", "worst: <picture> 0.7 px"),
            ("worst: mirrored anna smith.jpg", "worst: <picture>"),
            ("left out: holiday/anna.png, b.tiff", "left out: <picture>, <picture>"),
            # no picture's name, also where a picture is called "d"
            "a picture (.jpg .jpeg, *.png) and",
            "x.jpgx y.pngs z.onnx",
            "benchmark.json parity.html",
        ],
    ),
}


@pytest.mark.parametrize(
    ("who", "case"),
    [
        pytest.param(who, case, id=f"{name}-{number}")
        for name, (who, cases) in CASES.items()
        for number, case in enumerate(cases)
    ],
)
def test_what_names_anybody_is_replaced(who: Identity, case: str | tuple[str, str]) -> None:
    text, cleaned = (case, case) if isinstance(case, str) else case
    assert clean(text, who) == cleaned


@pytest.mark.parametrize("before", [r".\n", r"-\t", "%2F", r"\u673a", "机", "\x1b[31m", "\x1b(B"])
def test_an_escape_before_a_name_is_no_part_of_it(before: str) -> None:
    """Its last letter is none of the word's; colours are left out."""
    kept = "" if "\x1b" in before else before

    assert clean(f'"{before}liwenqiang {before}INSPUR-7f"') == f'"{kept}<user> {kept}<host>"'


def test_lists_of_pictures_are_counted_wherever_they_stand() -> None:
    """In the form of this project's reports; their names are learned."""
    names: set[str] = set()
    report = {
        "report": {
            "pictures": [{"name": "a b.jpg", "photo_px": 0.1}, {"name": "c.jpg"}],
            "unreadable": [{"name": "d", "error": "d: 7"}],
            "end_to_end": {"crops_that_differ": ["a b.jpg", "e.png"]},
        },
        "sources": [{"pictures": 7}],
    }

    assert counted(report, names) == {
        "report": {"pictures": 2, "unreadable": 1, "end_to_end": {"crops_that_differ": 2}},
        "sources": [{"pictures": 7}],
    }
    assert names == {"a b.jpg", "c.jpg", "d", "e.png"}


def test_json_is_replaced_in_every_text_and_stays_json() -> None:
    r"""Keys, lists, what is nested; written out, "\nliwenqiang" begins with an n."""
    made = Redactor(WHO).value(
        {
            "path": "/home/liwenqiang/a.om",
            "liwenqiang.om": [1, True, None, "INSPUR-7F", "line\nliwenqiang"],
            "deep": {"n": 2.5},
        }
    )

    assert json.loads(json.dumps(made)) == {
        "path": "~/a.om",
        "<user>.om": [1, True, None, "<host>", "line\n<user>"],
        "deep": {"n": 2.5},
    }


@pytest.mark.parametrize(
    ("key", "value", "cleaned"),
    [
        ("user", "li", "<user>"),
        ("host", "bj", "<host>"),
        ("name", "li", "li"),
        *((key, "correct horse", "<secret>") for key in ("proxy_password", "HF_TOKEN", "api_key")),
        *((key, "correct horse", "correct horse") for key in ("tokens", "key")),
        *((key, "2102Q10D77", "<serial>") for key in ("serial", "Serial Number", "boardSn")),
        ("elabel_sn", 210235123, "<serial>"),
        ("serial", "enabled", "enabled"),
        ("sn", "", ""),
        ("sn", None, None),
        ("serial number", True, True),
        ("version", "2102Q10D77", "2102Q10D77"),
    ],
)
def test_a_records_key_is_a_label_too(key: str, value: object, cleaned: object) -> None:
    """Of a short name, a password, a serial number."""
    assert Redactor(SHORT).value({key: value}) == {key: cleaned}


def test_what_a_record_labels_is_replaced_in_texts_too() -> None:
    """Learned from JSON, nested as it may be."""
    made = Redactor(WHO)
    made.learn({"cards": [{"Serial Number": "2102Q10D77"}, {"sn": 210235123}]})

    assert made.text("card 2102q10d77 of 7") == "card <serial> of 7"
    assert made.serials == {"2102Q10D77", "210235123"}


@pytest.mark.parametrize(
    ("who", "head", "made"),
    [
        (
            WHO,
            "q\0A/home/liwenqiang/x\0LiWenQiang\x01192.168.7.21\x027.6.0.1.220 zliwenqiangz",
            "q\0Axxxxxxxxxxxxxxxx/x\0xxxxxxxxxx\x01xxxxxxxxxxxx\x027.6.0.1.220 zxxxxxxxxxxz",
        ),
        (ROOT, "root /data/root/x /srv/root/y \5ascend", "root /data/xxxx/x xxxxxxxxx/y \5ascend"),
        (CHINESE, "/home/张伟/x 张伟", "xxxxxxxxxxxx/x xxxxxx"),
        (
            NOBODY,
            "fe80::1ff:fe23\0c10::d\02:42:ac:11:00:0b",
            "xxxxxxxxxxxxxx\0c10::d\02:42:ac:11:00:0b",
        ),
        (NOBODY, "\xff02:42:ac:11:00:0b", "\xffxxxxxxxxxxxxxxxxx"),
    ],
)
def test_a_models_head_keeps_its_length(who: Identity, head: str, made: str) -> None:
    """Offsets in it stay true; a length before a text may look like a letter of it."""
    assert Redactor(who).head(head.encode()) == made.encode()


def test_a_name_that_no_encoding_spells_stops_nothing() -> None:
    """Half a character, as JSON may hold it."""
    made = Redactor(WHO)
    made.learn({"sn": "2102\ud83dQ10D77"})

    assert made.head(b"IMOD") == b"IMOD"
    assert made.text("of liwenqiang") == "of <user>"


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
