"""What follows "--" on the command line: ATC's own options, read and checked as ATC would.

Source: Huawei's open GE, api/atc: the parser's grammar and the value set of each option.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from export.atc_options import AtcTable, among, refused
from runtime.spec import INPUT_NAME

TRUTH = ("true", "false")
SWITCH = ("0", "1")
# Passed on as they are: the values ATC takes.
PASSED_ON: dict[str, tuple[str, ...]] = {
    "log": ("debug", "info", "warning", "error", "null"),
    "op_compiler_cache_mode": ("enable", "disable", "force"),
    "buffer_optimize": ("l1_optimize", "l2_optimize", "off_optimize"),
    "core_type": ("AiCore", "VectorCore"),
    "op_debug_level": ("0", "1", "2", "3", "4"),
    "deterministic": SWITCH,
    "display_model_info": SWITCH,
    "disable_reuse_memory": SWITCH,
    "enable_small_channel": SWITCH,
    "input_fp16_nodes": (INPUT_NAME,),
    "is_weight_clip": SWITCH,
    "jit_compile": SWITCH,
    "sparsity": SWITCH,
    "status_check": SWITCH,
    "virtual_type": SWITCH,
    "enable_attr_compression": TRUTH,
    "oo_level": ("O1", "O3"),
}
# What is refused, and what to do instead.
REFUSED = {
    "model": "it is always the bundle's model.onnx",
    "framework": "it is always 5, ONNX",
    "output": "the file's name says batch and chip; choose the folder with python -m export's own"
    " --output",
    "mode": "only mode 0 makes an .om",
    "input_shape": "use --batch_sizes or --dynamic_batch_size",
    "input_shape_range": "ATC has deprecated it: use --dynamic_batch_size",
    "input_format": "it is always NCHW",
    "dynamic_image_size": "the network's size is fixed: use --dynamic_batch_size",
    "dynamic_dims": "the network's size is fixed: use --dynamic_batch_size",
    "insert_op_conf": "use --aipp, which derives it from the model",
    "out_nodes": "the outputs are landmarks and covariance",
    "auto_tune_mode": "ATC refuses it now: tune with AOE",
    "allow_hf32": "ATC reserves it: choose --precision_mode_v2",
    "external_weight": "a bundle carries the weights inside the .om",
    "debug_dir": "a conversion runs in a folder of its own",
    "op_compiler_cache_dir": "a conversion runs in a folder of its own",
    "compress_weight_conf": "this network's weights are not sparse",
    "enable_compress_weight": "this network's weights are not sparse",
    "check_report": "use python -m export.preflight",
}


def passed_on(tokens: Sequence[str], *, aipp: bool = False) -> dict[str, str]:
    """Read what follows "--" as ATC's own parser would, and check each value.

    Args:
        tokens: what follows.
        aipp: whether the input is uint8, which leaves it no other dtype.

    Raises:
        ConfigError: not an option, unknown, refused here, without a value, or with a wrong one.
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
        if name in found:
            raise refused(f"after --: --{name}", "each option once", "it twice", "Drop one")
        _check_passed_on(name, value)
        found[name] = value
    if aipp and "input_fp16_nodes" in found:
        raise refused(
            "after --: --input_fp16_nodes",
            "a float input",
            "--aipp, which makes it uint8",
            "Drop one",
        )
    return found


def _check_passed_on(name: str, value: str) -> None:
    where = f"after --: --{name}"
    if name in REFUSED:
        raise refused(where, "an option that may be chosen", "this one", REFUSED[name])
    if name in AtcTable.__struct_fields__:
        raise refused(where, "it before the --", "it after", f"Write --{name} {value} before --")
    if name not in PASSED_ON:
        near = difflib.get_close_matches(name, [*PASSED_ON, *AtcTable.__struct_fields__], n=1)
        raise refused(
            where,
            f"one of {', '.join(PASSED_ON)}",
            "an option this version does not know",
            f"Did you mean --{near[0]}" if near else "Leave it out",
        )
    among(where, value, PASSED_ON[name])
    if not value:
        raise refused(where, f"one of {', '.join(PASSED_ON[name])}", "nothing", "Name one")
