"""Collects from the machine itself: output of npu-smi, versions, packages, settings, logs."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from runtime.doctor import devices, plain_files
from runtime.doctor.box import LONGEST_TEXT_BYTES, Box, read_tail
from runtime.doctor.cann import Cann
from runtime.doctor.versions import INSTALL_INFO, VERSION_CFG, VERSION_INFO, driver_version
from runtime.machine import npu_smi, process, processor

VARIABLES = re.compile(r"(ASCEND|TORCH|OMP)_.*|(LD_LIBRARY_)?PATH|PYTHONPATH")
# The first chips of a large machine stand for the others.
MOST_BOARD_QUERIES = 16
MOST_VERSION_FILES = 100
# What installers note of where they put things, and the system's own name.
SYSTEM_FILES = (
    Path("/etc/ascend_install.info"),
    Path("/etc/Ascend/ascend_cann_install.info"),
    Path("/etc/os-release"),
)


def tool_output(command: Sequence[str | Path], timeout_s: float) -> tuple[str, bool]:
    """Run a tool; give its command, exit status and output, and whether it was ended.

    Raises:
        BackendUnavailable: it cannot be started.
    """
    done = process.run(command, timeout_s=timeout_s)
    how = f"no end within {timeout_s:g} s" if done.timed_out else f"exit status {done.returncode}"
    shown = " ".join([Path(command[0]).name, *map(str, command[1:])])
    return f"$ {shown}\n[{how}]\n{done.output[-LONGEST_TEXT_BYTES:]}", done.timed_out


def npu_smi_answers(box: Box) -> None:
    """The table, the list, the map, and the board of each chip that the list names."""
    tool = npu_smi.find_tool()
    if tool is None:
        box.failed.append((npu_smi.TOOL, "not on PATH, and not in " + ", ".join(npu_smi.PLACES)))
        return

    def ask(name: str, *options: str) -> str:
        text, hangs = tool_output([tool, "info", *options], npu_smi.TIMEOUT_S)
        box.parts[f"npu-smi/{name}.txt"] = text
        if hangs:
            raise TimeoutError(name)
        return text

    try:
        ask("info")
        queries = board_queries(ask("info-l", "-l"))
        ask("info-m", "-m")
        for card, *chip in queries[:MOST_BOARD_QUERIES]:
            options = ["-i", card, *(["-c", *chip] if chip else [])]
            ask("-".join(["board", card, *chip]), "-t", "board", *options)
    except TimeoutError as hung:
        box.failed.append((f"{npu_smi.TOOL} {hung}", "it hangs; no further query was made"))
        return
    left_out = len(queries) - MOST_BOARD_QUERIES
    if left_out > 0:
        box.failed.append((f"{npu_smi.TOOL} board queries", f"the last {left_out} were left out"))


def board_queries(cards: str) -> list[tuple[str, ...]]:
    """The card, or card and chip, of each board that npu-smi's list of cards names.

    Both forms, with and without a chip: which of them works depends on the chip's family. Without
    `runtime.machine.npu_smi`, because this archive matters most where that cannot read the answers.
    """
    _, *by_card = re.split(r"(?m)^\s*NPU ID\s*:\s*(\d+)", cards)
    queries: list[tuple[str, ...]] = [(card,) for card in by_card[::2]]
    for card, facts in zip(by_card[::2], by_card[1::2], strict=True):
        count = re.search(r"Chip Count\s*:\s*(\d+)", facts)
        queries += [(card, str(chip)) for chip in range(int(count[1]) if count else 0)]
    return queries


def version_files(box: Box, cann: Cann | None) -> None:
    """The version files themselves, and what was read in them."""
    files = {f"etc/{path.name}": path for path in SYSTEM_FILES}
    if cann is not None:
        found = [
            path
            for one in (*INSTALL_INFO, VERSION_CFG, *VERSION_INFO)
            for path in cann.root.glob(one)
        ]
        files |= {
            f"cann/{path.relative_to(cann.root)}": path for path in found[:MOST_VERSION_FILES]
        }
    of_driver = [
        path
        for folder in devices.driver_folders()
        for path in (folder / "version.info", folder.with_name("firmware") / "version.info")
    ]
    files |= {f"driver-{i}-{path.parent.name}.info": path for i, path in enumerate(of_driver)}
    for name, path in files.items():
        # most machines lack some of them; one that this user may not read is worth a line
        with box.attempt(str(path)), suppress(FileNotFoundError):
            box.parts[f"versions/{name}"] = read_tail(path)
    read = {path: driver_version(path) for path in of_driver}
    box.parts["versions/read.json"] = {
        "cann": cann and {"root": str(cann.root), **asdict(cann.installed)},
        "driver": {str(path): asdict(one) for path, one in read.items() if one.release},
    }


def python(box: Box) -> None:
    """This Python, its packages, and what it runs on."""
    packages = {
        f"{one.metadata['Name']}=={one.version}"
        for one in metadata.distributions()
        if one.metadata["Name"]
    }
    box.parts["python.json"] = {
        "python": sys.version,
        "executable": sys.executable,
        "platform": platform.platform(),
        "libc": " ".join(platform.libc_ver()),
        "cores": os.cpu_count(),
        "cores_allowed": processor.cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "path": sys.path,
        "packages": sorted(packages, key=str.casefold),
    }


def settings(box: Box, environment: Mapping[str, str] = os.environ) -> None:
    """The variables that CANN, torch and OpenMP go by."""
    box.parts["environment.json"] = {
        name: value for name, value in sorted(environment.items()) if VARIABLES.fullmatch(name)
    }


def newest_logs(box: Box, environment: Mapping[str, str] = os.environ) -> None:
    """The end of CANN's newest log of each kind."""
    for kind, path in plogs(environment):
        box.add_text(f"plog/{kind}-{path.name}", path)


def plogs(environment: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    """The newest log of each kind, where CANN writes them.

    [V: hicann/runtime, plog_file_mgr.c PlogGetEnvPath, docs env_vars/ASCEND_PROCESS_LOG_PATH.md]
    """
    root = Path(environment.get("HOME") or os.path.expanduser("~")) / "ascend/log"  # noqa: PTH111
    if environment.get("ASCEND_WORK_PATH"):
        root = Path(environment["ASCEND_WORK_PATH"]) / "log"
    root = Path(environment.get("ASCEND_PROCESS_LOG_PATH") or root)
    for kind in ("debug", "run"):
        found = [
            path for path in (root / kind / "plog").glob("plog-*.log") if plain_files.is_file(path)
        ]
        if found:
            yield kind, max(found, key=lambda one: one.stat().st_mtime)
