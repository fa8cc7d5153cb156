"""Writes the version files of a CANN installation and of a driver, as their installers leave them.

Before 8.5 and since, each in the form of files that users have posted (6.0.1 to 9.2.0) and of the
open sources: hicann/runtime's tests (acl_common_unittest.cpp, plugin_pkg_version_utest.cpp),
ops-nn's scripts/generate_version_info.py, hicann/driver's build.sh and itf_ver.conf. All numbers
are our own.
"""

from __future__ import annotations

import platform
from pathlib import Path

PACKAGES = ("runtime", "compiler", "opp", "toolkit")
TIME = "20260102_030405678"


def internal_number(release: str) -> str:
    """The packages' own number of a release before 8.5, which counts otherwise than releases do."""
    numbers = {"6": "1.84.7.4", "7": "7.1.0.9", "8.0": "7.6.0.9", "8.1": "7.7.0.9"}
    prefix = next((n for r, n in numbers.items() if release.startswith(r)), f"{release[:3]}.0.9")
    return f"{prefix}.417"


def counts_alike(release: str) -> bool:
    """Whether version.info holds the release itself, as it does since 8.5."""
    major, _, rest = release.partition(".")
    return (int(major), int(rest[:1] or 0)) >= (8, 5)


def write_cann(root: Path, release: str) -> None:
    """All version files of a toolkit; those of another release that lie there are taken away."""
    for old in [root / "version.cfg", *root.glob("*/version.info"), *root.glob("share/info/*/*")]:
        old.unlink(missing_ok=True)
    arch = platform.machine()
    host = root / f"{arch}-linux"
    host.mkdir(parents=True, exist_ok=True)
    (host / "ascend_toolkit_install.info").write_text(
        f"package_name=Ascend-cann-toolkit\nversion={release}\ninnerversion=V100R001C90SPC777B001\n"
        "compatible_version=[V100R001C80],[V100R001C90]\n"
        f"arch={arch}\nos=linux\npath={root}/{arch}-linux\n"
    )
    if counts_alike(release):
        texts = f"Version={release}\nversion_dir=cann\ntimestamp={TIME}\n"
        folders = [*(root / "share/info" / name for name in PACKAGES), root / "opp"]
    else:
        number = internal_number(release)
        texts = f"Version={number}\nversion_dir=CANN-{number[:3]}\ntimestamp={TIME}\n"
        folders = [root / name for name in PACKAGES]
        kinds = ("running", "upgrade", "installed")
        lines = [
            f"{name}_{kind}_version=[{number}:{release}]\n" for kind in kinds for name in PACKAGES
        ]
        (root / "version.cfg").write_text("".join(["# version: 1.0\n", *lines]))
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "version.info").write_text(texts)


def write_driver(folder: Path, version: str) -> None:
    """The version.info of a driver."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "version.info").write_text(
        f"Version={version}\nascendhal_version=7.35.91\naicpu_version=1.0\n"
        "Innerversion=V100R001C90SPC777B002\ncompatible_version=[V100R001C80],[V100R001C90]\n"
        f"compatible_version_fw=[7.0.0,7.9.99]\npackage_version={version}\n"
    )
