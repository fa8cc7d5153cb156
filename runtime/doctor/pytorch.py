"""torch and torch_npu: each by itself, with one another and with CANN."""

from __future__ import annotations

import platform
import sys
from importlib import metadata

from runtime.doctor.cann import Cann
from runtime.doctor.findings import Finding, ok, problem, warning
from runtime.doctor.packages import too_old
from runtime.doctor.probe import Answer, ask, installed
from runtime.machine.npu_packages import install_pair, release_of
from runtime.machine.packages import install_extra

# torch loads installed device backends by itself, and where that fails, `import torch` fails.
AUTOLOAD_OFF = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
LOWEST = "2.1"

# CANN -> the releases of torch_npu that go with it, from torch 2.1 on, ascending.
# [V: Ascend/pytorch, COMPATIBILITY.en.md of August 2026, all rows]
PAIRS = {
    "7.0.RC1": ("2.1.0rc1",),
    "7.0.0": ("2.1.0",),
    "8.0.RC1": ("2.1.0.post4", "2.2.0"),
    "8.0.RC2": ("2.1.0.post6", "2.2.0.post2", "2.3.1"),
    "8.0.RC3": ("2.1.0.post8", "2.3.1.post2", "2.4.0"),
    "8.0.0": ("2.1.0.post10", "2.3.1.post4", "2.4.0.post2"),
    "8.1.RC1": ("2.1.0.post12", "2.3.1.post6", "2.4.0.post4", "2.5.1"),
    "8.2.RC1": ("2.1.0.post13", "2.5.1.post1", "2.6.0"),
    "8.3.RC1": ("2.1.0.post17", "2.6.0.post3", "2.7.1", "2.8.0"),
    "8.5.0": ("2.6.0.post5", "2.7.1.post2", "2.8.0.post2", "2.9.0"),
    "9.0.0": ("2.7.1.post4", "2.8.0.post4", "2.9.0.post2"),
    "9.1.0": ("2.7.1.post8", "2.9.0.post6", "2.10.0.post4", "2.11.0", "2.12.0"),
}
# torch -> the newest Python that torch_npu has wheels for. [V: the same, its second table]
NEWEST_PYTHON = {
    (2, 2): (3, 10),
    **{(2, minor): (3, 11) for minor in (1, 3, 4, 5, 6)},
    **{(2, minor): (3, 13) for minor in (7, 8, 9, 10)},
}


def examine(cann: Cann | None) -> tuple[Finding, Finding]:
    """Try torch as everybody imports it, then as this project does, then torch_npu."""
    if not installed("torch"):
        mend = install_extra("torch")
        mend += f"; for the NPU, before it: {_pair_for(cann, '')}" if cann else ""
        torch = warning("torch", "not installed: no checkpoint can run", mend)
        return torch, _no_torch_npu(cann, "")
    plain = ask("torch")
    held = ask("torch", **AUTOLOAD_OFF) if plain.errors else plain
    if not installed("torch_npu"):
        on_npu = _no_torch_npu(cann, held.version)
        return _torch(plain, held, "the device backend's package", cann), on_npu
    return _torch(plain, held, "torch_npu", cann), _torch_npu(held, cann)


def _torch(plain: Answer, held: Answer, backend: str, cann: Cann | None) -> Finding:
    if held.errors:
        npu = _installed_version("torch_npu")
        mend = "pip install --force-reinstall torch"
        if _is_version(npu):
            mend = f"pip uninstall -y torch && {install_pair(npu)}"
        return problem("torch", f"cannot be imported: {held.cause}", mend)
    if plain.errors:
        # held back, it loads: it was the backend, not torch
        return problem(
            "torch",
            f"{held.version} is sound, but `import torch` fails: torch loads"
            f" {backend} by itself, and that fails with {plain.cause}",
            f"{_environment(cann)}; without an NPU: pip uninstall {backend}, or export"
            " TORCH_DEVICE_BACKEND_AUTOLOAD=0 (this project's own torch engine does so itself)",
            works_still=True,
        )
    return too_old("torch", held.version, "torch", LOWEST) or ok("torch", held.version)


def _no_torch_npu(cann: Cann | None, torch: str) -> Finding:
    there = "on the machine with the NPU: python -m runtime.doctor, for the pair with its CANN"
    mend = _pair_for(cann, torch) if cann else there
    return warning("torch_npu", "not installed", mend, npu_lacks="torch_npu")


def _torch_npu(torch: Answer, cann: Cann | None) -> Finding:
    version = _installed_version("torch_npu")
    other = torch.version or _installed_version("torch")
    row = _row(cann)
    pair = _pair_for(cann, other) if cann and row else install_pair(version)
    if _is_version(version) and release_of(other) != release_of(version):
        needs = ".".join(map(str, release_of(version)))
        found = f"{version} needs torch {needs}, and torch is {other}"
        return problem("torch_npu", found, pair, npu_lacks="a torch_npu that pairs with torch")
    # a local version ("+git1234") is no part of the release
    listed = not row or version.partition("+")[0] in row
    answer = ask("torch_npu", **AUTOLOAD_OFF)
    if answer.errors:
        found = f"{version} cannot be imported: {answer.cause}"
        mend = _environment(cann) if listed else pair
        return problem("torch_npu", found, mend, npu_lacks="a torch_npu that can be imported")
    if not answer.facts.get("available"):
        found = f"{version}: it can be imported, and sees no NPU"
        mend = "see the lines on driver and npu-smi below"
        return warning("torch_npu", found, mend, npu_lacks="an NPU that torch_npu sees")
    found = f"{version}, {answer.facts['devices']} device(s)"
    if listed:
        known = f", not known with CANN {cann.version}" if cann and not row else ""
        return ok("torch_npu", found + known)
    found += f"; known to go with this CANN: {', '.join(row)}"
    return warning("torch_npu", found, pair, works_still=True)


def _pair_for(cann: Cann, torch: str) -> str:
    """The commands that install the torch_npu for this CANN: for this torch, or the newest."""
    row = _row(cann)
    if not row:
        named = f"CANN {cann.version}" if cann.version else "this CANN, whose release is not known,"
        return f"install the torch_npu that Ascend/pytorch's COMPATIBILITY.md lists for {named}"
    built = [one for one in row if _newest_python(one) >= sys.version_info[:2]]
    if not built:
        newest = max(map(_newest_python, row))
        return (
            f"torch_npu for CANN {cann.version} ends at Python {newest[0]}.{newest[1]}, and this is"
            f" {platform.python_version()}: make an environment with that, and run this there"
        )
    same = (one for one in built if torch and release_of(one) == release_of(torch))
    return install_pair(next(same, built[-1]))


def _newest_python(torch_npu: str) -> tuple[int, int]:
    major, minor, _ = release_of(torch_npu)
    return NEWEST_PYTHON.get((major, minor), (3, 14))


def _row(cann: Cann | None) -> tuple[str, ...]:
    by_case = {name.casefold(): row for name, row in PAIRS.items()}
    return by_case.get(cann.version.casefold(), ()) if cann else ()


def _installed_version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(of unknown version)"


def _is_version(text: str) -> bool:
    return text[:1].isdecimal()


def _environment(cann: Cann | None) -> str:
    if cann is None:
        return "with an NPU: install CANN and source its set_env.sh"
    return f"with an NPU: {cann.source_command}"
