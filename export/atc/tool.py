"""Which atc there is, and whether it has the options of a conversion: found before the export."""

from __future__ import annotations

import shutil
from pathlib import Path

from export.atc.errors import NOT_STARTED, explain
from export.atc.options import passed_on
from export.atc.to_om import ATC, Conversion, atc_arguments
from runtime.errors import ConfigError, ExportError
from runtime.machine.process import Finished, run

HELP_TIMEOUT_S = 60.0
# In every CANN that reads ONNX.
ALWAYS_KNOWN = frozenset(
    [
        "model",
        "framework",
        "output",
        "soc_version",
        "input_format",
        "input_shape",
        "dynamic_batch_size",
        "precision_mode",
        "insert_op_conf",
        "log",
    ]
)


def find_atc() -> Path | None:
    """CANN's converter, if it is on PATH."""
    found = shutil.which(ATC)
    return Path(found) if found else None


def check_tool(atc: Path, conversion: Conversion) -> tuple[str, ...]:
    """Find out whether this atc has the options that not every CANN has.

    Its help lists all that this project sets [V: ge api/atc/main_impl.cc, SetUsageMessage;
    graphengine r1.3 and r1.11, ge/offline/main.cc]. The text counts, and not the exit status: 0
    today, 1 where gflags prints the help [V: ge main_impl.cc:2352; graphengine r1.11
    910/ge/offline/main.cc:344; gflags_reporting.cc, HandleCommandLineHelpFlags].

    Returns:
        Warnings: what may not be there; the conversion will show it.

    Raises:
        ConfigError: this atc has no such option, although this project sets it.
        ExportError: atc does not start.
    """
    arguments = {arg[2:].partition("=")[0]: arg for arg in atc_arguments(conversion)}
    doubtful = [name for name in arguments if name not in ALWAYS_KNOWN]
    if not doubtful:
        return ()
    answer = run([atc, "--help"], timeout_s=HELP_TIMEOUT_S)
    words = answer.output.split()
    if answer.timed_out or "--model" not in words:
        return (_no_help(atc, answer, doubtful),)
    given = passed_on(conversion.table.passed_on)
    warnings = []
    for name in doubtful:
        if f"--{name}" in words:
            continue
        if name in given:
            warnings.append(
                f"after --: the help of {atc} does not list --{name}: the conversion may fail"
            )
        elif _refuses(atc, name, arguments[name]):
            raise ConfigError(
                f"atc --{name}",
                expected="an option of this atc",
                got=f"a flag unknown to {atc}: another CANN",
                action=_remedy(name, conversion),
            )
    return tuple(warnings)


def _no_help(atc: Path, answer: Finished, doubtful: list[str]) -> str:
    """The warning where the options cannot be checked.

    Raises:
        ExportError: atc did not start, and no conversion will.
    """
    how = "has not ended" if answer.timed_out else f"exited {answer.returncode}"
    how = f"{how} after {answer.seconds:.0f} s"
    why = explain(answer)
    if answer.returncode in NOT_STARTED:
        raise ExportError(
            f"{atc} --help",
            expected="an atc that starts",
            got=f"it {how}: {why.cause}",
            action=f"{why.action}. To export without an .om, pass --om never",
        )
    return (
        f"{atc} --help {how} without a whole help ({why.cause}): the conversion will show whether"
        f" this atc has {', '.join(f'--{name}' for name in doubtful)}"
    )


def _refuses(atc: Path, name: str, argument: str) -> bool:
    """Whether atc's parser has no such flag: it ends there, and converts nothing in any case.

    Source: ge api/atc/cmd_flag_info.cc, ParseCommandLine; gflags.cc, ReportErrors [V].
    """
    answer = run([atc, argument, "--help"], timeout_s=HELP_TIMEOUT_S)
    return f"unknown command line flag '{name}'" in answer.output


def _remedy(name: str, conversion: Conversion) -> str:
    """What to do without an option: it may follow from what the user gave, such as a slice."""
    table, soc = conversion.table, conversion.soc
    if name == "precision_mode_v2":
        old = {"origin": "must_keep_origin_dtype", "fp16": "force_fp16"}
        return f"Take precision_mode = {old.get(table.precision_mode_v2, 'allow_mix_precision')}"
    if name == "virtual_type":
        return (
            f"It follows from {soc.slice}, a slice: convert with a newer CANN, or for the whole"
            f" chip with --soc_version {soc.name}"
        )
    if name == "op_precision_mode" and not table.op_precision_mode:
        return (
            f"It follows from {table.precision}, whose convolutions would run in HF32 without it:"
            " convert with a newer CANN, or take precision_mode = allow_mix_precision"
        )
    return "Leave it out, or convert with a newer CANN"
