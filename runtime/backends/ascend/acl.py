"""pyACL with owners: every return code checked, every handle released once and in order.

Source of the contract: CANN's pyACL reference; docs/cann.md lists what of it is inferred.
"""

from __future__ import annotations

import importlib
import logging
from typing import Any

from runtime.backends.ascend.codes import acl_code
from runtime.errors import (
    ArtifactError,
    BackendUnavailable,
    InferenceError,
    StarmarkError,
    one_line,
)
from runtime.machine import visible_devices

logger = logging.getLogger("starmark")


class AclFailure(Exception):  # noqa: N818  # never seen outside the backends: translated there
    """A failed call: its name, its code (0: it returned no handle), and ACL's own message."""

    def __init__(self, call: str, code: int, message: str = "") -> None:
        super().__init__(call, code, message)
        self.call, self.code, self.message = call, code, message

    @property
    def loses_device(self) -> bool:
        """Whether the context this happened in is of no more use: see `AclCode`."""
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
            got=f"{got} ({one_line(self.message, 160)})" if self.message else got,
            action=visible_devices.advice_on(self.code) or known.remedy,
        )


class Acl:
    """The module `acl`, each call checked. Names are dotted: "rt.malloc"."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def do(self, call: str, *arguments: Any) -> None:
        """Make a call that returns its code alone."""
        self._check(call, self.call(call, *arguments))

    def get(self, call: str, *arguments: Any) -> Any:
        """Make a call that returns a value and its code."""
        value, code = self.call(call, *arguments)
        self._check(call, code)
        return value

    def make(self, call: str, *arguments: Any) -> int:
        """Make a call that returns a handle, with or without a code; 0 is no handle."""
        given = self.call(call, *arguments)
        handle, code = given if isinstance(given, tuple) else (given, 0)
        self._check(call, code)
        if not handle:
            raise AclFailure(call, 0, self.recent_error())
        return int(handle)

    def call(self, name: str, *arguments: Any) -> Any:
        """Make a call that returns a value alone, or whose code the caller checks."""
        function = self.module
        for part in name.split("."):
            function = getattr(function, part, None)
        if function is None:
            raise BackendUnavailable(
                "pyACL",
                expected=f"a module acl that has acl.{name}",
                got=f"one without it: {getattr(self.module, '__file__', None)}",
                action="Source the set_env.sh of a newer CANN; see python -m runtime.doctor",
            )
        return function(*arguments)

    def _check(self, call: str, code: int) -> None:
        if code != 0:
            raise AclFailure(call, code, self.recent_error())

    def recent_error(self) -> str:
        """ACL's message about this thread's last failure."""
        # absent from the oldest CANN; reading clears it
        recent = getattr(self.module, "get_recent_err_msg", None)
        return str(recent() or "") if recent else ""


class Owner:
    """Handles that belong together, each released once, the last made first."""

    def __init__(self, acl: Acl) -> None:
        self._acl = acl
        self._releases: list[tuple[str, tuple[Any, ...]]] = []

    def make(self, release: str, call: str, *arguments: Any) -> int:
        """Make a handle that the call named by `release` will release."""
        handle = self._acl.make(call, *arguments)
        self._releases.append((release, (handle,)))
        return handle

    def owe(self, release: str, *arguments: Any) -> None:
        """Note a call that undoes one made before."""
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


def imported_acl() -> Any:
    """The module `acl`.

    Raises:
        BackendUnavailable: it is not there, or does not import.
    """
    try:
        module = importlib.import_module("acl")
        if not all(hasattr(module, name) for name in ("init", "rt", "mdl")):
            raise ImportError(f"{getattr(module, '__path__', module)} is not pyACL")
        return module
    # an extension that lacks its libraries fails with ImportError or OSError, a stub with others
    except Exception as error:
        raise BackendUnavailable(
            "pyACL",
            expected="Python's module acl, which CANN installs",
            got=one_line(error, 200, kind=True),
            action="On the Ascend box: source CANN's set_env.sh, then python -m runtime.doctor",
        ) from error
