"""What the real package's errors read like, in each of its forms.

Held, with the product's reader, against lines built by hand: tests/runtime/backends/
test_npu_texts.py. Times, process and line numbers are of no importance.

Source: Ascend/pytorch, torch_npu/csrc (the files are named beside each form).
"""

from __future__ import annotations

WHEN = "2025-05-09-08:06:34"
MEANT = {
    107001: "Invalid device ID.\n        Check whether the device ID is valid.",
    107002: "The context is empty.\n"
    "        Check whether acl.rt.set_context or acl.rt.set_device is called.",
    507015: "The aicore execution is abnormal.",
}


def called_acl(device: int = 0) -> str:
    """The second line of most of them: core/npu/NPUException.cpp, formatErrorCode."""
    return (
        f"\n[ERROR] {WHEN} (PID:207, Device:{device}, RankID:-1) ERR00100 PTA call acl api failed"
    )


def function_failed(function: str, code: int) -> str:
    """core/npu/NPUException.h, NPU_CHECK_ERROR: any call that gave a code."""
    meant = f"\n[Error]: {MEANT[code]}" if code in MEANT else "."
    return (
        f"{function}:build/CMakeFiles/torch_npu.dir/compiler_depend.ts:60 NPU function error:"
        f" {function}, error code is {code}{called_acl()}{meant}\n"
    )


def copy_failed(code: int) -> str:
    """aten/ops/op_api/CopyKernelOpApi.cpp: a run that failed, where a copy waits for it."""
    return f"ACL stream synchronize failed, error code:{code}"


def queue_stopped(operator: str, said: str) -> str:
    """core/npu/NPUQueue.cpp, Enqueue and MakeSureQueueEmpty: an operator failed in the queue."""
    return (
        "The Inner error is reported as above. The process exits for this inner error, and the"
        f" current working operator name is {operator}.\nSince the operator is called"
        " asynchronously, the stacktrace may be inaccurate. If you want to get the accurate"
        " stacktrace, please set the environment variable ASCEND_LAUNCH_BLOCKING=1.\nNote:"
        " ASCEND_LAUNCH_BLOCKING=1 will force ops to run in synchronous mode, resulting in"
        " performance degradation. Please unset ASCEND_LAUNCH_BLOCKING in time after"
        f" debugging.{called_acl()}.\n{said}"
    )
