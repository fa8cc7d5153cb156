"""torch and torch_npu: each by itself, with one another and with CANN."""

from __future__ import annotations

from importlib import metadata

from runtime.doctor.cann import Cann
from runtime.doctor.findings import Finding
from runtime.doctor.packages import numbers
from runtime.doctor.probe import Answer, ask, installed

# torch loads installed device backends by itself, and where that fails, `import torch` fails.
AUTOLOAD_OFF = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
LOWEST = "2.1"

# CANN -> the releases of torch_npu that go with it.
# Source: COMPATIBILITY.en.md of Ascend's torch_npu.
PAIRS = {
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


def examine(cann: Cann | None) -> tuple[Finding, Finding]:
    """Try torch as everybody imports it, then as this project does, then torch_npu."""
    if not installed("torch"):
        torch = Finding(
            level="warning",
            about="torch",
            found="not installed: no checkpoint can run",
            mend="pip install '.[torch]'",
        )
        return torch, _npu_alone()
    plain = ask("torch")
    npu = installed("torch_npu")
    held = ask("torch", **AUTOLOAD_OFF) if plain.errors and npu else plain
    return _torch(plain, held, cann), _torch_npu(held, cann) if npu else _npu_alone()


def _torch(plain: Answer, held: Answer, cann: Cann | None) -> Finding:
    if held.errors:
        return Finding(
            level="problem",
            about="torch",
            found=f"cannot be imported: {held.cause}",
            mend="pip install --force-reinstall torch",
        )
    if plain.errors:
        # held back, it loads: it was torch_npu, not torch
        return Finding(
            level="problem",
            about="torch",
            found=f"{held.version} is sound, but `import torch` fails: torch loads the installed"
            f" torch_npu by itself, and that fails with {plain.cause}",
            mend=f"{_environment(cann)}; without an NPU: pip uninstall torch_npu, or export"
            " TORCH_DEVICE_BACKEND_AUTOLOAD=0 (this project's own torch engine does so itself)",
            works_still=True,
        )
    if numbers(held.version) < numbers(LOWEST):
        return Finding(
            level="problem",
            about="torch",
            found=f"{held.version}, and {LOWEST} or newer is needed",
            mend=f"pip install 'torch>={LOWEST}'",
        )
    return Finding(level="ok", about="torch", found=held.version)


def _npu_alone() -> Finding:
    return Finding(
        level="warning",
        about="torch_npu",
        found="not installed",
        mend="on the machine with the NPU: pip install '.[npu]'",
        npu_lacks="torch_npu",
    )


def _torch_npu(torch: Answer, cann: Cann | None) -> Finding:
    version = _installed_version("torch_npu")
    other = torch.version or _installed_version("torch")
    fitting = _fitting(other, cann)
    if numbers(version) and numbers(other)[:3] != numbers(version)[:3]:
        return Finding(
            level="problem",
            about="torch_npu",
            found=f"{version} needs torch {_base(version)}, and torch is {other}",
            mend=_pair(fitting or version.partition("+")[0]),
            npu_lacks="a torch_npu that pairs with torch",
        )
    answer = ask("torch_npu", **AUTOLOAD_OFF)
    if answer.errors:
        return Finding(
            level="problem",
            about="torch_npu",
            found=f"{version} cannot be imported: {answer.cause}",
            mend=_environment(cann),
            npu_lacks="a torch_npu that can be imported",
        )
    if not answer.facts.get("available"):
        return Finding(
            level="warning",
            about="torch_npu",
            found=f"{version}: it can be imported, and sees no NPU",
            mend="see the lines on driver and npu-smi below",
            npu_lacks="an NPU that torch_npu sees",
        )
    sees = f"{version}, {answer.facts['devices']} device(s)"
    row = _row(cann)
    # a local version ("+git1234") says nothing about the release
    if cann is None or not row or version.partition("+")[0] in row:
        known = f", not known with CANN {cann.version}" if cann and not row else ""
        return Finding(level="ok", about="torch_npu", found=sees + known)
    return Finding(
        level="warning",
        about="torch_npu",
        found=f"{sees}; with CANN {cann.version} go {', '.join(row)}",
        mend=_pair(fitting or row[-1]),
        works_still=True,
    )


def _fitting(torch: str, cann: Cann | None) -> str:
    """The release of torch_npu for this torch and this CANN; empty where none is known."""
    return next((one for one in _row(cann) if numbers(one)[:3] == numbers(torch)[:3]), "")


def _pair(torch_npu: str) -> str:
    return f"pip install 'torch=={_base(torch_npu)}' 'torch_npu=={torch_npu}'"


def _base(version: str) -> str:
    return ".".join(map(str, numbers(version)[:3]))


def _row(cann: Cann | None) -> tuple[str, ...]:
    by_case = {name.casefold(): row for name, row in PAIRS.items()}
    return by_case.get(cann.version.casefold(), ()) if cann else ()


def _installed_version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(of unknown version)"


def _environment(cann: Cann | None) -> str:
    if cann is None:
        return "with an NPU: install CANN and source its set_env.sh"
    return f"with an NPU: {cann.source_command}"
