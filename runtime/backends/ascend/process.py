"""ACL in this process: initialised once, its devices shared, released in order when it ends.

ACL is initialised by its first user (torch_npu is one, too), and finalised when the process ends,
because older CANN cannot start it again. Contexts belong to threads, so each call sets the device's
context first, and restores the thread's own.

Source of the contract: CANN's pyACL reference; docs/cann.md lists what of it is inferred.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runtime.backends.ascend.acl import Acl, AclFailure, Owner, imported_acl
from runtime.backends.ascend.codes import REPEAT_INITIALIZE
from runtime.errors import BackendUnavailable

logger = logging.getLogger("starmark")


class SharedDevice:
    """One device with one context, shared by everything this process opens on it."""

    def __init__(self, acl: Acl, index: int) -> None:
        self.acl, self.index = acl, index
        self.users = 0
        self._owner = Owner(acl)
        self._set = False
        before = _current_context(acl)
        try:
            acl.do("rt.set_device", index)
            self._set = True
            self.soc_version = str(acl.call("get_soc_name") or "")
            if not self.soc_version:
                raise AclFailure("get_soc_name", 0, "the device has no name")
            # a context of our own: the default one must never be destroyed
            self.context = self._owner.make("rt.destroy_context", "rt.create_context", index)
            _process.contexts.add(self.context)
        except BaseException:
            self.release()
            raise
        finally:
            _restore_context(acl, before)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the device's context current in the calling thread, and restore its own.

        torch_npu remembers which device a thread has, and would go on in our context.
        """
        before = _current_context(self.acl)
        try:
            self.acl.do("rt.set_context", self.context)
            yield
        finally:
            _restore_context(self.acl, before)

    def release(self) -> list[AclFailure]:
        """Destroy the context and give the device back."""
        failures = self._owner.release()
        # where torch_npu runs, too, resetting would take the device from it
        if self._set and _process.ours and "torch_npu" not in sys.modules:
            self._owner.owe("rt.reset_device", self.index)
            failures += self._owner.release()
        self._set = False
        return failures


class _Process:
    """What this process holds of ACL. All access is under `lock`."""

    def __init__(self) -> None:
        # re-entrant: a collected backend may be released in the middle of opening another
        self.lock = threading.RLock()
        self.acl: Acl | None = None
        self.ours = False
        self.with_torch_npu = False
        self.pid = os.getpid()
        self.devices: dict[int, SharedDevice] = {}
        self.contexts: set[int] = set()
        self.live: list[Callable[[], object]] = []


_process = _Process()


def open_device(index: int) -> SharedDevice:
    """Take a device, initialising ACL and setting the device's context up where needed.

    Raises:
        BackendUnavailable: pyACL is not importable.
        AclFailure: ACL or the device did not start.
    """
    if _process.acl is not None and _process.pid != os.getpid():
        # before the lock, which another thread may have held when this process was forked
        raise BackendUnavailable(
            f"npu:{index}",
            expected="a process that was not forked from one that uses the NPU",
            got=f"process {os.getpid()}, forked from {_process.pid}",
            action='Start workers with multiprocessing\'s "spawn"',
        )
    with _process.lock:
        acl = _started()
        # last registered is first to run: before torch_npu's own, which finalises ACL
        atexit.unregister(shut_down)
        atexit.register(shut_down)
        _process.with_torch_npu = "torch_npu" in sys.modules
        device = _process.devices.get(index)
        if device is None:
            device = SharedDevice(acl, index)
            _process.devices[index] = device
        device.users += 1
        return device


def close_device(device: SharedDevice) -> list[AclFailure]:
    """Give one user's share of a device back; the last one's closes it."""
    with _process.lock:
        device.users -= 1
        if device.users > 0:
            return []
        forget_device(device)
        return device.release()


def forget_device(device: SharedDevice) -> None:
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
        acl = _process.acl
        if acl is None or _process.pid != os.getpid():
            return
        if "torch_npu" in sys.modules and not _process.with_torch_npu:
            # it came later, has reset the device by now, and perhaps finalised ACL: newer releases
            # finalise their own only [V: torch_npu npu_sys_ctrl.cpp:387], older ones ours, too [I]
            return
        releases = _process.live[::-1]
    # without the lock: a run that is failing in another thread may want it, and holds its own
    for release in releases:
        release()
    with _process.lock:
        for device in list(_process.devices.values()):
            forget_device(device)
            warn(device.release())
        if _process.acl is acl and _process.ours and not _process.with_torch_npu:
            code = acl.call("finalize")
            if code != 0:
                warn([AclFailure("finalize", code)])
        _process.acl = None


def _started() -> Acl:
    if _process.acl is not None:
        return _process.acl
    acl = Acl(imported_acl())
    code = acl.call("init")
    if code not in (0, REPEAT_INITIALIZE):
        raise AclFailure("init", code, acl.recent_error())
    # what was initialised before us is not ours to finalise: torch_npu does so at exit
    _process.ours = code == 0 and "torch_npu" not in sys.modules
    _process.acl = acl
    _process.pid = os.getpid()
    return acl


def _current_context(acl: Acl) -> int:
    """The calling thread's context, 0 where it has none."""
    context, code = acl.call("rt.get_context")
    if code == 0:
        return int(context)
    acl.recent_error()  # having none is no error; reading clears what ACL noted of it
    return 0


def _restore_context(acl: Acl, context: int) -> None:
    # not one of ours, which may be destroyed by now
    if context and context not in _process.contexts:
        acl.call("rt.set_context", context)


def warn(failures: list[AclFailure]) -> None:
    """Log what could not be released, where no caller is left to raise to."""
    for failure in failures:
        logger.warning("WARNING: %s", failure.translated("closing"))
