"""Configuration files: strict, and each fault in one line that names file and key."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import ROOT

from export.config import DEFAULT_REWRITES, config_facts, read_config
from runtime.errors import ConfigError

GOOD = 'name = "m"\nweights = "w.pkl"\n[model]\npoints = 68\nparameters = 5\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "m.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda p: p.stem)
def test_every_configuration_of_the_repository_is_valid(path: Path) -> None:
    """And named after its file."""
    assert read_config(path).name == path.stem


def test_weights_are_found_from_the_files_own_folder(tmp_path: Path) -> None:
    """Not from where the command runs; the manifest sees the name alone."""
    config = read_config(write(tmp_path, GOOD))

    assert config.weights == str(tmp_path / "w.pkl")
    assert config_facts(config)["weights"] == "w.pkl"


def test_pictures_for_int8_are_found_from_the_files_own_folder(tmp_path: Path) -> None:
    """And no folder of this machine is in the manifest."""
    text = GOOD + '[int8]\ncalibration = ["photos"]\nvalidation = ["others"]\nmax_error_px = 2\n'
    config = read_config(write(tmp_path, 'precision = "int8"\n' + text))

    assert config.precision == "int8"
    assert config.int8.calibration == (str(tmp_path / "photos"),)
    assert config.int8.budget.limits_px == {"max": 2.0}
    assert config_facts(config)["int8"]["validation"] == ["others"]
    assert str(tmp_path) not in str(config_facts(config))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD + 'opzet = "x"\n', "unknown key 'opzet'"),
        ("wieghts = 'x'\n" + GOOD, "Did you mean 'weights'"),
        (GOOD + "[onnx]\nopzet = 13\n", "at onnx only the keys exporter, opset"),
        (GOOD + "[onnx]\nopset = '13'\n", "a valid value at onnx.opset, got Expected `int | null`"),
        (GOOD + "[onnx]\nopset = 19\n", "onnx.opset: 11 to 18, which ATC reads, got 19"),
        (GOOD + "[onnx]\nopset = 10\n", "got 10"),
        (GOOD + "[onnx]\nopset = true\n", "got Expected `int | null`, got `bool`"),
        (GOOD + "[onnx]\nexporter = 'magic'\n", "Invalid enum value 'magic'"),
        (GOOD + "[onnx]\nrewrites = ['heds']\n", "each once, of batch_norms, coordinates, feat"),
        (GOOD + "[onnx]\nrewrites = ['heads', 'heads']\n", "each once, of batch_norms, coord"),
        (
            GOOD + "[onnx]\nexporter = 'dynamo'\nopset = 13\n",
            "the lowest the dynamo exporter makes",
        ),
        (GOOD + "[parity]\nmax_mean_px = -1\n", "max_mean: expected a finite number"),
        (GOOD + "[parity]\nmax_error_px = nan\n", "max_error: expected a finite number"),
        (GOOD + "[int8]\nmax_p99_px = 0\n", "int8: max_p99: expected a finite number of crop px"),
        (GOOD + "[int8]\nbudget = 1\n", "at int8 only the keys calibration, validation"),
        (GOOD.replace('"m"', '"../m"'), "letters, digits"),
        (GOOD.replace('"m"', "3"), "Expected `str`, got `int`"),
        (GOOD.replace("points = 68", "points = 0"), "model.points: 1 or more"),
        (GOOD.replace('weights = "w.pkl"\n', ""), "missing required field `weights`"),
        ("name = ", "expected valid TOML"),
        ("", "missing required field"),
        (GOOD.replace("w.pkl", "w\\u0000.pkl"), "a text with a NUL in it"),
        ("a = " + "[" * 5000, "expected valid TOML"),
        ("a = " + "1" * 5000, "expected valid TOML"),
    ],
)
def test_faults_are_named_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    """Unknown key with the nearest name, wrong type, value out of range, not TOML."""
    with pytest.raises(ConfigError) as caught:
        read_config(write(tmp_path, text))

    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    """Some editors put one there."""
    path = write(tmp_path, "")
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())

    assert read_config(path).name == "m"


def test_missing_file_lists_those_that_exist(tmp_path: Path) -> None:
    """And bytes that are no text are refused like any other fault."""
    with pytest.raises(ConfigError, match="configs/star68.toml"):
        read_config(Path("configs/typo.toml"))
    path = tmp_path / "m.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="valid TOML"):
        read_config(path)


def test_rewrites_are_put_in_their_order(tmp_path: Path) -> None:
    """The same set in any order is one configuration; none is the published form."""
    one, other, none = (
        read_config(write(tmp_path, GOOD + f"[onnx]\nrewrites = {names}\n")).onnx.rewrites
        for names in ("['merges', 'batch_norms']", "['batch_norms', 'merges']", "[]")
    )

    assert one == other == ("batch_norms", "merges")
    assert none == ()
    assert read_config(write(tmp_path, GOOD)).onnx.rewrites == DEFAULT_REWRITES
