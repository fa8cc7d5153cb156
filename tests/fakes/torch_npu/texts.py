"""Forms of the real package's errors, as the fake raises them and the product's reader is tested.

Source: Ascend/pytorch, torch_npu/csrc (the file is named beside each form).
"""

from __future__ import annotations

# core/npu/NPUException.cpp:88, formatErrorCode; Device is -1 where none is set
ACL_API = (
    "\n[ERROR] 2026-02-03-04:05:06 (PID:31337, Device:5, RankID:-1) ERR00100 PTA call acl api"
    " failed"
)
# core/npu/NPUQueue.cpp:319-330 and 592-603, behind "... inner error, and <what>.\n"
_ASYNCHRONOUS = (
    "Since the operator is called asynchronously, the stacktrace may be inaccurate. If you want to"
    " get the accurate stacktrace, please set the environment variable ASCEND_LAUNCH_BLOCKING=1.\n"
    "Note: ASCEND_LAUNCH_BLOCKING=1 will force ops to run in synchronous mode, resulting in"
    " performance degradation. Please unset ASCEND_LAUNCH_BLOCKING in time after debugging."
)
QUEUE = (
    "The Inner error is reported as above. The process exits for this inner error, and the current"
    f" working operator name is {{operator}}.\n{_ASYNCHRONOUS}{ACL_API}.\n{{said}}"
)
# aten/ops/op_api/CopyKernelOpApi.cpp: a run that failed, where a copy waits for it
COPY = "ACL stream synchronize failed, error code:{code}"
# core/npu/NPUException.h, NPU_CHECK_ERROR: any call that gave a code
FUNCTION = (
    "{call}:build/CMakeFiles/torch_npu.dir/compiler_depend.ts:{line} NPU function error: {call}"
)
AICORE = "\n[Error]: The aicore execution is abnormal."
_MEANT = {
    107001: "\n[Error]: Invalid device ID.\n        Check whether the device ID is valid.",
    107002: "\n[Error]: The context is empty.\n        Check whether acl.rt.set_device is called.",
    507015: AICORE,
}


def function_failed(call: str, code: int) -> str:
    """Of a code that is in its table, and of one that is not: a full stop."""
    return f"{FUNCTION.format(call=call, line=60)}, error code is {code}{ACL_API}" + (
        _MEANT.get(code, ".") + "\n"
    )
