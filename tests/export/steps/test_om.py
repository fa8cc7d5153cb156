"""The step that puts converted files into a bundle: what it logs of a file and of a slice.

The .om is put together by hand from the public definition (`hand_made_om`), and left by an atc of
ours.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from builders import tiny_config
from hand_made_om import OURS, model_def, om

from export.__main__ import main
from runtime.model.manifest import read_manifest

GOOD = (
    "ATC start working now, please wait for a moment.\n...\n"
    "ATC run success, welcome to the next use.\n"
)


@pytest.fixture
def atc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An atc that leaves the file `made` under the name it is given, and reports success."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "said").write_text(GOOD)
    tool = folder / "atc"
    tool.write_text(
        '#!/bin/sh\nfor word; do case "$word" in --output=*) name="${word#*=}" ;; esac; done\n'
        f'[ -z "$name" ] || cp {folder}/made "$name.om"\ncat {folder}/said\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder / "made"


def converted(tiny: Path, folder: Path, soc: str, *passed_on: str) -> None:
    config = tiny_config(folder, tiny)
    line = ["--config", str(config), "--output", str(folder / "out"), "--no-parity"]
    line += ["--om", "require", "--soc_version", soc]
    assert main([*line, "--", *passed_on]) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "logged"),
    [
        (om(model_def(OURS)), "Ascend310P3, batch 1"),
        (om(model_def({})), "Ascend310P3 (the file names no chip), batch 1"),
        (
            om(model_def({"soc_version": b"\x18\x07"})),
            "Ascend310P3 (no chip was read in the file: attribute soc_version is 7",
        ),
        (om(b"\xff" * 77), "Ascend310P3 (no chip was read in the file: "),
    ],
)
def test_why_no_chip_is_known_is_logged(
    atc: Path,
    tiny: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    content: bytes,
    logged: str,
) -> None:
    """A chip that could not be read is none that the file does not name."""
    atc.write_bytes(content)
    caplog.set_level(logging.INFO, logger="starmark")
    converted(tiny, tmp_path, "Ascend310P3")
    (line,) = (
        one.getMessage()
        for one in caplog.records
        if one.getMessage().startswith("model_bs1_Ascend310P3.om: Ascend")
    )
    assert line.removeprefix("model_bs1_Ascend310P3.om: ").startswith(logged)
    assert read_manifest(tmp_path / "out").om[0].soc_version == "Ascend310P3"


@pytest.mark.slow
@pytest.mark.parametrize(("passed_on", "virtual"), [((), True), (("--virtual_type=0",), False)])
def test_a_slice_is_converted_as_it_is_logged(
    atc: Path,
    tiny: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    passed_on: tuple[str, ...],
    *,
    virtual: bool,
) -> None:
    """Not for slices where the user has it otherwise; that is warned of."""
    atc.write_bytes(om(model_def(OURS)))
    caplog.set_level(logging.INFO, logger="starmark")
    converted(tiny, tmp_path, "Ascend310Pvir02_1c", *passed_on)
    assert ("is a slice: converting with --virtual_type" in caplog.text) is virtual
    assert ("507009" in caplog.text) is not virtual
