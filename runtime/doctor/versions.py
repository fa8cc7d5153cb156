"""Versions of CANN and of the driver, out of the files that their installers leave behind.

CANN has two numbers that are never compared with each other: the release that people install and
that pairing tables list (8.0.0, 8.1.RC1, 9.2.0-beta.2), and the internal number of its packages
(7.6.0.1.220, 7.6.T9.0.B057), which until 8.3 stood in every version.info and so in each .om's
`atc_version`. Since 8.5 a version.info holds the release, beside `version_dir=cann`.

Source: the open CANN runtime (acl.cpp GetVersionStringInternal and the values in its tests, docs
of aclsysGetVersionStr), ops-nn's generate_version_info.py, the driver's build.sh and itf_ver.conf;
version.cfg and install.info as users have posted them, 6.0.1 to 9.2.0.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runtime.doctor.plain_files import open_plain

# In the order of trust: what was installed, what of it runs, then one package after the other.
# A toolkit that compiles for another processor lies beside this machine's own.
INSTALL_INFO = ("*-linux/ascend_*_install.info", "ascend_*_install.info")
VERSION_CFG = "version.cfg"
_RUNNING, _INSTALLED = "_running_version", "_installed_version"
VERSION_INFO = ("*/version.info", "share/info/*/version.info")
# Others (tools, compilers of third parties) count in numbers of their own.
CORE = (
    *("toolkit", "nnae", "nnrt", "runtime", "npu_runtime", "compiler", "ge_compiler"),
    *("ge_executor", "opp", "opp_kernel", "ops", "ops_legacy"),
)
# A release has at most four parts: 8.5.0.alpha001; an internal number five: 8.3.0.1.200.
MOST_RELEASE_PARTS = 4
# They are some hundred bytes long.
LONGEST_FILE_BYTES = 64 << 10


@dataclass(frozen=True, kw_only=True)
class Version:
    """What is installed; either number is empty where no file holds it.

    `others` are the packages of another version than these two, each with its own.
    """

    release: str = ""
    internal: str = ""
    others: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Both numbers, each by its kind."""
        if not self.internal:
            return self.release or "of unknown version"
        return f"{self.release or 'of unknown release'} (internal number {self.internal})"


def cann_version(root: Path) -> Version:
    """Read every version file of an installation; one that cannot be read counts for nothing."""
    # sorted keeps the order of files among readings of one package
    core = [reading for reading in _readings(root) if reading[0] in CORE]
    by_trust = sorted(core, key=lambda reading: CORE.index(reading[0]))
    release = next((release for _, release, _ in by_trust if release), "")
    internal = next((internal for _, _, internal in by_trust if internal), "")
    others = {
        f"{package} {Version(release=one, internal=number)}"
        for package, one, number in by_trust
        if _differs(one, release) or _differs(number, internal)
    }
    return Version(release=release, internal=internal, others=tuple(sorted(others)))


def driver_version(path: Path) -> Version:
    """Read a driver's or firmware's version.info, whose keys come in either case."""
    lines = entries(path)
    versions = [value for key, value in lines if key in ("version", "package_version")]
    first = versions[0] if versions else ""
    others = dict.fromkeys(one for one in versions[1:] if _differs(one, first))
    return Version(release=first, others=tuple(f"package {one}" for one in others))


def entries(path: Path) -> list[tuple[str, str]]:
    """The lines `key=value` of a file, keys in lower case; none where it cannot be read."""
    try:
        with open_plain(path) as file:
            text = file.read(LONGEST_FILE_BYTES).decode("utf-8-sig", "replace")
    except OSError:
        return []  # many are readable to root alone
    pairs = (line.split("=", 1) for line in text.splitlines() if not line.lstrip().startswith("#"))
    return [(pair[0].strip().lower(), pair[1].strip(" \t\"'")) for pair in pairs if len(pair) == 2]


def _readings(root: Path) -> Iterator[tuple[str, str, str]]:
    """Package, release and internal number, of each package in each file."""
    for path in _of_this_machine(_glob(root, INSTALL_INFO)):
        package = path.name.removeprefix("ascend_").removesuffix("_install.info")
        for key, value in entries(path):
            if key == "version":
                yield package, *_numbers(value)
    yield from _configured(entries(root / VERSION_CFG))
    for path in _glob(root, VERSION_INFO):
        lines = entries(path)
        # before 8.5 this was CANN-7.6, and the number the internal one whatever it looks like
        old = any(key == "version_dir" and "CANN-" in value.upper() for key, value in lines)
        package = path.parent.name.replace("-", "_")
        for number in [value for key, value in lines if key == "version"]:
            is_internal = old or not is_release(number)
            yield (package, "", number) if is_internal else (package, number, "")


def _configured(lines: list[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    """What of each package runs, or, in a file without a line on that, what was installed last."""
    running = [line for line in lines if line[0].endswith(_RUNNING)]
    for key, value in running or [line for line in lines if line[0].endswith(_INSTALLED)]:
        package = key.removesuffix(_RUNNING).removesuffix(_INSTALLED)
        # one pair of brackets for each release that was ever installed, the newest last
        yield package, *_numbers(value.rstrip("]").rpartition("[")[2])


def _of_this_machine(files: list[Path]) -> list[Path]:
    """All but other processors' files, unless there are no more than those."""
    own = f"{platform.machine()}-linux"
    return [
        path for path in files if path.parent.name == own or not path.parent.name.endswith("-linux")
    ] or files


def _glob(root: Path, patterns: tuple[str, ...]) -> list[Path]:
    return [path for pattern in patterns for path in sorted(root.glob(pattern))]


def _numbers(value: str) -> tuple[str, str]:
    """Release and internal number of "[internal:release]"; brackets may be missing."""
    number = value.partition("]")[0].lstrip("[").strip()
    internal, colon, release = (part.strip() for part in number.partition(":"))
    if colon:
        return release, internal
    return (number, "") if is_release(number) else ("", number)


def is_release(number: str) -> bool:
    """Whether a number that comes without its kind is a release, and not an internal one."""
    return len(re.findall(r"[^.]+", number)) <= MOST_RELEASE_PARTS


def _differs(one: str, other: str) -> bool:
    """Whether two known numbers of one kind differ."""
    return bool(one and other) and one.casefold() != other.casefold()
