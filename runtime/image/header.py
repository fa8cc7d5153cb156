"""What the header of a picture file states, before anything is decoded."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

EXIF = b"Exif\0\0"
JPEG_START = b"\xff\xd8"
JPEG_END = b"\xff\xd9"
# JPEG markers that carry no length: fill bytes, TEM, and the restart markers
BARE_MARKERS = (0xFF, 0x01, *range(0xD0, 0xD8))
# every start of frame; of these codes three are other segments (DHT, JPG, DAC)
FRAME_MARKERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
SEQUENTIAL_FRAMES = (0xC0, 0xC1)
HUFFMAN_TABLES = 0xC4
START_OF_SCAN = 0xDA
APP1 = 0xE1
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif", b"avis")

# TIFF 6.0 tags, see `tiff_tags`
WIDTH, HEIGHT, BITS, COMPRESSION, ORIENTATION, SAMPLE_FORMAT = 256, 257, 258, 259, 274, 339
# places and lengths of strips, then of tiles
PIECES = ((273, 279), (324, 325))
JPEG_TABLES = 347
INTEGER_TYPES = {1: "B", 3: "H", 4: "I", 7: "B", 16: "Q"}

Tags = dict[int, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class Header:
    """Of a picture file.

    Attributes:
        kind: JPEG, PNG, WebP, BMP, GIF, TIFF or HEIF, which is also AVIF.
        width, height: px as stored.
        orientation: EXIF's 1 to 8; 1 is upright.
        channels, data_at: of a JPEG, and where its first scan begins.
        has_no_zeros: whether a run of zero bytes cannot be data of this JPEG.
        tags: a TIFF's.
    """

    kind: str
    width: int
    height: int
    orientation: int = 1
    channels: int = 3
    data_at: int = 0
    has_no_zeros: bool = False
    tags: Tags = field(default_factory=dict)


def read_header(encoded: bytes) -> Header | None:
    """Read the header of a picture file.

    Returns:
        None where it is no picture of a format in `Header.kind`: what else OpenCV opens (.pfm,
        .hdr, .exr) is float, and would be cast to bytes.

    Raises:
        ValueError, IndexError, struct.error: a header that is cut off or damaged.
    """
    for start, reader in READERS.items():
        if encoded.startswith(start):
            return reader(encoded)
    return _heif(encoded) if encoded[4:8] == b"ftyp" else None


def tiff_tags(data: bytes) -> Tags:
    """Read the whole numbers of a TIFF's first directory, which EXIF has, too: tag → values.

    Source: TIFF 6.0, section 2; BigTIFF has magic number 43 and 8-byte offsets.
    """
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    offset, count, entry = ("Q", "Q", "HHQ") if big else ("I", "H", "HHI")
    (at,) = struct.unpack_from(order + offset, data, 8 if big else 4)
    (entries,) = struct.unpack_from(order + count, data, at)
    at += struct.calcsize(count)
    head, room = struct.calcsize(order + entry), struct.calcsize(offset)
    found: Tags = {}
    for place in range(at, at + entries * (head + room), head + room):
        tag, kind, values = struct.unpack_from(order + entry, data, place)
        if kind not in INTEGER_TYPES:
            continue
        layout = f"{order}{min(values, len(data))}{INTEGER_TYPES[kind]}"
        where = place + head
        if struct.calcsize(layout) > room:
            (where,) = struct.unpack_from(order + offset, data, where)
        found.setdefault(tag, struct.unpack_from(layout, data, where))
    return found


def _orientation(exif: bytes) -> int:
    """EXIF's orientation; 1 for one that cannot be read, as decoders take it."""
    try:
        found = tiff_tags(exif.removeprefix(EXIF)).get(ORIENTATION, (1,))[0]
    except (KeyError, IndexError, struct.error):
        return 1
    return found if 1 <= found <= 8 else 1


def _jpeg(encoded: bytes) -> Header:
    """Walk the segments to the scan."""
    width = height = channels = frame = 0
    exif = b""
    firsts: dict[int, int] = {}
    at = 2
    while encoded[at] == 0xFF:
        marker = encoded[at + 1]
        if marker == START_OF_SCAN and width:
            return Header(
                kind="JPEG",
                width=width,
                height=height,
                orientation=_orientation(exif),
                channels=channels,
                data_at=at,
                has_no_zeros=_has_no_zeros(encoded, at, frame, channels, firsts),
            )
        at += 1 if marker == 0xFF else 2
        if marker in BARE_MARKERS:
            continue
        (length,) = struct.unpack_from(">H", encoded, at)
        if marker in FRAME_MARKERS:
            height, width, channels = struct.unpack_from(">HHB", encoded, at + 3)
            frame = marker
        elif marker == HUFFMAN_TABLES:
            place = at + 2
            while place < at + length:  # class and number, 16 counts, symbols
                firsts[encoded[place]] = encoded[place + 17]
                place += 17 + sum(encoded[place + 1 : place + 17])
        elif marker == APP1 and not exif and encoded.startswith(EXIF, at + 2):
            exif = encoded[at + 2 : at + length]
        at += length
    raise ValueError("no marker")


def _has_no_zeros(
    encoded: bytes, scan: int, frame: int, channels: int, firsts: dict[int, int]
) -> bool:
    """Whether zero bits would be a block whose every coefficient is the same.

    The code of zeros is a table's first symbol. It ends a block in some tables, and a flat picture
    may then be all zeros; otherwise no picture has such blocks. Only for sequential pictures of
    one scan, where each unit has a block of brightness.
    """
    of_brightness = firsts.get(0x10 | encoded[scan + 6] & 0x0F, 0)
    return frame in SEQUENTIAL_FRAMES and encoded[scan + 4] == channels and of_brightness & 0x0F > 0


def _png(encoded: bytes) -> Header:
    width, height = struct.unpack_from(">II", encoded, 16)
    exif, at, kind = b"", 8, b""
    while kind != b"IEND":  # a file without one ends with struct.error
        length, kind = struct.unpack_from(">I4s", encoded, at)
        if kind == b"eXIf":
            exif = encoded[at + 8 : at + 8 + length]
        at += 12 + length
    return Header(kind="PNG", width=width, height=height, orientation=_orientation(exif))


def _webp(encoded: bytes) -> Header | None:
    if encoded[8:12] != b"WEBP":
        return None
    form = encoded[12:16]
    if form == b"VP8X":
        width, height = (int.from_bytes(encoded[at : at + 3], "little") + 1 for at in (24, 27))
    elif form == b"VP8L":
        (bits,) = struct.unpack_from("<I", encoded, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", encoded, 26))
    exif, at = b"", 12
    while at + 8 <= len(encoded):
        name, length = struct.unpack_from("<4sI", encoded, at)
        if name == b"EXIF":
            exif = encoded[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    return Header(kind="WebP", width=width, height=height, orientation=_orientation(exif))


def _bmp(encoded: bytes) -> Header:
    (head,) = struct.unpack_from("<I", encoded, 14)
    width, height = struct.unpack_from("<HH" if head == 12 else "<ii", encoded, 18)
    return Header(kind="BMP", width=width, height=abs(height))  # negative: from the top down


def _gif(encoded: bytes) -> Header:
    width, height = struct.unpack_from("<HH", encoded, 6)
    return Header(kind="GIF", width=width, height=height)


def _tiff(encoded: bytes) -> Header:
    tags = tiff_tags(encoded)
    (turned, *_) = tags.get(ORIENTATION, (1,))
    return Header(
        kind="TIFF",
        width=tags[WIDTH][0],
        height=tags[HEIGHT][0],
        orientation=turned,
        tags=tags,
    )


def _heif(encoded: bytes) -> Header | None:
    """Source: ISO/IEC 23008-12; ispe is an item's size, the picture is the largest item."""
    if encoded[8:12] not in HEIF_BRANDS:
        return None
    at, kind, length = 0, b"", 0
    while kind != b"meta":
        at += length
        length, kind = struct.unpack_from(">I4s", encoded, at)
        if length < 8:  # 0 and 1 are for lengths that no box before the pictures has
            raise ValueError("no box of sizes")
    sizes = []
    end = at + length
    while (at := encoded.find(b"ispe", at, end)) >= 0:
        at += 8
        sizes.append(struct.unpack_from(">II", encoded, at))
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return Header(kind="HEIF", width=width, height=height)


READERS: dict[bytes, Callable[[bytes], Header | None]] = {
    JPEG_START: _jpeg,
    b"\x89PNG\r\n\x1a\n": _png,
    b"RIFF": _webp,
    b"BM": _bmp,
    b"GIF8": _gif,
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), _tiff),
}
