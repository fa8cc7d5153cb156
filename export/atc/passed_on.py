"""What follows "--" on the command line: it goes to ATC, but for what this project sets itself.

ATC checks options and values before it compiles anything; none of that is repeated here.
Source: Huawei's open GE, api/atc/cmd_flag_info.cc (grammar), atc_flags.cc
(options) [V].
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from export.atc.options import AtcTable, refused
from runtime.machine.soc import Soc


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# ATC's other options; a misspelt one is found by its distance from these.
KNOWN = _names(
    """
    ac_parallel_enable aicore_num allow_hf32 atomic_clean_policy auto_tune_mode buffer_optimize
    build_config cal_conf check_report cluster_config compress_weight_conf
    compression_optimize_conf core_type debug_dir deterministic deterministic_level device_id
    disable_reuse_memory display_model_info dump_mode enable_attr_compression
    enable_compress_weight enable_scope_fusion_passes enable_single_stream enable_small_channel
    h2d_overlapped_with_compute hccl_sub_comm_config host_env_cpu host_env_os input_fp16_nodes
    input_hint_shape is_input_adjust_hw_layout is_output_adjust_hw_layout is_weight_clip
    jit_compile log mdl_bank_path oo_level op_bank_path op_compiler_cache_dir
    op_compiler_cache_mode op_debug_config op_debug_level op_name_map optimization_switch
    quant_dumpable raw_ge_options raw_ge_options_ignore_unsupported save_original_model
    shape_generalized_build_mode sparsity static_model_ops_lower_limit status_check
    tiling_schedule_optimize virtual_type
    """
)
VIRTUAL_TYPE = "virtual_type"
# What this project sets, and how it is chosen instead.
REFUSED = {
    "model": "it is always the bundle's model.onnx",
    "framework": "it is always 5, ONNX",
    "output": "the file is named after its batch and chip; choose the folder with --output of"
    " python -m export",
    "mode": "only mode 0 makes an .om",
    "om": "only mode 0 makes an .om",
    "json": "only mode 0 makes an .om",
    "singleop": "a conversion is of the whole model",
    "weight": "the weights are in the bundle's model.onnx",
    "input_shape": "use --batch_sizes or --dynamic_batch_size",
    "input_shape_range": "use --dynamic_batch_size",
    "input_format": "it is always NCHW",
    "dynamic_image_size": "the network's size is fixed: use --dynamic_batch_size",
    "dynamic_dims": "the network's size is fixed: use --dynamic_batch_size",
    "insert_op_conf": "use --aipp, which derives it from the model",
    "out_nodes": "the outputs are landmarks and covariance",
    "external_weight": "a bundle carries the weights inside the .om",
}


def passed_on(tokens: Sequence[str]) -> dict[str, str]:
    """Read what follows "--" by ATC's own grammar; of an option given twice the last one counts.

    Raises:
        ConfigError: no option, one without a value, or one that this project sets itself.
    """
    found: dict[str, str] = {}
    left = list(tokens)
    while left:
        token = left.pop(0)
        match = re.fullmatch(r"--?([A-Za-z][A-Za-z0-9_-]*)(?:=(.*))?", token, re.DOTALL)
        if match is None:
            raise refused("after --", "ATC's options, --name=value", repr(token), "Correct it")
        name, value = match.group(1).replace("-", "_"), match.group(2)
        if value is None:
            if not left:
                raise refused(f"after --: --{name}", "a value", "none", f"Write --{name}=VALUE")
            value = left.pop(0)
        _check_ours(name, value)
        found[name] = value
    return found


def unknown_options(tokens: Sequence[str]) -> tuple[str, ...]:
    """A warning for each option that is not in the lists here; a newer ATC may have it."""
    return tuple(
        f"after --: --{name} is in no list of ATC's options here; it is passed on" + _near(name)
        for name in passed_on(tokens)
        if name not in KNOWN
    )


def whole_chip_for_slice(tokens: Sequence[str], soc: Soc) -> tuple[str, ...]:
    """The warning where a slice's model is converted for whole chips; ATC does not mind.

    Such a model is for no virtual device [V: ge docs, --virtual_type]; a beginning of the option's
    name is the option [V: cmd_flag_info.cc].
    """
    given = passed_on(tokens)
    return tuple(
        f"after --: --{name}={value}, and {soc.slice} is a slice: a model for whole chips fails"
        " there with 507009. Leave it out, or take --virtual_type=1"
        for name, value in given.items()
        if soc.slice and VIRTUAL_TYPE.startswith(name) and value != "1"
    )


def _check_ours(name: str, value: str) -> None:
    where = f"after --: --{name}"
    if name in REFUSED:
        raise refused(where, "an option that may be chosen", "this one", REFUSED[name])
    if name in AtcTable.__struct_fields__:
        raise refused(where, "it before the --", "it after", f"Write --{name} {value} before --")
    ours = [one for one in (*REFUSED, *AtcTable.__struct_fields__) if one.startswith(name)]
    if name not in KNOWN and ours:
        # ATC accepts the beginning of a name for the whole
        raise refused(where, "an option's whole name", f"the beginning of {ours[0]}", "Write it")


def _near(name: str) -> str:
    near = difflib.get_close_matches(name, [*KNOWN, *AtcTable.__struct_fields__], n=1)
    return f": did you mean --{near[0]}?" if near else ""
