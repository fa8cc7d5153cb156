"""What torch_npu's error texts mean, and what mends them.

Sources: the texts are those of torch_npu (`__init__.py`, `utils/_error_code.py`, its table of ACL
return codes) and of the issues that users filed with them: Ascend/pytorch 7, 35, 67, 73;
vllm-project/vllm-ascend 262, 564, 692, 800, 13647; opendatalab/MinerU 2258.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from runtime.errors import one_line

SOURCE_CANN = (
    "Run source /usr/local/Ascend/ascend-toolkit/set_env.sh (CANN 8.5 and newer:"
    " /usr/local/Ascend/cann/set_env.sh) in the shell that starts Python, and install CANN"
    " where there is none"
)
CHECK_DRIVER = (
    "Run npu-smi info: the Ascend driver must be installed (in a container: mount"
    " /usr/local/Ascend/driver and pass /dev/davinci*, /dev/davinci_manager, /dev/devmm_svm and"
    " /dev/hisi_hdc), and the user must be in the group HwHiAiUser"
)
READ_PLOG = (
    "Start a new process, this one has lost the device; the newest plog under"
    " $HOME/ascend/log/debug/plog says which operator failed"
)


class Refusal(NamedTuple):
    """Why a device cannot be used, and what would change that."""

    got: str
    action: str


class Explanation(NamedTuple):
    """A failure in words.

    Attributes:
        meaning: what happened.
        action: what to do next, as a sentence without its full stop.
        unavailable: something is missing; otherwise the engine failed at its work.
    """

    meaning: str
    action: str
    unavailable: bool = False


# At import, and in the host's own checks; the first that matches is the cause.
TEXTS: tuple[tuple[str, Explanation], ...] = (
    (
        r"Two accelerators cannot be used at the same time[^.]*: npu and npu",
        Explanation(
            "torch_npu was loaded halfway before, by something else in this process",
            "Import runtime before whatever loads torch_npu, or set"
            " TORCH_DEVICE_BACKEND_AUTOLOAD=0; the cause stands in that first failure",
            unavailable=True,
        ),
    ),
    (
        r"Two accelerators cannot be used at the same time",
        Explanation(
            "this torch is built for another accelerator, and torch_npu needs the CPU build",
            "Install torch's CPU build of the same version, or name @cuda:N",
            unavailable=True,
        ),
    ),
    (
        r"libascend_hal\.so|libdrvdsmi_host\.so",
        Explanation("the Ascend driver's libraries are not found", CHECK_DRIVER, unavailable=True),
    ),
    (
        r"lib(hccl|ascendcl|acl_op_compiler|ge_runner|msprofiler)\w*\.so[^:]*: cannot open",
        Explanation("CANN is missing or not sourced", SOURCE_CANN, unavailable=True),
    ),
    (
        r"ASCEND_\w+_PATH\b.*(is not set|does not exist)",
        Explanation("CANN is missing or only partly sourced", SOURCE_CANN, unavailable=True),
    ),
    (
        r"undefined symbol",
        Explanation(
            "torch, torch_npu and CANN are not of one release",
            "Install the torch that torch_npu was built for, and source one CANN only",
            unavailable=True,
        ),
    ),
    (
        r"cannot allocate memory in static TLS block",
        Explanation(
            "a library was loaded too late for this system (usual on aarch64)",
            "Put the library that the message names into LD_PRELOAD",
            unavailable=True,
        ),
    ),
    (
        r"Cannot re-initialize NPU in forked subprocess",
        Explanation(
            "the process was forked after it had used the NPU",
            "Start worker processes with spawn, and open a Detector in each",
        ),
    ),
    (
        r"EC0010|Failed to import Python module|No module named '(attrs?|decorator|psutil|te)'",
        Explanation(
            "the operator compiler misses its Python packages",
            "Run pip install 'numpy<2' decorator attrs psutil scipy sympy cffi in this environment",
            unavailable=True,
        ),
    ),
    (
        r"init runtime platform info failed",
        Explanation(
            "CANN's operators do not know this chip",
            "Install the ops (kernels) package for this chip, of the same CANN release",
            unavailable=True,
        ),
    ),
    (
        r"AclSetCompileopt\(.*error code is 500001",
        Explanation(
            "the operator compiler does not start, most often for want of its Python packages",
            "Run pip install 'numpy<2' decorator attrs psutil scipy sympy cffi, and check that the"
            " ops package for this chip is installed",
            unavailable=True,
        ),
    ),
    (
        r"under keep type mode",
        Explanation(
            "this chip's cube unit has no fp32",
            "Pass --allow-hf32 (allow_hf32=True) to let it compute in fp16",
            unavailable=True,
        ),
    ),
    (
        r"NPU out of memory",
        Explanation(
            "the device's memory is used up",
            "Use smaller batches, or another device: npu-smi info shows who holds its memory",
        ),
    ),
)

# ACL return codes, by name and meaning [V: torch_npu's table of return codes].
CODES: dict[int, Explanation] = {
    107001: Explanation(
        "invalid device ID",
        "Name a device that npu-smi info lists; ASCEND_RT_VISIBLE_DEVICES renumbers them from 0",
        unavailable=True,
    ),
    107002: Explanation(
        "the context is empty: this thread has set no device",
        "Report this: every run sets its thread's device first",
    ),
    107003: Explanation(
        "the stream belongs to another context",
        "Let no other code in this process reset the device (acl.rt.reset_device, acl.finalize)",
    ),
    207001: Explanation("the device's memory is used up", "Use smaller batches"),
    207004: Explanation("no device", CHECK_DRIVER, unavailable=True),
    207018: Explanation("the device's memory is used up", "Use smaller batches"),
    507008: Explanation(
        "the chip's name could not be read", f"{CHECK_DRIVER}; driver and CANN must match"
    ),
    507010: Explanation("the device's scheduler gives no sign of life", READ_PLOG),
    507011: Explanation("the model failed on the device", READ_PLOG),
    507014: Explanation("an AI Core ran out of time", READ_PLOG),
    507015: Explanation("an AI Core met an exception", READ_PLOG),
    507018: Explanation("an AI CPU met an exception", READ_PLOG),
    507033: Explanation("the device does not start", CHECK_DRIVER, unavailable=True),
    507034: Explanation("a vector core ran out of time", READ_PLOG),
    507035: Explanation("a vector core met an exception", READ_PLOG),
    507046: Explanation("the stream ran out of time", READ_PLOG),
}


def explain(text: str) -> Explanation | None:
    """Find what a text of torch_npu's means; None where it is not known.

    Args:
        text: of the exception, with everything behind its first line.
    """
    for pattern, explanation in TEXTS:
        if re.search(pattern, text):
            return explanation
    # the trace behind the first code names codes of its own, which are consequences
    found = re.search(r"error code is (\d{6})\b", text)
    return CODES.get(int(found[1])) if found else None


def refusal_of(error: BaseException, *, otherwise: str, action: str, printed: str = "") -> Refusal:
    """Turn an error of torch_npu's into a refusal, in words where it is known.

    Args:
        error: what was raised.
        otherwise: what to say of an unknown one.
        action: what to do about an unknown one.
        printed: what torch_npu printed before, which may hold the cause.
    """
    if isinstance(error, SystemExit):
        text = (printed.strip().splitlines() or ["it ended the process"])[-1]
    else:
        text = f"{type(error).__name__}: {error}"
    known = explain(f"{printed}\n{error}")
    if known is None:
        return Refusal(f"{otherwise}: {one_line(text, 200)}", action)
    return Refusal(f"{known.meaning}: {one_line(text, 160)}", known.action)
