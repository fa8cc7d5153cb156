"""What a file that is not the expected one seems to be, for the error that refuses it."""

from __future__ import annotations

from pathlib import Path

HEAD_BYTES = 512
AN_OM = "an .om of Ascend"
_ZIP, _PICKLE = "a zip archive, such as a PyTorch checkpoint or .npz", "a Python pickle"
_SAFETENSORS = "a safetensors file"
# Kinds whose content may be a checkpoint, under any name.
CHECKPOINTS = (_ZIP, _PICKLE, _SAFETENSORS)

_MAGICS = (
    (b"IMOD", AN_OM),
    (b"PICO", "an .om for Smart Vision chips (PICO), which Ascend devices do not load"),
    (b"PK\x03\x04", _ZIP),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x7fELF", "an ELF program or library"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"%PDF", "a PDF"),
    (b"\x89HDF", "an HDF5 file"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
    *((bytes((0x80, protocol)), _PICKLE) for protocol in range(2, 6)),
)


def seems_to_be(head: bytes) -> str:
    """Name a file's kind by its first bytes, as far as they tell.

    Args:
        head: the first `HEAD_BYTES` of the file, or all of it.
    """
    if not head:
        return "an empty file"
    if not head.strip(b"\0"):
        return "zeros, as an interrupted copy leaves them"
    for magic, kind in _MAGICS:
        if head.startswith(magic):
            return kind
    if head[8:10] == b'{"':
        return _SAFETENSORS
    # ir_version (field 1, one byte), then producer_name, opset_import or the graph
    if head[0] == 0x08 and head[2:3] in (b"\x12", b"\x3a", b"\x42"):
        return "an ONNX model"
    return _text_kind(head) or f"unknown bytes that begin with {head[:8].hex(' ')}"


def no_file(path: Path) -> str:
    """What stands where a regular file should; empty where one does.

    Raises:
        OSError: the path cannot be looked up.
    """
    if path.is_file():
        return ""
    if path.is_dir():
        return "a folder"
    return "a pipe or device" if path.exists() else "no such file"


def _text_kind(head: bytes) -> str:
    stripped = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    lowered = stripped[:16].lower()
    if lowered.startswith((b"<!doctype", b"<html", b"<head")):
        return "an HTML page, as a failed download leaves it"
    # a cut inside a character at the end of the head is no fault of the text
    text = head.decode("utf-8", "ignore")
    if len(text.encode()) < len(head) - 3 or any(c < " " and c not in "\t\r\n\f" for c in text):
        return ""
    return "JSON text" if stripped.startswith((b"{", b"[")) else "text"
