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

_PART = "a part of the model could not be loaded"
_STUBS = "Take devlib out of LD_LIBRARY_PATH and install the driver; see python -m runtime.doctor"
_LISTED = "Choose a device that npu-smi info -l lists; see python -m runtime.doctor"
_COPY = "Copy the whole bundle again, or convert again"
_SLICE = (
    "For a slice, convert again with python -m export --om require ... -- --virtual_type=1,"
    " or name the slice itself with --soc_version; or take the whole chip"
)

# number, symbol without ACL_ERROR_, meaning, remedy
Row = tuple[int, str, str, str]

_FAILED: tuple[Row, ...] = (
    (100000, "INVALID_PARAM", "a parameter is invalid", _REPORT),
    (100001, "UNINITIALIZE", "ACL is not initialised", _REPORT),
    (100002, "REPEAT_INITIALIZE", "ACL is initialised already", _REPORT),
    (100011, "INVALID_MODEL_ID", "no such model is loaded", _REPORT),
    (100037, "REPEAT_FINALIZE", "ACL is finalised already", _REPORT),
    (107000, "RT_PARAM_INVALID", "a parameter is invalid", _REPORT),
    (107002, "RT_CONTEXT_NULL", "no context is set in this thread", _REPORT),
    (107003, "RT_STREAM_CONTEXT", "the stream is of another context", _REPORT),
    (107017, "RT_INVALID_HANDLE", "the handle is invalid", _REPORT),
    (107019, "RT_WAIT_TIMEOUT", "waiting took too long", _FRESH),
    (145000, "GE_PARAM_INVALID", "a parameter of the graph is invalid", _REPORT),
    (145001, "GE_EXEC_NOT_INIT", "the graph engine is not started", _REPORT),
    (145003, "GE_EXEC_MODEL_ID_INVALID", "no such model is loaded", _REPORT),
    (145007, "GE_EXEC_MODEL_ADDR_INVALID", "an address is invalid", _REPORT),
    (145009, "GE_EXEC_LOAD_MODEL_REPEATED", "it is loaded already", _REPORT),
    (145011, "GE_DYNAMIC_INPUT_ADDR_INVALID", "the gear input's address is invalid", _REPORT),
    (145012, "GE_DYNAMIC_INPUT_LENGTH_INVALID", "the gear input is too short", _REPORT),
    (148051, "RELATIVE_RESOURCE_NOT_CLEARED", "resources are still in use", _REPORT),
    (200000, "BAD_ALLOC", "the host has no memory left", _MEMORY),
    (200001, "API_NOT_SUPPORT", "this CANN does not support the call", _ENVIRONMENT),
    (207000, "RT_FEATURE_NOT_SUPPORT", "this chip does not support it", _ENVIRONMENT),
    (207001, "RT_MEMORY_ALLOCATION", "memory could not be allocated", _MEMORY),
    (207018, "RT_DEVICE_OOM", "the device has no memory left", _MEMORY),
    (245000, "GE_MEMORY_ALLOCATION", "memory could not be allocated", _MEMORY),
    (300000, "STORAGE_OVER_LIMIT", "a storage limit is exceeded", _MEMORY),
    (500000, "INTERNAL_ERROR", "an internal error", _ENVIRONMENT),
    (500001, "FAILURE", "a failure", _ENVIRONMENT),
    (500002, "GE_FAILURE", "the graph engine failed", _CONVERT),
    (500003, "RT_FAILURE", "the runtime failed", _ENVIRONMENT),
    (507007, "RT_CONTEXT_RELEASE_ERROR", "the context could not be released", _FRESH),
    (507011, "RT_MODEL_EXECUTE", "the model failed while running", _FRESH),
    (545000, "GE_INTERNAL_ERROR", "the graph engine failed", _CONVERT),
    (545009, "GE_UNLOAD_MODEL", "the model could not be unloaded", _FRESH),
)
_ARTIFACT: tuple[Row, ...] = (
    (100003, "INVALID_FILE", "the file is invalid", _CONVERT),
    (100016, "MODEL_MISSING_ATTR", "the model lacks an attribute", _CONVERT),
    (100017, "MODEL_INPUT_NOT_MATCH", "the inputs do not match", _CONVERT),
    (100018, "MODEL_OUTPUT_NOT_MATCH", "the outputs do not match", _CONVERT),
    (100019, "MODEL_NOT_DYNAMIC", "the model has no gears", _CONVERT),
    (145002, "GE_EXEC_MODEL_PATH_INVALID", "the model's path is invalid", _CONVERT),
    (145006, "GE_EXEC_MODEL_DATA_SIZE_INVALID", "the model's file is damaged or not an .om", _COPY),
    (145013, "GE_DYNAMIC_BATCH_SIZE_INVALID", "the batch is none of the model's gears", _CONVERT),
    (145020, "GE_FORMAT_INVALID", "the format is invalid", _CONVERT),
    (145021, "GE_SHAPE_INVALID", "the shape is invalid", _CONVERT),
    (145022, "GE_DATATYPE_INVALID", "the dtype is invalid", _CONVERT),
    (507008, "RT_SOC_VERSION", "the model is for another chip", _CHIP),
    (
        507009,
        "RT_TASK_TYPE_NOT_SUPPORT",
        "the device cannot run such tasks; a slice of a chip (vNPU) needs a model made for slices",
        _SLICE,
    ),
    (545001, "GE_LOAD_MODEL", "the model could not be loaded", _CONVERT),
    (545002, "GE_EXEC_LOAD_MODEL_PARTITION_FAILED", _PART, _CONVERT),
    (545003, "GE_EXEC_LOAD_WEIGHT_PARTITION_FAILED", _PART, _CONVERT),
    (545004, "GE_EXEC_LOAD_TASK_PARTITION_FAILED", _PART, _CONVERT),
    (545005, "GE_EXEC_LOAD_KERNEL_PARTITION_FAILED", _PART, _CONVERT),
)
_UNAVAILABLE: tuple[Row, ...] = (
    (100039, "COMPILING_STUB_MODE", "these are the stub libraries, for compiling only", _STUBS),
    (107001, "RT_INVALID_DEVICEID", "no such device, or its driver does not answer", _LISTED),
    (148049, "INVALID_OPP_PATH", "ASCEND_OPP_PATH is wrong", _ENVIRONMENT),
    (200002, "INVALID_DEVICE", "the device is invalid", _ENVIRONMENT),
    (207004, "RT_NO_DEVICE", "there is no device", _ENVIRONMENT),
)
_LOST: tuple[Row, ...] = (
    # 107022, 507010, 507053, 507054 and 507901 become the status of the device, which every call
    # in any of its contexts returns until it is reset [V: hicann/runtime src/runtime/core/src,
    # context/context.cc Context::CheckStatus; set in context/context_manage.cc DeviceAbort,
    # engine/engine.cc, device/device_error_core_proc.cc, runtime.cc]
    (107022, "RT_DEVICE_TASK_ABORT", "the device's tasks were aborted", _ABORTED),
    (507010, "RT_LOST_HEARTBEAT", "the device's scheduler is dead", _DRIVER),
    (507053, "RT_DEVICE_MEM_ERROR", "its memory has an uncorrectable error", _ECC),
    (507054, "RT_HBM_MULTI_BIT_ECC_ERROR", "its HBM has a multi-bit ECC error", _ECC),
    (507901, "RT_SOCKET_CLOSE", "host and device are disconnected", _DRIVER),
    # after most of the others the runtime would go on with a stream of create_stream's [V: docs/zh/
    # api_ref/06_stream_management.md, ACL_CONTINUE_ON_FAILURE], but nobody knows by then what the
    # device's memory holds [I]
    (507000, "RT_INTERNAL_ERROR", "the runtime failed", _FRESH),
    (507001, "RT_TS_ERROR", "the device's scheduler failed", _FRESH),
    (507014, "RT_AICORE_TIMEOUT", "an AI Core hung", _FRESH),
    (507015, "RT_AICORE_EXCEPTION", "an AI Core failed", _FRESH),
    (507016, "RT_AICORE_TRAP_EXCEPTION", "an AI Core trapped", _FRESH),
    (507017, "RT_AICPU_TIMEOUT", "an AI CPU hung", _FRESH),
    (507018, "RT_AICPU_EXCEPTION", "an AI CPU failed", _FRESH),
    (507033, "RT_DEV_SETUP_ERROR", "the device could not be set up", _DRIVER),
    (507034, "RT_VECTOR_CORE_TIMEOUT", "a vector core hung", _FRESH),
    (507035, "RT_VECTOR_CORE_EXCEPTION", "a vector core failed", _FRESH),
    (507036, "RT_VECTOR_CORE_TRAP_EXCEPTION", "a vector core trapped", _FRESH),
    (507042, "RT_AICORE_TRAP_READ_OVERFLOW", "an AI Core read out of bounds", _FRESH),
    (507043, "RT_AICORE_TRAP_WRITE_OVERFLOW", "an AI Core wrote out of bounds", _FRESH),
    (507044, "RT_VECTOR_CORE_TRAP_READ_OVERFLOW", "a vector core read out of bounds", _FRESH),
    (507045, "RT_VECTOR_CORE_TRAP_WRITE_OVERFLOW", "a vector core wrote out of bounds", _FRESH),
    (507046, "RT_STREAM_SYNC_TIMEOUT", "the stream did not end in time", _FRESH),
    (507047, "RT_EVENT_SYNC_TIMEOUT", "an event did not come in time", _FRESH),
    (507048, "RT_FFTS_PLUS_TIMEOUT", "a task of the chip's scheduler hung", _FRESH),
    (507049, "RT_FFTS_PLUS_EXCEPTION", "a task of the chip's scheduler failed", _FRESH),
    (507050, "RT_FFTS_PLUS_TRAP_EXCEPTION", "a task of the chip's scheduler trapped", _FRESH),
    (507055, "RT_SUSPECT_DEVICE_MEM_ERROR", "some device's memory is bad", _OTHER_DEVICE),
    (507056, "RT_LINK_ERROR", "the link between two devices is down", _OTHER_DEVICE),
    (507057, "RT_SUSPECT_REMOTE_ERROR", "some device's memory is bad", _OTHER_DEVICE),
    (507899, "RT_DRV_INTERNAL_ERROR", "the driver failed", _DRIVER),
    (545601, "GE_MODEL_EXECUTE_TIMEOUT", "the model did not end in time", _FRESH),
)

_BY_KIND: dict[Kind, tuple[Row, ...]] = {
    "failed": _FAILED,
    "artifact": _ARTIFACT,
    "unavailable": _UNAVAILABLE,
}
CODES = {
    number: AclCode(f"ACL_ERROR_{symbol}", meaning, remedy, kind)
    for kind, rows in _BY_KIND.items()
    for number, symbol, meaning, remedy in rows
} | {
    number: AclCode(
        f"ACL_ERROR_{symbol}",
        meaning,
        remedy,
        "unavailable" if remedy is _DRIVER else "failed",
        loses_device=True,
    )
    for number, symbol, meaning, remedy in _LOST
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
