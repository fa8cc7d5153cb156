"""The driver, the chips, and whether ACL opens them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from runtime.doctor.cann import PREFIXES, Cann, version_in
from runtime.doctor.findings import Finding
from runtime.doctor.probe import ask, installed
from runtime.errors import StarmarkError
from runtime.npu_smi import NpuDevice, list_devices

DEV = Path("/dev")

# What the codes of ACL's first calls mean. Source: the public headers of CANN's runtime.
CODES = {
    100000: "invalid parameter",
    100039: "a stub library for compiling, no driver",
    107001: "no such device, or no driver",
    207004: "no device",
    500000: "internal error",
    507008: "this CANN does not know the chip",
    507033: "the device cannot be set up",
}


def driver(prefixes: Iterable[Path] = PREFIXES, dev: Path = DEV) -> Finding:
    """The driver's own version file, and the device nodes it makes."""
    versions = [path for one in prefixes for path in one.glob("driver/version.info")]
    nodes = sorted(path.name for path in dev.glob("davinci[0-9]*"))
    version = (version_in(versions[0]) or "of unknown version") if versions else ""
    if nodes and version:
        return Finding(level="ok", about="driver", found=f"{version}, {', '.join(nodes)}")
    if nodes:
        return Finding(
            level="warning",
            about="driver",
            found=f"{', '.join(nodes)}, but none of its files",
            mend="in a container: docker run -v /usr/local/Ascend/driver:/usr/local/Ascend/driver",
            npu_lacks="the driver's libraries",
        )
    if version:
        return Finding(
            level="problem",
            about="driver",
            found=f"{version} is installed, but there is no {dev}/davinci<N>",
            mend="in a container: docker run --device /dev/davinci0 --device /dev/davinci_manager"
            " --device /dev/devmm_svm --device /dev/hisi_hdc; else look at dmesg and restart",
            npu_lacks="device nodes",
        )
    return Finding(
        level="warning",
        about="driver",
        found=f"none: no driver/version.info, no {dev}/davinci<N>",
        mend="on the machine with the NPU: install its driver and firmware",
        npu_lacks="driver",
    )


@dataclass(frozen=True, kw_only=True)
class Chips:
    """The lines about npu-smi and each chip, and the chips."""

    findings: tuple[Finding, ...]
    devices: tuple[NpuDevice, ...] = ()


def chips(*, driver_there: bool) -> Chips:
    """Ask npu-smi.

    Args:
        driver_there: whether a failure is a problem, and not just a machine without an NPU.
    """
    try:
        devices = list_devices()
    except StarmarkError as error:
        silent = Finding(
            level="problem" if driver_there else "warning",
            about="npu-smi",
            found=f"expected {error.expected}, got {error.got}",
            mend=error.action,
            npu_lacks="npu-smi",
        )
        return Chips(findings=(silent,))
    if not devices:
        empty = Finding(
            level="warning",
            about="npu-smi",
            found="answers, and lists no NPU",
            mend="npu-smi info",
            npu_lacks="an NPU",
        )
        return Chips(findings=(empty,))
    return Chips(findings=tuple(map(_chip, devices)), devices=devices)


def _chip(device: NpuDevice) -> Finding:
    where = f"NPU {device.npu_id} chip {device.chip_id}"
    memory = ""
    if device.memory_total_mb is not None:
        memory = f", {device.memory_used_mb} of {device.memory_total_mb} MB used"
    return Finding(
        level="ok" if device.health == "OK" else "warning",
        about=where,
        found=f"{device.soc_version}, health {device.health}{memory}",
        mend="" if device.health == "OK" else f"npu-smi info -t health -i {device.npu_id}",
    )


def acl(cann: Cann | None, devices: Iterable[NpuDevice] = ()) -> Finding:
    """Open ACL in a child Python, step by step.

    Args:
        cann: the installation it should come from.
        devices: what npu-smi lists; ACL must name the same chip.
    """
    source = cann.source_command if cann else "install CANN (see above) and source its set_env.sh"
    if not installed("acl"):
        return Finding(
            level="warning" if cann is None else "problem",
            about="ACL",
            found="the Python module acl is not importable",
            mend=source,
            npu_lacks="acl (pyACL)",
        )
    answer = ask("acl")
    if answer.errors:
        return Finding(
            level="problem",
            about="ACL",
            found=f"import acl fails: {answer.cause}",
            mend=source,
            npu_lacks="an acl that can be imported",
        )
    failed = [(call, code) for call, code in answer.facts["steps"] if code]
    if failed:
        call, code = failed[0]
        return Finding(
            level="problem",
            about="ACL",
            found=f"{call} gives {code}{f' ({CODES[code]})' if code in CODES else ''}",
            mend=f"{source}; look at ~/ascend/log/debug/plog for the reason",
            npu_lacks="an ACL that opens",
        )
    return _opened(int(answer.facts["devices"]), str(answer.facts["soc_version"]), devices)


def _opened(count: int, soc: str, devices: Iterable[NpuDevice]) -> Finding:
    names = {device.soc_version for device in devices}
    if not count:
        return Finding(
            level="problem",
            about="ACL",
            found="opens, and sees no device",
            mend="unset ASCEND_RT_VISIBLE_DEVICES; npu-smi info",
            npu_lacks="a device that ACL sees",
        )
    if names and soc not in names:
        return Finding(
            level="warning",
            about="ACL",
            found=f"opens {count} device(s) and calls the first {soc}, npu-smi {', '.join(names)}",
            mend=f"convert with --soc_version {soc}: the runtime goes by its own name",
            works_still=True,
        )
    return Finding(level="ok", about="ACL", found=f"opens {count} device(s), the first is {soc}")
