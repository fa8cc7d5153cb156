"""ATC's error codes in one line each: the likely cause, and what to do.

Source: ge docs, error codes; Huawei's open GE and runtime for the codes that are not documented.
"""

from __future__ import annotations

import re

# code -> (likely cause, next action)
CODES: dict[str, tuple[str, str]] = {
    "E10001": ("an option's value is not taken", "Correct the option it names"),
    "E10002": ("an input shape that cannot be read", "Correct --batch_sizes"),
    "E10003": ("a number was expected", "Correct the option it names"),
    "E10005": ("true or false was expected", "Correct the option it names"),
    "E10006": ("0 or 1 was expected", "Correct the option it names"),
    "E10007": ("the framework is not 5", "Report it: this project always passes 5"),
    "E10009": ("two kinds of dynamic input", "Keep --dynamic_batch_size alone"),
    "E10010": ("an unknown log level", "Take --log=error"),
    "E10011": ("a dimension that is not positive", "Correct --batch_sizes"),
    "E10013": ("a number out of range", "Correct the option it names"),
    "E10016": ("a name the model does not have", "Correct the names in the file it reads"),
    "E10017": ("a name that is not an input's", "Correct the names in the file it reads"),
    "E10018": ("a gear on another axis than the batch", "Report it with the log"),
    "E10021": ("a path that is too long", "Choose a shorter --output"),
    "E10022": ("an output without a file name", "Report it with the log"),
    "E10031": ("gears without a dynamic batch", "Report it with the log"),
    "E10032": ("a JSON file that cannot be read", "Correct the file it names"),
    "E10034": ("an fp16 input with AIPP", "Drop one of the two"),
    "E10035": ("fewer than two gears", "Take --batch_sizes for one batch"),
    "E10036": ("too many gears", "Take fewer gears"),
    "E10038": ("a gear that is not positive", "Correct --dynamic_batch_size"),
    "E10039": ("a gear twice", "Correct --dynamic_batch_size"),
    "E10041": ("the model could not be loaded", "Run python -m export.preflight"),
    "E10047": ("two options that exclude each other", "Drop one of them"),
    "E10049": ("a shape of another rank than the input's", "Report it with the log"),
    "E10052": ("an AIPP configuration it does not take", "Convert without --aipp"),
    "E10054": ("a required option is empty", "Report it with the log"),
    "E10055": ("an option this chip or mode does not have", "Check --soc_version"),
    "E10056": ("precision_mode and precision_mode_v2 together", "Keep one"),
    "E10057": ("an option without the one it belongs to", "Name both"),
    "E10410": ("a file is missing", "Check the path it names"),
    "E10501": (
        "operators are not registered: ASCEND_OPP_PATH is not set",
        "Source CANN's set_env.sh, and install the ops package of this chip",
    ),
    "E13000": ("a file could not be opened", "Check the path it names"),
    "E13001": ("a file could not be read", "Check the path it names"),
    "E13009": ("two nodes or inputs of one name", "Run python -m export.preflight"),
    "E13010": ("operators it does not know", "Run python -m export.preflight"),
    "E13015": ("a model beyond 2 GB", "Export a smaller one"),
    "E16001": ("a graph without inputs or outputs", "Run python -m export.preflight"),
    "E16002": ("an operator or opset it does not know", "Run python -m export.preflight"),
    "E16004": ("a file without a graph", "Make the bundle again"),
    "E16005": ("several versions of one operator set", "Run python -m export.preflight"),
    "E19010": ("an operator or opset it does not know", "Run python -m export.preflight"),
    "E19999": ("an internal error", "Read the lines after it in the log"),
    "EE1001": ("the runtime refused a value", "Check --soc_version"),
    "EE1011": ("a chip it does not know", "Check --soc_version with npu-smi info on the box"),
    "EZ3002": ("an operator this chip cannot run in this precision", "Take another precision mode"),
    "EZ9999": ("an operator could not be compiled", "Run python -m runtime.doctor"),
}
COMPILER_NEEDS = "pip install numpy decorator attrs psutil scipy sympy cffi"
MISSING_PYTHON = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")
# Three looks, from the oldest CANN to the newest: "E10016: text", "E10054: [PID: 1] time Title:
# text" and "[PID: 1] time Title(E10054): text".
CODE = re.compile(
    r"\b(?P<code>E[A-Z0-9]\d{4})\b[:)]*\s*"
    r"(?:\[PID: \d+\]\s*[\d:./ -]*(?:[A-Za-z_ ]{0,60}:)?)?\s*(?P<said>.*)"
)


def first_error(output: str) -> tuple[str, str]:
    """Find what went wrong in ATC's output.

    Returns:
        The error in one line, and the next action; empty where ATC names none.
    """
    missing = MISSING_PYTHON.search(output)
    if missing:
        name = missing.group(1)
        return (
            f"CANN's compiler lacks the Python module {name}",
            f"Install what its compiler needs into the Python that atc uses: {COMPILER_NEEDS}",
        )
    match = CODE.search(output)
    if match is None:
        return "", ""
    code, said = match["code"], match["said"].strip()
    cause, action = CODES.get(code, ("", ""))
    if not cause and code.startswith("E4"):
        cause, action = "an operator could not be compiled", "Run python -m runtime.doctor"
    text = f"{code}: {said}" if said else code
    return (f"{text} (likely: {cause})" if cause else text), action
