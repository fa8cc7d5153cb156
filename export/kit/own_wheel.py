"""Our own wheel for the box, put together here: `runtime` and `parity`, without the exporter."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from importlib import metadata
from pathlib import Path

import parity
import runtime
from runtime.errors import ArtifactError
from runtime.version import VERSION

ROOMS = {"parity": Path(parity.__file__).parent, "runtime": Path(runtime.__file__).parent}
OLDEST_PYTHON = "3.10"
# The same cv2 as opencv-python's, but it needs no libGL, which servers and containers lack.
OPENCV = "opencv-python-headless"
# The ranges are those of the whole project.
REQUIRES = {"msgspec": ">=0.18.6,<1", "numpy": ">=1.26,<3", OPENCV: ">=4.8,<6"}
# The earliest date that a zip can hold.
DATE = (1980, 1, 1, 0, 0, 0)
REGULAR_FILE = 0o100644
MADE_ON_UNIX = 3


def wheel_name() -> str:
    """File name of our wheel."""
    return f"starmark-{VERSION}-py3-none-any.whl"


def own_wheel() -> bytes:
    """Build the wheel from the code that is running; the same code gives the same bytes.

    Raises:
        ArtifactError: the licence, which must travel with the code, is not there.
        OSError: a source file cannot be read.

    Source: the binary distribution format, packaging.python.org.
    """
    info = f"starmark-{VERSION}.dist-info"
    files = _sources() | {
        f"{info}/METADATA": _metadata().encode(),
        f"{info}/WHEEL": _WHEEL.encode(),
        f"{info}/licenses/LICENSE": _licence(),
    }
    rows = [f"{name},{_digest(content)},{len(content)}" for name, content in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(_entry(name), content)
    return packed.getvalue()


_WHEEL = """\
Wheel-Version: 1.0
Generator: starmark
Root-Is-Purelib: true
Tag: py3-none-any
"""


def _metadata() -> str:
    return "\n".join(
        (
            "Metadata-Version: 2.1",
            "Name: starmark",
            f"Version: {VERSION}",
            "Summary: Find and compare facial landmarks on a box without network",
            "License: Apache-2.0",
            "License-File: LICENSE",
            f"Requires-Python: >={OLDEST_PYTHON}",
            *(f"Requires-Dist: {name}{versions}" for name, versions in REQUIRES.items()),
            "",
        )
    )


def _sources() -> dict[str, bytes]:
    """Every file of both rooms but caches and hidden ones, by its name in the wheel."""
    found = {}
    for room, folder in ROOMS.items():
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            hidden = any(part.startswith((".", "__pycache__")) for part in inside.parts)
            if path.is_file() and not hidden and path.suffix != ".pyc":
                found[f"{room}/{inside.as_posix()}"] = path.read_bytes()
    return found


def _licence() -> bytes:
    """The licence of a checkout, or of the installed package."""
    beside = ROOMS["runtime"].parent / "LICENSE"
    if beside.is_file():
        return beside.read_bytes()
    try:
        text = metadata.distribution("starmark").read_text("licenses/LICENSE")
    except metadata.PackageNotFoundError:
        text = None
    if not text:
        raise ArtifactError(
            str(beside),
            expected="the licence beside the code, or in the installed package",
            got="neither",
            action="Run from a complete checkout, or install Starmark again",
        )
    return text.encode()


def _digest(content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
    return f"sha256={digest.decode()}"


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, DATE)
    # stored as it is: what compression gives depends on this machine's zlib
    entry.compress_type = zipfile.ZIP_STORED
    entry.create_system = MADE_ON_UNIX
    entry.external_attr = REGULAR_FILE << 16
    return entry
