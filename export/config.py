"""What to export and how, from TOML to one strict, frozen structure."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from export.atc.options import FILE_OPTIONS, FIRST_OPSET, LAST_OPSET, AtcTable, check_atc
from export.int8.table import Int8Table
from parity.judging.verdict import Limits
from runtime.errors import ConfigError, one_line
from runtime.files import shown
from runtime.files.reading import DamageError, read_text
from runtime.files.shipped import HOME, is_packaged, own_or_shipped
from runtime.model.checkpoint.contents import POSSIBLE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONFIGS = Path("configs")
SMALLEST_PX, LARGEST_PX = POSSIBLE["size"]
TORCHSCRIPT_OPSET = 13
DYNAMO_OPSET = 18

Exporter = Literal["auto", "torchscript", "dynamo"]
Precision = Literal["fp32", "int8"]
# Weights quantised by channel need it.
FIRST_INT8_OPSET = 13
# of the network before it is exported, in their order; see export/graph/inference_form.py
Rewrite = Literal["batch_norms", "coordinates", "features", "merges", "heads"]
REWRITES: tuple[Rewrite, ...] = get_args(Rewrite)
# Measured: docs/inference_form.md.
DEFAULT_REWRITES: tuple[Rewrite, ...] = ("batch_norms", "coordinates", "features", "merges")


class ModelTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the checkpoint must be; guards against the wrong file under the right name.

    Attributes:
        input_size: the side that it was trained at, px; None is what the file says, or 256.
    """

    points: int
    parameters: int
    input_size: int | None = None


class OnnxTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the graph is made; without an opset, 13 by TorchScript and 18 by dynamo.

    Attributes:
        batch: pictures a call of a graph with that one batch; None is a graph for any.
        input: float32 is normalised by the host; uint8 are the crops' own bytes, which the graph
            normalises. ATC is given float32 graphs alone; AIPP makes their input of uint8.
        rewrites: of the network before it is exported, equal but for rounding; none of them is the
            published form.
    """

    exporter: Exporter = "auto"
    opset: int | None = None
    batch: int | None = None
    input: Literal["float32", "uint8"] = "float32"
    rewrites: tuple[Rewrite, ...] = DEFAULT_REWRITES


class ExportConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model's export.

    Attributes:
        weights: resolved against the TOML file's folder when read.
        weights_key: of a checkpoint with several sets of weights, the one to take.
        weights_license: of the weights, as SPDX names it; the graph's metadata repeat it.
    """

    name: str
    weights: str
    model: ModelTable
    weights_origin: str = ""
    weights_key: str = ""
    weights_license: str = ""
    onnx: OnnxTable = OnnxTable()
    parity: Limits = Limits()
    precision: Precision = "fp32"
    int8: Int8Table = Int8Table()
    atc: AtcTable = AtcTable()


def read_config(path: Path) -> ExportConfig:
    """Read and check a TOML file; one that comes with the code by its name in a checkout.

    Raises:
        ConfigError: absent, not TOML, unknown or missing key, wrong type, or a value out of range.
    """
    path = own_or_shipped(path)
    try:
        table = tomllib.loads(read_text(path))
        if b"\\u0000" in msgspec.json.encode(table):  # an escape: no path and no name has one
            raise DamageError("a text with a NUL in it")
    except OSError as error:
        known = ", ".join(shown(name) for name in known_configs())
        raise ConfigError(
            str(path),
            expected="a TOML file",
            got=error.strerror or str(error),
            action=f"Choose one of {known}" if known else "Check the path of --config",
        ) from error
    except (ValueError, TypeError, RecursionError) as error:  # TypeError: a key that JSON lacks
        raise _refused(path, "valid TOML", one_line(error), "Correct the line it names") from error
    try:
        config = msgspec.convert(table, ExportConfig)
    except msgspec.ValidationError as error:
        raise _translated(path, error) from error
    checked = check_config(_with_files(config, path.resolve().parent), path)
    weights = (path.parent / checked.weights).resolve()
    if is_packaged(path) and not weights.exists():  # to be put where the command is run
        weights = (CONFIGS.absolute() / checked.weights).resolve()
    return msgspec.structs.replace(checked, weights=str(weights))


def known_configs() -> list[Path]:
    """What `read_config` takes under configs/, of the current folder and with the code."""
    folders = (CONFIGS, HOME / CONFIGS)
    names = {path.name for folder in folders for path in folder.glob("*.toml")}
    return [CONFIGS / name for name in sorted(names)]


def check_config(config: ExportConfig, path: Path) -> ExportConfig:
    """Check values that types cannot, and put rewrites in their order.

    Raises:
        ConfigError: a value out of range.
    """
    for wrong, expected, got, action in _conditions(config):
        if wrong:
            raise _refused(path, expected, str(got), action)
    config.int8.check(f"{path}: int8")
    config.parity.check(f"{path}: parity")
    atc = _for_batch(config.atc, config.onnx.batch, path)
    check_atc(atc, f"{path}: atc")
    rewrites = in_order(config.onnx.rewrites, f"{path}: onnx.rewrites")
    onnx = msgspec.structs.replace(config.onnx, rewrites=rewrites)
    return msgspec.structs.replace(config, onnx=onnx, atc=atc)


def _conditions(config: ExportConfig) -> tuple[tuple[bool, str, object, str], ...]:
    """What may be wrong: whether it is, what is expected, what was given, what to do."""
    opset, model = config.onnx.opset, config.model
    good_name = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", config.name)
    own_opset = f"Leave it out for {TORCHSCRIPT_OPSET} (torchscript) or {DYNAMO_OPSET} (dynamo)"
    return (
        (
            good_name is None,
            "name: letters, digits, _ . -",
            repr(config.name),
            "It becomes a folder's name",
        ),
        (model.points < 1, "model.points: 1 or more", model.points, "Correct it"),
        (model.parameters < 1, "model.parameters: 1 or more", model.parameters, "Correct it"),
        (
            model.input_size is not None and not SMALLEST_PX <= model.input_size <= LARGEST_PX,
            f"model.input_size: {SMALLEST_PX} to {LARGEST_PX} px",
            model.input_size,
            "Give the side that it was trained at",
        ),
        (
            opset is not None and not FIRST_OPSET <= opset <= LAST_OPSET,
            f"onnx.opset: {FIRST_OPSET} to {LAST_OPSET}, which ATC reads",
            opset,
            own_opset,
        ),
        (
            config.onnx.exporter == "dynamo" and opset not in (None, DYNAMO_OPSET),
            f"onnx.opset: {DYNAMO_OPSET}, the lowest the dynamo exporter makes",
            opset,
            'Take exporter = "torchscript" for a lower one',
        ),
        (
            config.precision == "int8" and opset is not None and opset < FIRST_INT8_OPSET,
            f"onnx.opset: {FIRST_INT8_OPSET} or later for int8",
            opset,
            "Leave it out",
        ),
        (
            config.onnx.input == "uint8" and config.atc.aipp,
            'one of the two that normalise bytes: onnx.input = "uint8" or atc.aipp',
            "both",
            "For an .om take AIPP, for other engines uint8",
        ),
        (
            config.parity.max_nme_increase_points is not None,
            "parity: limits in px, which an export can judge",
            "max_nme_increase_points",
            "Take python -m parity.compare with --max-nme-increase: it needs annotated pictures",
        ),
    )


def _for_batch(atc: AtcTable, batch: int | None, path: Path) -> AtcTable:
    """The [atc] table for a graph of one batch: the .om has the same."""
    if batch is None:
        return atc
    if batch < 1:
        raise _refused(path, "onnx.batch: 1 or more", str(batch), "Leave it out for any batch")
    if atc.dynamic_batch_size or atc.batch_sizes not in ((), (batch,)):
        given = atc.dynamic_batch_size or ",".join(map(str, atc.batch_sizes))
        raise _refused(
            path,
            f"an .om for batch {batch}, the only one of the graph",
            f"atc batches {given}",
            "Leave onnx.batch out: the default graph converts for any batches",
        )
    return msgspec.structs.replace(atc, batch_sizes=(batch,))


def in_order(names: Sequence[str], where: str) -> tuple[Rewrite, ...]:
    """Give rewrites in the order they are applied, so that the same set is the same export.

    Raises:
        ConfigError: a name that is not known, or one named twice.
    """
    wrong = [name for name in names if name not in REWRITES or names.count(name) > 1]
    if wrong:
        raise ConfigError(
            where,
            expected=f"each once, of {', '.join(REWRITES)}",
            got=", ".join(map(repr, names)),
            action=f"Correct or remove {wrong[0]!r}",
        )
    return tuple(name for name in REWRITES if name in names)


def config_facts(config: ExportConfig) -> dict[str, Any]:
    """The resolved configuration for the manifest: no path of this machine in it."""
    facts: dict[str, Any] = msgspec.to_builtins(config)
    facts["weights"] = shown(Path(config.weights).name)
    for which in ("calibration", "validation"):
        # the last name alone: where the pictures lie on this machine is nobody's business
        facts["int8"][which] = [shown(Path(name).name) for name in facts["int8"][which]]
    for option in FILE_OPTIONS:
        facts["atc"][option] = shown(Path(facts["atc"][option]).name)
    return facts


def _with_files(config: ExportConfig, folder: Path) -> ExportConfig:
    """Take the names of ATC's files and of pictures as the TOML file's folder sees them."""
    replace = msgspec.structs.replace
    given = {option: getattr(config.atc, option) for option in FILE_OPTIONS}
    found = {option: str(folder / name) for option, name in given.items() if name}
    pictures = {
        which: tuple(str(folder / name) for name in getattr(config.int8, which))
        for which in ("calibration", "validation")
    }
    int8 = replace(config.int8, **pictures)
    return replace(config, atc=replace(config.atc, **found), int8=int8)


def _refused(path: Path, expected: str, got: str, action: str) -> ConfigError:
    return ConfigError(str(path), expected=expected, got=got, action=action)


def _translated(path: Path, error: msgspec.ValidationError) -> ConfigError:
    text = str(error)
    message, _, place = text.partition(" - at `$")
    where = place.strip("`.") or "top level"
    unknown = re.search(r"unknown field `(.+?)`", message)
    if where.startswith("onnx.rewrites"):
        message, where = one_line(message), f"onnx.rewrites, each once, of {', '.join(REWRITES)}"
    if unknown is None:
        return _refused(path, f"a valid value at {where}", one_line(message), "Correct that key")
    tables = {"model": ModelTable, "onnx": OnnxTable, "parity": Limits, "int8": Int8Table}
    known = (tables | {"atc": AtcTable}).get(where, ExportConfig).__struct_fields__
    near = difflib.get_close_matches(unknown.group(1), known, n=1)
    return _refused(
        path,
        f"at {where} only the keys {', '.join(known)}",
        f"unknown key {unknown.group(1)!r}",
        f"Did you mean {near[0]!r}" if near else "Remove that key",
    )
