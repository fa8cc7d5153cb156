"""The command line in this process, with the starter model."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import CommandLine, Done, done_here

from runtime.infer import __main__ as command


@pytest.fixture
def infer(starter_bundle: Path, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """Called with an input, an output and options."""

    def call(given: object, output: object, *options: object) -> Done:
        named = ("--input", given, "--output", output, "--model", starter_bundle)
        return done_here(command.main, capsys, *named, *options)

    return call
