"""What the kernel lists of this machine's processor; the standard library alone."""

from __future__ import annotations

from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
# Any of these computes in bf16: AVX512_BF16, AMX, AVX_NE_CONVERT, and Arm's.
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16"})
# x86 and Arm name the line differently.
FLAG_LINES = ("flags", "features")


def has_bf16(listing: Path = CPU_INFO) -> bool | None:
    """Whether the processor computes in bf16 itself; None where nothing lists what it can."""
    try:
        text = listing.read_text(encoding="ascii", errors="replace").lower()
    except OSError:  # no Linux
        return None
    for line in text.splitlines():
        name, _, flags = line.partition(":")
        if name.strip() in FLAG_LINES:
            return bool(BF16_FLAGS & set(flags.split()))
    return None
