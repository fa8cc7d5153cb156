"""Return codes of pyACL: their names, what they mean, what to do, and which kind of error each is.

Source: the open runtime's acl_base_rt.h and error_codes/{rt,ge}_error_codes.h, and the meanings in
its docs/zh/api_ref/25-01_aclError.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["unavailable", "artifact", "failed"]


@dataclass(frozen=True)
class AclCode:
    """One return code.

    Attributes:
        symbol: its name in CANN's headers.
        meaning: in a few words.
        remedy: the next action.
        kind: unavailable (device, driver or CANN), artifact (the .om file), or failed.
        loses_device: its context is not used any more. After some codes the runtime refuses every
            call until the device is reset; after the others the device failed in the middle of its
            work, and nobody knows what its memory holds.
    """

    symbol: str
    meaning: str
    remedy: str
    kind: Kind = "failed"
    loses_device: bool = False


REPEAT_INITIALIZE = 100002

_REPORT = "Report it with the log under ~/ascend/log/debug/plog"
_ENVIRONMENT = "Run python -m runtime.doctor; source CANN's set_env.sh and check npu-smi info"
_CONVERT = "Convert again on a machine with this CANN: python -m export --om require"
_CHIP = "Convert for this chip: python -m export --om require --soc_version auto"
_FRESH = "Check npu-smi info for the device's health, then open a new Detector"
_ANEW = "open a new Detector once all others on the device are closed"
_ABORTED = f"Find what aborts the device's tasks (aclrtDeviceTaskAbort), then {_ANEW}"
_DRIVER = (
    "Check npu-smi info, the driver's version, and that no other container holds the device,"
    f" then {_ANEW}"
)
_ECC = f"Look at its errors with npu-smi info -t ecc -i N, then {_ANEW}"
_OTHER_DEVICE = "Check npu-smi info for the health of all devices, then open a new Detector"
_MEMORY = "Close other users of the device (npu-smi info), or take a smaller batch"

CODES: dict[int, AclCode] = {
    100000: AclCode("ACL_ERROR_INVALID_PARAM", "a parameter is invalid", _REPORT),
    100001: AclCode("ACL_ERROR_UNINITIALIZE", "ACL is not initialised", _REPORT),
    100002: AclCode("ACL_ERROR_REPEAT_INITIALIZE", "ACL is initialised already", _REPORT),
    100003: AclCode("ACL_ERROR_INVALID_FILE", "the file is invalid", _CONVERT, "artifact"),
    100011: AclCode("ACL_ERROR_INVALID_MODEL_ID", "no such model is loaded", _REPORT),
    100016: AclCode(
        "ACL_ERROR_MODEL_MISSING_ATTR", "the model lacks an attribute", _CONVERT, "artifact"
    ),
    100017: AclCode(
        "ACL_ERROR_MODEL_INPUT_NOT_MATCH", "the inputs do not match", _CONVERT, "artifact"
    ),
    100018: AclCode(
        "ACL_ERROR_MODEL_OUTPUT_NOT_MATCH", "the outputs do not match", _CONVERT, "artifact"
    ),
    100019: AclCode("ACL_ERROR_MODEL_NOT_DYNAMIC", "the model has no gears", _CONVERT, "artifact"),
    100037: AclCode("ACL_ERROR_REPEAT_FINALIZE", "ACL is finalised already", _REPORT),
    100039: AclCode(
        "ACL_ERROR_COMPILING_STUB_MODE",
        "these are the stub libraries, for compiling only",
        "Take devlib out of LD_LIBRARY_PATH and install the driver; see python -m runtime.doctor",
        "unavailable",
    ),
    107000: AclCode("ACL_ERROR_RT_PARAM_INVALID", "a parameter is invalid", _REPORT),
    107001: AclCode(
        "ACL_ERROR_RT_INVALID_DEVICEID",
        "no such device, or its driver does not answer",
        "Choose a device that npu-smi info -l lists; see python -m runtime.doctor",
        "unavailable",
    ),
    107002: AclCode("ACL_ERROR_RT_CONTEXT_NULL", "no context is set in this thread", _REPORT),
    107003: AclCode("ACL_ERROR_RT_STREAM_CONTEXT", "the stream is of another context", _REPORT),
    107017: AclCode("ACL_ERROR_RT_INVALID_HANDLE", "the handle is invalid", _REPORT),
    107019: AclCode("ACL_ERROR_RT_WAIT_TIMEOUT", "waiting took too long", _FRESH),
    145000: AclCode("ACL_ERROR_GE_PARAM_INVALID", "a parameter of the graph is invalid", _REPORT),
    145001: AclCode("ACL_ERROR_GE_EXEC_NOT_INIT", "the graph engine is not started", _REPORT),
    145002: AclCode(
        "ACL_ERROR_GE_EXEC_MODEL_PATH_INVALID", "the model's path is invalid", _CONVERT, "artifact"
    ),
    145003: AclCode("ACL_ERROR_GE_EXEC_MODEL_ID_INVALID", "no such model is loaded", _REPORT),
    145006: AclCode(
        "ACL_ERROR_GE_EXEC_MODEL_DATA_SIZE_INVALID",
        "the model's file is damaged or not an .om",
        "Copy the whole bundle again, or convert again",
        "artifact",
    ),
    145007: AclCode("ACL_ERROR_GE_EXEC_MODEL_ADDR_INVALID", "an address is invalid", _REPORT),
    145009: AclCode("ACL_ERROR_GE_EXEC_LOAD_MODEL_REPEATED", "it is loaded already", _REPORT),
    145011: AclCode(
        "ACL_ERROR_GE_DYNAMIC_INPUT_ADDR_INVALID", "the gear input's address is invalid", _REPORT
    ),
    145012: AclCode(
        "ACL_ERROR_GE_DYNAMIC_INPUT_LENGTH_INVALID", "the gear input is too short", _REPORT
    ),
    145013: AclCode(
        "ACL_ERROR_GE_DYNAMIC_BATCH_SIZE_INVALID",
        "the batch is none of the model's gears",
        _CONVERT,
        "artifact",
    ),
    145020: AclCode("ACL_ERROR_GE_FORMAT_INVALID", "the format is invalid", _CONVERT, "artifact"),
    145021: AclCode("ACL_ERROR_GE_SHAPE_INVALID", "the shape is invalid", _CONVERT, "artifact"),
    145022: AclCode("ACL_ERROR_GE_DATATYPE_INVALID", "the dtype is invalid", _CONVERT, "artifact"),
    148049: AclCode(
        "ACL_ERROR_INVALID_OPP_PATH",
        "ASCEND_OPP_PATH is wrong",
        _ENVIRONMENT,
        "unavailable",
    ),
    148051: AclCode(
        "ACL_ERROR_RELATIVE_RESOURCE_NOT_CLEARED", "resources are still in use", _REPORT
    ),
    200000: AclCode("ACL_ERROR_BAD_ALLOC", "the host has no memory left", _MEMORY),
    200001: AclCode(
        "ACL_ERROR_API_NOT_SUPPORT", "this CANN does not support the call", _ENVIRONMENT
    ),
    200002: AclCode(
        "ACL_ERROR_INVALID_DEVICE", "the device is invalid", _ENVIRONMENT, "unavailable"
    ),
    207000: AclCode(
        "ACL_ERROR_RT_FEATURE_NOT_SUPPORT", "this chip does not support it", _ENVIRONMENT
    ),
    207001: AclCode("ACL_ERROR_RT_MEMORY_ALLOCATION", "memory could not be allocated", _MEMORY),
    207004: AclCode("ACL_ERROR_RT_NO_DEVICE", "there is no device", _ENVIRONMENT, "unavailable"),
    207018: AclCode("ACL_ERROR_RT_DEVICE_OOM", "the device has no memory left", _MEMORY),
    245000: AclCode("ACL_ERROR_GE_MEMORY_ALLOCATION", "memory could not be allocated", _MEMORY),
    300000: AclCode("ACL_ERROR_STORAGE_OVER_LIMIT", "a storage limit is exceeded", _MEMORY),
    500000: AclCode("ACL_ERROR_INTERNAL_ERROR", "an internal error", _ENVIRONMENT),
    500001: AclCode("ACL_ERROR_FAILURE", "a failure", _ENVIRONMENT),
    500002: AclCode("ACL_ERROR_GE_FAILURE", "the graph engine failed", _CONVERT),
    500003: AclCode("ACL_ERROR_RT_FAILURE", "the runtime failed", _ENVIRONMENT),
    507007: AclCode(
        "ACL_ERROR_RT_CONTEXT_RELEASE_ERROR", "the context could not be released", _FRESH
    ),
    507008: AclCode("ACL_ERROR_RT_SOC_VERSION", "the model is for another chip", _CHIP, "artifact"),
    507009: AclCode(
        "ACL_ERROR_RT_TASK_TYPE_NOT_SUPPORT",
        "the device cannot run such tasks; a slice of a chip (vNPU) needs a model made for slices",
        "For a slice, convert again with python -m export --om require ... -- --virtual_type=1,"
        " or name the slice itself with --soc_version; or take the whole chip",
        "artifact",
    ),
    507011: AclCode("ACL_ERROR_RT_MODEL_EXECUTE", "the model failed while running", _FRESH),
    545000: AclCode("ACL_ERROR_GE_INTERNAL_ERROR", "the graph engine failed", _CONVERT),
    545001: AclCode(
        "ACL_ERROR_GE_LOAD_MODEL", "the model could not be loaded", _CONVERT, "artifact"
    ),
    545009: AclCode("ACL_ERROR_GE_UNLOAD_MODEL", "the model could not be unloaded", _FRESH),
    545601: AclCode(
        "ACL_ERROR_GE_MODEL_EXECUTE_TIMEOUT",
        "the model did not end in time",
        _FRESH,
        loses_device=True,
    ),
}
for _number, _part in ((545002, "MODEL"), (545003, "WEIGHT"), (545004, "TASK"), (545005, "KERNEL")):
    CODES[_number] = AclCode(
        f"ACL_ERROR_GE_EXEC_LOAD_{_part}_PARTITION_FAILED",
        "a part of the model could not be loaded",
        _CONVERT,
        "artifact",
    )

_LOST: tuple[tuple[int, str, str, str, Kind], ...] = (
    # 107022, 507010, 507053, 507054 and 507901 become the status of the device, which every call
    # in any of its contexts returns until it is reset [V: hicann/runtime src/runtime/core/src,
    # context/context.cc Context::CheckStatus; set in context/context_manage.cc DeviceAbort,
    # engine/engine.cc, device/device_error_core_proc.cc, runtime.cc]
    (107022, "DEVICE_TASK_ABORT", "the device's tasks were aborted", _ABORTED, "failed"),
    (507010, "LOST_HEARTBEAT", "the device's scheduler is dead", _DRIVER, "unavailable"),
    (507053, "DEVICE_MEM_ERROR", "its memory has an uncorrectable error", _ECC, "failed"),
    (507054, "HBM_MULTI_BIT_ECC_ERROR", "its HBM has a multi-bit ECC error", _ECC, "failed"),
    (507901, "SOCKET_CLOSE", "host and device are disconnected", _DRIVER, "unavailable"),
    # after most of the others the runtime would go on with a stream of create_stream's [V: docs/zh/
    # api_ref/06_stream_management.md, ACL_CONTINUE_ON_FAILURE], but nobody knows by then what the
    # device's memory holds [I]
    (507000, "INTERNAL_ERROR", "the runtime failed", _FRESH, "failed"),
    (507001, "TS_ERROR", "the device's scheduler failed", _FRESH, "failed"),
    (507014, "AICORE_TIMEOUT", "an AI Core hung", _FRESH, "failed"),
    (507015, "AICORE_EXCEPTION", "an AI Core failed", _FRESH, "failed"),
    (507016, "AICORE_TRAP_EXCEPTION", "an AI Core trapped", _FRESH, "failed"),
    (507017, "AICPU_TIMEOUT", "an AI CPU hung", _FRESH, "failed"),
    (507018, "AICPU_EXCEPTION", "an AI CPU failed", _FRESH, "failed"),
    (507033, "DEV_SETUP_ERROR", "the device could not be set up", _DRIVER, "unavailable"),
    (507034, "VECTOR_CORE_TIMEOUT", "a vector core hung", _FRESH, "failed"),
    (507035, "VECTOR_CORE_EXCEPTION", "a vector core failed", _FRESH, "failed"),
    (507036, "VECTOR_CORE_TRAP_EXCEPTION", "a vector core trapped", _FRESH, "failed"),
    (507042, "AICORE_TRAP_READ_OVERFLOW", "an AI Core read out of bounds", _FRESH, "failed"),
    (507043, "AICORE_TRAP_WRITE_OVERFLOW", "an AI Core wrote out of bounds", _FRESH, "failed"),
    (
        507044,
        "VECTOR_CORE_TRAP_READ_OVERFLOW",
        "a vector core read out of bounds",
        _FRESH,
        "failed",
    ),
    (
        507045,
        "VECTOR_CORE_TRAP_WRITE_OVERFLOW",
        "a vector core wrote out of bounds",
        _FRESH,
        "failed",
    ),
    (507046, "STREAM_SYNC_TIMEOUT", "the stream did not end in time", _FRESH, "failed"),
    (507047, "EVENT_SYNC_TIMEOUT", "an event did not come in time", _FRESH, "failed"),
    (507048, "FFTS_PLUS_TIMEOUT", "a task of the chip's scheduler hung", _FRESH, "failed"),
    (507049, "FFTS_PLUS_EXCEPTION", "a task of the chip's scheduler failed", _FRESH, "failed"),
    (
        507050,
        "FFTS_PLUS_TRAP_EXCEPTION",
        "a task of the chip's scheduler trapped",
        _FRESH,
        "failed",
    ),
    (507055, "SUSPECT_DEVICE_MEM_ERROR", "some device's memory is bad", _OTHER_DEVICE, "failed"),
    (507056, "LINK_ERROR", "the link between two devices is down", _OTHER_DEVICE, "failed"),
    (507057, "SUSPECT_REMOTE_ERROR", "some device's memory is bad", _OTHER_DEVICE, "failed"),
    (507899, "DRV_INTERNAL_ERROR", "the driver failed", _DRIVER, "unavailable"),
)
CODES |= {
    number: AclCode(f"ACL_ERROR_RT_{symbol}", meaning, remedy, kind, loses_device=True)
    for number, symbol, meaning, remedy, kind in _LOST
}


def acl_code(number: int) -> AclCode:
    """What a return code means.

    One that is not listed counts as a lost device where it is a fault of device or runtime, 507xxx:
    opening a new Detector takes seconds, whereas a stream over a device that is lost would fail
    once for each picture that is left.
    """
    found = CODES.get(number)
    if found is not None:
        return found
    lost = 507000 <= number <= 507999
    remedy = _FRESH if lost else _ENVIRONMENT
    return AclCode("an unlisted code", "see CANN's aclError list", remedy, loses_device=lost)
