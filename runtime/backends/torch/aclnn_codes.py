"""The codes of CANN's operator functions (aclnn...), which are none of ACL's.

Source: hicann/ops-nn, docs/zh/context/aclnn_return_code.md, the same in ops-cv and ops-math and in
Huawei's reference of CANN 8.0 to 9.1 [V]; what users met: 561103 where the ops package was not that
of the chip or of this CANN, 161002 with EZ1001 where a type is unknown to the chip
(vllm-project/vllm-ascend 4859, 5695, 6636, 10640; Ascend/pytorch 90).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Fault = Literal["argument", "runtime", "environment", "operators", "inside"]


class AclnnCode(NamedTuple):
    """Attributes: Huawei's name, and where the fault lies."""

    name: str
    fault: Fault


CODES: dict[int, AclnnCode] = {
    161001: AclnnCode("ACLNN_ERR_PARAM_NULLPTR", "argument"),
    161002: AclnnCode("ACLNN_ERR_PARAM_INVALID", "argument"),
    361001: AclnnCode("ACLNN_ERR_RUNTIME_ERROR", "runtime"),
    561000: AclnnCode("ACLNN_ERR_INNER", "inside"),
    561001: AclnnCode("ACLNN_ERR_INNER_INFERSHAPE_ERROR", "inside"),
    561002: AclnnCode("ACLNN_ERR_INNER_TILING_ERROR", "inside"),
    561003: AclnnCode("ACLNN_ERR_INNER_FIND_KERNEL_ERROR", "operators"),
    561101: AclnnCode("ACLNN_ERR_INNER_CREATE_EXECUTOR", "inside"),
    561102: AclnnCode("ACLNN_ERR_INNER_NOT_TRANS_EXECUTOR", "inside"),
    561103: AclnnCode("ACLNN_ERR_INNER_NULLPTR", "inside"),
    561104: AclnnCode("ACLNN_ERR_INNER_WRONG_ATTR_INFO_SIZE", "inside"),
    561105: AclnnCode("ACLNN_ERR_INNER_KEY_CONFLICT", "inside"),
    561106: AclnnCode("ACLNN_ERR_INNER_INVALID_IMPL_MODE", "inside"),
    561107: AclnnCode("ACLNN_ERR_INNER_OPP_PATH_NOT_FOUND", "environment"),
    561108: AclnnCode("ACLNN_ERR_INNER_LOAD_JSON_FAILED", "operators"),
    561109: AclnnCode("ACLNN_ERR_INNER_JSON_VALUE_NOT_FOUND", "operators"),
    561110: AclnnCode("ACLNN_ERR_INNER_JSON_FORMAT_INVALID", "operators"),
    561111: AclnnCode("ACLNN_ERR_INNER_JSON_DTYPE_INVALID", "operators"),
    561112: AclnnCode("ACLNN_ERR_INNER_OPP_KERNEL_PKG_NOT_FOUND", "operators"),
    561113: AclnnCode("ACLNN_ERR_INNER_OP_FILE_INVALID", "operators"),
    561114: AclnnCode("ACLNN_ERR_INNER_ATTR_NUM_OUT_OF_BOUND", "operators"),
    561115: AclnnCode("ACLNN_ERR_INNER_ATTR_LEN_NOT_ENOUGH", "operators"),
    561116: AclnnCode("ACLNN_ERR_INNER_INPUT_NUM_IN_JSON_TOO_LARGE", "operators"),
    561117: AclnnCode("ACLNN_ERR_INNER_INPUT_JSON_IS_NULL", "operators"),
    561118: AclnnCode("ACLNN_ERR_INNER_STATIC_WORKSPACE_INVALID", "operators"),
    561119: AclnnCode("ACLNN_ERR_INNER_STATIC_BLOCK_DIM_INVALID", "operators"),
}
_INNER = 561


def aclnn_code(number: int) -> AclnnCode | None:
    """The meaning of a code; None where it is no operator's."""
    if number // 1000 == _INNER:
        return CODES.get(number, AclnnCode("ACLNN_ERR_INNER_XXX", "inside"))
    return CODES.get(number)
