"""torch and torch_npu come in pairs that pip does not choose by itself.

On x86_64 torch_npu up to 2.11 requires `torch==X+cpu`, a build that the usual index does not hold;
later ones, and all on aarch64, require `torch==X`, of which the usual index may hold a CUDA build.
So torch comes from PyTorch's CPU index first, as torch_npu's README installs it, then torch_npu.

Sources: the metadata of the wheels torch_npu 2.1.0.post8, 2.6.0, 2.9.0.post2, 2.11.0 to 2.13.0 for
both processors, and of torch 2.6.0, 2.10.0 and 2.12.0; Ascend/pytorch, README.md and
COMPATIBILITY.en.md [V].
"""

from __future__ import annotations

import platform
import re

CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def install_commands(torch_npu: str) -> str:
    """The commands that install this release of torch_npu with its torch, for this processor.

    Args:
        torch_npu: for example "2.9.0.post2"; what follows a "+" is left out.
    """
    public = torch_npu.partition("+")[0]
    torch = ".".join(map(str, release_of(public)))
    # named without +cpu, a CUDA build of the same release that is there already would satisfy pip
    build = "+cpu" if platform.machine() == "x86_64" else ""
    return (
        f"pip install 'torch=={torch}{build}' --index-url {CPU_INDEX}"
        f" && pip install 'torch_npu=={public}'"
    )


def release_of(version: str) -> tuple[int, int, int]:
    """The release of torch: 2.1, 2.1.0.post8, 2.1.0rc1 and 2.1.0+cpu are all of (2, 1, 0)."""
    found = re.match(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?", version)
    major, minor, patch = found.groups("0") if found else ("0", "0", "0")
    return int(major), int(minor), int(patch)
