"""What every call goes through: arguments, faults, order of life, context, log."""

from __future__ import annotations

import contextlib
import functools
import inspect
import operator
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast, get_type_hints

from ._objects import Context
from ._state import Call, Refused, state

F = TypeVar("F", bound=Callable[..., Any])

LOST = 507033
ANY_TIME = {"init", "finalize", "get_recent_err_msg"}


def code_alone(code: int) -> int:
    """For calls that return `ret`."""
    return code


def with_zero(code: int) -> tuple[int, int]:
    """For calls that return `(handle or pointer or number, ret)`."""
    return 0, code


def nothing(_: int) -> int:
    """For calls that return a handle or a number without a code."""
    return 0


def no_text(_: int) -> str | None:
    """For calls that return a text without a code."""
    return None


def api(
    name: str,
    failing: Callable[[int], Any],
    *,
    context: bool = True,
    release: bool = False,
    slow: bool = False,
    at_fault: Callable[..., None] | None = None,
) -> Callable[[F], F]:
    """Make a function a call of acl.

    Args:
        name: as tests name it, "rt.malloc".
        failing: the result for a code.
        context: needs the calling thread to have a context.
        release: gives a handle back, its first argument: also a lost device lets go of it.
        slow: works outside the lock; it takes the lock itself.
        at_fault: gets the arguments where an injected code replaces the call.
    """

    def decorate(function: F) -> F:
        convert = _converter(name, function)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            arguments = convert(args, kwargs)
            code = 0
            try:
                lost = _before(name, arguments, context, release, at_fault)
                with contextlib.nullcontext() if slow else state.lock:
                    try:
                        return function(*arguments)
                    finally:
                        if lost:
                            # the handle is gone, and the device could not be asked
                            raise Refused(LOST, "the device is lost (device setup error)")
            except Refused as refused:
                code = refused.code
                state.tell(code, f"acl.{name}: {refused}")
                return failing(code)
            finally:
                with state.lock:
                    state.calls.append(Call(name, threading.get_ident(), code, arguments))

        return cast("F", call)

    return decorate


def current(device: int | None = None) -> Context:
    """The calling thread's context."""
    handle = state.context
    if not handle:
        raise Refused(
            107002,
            "the context of this thread is empty; call acl.rt.set_context or acl.rt.set_device",
        )
    found = state.contexts[handle]
    if device is not None and found.device != device:
        raise Refused(107000, f"device {device}'s, and the context is of device {found.device}")
    return found


def touch(device: int, *, release: bool = False) -> bool:
    """Count a call on a device.

    Returns:
        True where it is lost and the call may still give something back.

    Raises:
        Refused: 507033, it is lost.
    """
    found = state.devices[device]
    if state.faults.is_lost_now(device):
        found.lost = True
    if found.lost and not release:
        raise Refused(LOST, f"device {device} is lost (device setup error)")
    return found.lost


def _before(
    name: str,
    arguments: tuple[Any, ...],
    context: bool,
    release: bool,
    at_fault: Callable[..., None] | None,
) -> bool:
    """Everything that may refuse a call before it begins; true where the device is lost."""
    with state.lock:
        if state.finalised and name not in ANY_TIME:
            state.violate(f"acl.{name} after acl.finalize")
            raise Refused(100001, "acl has been finalised")
        fault = state.faults.due(name)
        hangs_end = state.hangs_end
    if fault is not None and fault.code is None:
        hangs_end.wait()
        raise Refused(507000, "a simulated hang was ended by the test")
    with state.lock:
        if fault is not None and fault.code:
            if release:
                state.excused.add(-1 - arguments[0] if name == "rt.reset_device" else arguments[0])
            if at_fault is not None:
                at_fault(*arguments)
            raise Refused(fault.code, "a simulated fault, as it was ordered")
        if not state.initialised and name not in ANY_TIME:
            raise Refused(100001, "acl is not initialised; call acl.init first")
        return touch(current().device, release=release) if context else False


def _converter(
    name: str, function: Callable[..., object]
) -> Callable[[tuple[object, ...], dict[str, object]], tuple[Any, ...]]:
    """Arguments as a C extension takes them: by position, and of the right type."""
    hints = get_type_hints(function)
    parameters = list(inspect.signature(function).parameters.values())
    least = sum(p.default is inspect.Parameter.empty for p in parameters)

    def convert(args: tuple[object, ...], kwargs: dict[str, object]) -> tuple[Any, ...]:
        where = f"acl.{name} (simulated)"
        if kwargs:
            raise TypeError(f"{where} takes no keyword arguments")
        if not least <= len(args) <= len(parameters):
            raise TypeError(f"{where} takes {len(parameters)} arguments, got {len(args)}")
        converted: list[object] = []
        for value, parameter in zip(args, parameters, strict=False):
            if hints[parameter.name] is int:
                converted.append(operator.index(value))  # type: ignore[arg-type]
            elif isinstance(value, str):
                converted.append(value)
            else:
                raise TypeError(f"{where}: {parameter.name} must be str, got {value!r}")
        return tuple(converted)

    return convert
