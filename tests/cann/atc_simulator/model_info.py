"""--mode=6: what an OM says about itself, in atc's block.

Source: ATC manual, --mode=6. Reads the file by itself, as om_writer writes it by itself.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from cann.atc_simulator.messages import MARK, bad

_HEADER = 256
_PARTITIONS = {0: "modeldef", 1: "weight_data", 2: "task_info", 3: "tbe_kernels"}
_OTHERS = {4: "cust_aicpu_kernel_store", 5: "so_store"}


def display(path: str) -> str:
    """The block.

    Raises:
        AtcError: E10001: no OM.
    """
    content = Path(path).read_bytes() if Path(path).is_file() else b""
    try:
        parts = partitions_of(content)
        attributes = attributes_of(parts[0])
    except (struct.error, IndexError, KeyError, ValueError, UnicodeDecodeError):
        raise bad("--om", path, "Invalid om file.") from None
    sizes = {name: len(parts.get(kind, b"")) for kind, name in {**_PARTITIONS, **_OTHERS}.items()}
    listed = ", ".join(f"{name}_size[{size} B]" for name, size in sizes.items())
    system = _listed(attributes, "atc_version soc_version framework_type")
    resource = _listed(attributes, "memory_size weight_size stream_num event_num")
    ruler = "=" * 12
    return "\n".join(
        [
            f"{ruler} Display Model Info start {ruler} {MARK}",
            f"Original Atc command line: {attributes.get('atc_cmdline')}",
            f"system   info: {system}.",
            f"resource info: {resource}.",
            f"om       info: {listed}.",
            f"{ruler} Display Model Info end   {ruler}",
        ]
    )


def _listed(attributes: dict[str, str | int], names: str) -> str:
    units = {"memory_size": " B", "weight_size": " B"}
    return ", ".join(
        f"{name}[{attributes.get(name)}{units.get(name, '')}]" for name in names.split()
    )


def partitions_of(content: bytes) -> dict[int, bytes]:
    """The partitions by type.

    Raises:
        ValueError: no OM, or not all of it; struct.error where it is shorter than its header.
    """
    magic, length = content[:4], struct.unpack_from("<Q", content, 184)[0]
    if magic != b"IMOD" or length != len(content) - _HEADER:
        raise ValueError
    (count,) = struct.unpack_from("<I", content, _HEADER)
    start = _HEADER + 8 + 24 * count
    found = {}
    for index in range(count):
        kind, _, offset, size = struct.unpack_from("<IIQQ", content, _HEADER + 8 + 24 * index)
        found[kind] = content[start + offset : start + offset + size]
    return found


def attributes_of(model_def: bytes) -> dict[str, str | int]:
    """The attributes of a MODEL_DEF that are text, whole numbers or truth values."""
    attributes: dict[str, str | int] = {}
    for field, entry in _fields(model_def):
        if field != 11 or isinstance(entry, int):
            continue
        key_value = dict(_fields(entry))
        key, value = key_value[1], key_value.get(2, b"")
        if isinstance(key, int) or isinstance(value, int):
            raise ValueError  # a wrong file, not a wrong argument
        for kind, scalar in _fields(value):
            if kind in (2, 3, 5):
                text = scalar if isinstance(scalar, int) else scalar.decode()
                attributes[key.decode()] = text
    return attributes


def _fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    position = 0
    while position < len(content):
        tag, position = _varint(content, position)
        kind = tag & 7
        if kind == 0:
            value, position = _varint(content, position)
            yield tag >> 3, value
            continue
        size = {1: 8, 5: 4}.get(kind)
        if size is None:
            size, position = _varint(content, position)
        if position + size > len(content):
            raise ValueError
        yield tag >> 3, content[position : position + size]
        position += size


def _varint(content: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, position
