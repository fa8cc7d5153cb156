"""The driver, the chips, and whether ACL opens them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from runtime.doctor.cann import PREFIXES, Cann
from runtime.doctor.findings import Finding, ok, problem, warning
from runtime.doctor.probe import ask, installed
from runtime.doctor.versions import driver_version, entries
from runtime.errors import ConfigError, StarmarkError
from runtime.machine import visible_devices
from runtime.machine.npu_smi import NpuDevice, list_devices
from runtime.machine.soc import Soc, soc_of

DEV = Path("/dev")
# Where the driver's installer notes its folder. [V: hicann/runtime, acl.cpp GetPkgPath]
INSTALL_INFO = Path("/etc/ascend_install.info")
DRIVER_KEY = "driver_install_path_param"


def driver_folders(
    prefixes: Iterable[Path] = PREFIXES, install_info: Path = INSTALL_INFO
) -> list[Path]:
    """The driver's folders: the one its installer noted, and the usual ones."""
    noted = [Path(value) for key, value in entries(install_info) if key == DRIVER_KEY and value]
    return list(dict.fromkeys(one / "driver" for one in (*noted, *prefixes)))


def driver(
    prefixes: Iterable[Path] = PREFIXES, dev: Path = DEV, install_info: Path = INSTALL_INFO
) -> Finding:
    """The driver's own version file, and the device nodes it makes."""
    folders = driver_folders(prefixes, install_info)
    files = [path for one in folders for path in one.glob("version.info")]
    nodes = ", ".join(sorted(path.name for path in dev.glob("davinci[0-9]*")))
    version = driver_version(files[0]) if files else None
    known = ", ".join((f"version {version}", *version.others)) if version else ""
    if nodes and known:
        return ok("driver", f"{known}, {nodes}")
    if nodes:
        mend = "in a container: docker run -v /usr/local/Ascend/driver:/usr/local/Ascend/driver"
        lacks = "the driver's libraries"
        return warning("driver", f"{nodes}, but none of its files", mend, npu_lacks=lacks)
    if known:
        return problem(
            "driver",
            f"{known} is installed, but there is no {dev}/davinci<N>",
            "in a container: docker run --device /dev/davinci0 --device /dev/davinci_manager"
            " --device /dev/devmm_svm --device /dev/hisi_hdc; else look at dmesg and restart",
            npu_lacks="device nodes",
        )
    return warning(
        "driver",
        f"none: no driver/version.info, no {dev}/davinci<N>",
        "on the machine with the NPU: install its driver and firmware",
        npu_lacks="driver",
    )


def chips(*, driver_there: bool) -> tuple[tuple[NpuDevice, ...], tuple[Finding, ...]]:
    """Ask npu-smi for the chips, and report on each; beside a driver, a failure is a problem."""
    try:
        devices = list_devices()
    except StarmarkError as error:
        found = error.problem
        level = problem if driver_there else warning
        return (), (level("npu-smi", found, error.action, npu_lacks="npu-smi"),)
    if not devices:
        empty = "answers, and lists no NPU"
        return (), (warning("npu-smi", empty, "npu-smi info", npu_lacks="an NPU"),)
    return devices, tuple(map(_chip, devices))


def _chip(device: NpuDevice) -> Finding:
    where = f"NPU {device.npu_id} chip {device.chip_id}"
    memory = ""
    if device.memory_total_mb is not None:
        used = "?" if device.memory_used_mb is None else device.memory_used_mb
        memory = f", {used} of {device.memory_total_mb} MB used"
    part = f", slice {device.slice} (convert for it with --virtual_type=1)" if device.slice else ""
    found = f"{device.soc_version}{part}, health {device.health}{memory}"
    if device.health == "OK":
        return ok(where, found)
    return warning(where, found, f"npu-smi info -t health -i {device.npu_id}")


def families(devices: Iterable[NpuDevice]) -> set[str]:
    """Short names of the chips' families; a chip that is not known here has none."""
    socs = (_soc(device.soc_version) for device in devices)
    return {soc.family for soc in socs if soc is not None and soc.is_known}


def _soc(name: str) -> Soc | None:
    """The chip of a name that a tool printed, listed here or not; None for what is no name."""
    try:
        return soc_of(name, printed=True)
    except ConfigError:
        return None


def acl(
    cann: Cann | None,
    devices: Iterable[NpuDevice] = (),
    environment: Mapping[str, str] = os.environ,
) -> Finding:
    """Open ACL in a child Python, step by step; it must name a chip that npu-smi lists."""
    source = cann.source_command if cann else "install CANN (see above) and source its set_env.sh"
    if not installed("acl"):
        found = "the Python module acl is not importable"
        return (problem if cann else warning)("ACL", found, source, npu_lacks="acl (pyACL)")
    answer = ask("acl")
    if answer.errors:
        found = f"import acl fails: {answer.cause}"
        return problem("ACL", found, source, npu_lacks="an acl that can be imported")
    count, soc = int(answer.facts["devices"]), str(answer.facts["soc_version"])
    for call, code in answer.facts["steps"]:
        if code:
            hidden = visible_devices.advice_on(code, environment)
            mend = hidden or f"{source}; look at ~/ascend/log/debug/plog for the reason"
            found = f"{call} gives {code}{_meaning(code)}"
            return problem("ACL", found, mend, npu_lacks="an ACL that opens")
    if not count:
        mend = visible_devices.advice(environment) or "npu-smi info"
        lacks = "a device that ACL sees"
        return problem("ACL", "opens, and sees no device", mend, npu_lacks=lacks)
    # for a slice, too, both name the whole chip
    names = {device.soc_version for device in devices}
    if not names or soc in names:
        return ok("ACL", f"opens {count} device(s), the first is {soc}")
    named = _soc(soc)
    return warning(
        "ACL",
        f"opens {count} device(s) and calls the first {soc}, npu-smi {', '.join(names)}",
        f"convert with --soc_version {named.as_option if named else soc}: the runtime goes by its"
        " own name",
        works_still=True,
    )


def _meaning(code: int) -> str:
    try:
        from runtime.backends.ascend.codes import CODES
    except ImportError:
        return ""  # the engines' package needs numpy, whose absence has a line of its own
    return f" ({CODES[code].meaning})" if code in CODES else ""
