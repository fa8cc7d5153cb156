"""The installer where several Pythons are, with CANN and without: which one it takes, and why."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from kits import HERE_ARCH, install, installs, kit_for, real_ascend, unpack

from export.kit.wheelhouse import PYTHONS

pytestmark = [installs, real_ascend]
Installed = Callable[..., tuple[Path, subprocess.CompletedProcess[str]]]


@pytest.fixture(scope="module")
def packed_for_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kit for every Python in which every package but ours is empty."""
    return kit_for(tmp_path_factory.mktemp("packed"), list(PYTHONS))


# A Python of another version: its environments are this one's, with a mark inside.
OTHER_PYTHON = """#!/bin/sh
{spoiled}
case "$*" in
*"sys.version_info[:2], platform"*) echo {version} {arch} ;;
*"-m venv "*) for to; do :; done && cp -a "{template}" "$to" && echo {version} > "$to/made_by" ;;
*) exec "{python}" "$@" ;;
esac
"""
# CANN's pyACL, one file for every Python, which works in some of them.
ACL = """
import pathlib, sys
made_by = pathlib.Path(sys.prefix, "made_by").read_text().strip()
if made_by not in {works!r}:
    raise ImportError(f"acl.so: undefined symbol: _Py{{made_by}}")
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment to copy: making one takes ten times as long."""
    folder = tmp_path_factory.mktemp("template") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=300)
    return folder


@pytest.fixture
def installed(packed_for_all: Path, template: Path, tmp_path: Path) -> Installed:
    """Unpack the kit on a box as `box_with` makes it, with more settings, and install it there."""

    def run(
        *pythons: str, settings: Mapping[str, str] | None = None, **box: Any
    ) -> tuple[Path, subprocess.CompletedProcess[str]]:
        folder = unpack(packed_for_all, tmp_path)
        environment = box_with(tmp_path, template, *pythons, **box) | dict(settings or {})
        return folder, install(folder, **environment)

    return run


def box_with(
    folder: Path,
    template: Path,
    *pythons: str,
    release: str = "",
    works: str = "",
    spoiled: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Pythons on PATH, and CANN of this release, if any, whose pyACL works in some of them.

    What goes wrong in a `spoiled` version is a line of its shell script.
    """
    (folder / "bin").mkdir()
    for name in ("python3", "python", *(f"python{version}" for version in PYTHONS)):
        version = name.removeprefix("python")
        text = "#!/bin/sh\nexit 127\n"  # a shim without a Python, before the system's own
        if version in pythons:
            text = OTHER_PYTHON.format(
                version=version,
                arch=HERE_ARCH,
                python=sys.executable,
                template=template,
                spoiled=(spoiled or {}).get(version, ""),
            )
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    if release:
        root = folder / "Ascend/cann"
        info = root / f"{HERE_ARCH}-linux/ascend_toolkit_install.info"
        for one in (info.parent, root / "opp", root / "python/site-packages"):
            one.mkdir(parents=True)
        info.write_text(f"package_name=Ascend-cann-toolkit\nversion={release}\n")
        (root / "python/site-packages/acl.py").write_text(ACL.format(works=works.split()))
        (root / "set_env.sh").write_text(
            f"echo sourced; unset_variable=$NOT_SET_BEFORE\nexport ASCEND_HOME_PATH={root}\n"
            f"export PYTHONPATH={root}/python/site-packages:$PYTHONPATH\n"
        )
    return {"PATH": f"{folder}/bin:/usr/bin:/bin", "HOME": str(folder)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pythons", "release", "works", "order", "taken"),
    [
        # Huawei lists 3.13 from 8.5.0 on
        ("3.10 3.12 3.13", "8.5.0", "3.10 3.12 3.13", "3.13 3.12 3.10", "3.13"),
        # 3.11 until then; what is newer comes last, and is not refused
        ("3.10 3.12 3.13", "8.2.RC1", "3.10 3.12", "3.10 3.12 3.13", "3.10"),
        ("3.10 3.12 3.13", "8.2.RC1", "3.13", "3.10 3.12 3.13", "3.13"),
        ("3.10 3.11", "8.0.RC2", "3.11", "3.10 3.11", "3.11"),
    ],
)
def test_newest_listed_python_that_imports_pyacl_is_taken(
    installed: Installed,
    tmp_path: Path,
    pythons: str,
    release: str,
    works: str,
    order: str,
    taken: str,
) -> None:
    """With CANN's settings, which stay in there; each that fails is told with its reason."""
    folder, done = installed(*pythons.split(), release=release, works=works)

    assert done.returncode == 0, done.stderr
    assert f"CANN {release} in {tmp_path}/Ascend/cann. " in done.stdout
    assert f"in the order to try: {order}\n" in done.stdout
    tried = order.partition(taken)[0].split()
    for version in tried:
        said = f"python{version}): import acl fails: ImportError: acl.so: undefined symbol: _Py"
        assert f"{said}{version}\n" in done.stdout
    assert done.stdout.count("import acl fails") == len(tried)
    assert f"Python {taken} (python{taken}): taken, it imports acl" in done.stdout
    assert (folder / "venv/made_by").read_text() == f"{taken}\n"
    assert f"  source {tmp_path}/Ascend/cann/set_env.sh\n" in done.stdout


@pytest.mark.slow
def test_box_whose_pythons_all_fail_is_installed_with_a_warning(installed: Installed) -> None:
    """Everything but the NPU works; the first in the order stays."""
    folder, done = installed("3.10", "3.13", release="8.5.0")

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("import acl fails") == 2
    assert "warning: no Python here imports acl, see above; Python 3.13 is taken." in done.stderr
    assert (folder / "venv/made_by").read_text() == "3.13\n"


# pip finds no wheel that fits, as where glibc is too old.
NO_WHEELS = """
case "$*" in *"-m venv "*)
    for to; do :; done
    cp -a "{template}" "$to"
    cd "$to"/lib/*/site-packages/pip || exit
    echo 'raise SystemExit("ERROR: no wheel fits")' > __main__.py
    exit ;;
esac
"""


@pytest.mark.parametrize(
    ("spoiled", "works", "code", "taken"),
    [
        ("3.13", "3.10", 0, "Python 3.10 (python3.10): taken, it imports acl"),
        # the last one costs nothing that was installed before
        ("3.10", "", 0, "Python 3.13 is taken"),
        ("3.10 3.13", "", 4, "error: pip: expected to install what wheels/3.10-"),
    ],
)
def test_python_for_which_pip_fails_is_passed_over(
    installed: Installed,
    template: Path,
    spoiled: str,
    works: str,
    code: int,
    taken: str,
) -> None:
    """With its reason and pip's own words; where it fails for all, no half-made environment."""
    scripts = dict.fromkeys(spoiled.split(), NO_WHEELS.format(template=template))
    folder, done = installed("3.10", "3.13", release="8.5.0", works=works, spoiled=scripts)

    assert done.returncode == code, done.stderr
    for version in scripts:
        assert f"Python {version} (python{version}): pip failed, see above\n" in done.stdout
    assert "ERROR: no wheel fits" in done.stderr
    assert taken in done.stdout + done.stderr
    if code == 0:
        other = {"3.10": "3.13", "3.13": "3.10"}[spoiled]
        assert (folder / "venv/made_by").read_text() == f"{other}\n"
    else:
        assert "glibc" in done.stderr
        assert not list(folder.glob("*venv*"))


@pytest.mark.slow
def test_box_without_cann_gets_the_python_that_most_cann_list(installed: Installed) -> None:
    """CANN may come after the kit."""
    _, done = installed("3.10", "3.12", "3.11", "3.13")

    assert done.returncode == 0, done.stderr
    assert "No CANN found. " in done.stdout
    assert "in the order to try: 3.11 3.10 3.12 3.13\n" in done.stdout
    assert "Python 3.11 (python3.11): taken; without CANN pyACL cannot be tried" in done.stdout


@pytest.mark.slow
def test_python_that_is_named_is_the_only_one(installed: Installed, tmp_path: Path) -> None:
    """It is tried, too; and settings of CANN that are there already are not sourced again."""
    root = tmp_path / "Ascend/cann"
    settings = {
        "PYTHON": f"{tmp_path}/bin/python3.10",
        "ASCEND_HOME_PATH": str(root),
        "ASCEND_OPP_PATH": f"{root}/opp",
        "LD_LIBRARY_PATH": f"{root}/lib64",
        "PYTHONPATH": f"{root}/python/site-packages",
    }
    _, done = installed("3.10", "3.13", release="8.5.0", works="3.13", settings=settings)

    assert done.returncode == 0, done.stderr
    assert "in the order to try: 3.10\n" in done.stdout
    assert "import acl fails: ImportError: acl.so: undefined symbol: _Py3.10" in done.stdout
    assert "Python 3.10 is taken" in done.stderr
    assert "  source " not in done.stdout
