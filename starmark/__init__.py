"""The front door: `starmark export|infer|compare|...`, and `from starmark import Detector`.

Every public name of `runtime` is one of this package, and loaded on first use: importing it loads
no engine.
"""

import importlib.util
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any


def _own(name: str) -> ModuleType:
    """Import a package of this project from beside this one, whatever bears its name elsewhere.

    An empty entry of PYTHONPATH, as set_env.sh leaves it, puts the current folder first.

    Raises:
        ImportError: another one is imported already.
    """
    spec = PathFinder.find_spec(name, [str(Path(__file__).parents[1])])
    assert spec is not None  # noqa: S101  # for mypy: they are installed together
    assert spec.loader is not None  # noqa: S101  # likewise
    if name not in sys.modules:
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    found, own = (Path(str(file)).resolve() for file in (sys.modules[name].__file__, spec.origin))
    if found != own:
        raise ImportError(f"{found} is imported, and starmark's {name} is {own}: rename the first")
    return sys.modules[name]


runtime = _own("runtime")
_own("parity")
_own("export")

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
