"""ATC's precision modes: how far fp16 reaches, and which chips have the arithmetic.

Source: ge docs, --precision_mode and --precision_mode_v2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from runtime.machine.soc import BF16_FAMILIES, FP16_CUBE_FAMILIES, Soc

# How far fp16 reaches: into every operator, into what feeds convolutions and matrix products, or
# nowhere.
Reach = Literal["all", "cube", "none"]
HIF8_FAMILY = "Ascend950"


@dataclass(frozen=True)
class PrecisionMode:
    """One mode.

    Attributes:
        reach: of fp16.
        brings: the dtype it needs of the chip.
    """

    reach: Reach
    brings: Literal["fp16", "fp32", "bf16", "hif8"] = "fp16"

    def missing_on(self, soc: Soc) -> str:
        """The arithmetic this chip is known to lack for it; empty where it lacks none.

        Source: the chips that each type is limited to [V: ge docs, --precision_mode_v2].
        """
        if not soc.is_known:
            return ""
        families = {"bf16": BF16_FAMILIES, "hif8": (HIF8_FAMILY,)}.get(self.brings)
        return "" if families is None or soc.family in families else self.brings

    def doubtful_on(self, soc: Soc) -> bool:
        """Whether it wants fp32 convolutions of a cube unit that may have fp16 alone."""
        return self.brings == "fp32" and soc.family in FP16_CUBE_FAMILIES


_ALL = PrecisionMode("all")
_ORIGIN = PrecisionMode("none", brings="fp32")
_CUBE = PrecisionMode("cube")
# bf16 has the range of fp32
_BF16 = PrecisionMode("none", brings="bf16")
MODES: dict[str, dict[str, PrecisionMode]] = {
    "precision_mode": {
        "force_fp16": _ALL,
        "must_keep_origin_dtype": _ORIGIN,
        "force_fp32": _CUBE,
        "cube_fp16in_fp32out": _CUBE,
        "allow_fp32_to_fp16": _CUBE,
        "allow_mix_precision": _ALL,
        "allow_mix_precision_fp16": _ALL,
        "allow_mix_precision_bf16": _BF16,
        "allow_fp32_to_bf16": _BF16,
    },
    "precision_mode_v2": {
        "fp16": _ALL,
        "origin": _ORIGIN,
        "cube_fp16in_fp32out": _CUBE,
        "mixed_float16": _ALL,
        "mixed_bfloat16": _BF16,
        "cube_hif8": PrecisionMode("cube", brings="hif8"),  # its range is no wider than fp16's
        "mixed_hif8": PrecisionMode("all", brings="hif8"),
    },
}
# ATC's own on every chip [V: ge fe_context_utils.cc].
DEFAULT_OPTION, DEFAULT_MODE = "precision_mode", "force_fp16"
