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
_PATH = "Check the path it names"
_FILE = "Correct the file it names"
_OTHER_PRECISION = "Take another precision mode, or report it"
_PYTHON = "the python3 that is first on PATH"
_SUPPORTED = "Put a python3 that this CANN supports first on PATH"
# Codes, their likely cause, and what to do next; ATC's text names the option or file.
_GROUPS: tuple[tuple[str, str, str], ...] = (
    (
        "E10001 E10003 E10004 E10005 E10006 E10013 E10014 E10058 E10060 E10061 E20101 E40022",
        "an invalid value of an option",
        OPTION,
    ),
    ("E10002 E10011", "an input shape it cannot read", "Correct --batch_sizes"),
    (
        "E10007 E10012 E10018 E10022 E10031 E10040 E10049 E10054",
        "an option that this project sets itself",
        REPORT,
    ),
    ("E10009", "two kinds of dynamic input", "Keep --dynamic_batch_size alone"),
    ("E10010", "an unknown log level", "Take --log=error"),
    ("E10016 E10017 E11017", "a name the model does not have", NAMES),
    ("E10021 E13002", "a path that is too long", "Choose a shorter --output"),
    ("E10032 E13018 E20003", "a configuration file's content", _FILE),
    ("E10034", "an fp16 input with AIPP", "Drop one of the two"),
    ("E10035 E10036 E10037 E10038 E10039", "invalid gears", "Correct --dynamic_batch_size"),
    ("E10041", "the model could not be loaded", PREFLIGHT),
    ("E10047 E10056", "two options that exclude each other", "Drop one of them"),
    ("E10052", "an invalid AIPP configuration", "Convert without --aipp"),
    ("E10055", "an option this chip or mode does not have", CHIP),
    ("E10057", "an option without the one it belongs to", "Name both"),
    ("E10059", "a step of the conversion failed", "Read the lines after it in the log"),
    ("E10063", "a call of the system failed", DOCTOR),
    (
        "E10501",
        "operators are not registered: ASCEND_OPP_PATH is not set",
        "Source CANN's set_env.sh, and install the ops package of this chip",
    ),
    ("E10410 E13000 E13001 E13003 E13006 E19000 E40023", "a path it cannot use", _PATH),
    ("E13004", "a file it cannot write", "Free disk space, or check the folder's permissions"),
    ("E13005 E16004", "a file without a graph", "Make the bundle again"),
    ("E13009 E19009", "two nodes or inputs of one name", PREFLIGHT),
    ("E13010 E16002 E19010", "an operator or opset without a parser", PREFLIGHT),
    ("E11010 E13014 E14001 E14002", "an operator's inputs or attributes", PREFLIGHT),
    ("E13015", "a model beyond 2 GB", "Export a smaller one"),
    ("E13023", "an .om too large for the system", "Export a smaller model"),
    ("E13024 E20002 E40001", "an environment variable's value", "Unset it, or correct it"),
    (
        "E13026",
        "a path with characters that ATC refuses",
        "Convert in a folder of letters, digits, . _ and -",
    ),
    ("E13028 E13029 E13030", "a fusion pass of your own", CUSTOM_FUSION),
    ("E16001", "a graph without inputs or outputs", PREFLIGHT),
    ("E16005", "several versions of one operator set", PREFLIGHT),
    ("E20001 E40021", "an operator could not be compiled", _OTHER_PRECISION),
    ("E20007", "a fusion pass failed", "Switch it off with --fusion_switch_file"),
    ("E20103", "more AI cores than the chip has", "Correct --aicore_num"),
    ("E21001 E21002", "a file of CANN's it cannot read", "Install the ops package of this chip"),
    (
        "E40000",
        f"CANN's compiler does not start in {_PYTHON}",
        f"{_SUPPORTED}, and source set_env.sh",
    ),
    ("E40002", f"{_PYTHON} is of a version that this CANN does not support", _SUPPORTED),
    ("E40020 EC0010", "CANN's compiler lacks a Python module", DOCTOR),
    ("E40003 E40024", "a file or function of the compiler's failed", DOCTOR),
    ("EE1001", "the runtime refused a value", CHIP),
    ("EE1011", "an unknown chip", CHIP),
    ("EZ3002", "an operator this chip cannot run in this precision", "Take another precision mode"),
    ("EZ3003", "no operators for this chip are installed", OPS_PACKAGE),
    ("EZ9999", "an operator could not be compiled", DOCTOR),
)
CODES = {code: (cause, action) for codes, cause, action in _GROUPS for code in codes.split()}
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
