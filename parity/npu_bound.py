"""The least time that a chip can take, from its published figures: a bound, and no prediction.

Sources, read in November 2026. Cores, clock, cache and rates: hicann/runtime,
src/platform/platform_config/cann/Ascend310P3.ini and Ascend910B3.ini ([SoCInfo], [AICoreSpec],
[AICoreMemoryRates], [VectorCoreSpec]). In a cycle the cube multiplies 16x16x16 in fp16
(cube_m_size, cube_k_size, cube_n_size), and the vector unit takes 128 numbers in fp16
(vec_calc_size), 64 in fp32. The memory of a 310P3: 204.8 GB/s; of a 910B3: published figures go
from 0.4 to 1.6 TB/s, and a bound has to take the highest.

Where a published peak is higher than cores x clock, the peak is taken: 313 TFLOPS for a 910B3,
whose 20 cores make 295 at 1.8 GHz. HF32 is taken at half of fp16: its operands are twice as wide
on the same path to the cube (l1_to_l0_a_rate). Measured products of fp32 matrices run at a quarter
(84.5 of 354 TFLOPS on a 910B2: zzc0721/torch-performance-test-data, issue 109).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from runtime.machine.soc import soc_of

Arithmetic = Literal["fp16", "fp32"]
ARITHMETICS: tuple[Arithmetic, ...] = ("fp16", "fp32")
BYTES = {"fp16": 2, "fp32": 4}


@dataclass(frozen=True, kw_only=True)
class Chip:
    """What a chip can do at most.

    Attributes:
        macs_per_s: multiply-adds of the cube units, by arithmetic. "fp32" is HF32 where the cube
            has it; a 310P3's convolutions compute in fp16 all the same.
        vector_per_s: numbers that all vector units take, by arithmetic.
        cube_bytes_per_s, vector_bytes_per_s: from and to the cache, of the cores of either kind.
        memory_bytes_per_s: of the memory behind it.
        cache_bytes: of L2.
    """

    macs_per_s: dict[str, float]
    vector_per_s: dict[str, float]
    cube_bytes_per_s: float
    vector_bytes_per_s: float
    memory_bytes_per_s: float
    cache_bytes: int


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one kernel, or several, have to do for one picture.

    Attributes:
        macs: multiply-adds of convolutions and matrix products.
        vector: numbers that vector instructions take, the least for its operators.
        moved: numbers of the maps that its kernels read and write.
        weights: numbers of its weights, which are read once for a whole batch.
    """

    macs: int = 0
    vector: int = 0
    moved: int = 0
    weights: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(
            macs=self.macs + other.macs,
            vector=self.vector + other.vector,
            moved=self.moved + other.moved,
            weights=self.weights + other.weights,
        )


CHIPS = {
    "Ascend310P3": Chip(
        macs_per_s={"fp16": 35e12, "fp32": 35e12},  # 70 TFLOPS; 8 x 4096 x 1.06 GHz is 34.7
        vector_per_s={"fp16": 128 * (8 * 1.06e9 + 7 * 1e9), "fp32": 64 * (8 * 1.06e9 + 7 * 1e9)},
        cube_bytes_per_s=8 * 114 * 1.06e9,
        vector_bytes_per_s=8 * 114 * 1.06e9 + 7 * 57 * 1e9,
        memory_bytes_per_s=204.8e9,
        cache_bytes=16 << 20,
    ),
    "Ascend910B3": Chip(
        macs_per_s={"fp16": 156.5e12, "fp32": 78.25e12},
        vector_per_s={"fp16": 40 * 128 * 1.8e9, "fp32": 40 * 64 * 1.8e9},
        cube_bytes_per_s=20 * 110 * 1.8e9,
        vector_bytes_per_s=40 * 110 * 1.8e9,
        memory_bytes_per_s=1.6e12,
        cache_bytes=192 << 20,
    ),
}


def chip_of(soc_version: str) -> Chip | None:
    """The figures of a whole chip; None for a slice, and for a chip that has none here."""
    soc = soc_of(soc_version, printed=True)
    return None if soc.slice else CHIPS.get(soc.name)


def network_bound_s(soc_version: str, gflop: float, parameters: int) -> float | None:
    """The least seconds for one picture, in fp16, whatever a model computes in.

    Args:
        soc_version: as ATC accepts it.
        gflop: of the graph, as a manifest counts it.
        parameters: likewise.

    Returns:
        None where the chip has no figures here.
    """
    chip = chip_of(soc_version)
    if chip is None:
        return None
    work = Work(macs=round(gflop * 1e9 / 2), weights=parameters)
    return fused_s(chip, work, "fp16", 1, parameters)


def fused_s(chip: Chip, work: Work, arithmetic: Arithmetic, batch: int, weights: int) -> float:
    """Seconds if all units worked at once, and no map inside ever left a core.

    Args:
        chip: where.
        work: of the whole, `moved` being what comes in and goes out of it.
        arithmetic: what it computes in.
        batch: pictures in one call.
        weights: numbers of the whole network's weights: where they do not fit into the cache, each
            call reads them from the memory.
    """
    size = BYTES[arithmetic]
    stay = weights * size <= chip.cache_bytes
    read_at = chip.cube_bytes_per_s if stay else chip.memory_bytes_per_s
    return max(
        batch * work.macs / chip.macs_per_s[arithmetic],
        batch * work.vector / chip.vector_per_s[arithmetic],
        batch * work.moved * size / chip.vector_bytes_per_s,
        work.weights * size / read_at,
    )


def kernels_s(chip: Chip, kernels: Iterable[Work], arithmetic: Arithmetic, batch: int) -> float:
    """Seconds if each kernel waited for the one before, at no cost of starting it."""
    size = BYTES[arithmetic]
    return sum(
        max(
            batch * one.macs / chip.macs_per_s[arithmetic],
            batch * one.vector / chip.vector_per_s[arithmetic],
            (batch * one.moved + one.weights)
            * size
            / (chip.cube_bytes_per_s if one.macs else chip.vector_bytes_per_s),
        )
        for one in kernels
    )
