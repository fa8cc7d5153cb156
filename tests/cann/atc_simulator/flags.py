"""atc's command line: the flags, GNU getopt_long's grammar, and the values checked while parsing.

Source: hicann/ge api/atc/cmd_flag_info.cc (grammar, value sets), atc_flags.cc (flags, defaults).
Old releases parse with gflags: graphengine r1.11, 910/ge/offline/main.cc:341. Of that only this is
here: names are whole, what is no flag is ignored, and an unknown flag comes before the help.
"""

from __future__ import annotations

import re

from cann.atc_simulator.messages import MARK, AtcError, bad, fail
from cann.atc_simulator.release import Release

_EMPTY = """
aicore_num allow_hf32 auto_tune_mode cal_conf cluster_config compress_weight_conf
compression_optimize_conf customize_dtypes debug_dir dynamic_batch_size dynamic_dims
dynamic_image_size enable_scope_fusion_passes enable_single_stream fusion_switch_file host_env_cpu
host_env_os input_format input_fp16_nodes input_hint_shape input_shape input_shape_range
insert_op_conf is_input_adjust_hw_layout is_output_adjust_hw_layout json keep_dtype mdl_bank_path
model modify_mixlist om op_bank_path op_compiler_cache_dir op_debug_config op_name_map
op_precision_mode op_select_implmode optypelist_for_implmode out_nodes output output_type
precision_mode precision_mode_v2 quant_dumpable save_original_model singleop soc_version target
weight
"""
_OTHERS = """
framework=-1 mode=0 disable_reuse_memory=0 virtual_type=0 sparsity=0 op_debug_level=0
check_report=check_result.json core_type=AiCore buffer_optimize=l2_optimize enable_small_channel=0
enable_compress_weight=false ac_parallel_enable=0 tiling_schedule_optimize=0 log=null dump_mode=0
status_check=0 op_compiler_cache_mode=disable display_model_info=0 device_id=0
shape_generalized_build_mode=shape_precise atomic_clean_policy=0 external_weight=0 deterministic=0
is_weight_clip=1 oo_level=O3 jit_compile=1 enable_attr_compression=true deterministic_level=0
"""
DEFAULTS = dict.fromkeys(_EMPTY.split(), "") | dict(one.split("=") for one in _OTHERS.split())
# The release that brought a flag; older ones call it unknown. Those of 7.0 are absent from the
# public source of 2022 (graphengine r1.11, 910/ge/offline/main.cc); which release brought them is
# inferred. The others are absent from all earlier public sources.
SINCE = {
    "precision_mode_v2": (7, 0),
    "virtual_type": (7, 0),
    "customize_dtypes": (7, 0),
    "jit_compile": (9, 0),
    "enable_attr_compression": (9, 0),
    "deterministic_level": (9, 0),
}
VALUES = {
    "deterministic_level": "0 1 2 3",
    "jit_compile": "0 1 2",
    "framework": "0 1 3 5",
    "op_debug_level": "0 1 2 3 4",
    "mode": "0 1 3 30 5 6 7",
    "virtual_type": "0 1",
    "core_type": "AiCore VectorCore",
    "log": "debug error info null warning",
    "op_compiler_cache_mode": "disable enable force",
    "buffer_optimize": "l1_optimize l2_optimize off_optimize",
    "shape_generalized_build_mode": "shape_generalized shape_precise",
    "op_select_implmode": "high_performance high_performance_for_all high_precision "
    "high_precision_for_all",
    "precision_mode": "allow_fp32_to_bf16 allow_fp32_to_fp16 allow_mix_precision "
    "allow_mix_precision_bf16 allow_mix_precision_fp16 cube_fp16in_fp32out force_fp16 force_fp32 "
    "must_keep_origin_dtype",
    "precision_mode_v2": "cube_fp16in_fp32out cube_hif8 fp16 mixed_bfloat16 mixed_float16 "
    "mixed_hif8 origin",
}
_SWITCHES = """
status_check deterministic display_model_info atomic_clean_policy dump_mode disable_reuse_memory
sparsity
"""
# flag -> its values; any other is E10006
NUMBERS = {**dict.fromkeys(_SWITCHES.split(), "0 1"), "external_weight": "0 1 2"}
FRAMEWORKS = "0(Caffe) or 1(MindSpore) or 3(TensorFlow) or 5(Onnx)"
_TRUE = {"", "1", "t", "true", "y", "yes"}
_FALSE = {"0", "f", "false", "n", "no"}


class UsageError(Exception):
    """A command line that the grammar refuses: its text goes to stderr."""


class HelpWanted(Exception):  # noqa: N818  # no error: the caller wants the usage
    """--help or -h."""


class Flags:
    """The values of all flags of a release, as text."""

    def __init__(self, release: Release) -> None:
        self.release = release
        self.values = {
            name: value
            for name, value in DEFAULTS.items()
            if release.number >= SINCE.get(name, (0, 0))
        }

    def __getitem__(self, name: str) -> str:
        return self.values.get(name, "")

    def take(self, name: str, value: str) -> None:
        """Set one flag, checking its value as atc does while parsing.

        Raises:
            AtcError: E10001, E10003, E10006, E10007 or E10010.
        """
        if name in NUMBERS and value not in NUMBERS[name].split():
            raise fail("E10006", parameter=name, value=value)
        if name in VALUES and value not in VALUES[name].split():
            raise _outside(name, value)
        self.values[name] = value


def _outside(name: str, value: str) -> AtcError:
    if name == "log":
        return fail("E10010", loglevel=value)
    if name == "framework":
        return fail("E10007", parameter=name, support=FRAMEWORKS)
    listed = "".join(f"[{one}] " for one in sorted(VALUES[name].split()))
    reason = f"The value is not within the range of values. The valid range is {listed}."
    return bad(f"--{name}", value, reason)


def parse(arguments: list[str], release: Release) -> Flags:
    """Read a command line (without the program's name) as getopt_long with ":h" would.

    Raises:
        UsageError: unknown or ambiguous flag, missing argument, words that belong to no flag.
        HelpWanted: usage was asked for before anything was wrong.
        AtcError: a value outside its set.
    """
    flags = Flags(release)
    words = [_normalised(word) for word in arguments]
    strays: list[str] = []
    help_wanted = False
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if word == "--":
            strays += words[position:]
            break
        if not word.startswith("-") or word == "-":
            strays.append(word)  # GNU getopt_long moves them to the end
            continue
        try:
            position += _one_flag(flags, word, words, position)
        except HelpWanted:
            if not release.parses_with_gflags:
                raise
            help_wanted = True
    if help_wanted:
        raise HelpWanted
    if strays and not release.parses_with_gflags:
        raise UsageError("\n".join(f"ERROR: Non-option parameter: {stray}" for stray in strays))
    return flags


def _one_flag(flags: Flags, word: str, words: list[str], position: int) -> int:
    """Take one flag; gives how many words its value used."""
    if not word.startswith("--"):
        if word[1] == "h":
            raise HelpWanted
        raise _unknown(word)
    name, equals, value = word[2:].partition("=")
    full = _complete(name, flags)
    if full in ("help", "h"):
        if value.lower() in _FALSE:
            return 0
        if value.lower() not in _TRUE:
            reason = "The value type must be [bool]."
            raise fail("E10003", parameter="help", value=value, reason=reason)
        raise HelpWanted
    if equals:
        flags.take(full, value)
        return 0
    if position >= len(words):
        message = f"ERROR: flag '{word}' is missing its argument; flag description: --{full}"
        raise UsageError(message)
    flags.take(full, words[position])
    return 1


def _complete(name: str, flags: Flags) -> str:
    """A flag's full name: exact, or the only one that starts so."""
    names = [*flags.values, "help", "h"]
    if name in names:
        return name
    whole = flags.release.parses_with_gflags
    candidates = [] if whole else [one for one in names if one.startswith(name)]
    if len(candidates) != 1:
        raise _unknown(f"--{name}")
    return candidates[0]


def _unknown(word: str) -> UsageError:
    return UsageError(f"ERROR: unknown command line flag '{re.sub(r'^-+|=.*', '', word)}' {MARK}")


def _normalised(word: str) -> str:
    """One dash before a long name is as good as two, and a dash in it as an underscore."""
    word = re.sub(r"^-(?=[A-Za-z]{2,})", "--", word)
    if not re.match(r"--[A-Za-z]{2,}", word):
        return word
    name, equals, value = word.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value


def usage(release: Release) -> str:
    """What --help prints: every flag of the release, under atc's headings.

    gflags puts the program's name before it, and looks in vain for a source file of that name.
    """
    old = release.parses_with_gflags
    head = f"atc.bin: usage: ./atc <args> {MARK}" if old else f"usage: atc <args> {MARK}"
    lines = [head, "", "===== Basic Functionality =====", "[General]"]
    lines += ["  --h/help            Show this help message"]
    lines += [f"  --{name}" for name in sorted(Flags(release).values)]
    lines += ["", "  No modules matched: use -help"] if old else []
    return "\n".join(lines)
