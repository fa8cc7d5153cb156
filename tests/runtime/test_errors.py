"""The template, the exit codes, and errors that travel between processes."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import signal

import pytest

from runtime.cli import command_line
from runtime.errors import (
    DEVICE_LOST,
    ArtifactError,
    BackendUnavailable,
    ConfigError,
    ExportError,
    InferenceError,
    InputError,
    StarmarkError,
)


@pytest.mark.parametrize(
    ("kind", "exit_code", "code"),
    [
        (ConfigError, 2, "config"),
        (ArtifactError, 2, "artifact"),
        (InputError, 2, "input"),
        (BackendUnavailable, 3, "unavailable"),
        (InferenceError, 4, "inference"),
        (ExportError, 4, "export"),
    ],
)
def test_every_error_has_one_template_its_exit_code_and_its_code(
    kind: type[StarmarkError], exit_code: int, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line with place, contract, value and action; whole after pickling, too."""
    error = kind("m.onnx", expected="a graph", got="line\n  break", action="Export it again")

    def fail() -> int:
        raise error

    assert command_line.run(fail) == exit_code
    text = "m.onnx: expected a graph, got line break. Export it again."
    assert capsys.readouterr().err == f"error: {text}\n"
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.code) == (kind, text, code)


def test_an_event_is_told_without_a_contract() -> None:
    """A cause's own code travels with it."""
    error = InferenceError("npu:0", got="an AI Core hung", action="Open a new Detector")
    error.code = DEVICE_LOST
    again = pickle.loads(pickle.dumps(error))

    assert str(again) == "npu:0: an AI Core hung. Open a new Detector."
    assert again.code == "device-lost"


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(28, "No space left on device", "/full/x"), 4, "/full/x: expected to read and"),
        (MemoryError(), 4, "memory: expected enough"),
        (ModuleNotFoundError(name="onnxsim"), 3, "package onnxsim: expected it to be importable"),
    ],
)
def test_what_the_system_raises_is_one_line(
    error: BaseException, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C, a full disk, no memory."""

    def fail() -> int:
        raise error

    assert command_line.run(fail) == code
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "Free space"),
        (errno.EDQUOT, "Free space"),
        (errno.ENAMETOOLONG, "shorter name"),
        (errno.EACCES, "permissions"),
        (errno.EROFS, "can be written"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ENOENT, "Check the path"),
    ],
)
def test_the_remedy_fits_what_the_system_says(
    number: int, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only a full disk is mended by freeing space."""

    def fail() -> int:
        raise OSError(number, os.strerror(number), "/x")

    assert command_line.run(fail) == 4
    said = capsys.readouterr().err
    assert remedy in said
    assert ("Free space" in said) == (remedy == "Free space")


def test_a_bug_is_not_dressed_up() -> None:
    """What nobody expected keeps its traceback."""

    def fail() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command_line.run(fail)


def test_interrupt_that_comes_out_as_another_error_is_still_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In the middle of an engine's import it becomes that engine's ImportError."""

    def fail() -> int:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise ImportError("initialization failed")

    assert command_line.run(fail) == 130
    assert "interrupted" in capsys.readouterr().err
    assert command_line.run(lambda: 0) == 0
