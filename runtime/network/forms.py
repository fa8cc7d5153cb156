"""Other ways to run the same network in torch, to be measured beside the published one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch

from runtime.errors import BackendUnavailable, one_line

Form = Literal["channels-last", "compiled"]


def in_form(network: torch.nn.Module, form: Form, first: torch.Tensor) -> Callable[..., Any]:
    """Make what is called in the network's place.

    Args:
        network: in evaluation mode, on its device; its weights' layout may change, no number does.
        form: "channels-last" lays maps out as (N, H, W, C); "compiled" goes through torch.compile,
            which takes a minute or more, and again for the first other size of batch.
        first: a batch to compile with, now, and not at a call where nobody expects it to fail or
            to take so long.

    Raises:
        BackendUnavailable: torch.compile cannot work here.
    """
    if form == "channels-last":
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        return lambda crops: network(crops.contiguous(memory_format=torch.channels_last))
    try:
        compiled: Callable[..., Any] = torch.compile(network)
        compiled(first)
    # the compiler's parts raise classes of their own, and RuntimeError
    except Exception as error:
        said = error.__cause__ or error
        raise BackendUnavailable(
            "torch.compile",
            expected=f"a network that torch {torch.__version__} compiles, with a C++ compiler",
            got=one_line(f"{type(said).__name__}: {said}", 300),
            action="Install one (apt-get install g++) or name it in CXX, or use torch as it is",
        ) from error
    return compiled
