"""The command line over the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.options import ExportOptions, parse
from runtime.errors import ConfigError

TABLES = """
name = "m"
weights = "w.pkl"
precision = "int8"
[model]
points = 68
parameters = 5
[onnx]
exporter = "torchscript"
opset = 16
[int8]
calibration = ["photos"]
validation = ["others"]
max_error_px = 2
[atc]
batch_sizes = [1, 4]
precision_mode = "force_fp16"
passed_on = ["--log=error"]
"""


def parsed(folder: Path, *arguments: str) -> ExportOptions:
    path = folder / "m.toml"
    path.write_text(TABLES)
    return parse(["--config", str(path), *arguments])


def test_an_option_replaces_its_key_and_what_excludes_it(tmp_path: Path) -> None:
    """Another exporter has another opset, named pictures have no old ones for validation."""
    line = "--exporter dynamo --dynamic_batch_size 1,2 --precision_mode_v2 origin --budget p99=1"
    config = parsed(tmp_path, *line.split(), "--calibration", "a", "b", "--weights", "x.pkl").config

    assert (config.onnx.exporter, config.onnx.opset) == ("dynamo", None)
    assert (config.atc.batch_sizes, config.atc.gears) == ((), (1, 2))
    assert (config.atc.precision_mode, config.atc.precision_mode_v2) == ("", "origin")
    assert config.int8.budget.limits_px == {"p99": 1.0}
    assert (config.int8.calibration, config.int8.validation) == (("a", "b"), ())
    assert config.weights == str(Path.cwd() / "x.pkl")


def test_keys_stay_without_options(tmp_path: Path) -> None:
    options = parsed(tmp_path)

    assert (options.config.onnx.opset, options.config.atc.batch_sizes) == (16, (1, 4))
    assert options.config.int8.budget.limits_px == {"max": 2.0}
    assert options.config.atc.passed_on == ("--log=error",)


def test_what_follows_two_dashes_goes_to_atc(tmp_path: Path) -> None:
    """Also options that the exporter has itself, which the manifest records."""
    behind = [
        "--",
        "--precision-mode-v2=origin",
        "--debug_dir",
        "d",
        "--soc_version",
        "Ascend910B3",
    ]
    options = parsed(tmp_path, "--om", "auto", "--taps", *behind)

    assert options.passed_on == ("--debug_dir", "d")
    assert options.config.atc.passed_on == ("--log=error", "--debug_dir", "d")
    assert options.config.atc.precision_mode_v2 == "origin"
    assert options.config.atc.soc_version == "Ascend910B3"
    assert options.again[2:] == ("--taps", "--precision_mode_v2", "origin")


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("--batch_sizes 1,x", "--batch_sizes: expected whole numbers"),
        ("--rewrites none,heads", "--rewrites: expected each once"),
        ("--precision fp32 --budget p99=1", "--budget: expected an int8 export"),
        ("--precision fp32 --validation a", "--validation: expected an int8 export"),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, line: str, where: str) -> None:
    with pytest.raises(ConfigError, match=where):
        parsed(tmp_path, *line.split())
