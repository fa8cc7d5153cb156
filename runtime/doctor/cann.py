"""CANN on this machine: where, which version, whether its environment is set, what it lacks."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from runtime.doctor import atc_python, plain_files
from runtime.doctor.findings import Finding, ok, problem, warning
from runtime.doctor.versions import Version, cann_version
from runtime.errors import BackendUnavailable, one_line
from runtime.machine import process

# Where its installer puts it, for root and for a user. Source: CANN's set_env.sh and manuals.
# os.path's expanduser, because a container's user may have no home, at which Path's raises.
PREFIXES = (Path("/usr/local/Ascend"), Path(os.path.expanduser("~/Ascend")))  # noqa: PTH111
# Below a prefix: since 8.5, before it, and the packages that run models but convert none.
FOLDERS = ("cann", "ascend-toolkit/latest", "cann-*", "nnae/latest", "nnrt/latest")
HOME_VARIABLES = ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME")
ATC_TIMEOUT_S = 60.0
# The exit status of a command that a shell or the loader could not start.
NOT_STARTED = (126, 127)
# A folder for each family of chips, its short name in lower case.
# [V: hicann/ge, nn_engine/utils/common/configuration.cc:1041, and its fe.ini]
OPERATORS = "built-in/op_impl/ai_core/tbe/config"
# Where pyACL and its library lie below an installation, in one of CANN's layouts.
LIBRARIES = ("lib64", "runtime/lib64", "acllib/lib64", "fwkacllib/lib64")
PYTHON_FOLDERS = (
    *("python/site-packages", "pyACL/python/site-packages"),
    *("python/site-packages/acl", "pyACL/python/site-packages/acl"),
)


@dataclass(frozen=True, kw_only=True)
class Cann:
    """One installation.

    Attributes:
        root: its folder, as it was named (links are not followed).
        installed: its release and internal number, out of its version files.
        set_env: the script that sets its environment, None where there is none.
        unset: the parts of the environment that are not set.
    """

    root: Path
    installed: Version
    set_env: Path | None
    unset: tuple[str, ...]

    @property
    def version(self) -> str:
        """The release, by which pairs are listed; empty where it is unknown."""
        return self.installed.release

    @property
    def converts(self) -> bool:
        """Whether it holds atc: the packages that only run models do not."""
        return plain_files.exists(self.root / "bin/atc") or shutil.which("atc") is not None

    @property
    def source_command(self) -> str:
        """What sets its environment."""
        return f"source {self.set_env or self.root / 'set_env.sh'}"


def find(
    prefixes: Iterable[Path] = PREFIXES, environment: Mapping[str, str] = os.environ
) -> Cann | None:
    """The installation that the environment names, or the first under the usual prefixes."""
    for root in _candidates(prefixes, environment):
        if any(plain_files.is_dir(root / part) for part in ("opp", "lib64", "python")):
            scripts = (root / "set_env.sh", root.parent / "set_env.sh", root / "bin/setenv.bash")
            return Cann(
                root=root,
                installed=cann_version(root),
                set_env=next((one for one in scripts if plain_files.is_file(one)), None),
                unset=tuple(_unset(root, environment)),
            )
    return None


def examine(
    cann: Cann | None,
    prefixes: Iterable[Path] = PREFIXES,
    environment: Mapping[str, str] = os.environ,
    families: Iterable[str] = (),
    *,
    acl_opens: bool = False,
) -> list[Finding]:
    """All lines about CANN.

    Args:
        cann: what `find` found.
        prefixes: where it was looked for.
        environment: of this process.
        families: short names of this machine's chips, whose operators are needed.
        acl_opens: whether pyACL was seen to open, whatever the environment looks like.
    """
    if cann is None:
        named = [f"{name}={environment[name]}" for name in HOME_VARIABLES if name in environment]
        told = ", ".join(named) or "ASCEND_HOME_PATH is not set"
        places = ", ".join(str(prefix / one) for prefix in prefixes for one in FOLDERS[:2])
        missing = (problem if named else warning)(
            "CANN",
            f"not found: {told}; and there is none in {places}",
            f"./Ascend-cann-toolkit_<version>_linux-{platform.machine()}.run --install",
            npu_lacks="CANN",
        )
        return [missing, _atc(None)]
    for_conversion = [_operators(cann, environment, families), atc_python.examine(cann.version)]
    if not cann.converts:
        # models that were converted elsewhere run without them
        for_conversion = [
            replace(one, level="ok" if one.level == "ok" else "warning", npu_lacks="")
            for one in for_conversion
        ]
    return [
        _installed(cann),
        _environment(cann, acl_opens=acl_opens),
        *for_conversion,
        _atc(cann),
    ]


def _candidates(prefixes: Iterable[Path], environment: Mapping[str, str]) -> Iterator[Path]:
    yield from (Path(environment[name]) for name in HOME_VARIABLES if environment.get(name))
    for prefix in prefixes:
        for folder in FOLDERS:
            yield from sorted(prefix.glob(folder), reverse=True)


def _unset(root: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Source: what CANN's set_env.sh exports, and the Dockerfiles of older runtime packages."""
    for name in ("ASCEND_HOME_PATH", "ASCEND_OPP_PATH"):
        if not environment.get(name) or not plain_files.is_dir(environment[name]):
            yield name
    for name, parts in (("LD_LIBRARY_PATH", LIBRARIES), ("PYTHONPATH", PYTHON_FOLDERS)):
        entries = {os.path.realpath(one) for one in environment.get(name, "").split(":") if one}
        if entries.isdisjoint(os.path.realpath(root / part) for part in parts):
            yield name


def _installed(cann: Cann) -> Finding:
    found = f"{cann.installed} in {cann.root}"
    if not cann.installed.others:
        return ok("CANN", found)
    others = f"with packages of other versions: {', '.join(cann.installed.others)}"
    mend = "install toolkit, ops and runtime packages of one release"
    return warning("CANN", f"{found}, {others}", mend, works_still=True)


def _environment(cann: Cann, *, acl_opens: bool) -> Finding:
    about = "CANN environment"
    if not cann.unset:
        return ok(about, "set_env.sh was sourced")
    found = f"not set for this installation: {', '.join(cann.unset)}"
    # Without the paths of libraries and modules nothing can be loaded, unless they are found by
    # other means. The other two have defaults, and not every package needs them.
    # [V: hicann/ge, plugin_manager.cc GetOppPath and configuration.cc InitAscendOpsPath]
    if {"LD_LIBRARY_PATH", "PYTHONPATH"}.isdisjoint(cann.unset) or acl_opens:
        found += "; pyACL opens all the same" if acl_opens else ""
        return warning(about, found, cann.source_command, works_still=True)
    return problem(about, found, cann.source_command, npu_lacks="CANN's environment (set_env.sh)")


def _operators(cann: Cann, environment: Mapping[str, str], families: Iterable[str]) -> Finding:
    """Since 8.5 the operators of each family of chips are a package of their own."""
    folder = Path(environment.get("ASCEND_OPP_PATH") or cann.root / "opp") / OPERATORS
    present = sorted(path.name for path in folder.glob("*") if plain_files.is_dir(path))
    lacking = sorted({one for one in families if one.lower() not in present})
    if present and not lacking:
        return ok("CANN operators", f"for {', '.join(present)}")
    return (problem if lacking else warning)(
        "CANN operators",
        f"none for {', '.join(lacking) or 'any chip'} in {folder}"
        f" (there are: {', '.join(present) or 'none'})",
        "install the ops package of the chip, of the toolkit's own version:"
        f" ./Ascend-cann-*-ops_<version>_linux-{platform.machine()}.run --install",
        npu_lacks="CANN's ops package",
    )


def _atc(cann: Cann | None) -> Finding:
    mend = cann.source_command if cann else "install the CANN toolkit (see CANN)"
    found = shutil.which("atc")
    if found is None and cann and plain_files.is_file(cann.root / "bin/atc"):
        return problem("atc", f"not on PATH, though in {cann.root / 'bin'}", mend, npu_lacks="atc")
    if found is None:
        mend = "install the CANN toolkit (see CANN)"
        return warning("atc", "not on PATH", mend, npu_lacks="atc")
    try:
        done = process.run([found, "--help"], timeout_s=ATC_TIMEOUT_S)
    except BackendUnavailable as error:
        fault, starts = str(error), False
    else:
        # The text counts: older releases exit with 1 behind it, as gflags does.
        # [V: mindspore-ai/graphengine r1.8, ge/offline/main.cc:344]
        if "--model" in done.output.split():
            return ok("atc", found)
        how = f"no end within {ATC_TIMEOUT_S:g} s" if done.timed_out else f"exit {done.returncode}"
        fault = f"{found} --help: {how}, without help: {one_line(done.output, 200) or 'no output'}"
        starts = done.returncode not in NOT_STARTED
    if "libascend_hal.so" in fault:
        # the driver's library; where there is none, the toolkit's stub is enough to convert
        # [V: hicann/ge, docs atc_tools/overview/environment_setup.md]
        devlib = (cann.root if cann else Path("<CANN>")) / f"{platform.machine()}-linux/devlib"
        mend = f'on a machine without an NPU: export LD_LIBRARY_PATH="$LD_LIBRARY_PATH:{devlib}"'
    if starts:
        # it may be slow, or of another form than ours: a conversion will show it
        return warning("atc", fault, mend, works_still=True)
    return problem("atc", fault, mend, npu_lacks="an atc that runs")
