"""The front door: `starmark export|infer|compare|...`, and `from starmark import Detector`.

Every public name of `runtime` is one of this package, and loaded on first use: importing it loads
no engine.
"""

from typing import TYPE_CHECKING, Any

import runtime

if TYPE_CHECKING:
    from runtime import *  # noqa: F403  # for type checkers and editors

__all__ = list(runtime.__all__)  # held by tests


def __getattr__(name: str) -> Any:
    """Load a public name of `runtime` on first use (PEP 562)."""
    if name not in runtime.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(runtime, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *runtime.__all__})
