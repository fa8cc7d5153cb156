"""A torch_npu whose devices live on the CPU: strict where the real one is, and it keeps a diary.

Like the real package it registers `torch.npu` when it is imported, and like it refuses what a
thread without a device asks. Convolutions really lose the bits that the process's settings let them
lose, so that a setting that is off at the wrong moment shows in the outputs.
"""

from torch_npu import npu as npu
from torch_npu.tensor import install, uninstall

__all__ = ["npu", "uninstall"]
__version__ = "0"

install()


def _autoload() -> None:
    """What the entry point of torch.backends names."""
