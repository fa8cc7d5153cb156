"""pyACL with owners: every return code checked, every handle released once and in order.

ACL is one for a process: initialised once, by whoever comes first (torch_npu initialises it, too),
and finalised when the process ends, because older CANN cannot start it again. Contexts belong to
threads, so whoever calls sets the device's context first.

Source of the contract: CANN's pyACL reference; docs/cann.md lists what of it is inferred.
"""

from __future__ import annotations

import atexit
import importlib
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from runtime.backends.acl_codes import REPEAT_INITIALIZE, acl_code
from runtime.errors import (
    ArtifactError,
    BackendUnavailable,
    InferenceError,
    StarmarkError,
    one_line,
)

logger = logging.getLogger("starmark")


class AclFailure(Exception):  # noqa: N818  # never seen outside the backends: translated there
    """A call that did not succeed: its name, its code (0: it gave no handle), what ACL said."""

    def __init__(self, call: str, code: int, said: str = "") -> None:
        super().__init__(call, code, said)
        self.call, self.code, self.said = call, code, said

    @property
    def loses_device(self) -> bool:
        """Whether nothing more can be done in the context this happened in."""
        return acl_code(self.code).loses_device

    def translated(self, where: str) -> StarmarkError:
        """As an error of this project, by what the code is about."""
        known = acl_code(self.code)
        got = f"{self.code} {known.symbol}: {known.meaning}" if self.code else "no handle"
        kind: type[StarmarkError] = {
            "unavailable": BackendUnavailable,
            "artifact": ArtifactError,
            "failed": InferenceError,
        }[known.kind]
        return kind(
            f"{where}: acl.{self.call}",
            expected="0, success",
            got=f"{got} ({one_line(self.said, 160)})" if self.said else got,
            action=known.remedy,
        )


class Acl:
    """The module `acl`, each call checked. Names are dotted: "rt.malloc"."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def do(self, call: str, *arguments: Any) -> None:
        """A call that gives its code alone."""
        self._check(call, self.ask(call, *arguments))

    def get(self, call: str, *arguments: Any) -> Any:
        """A call that gives a value and its code."""
        value, code = self.ask(call, *arguments)
        self._check(call, code)
        return value

    def make(self, call: str, *arguments: Any) -> int:
        """A call that gives a handle, with or without a code; 0 is none."""
        given = self.ask(call, *arguments)
        handle, code = given if isinstance(given, tuple) else (given, 0)
        self._check(call, code)
        if not handle:
            raise AclFailure(call, 0, self._said())
        return int(handle)

    def ask(self, call: str, *arguments: Any) -> Any:
        """A call that gives a value alone, or whose code the caller looks at."""
        function = self.module
        for name in call.split("."):
            function = getattr(function, name)
        return function(*arguments)

    def _check(self, call: str, code: int) -> None:
        if code != 0:
            raise AclFailure(call, code, self._said())

    def _said(self) -> str:
        # absent from the oldest CANN; reading clears it
        recent = getattr(self.module, "get_recent_err_msg", None)
        return str(recent() or "") if recent else ""


class Owner:
    """Handles of one thing, released once each, the last made first."""

    def __init__(self, acl: Acl) -> None:
        self._acl = acl
        self._releases: list[tuple[str, tuple[Any, ...]]] = []

    def make(self, release: str, call: str, *arguments: Any) -> int:
        """Make a handle that the call named by `release` will release."""
        handle = self._acl.make(call, *arguments)
        self._releases.append((release, (handle,)))
        return handle

    def owe(self, release: str, *arguments: Any) -> None:
        """Note a call that undoes one already made."""
        self._releases.append((release, arguments))

    def release(self) -> list[AclFailure]:
        """Release everything, whatever fails on the way; a second call finds nothing to do."""
        failures: list[AclFailure] = []
        while self._releases:
            call, arguments = self._releases.pop()
            try:
                self._acl.do(call, *arguments)
            except AclFailure as failure:
                failures.append(failure)
        return failures


class Device:
    """One device with one context, shared by everything this process opens on it.

    Attributes:
        users: how many share it.
        soc_version: its exact chip, as ACL says it.
        context: its handle.
    """

    def __init__(self, acl: Acl, index: int, *, shared: bool) -> None:
        self.acl, self.index = acl, index
        self.users = 0
        self._owner = Owner(acl)
        try:
            acl.do("rt.set_device", index)
            if not shared:  # where torch_npu runs, too, resetting would take the device from it
                self._owner.owe("rt.reset_device", index)
            self.soc_version = str(acl.ask("get_soc_name") or "")
            if not self.soc_version:
                raise AclFailure("get_soc_name", 0, "the device has no name")
            # a context of our own: the default one must never be destroyed
            self.context = self._owner.make("rt.destroy_context", "rt.create_context", index)
        except BaseException:
            self._owner.release()
            raise

    def enter(self) -> None:
        """Make the device's context current in the calling thread."""
        self.acl.do("rt.set_context", self.context)

    def release(self) -> list[AclFailure]:
        """Destroy the context and give the device back."""
        return self._owner.release()


class _Process:
    """What this process holds of ACL. All access is under `lock`."""

    def __init__(self) -> None:
        # re-entrant: a collected backend may be released in the middle of opening another
        self.lock = threading.RLock()
        self.acl: Acl | None = None
        self.ours = False
        self.with_torch_npu = False
        self.pid = os.getpid()
        self.devices: dict[int, Device] = {}
        self.live: list[Callable[[], object]] = []


_process = _Process()


def open_device(index: int) -> Device:
    """Take a device, initialising ACL and setting the device's context up where needed.

    Raises:
        BackendUnavailable: pyACL is not importable.
        AclFailure: ACL or the device did not start.
    """
    with _process.lock:
        acl = _started()
        # last registered is first to run: before torch_npu's own, which finalises ACL
        atexit.unregister(shut_down)
        atexit.register(shut_down)
        _process.with_torch_npu = "torch_npu" in sys.modules
        device = _process.devices.get(index)
        if device is None:
            device = Device(acl, index, shared=not _process.ours)
            _process.devices[index] = device
        device.users += 1
        return device


def close_device(device: Device) -> list[AclFailure]:
    """Give one user's share of a device back; the last one's closes it."""
    with _process.lock:
        device.users -= 1
        if device.users > 0:
            return []
        forget_device(device)
        return device.release()


def forget_device(device: Device) -> None:
    """Have the next user open the device anew: this context is lost."""
    with _process.lock:
        if _process.devices.get(device.index) is device:
            del _process.devices[device.index]


def at_exit(release: Callable[[], object]) -> None:
    """Note what has to be released before ACL is finalised."""
    with _process.lock:
        _process.live.append(release)


def not_at_exit(release: Callable[[], object]) -> None:
    """Forget it again: it is released."""
    with _process.lock:
        if release in _process.live:
            _process.live.remove(release)


def shut_down() -> None:
    """Release everything that is still open, and finalise ACL if it was ours to initialise.

    Runs when the interpreter ends. A fork has copies of handles that are not its own, and leaves
    them alone.
    """
    with _process.lock:
        if _process.acl is None or _process.pid != os.getpid():
            return
        if "torch_npu" in sys.modules and not _process.with_torch_npu:
            return  # it came later, so it has finalised ACL already: no call may follow
        for release in reversed(_process.live.copy()):
            release()
        for device in list(_process.devices.values()):
            forget_device(device)
            _warn(device.release())
        acl, _process.acl = _process.acl, None
        if _process.ours and not _process.with_torch_npu:
            code = acl.ask("finalize")
            if code != 0:
                _warn([AclFailure("finalize", code)])


def _started() -> Acl:
    if _process.acl is not None:
        return _process.acl
    acl = Acl(_imported())
    code = acl.ask("init")
    if code not in (0, REPEAT_INITIALIZE):
        raise AclFailure("init", code, acl._said())  # noqa: SLF001  # of this module
    # whoever initialised it before us finalises it, too: torch_npu does so at exit
    _process.ours = code == 0 and "torch_npu" not in sys.modules
    _process.acl = acl
    _process.pid = os.getpid()
    return acl


def _imported() -> Any:
    try:
        return importlib.import_module("acl")
    # an extension that lacks its libraries fails with ImportError or OSError, a stub with others
    except Exception as error:
        raise BackendUnavailable(
            "pyACL",
            expected="Python's module acl, which CANN installs",
            got=one_line(f"{type(error).__name__}: {error}", 200),
            action="On the Ascend box: source CANN's set_env.sh, then python -m runtime.doctor",
        ) from error


def _warn(failures: list[AclFailure]) -> None:
    for failure in failures:
        logger.warning("WARNING: %s", failure.translated("closing"))
