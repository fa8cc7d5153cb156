"""Version files in every form that installers leave behind, and never one kind for another.

The texts below are put together by hand, with numbers of our own, in the forms that users have
posted publicly (CANN 6.0.1 to 9.2.0-beta.2, driver 24.1.rc3 and 25.x) and of the open sources:
hicann/runtime tests/ut/acl/testcase/acl_common_unittest.cpp:656 (`Version=7.6.T9.0.B057`, then
`version_dir=CANN-7.6`), hicann/ops-nn scripts/generate_version_info.py:25 (`version_dir=cann`),
hicann/runtime docs/zh/api_ref/24_other_APIs.md (9.0.0-beta.2), hicann/driver build.sh:232
(`version=`, in lower case) and its conf/itf_ver.conf.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.doctor.versions import (
    LONGEST_FILE_BYTES,
    Version,
    cann_version,
    driver_version,
    is_release,
)

INSTALL_INFO = """\
package_name=Ascend-cann-toolkit
version=8.1.RC1
innerversion=V100R001C77SPC003B901
compatible_version=[V100R001C71],[V100R001C77]
arch=aarch64
os=linux
path=/opt/Ascend/ascend-toolkit/8.1.RC1/aarch64-linux
"""
VERSION_CFG = """\
# version: 1.0
runtime_running_version=[7.6.0.3.917:8.0.0]
compiler_running_version=[7.6.0.3.917:8.0.0]
opp_running_version=[7.6.0.3.917:8.0.0]
toolkit_running_version=[7.6.0.3.917:8.0.0]
ncs_running_version=[7.6.0.3.917:8.0.0]
runtime_upgrade_version=[7.6.0.3.917:8.0.0]
runtime_installed_version=[7.0.0.5.811:7.0.RC1][7.1.0.3.620:7.0.0][7.6.0.3.917:8.0.0]
"""
OLD_INFO = "Version=7.7.T9.0.B613\nversion_dir=CANN-7.7\ntimestamp=20250102_030405678\n"
NEW_INFO = (
    "Version=9.2.0-beta.3\nversion_dir=cann\n"
    'required_package_metadef_version=">=9.2"\ntimestamp=20260102_030405678\n'
)
DRIVER = """\
Version=24.1.rc7
ascendhal_version=7.35.91
aicpu_version=1.0
tsfw_version=1.0
Innerversion=V100R001C79SPC001B444
compatible_version=[V100R001C71],[V100R001C77]
compatible_version_fw=[7.0.0,7.5.99]
package_version=24.1.rc7
"""


# An upgraded box of 2022, as posted publicly with 6.0.1: no line on what runs.
INSTALLED_ONLY = """\
# version: 1.0
runtime_installed_version=[1.83.11.7.220:6.0.RC1][1.84.15.9.310:6.0.1]
toolkit_installed_version=[1.84.15.9.310:6.0.1]
opp_upgrade_version=[1.83.11.7.220:6.0.RC1]
"""


def installed(folder: Path, files: dict[str, str]) -> Version:
    """What is read of an installation of nothing but version files."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return cann_version(folder)


@pytest.mark.parametrize(
    ("files", "release", "internal", "others"),
    [
        ({"aarch64-linux/ascend_toolkit_install.info": INSTALL_INFO}, "8.1.RC1", "", ()),
        # the runtime packages: one with a folder for its processor, one without
        ({"x86_64-linux/ascend_nnrt_install.info": INSTALL_INFO}, "8.1.RC1", "", ()),
        ({"ascend_nnae_install.info": INSTALL_INFO}, "8.1.RC1", "", ()),
        # an upgraded box lists every release it had: what runs counts, and no other
        ({"version.cfg": VERSION_CFG}, "8.0.0", "7.6.0.3.917", ()),
        # of a package that is gone its line may be left
        (
            {"version.cfg": f"{VERSION_CFG}nnrt_installed_version=[7.0.0.5.811:7.0.RC1]\n"},
            *("8.0.0", "7.6.0.3.917", ()),
        ),
        # better than none, which checks no pairing
        ({"version.cfg": INSTALLED_ONLY}, "6.0.1", "1.84.15.9.310", ()),
        ({"compiler/version.info": OLD_INFO}, "", "7.7.T9.0.B613", ()),
        ({"runtime/version.info": "Version=1.84.15.9.310\n"}, "", "1.84.15.9.310", ()),
        # looks like a release, and is the number of a package of CANN 8.3
        ({"opp/version.info": "Version=8.3.0.9.200\nversion_dir=cann\n"}, "", "8.3.0.9.200", ()),
        # looks like one in every part; its folder's name tells
        ({"opp/version.info": "Version=7.1.0\nversion_dir=CANN-7.1\n"}, "", "7.1.0", ()),
        ({"share/info/ge-compiler/version.info": NEW_INFO}, "9.2.0-beta.3", "", ()),
        # each package by its own number; kinds are not compared with each other
        (
            {
                "version.cfg": VERSION_CFG.replace(
                    "opp_running_version=[7.6.0.3.917:8.0.0]",
                    "opp_running_version=[7.5.0.1.999:8.0.RC3]",
                ),
                "x86_64-linux/ascend_toolkit_install.info": "version=8.0.0\n",
                "x86_64-linux/ascend_ops_install.info": "version=8.0.RC2\n",
                "compiler/version.info": "Version=7.6.0.3.917\n",
            },
            *("8.0.0", "7.6.0.3.917"),
            ("opp 8.0.RC3 (internal number 7.5.0.1.999)", "ops 8.0.RC2"),
        ),
        # debuggers and compilers beside CANN have numbers of their own
        (
            {
                "share/info/runtime/version.info": NEW_INFO,
                "share/info/mindstudio-opprof/version.info": "Version=26.3.0\n",
                "share/info/ascendnpu-ir/version.info": "Version=1.2.9\n",
            },
            *("9.2.0-beta.3", "", ()),
        ),
        # of two in one file the first counts, as it does for the runtime
        (
            {"runtime/version.info": "Version=9.1.0\nVersion=9.2.0\n"},
            *("9.1.0", "", ("runtime 9.2.0",)),
        ),
    ],
)
def test_each_file_gives_the_number_of_its_kind(
    tmp_path: Path, files: dict[str, str], release: str, internal: str, others: tuple[str, ...]
) -> None:
    """Release and internal number are told apart, and packages of other versions are named."""
    wanted = Version(release=release, internal=internal, others=others)
    assert installed(tmp_path, files) == wanted


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.upper(),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("=", " = "),
        lambda text: text.rstrip("\n"),
        lambda text: text.replace("[", "").replace("]", ""),
        lambda text: "#toolkit_running_version=[1.2.3.4.5:6.7.8]\n\n\n" + text,
        lambda text: "nonsense without a sign\n=\n==\n" + text,
    ],
    ids=["crlf", "upper", "bom", "spaces", "no last newline", "no brackets", "comment", "noise"],
)
def test_the_same_file_as_others_would_write_it(tmp_path: Path, change: object) -> None:
    """Line ends, case, brackets, comments and noise change nothing."""
    assert callable(change)
    found = installed(tmp_path, {"version.cfg": change(VERSION_CFG)})

    assert (found.release, found.internal) == ("8.0.0", "7.6.0.3.917")


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_of_two_processors_this_machines_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str
) -> None:
    """A toolkit that compiles for the other one lies beside it, of any version."""
    releases = {"x86_64": "8.1.RC7", "aarch64": "8.0.RC3"}
    for name, release in releases.items():
        text = f"version={release}\narch={name}\n"
        installed(tmp_path, {f"{name}-linux/ascend_toolkit_install.info": text})
    installed(tmp_path, {"ascend_nnrt_install.info": f"version={releases[machine]}\n"})
    monkeypatch.setattr("platform.machine", lambda: machine)

    assert cann_version(tmp_path) == Version(release=releases[machine])
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    (tmp_path / "ascend_nnrt_install.info").unlink()
    assert cann_version(tmp_path).release == "8.0.RC3"


@pytest.mark.timeout(30)
def test_what_cannot_be_read_counts_for_nothing(tmp_path: Path) -> None:
    """A folder, a pipe or a device in its place, bytes that are no text, a file without end."""
    (tmp_path / "opp/version.info").mkdir(parents=True)
    late = b"x" * LONGEST_FILE_BYTES + b"\nVersion=8.5.0\n"
    for package, text in (("runtime", b"\xff\xfe\x00Version=\xff\n"), ("toolkit", late)):
        (tmp_path / package).mkdir()
        (tmp_path / package / "version.info").write_bytes(text)
    os.mkfifo(tmp_path / "version.cfg")
    (tmp_path / "ascend_ops_install.info").symlink_to("/dev/zero")

    assert cann_version(tmp_path).release == ""
    assert driver_version(tmp_path / "version.cfg") == Version()
    assert cann_version(tmp_path / "nowhere") == Version()


@pytest.mark.parametrize(
    ("number", "release"),
    [
        *[(one, True) for one in ("6.0.1", "8.0.RC2", "8.5.0.alpha001", "9.2.0-beta.2", "8.0.T63")],
        *[(one, False) for one in ("7.6.0.1.220", "7.6.T9.0.B057", "1.84.15.1.310")],
        ("8.2.0.0.201.", False),  # GE's own hccl_engine/version.info ends so
    ],
)
def test_a_number_without_its_kind_is_told_by_its_form(number: str, release: bool) -> None:
    """Releases have at most four parts, internal numbers five."""
    assert is_release(number) is release


@pytest.mark.parametrize(
    ("text", "shown", "others"),
    [
        (DRIVER, "24.1.rc7", ()),
        ("version=25.2.7\n", "25.2.7", ()),
        ("ascendhal_version=7.35.91\npackage_version=25.3.rc9\n", "25.3.rc9", ()),
        (DRIVER.replace("\n", "\r\n"), "24.1.rc7", ()),
        ("Version=24.1.rc7\npackage_version=24.1.rc6\n", "24.1.rc7", ("package 24.1.rc6",)),
        ("Version=24.1.RC7\npackage_version=24.1.rc7\n", "24.1.RC7", ()),
        ("Innerversion=V100R001C79\n", "of unknown version", ()),
    ],
)
def test_a_drivers_file_in_its_forms(
    tmp_path: Path, text: str, shown: str, others: tuple[str, ...]
) -> None:
    """Keys in either case, some missing, two that disagree."""
    path = tmp_path / "version.info"
    path.write_bytes(text.encode())
    found = driver_version(path)

    assert (str(found), found.others) == (shown, others)
