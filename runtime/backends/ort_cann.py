"""onnxruntime's CANN provider: why it does not start, what its errors mean, what mends them.

onnxruntime writes the cause to stderr and raises another error, or falls back to the CPU. What it
does not raise is found by loading the library once more.

Sources: onnxruntime-cann 1.22.1 and 1.24.4, installed without CANN, with empty libraries in CANN's
place, and with ones whose calls fail; microsoft/onnxruntime, onnxruntime/core/providers/cann:
cann_call.cc, cann_execution_provider_info.cc [V].
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
from importlib import metadata
from pathlib import Path

from runtime.backends.ascend.codes import AclCode, acl_code
from runtime.backends.torch.npu_failures import CHECK_DRIVER, SOURCE_CANN, Refusal
from runtime.errors import BackendUnavailable, one_line
from runtime.machine import visible_devices
from runtime.machine.npu_packages import ORT_CANN, PROVIDER_LIBRARY, beside_numpy_2, missing_in

# The provider was not made; anything else is a fault of the graph.
_NOT_STARTED = re.compile(
    r"create \w+ ExecutionProvider fail|Failed to load library|CANN failure \d+"
    r"|Failed to parse provider option|aclrtGet\w+ return"
)
_CODE = re.compile(r"CANN failure (\d{6}):")


def start_refusal(error: BaseException | None = None) -> Refusal | None:
    """Find out why the provider did not start; None where the graph is at fault.

    Args:
        error: what onnxruntime raised; None where it fell back to the CPU silently.
    """
    text = "\n".join(map(str, _chain(error)))
    if error is not None and not _NOT_STARTED.search(text):
        return None
    missing = loader_error()
    if missing:
        return _refusal_of_loader(missing)
    number, code = _number_in(text), code_in(text)
    if code is not None:
        remedy = visible_devices.advice_on(number) or code.remedy
        return Refusal(f"{code.meaning}: {_cause(text)}", remedy)
    if "Invalid device ID" in text:
        named = visible_devices.advice() or "Name a device that npu-smi info lists"
        return Refusal(_cause(text), named)
    got = _cause(text) if text else "another one, in its place"
    return Refusal(got, f"{CHECK_DRIVER}; then run python -m runtime.doctor")


def code_in(text: str) -> AclCode | None:
    """The ACL code that an error of the provider names; None where there is none."""
    number = _number_in(text)
    return acl_code(number) if number else None


def _number_in(text: str) -> int:
    found = _CODE.search(text)
    return int(found[1]) if found else 0


def loader_error() -> str:
    """What the provider's library misses, in the loader's words; empty where nothing is missing.

    Nothing in the library runs: without onnxruntime's own part it is refused in the end, too.
    """
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        return ""
    try:
        ctypes.CDLL(str(Path(spec.origin).parent / PROVIDER_LIBRARY))
    except OSError as error:
        return missing_in(str(error))
    return ""


def overwritten() -> str:
    """What to do where the package is there and its provider is not; empty where neither is.

    All builds of onnxruntime install into one folder without declaring a conflict: the one that
    was installed last runs.
    """
    try:
        version = metadata.version(ORT_CANN)
    except metadata.PackageNotFoundError:
        return ""
    return (
        f"Another build was installed over {ORT_CANN}. Run pip uninstall -y onnxruntime {ORT_CANN},"
        f" then pip install {ORT_CANN}=={version}"
    )


def import_failure(error: Exception) -> BackendUnavailable | None:
    """Explain an onnxruntime that does not import beside NumPy 2; None where that is not it."""
    found = beside_numpy_2()
    if found is None:
        return None
    reason = one_line(error) or "no reason"
    return BackendUnavailable(
        f"{ORT_CANN} {found.version}",
        expected="NumPy 1, which it is built for",
        got=f"NumPy {found.numpy}, beside which it does not import ({reason})",
        action=f"In this environment: {found.mend}",
    )


def _refusal_of_loader(text: str) -> Refusal:
    text = one_line(text, 200)
    if Path(PROVIDER_LIBRARY).name in text and "cannot open" in text:
        reinstall = overwritten() or f"Run pip install --force-reinstall {ORT_CANN}"
        return Refusal(f"{ORT_CANN}'s own library is missing: {text}", reinstall)
    if "undefined symbol" in text:
        return Refusal(
            f"{ORT_CANN} and CANN are not of one release: {text}",
            f"Source the CANN that this {ORT_CANN} was built for, and only that",
        )
    if "libascend_hal" in text or "libdrvdsmi_host" in text:
        return Refusal(f"the Ascend driver's libraries are not found: {text}", CHECK_DRIVER)
    return Refusal(f"CANN is missing or not sourced: {text}", SOURCE_CANN)


def _cause(text: str) -> str:
    """The end of the first line that has one: before it stand files and functions of C++."""
    first = next(line for line in text.splitlines() if line.strip())
    words = re.search(r"(CANN failure|Invalid device ID|create CANN|aclrtGet\w+)\b.*", first)
    # the host's name stays on the host
    return one_line(re.sub(r"hostname=\S+ ; ", "", words[0] if words else first), 200).rstrip(".; ")


def _chain(error: BaseException | None) -> list[BaseException]:
    """From the first failure to the last: 1.22 tries the CPU next, which the session forbids."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.insert(0, error)
        error = error.__cause__ or error.__context__
    return found
