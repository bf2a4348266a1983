"""Compressed frames lose their comments, and not a pixel; oracles: imagecodecs and pydicom."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.encaps import encapsulate, generate_frames

from seriesio.dicom.comments import without_comments, without_idle_bytes
from seriesio.dicom.pixel_layout import pixel_layout
from seriesio.dicom.rle import decode_rle
from seriesio.errors import DicomError

imagecodecs: Any = pytest.importorskip("imagecodecs")

SECRET = b"Geheimrat^Anna"
JPEG, JPEG_LS, JPEG_2000 = (f"1.2.840.10008.1.2.4.{tail}" for tail in ("50", "80", "90"))
RLE = "1.2.840.10008.1.2.5"
PIXELS = (np.indices((24, 20)).sum(axis=0) * 5 % 251).astype(np.uint8)


def whole(frames: list[bytes], **options: Any) -> bytes:
    """An encapsulated value with its delimiter."""
    return encapsulate(frames, **options) + b"\xfe\xff\xdd\xe0\0\0\0\0"


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def jpeg(marker: int = 0xFE, body: bytes = SECRET) -> bytes:
    data = bytes(imagecodecs.jpeg8_encode(PIXELS, level=90))
    return data[:2] + segment(marker, body) + data[2:]


def jpeg_ls() -> bytes:
    data = bytes(imagecodecs.jpegls_encode(PIXELS))
    return data[:2] + segment(0xFE, SECRET) + segment(0xE3, SECRET) + data[2:]


def jpeg_2000() -> bytes:
    """With comments in the main header and in the header of the first tile-part."""
    data = bytes(imagecodecs.jpeg2k_encode(PIXELS, codecformat="j2k", reversible=True))
    comment = segment(0x64, b"\0\1" + SECRET)
    size = 4 + struct.unpack_from(">H", data, 4)[0]
    tile = data.index(b"\xff\x90")
    length = struct.unpack_from(">L", data, tile + 6)[0]
    head = data[tile : tile + 6] + struct.pack(">L", length + len(comment))
    return (
        data[:size] + comment + data[size:tile] + head + data[tile + 10 : tile + 12] + comment
        + data[tile + 12 :]
    )  # fmt: skip


DECODERS: dict[str, Any] = {
    JPEG: imagecodecs.jpeg8_decode,
    JPEG_LS: imagecodecs.jpegls_decode,
    JPEG_2000: imagecodecs.jpeg2k_decode,
}
STREAMS = [
    (JPEG, jpeg()),
    (JPEG, jpeg(0xE1, b"Exif\0\0" + SECRET)),
    (JPEG, jpeg(0xE0, b"JFXX\0\x10" + SECRET)),
    (JPEG, jpeg() + SECRET),
    (JPEG_LS, jpeg_ls()),
    (JPEG_2000, jpeg_2000()),
    (JPEG_2000, jpeg_2000() + SECRET),
]


@pytest.mark.parametrize(("syntax", "stream"), STREAMS)
@pytest.mark.parametrize("fragments", [1, 3])
def test_comments_go(syntax: str, stream: bytes, fragments: int) -> None:
    """Nothing is left of comments, the length is the same, the pixels are the same."""
    value = whole([stream, stream], fragments_per_frame=fragments)
    clean = without_comments(value + b"behind it")
    assert clean is not None
    assert len(clean) == len(value)
    assert SECRET not in b"".join(generate_frames(clean, number_of_frames=2))
    assert SECRET[:5] not in clean
    for frame, before in zip(
        generate_frames(clean, number_of_frames=2),
        generate_frames(value, number_of_frames=2),
        strict=True,
    ):
        decode = DECODERS[syntax]
        np.testing.assert_array_equal(decode(frame), decode(before))


def test_what_decoders_go_by_stays() -> None:
    """Adobe's mark says whether three components are RGB: it is no comment."""
    adobe = b"Adobe\0\x64\0\0\0\0\0"
    stream = jpeg(0xEE, adobe + SECRET)
    clean = without_comments(whole([stream]))
    assert clean is not None
    assert adobe in clean
    assert SECRET not in clean


def test_unknown_streams() -> None:
    """What is no stream that we know is not touched, and said to be so."""
    for frame in (b"\xff\x0a" + SECRET * 3, jpeg()[:60], jpeg_2000()[:90], b"\xff\xd8"):
        assert without_comments(whole([frame])) is None


def rle_frame(*segments: bytes, gap: bytes = b"") -> bytes:
    """An RLE frame (PS3.5 annex G): its header, the gap, the segments."""
    starts = [64 + len(gap) + sum(map(len, segments[:k])) for k in range(len(segments))]
    head = struct.pack("<16I", len(segments), *starts, *[0] * (15 - len(segments)))
    return head + gap + b"".join(segments)


RLE_LAYOUT = pixel_layout(
    rows=2, columns=2, bits_allocated=16, photometric="MONOCHROME2", syntax_uid=RLE
)


def test_idle_bytes_of_rle_go() -> None:
    """What is before, between, behind and beyond the segments' bytes is zeros, the rest stays."""
    plain = rle_frame(b"\xfd\5", b"\3\1\2\3\4")
    high, low = b"\xfd\5" + SECRET, b"\x80\1\1\2\x05\3\4" + SECRET[:4] + SECRET
    frame = rle_frame(high, low, gap=SECRET)
    clean = without_idle_bytes(whole([frame, plain]), RLE_LAYOUT)
    assert clean is not None
    assert len(clean) == len(whole([frame, plain]))
    assert SECRET[:3] not in clean
    first, second = generate_frames(clean, number_of_frames=2)
    cells = np.empty((2, 2), np.uint16)
    decode_rle(memoryview(first), cells, 1)
    assert cells.tolist() == [[0x501, 0x502], [0x503, 0x504]]
    assert second == plain + b"\0" * (len(plain) % 2)


@pytest.mark.parametrize(
    "frame",
    [
        b"\1\0",
        SECRET,
        rle_frame(b"\xfd\5"),
        rle_frame(b"\xfe\5", b"\3\1\2\3\4"),
        rle_frame(*[b"ab"] * 3),
    ],
)
def test_damaged_rle(frame: bytes) -> None:
    """Frames that cannot be taken apart are not touched, and said to be so."""
    assert without_idle_bytes(whole([frame + b"\0" * (len(frame) % 2)]), RLE_LAYOUT) is None


@given(st.sampled_from(STREAMS), st.data())
def test_damage(case: tuple[str, bytes], data: st.DataObject) -> None:
    """Damaged streams are cleaned or given up; nothing else is raised, nothing grows."""
    _, stream = case
    found = bytearray(stream)
    for _ in range(data.draw(st.integers(1, 8))):
        found[data.draw(st.integers(0, len(found) - 1))] = data.draw(st.integers(0, 255))
    value = whole([bytes(found)])
    clean = without_comments(value)
    assert clean is None or len(clean) == len(value)
    with pytest.raises(DicomError):
        without_comments(value[: len(value) - 9])
