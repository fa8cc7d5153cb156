"""Serial numbers, passwords and tokens go by their labels, in every form of them."""

from __future__ import annotations

import pytest

from runtime.doctor.identity import Identity
from runtime.doctor.labelled import names_a_secret, names_a_serial, without_secrets
from runtime.doctor.redaction import Redactor


def clean(text: str) -> str:
    made = Redactor(Identity())
    made.learn(text)
    return made.text(text)


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
        # forms of ipmitool's and dmidecode's output, of labels on boards, and of Chinese tools
        ("Board Serial          : 2102Q10D77", "Board Serial          : <serial>"),
        (" Product Serial : ABCDEFGH", " Product Serial : <serial>"),
        ("S/N: 2102Q10D77", "S/N: <serial>"),
        ("serial: 2102Q10D77 (slot 3)", "serial: <serial>"),
        ("Serial Number \uff1a 2102Q10D77", "Serial Number \uff1a <serial>"),
        ("PCB SN\uff1a 2102Q10D77\uff0c ok", "PCB SN\uff1a <serial>\uff0c ok"),
        ("序列号\uff1a2102Q10D77", "序列号\uff1a<serial>"),
        ("boardSerialNumber: 2102Q10D77", "boardSerialNumber: <serial>"),
        (r'"{\"serial\": \"2102Q10D77\"}"', r'"{\"serial\": \"<serial>\"}"'),
        # nothing that names one board
        ("serial: enabled by default", None),
        ("Serial Number : not available", None),
        ("device serial: disabled, disabled", None),
        ("serial8250: ttyS0 at I/O 0x3f8", None),
        ("in serial: 3 workers", None),
        ("basn: 123456", None),
        ("Serial Number : NA", None),
        ("Die ID : 0", None),
        ("asn1crypto==1.5.1", None),
        ("Model : A310-50", None),
    ],
)
def test_serial_numbers_are_replaced_by_their_labels(text: str, cleaned: str | None) -> None:
    """And, once one is known, wherever it stands."""
    assert clean(text) == (text if cleaned is None else cleaned)


@pytest.mark.parametrize(
    ("key", "value", "names"),
    [
        ("serial", "2102Q10D77", True),
        ("serial", "enabled", False),
        ("Board Serial", "ABCDEFGH", True),
        ("elabel_sn", 210235123, True),
        ("boardSn", "2102Q10D77", True),
        ("sn", None, False),
        ("sn", {"a": "long enough"}, False),
        ("serial number", True, False),
        ("version", "2102Q10D77", False),
    ],
)
def test_a_records_key_is_a_label_too(key: str, value: object, names: bool) -> None:
    assert names_a_serial(key, value) is names


@pytest.mark.parametrize(
    ("text", "cleaned"),
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
        ("http://mirror.example/a@b/c", None),
        ("max_tokens=512 tokens: 7", None),
        ("x ? keys[7] : auth", None),
        ("secretary: Wu", None),
        ("user@host.example:/x?y=1&z=2", None),
    ],
)
def test_passwords_and_tokens_are_replaced(text: str, cleaned: str | None) -> None:
    """In addresses, in queries, and by their labels."""
    assert without_secrets(text) == (text if cleaned is None else cleaned)


@pytest.mark.parametrize(
    ("key", "names"),
    [("password", True), ("HF_TOKEN", True), ("api_key", True), ("tokens", False), ("key", False)],
)
def test_a_records_key_names_a_secret(key: str, names: bool) -> None:
    assert names_a_secret(key) is names
