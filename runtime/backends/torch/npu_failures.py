"""What torch_npu's error texts mean, and what mends them.

A run that fails on the device surfaces where it is waited for, most often in `.cpu()`. An operator
that fails in torch_npu's own queue surfaces at the next operator or wait, once: after that the
queue drops every operator silently, and `.cpu()` returns what lies in memory.

Sources: Ascend/pytorch, torch_npu/csrc: core/npu/NPUException.h and .cpp, core/npu/NPUQueue.cpp,
aten/common/CopyKernel.cpp, aten/ops/op_api/CopyKernelOpApi.cpp, framework/utils/CalcuOpUtil.h,
core/npu/NPUCachingAllocator.cpp, at tags v2.1.0-5.0.0 to v2.9.0-7.3.0 and in August 2026 [V]; the
wheel torch_npu 2.13.0, driven by an ACL of ours whose calls fail [V]; and issues: Ascend/pytorch 7,
24, 35, 67, 73, 90; vllm-project/vllm-ascend 152, 237, 262, 564, 692, 800, 4859, 5695, 7095, 13647;
opendatalab/MinerU 2258.
"""

from __future__ import annotations

import re
import sys
from typing import Literal, NamedTuple

from runtime.backends.ascend.codes import CODES, acl_code
from runtime.errors import one_line
from runtime.machine import visible_devices
from runtime.machine.npu_packages import (
    BELOW_2,
    CANN_MODULES,
    CPU_INDEX,
    FIRST_WITHOUT_NUMPY_1,
    MODULES,
    install_command,
)

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
_PLOG = "look for the operator that failed in the newest plog under $HOME/ascend/log/debug/plog"
NEW_PROCESS = f"Start a new process, this one has lost the device; {_PLOG}"
READ_PLOG = f"Run it again, and where it fails again report it; {_PLOG}"
SMALLER = "Use smaller batches, or another device: npu-smi info shows who holds its memory"
INSTALL_OPERATORS = (
    "Install the ops (kernels) package for this chip, of the same CANN release: see python -m"
    " runtime.doctor"
)
# the release of CANN is not known here
INSTALL_COMPILER_PACKAGES = (
    f"Run {install_command(sys.version_info[:2])} in this environment; CANN 9.0 and newer run with"
    " NumPy 2, too"
)
_NUMPY_1 = (
    f"Run pip install {BELOW_2} in this environment"
    if sys.version_info[:2] < FIRST_WITHOUT_NUMPY_1
    else "Use a Python before 3.13, for which NumPy 1 exists, or CANN 8.5 or newer"
)
# Libraries that torch, the system and torch_npu itself bring.
_NOT_CANN = (
    r"(?!torch|c10|op_plugin|npu_profiler|tensorpipe|python|std|gcc|gomp|openblas|gfortran|GL)"
)
_COMPILER_MODULES = "|".join((*map(re.escape, MODULES), "attrs", "google(?=')"))


class Refusal(NamedTuple):
    """Why a device cannot be used, and what would change that."""

    got: str
    action: str


class Explanation(NamedTuple):
    """A failure in words.

    Attributes:
        action: what to do next, as a sentence without its full stop.
        unavailable: something is missing; otherwise the engine failed at its work.
        loses_device: no later result of this process from the device can be trusted.
    """

    meaning: str
    action: str
    unavailable: bool = False
    loses_device: bool = False


NUMPY_TOO_NEW = Explanation(
    "NumPy is too new for this CANN's operator compiler", _NUMPY_1, unavailable=True
)
NO_COMPILER = Explanation(
    "the operator compiler does not start, most often for want of its Python packages",
    f"{INSTALL_COMPILER_PACKAGES}, and check that the ops package for this chip is installed",
    unavailable=True,
)
NO_OPERATORS = Explanation(
    "CANN's compiled operators for this chip are missing, or of another release",
    INSTALL_OPERATORS,
    unavailable=True,
)
WRONG_ARGUMENT = Explanation(
    "an operator refuses one of its arguments, as it does where CANN and torch_npu are not of one"
    " release, or where the chip lacks a type",
    "Check the pair with python -m runtime.doctor; the text after EZ1001 names the argument:"
    " report it",
)


def _missing(pattern: str, meaning: str, action: str) -> tuple[str, Explanation]:
    return pattern, Explanation(meaning, action, unavailable=True)


def _failing(pattern: str, meaning: str, action: str) -> tuple[str, Explanation]:
    return pattern, Explanation(meaning, action)


# At import, and in the host's own checks; the first that matches is the cause.
TEXTS: tuple[tuple[str, Explanation], ...] = (
    _missing(
        r"Two accelerators cannot be used at the same time[^.]*: npu and npu",
        "torch_npu was loaded halfway before, by something else in this process",
        "Import runtime before whatever loads torch_npu, or set"
        " TORCH_DEVICE_BACKEND_AUTOLOAD=0; the cause stands in that first failure",
    ),
    _missing(
        r"Two accelerators cannot be used at the same time",
        "this torch is built for another accelerator, and torch_npu needs the CPU build",
        "Run pip uninstall -y torch, then install torch's CPU build of the same version with"
        f" pip install 'torch==VERSION' --index-url {CPU_INDEX}; or name @cuda:N",
    ),
    _missing(
        r"lib(?:ascend_hal|drv\w+|dcmi)\.so",
        "the Ascend driver's libraries are not found",
        CHECK_DRIVER,
    ),
    _missing(
        r"lib(?:atb|asdops|mki)\w*\.so[.\d]*: cannot open",
        "CANN's NNAL package is missing or not sourced",
        "Run source /usr/local/Ascend/nnal/atb/set_env.sh in the shell that starts Python, and"
        " install the Ascend-cann-nnal of this CANN's release where there is none",
    ),
    _missing(
        # whatever else it links is torch's, the system's or its own [V: the wheels 2.7.1, 2.13.0]
        rf"lib{_NOT_CANN}[\w.+-]+?\.so[.\d]*: cannot open",
        "CANN is missing or not sourced",
        SOURCE_CANN,
    ),
    _missing(
        r"ASCEND_\w+_PATH\b.*(is not set|does not exist)",
        "CANN is missing or only partly sourced",
        SOURCE_CANN,
    ),
    _missing(
        r"undefined symbol|lib(?:torch|c10)\w*\.so[.\d]*: cannot open",
        "torch, torch_npu and CANN are not of one release",
        "Install the torch that torch_npu was built for, and source one CANN only",
    ),
    _missing(
        r"cannot allocate memory in static TLS block",
        "a library was loaded too late for this system (usual on aarch64)",
        "Put the library that the message names into LD_PRELOAD",
    ),
    _failing(
        r"Cannot re-initialize NPU in forked subprocess",
        "the process was forked after it had used the NPU",
        "Start worker processes with spawn, and open a Detector in each",
    ),
    _missing(
        r"version `(?:GLIBCXX|CXXABI)_[\d.]+' not found",
        "the C++ library that Python found is older than torch_npu or CANN needs",
        "In a conda environment run conda install -c conda-forge libstdcxx-ng; elsewhere put"
        " the newest libstdc++.so.6 of this system into LD_PRELOAD, or use a newer system",
    ),
    _missing(
        r"version `GLIBC_[\d.]+' not found",
        "this system is older than torch_npu or CANN needs",
        "Use a container of a newer system, or older releases of both",
    ),
    _missing(
        # [V: docs/zh/installation_guide/faq.md:273]
        r"No module named 'torch_npu\.",
        "torch_npu's source folder stands in the place of the installed package",
        "Start Python in another folder than torch_npu's checkout, and take it off PYTHONPATH",
    ),
    _missing(
        rf"No module named '(?:{'|'.join(sorted(CANN_MODULES))})\b",
        "CANN is missing or only partly sourced",
        SOURCE_CANN,
    ),
    # before its consequences: the compiler's modules fail to import
    (r"was removed in the NumPy 2|module 'numpy' has no attribute", NUMPY_TOO_NEW),
    (r"compiled using NumPy 1\.|multiarray failed to import", NUMPY_TOO_NEW),
    _missing(
        # [V: torch_npu 2.13.0's requirements; older ones name none]
        r"No module named 'yaml'",
        "torch_npu misses a package",
        "Run pip install pyyaml",
    ),
    _missing(
        rf"EC0010|Failed to import Python module|No module named '(?:{_COMPILER_MODULES})\b",
        "the operator compiler misses its Python packages",
        INSTALL_COMPILER_PACKAGES,
    ),
    _missing(
        r"init runtime platform info failed",
        "CANN's operators do not know this chip",
        INSTALL_OPERATORS,
    ),
    # [V: docs/zh/user_guide/troubleshooting, operator_called_error.md; the issues above]
    (r"Cannot find bin(?:ary)? (?:of|for) op", NO_OPERATORS),
    (r"[Pp]arse ?[Dd]ynamic ?[Kk]ernel|binary_info_config\.json", NO_OPERATORS),
    _missing(
        # [V: a text of the wheel 2.7.1]
        r"not in lib\w*opapi\w*\.so",
        "this CANN lacks an operator that torch_npu calls",
        "Install the torch_npu that pairs with this CANN: see python -m runtime.doctor",
    ),
    _missing(
        # [V: NpuVariables.cpp, SetSocVersion]
        r"Unsupported soc version",
        "this torch_npu does not support the chip",
        "Install the torch_npu that pairs with this CANN: see python -m runtime.doctor",
    ),
    (r"AclSetCompileopt\(.*error code is 500001", NO_COMPILER),
    (r"\[Init\]\[Env\]init env failed|build op model failed, result = 500001", NO_COMPILER),
    _missing(
        r"under keep type mode",
        "this chip's convolutions have no fp32",
        "Pass --allow-hf32 (allow_hf32=True) to let it compute in HF32 or fp16",
    ),
    _failing(
        # torch_npu's own allocator, or the words by which it knows CANN's [V: isCannOOM]
        r"NPU out of memory|EL0004|Failed to allocate",
        "the device's memory is used up",
        SMALLER,
    ),
    # without a code in older releases [V: as users posted it]
    (r"call aclnn\w+ failed, detail:\s*EZ1001", WRONG_ARGUMENT),
    _failing(
        # [V: NPUException.cpp, c10_npu_get_error_message]
        r"^CANN error: CANN Inner Error",
        "CANN failed, and TORCH_NPU_COMPACT_ERROR_OUTPUT hides why",
        "Unset TORCH_NPU_COMPACT_ERROR_OUTPUT and run it again in a new process",
    ),
)

Fault = Literal["argument", "runtime", "environment", "operators", "inside"]
# The codes of CANN's operator functions (aclnn...), which are none of ACL's, by Huawei's name and
# where the fault lies.
# Source: hicann/ops-nn, docs/zh/context/aclnn_return_code.md, the same in ops-cv and ops-math and
# in Huawei's reference of CANN 8.0 to 9.1 [V]; what users met: 561103 where the ops package was not
# that of the chip or of this CANN, 161002 with EZ1001 where a type is unknown to the chip
# (vllm-project/vllm-ascend 4859, 5695, 6636, 10640; Ascend/pytorch 90).
OPERATOR_CODES: dict[int, tuple[str, Fault]] = {
    161001: ("ACLNN_ERR_PARAM_NULLPTR", "argument"),
    161002: ("ACLNN_ERR_PARAM_INVALID", "argument"),
    361001: ("ACLNN_ERR_RUNTIME_ERROR", "runtime"),
    561000: ("ACLNN_ERR_INNER", "inside"),
    561001: ("ACLNN_ERR_INNER_INFERSHAPE_ERROR", "inside"),
    561002: ("ACLNN_ERR_INNER_TILING_ERROR", "inside"),
    561003: ("ACLNN_ERR_INNER_FIND_KERNEL_ERROR", "operators"),
    561101: ("ACLNN_ERR_INNER_CREATE_EXECUTOR", "inside"),
    561102: ("ACLNN_ERR_INNER_NOT_TRANS_EXECUTOR", "inside"),
    561103: ("ACLNN_ERR_INNER_NULLPTR", "inside"),
    561104: ("ACLNN_ERR_INNER_WRONG_ATTR_INFO_SIZE", "inside"),
    561105: ("ACLNN_ERR_INNER_KEY_CONFLICT", "inside"),
    561106: ("ACLNN_ERR_INNER_INVALID_IMPL_MODE", "inside"),
    561107: ("ACLNN_ERR_INNER_OPP_PATH_NOT_FOUND", "environment"),
    561108: ("ACLNN_ERR_INNER_LOAD_JSON_FAILED", "operators"),
    561109: ("ACLNN_ERR_INNER_JSON_VALUE_NOT_FOUND", "operators"),
    561110: ("ACLNN_ERR_INNER_JSON_FORMAT_INVALID", "operators"),
    561111: ("ACLNN_ERR_INNER_JSON_DTYPE_INVALID", "operators"),
    561112: ("ACLNN_ERR_INNER_OPP_KERNEL_PKG_NOT_FOUND", "operators"),
    561113: ("ACLNN_ERR_INNER_OP_FILE_INVALID", "operators"),
    561114: ("ACLNN_ERR_INNER_ATTR_NUM_OUT_OF_BOUND", "operators"),
    561115: ("ACLNN_ERR_INNER_ATTR_LEN_NOT_ENOUGH", "operators"),
    561116: ("ACLNN_ERR_INNER_INPUT_NUM_IN_JSON_TOO_LARGE", "operators"),
    561117: ("ACLNN_ERR_INNER_INPUT_JSON_IS_NULL", "operators"),
    561118: ("ACLNN_ERR_INNER_STATIC_WORKSPACE_INVALID", "operators"),
    561119: ("ACLNN_ERR_INNER_STATIC_BLOCK_DIM_INVALID", "operators"),
}
# The first three digits of those that are none of the caller's making.
_INSIDE = 561
_OPERATORS: dict[Fault, Explanation] = {
    "argument": WRONG_ARGUMENT,
    "runtime": Explanation("an operator failed in CANN's runtime", READ_PLOG),
    "environment": Explanation(
        "CANN is missing or only partly sourced: ASCEND_OPP_PATH is not set",
        SOURCE_CANN,
        unavailable=True,
    ),
    "operators": NO_OPERATORS,
    "inside": Explanation(
        "an operator failed inside CANN, as it does where CANN, its ops package, torch_npu and"
        " driver are not of one release",
        f"Check that they pair with python -m runtime.doctor, and {_PLOG}",
    ),
}
# What its queue throws for a device at fault, also without a code: [V: NPUQueue.cpp,
# deviceErrorMap; NPUException.cpp, handleDeviceError]
DEVICE_FAULTS: dict[str, int] = {
    "FORCE STOP": 107022,
    "UCE ERROR": 507053,
    "HBM MULTI BIT ECC ERROR": 507054,
    "SUSPECT MEM ERROR": 507055,
    "HCCS LINK ERROR": 507056,
    "UB LINK ERROR": 507056,
    "SUSPECT REMOTE ERROR": 507057,
}
# The codes' meanings are in ascend.codes; what to do differs where no .om is at fault.
ACTIONS: dict[int, str] = {
    107001: "Name a device that npu-smi info lists",
    107002: "Report this: every run sets its thread's device first",
    107003: "Let no other code in this process reset the device (acl.rt.reset_device,"
    " acl.finalize)",
    207001: SMALLER,
    207004: CHECK_DRIVER,
    207018: SMALLER,
    507008: f"{CHECK_DRIVER}; driver and CANN must match",
    507033: CHECK_DRIVER,
}
# In torch_npu's table 507008 is the failure to read the chip's name: no .om is for another chip.
MEANINGS = {507008: "the chip's name could not be read"}

# NPU_CHECK_ERROR, OPS_CHECK_ERROR and older macros; the copies; NPU_LOGE
_CODE = re.compile(r"error code(?: is)?:? ?(\d{6})\b")
# only where torch_npu has none: CANN's own words, which name the consequences, too
_CANN_CODE = re.compile(r"(?:runtime result|ret(?:Code|code)?|result) ?[=:] ?(\d{6})\b")
_QUEUE_STOPPED = "The Inner error is reported as above"


def explain(text: str) -> Explanation | None:
    """Find what an exception's whole text means; None where it is not known."""
    by_code = _by_code(text)
    known = next((known for pattern, known in TEXTS if re.search(pattern, text)), by_code)
    # whatever words were found: they may stand in the trace of a code that loses the device
    if _QUEUE_STOPPED not in text and (by_code is None or not by_code.loses_device):
        return known
    if known is None:
        known = Explanation("an operator failed, and torch_npu's queue has stopped", READ_PLOG)
    # whatever the cause: from now on this process's operators fail or are dropped
    mended = known.action not in (READ_PLOG, NEW_PROCESS)
    action = f"{known.action}; then start a new process" if mended else NEW_PROCESS
    return known._replace(action=action, loses_device=True)


def _by_code(text: str) -> Explanation | None:
    # the trace behind the first code names codes of its own, which are consequences
    found = _CODE.search(text)
    if found is None:
        fault = next((code for words, code in DEVICE_FAULTS.items() if words in text), None)
        if fault is not None:
            return _of_code(fault)
        found = _CANN_CODE.search(text)
    if found is None:
        return None
    number = int(found[1])
    newer: tuple[str, Fault] = ("ACLNN_ERR_INNER_XXX", "inside")
    if number in OPERATOR_CODES or number // 1000 == _INSIDE:
        return _of_operator(*OPERATOR_CODES.get(number, newer), text)
    return _of_code(number)


def _of_operator(name: str, fault: Fault, text: str) -> Explanation:
    """An operator's code covers what failed beneath it, which may have lost the device."""
    beneath = _CANN_CODE.search(text)
    found = _of_code(int(beneath[1])) if beneath else None
    if found is not None and (found.loses_device or fault == "runtime"):
        return found
    known = _OPERATORS[fault]
    return known._replace(meaning=f"{known.meaning} ({name})")


def _of_code(number: int) -> Explanation | None:
    code = acl_code(number)
    if number not in CODES and not code.loses_device:
        return None
    otherwise = NEW_PROCESS if code.loses_device else READ_PLOG
    return Explanation(
        MEANINGS.get(number, code.meaning),
        visible_devices.advice_on(number) or ACTIONS.get(number, otherwise),
        unavailable=code.kind == "unavailable",
        loses_device=code.loses_device,
    )


def refusal_of(error: BaseException, *, otherwise: str, action: str, printed: str = "") -> Refusal:
    """Turn an error of torch_npu's into a refusal, in words where it is known.

    `otherwise` and `action` are for an unknown one; what was `printed` before may hold the cause.
    """
    if isinstance(error, SystemExit):
        text = (printed.strip().splitlines() or ["it ended the process"])[-1]
    else:
        text = f"{type(error).__name__}: {error}"
    known = explain(f"{printed}\n{error}")
    if known is None:
        return Refusal(f"{otherwise}: {one_line(text, 200)}", action)
    return Refusal(f"{known.meaning}: {one_line(text, 160)}", known.action)
