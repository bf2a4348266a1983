"""Compressed frames lose their comments, and not a pixel; oracles: imagecodecs and pydicom."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.encaps import encapsulate, generate_frames

from seriesio.dicom.comments import without_comments
from seriesio.errors import DicomError

imagecodecs: Any = pytest.importorskip("imagecodecs")

SECRET = b"Geheimrat^Anna"
JPEG, JPEG_LS, JPEG_2000 = (f"1.2.840.10008.1.2.4.{tail}" for tail in ("50", "80", "90"))
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
    clean = without_comments(value + b"behind it", syntax)
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
    clean = without_comments(whole([stream]), JPEG)
    assert clean is not None
    assert adobe in clean
    assert SECRET not in clean


def test_unknown_streams() -> None:
    """What is no stream that we know is not touched, and said to be so."""
    for frame in (b"\xff\x0a" + SECRET * 3, jpeg()[:60], jpeg_2000()[:90], b"\xff\xd8"):
        assert without_comments(whole([frame]), JPEG) is None
    rle = b"\1\0\0\0\x40" + bytes(59) + b"\0\7"
    assert without_comments(whole([rle]), "1.2.840.10008.1.2.5") == whole([rle])


@given(st.sampled_from(STREAMS), st.data())
def test_damage(case: tuple[str, bytes], data: st.DataObject) -> None:
    """Damaged streams are cleaned or given up; nothing else is raised, nothing grows."""
    syntax, stream = case
    found = bytearray(stream)
    for _ in range(data.draw(st.integers(1, 8))):
        found[data.draw(st.integers(0, len(found) - 1))] = data.draw(st.integers(0, 255))
    value = whole([bytes(found)])
    clean = without_comments(value, syntax)
    assert clean is None or len(clean) == len(value)
    with pytest.raises(DicomError):
        without_comments(value[: len(value) - 9], syntax)
