"""The doctor's report: findings and routes, as text or JSON."""

from __future__ import annotations

from dataclasses import KW_ONLY, asdict, dataclass
from functools import partial
from typing import Any, Literal

from runtime.errors import one_line
from runtime.machine.npu_smi import NpuDevice

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line about one thing.

    Attributes:
        level: ok; warning, where something is absent that the CPU can do without; or problem.
        about: the thing.
        found: its version and place, or what is wrong with it.
        mend: the command that mends it.
        npu_lacks: what the NPU path lacks because of it.
        works_still: this project's engines work all the same.
    """

    level: Level
    about: str
    found: str
    mend: str = ""
    _: KW_ONLY
    npu_lacks: str = ""
    works_still: bool = False

    @property
    def works(self) -> bool:
        """Whether an engine may build on it."""
        return self.level == "ok" or self.works_still


ok = partial(Finding, "ok")
warning = partial(Finding, "warning")
problem = partial(Finding, "problem")


@dataclass(frozen=True, kw_only=True)
class Route:
    """One engine on one kind of device: the files it opens, and why it cannot run."""

    engine: str
    device: str
    opens: str
    refused: str = ""


@dataclass(frozen=True, kw_only=True)
class Examination:
    """Everything that was examined."""

    findings: tuple[Finding, ...]
    routes: tuple[Route, ...]
    devices: tuple[NpuDevice, ...] = ()

    @property
    def usable(self) -> tuple[Route, ...]:
        """The routes that can run."""
        return tuple(route for route in self.routes if not route.refused)

    @property
    def npu_lacks(self) -> tuple[str, ...]:
        """What the NPU path lacks, each named once, in the order of the findings."""
        return tuple(dict.fromkeys(one.npu_lacks for one in self.findings if one.npu_lacks))

    def text(self) -> str:
        """Aligned lines, a mending command below each that has one, and a summary."""
        about = max(len(one.about) for one in self.findings)
        lines = []
        for one in self.findings:
            lines.append(f"{one.level:<8} {one.about:<{about}}  {one_line(one.found, 500)}")
            if one.mend:
                lines.append(f"{'':<8} {'':<{about}}  -> {one.mend}")
        lines.append("")
        names = [f"{route.engine} on {route.device}" for route in self.routes]
        for name, route in zip(names, self.routes, strict=True):
            verdict = f"cannot run: {route.refused}" if route.refused else f"runs {route.opens}"
            lines.append(f"{name:<{max(map(len, names))}}  {one_line(verdict, 500)}")
        lines += ["", *self.summary()]
        return "\n".join(lines)

    def summary(self) -> tuple[str, str]:
        """One line for the engines and one for the NPU path."""
        usable = ", ".join(f"{route.engine} on {route.device}" for route in self.usable)
        on_npu = ", ".join(route.engine for route in self.usable if route.device == "npu")
        lacks = ", ".join(self.npu_lacks)
        missing = f"missing {lacks}" if lacks else "nothing is missing"
        return (
            f"This machine can use: {usable or 'no engine'}",
            f"NPU path: {f'usable through {on_npu}; ' if on_npu else ''}{missing}",
        )

    def record(self) -> dict[str, Any]:
        """Everything in the text, for machines."""
        return {
            "findings": [asdict(one) for one in self.findings],
            "routes": [asdict(one) | {"usable": not one.refused} for one in self.routes],
            "npu_lacks": list(self.npu_lacks),
            "devices": [asdict(one) for one in self.devices],
        }
