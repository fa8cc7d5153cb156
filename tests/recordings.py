"""Small recordings for tests, made of numbers instead of a network."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from parity.comparison import Comparison
from parity.judging.verdict import Limits
from parity.recording.recording import STAGES, Header, PictureRecord, Recording
from parity.report import make_report
from parity.samples import Sample
from runtime.model.spec import spec_of

# names of files that would do something, were they not taken as text
HOSTILE = (
    "<img src=x onerror=alert(1)>.jpg",
    "</script><script>alert(2)</script>.jpg",
    "</title><!--.jpg",
    "\"' onload='alert(3)'.jpg",
    "\u202egpj.exe\u2066.jpg",
    "bell\x07 null\x00 line\nend.jpg",
    "{{ 7 * 7 }}{% raw %}.jpg",
)


def recording_of(
    rng: np.random.Generator, *, pictures: int = 2, points: int = 68, source: str = "a@cpu"
) -> Recording:
    """Random points in crops whose pixels are 4 wide and 3 high in the picture."""
    place = np.array([[4.0, 0, 1.5], [0, 3.0, 1.0], [0, 0, 1]])
    half = rng.normal(0, 0.05, (pictures, points, 2, 2))
    full = half @ half.transpose(0, 1, 3, 2)
    header = Header(
        source=source,
        engine="numbers 1.0",
        device="cpu",
        parameters=None,
        checkpoint_sha256="",
        spec=spec_of(points=points),
        manifest=None,
        versions={"python": "3"},
        machine="none",
        pictures=tuple(
            PictureRecord(
                name=f"{n}.jpg",
                mode="whole",
                box_xyxy=None,
                size_wh=(1024, 768),
                sha256_picture=f"{n:064d}",
                sha256_crop=f"{n + 7:064d}",
            )
            for n in range(pictures)
        ),
        unreadable=(),
        with_crops=False,
        created_utc="2026-01-01T00:00:00+00:00",
    )
    return Recording(
        header=header,
        landmarks=rng.uniform(-0.5, 0.5, (pictures, points, 2)).astype(np.float32),
        covariance=np.stack([full[..., 0, 0], full[..., 0, 1], full[..., 1, 1]], -1).astype(
            np.float32
        ),
        image_from_crop=np.tile(place, (pictures, 1, 1)),
        timings=np.full((pictures, len(STAGES)), 0.001),
        annotations_px=np.full((pictures, points, 2), np.nan),
    )


def shifted(recording: Recording, by: float | NDArray[np.float64]) -> Recording:
    """The same recording with landmarks moved, in the network's unit."""
    landmarks = recording.landmarks + np.asarray(by, np.float32)
    return replace(recording, landmarks=landmarks)


def moved(recording: Recording, by_crop_px: float, *, source: str = "b@cpu") -> Recording:
    """The same answers, with all points moved right and every second one down as well."""
    shift = np.zeros_like(recording.landmarks)
    shift[..., 0] = by_crop_px / (recording.header.spec.input.size / 2)
    shift[:, ::2, 1] = shift[:, ::2, 0] / 2
    return replace(
        recording,
        header=msgspec.structs.replace(recording.header, source=source),
        landmarks=recording.landmarks + shift,
    )


def with_header(recording: Recording, **changes: Any) -> Recording:
    """The same answers under another header."""
    return replace(recording, header=msgspec.structs.replace(recording.header, **changes))


def with_pictures(recording: Recording, **columns: Sequence[Any]) -> Recording:
    """The same answers to pictures of other names or hashes: of each field, a value a picture."""
    rows = zip(recording.header.pictures, *columns.values(), strict=True)
    pictures = tuple(
        msgspec.structs.replace(picture, **dict(zip(columns, values, strict=True)))
        for picture, *values in rows
    )
    return with_header(recording, pictures=pictures)


def comparison_of(
    reference: Recording,
    candidate: Recording,
    limits: Limits | None = None,
    samples: Sequence[Sample] = (),
) -> Comparison:
    """What comparing them gives."""
    return Comparison(
        report=make_report(reference, candidate, limits or Limits()),
        reference=reference,
        candidate=candidate,
        samples=tuple(samples),
    )


def array_bytes(shape: tuple[int, ...], dtype: str, content: bytes) -> bytes:
    """An array's file, whatever its header claims."""
    file = io.BytesIO()
    npy.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue() + content


def members(path: Path) -> dict[str, bytes]:
    """The files in a zip file."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def with_members(path: Path, changes: Mapping[str, bytes | None]) -> None:
    """Change or remove files in a zip file."""
    content = {**members(path), **changes}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            if data is not None:
                archive.writestr(name, data)
