"""A referee for torch_npu's texts: lines built by hand, against our reader; the fake raises them.

The lines have the form of the format strings in Ascend/pytorch, torch_npu/csrc, at the tags
v2.1.0-5.0.0 to v2.9.0-7.3.0 and in August 2026; the file and line beside each are of the latter
where no tag is named. Operators, numbers, times and processes are of our own making. The wheel
torch_npu 2.13.0, driven by libraries of ours in CANN's place, wrote "copy", "check", "specific
message", "compact, inner error" and "queue, without a code" in this very form.
"""

from __future__ import annotations

import re
import runpy
from typing import NamedTuple

import pytest
from builders import FAKES

from runtime.backends.ascend.codes import acl_code
from runtime.backends.torch.npu_failures import NEW_PROCESS, explain
from runtime.machine import visible_devices
from runtime.machine.npu_packages import MODULES

# without its package, which would give this process an NPU
_TEXTS = runpy.run_path(str(FAKES / "torch_npu/texts.py"))
ACL_API, QUEUE, COPY, FUNCTION, AICORE = (
    str(_TEXTS[name]) for name in ("ACL_API", "QUEUE", "COPY", "FUNCTION", "AICORE")
)


class Text(NamedTuple):
    """What an error reads like, its code (None: it has none), and whether the device is lost."""

    said: str
    code: int | None
    lost: bool = True


READ: dict[str, Text] = {
    # aten/ops/op_api/CopyKernelOpApi.cpp:98, aten/common/CopyKernel.cpp:157 (v2.1.0-7.0.0: :62 and
    # :119; v2.9.0-7.3.0: :64 and :121; v2.1.0-5.0.0: :57 and :121): AT_ERROR
    "copy": Text(COPY.format(code=507035), 507035),
    # the same with TORCH_SHOW_CPP_STACKTRACES=1
    "copy, with its frames": Text(
        COPY.format(code=507014) + "\nException raised from copy_between_host_and_device_opapi at"
        " build/CMakeFiles/torch_npu.dir/compiler_depend.ts:98 (most recent call first):\n"
        "frame #0: c10::Error::Error(c10::SourceLocation, std::string) + 0x68 (0xffffb0f1f3c8)",
        507014,
    ),
    # core/npu/NPUException.h:184-196, NPU_CHECK_ERROR, of a code that is in its table
    "check": Text(
        f"{FUNCTION.format(call='AclrtSynchronizeDeviceWithTimeout', line=457)}, error code is"
        f" 507015{ACL_API}{AICORE}\nEZ9999: Inner Error!\n        synchronize stream failed,"
        " runtime result = 507018[FUNC:ReportCallError]",
        507015,
    ),
    # the same of one that is not: a full stop
    "check, code without a sentence": Text(
        f"{FUNCTION.format(call='aclrtMemcpy', line=60)}, error code is 507057{ACL_API}.\n",
        507057,
    ),
    # core/npu/NPUException.h:117-131, CHECK_AND_THROW_ERROR_WITH_SPECIFIC_MESSAGE
    "specific message": Text(
        f"copy_between_host_and_device_opapi:x.ts:93 NPU function error: HCCS LINK ERROR, error"
        f" code is 507056{ACL_API}",
        507056,
    ),
    # core/npu/NPUException.h:159-170, compact output: no second line
    "compact": Text(
        " NPU function error: c10_npu::acl::AclrtSynchronizeEvent, error code is 507047 x\n",
        507047,
    ),
    # core/npu/NPUException.cpp:207-216, the same where CANN spoke of an inner error: no code at all
    "compact, inner error": Text(
        "CANN error: CANN Inner Error. Please rectify the fault based on the error information in"
        " the ascend log.",
        None,
        lost=False,
    ),
    # core/npu/NPUException.h:225-240, OPS_CHECK_ERROR
    "operator": Text(
        "OpsCheck:x.ts:12 OPS function error: aclopCompileAndExecute, error code is 107003"
        f"{ACL_API.replace('ERR00100 PTA', 'ERR01100 OPS')}.\n",
        107003,
        lost=False,
    ),
    # v2.1.0-5.0.0 core/npu/NPUException.h:27: the oldest form of the check
    "check, oldest": Text(
        "synchronize:torch_npu/csrc/core/npu/NPUStream.cpp:382 NPU error, error code is 507018"
        "\n[Error]: The aicpu execution is abnormal. \n        Rectify the fault.\nEZ9999: x\n",
        507018,
    ),
    # framework/utils/CalcuOpUtil.h:44,57 (v2.1.0-5.0.0:45): NPU_LOGE and ACL_REQUIRE_OK_OP
    "log": Text("Copy:CopyKernel.cpp:88 NPU error,NPU error code is:507901\n", 507901),
    # core/npu/NPUQueue.cpp:592: what CANN said stands last, and may name the code
    "queue, with CANN's code": Text(
        QUEUE.format(
            operator="aclnnConvolution",
            said="EZ9999: [PID: 31337] 2026-02-03-04:05:06.007.008 synchronize stream failed,"
            " runtime result = 507016[FUNC:ReportCallError][FILE:log_inner.cpp][LINE:161]",
        ),
        507016,
    ),
    "queue, without a code": Text(QUEUE.format(operator="aclnnAdd", said=""), None),
    # v2.1.0-6.0.rc1 core/npu/NPUQueue.cpp:227: no operator, "pleace", and a line break before it
    "queue, oldest": Text(
        "The Inner error is reported as above.\n Since the operator is called asynchronously, the"
        " stacktrace may be inaccurate. If you want to get the accurate stacktrace, pleace set the"
        f" environment variable ASCEND_LAUNCH_BLOCKING=1.{ACL_API}",
        None,
    ),
    # core/npu/NPUQueue.cpp:563, ThrowDeviceError; and framework/OpParamMaker.cpp:278
    "device fault in the queue": Text(f"HBM MULTI BIT ECC ERROR, EE9999: x{ACL_API}", 507054),
    "memory fault in the queue": Text(f"UCE ERROR, {ACL_API}", 507053),
    "stopped by force": Text(f"FORCE STOP.{ACL_API}", 107022),
    # core/npu/NPUException.cpp:398: since Ascend950 the link has another name
    "link of 950": Text(f"UB LINK ERROR, EE9999: x{ACL_API}", 507056),
    # core/npu/NPUCachingAllocator.cpp:1377 (v2.1.0-7.0.0:1319)
    "memory": Text(
        "NPU out of memory. Tried to allocate 5.03 GiB (NPU 0; 29.50 GiB total capacity; 1.87 GiB"
        " already allocated; 1.87 GiB current active; 3.06 GiB free; 1.89 GiB reserved in total by"
        " PyTorch) If reserved memory is >> allocated memory try setting max_split_size_mb to avoid"
        " fragmentation.",
        None,
        lost=False,
    ),
    # core/npu/NPUException.cpp:425, isCannOOM: thrown as an OutOfMemoryError of torch
    "memory, CANN's": Text(
        f"{FUNCTION.format(call='aclnnConvolution', line=9)}, error code is 207001{ACL_API}.\n"
        "EL0004: [PID: 31337] Failed to allocate memory.",
        None,
        lost=False,
    ),
}


@pytest.mark.parametrize("text", READ.values(), ids=READ.keys())
def test_reader_finds_the_code_and_whether_the_device_is_lost(text: Text) -> None:
    """Whatever follows the first code is a consequence."""
    found = explain(text.said)
    assert found is not None
    assert found.loses_device == text.lost
    if text.code is not None:
        assert found.meaning == acl_code(text.code).meaning
    if text.lost and not found.unavailable:
        assert NEW_PROCESS in found.action


@pytest.mark.parametrize(
    "text",
    ["error code is 661002", "moon phase", "error code: 5070151", "No module named 'frobnicate'"],
)
def test_reader_knows_nothing_of_other_texts(text: str) -> None:
    """It does not guess: not what a code of no table means, nor which package holds a module."""
    assert explain(text) is None


# An operator function of CANN that fails. The form is that of the wheels torch_npu 2.7.1 ("call
# aclnnX failed" in the place of a function's name) and of vllm-project/vllm-ascend 4859 and 6636.
OPERATOR = (
    "zero_:../third_party/op-plugin/op_plugin/ops/opapi/X.cpp:26 NPU function error: call"
    f" aclnnInplaceZero failed, error code is {{code}}{ACL_API}.\n{{said}}"
)
PARSE = (
    "EZ9999[PID: 7] 2026-02-03-04:05:06.7 AclNN_Inner_Error(EZ9999):  Parse dynamic kernel config"
)
TYPE = "[PID: 7] 2026-02-03-04:05:06.7 AclNN_Parameter_Error(EZ1001): Tensor self not implemented"


class Meant(NamedTuple):
    """A text as users met it, and the words of its explanation."""

    said: str
    meaning: str
    action: str
    unavailable: bool = True
    lost: bool = False


EXPLAINED: dict[str, Meant] = {
    "561103": Meant(
        OPERATOR.format(code=561103, said="EZ9999: Inner Error!\nEZ9999: ZerosLike failed."),
        "are not of one release.*ACLNN_ERR_INNER_NULLPTR",
        "runtime.doctor.*plog",
        unavailable=False,
    ),
    "561000": Meant(
        OPERATOR.format(code=561000, said=""), "not of one release", "doctor", unavailable=False
    ),
    "561999, of a newer table": Meant(
        OPERATOR.format(code=561999, said=""), "ACLNN_ERR_INNER_XXX", "doctor", unavailable=False
    ),
    "561103, its operators not found": Meant(
        OPERATOR.format(code=561103, said=f"{PARSE} fail.\n Failed to ParseDynamicKernels."),
        "compiled operators for this chip",
        "ops .kernels. package",
    ),
    "561107": Meant(OPERATOR.format(code=561107, said=""), "ASCEND_OPP_PATH", "set_env.sh"),
    "561112": Meant(OPERATOR.format(code=561112, said=""), "PKG_NOT_FOUND", "ops .kernels."),
    # Ascend/pytorch, docs/zh/user_guide/troubleshooting, operator_called_error.md
    "no binary": Meant(
        "call aclnnArange failed, detail:EZ9999: Inner Error!\nEZ9999: [PID: 7] Cannot find bin of"
        " op Range, integral key 0/1/|int64/ND/.\n Cannot find binary for op Range.",
        "compiled operators",
        "ops .kernels.",
    ),
    # vllm-project/vllm-ascend 237
    "kernel package, by an argument's code": Meant(
        "call aclnnSwiGlu failed, detail:EZ1001: [PID: 7] 2026-02-03-04:05:06.7 Get path and read"
        " binary_info_config.json failed, please check if the opp_kernel package is installed!",
        "compiled operators",
        "ops .kernels.",
    ),
    "161002": Meant(
        OPERATOR.format(code=161002, said=f"{TYPE} for DT_BFLOAT16"),
        "refuses one of its arguments",
        "EZ1001",
        unavailable=False,
    ),
    "argument, without a code": Meant(
        "call aclnnCast failed, detail:EZ1001: 2026-02-03-04:05:06.7 self not implemented",
        "refuses one of its arguments",
        "EZ1001",
        unavailable=False,
    ),
    "361001, of a lost device": Meant(
        OPERATOR.format(code=361001, said="EZ9999: synchronize failed, runtime result = 507015"),
        "AI Core",
        "new process.*lost the device",
        unavailable=False,
        lost=True,
    ),
    "361001, for want of memory": Meant(
        OPERATOR.format(code=361001, said="EZ9999: malloc failed, runtime result = 207001"),
        "memory",
        "smaller batches",
        unavailable=False,
    ),
    "361001 alone": Meant(
        OPERATOR.format(code=361001, said=""), "CANN's runtime", "Run it again", unavailable=False
    ),
    "561103, of a lost device": Meant(
        OPERATOR.format(code=561103, said="EZ9999: synchronize failed, runtime result = 507053"),
        "",
        "new process.*lost the device",
        unavailable=False,
        lost=True,
    ),
    # torch_npu 2.7.1, libtorch_npu.so; vllm-project/vllm-ascend 7095
    "an operator that CANN lacks": Meant(
        "aclnnX or aclnnXGetWorkspaceSize not in libopapi.so, or libopapi.sonot found.",
        "lacks an operator",
        "pairs with this CANN",
    ),
    # Ascend/pytorch 7, where numpy to absl-py were missing
    "compiler that does not start": Meant(
        "EH9999: Inner Error!\nEH9999  [Init][Env]init env failed![FUNC:ReportInnerError]"
        "[FILE:log_inner.cpp][LINE:145]\n        TraceBack (most recent call last):\n"
        "        build op model failed, result = 500001[FUNC:ReportInnerError]",
        "compiler does not start",
        "decorator .*absl-py",
    ),
    "compiler that does not start, in the queue": Meant(
        QUEUE.format(operator="Identity", said="EH9999: build op model failed, result = 500001"),
        "compiler does not start",
        "absl-py.*start a new process",
        lost=True,
    ),
    # words that are a cause of their own elsewhere, in the frames or in CANN's trace behind a code
    "loader's words in the frames": Meant(
        COPY.format(code=507046) + "\nException raised from copy_between_host_and_device_opapi at"
        " x.ts:98:\nframe #0: /opt/y/libtorch_npu.so: undefined symbol: _ZN3c10",
        "not of one release",
        "start a new process$",
        lost=True,
    ),
    "want of memory in the trace": Meant(
        f"{FUNCTION.format(call='aclrtMemcpy', line=9)}, error code is 507018{ACL_API}.\n"
        "EL0004: [PID: 31337] Failed to allocate memory.",
        "memory is used up",
        "start a new process$",
        unavailable=False,
        lost=True,
    ),
    # NPUQueue.cpp:563, as "memory fault in the queue"
    "want of memory behind a fault": Meant(
        f"UCE ERROR, EL0004: [PID: 31337] x{ACL_API}",
        "memory is used up",
        "start a new process$",
        unavailable=False,
        lost=True,
    ),
    # smaller batches in this process would be dropped like all others
    "want of memory that stops the queue": Meant(
        QUEUE.format(operator="aclnnConvolution", said="EL0004: [PID: 31337] Failed to allocate"),
        "memory is used up",
        "smaller batches.*start a new process$",
        unavailable=False,
        lost=True,
    ),
    "compiler's words beside CANN's code": Meant(
        "EZ9999: [PID: 31337] synchronize stream failed, runtime result = 507016[FUNC:Report]\n"
        "EC0010: Failed to import Python module",
        "misses its Python packages",
        "start a new process$",
        lost=True,
    ),
    "a code that loses the device, behind one that does not": Meant(
        READ["memory, CANN's"].said + " EE9999: runtime result = 507018, error code is 507015",
        "memory is used up",
        "smaller batches",
        unavailable=False,
    ),
    # atc 8.0.0 and torch_npu on 8.2: what NumPy 2 says
    "NumPy 2": Meant(
        "EC0010: [PID: 7] 2026-02-03-04:05:06.7 Failed to import Python module [AttributeError:"
        " `np.float_` was removed in the NumPy 2.0 release. Use `np.float64` instead..].",
        "^NumPy is too new",
        "numpy<2|before 3.13",
    ),
    "a module of NumPy 1's": Meant(
        "A module that was compiled using NumPy 1.x cannot be run in NumPy 2.2.6 as it may crash.",
        "^NumPy is too new",
        "numpy<2|before 3.13",
    ),
}


@pytest.mark.parametrize("text", EXPLAINED.values(), ids=EXPLAINED.keys())
def test_text_is_explained(text: Meant) -> None:
    """By an operator's own code, by the codes beneath it, and by its words.

    A code that loses the device does so whatever words stand behind it: else the next run would end
    with what lies in memory.
    """
    found = explain(text.said)
    assert found is not None
    assert re.search(text.meaning, found.meaning)
    assert re.search(text.action, found.action, re.IGNORECASE)
    assert found.loses_device == text.lost
    assert found.unavailable == text.unavailable


@pytest.mark.parametrize("module", [*MODULES, "google", "scipy.sparse", "attrs", "absl.logging"])
def test_any_module_of_the_compilers_list_is_the_compilers(module: str) -> None:
    """And of them only pip's names are given."""
    found = explain(f"ModuleNotFoundError: No module named '{module}'")
    assert found is not None
    assert found.unavailable
    named = "pyyaml" if module == "yaml" else "protobuf"
    assert named in found.action
    assert "google" not in found.action


@pytest.mark.parametrize("code", visible_devices.CODES)
def test_device_that_a_variable_hides_is_told_with_it(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """In place of what is done where nothing hides it."""
    said = f"{FUNCTION.format(call='aclrtSetDevice', line=3)}, error code is {code}{ACL_API}.\n"
    monkeypatch.delenv(visible_devices.NAME, raising=False)
    plain = explain(said)
    monkeypatch.setenv(visible_devices.NAME, "3,0")
    hidden = explain(said)

    assert plain is not None
    assert hidden is not None
    assert "npu-smi info" in plain.action
    assert hidden == plain._replace(action=visible_devices.advice())
