"""What the conversion will be: chip, batches and precision mode, as far as preflight needs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from runtime.errors import ConfigError
from runtime.soc import Soc, soc_of

# How far fp16 reaches: into every operator, into what feeds convolutions and matrix products, or
# nowhere. [V: ge docs, --precision_mode and --precision_mode_v2]
Reach = Literal["all", "cube", "none"]
MODES: dict[str, dict[str, Reach]] = {
    "precision_mode": {
        "force_fp16": "all",
        "must_keep_origin_dtype": "none",
        "force_fp32": "cube",
        "cube_fp16in_fp32out": "cube",
        "allow_fp32_to_fp16": "cube",
        "allow_mix_precision": "all",
        "allow_mix_precision_fp16": "all",
        "allow_mix_precision_bf16": "none",  # bf16 has the range of fp32
        "allow_fp32_to_bf16": "none",
    },
    "precision_mode_v2": {
        "fp16": "all",
        "origin": "none",
        "cube_fp16in_fp32out": "cube",
        "mixed_float16": "all",
        "mixed_bfloat16": "none",
        "cube_hif8": "cube",  # its range is no wider than that of fp16
        "mixed_hif8": "all",
    },
}
# ATC's own default on every chip [V: ge fe_context_utils.cc].
DEFAULT_PRECISION = "precision_mode_v2=fp16"
FP32_MODES = ("must_keep_origin_dtype", "origin")
BF16_MODES = ("allow_mix_precision_bf16", "allow_fp32_to_bf16", "mixed_bfloat16")
HIF8_MODES = ("cube_hif8", "mixed_hif8")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How the graph will be converted.

    Attributes:
        soc: None where no chip was named: what depends on it is then not checked.
        batches: as `runtime.manifest.OmFact.batches`; empty where none will be given to ATC.
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
    def reach(self) -> Reach:
        """How far fp16 reaches."""
        return MODES[self.option][self.mode]


def plan_of(
    *, soc_version: str | None, batches: tuple[int, ...], gears: bool, precision: str
) -> Plan:
    """Check what the conversion will be given.

    Args:
        soc_version: a chip's exact name, or None.
        batches: positive numbers, or none.
        gears: see `Plan`.
        precision: as in the manifest, for example "precision_mode_v2=origin"; empty for ATC's
            default.

    Raises:
        ConfigError: no such chip or mode, or a batch below 1.
    """
    option, _, mode = (precision or DEFAULT_PRECISION).partition("=")
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
    soc = None if soc_version is None else soc_of(soc_version)
    return Plan(soc=soc, batches=batches, gears=gears, option=option, mode=mode)
