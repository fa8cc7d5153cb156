"""Whether torch_npu can be used here: installed, paired with torch, importable, with devices.

Nothing is started by looking, so that `auto` may look and go on.

Source: torch_npu, __init__.py, utils/__init__.py, npu/__init__.py, COMPATIBILITY.en.md [V].
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from runtime.backends.torch.npu_failures import CHECK_DRIVER, SOURCE_CANN, Refusal, refusal_of
from runtime.errors import one_line
from runtime.machine import visible_devices
from runtime.machine.npu_packages import install_pair, release_of

logger = logging.getLogger("starmark")

AUTOLOAD = "TORCH_DEVICE_BACKEND_AUTOLOAD"
INSTALL = (
    "Run python -m runtime.doctor for the commands that install the pair of torch and torch_npu for"
    " this CANN; or name another device"
)

_importing = threading.Lock()
_outcome: tuple[Any, Refusal | None] | None = None


def refusal(index: int, torch_version: str) -> Refusal | None:
    """Find out why npu:index cannot be used beside the loaded torch; None where it can."""
    if importlib.util.find_spec("torch_npu") is None:
        return Refusal("torch_npu is not installed", INSTALL)
    unpaired = _unpaired(torch_version)
    if unpaired:
        return unpaired
    npu, refused = import_torch_npu()
    if refused:
        return refused
    try:
        with _warnings_logged():
            count = int(npu.device_count()) if npu.is_available() else 0
    except RuntimeError as error:
        return refusal_of(error, otherwise="its devices cannot be counted", action=CHECK_DRIVER)
    hidden = visible_devices.advice()
    if count == 0:
        return Refusal("torch_npu sees no device", hidden or CHECK_DRIVER)
    if index >= count:
        return Refusal(f"{count} npu devices found", hidden or "Name one of them, from npu:0 on")
    return None


def import_torch_npu() -> tuple[Any, Refusal | None]:
    """Import torch_npu, once for the process; return its `npu` module, or why there is none.

    After a failure a second attempt would fail for another reason: "npu and npu".
    """
    global _outcome  # noqa: PLW0603  # what is imported belongs to the process, too
    with _importing:
        if _outcome is None:
            _outcome = _import()
        return _outcome


def _import() -> tuple[Any, Refusal | None]:
    before, printed = os.environ.get(AUTOLOAD), io.StringIO()
    try:
        with _warnings_logged(), contextlib.redirect_stderr(printed):
            return importlib.import_module("torch_npu").npu, None
    # The loader raises ImportError, the check of CANN's folders plain Exception, and another
    # accelerator RuntimeError; releases for torch 2.1 to 2.4 print what is missing and call
    # sys.exit(), which would end this process with success [V].
    except (Exception, SystemExit) as error:  # noqa: BLE001  # reported, never swallowed
        return None, refusal_of(
            error,
            otherwise="torch_npu does not import",
            action=SOURCE_CANN,
            printed=printed.getvalue(),
        )
    finally:
        # torch_npu sets it while it loads and, where that fails, leaves it behind
        os.environ.pop(AUTOLOAD, None)
        if before is not None:
            os.environ[AUTOLOAD] = before


def _unpaired(torch_version: str) -> Refusal | None:
    """Torch_npu is built for one release of torch; beside another it fails by undefined symbols.

    Source: torch_npu's COMPATIBILITY.en.md [V]; its `.postN` follow CANN, not torch.
    """
    try:
        version = metadata.version("torch_npu")
    except metadata.PackageNotFoundError:
        return None  # on the path without an installation: what it was built for is unknown
    if release_of(version) == release_of(torch_version):
        return None
    wanted = ".".join(map(str, release_of(version)))
    return Refusal(
        f"torch_npu {version}, built for torch {wanted}, beside torch {torch_version}",
        f"Install the pair: {install_pair(version)}",
    )


@contextlib.contextmanager
def _warnings_logged() -> Iterator[None]:
    """Log what torch_npu warns of, such as CANN's owner: under -W error it would not import."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            for one in caught:
                level = logging.WARNING if one.category is UserWarning else logging.DEBUG
                logger.log(level, "warning: torch_npu: %s", one_line(one.message, 300))
