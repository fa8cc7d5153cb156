"""ONNX to .om with CANN's atc: the argument list, the run, and the proof that it succeeded."""

from __future__ import annotations

import logging
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from export.aipp import aipp_config
from export.atc_codes import first_error
from export.atc_options import AtcTable, wants_float32
from export.atc_passed_on import passed_on
from runtime.command_line import step
from runtime.errors import ArtifactError, ConfigError, ExportError, one_line
from runtime.files import write_text_whole
from runtime.manifest import ONNX_NAME, ErrorFact, OmFact
from runtime.om_file import OmFile, read_om
from runtime.process import Finished, run
from runtime.soc import Soc
from runtime.spec import InputSpec

logger = logging.getLogger("starmark")

ATC = "atc"
ONNX_FRAMEWORK = 5
SUCCESS = "ATC run success"
FAILURE = "ATC run failed"
AIPP_NAME = "aipp.cfg"
PRECISION_NAME = "op_precision.ini"
# op_precision_mode's own form: [V: ge docs]. Without it, origin may run convolutions in HF32 on
# Atlas A2 and A3.
FLOAT32_CONVOLUTIONS = "[ByOpType]\nConv2D=enable_float_32_execution\n"
HELP_TIMEOUT_S = 60.0
# In every CANN that reads ONNX.
ALWAYS_KNOWN = (
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
)
TEXT_FILES = {"keep_dtype": "keep_dtype.txt", "customize_dtypes": "customize_dtypes.txt"}
SETTING_FILES = {
    "op_precision_mode": PRECISION_NAME,
    "modify_mixlist": "mixlist.json",
    "fusion_switch_file": "fusion_switch.cfg",
}


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """One .om to make.

    Attributes:
        soc: the chip.
        batches: one static batch, or the gears, ascending.
        table: the [atc] table.
        input: what the float graph takes.
    """

    soc: Soc
    batches: tuple[int, ...]
    table: AtcTable
    input: InputSpec

    @property
    def gears(self) -> bool:
        """Whether one file serves several batches."""
        return len(self.batches) > 1

    @property
    def stem(self) -> str:
        """The file's name without `.om`, which atc always appends."""
        return f"model_bs{'-'.join(map(str, self.batches))}_{self.soc.name}"


def conversions(table: AtcTable, soc: Soc, spec: InputSpec) -> tuple[Conversion, ...]:
    """Which files a configuration asks for: one for each static batch, or one with gears."""
    batches = (table.gears,) if table.gears else tuple((b,) for b in table.batch_sizes or (1,))
    return tuple(Conversion(soc=soc, batches=b, table=table, input=spec) for b in sorted(batches))


def setting_files(conversion: Conversion) -> dict[str, str]:
    """The text files that the argument list refers to, by name."""
    table = conversion.table
    files: dict[str, str] = {}
    for option, name in (TEXT_FILES | SETTING_FILES).items():
        path = getattr(table, option)
        if path:
            files[name] = Path(path).read_text(encoding="utf-8")
    if wants_float32(conversion.table, conversion.soc):
        files[PRECISION_NAME] = FLOAT32_CONVOLUTIONS
    if table.aipp:
        files[AIPP_NAME] = aipp_config(conversion.input)
    return files


def atc_arguments(conversion: Conversion) -> list[str]:
    """The whole argument list, for a folder that holds model.onnx and `setting_files`.

    Names are relative: the command stands in the .om and in the manifest, and must say nothing of
    this machine.
    """
    table, spec = conversion.table, conversion.input
    rows = -1 if conversion.gears else conversion.batches[0]
    shape = ",".join(map(str, (rows, *spec.shape(1)[1:])))
    arguments = {
        "model": ONNX_NAME,
        "framework": str(ONNX_FRAMEWORK),
        "output": conversion.stem,
        "soc_version": conversion.soc.name,
        "input_format": "NCHW",
        "input_shape": f"{spec.name}:{shape}",
    }
    if conversion.gears:
        arguments["dynamic_batch_size"] = ",".join(map(str, conversion.batches))
    plain = ("precision_mode", "precision_mode_v2", "op_select_implmode", "optypelist_for_implmode")
    for option in (*plain, "output_type"):
        if getattr(table, option):
            arguments[option] = getattr(table, option)
    files = TEXT_FILES | SETTING_FILES
    arguments |= {option: name for option, name in files.items() if getattr(table, option)}
    if wants_float32(conversion.table, conversion.soc):
        arguments["op_precision_mode"] = PRECISION_NAME
    if table.aipp:
        arguments["insert_op_conf"] = AIPP_NAME
    arguments |= passed_on(table.passed_on)
    return [f"--{name}={value}" for name, value in arguments.items()]


def command_text(conversion: Conversion) -> str:
    """The command as a person would type it, in a folder with model.onnx and the setting files."""
    return shlex.join([ATC, *atc_arguments(conversion)])


def find_atc() -> Path | None:
    """CANN's converter, if it is on PATH."""
    found = shutil.which(ATC)
    return Path(found) if found else None


def check_tool(atc: Path, conversion: Conversion) -> None:
    """Find out whether this atc knows the options that not every CANN has.

    Raises:
        ConfigError: one is asked for and unknown.
        ExportError: atc does not answer.
    """
    names = [argument[2:].partition("=")[0] for argument in atc_arguments(conversion)]
    asked = [name for name in names if name not in ALWAYS_KNOWN]
    if not asked:
        return
    answer = run([atc, "--help"], timeout_s=HELP_TIMEOUT_S)
    if answer.timed_out or answer.returncode != 0:
        raise _failed(answer, "--help", answer.output[-300:], "Run python -m runtime.doctor", None)
    unknown = [name for name in asked if f"--{name}" not in answer.output.split()]
    if unknown:
        old = {"origin": "must_keep_origin_dtype", "fp16": "force_fp16"}
        mode = old.get(conversion.table.precision_mode_v2, "allow_mix_precision")
        raise ConfigError(
            f"atc --{unknown[0]}",
            expected="an option that this atc knows",
            got=f"{atc}, whose --help does not name it: another CANN",
            action=f"Take precision_mode = {mode}"
            if unknown[0] == "precision_mode_v2"
            else "Leave it out, or convert with a newer CANN",
        )


def convert(
    conversion: Conversion, atc: Path, graph: Path, scratch: Path, log: Path
) -> tuple[Path, OmFile]:
    """Run atc in a folder of its own, and believe nothing but the file it left.

    Args:
        conversion: what to make.
        atc: the converter.
        graph: the float graph.
        scratch: an empty folder; atc litters the one it runs in.
        log: where its output is kept, also after a failure.

    Returns:
        The file, whatever suffix it was given, and what it says of itself.

    Raises:
        ExportError: atc failed, ran too long, or left no .om that is whole and for this chip.
    """
    shutil.copyfile(graph, scratch / ONNX_NAME)
    for name, text in setting_files(conversion).items():
        (scratch / name).write_text(text, encoding="utf-8")
    command = [str(atc), *atc_arguments(conversion)]
    with step(f"atc: {conversion.stem}"):
        done = run(
            command,
            timeout_s=conversion.table.timeout_s,
            cwd=scratch,
            on_line=lambda line: logger.debug("  %s", line),
        )
    write_text_whole(log, f"$ {command_text(conversion)}\n{done.output}")
    succeeded = SUCCESS in done.output and FAILURE not in done.output
    if done.timed_out or done.returncode != 0 or not succeeded:
        error, action = first_error(done.output)
        said = error or one_line(done.output[-300:]) or "no output"
        raise _failed(done, conversion.stem, said, action or "Read the log", log)
    return _made(conversion, done, scratch, log)


def om_fact(conversion: Conversion, file: str, said: OmFile, rounding: ErrorFact | None) -> OmFact:
    """What the manifest says of a converted file."""
    spec = conversion.input
    options = dict(argument[2:].split("=", 1) for argument in atc_arguments(conversion))
    return OmFact(
        file=file,
        soc_version=conversion.soc.name,
        batches=conversion.batches,
        gears=conversion.gears,
        input=spec.of_bytes() if conversion.table.aipp else spec,
        precision=conversion.table.precision,
        options=options,
        atc_version=said.atc_version,
        aipp=rounding,
    )


def _made(conversion: Conversion, done: Finished, scratch: Path, log: Path) -> tuple[Path, OmFile]:
    # atc may append the host's system and processor to the name
    found = sorted(scratch.glob(f"{conversion.stem}*.om"))
    if len(found) != 1:
        got = f"success and {', '.join(p.name for p in found) or 'no .om file'}"
        raise _failed(done, conversion.stem, got, "Read the log; is the disk full?", log)
    try:
        said = read_om(found[0])
    except ArtifactError as error:
        got = f"success and a file that is not whole: {error.got}"
        raise _failed(done, conversion.stem, got, "Is the disk full?", log) from error
    if said.soc_version != conversion.soc.name or said.is_dynamic:
        kind = "a dynamic model" if said.is_dynamic else f"a model for {said.soc_version!r}"
        raise _failed(done, conversion.stem, f"success and {kind}", "Report it with the log", log)
    return found[0], said


def _failed(done: Finished, what: str, got: str, action: str, log: Path | None) -> ExportError:
    how = "was ended" if done.timed_out else f"exited {done.returncode}"
    limit = " (its --atc_timeout)" if done.timed_out else ""
    return ExportError(
        f"atc {what}",
        expected=f"{SUCCESS!r} and a whole .om file",
        got=f"it {how} after {done.seconds:.0f} s{limit}: {got}",
        action=f"{action}. Log: {log}" if log else action,
    )
