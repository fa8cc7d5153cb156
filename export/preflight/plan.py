"""What the conversion will be: chip, batches and precision mode, as far as preflight needs them."""

from __future__ import annotations

from dataclasses import dataclass

from export.atc.precision import DEFAULT_MODE, DEFAULT_OPTION, MODES, PrecisionMode
from runtime.errors import ConfigError
from runtime.machine.npu_smi import chosen_soc
from runtime.machine.soc import Soc


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How the graph will be converted.

    Attributes:
        soc: None where no chip was named: what depends on it is then not checked.
        batches: as `runtime.model.manifest.OmFact.batches`; empty where none will be given to ATC.
        gears: whether one model will serve all batches (`--dynamic_batch_size`).
        option: the precision option, "precision_mode" or "precision_mode_v2".
        mode: its value.
    """

    soc: Soc | None
    batches: tuple[int, ...]
    gears: bool
    option: str
    mode: str

    @property
    def precision(self) -> PrecisionMode:
        """What the mode does."""
        return MODES[self.option][self.mode]


def plan_of(
    *, soc_version: str | None, batches: tuple[int, ...], gears: bool, precision: str
) -> Plan:
    """Check what the conversion will be given.

    Args:
        soc_version: a chip's exact name, "auto" for this machine's, or None.
        batches: positive numbers, or none.
        gears: see `Plan`.
        precision: as in the manifest, for example "precision_mode_v2=origin"; empty for ATC's
            default.

    Raises:
        BackendUnavailable: this machine's chip is to be taken, and npu-smi names none.
        ConfigError: no such chip or mode, or a batch below 1.
    """
    option, _, mode = (precision or f"{DEFAULT_OPTION}={DEFAULT_MODE}").partition("=")
    option = option.strip().removeprefix("--")
    if mode not in MODES.get(option, {}):
        known = [f"{name}={value}" for name, values in MODES.items() for value in values]
        raise ConfigError(
            "precision",
            expected=f"one of {', '.join(known)}",
            got=repr(precision),
            action="Choose one of them, or leave it out for fp16",
        )
    if any(batch < 1 for batch in batches):
        raise ConfigError(
            "batches",
            expected="numbers of 1 or more",
            got=repr(batches),
            action="Name the batches to convert for, for example 1,4",
        )
    soc = None if soc_version is None else chosen_soc(soc_version)
    return Plan(soc=soc, batches=batches, gears=gears, option=option, mode=mode)
