"""ONNX to .om with CANN's atc: the argument list, the run, and the proof that it succeeded."""

from __future__ import annotations

import logging
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from export.atc.aipp import aipp_config
from export.atc.environment import Explained
from export.atc.errors import FAILURE, explain, warnings_in
from export.atc.options import FILE_OPTIONS, VIRTUAL_TYPE, AtcTable, passed_on, wants_float32
from runtime.cli.command_line import step
from runtime.errors import ArtifactError, ExportError
from runtime.files import write_text_whole
from runtime.machine.process import Finished, run
from runtime.machine.soc import Soc
from runtime.model.manifest import ONNX_NAME, ErrorFact, OmFact
from runtime.model.om_file import OmFile, read_om
from runtime.model.spec import InputSpec

logger = logging.getLogger("starmark")

ATC = "atc"
SUCCESS = "ATC run success"
AIPP_NAME = "aipp.cfg"
PRECISION_NAME = FILE_OPTIONS["op_precision_mode"]
# op_precision_mode's own form. Without it origin runs convolutions in HF32 on the chips that have
# it: on for convolutions, off for matrix products [V: ge docs, --allow_hf32, default;
# op_impl_mode_config_parser.cc:36]. Conv2D is what the parser makes of Conv [V: ops-nn
# conv_onnx_plugin.cpp].
FLOAT32_CONVOLUTIONS = "[ByOpType]\nConv2D=enable_float_32_execution\n"
FULL_DISK_BYTES = 1 << 20
# options whose values go into the command as they are
PLAIN = (
    "precision_mode",
    "precision_mode_v2",
    "op_select_implmode",
    "optypelist_for_implmode",
    "output_type",
)


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """One .om to make of the float graph, for one static batch or for gears, ascending."""

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
    """The files of a configuration: one for each static batch, or one with gears."""
    batches = (table.gears,) if table.gears else tuple((b,) for b in table.batch_sizes or (1,))
    return tuple(Conversion(soc=soc, batches=b, table=table, input=spec) for b in sorted(batches))


def setting_files(conversion: Conversion) -> dict[str, str]:
    """The text files that the argument list refers to, by name."""
    table = conversion.table
    files: dict[str, str] = {}
    for option, name in FILE_OPTIONS.items():
        path = getattr(table, option)
        if path:
            files[name] = Path(path).read_text(encoding="utf-8")
            if option == "customize_dtypes":
                # ATC refuses an empty line in this one [V: op_cust_dtypes_config_parser.cc]
                lines = files[name].splitlines()
                files[name] = "".join(f"{line}\n" for line in lines if line.strip())
    if wants_float32(table, conversion.soc):
        files[PRECISION_NAME] = FLOAT32_CONVOLUTIONS
    if table.aipp:
        files[AIPP_NAME] = aipp_config(conversion.input)
    return files


def atc_arguments(conversion: Conversion) -> list[str]:
    """The whole argument list, for a folder that holds model.onnx and `setting_files`.

    Names are relative: the command stands in the .om and in the manifest, which must not name
    paths of this machine.
    """
    table, spec = conversion.table, conversion.input
    rows = -1 if conversion.gears else conversion.batches[0]
    shape = ",".join(map(str, (rows, *spec.shape(1)[1:])))
    arguments = {
        "model": ONNX_NAME,
        "framework": "5",  # ONNX
        "output": conversion.stem,
        "soc_version": conversion.soc.name,
        "input_format": "NCHW",
        "input_shape": f"{spec.name}:{shape}",
    }
    if conversion.gears:
        arguments["dynamic_batch_size"] = ",".join(map(str, conversion.batches))
    arguments |= {option: getattr(table, option) for option in PLAIN if getattr(table, option)}
    arguments |= {option: name for option, name in FILE_OPTIONS.items() if getattr(table, option)}
    if wants_float32(table, conversion.soc):
        arguments["op_precision_mode"] = PRECISION_NAME
    if table.aipp:
        arguments["insert_op_conf"] = AIPP_NAME
    if conversion.soc.slice:
        arguments[VIRTUAL_TYPE] = "1"  # a slice runs nothing else [V: ge docs, --virtual_type]
    arguments |= passed_on(table.passed_on)
    return [f"--{name}={value}" for name, value in arguments.items()]


def command_text(conversion: Conversion) -> str:
    """The command as a person would type it, in a folder with model.onnx and the setting files."""
    return shlex.join([ATC, *atc_arguments(conversion)])


def convert(
    conversion: Conversion, atc: Path, graph: Path, scratch: Path, log: Path
) -> tuple[Path, OmFile]:
    """Run atc in a folder of its own; success is its success line and a whole .om for this chip.

    Anything else about that file, and atc's exit status after that line, is a warning.

    Args:
        conversion: what to make.
        atc: the converter.
        graph: the float graph.
        scratch: an empty folder; atc litters the one it runs in.
        log: gets its output, also after a failure.

    Returns:
        The file, whatever suffix it was given, and its header.

    Raises:
        ExportError: atc failed, ran too long, left no whole .om, or one for another chip.
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
    if done.timed_out or not succeeded:
        raise _failed(done, conversion.stem, explain(done), log)
    for warning in warnings_in(done.output):
        logger.warning("  atc: %s", warning)
    file, header = _made(conversion, done, scratch, log)
    if done.returncode != 0:
        # the line comes when all is written; then plugins are unloaded and Python is shut down
        # [V: ge api/atc/main_impl.cc:2242 and main_impl, release_python_resources]
        logger.warning(
            "  WARNING: atc exited %d after %r. %s is whole and stands; prove it on the box with"
            " python -m parity.selftest",
            done.returncode,
            SUCCESS,
            file.name,
        )
    return file, header


def om_fact(
    conversion: Conversion, file: str, header: OmFile, rounding: ErrorFact | None
) -> OmFact:
    """The manifest's entry for a converted file."""
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
        atc_version=header.atc_version,
        aipp=rounding,
    )


def _made(conversion: Conversion, done: Finished, scratch: Path, log: Path) -> tuple[Path, OmFile]:
    def failed(got: str, action: str) -> ExportError:
        if done.returncode != 0:
            died = explain(done)
            got, action = f"{died.cause}; {got}", _space(scratch) or died.action
        return _failed(done, conversion.stem, Explained(cause=got, action=action), log)

    # atc may append the host's system and processor to the name
    found = sorted(scratch.glob(f"{conversion.stem}*.om"))
    if len(found) != 1:
        listed = ", ".join(p.name for p in found)
        got = f"{len(found)} .om files, {listed}" if found else "no .om file"
        raise failed(f"success and {got}", _space(scratch) or "Report it with the log")
    try:
        header = read_om(found[0])
    except ArtifactError as error:
        got = f"success and a file that is not whole: {error.got}"
        raise failed(got, _space(scratch) or "Convert again; report it, should it recur") from error
    if header.soc_version.lower() not in ("", conversion.soc.name.lower()):
        raise failed(f"success and a model for {header.soc_version!r}", "Report it with the log")
    remarks = [*(f"not read: {line}" for line in header.unread), *header.remarks]
    if header.is_dynamic:
        # a wrong size is an error where it runs, never a wrong answer
        remarks.append(
            "marked as a model of dynamic shape, although --input_shape is fixed: prove it on the"
            " box with python -m parity.selftest"
        )
    for remark in remarks:
        logger.warning("  %s: %s", found[0].name, remark)
    return found[0], header


def _space(folder: Path) -> str:
    """What to do where the disk is full; empty where it is not."""
    full = shutil.disk_usage(folder).free < FULL_DISK_BYTES
    return "The disk is full: free some space, and convert again" if full else ""


def _failed(done: Finished, what: str, why: Explained, log: Path) -> ExportError:
    how = "was ended" if done.timed_out else f"exited {done.returncode}"
    limit = " (its --atc_timeout)" if done.timed_out else ""
    return ExportError(
        f"atc {what}",
        expected=f"{SUCCESS!r} and a whole .om file",
        got=f"it {how} after {done.seconds:.0f} s{limit}: {why.cause}",
        action=f"{why.action}. Log: {log}",
    )
