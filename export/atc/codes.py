"""ATC's error codes in one line each: the likely cause, and what to do.

Source: Huawei's open GE, base/common/error_registry (E1xxxx) [V], nn_engine's fe_error_code.h
(E2xxxx) [V], op_compile_adapter's te_fusion_error_code.h (E4xxxx) [V], engine_place.cc (EZ300x)
[V]; the runtime's (EExxxx) [V]; for those no source has (EC0010, E19010), what users posted.
"""

from __future__ import annotations

import re

from export.atc.options import FILE_OPTIONS

SET_ENV = "Source CANN's set_env.sh in this shell"
PREFLIGHT = "Run python -m export.preflight"
DOCTOR = "Run python -m runtime.doctor"
REPORT = "Report it with the log"
OPTION = "Correct the option it names"
NAMES = "Correct the names in the file it reads"
CHIP = "Check --soc_version with npu-smi info on the box"
CUSTOM_FUSION = "Remove it from the ops package's custom folder"
OPS_PACKAGE = f"{CHIP}, and install the ops package of this chip"
# code -> (likely cause, next action)
CODES: dict[str, tuple[str, str]] = {
    "E10001": ("an invalid value of an option", OPTION),
    "E10002": ("an input shape that cannot be read", "Correct --batch_sizes"),
    "E10003": ("a value of another type than the option's", OPTION),
    "E10004": ("an option without a value", OPTION),
    "E10005": ("true or false was expected", OPTION),
    "E10006": ("0 or 1 was expected", OPTION),
    "E10007": ("the framework is not 5", "Report it: this project always passes 5"),
    "E10009": ("two kinds of dynamic input", "Keep --dynamic_batch_size alone"),
    "E10010": ("an unknown log level", "Take --log=error"),
    "E10011": ("a dimension that is not positive", "Correct --batch_sizes"),
    "E10012": ("gears on an input without a batch", REPORT),
    "E10013": ("a number out of range", OPTION),
    "E10014": ("a value that cannot be read", OPTION),
    "E10016": ("a name the model does not have", NAMES),
    "E10017": ("a name that is not an input's", NAMES),
    "E10018": ("a gear on another axis than the batch", REPORT),
    "E10021": ("a path that is too long", "Choose a shorter --output"),
    "E10022": ("an output without a file name", REPORT),
    "E10031": ("gears without a dynamic batch", REPORT),
    "E10032": ("a JSON file that cannot be read", "Correct the file it names"),
    "E10034": ("an fp16 input with AIPP", "Drop one of the two"),
    "E10035": ("fewer than two gears", "Take --batch_sizes for one batch"),
    "E10036": ("too many gears", "Take fewer gears"),
    "E10037": ("gears of different lengths", "Correct --dynamic_batch_size"),
    "E10038": ("a gear that is not positive", "Correct --dynamic_batch_size"),
    "E10039": ("a gear twice", "Correct --dynamic_batch_size"),
    "E10040": ("gears without a dynamic batch", REPORT),
    "E10041": ("the model could not be loaded", PREFLIGHT),
    "E10047": ("two options that exclude each other", "Drop one of them"),
    "E10049": ("a shape of another rank than the input's", REPORT),
    "E10052": ("an invalid AIPP configuration", "Convert without --aipp"),
    "E10054": ("a required option is empty", REPORT),
    "E10055": ("an option this chip or mode does not have", CHIP),
    "E10056": ("precision_mode and precision_mode_v2 together", "Keep one"),
    "E10057": ("an option without the one it belongs to", "Name both"),
    "E10058": ("a parameter without a value", OPTION),
    "E10059": ("a step of the conversion failed", "Read the lines after it in the log"),
    "E10060": ("an invalid value of an option", OPTION),
    "E10061": ("an invalid value of an option", OPTION),
    "E10063": ("a call of the system failed", DOCTOR),
    "E10410": ("a file is missing", "Check the path it names"),
    "E10501": (
        "operators are not registered: ASCEND_OPP_PATH is not set",
        "Source CANN's set_env.sh, and install the ops package of this chip",
    ),
    "E11010": ("an operator whose attributes it cannot read", PREFLIGHT),
    "E11017": ("an output the model does not have", NAMES),
    "E13000": ("a file could not be opened", "Check the path it names"),
    "E13001": ("a file could not be opened", "Check the path it names"),
    "E13002": ("a folder's path is too long", "Choose a shorter --output"),
    "E13003": ("a file could not be read", "Check the path it names"),
    "E13004": ("a file could not be written", "Free disk space, or check the folder's permissions"),
    "E13005": ("a file could not be parsed", "Make the bundle again"),
    "E13006": ("a file of another type", "Check the path it names"),
    "E13009": ("two nodes or inputs of one name", PREFLIGHT),
    "E13010": ("operators without a parser", PREFLIGHT),
    "E13014": ("an invalid parameter of an operator", PREFLIGHT),
    "E13015": ("a model beyond 2 GB", "Export a smaller one"),
    "E13018": ("a text file that cannot be parsed", "Correct the file it names"),
    "E13023": ("an .om too large for the system", "Export a smaller model"),
    "E13024": ("an environment variable's value", "Unset it, or correct it"),
    "E13026": (
        "a path with characters that ATC refuses",
        "Convert in a folder of letters, digits, . _ and -",
    ),
    "E13028": ("a fusion pass of your own failed", CUSTOM_FUSION),
    "E13029": ("a fusion pass of your own", CUSTOM_FUSION),
    "E13030": ("a fusion pass of your own", CUSTOM_FUSION),
    "E14001": ("an operator's inputs do not fit", PREFLIGHT),
    "E14002": ("an operator lacks an attribute", PREFLIGHT),
    "E16001": ("a graph without inputs or outputs", PREFLIGHT),
    "E16002": ("an operator or opset without a parser", PREFLIGHT),
    "E16004": ("a file without a graph", "Make the bundle again"),
    "E16005": ("several versions of one operator set", PREFLIGHT),
    "E19000": ("a path it cannot use", "Check the path it names"),
    "E19009": ("two nodes or inputs of one name", PREFLIGHT),
    "E19010": ("an operator or opset without a parser", PREFLIGHT),
    "E20001": ("an operator could not be compiled", "Take another precision mode, or report it"),
    "E20002": ("an environment variable's value", "Unset it, or correct it"),
    "E20003": ("a configuration file's content", "Correct the file it names"),
    "E20007": ("a fusion pass failed", "Switch it off with --fusion_switch_file"),
    "E20101": ("an invalid value of an option", OPTION),
    "E20103": ("more AI cores than the chip has", "Correct --aicore_num"),
    "E21001": ("a file of CANN's could not be opened", "Install the ops package of this chip"),
    "E21002": ("a file of CANN's could not be read", "Install the ops package of this chip"),
    "E40000": (
        "CANN's compiler does not start in the python3 that is first on PATH",
        "Put a python3 that this CANN supports first on PATH, and source set_env.sh",
    ),
    "E40001": ("an environment variable's value", "Unset it, or correct it"),
    "E40002": (
        "the python3 that is first on PATH is of a version that this CANN does not support",
        "Put one that it supports first on PATH",
    ),
    "E40003": ("a JSON file of the compiler's could not be opened", DOCTOR),
    "E40020": ("CANN's compiler lacks a Python module", DOCTOR),
    "E40021": ("an operator could not be compiled", "Take another precision mode, or report it"),
    "E40022": ("an invalid value of an option", OPTION),
    "E40023": ("a path it cannot use", "Check the path it names"),
    "E40024": ("a Python function of the compiler's failed", DOCTOR),
    "EC0010": ("CANN's compiler lacks a Python module", DOCTOR),
    "EE1001": ("the runtime refused a value", CHIP),
    "EE1011": ("an unknown chip", CHIP),
    "EZ3002": ("an operator this chip cannot run in this precision", "Take another precision mode"),
    "EZ3003": ("no operators for this chip are installed", OPS_PACKAGE),
    "EZ9999": ("an operator could not be compiled", DOCTOR),
}
# Where OPTION or NAMES does not fit, because this project sets the option that an error names.
_SET_HERE = "Make the bundle again; report it with the log, should it recur"
OPTIONS: dict[str, str] = {
    "soc_version": CHIP,
    "dynamic_batch_size": "Correct --dynamic_batch_size",
    "insert_op_conf": "Convert without --aipp",
    "input_shape": _SET_HERE,
    "input_format": _SET_HERE,
    "model": _SET_HERE,
    "framework": REPORT,
    "mode": REPORT,
    "output": "Choose another --output, of letters, digits, . _ and -",
}
_NAMED = re.compile(r"(?:--|\bparameter \[?)(?P<option>[a-z_]+)")
# Errors inside CANN, which no table of its own explains: the cause is the text itself.
INNER = ("9999", "8888")
INNER_CAUSE = ("an error inside CANN", "Read the lines after it in the log")
COMPILER_CAUSE = ("an operator could not be compiled", DOCTOR)


def remedy_for(action: str, said: str) -> str:
    """A remedy that fits the option in an error's text, where the code's own is for any option."""
    if action not in (OPTION, NAMES):
        return action
    named = [found["option"] for found in _NAMED.finditer(said)]
    for name in named:
        if name in OPTIONS:
            return OPTIONS[name]
    return action if set(named) & set(FILE_OPTIONS) or not named else OPTION


def meaning_of(code: str) -> tuple[str, str]:
    """The likely cause of a code, and what to do; empty for an unlisted code."""
    if code in CODES:
        return CODES[code]
    if code.endswith(INNER):
        return INNER_CAUSE
    return COMPILER_CAUSE if code.startswith(("E2", "E4", "EC", "EZ")) else ("", "")
