"""The lock of a folder of results."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from builders import ROOT

from runtime.errors import ConfigError
from runtime.files.lock import LOCK_NAME, folder_locked

HOLD = (
    "import sys, time; from pathlib import Path; from runtime.files.lock import folder_locked\n"
    "with folder_locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
)


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    """Another process is refused and told whose it is; after SIGKILL the next one takes it."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], cwd=ROOT, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError, match=f"process {holder.pid} on "), folder_locked(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL)
    assert (tmp_path / LOCK_NAME).exists()
    with folder_locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_said(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With what to do about it; the run goes on."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with folder_locked(tmp_path):
        pass
    assert f"{tmp_path}: this file system cannot lock files" in caplog.text
    assert "Let no other run write there" in caplog.text
