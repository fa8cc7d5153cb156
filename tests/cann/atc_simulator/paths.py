"""Paths as atc takes them: a restricted alphabet, files that are there, folders that it makes.

Of a file that is read the real path counts, of one that is written the path as it was given.
Source: hicann/ge base/common/util.cc CheckInputPathValid and CheckOutputPathValid.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from cann.atc_simulator.messages import bad, fail

LONGEST = 4096
_PATH = re.compile(r"[\u4e00-\u9fa5A-Za-z0-9/_.-]+")
_ALPHABET = "The path takes letters, digits, '-', '.', '_' and Chinese characters alone."


def check_input(path: str, parameter: str) -> None:
    """A file that is read: there, readable, and of the alphabet.

    Raises:
        AtcError: E10004 for an empty path, else E10001.
    """
    if not path:
        raise fail("E10004", parameter=parameter)
    if len(os.fsencode(path)) > LONGEST or "\0" in path or not Path(path).exists():
        raise bad(parameter, path, "realpath error, errmsg:No such file or directory")
    if not _PATH.fullmatch(str(Path(path).resolve())):
        raise bad(parameter, path, _ALPHABET)
    if not os.access(path, os.R_OK):
        raise bad(parameter, path, "cannot access, errmsg:Permission denied")


def check_output(path: str, parameter: str) -> None:
    """A file that is written; its folder is made where it is missing.

    Raises:
        AtcError: E10021 too long, E10022 no name, else E10001.
    """
    name = parameter.removeprefix("--")
    if len(os.fsencode(path)) > LONGEST:
        raise fail("E10021", parameter=name, size=LONGEST)
    if path.endswith(("/", "\\")):
        raise fail("E10022", parameter=name, filename=path)
    if not _PATH.fullmatch(path):
        raise bad(parameter, path, _ALPHABET)
    folder = Path(path).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise bad(
            parameter, path, f"cannot create the directory, errmsg:{error.strerror}"
        ) from None
    if not os.access(folder, os.W_OK):
        raise bad(parameter, path, "cannot access, errmsg:Permission denied")


def check_folder(path: str, parameter: str) -> None:
    """A folder that must be there already.

    Raises:
        AtcError: E10001.
    """
    if not Path(path).is_dir():
        raise bad(parameter, path, "the directory does not exist")
