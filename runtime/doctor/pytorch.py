"""torch and torch_npu: each by itself, with one another and with CANN."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class TorchFindings:
    """Both lines, and whether this project can use torch on the CPU."""

    torch: Finding
    torch_npu: Finding
    cpu_refused: str


def examine(cann: Cann | None) -> TorchFindings:
    """Try torch as everybody imports it, then as this project does, then torch_npu."""
    if not installed("torch"):
        torch = Finding(
            level="warning",
            about="torch",
            found="not installed: no checkpoint can run",
            mend="pip install '.[torch]'",
        )
        return TorchFindings(
            torch=torch, torch_npu=_npu_alone(), cpu_refused="torch is not installed"
        )
    plain = ask("torch")
    npu = installed("torch_npu")
    held = ask("torch", **AUTOLOAD_OFF) if plain.errors and npu else plain
    refused = f"torch cannot be imported: {held.cause}" if held.errors else ""
    return TorchFindings(
        torch=_torch(plain, held, cann),
        torch_npu=_torch_npu(held, cann) if npu else _npu_alone(),
        cpu_refused=refused,
    )


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
        )
    if numbers(held.version) < numbers(LOWEST):
        return Finding(
            level="warning",
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
    faulty = _unpaired(torch.version or _installed_version("torch"), version, cann)
    if faulty:
        return faulty
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
    known = "" if cann is None or _row(cann) else f" (not known with CANN {cann.version})"
    return Finding(
        level="ok",
        about="torch_npu",
        found=f"{version}, {answer.facts['devices']} device(s){known}",
    )


def _unpaired(torch: str, torch_npu: str, cann: Cann | None) -> Finding | None:
    """The finding where the three versions do not go together; None where one is unknown."""
    if not numbers(torch) or not numbers(torch_npu):
        return None
    row = _row(cann) if cann else ()
    fitting = [one for one in row if numbers(one)[:3] == numbers(torch)[:3]]
    if numbers(torch)[:3] != numbers(torch_npu)[:3]:
        base = ".".join(map(str, numbers(torch_npu)[:3]))
        wanted = f"torch_npu=={fitting[-1]}" if fitting else f"torch=={base}"
        return Finding(
            level="problem",
            about="torch_npu",
            found=f"{torch_npu} needs torch {base}, and torch is {torch}",
            mend=f"pip install '{wanted}'",
            npu_lacks="a torch_npu that pairs with torch",
        )
    # a local version ("+git1234") says nothing about the release
    if cann and row and torch_npu.partition("+")[0] not in row:
        wanted = fitting[-1] if fitting else row[-1]
        base = ".".join(map(str, numbers(wanted)[:3]))
        return Finding(
            level="warning",
            about="torch_npu",
            found=f"{torch_npu} is not listed with CANN {cann.version}, {', '.join(row)} are",
            mend=f"pip install 'torch=={base}' 'torch_npu=={wanted}'",
            npu_lacks="a torch_npu that pairs with CANN",
        )
    return None


def _row(cann: Cann) -> tuple[str, ...]:
    by_case = {name.casefold(): row for name, row in PAIRS.items()}
    return by_case.get(cann.version.casefold(), ())


def _installed_version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(of unknown version)"


def _environment(cann: Cann | None) -> str:
    if cann is None:
        return "with an NPU: install CANN and source its set_env.sh"
    return f"with an NPU: {cann.source_command}"
