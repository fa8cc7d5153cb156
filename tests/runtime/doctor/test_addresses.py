"""Addresses leave no machine; versions, times and names in C++ stay."""

from __future__ import annotations

import pytest

from runtime.doctor.addresses import without_addresses, without_addresses_in_bytes


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("connect to 192.168.7.21:8080 failed", "connect to <ip>:8080 failed"),
        ("10.0.0.5", "<ip>"),
        ("fe80::dead:beef", "<ip>"),
        ("fdab::cafe", "<ip>"),
        ("2409:8a00:7::5/64", "<ip>/64"),
        ("::ffff:192.168.7.21", "::ffff:<ip>"),
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
        # torch's, GE's and others' names in C++, all of hexadecimal digits
        ("c10::d, a::b and dead::beef", None),
        ("[fe::ab] ad::c10::d at ::ad", None),
    ],
)
def test_addresses_are_replaced_and_versions_are_not(text: str, cleaned: str | None) -> None:
    """Of both families, and of network cards."""
    assert without_addresses(text) == (text if cleaned is None else cleaned)


def test_in_bytes_an_address_keeps_its_length() -> None:
    """Offsets in a model's head stay true; a name in C++ is no address there, either."""
    head = b"\x01fe80::1ff:fe23\x00c10::d\xff10.7.0.5\xfe02:42:ac:11:00:0b"
    made = without_addresses_in_bytes(head)

    assert made == b"\x01xxxxxxxxxxxxxx\x00c10::d\xffxxxxxxxx\xfexxxxxxxxxxxxxxxxx"
