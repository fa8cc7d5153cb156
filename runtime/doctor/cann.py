"""CANN on this machine: where, which version, whether its environment is set, what it lacks."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime import process
from runtime.doctor.findings import Finding
from runtime.errors import BackendUnavailable, one_line

# Where its installer puts it, for root and for a user. Source: CANN's set_env.sh and manuals.
# os.path's expanduser, because a container's user may have no home, at which Path's raises.
PREFIXES = (Path("/usr/local/Ascend"), Path(os.path.expanduser("~/Ascend")))  # noqa: PTH111
# Below a prefix: since 8.5, before it, and the packages that run models but convert none.
FOLDERS = ("cann", "ascend-toolkit/latest", "cann-*", "nnae/latest", "nnrt/latest")
HOME_VARIABLES = ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME")
# Without one of these, operators fail to compile in the middle of a conversion.
ATC_MODULES = ("numpy", "decorator", "attr", "psutil", "scipy", "sympy", "cffi")
ATC_TIMEOUT_S = 60.0
OPERATORS = "built-in/op_impl/ai_core/tbe/config"


@dataclass(frozen=True, kw_only=True)
class Cann:
    """One installation.

    Attributes:
        root: its folder, as it was named (links are not followed).
        version: as its own files say it; empty where none does.
        set_env: the script that sets its environment, None where there is none.
        unset: the parts of the environment that are not set.
    """

    root: Path
    version: str
    set_env: Path | None
    unset: tuple[str, ...]

    @property
    def source_command(self) -> str:
        """What sets its environment."""
        return f"source {self.set_env or self.root / 'set_env.sh'}"


def find(
    prefixes: Iterable[Path] = PREFIXES, environment: Mapping[str, str] = os.environ
) -> Cann | None:
    """The installation that the environment names, or the first under the usual prefixes."""
    for root in _candidates(prefixes, environment):
        if any(is_dir(root / part) for part in ("opp", "lib64", "python")):
            scripts = (root / "set_env.sh", root.parent / "set_env.sh", root / "bin/setenv.bash")
            return Cann(
                root=root,
                version=_version(root),
                set_env=next((one for one in scripts if one.is_file()), None),
                unset=tuple(_unset(root, environment)),
            )
    return None


def examine(
    cann: Cann | None,
    prefixes: Iterable[Path] = PREFIXES,
    environment: Mapping[str, str] = os.environ,
    families: Iterable[str] = (),
) -> list[Finding]:
    """All lines about CANN.

    Args:
        cann: what `find` found.
        prefixes: where it was looked for.
        environment: of this process.
        families: short names of this machine's chips, whose operators are needed.
    """
    if cann is None:
        named = [f"{name}={environment[name]}" for name in HOME_VARIABLES if name in environment]
        places = ", ".join(str(prefix / one) for prefix in prefixes for one in FOLDERS[:2])
        said = ", ".join(named) or "ASCEND_HOME_PATH is not set"
        missing = Finding(
            level="problem" if named else "warning",
            about="CANN",
            found=f"not found: {said}; and there is none in {places}",
            mend=f"./Ascend-cann-toolkit_<version>_linux-{platform.machine()}.run --install",
            npu_lacks="CANN",
        )
        return [missing, _atc(None)]
    return [
        Finding(level="ok", about="CANN", found=f"{cann.version or 'no version'} in {cann.root}"),
        _environment(cann),
        _operators(cann, environment, families),
        _modules(),
        _atc(cann),
    ]


def _candidates(prefixes: Iterable[Path], environment: Mapping[str, str]) -> Iterator[Path]:
    yield from (Path(environment[name]) for name in HOME_VARIABLES if environment.get(name))
    for prefix in prefixes:
        for folder in FOLDERS:
            yield from sorted(prefix.glob(folder), reverse=True)


def _version(root: Path) -> str:
    """Source: the files CANN's installation guides tell people to look at."""
    for pattern in ("*-linux/ascend_*_install.info", "*/version.info", "version.cfg"):
        for path in sorted(root.glob(pattern)):
            version = version_in(path)
            if version:
                return version
    return ""


def version_in(path: Path) -> str:
    """The line `version=` of one of CANN's or the driver's files; empty where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # many are readable to root alone
    found = re.search(r"(?im)^version=\[?([\w.]+)", text)
    return found.group(1) if found else ""


def is_dir(path: Path) -> bool:
    """Whether it is a folder that this user may see: root's own home is not, for most."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _unset(root: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Source: what CANN's set_env.sh exports."""
    for name in ("ASCEND_HOME_PATH", "ASCEND_OPP_PATH"):
        if not environment.get(name) or not is_dir(Path(environment[name])):
            yield name
    for name, part in (("LD_LIBRARY_PATH", "lib64"), ("PYTHONPATH", "python/site-packages")):
        entries = {os.path.realpath(one) for one in environment.get(name, "").split(":") if one}
        if os.path.realpath(root / part) not in entries:
            yield name


def _environment(cann: Cann) -> Finding:
    if cann.unset:
        return Finding(
            level="problem",
            about="CANN environment",
            found=f"not set for this installation: {', '.join(cann.unset)}",
            mend=cann.source_command,
            npu_lacks="CANN's environment (set_env.sh)",
        )
    return Finding(level="ok", about="CANN environment", found="set_env.sh was sourced")


def _operators(cann: Cann, environment: Mapping[str, str], families: Iterable[str]) -> Finding:
    """Since 8.5 the operators of each family of chips are a package of their own."""
    opp = Path(environment.get("ASCEND_OPP_PATH") or cann.root / "opp")
    # one folder for each family, named by its short name in lower case
    present = sorted({path.parent.name for path in (opp / OPERATORS).glob("*/aic-*.json")})
    lacking = sorted({one for one in families if one.lower() not in present})
    if lacking or not present:
        return Finding(
            level="problem" if lacking else "warning",
            about="CANN operators",
            found=f"none for {', '.join(lacking) or 'any chip'} in {opp / OPERATORS}"
            f" (there are: {', '.join(present) or 'none'})",
            mend="install the ops package of the chip, of the toolkit's own version:"
            f" ./Ascend-cann-*-ops_<version>_linux-{platform.machine()}.run --install",
            npu_lacks="CANN's ops package",
        )
    return Finding(level="ok", about="CANN operators", found=f"for {', '.join(present)}")


def _modules() -> Finding:
    """Atc compiles operators with the `python3` on PATH, which need not be this Python."""
    about = "atc's Python"
    python = shutil.which("python3")
    code = (
        "import importlib.util as u; print('@', *[m for m in"
        f" {ATC_MODULES!r} if u.find_spec(m) is None])"
    )
    try:
        done = process.run([python or "python3", "-c", code], timeout_s=ATC_TIMEOUT_S)
    except BackendUnavailable as error:
        return Finding(
            level="problem", about=about, found=str(error), mend="install Python 3", npu_lacks=about
        )
    said = re.search(r"(?m)^@(.*)$", done.output)
    if said is None or done.timed_out:
        return Finding(
            level="problem",
            about=about,
            found=f"{python} does not work: {one_line(done.output, 200)}",
            mend=f"{python} -c ''",
            npu_lacks=about,
        )
    missing = ["attrs" if one == "attr" else one for one in said.group(1).split()]
    if missing:
        return Finding(
            level="problem",
            about=about,
            found=f"{python} lacks {', '.join(missing)}, which compiling operators needs",
            mend=f"{python} -m pip install {' '.join(missing)}",
            npu_lacks=f"{', '.join(missing)} for atc",
        )
    return Finding(level="ok", about=about, found=f"{python} has what compiling operators needs")


def _atc(cann: Cann | None) -> Finding:
    found = shutil.which("atc")
    if found is None:
        there = cann is not None and (cann.root / "bin/atc").is_file()
        mend = cann.source_command if cann and there else "install the CANN toolkit (see CANN)"
        return Finding(
            level="problem" if there else "warning",
            about="atc",
            found="not on PATH" + (f", though in {cann.root / 'bin'}" if cann and there else ""),
            mend=mend,
            npu_lacks="atc",
        )
    try:
        done = process.run([found, "--help"], timeout_s=ATC_TIMEOUT_S)
    except BackendUnavailable as error:
        fault = str(error)
    else:
        if done.returncode == 0 and not done.timed_out:
            return Finding(level="ok", about="atc", found=found)
        how = "hangs" if done.timed_out else f"exits with {done.returncode}"
        fault = f"{found} --help {how}: {one_line(done.output, 200) or 'nothing said'}"
    return Finding(
        level="problem",
        about="atc",
        found=fault,
        mend=cann.source_command if cann else "install the CANN toolkit (see CANN)",
        npu_lacks="an atc that runs",
    )
