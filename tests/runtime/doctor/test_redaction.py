"""Who and where a text comes from does not leave the machine, and nothing else is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime.doctor.redaction import Identity, Redactor, identity, is_common

WHO = Identity(
    hosts=("inspur-7f.lab.example", "lab.example", "inspur-7f"),
    users=("liwenqiang",),
    homes=("/home/liwenqiang",),
)
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
    ("name", "common"),
    [("root", True), ("Admin", True), ("pi", True), ("1000", True), ("wei", False)],
)
def test_which_names_are_common(name: str, common: bool) -> None:
    """System accounts, words of the trade, the shortest, and numbers."""
    assert is_common(name) is common


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("connect to 192.168.7.21:8080 failed", "connect to <ip>:8080 failed"),
        ("10.0.0.5", "<ip>"),
        ("via fe80::1ff:fe23:4567:890a%eth0.", "via <ip>%eth0."),
        ("2001:db8:0:1:2:3:4:5 is up", "<ip> is up"),
        ("ether 02:42:AC:11:00:0b txqueuelen", "ether <mac> txqueuelen"),
        ("mac-addr 0 : 02-42-ac-11-00-0b", "mac-addr 0 : <mac>"),
        # none of these is an address
        ("toolkit_running_version=[7.6.0.1.220:8.0.0]", None),
        ("| npu-smi 24.1.1.1      Version: 24.1.1.1  |", None),
        ("opencv-python==4.10.0.84", None),
        ("Software Version               : 25.7.0.1", None),
        ("Version=7.5.0.1\n", None),
        ("E10054: [PID: 7] 2026-03-24-12:14:45.885.234 x", None),
        ("Bus-Id 0000:C1:00.0 at 12:14:45", None),
        ("ge::PluginManager std::string fe::TeConfig ::", None),
        ("999.1.1.1", None),
    ],
)
def test_addresses_are_replaced_and_versions_are_not(text: str, cleaned: str | None) -> None:
    """Of both families, and of network cards."""
    assert clean(text) == (text if cleaned is None else cleaned)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        # forms of npu-smi's list and boards, hicann/driver npu_info_print.c:733 and :1029
        (
            "\tSerial Number                  : 2199Q10D77K0\nSlot: 2",
            "\tSerial Number                  : <serial>\nSlot: 2",
        ),
        ("| Serial Number : 2199Q10D77K0 | OK |", "| Serial Number : <serial>| OK |"),
        ("VDie ID : 5F2E0C11 3344AABB 90817263", "VDie ID : <serial>"),
        ('{"serial_number": "2199Q10D77K0", "a": 1}', '{"serial_number": "<serial>", "a": 1}'),
        ("SN=2199Q10D77K0, later 2199q10d77k0!", "SN=<serial>, later <serial>!"),
        ("SN=12345; 512345 bytes", "SN=<serial>; 512345 bytes"),
        ("uuid: 3f1c9a40-aaaa-4bbb-8ccc-0123456789ab", "uuid: <serial>"),
        # nothing that names one board
        ("Serial Number : NA", None),
        ("Die ID : 0", None),
        ("asn1crypto==1.5.1", None),
        ("Model : A310-50", None),
    ],
)
def test_serial_numbers_are_replaced_by_their_labels(text: str, cleaned: str | None) -> None:
    """And, once one is known, wherever it stands."""
    assert clean(text) == (text if cleaned is None else cleaned)


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
