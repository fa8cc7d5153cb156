"""Return codes are named, explained and acted on as CANN's headers have them."""

from __future__ import annotations

import pytest

from runtime.backends.ascend.acl import AclFailure
from runtime.backends.ascend.codes import CODES, acl_code
from runtime.errors import ArtifactError, BackendUnavailable, InferenceError
from runtime.machine import visible_devices

# hicann/runtime 681ef761, include/external/acl: acl_base_rt.h:67-136 (1000xx to 5000xx),
# error_codes/rt_error_codes.h:21-152 (x07xxx, behind ACL_ERROR_RT_) and
# error_codes/ge_error_codes.h:34-70 (x45xxx, behind ACL_ERROR_GE_)
PUBLISHED = """
100000 INVALID_PARAM             100001 UNINITIALIZE            100002 REPEAT_INITIALIZE
100003 INVALID_FILE              100011 INVALID_MODEL_ID        100016 MODEL_MISSING_ATTR
100017 MODEL_INPUT_NOT_MATCH     100018 MODEL_OUTPUT_NOT_MATCH  100019 MODEL_NOT_DYNAMIC
100037 REPEAT_FINALIZE           100039 COMPILING_STUB_MODE     148049 INVALID_OPP_PATH
148051 RELATIVE_RESOURCE_NOT_CLEARED                            200000 BAD_ALLOC
200001 API_NOT_SUPPORT           200002 INVALID_DEVICE          300000 STORAGE_OVER_LIMIT
500000 INTERNAL_ERROR            500001 FAILURE                 500002 GE_FAILURE
500003 RT_FAILURE
107000 RT_PARAM_INVALID          107001 RT_INVALID_DEVICEID     107002 RT_CONTEXT_NULL
107003 RT_STREAM_CONTEXT         107017 RT_INVALID_HANDLE       107019 RT_WAIT_TIMEOUT
107022 RT_DEVICE_TASK_ABORT      207000 RT_FEATURE_NOT_SUPPORT  207001 RT_MEMORY_ALLOCATION
207004 RT_NO_DEVICE              207018 RT_DEVICE_OOM           507000 RT_INTERNAL_ERROR
507001 RT_TS_ERROR               507007 RT_CONTEXT_RELEASE_ERROR
507008 RT_SOC_VERSION            507009 RT_TASK_TYPE_NOT_SUPPORT
507010 RT_LOST_HEARTBEAT         507011 RT_MODEL_EXECUTE        507014 RT_AICORE_TIMEOUT
507015 RT_AICORE_EXCEPTION       507016 RT_AICORE_TRAP_EXCEPTION
507017 RT_AICPU_TIMEOUT          507018 RT_AICPU_EXCEPTION      507033 RT_DEV_SETUP_ERROR
507034 RT_VECTOR_CORE_TIMEOUT    507035 RT_VECTOR_CORE_EXCEPTION
507036 RT_VECTOR_CORE_TRAP_EXCEPTION                            507042 RT_AICORE_TRAP_READ_OVERFLOW
507043 RT_AICORE_TRAP_WRITE_OVERFLOW
507044 RT_VECTOR_CORE_TRAP_READ_OVERFLOW
507045 RT_VECTOR_CORE_TRAP_WRITE_OVERFLOW
507046 RT_STREAM_SYNC_TIMEOUT    507047 RT_EVENT_SYNC_TIMEOUT   507048 RT_FFTS_PLUS_TIMEOUT
507049 RT_FFTS_PLUS_EXCEPTION    507050 RT_FFTS_PLUS_TRAP_EXCEPTION
507053 RT_DEVICE_MEM_ERROR       507054 RT_HBM_MULTI_BIT_ECC_ERROR
507055 RT_SUSPECT_DEVICE_MEM_ERROR                              507056 RT_LINK_ERROR
507057 RT_SUSPECT_REMOTE_ERROR   507899 RT_DRV_INTERNAL_ERROR   507901 RT_SOCKET_CLOSE
145000 GE_PARAM_INVALID          145001 GE_EXEC_NOT_INIT
145002 GE_EXEC_MODEL_PATH_INVALID                               145003 GE_EXEC_MODEL_ID_INVALID
145006 GE_EXEC_MODEL_DATA_SIZE_INVALID                          145007 GE_EXEC_MODEL_ADDR_INVALID
145009 GE_EXEC_LOAD_MODEL_REPEATED
145011 GE_DYNAMIC_INPUT_ADDR_INVALID
145012 GE_DYNAMIC_INPUT_LENGTH_INVALID
145013 GE_DYNAMIC_BATCH_SIZE_INVALID
145020 GE_FORMAT_INVALID         145021 GE_SHAPE_INVALID        145022 GE_DATATYPE_INVALID
245000 GE_MEMORY_ALLOCATION      545000 GE_INTERNAL_ERROR       545001 GE_LOAD_MODEL
545002 GE_EXEC_LOAD_MODEL_PARTITION_FAILED
545003 GE_EXEC_LOAD_WEIGHT_PARTITION_FAILED
545004 GE_EXEC_LOAD_TASK_PARTITION_FAILED
545005 GE_EXEC_LOAD_KERNEL_PARTITION_FAILED
545009 GE_UNLOAD_MODEL           545601 GE_MODEL_EXECUTE_TIMEOUT
"""
# the status of the device from then on, for every call in any of its contexts: hicann/runtime,
# src/runtime/core/src/context/context.cc:2889 Context::CheckStatus; it is set in
# context/context_manage.cc:235, engine/engine.cc:729 and 766, device/device_error_core_proc.cc:1029
# and runtime.cc:5567
STATUS_OF_THE_DEVICE = {107022, 507010, 507901, 507053, 507054}
# faults that leave nobody sure of what the device's memory holds
FAULTS = {
    *(507000, 507001, 507014, 507015, 507016, 507017, 507018, 507033, 507034, 507035, 507036),
    *(507042, 507043, 507044, 507045, 507046, 507047, 507048, 507049, 507050, 507055, 507056),
    *(507057, 507899, 545601),
}


def test_codes_are_named_as_in_the_headers() -> None:
    """No more of them than are published, and each under its own name."""
    words = PUBLISHED.split()
    published = {
        int(n): f"ACL_ERROR_{name}" for n, name in zip(words[::2], words[1::2], strict=True)
    }
    assert {number: code.symbol for number, code in CODES.items()} == published


def test_which_codes_lose_the_device() -> None:
    """These and no others of those that are known."""
    lost = {number for number, code in CODES.items() if code.loses_device}
    assert lost == STATUS_OF_THE_DEVICE | FAULTS


@pytest.mark.parametrize(
    ("number", "loses"),
    [(507013, True), (507900, True), (507999, True), (506999, False), (508000, False), (1, False)],
)
def test_an_unlisted_fault_of_the_device_loses_it(number: int, loses: bool) -> None:
    """Others that are unlisted do not; the number is told either way."""
    assert number not in CODES
    assert acl_code(number).loses_device is loses
    assert f": {number} an unlisted code" in str(AclFailure("rt.malloc", number).translated("npu"))


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (507010, BackendUnavailable),
        (507033, BackendUnavailable),
        (507899, BackendUnavailable),
        (507901, BackendUnavailable),
        (507009, ArtifactError),
        (507015, InferenceError),
        (507054, InferenceError),
        (545601, InferenceError),
    ],
)
def test_a_code_is_an_error_of_its_kind(number: int, kind: type[Exception]) -> None:
    error = AclFailure("mdl.execute_async", number, "EE9999: a text").translated("npu:0")
    assert type(error) is kind
    assert f"npu:0: acl.mdl.execute_async: {number} ACL_ERROR" in str(error)


def test_remedies_name_what_helps() -> None:
    """A lost device needs a new Detector; a slice of a chip a model of its own, made either way."""
    for code in CODES.values():
        if code.loses_device:
            assert "a new Detector" in code.remedy, code.symbol
    assert "-- --virtual_type=1" in CODES[507009].remedy
    assert "--soc_version" in CODES[507009].remedy


@pytest.mark.parametrize("number", [107001, 207004, 507033])
def test_a_variable_that_hides_devices_is_named(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """With its value, and whole, however long that is; not where it is not set, or not at fault."""
    monkeypatch.delenv(visible_devices.NAME, raising=False)
    failure = AclFailure("rt.set_device", number)
    assert failure.translated("npu:1").action == CODES[number].remedy
    monkeypatch.setenv(visible_devices.NAME, ",".join(map(str, range(4000, 0, -1))))
    told = failure.translated("npu:1")
    at_fault = number != 507033
    assert told.action == (visible_devices.advice() if at_fault else CODES[number].remedy)
    assert str(told).endswith(f"{told.action}.")
