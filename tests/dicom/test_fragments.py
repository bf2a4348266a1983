"""Encapsulated pixel data: which fragments make which frame."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.encaps import encapsulate, encapsulate_extended

from seriesio.dicom.fragments import fragments, scan_items
from seriesio.dicom.pixels import PixelLayout, pixel_layout
from seriesio.errors import DicomError, SeriesIOError, TruncatedError

JPEG = "1.2.840.10008.1.2.4.70"
RLE = "1.2.840.10008.1.2.5"
DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"


def layout(frames: int, syntax_uid: str = JPEG) -> PixelLayout:
    return pixel_layout(
        rows=4,
        columns=4,
        frames=frames,
        bits_allocated=16,
        photometric="MONOCHROME2",
        syntax_uid=syntax_uid,
    )


def item(data: bytes) -> bytes:
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", len(data)) + data


def value(*parts: bytes, table: Sequence[int] = ()) -> bytes:
    offsets = struct.pack(f"<{len(table)}I", *table)
    return b"".join(item(part) for part in (offsets, *parts)) + DELIMITER


def joined(frames: list[list[memoryview]]) -> list[bytes]:
    return [b"".join(parts) for parts in frames]


@given(
    st.lists(st.binary(min_size=2, max_size=40), min_size=1, max_size=6),
    st.integers(1, 3),
)
def test_basic_offset_table(frames: list[bytes], per_frame: int) -> None:
    """Frames in several fragments come back whole with pydicom's Basic Offset Table."""
    even = [frame + b"\0" * (len(frame) % 2) for frame in frames]
    per_frame = min([per_frame, *(len(frame) // 2 for frame in even)])
    raw = encapsulate(even, fragments_per_frame=per_frame, has_bot=True) + DELIMITER
    assert joined(fragments(raw, layout(len(even)))) == even


def test_extended_offset_table() -> None:
    """Frames come back by pydicom's Extended Offset Table."""
    frames = [b"abcd", b"defghi", b"ij"]
    raw, offsets, lengths = encapsulate_extended(frames)
    got = fragments(raw + DELIMITER, layout(3), offsets, lengths)
    assert joined(got) == frames


def test_extended_lengths_leave_padding_out() -> None:
    """A frame ends where its extended length says, before its padding byte."""
    offsets, lengths = struct.pack("<2Q", 0, 12), struct.pack("<2Q", 3, 1)
    got = fragments(value(b"abc\0", b"d\0"), layout(2), offsets, lengths)
    assert joined(got) == [b"abc", b"d"]


def test_fragments_are_views() -> None:
    """Nothing is copied: fragments look at the value itself."""
    raw = value(b"ab", b"cd")
    parts = fragments(raw, layout(2))
    assert all(part.obj is raw for frame in parts for part in frame)


def test_one_fragment_for_each_frame_without_table() -> None:
    """As many fragments as frames: one each."""
    assert joined(fragments(value(b"ab", b"cd"), layout(2))) == [b"ab", b"cd"]


def test_one_frame_takes_all_fragments() -> None:
    """A single frame owns every fragment."""
    assert joined(fragments(value(b"ab", b"cd", b"ef"), layout(1))) == [b"abcdef"]


@pytest.mark.parametrize("start", [b"\xff\xd8\xff\xe0", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "])
def test_frames_begin_with_a_marker(start: bytes) -> None:
    """Without table, the first marker of JPEG, JPEG 2000 and JP2 begins a frame."""
    raw = value(start + b"aa", b"bb", start + b"cc", b"dd", b"ee", start + b"ff")
    expected = [start + b"aabb", start + b"ccddee", start + b"ff"]
    assert joined(fragments(raw, layout(3))) == expected


def test_frames_end_with_a_marker() -> None:
    """Where beginnings do not tell, the end marker (padded or not) does."""
    raw = value(b"aa", b"b\xff\xd9\0", b"cc\xff\xd9", b"dd", b"e\xff\xd9\0")
    expected = [b"aab\xff\xd9\0", b"cc\xff\xd9", b"dde\xff\xd9\0"]
    assert joined(fragments(raw, layout(3))) == expected


def test_a_delimiter_inside_of_a_fragment_is_data() -> None:
    """Items are walked by their lengths; bytes that look like a delimiter do not end them."""
    part = b"ab" + DELIMITER + b"cd"
    items = scan_items(value(part, b"ef") + b"tail")
    assert [bytes(found) for found in items.parts] == [part, b"ef"]
    assert items.end == len(value(part, b"ef"))


@pytest.mark.parametrize(
    ("raw", "frames", "uid"),
    [
        pytest.param(DELIMITER, 1, JPEG, id="no table"),
        pytest.param(b"\xfe\xff\x01\xe0" + bytes(12), 1, JPEG, id="no item"),
        pytest.param(item(b"") + b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + DELIMITER, 1, JPEG, id="-1"),
        pytest.param(value(b"ab", b"cd", table=[0, 8]), 2, JPEG, id="between items"),
        pytest.param(value(b"ab", b"cd", table=[10, 0]), 2, JPEG, id="descending"),
        pytest.param(value(b"ab", b"cd", table=[0, 0]), 2, JPEG, id="twice"),
        pytest.param(value(b"ab", b"cd", table=[10]), 1, JPEG, id="not from zero"),
        pytest.param(value(b"ab", b"cd", table=[0, 4000]), 2, JPEG, id="out of range"),
        pytest.param(value(b"ab", b"cd", table=[0]), 2, JPEG, id="too few entries"),
        pytest.param(value(b"ab", b"cd", b"ef"), 2, JPEG, id="no markers"),
        pytest.param(value(b"\xff\xd8\xff\xe0", b"a", b"\xff\xd8\xff\xe0"), 2, RLE, id="RLE"),
    ],
)
def test_tables_and_items_that_lie(raw: bytes, frames: int, uid: str) -> None:
    """What cannot be assigned without doubt is a DicomError."""
    with pytest.raises(DicomError):
        fragments(raw, layout(frames, uid))


@pytest.mark.parametrize(
    ("offsets", "lengths"),
    [
        ([0, 10], None),
        ([0, 10], [2]),
        ([0], [2, 2]),
        ([0, 10], [2, 3]),
        ([0, 10], [2, 0]),
        ([0, 2**63], [2, 2]),
        ([0, 9], [2, 2]),
    ],
)
def test_extended_tables_that_lie(offsets: list[int], lengths: list[int] | None) -> None:
    """Extended tables are held against the fragments."""
    packed = None if lengths is None else struct.pack(f"<{len(lengths)}Q", *lengths)
    raw_offsets = struct.pack(f"<{len(offsets)}Q", *offsets)
    with pytest.raises(DicomError):
        fragments(value(b"ab", b"cd"), layout(2), raw_offsets, packed)


def test_an_extended_table_needs_whole_frames() -> None:
    """PS3.3 C.7.6.3.1.8: with an Extended Offset Table each frame is one fragment."""
    offsets, lengths = struct.pack("<2Q", 0, 10), struct.pack("<2Q", 2, 2)
    with pytest.raises(DicomError, match="one fragment"):
        fragments(value(b"ab", b"cd", b"ef"), layout(2), offsets, lengths)


@pytest.mark.parametrize("cut", range(len(value(b"abcd", b"ef"))))
def test_every_cut_is_noticed(cut: int) -> None:
    """A value cut anywhere is a TruncatedError, the missing delimiter included."""
    with pytest.raises(TruncatedError):
        fragments(value(b"abcd", b"ef")[:cut], layout(2))


def test_fewer_fragments_than_frames() -> None:
    """Frames that are announced and not there are a TruncatedError with both counts."""
    with pytest.raises(TruncatedError, match=r"3 frames .* 2 fragments"):
        fragments(value(b"ab", b"cd"), layout(3))


@given(st.binary(max_size=200), st.integers(1, 4), st.binary(max_size=40))
def test_only_our_errors(noise: bytes, frames: int, table: bytes) -> None:
    """Noise in place of items or tables raises nothing but our own errors."""
    for raw in (noise, item(table) + noise, item(table) + item(noise) + DELIMITER):
        for extended in (None, table):
            try:
                found = fragments(raw, layout(frames), extended, extended)
            except SeriesIOError:
                continue
            assert len(found) == frames
