"""Native pixel data: layouts, frames, and finishing in place."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.pixels.utils import pack_bits, pixel_array

from seriesio.dicom.pixels import (
    PixelLayout,
    finish_in_place,
    native_frame,
    pixel_layout,
)
from seriesio.errors import DicomError, TruncatedError

EXPLICIT = "1.2.840.10008.1.2.1"
BIG = "1.2.840.10008.1.2.2"


def layout(**changes: Any) -> PixelLayout:
    values: dict[str, Any] = {
        "rows": 3,
        "columns": 4,
        "bits_allocated": 16,
        "photometric": "MONOCHROME2",
        "syntax_uid": EXPLICIT,
    }
    return pixel_layout(**(values | changes))


def layout_of(dataset: pydicom.Dataset) -> PixelLayout:
    return pixel_layout(
        rows=dataset.Rows,
        columns=dataset.Columns,
        frames=dataset.get("NumberOfFrames"),
        samples=dataset.SamplesPerPixel,
        planar_configuration=dataset.get("PlanarConfiguration"),
        bits_allocated=dataset.BitsAllocated,
        bits_stored=dataset.BitsStored,
        high_bit=dataset.HighBit,
        pixel_representation=dataset.PixelRepresentation,
        photometric=dataset.PhotometricInterpretation,
        syntax_uid=str(dataset.file_meta.TransferSyntaxUID),
    )


def dataset_of(name: str) -> pydicom.Dataset:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(Path(path))


NATIVE_FILES = [
    "CT_small.dcm",
    "ExplVR_BigEnd.dcm",
    "MR_small.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_expb.dcm",
    "MR_small_implicit.dcm",
    "MR_small_padded.dcm",
    "SC_rgb_small_odd.dcm",
    "SC_rgb_small_odd_big_endian.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "examples_overlay.dcm",
    "examples_palette.dcm",
    "examples_rgb_color.dcm",
    "image_dfl.dcm",
    "liver_1frame.dcm",
    "liver_expb_1frame.dcm",
    "rtdose.dcm",
    "rtdose_1frame.dcm",
    "rtdose_expb.dcm",
]


@pytest.mark.parametrize("name", NATIVE_FILES)
def test_native_frames_equal_pydicom(name: str) -> None:
    """Every native file that pydicom ships gives the stored values that pydicom gives."""
    dataset = dataset_of(name)
    got = layout_of(dataset)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # padding that pydicom finds unusual
        expected = pixel_array(dataset, raw=True).reshape((got.frames, *got.shape))
    words = dataset["PixelData"].VR == "OW"
    little = dataset.file_meta.TransferSyntaxUID.is_little_endian
    for frame in range(got.frames):
        cells = native_frame(dataset.PixelData, got, frame, little, words=words)
        assert cells.dtype == got.stored_dtype
        np.testing.assert_array_equal(cells, expected[frame])


@pytest.mark.parametrize("little", [True, False])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", [8, 16, 32])
def test_integer_cells_of_any_width_and_order(bits: int, signed: bool, little: bool) -> None:
    """8, 16 and 32 bits, signed and unsigned, in both byte orders come back as they were."""
    cells = np.array([[0, 1, 2, 3], [4, 5, 6, 7], [127, -1, -2, -128]], np.int64)
    values = cells if signed else cells & ((1 << bits) - 1)
    dtype = np.dtype(f"{'<' if little else '>'}{'i' if signed else 'u'}{bits // 8}")
    raw = values.astype(dtype).tobytes()
    got = native_frame(
        raw, layout(bits_allocated=bits, pixel_representation=int(signed)), 0, little
    )
    np.testing.assert_array_equal(got.astype(np.int64), values)


@pytest.mark.parametrize(("kind", "bits", "code"), [("float", 32, "f4"), ("double", 64, "f8")])
@pytest.mark.parametrize("little", [True, False])
def test_float_cells(kind: str, bits: int, code: str, little: bool) -> None:
    """Float and double pixel data keep every bit of every value, NaN and infinity too."""
    values = np.array([[1.5, -2.25, np.inf, np.nan]] * 3)
    raw = values.astype(("<" if little else ">") + code).tobytes()
    floats = layout(bits_allocated=bits, kind=kind, photometric=None)
    np.testing.assert_array_equal(native_frame(raw, floats, 0, little), values.astype(code))


@given(st.data())
def test_bits_outside_of_bits_stored_are_dropped(data: st.DataObject) -> None:
    """Junk around Bits Stored, at any High Bit, never shows, and the sign is extended."""
    stored = data.draw(st.integers(1, 16))
    high = data.draw(st.integers(stored - 1, 15))
    signed = data.draw(st.booleans())
    words = data.draw(st.lists(st.integers(0, 0xFFFF), min_size=12, max_size=12))
    shape = layout(bits_stored=stored, high_bit=high, pixel_representation=int(signed))

    def value(word: int) -> int:
        bits = f"{word:016b}"[15 - high : 15 - high + stored]
        return int(bits, 2) - (int(bits[0]) << stored if signed else 0)

    raw = np.array(words, "<u2").tobytes()
    expected = np.array([value(word) for word in words]).reshape(3, 4)
    np.testing.assert_array_equal(native_frame(raw, shape, 0, True), expected)
    slot = np.frombuffer(bytearray(raw), shape.stored_dtype).reshape(3, 4)
    altered = finish_in_place(slot, shape, True)
    np.testing.assert_array_equal(slot, expected)
    assert altered or slot.tobytes() == raw


def test_one_bit_frames_that_share_a_byte() -> None:
    """1-bit frames of 9 pixels follow each other without a gap, as pydicom packs them."""
    bits = np.random.default_rng(1).integers(0, 2, (5, 3, 3), dtype=np.uint8)
    raw = pack_bits(bits.reshape(-1))
    shape = layout(columns=3, bits_allocated=1, frames=5)
    assert (shape.frame_bits, shape.frame_bytes, shape.native_length) == (9, 2, 6)
    got = [native_frame(raw, shape, frame, True) for frame in range(5)]
    np.testing.assert_array_equal(got, bits)


def test_bytes_in_big_endian_words() -> None:
    """8-bit frames of odd size in big endian OW: words lie across frames (PS3.5 annex D)."""
    values = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    raw = np.frombuffer(values.tobytes(), ">u2").astype("<u2").tobytes()
    shape = layout(columns=3, bits_allocated=8, frames=2, syntax_uid=BIG)
    got = [native_frame(raw, shape, frame, False, words=True) for frame in range(2)]
    np.testing.assert_array_equal(got, values)


@pytest.mark.parametrize("bits", [8, 16])
def test_planes_and_pixels_give_the_same_colours(bits: int) -> None:
    """Planar Configuration 0 and 1 give (rows, columns, samples) alike."""
    colours = np.random.default_rng(2).integers(0, 1 << bits, (2, 3, 4, 3)).astype(f"<u{bits // 8}")
    planes = np.ascontiguousarray(np.moveaxis(colours, -1, 1))
    for planar, raw in ((0, colours.tobytes()), (1, planes.tobytes())):
        shape = layout(
            bits_allocated=bits,
            photometric="RGB",
            samples=3,
            frames=2,
            planar_configuration=planar,
        )
        assert shape.direct is (planar == 0)
        np.testing.assert_array_equal(native_frame(raw, shape, 1, True), colours[1])


def test_chroma_of_two_pixels() -> None:
    """Native YBR_FULL_422 stores Y1 Y2 Cb Cr and takes two bytes for a pixel."""
    shape = layout(
        rows=1, columns=4, bits_allocated=8, photometric="YBR_FULL_422", samples=3, frames=2
    )
    assert (shape.frame_bytes, shape.native_length, shape.direct) == (8, 16, False)
    raw = bytes(range(16))
    expected = [[[8, 10, 11], [9, 10, 11], [12, 14, 15], [13, 14, 15]]]
    np.testing.assert_array_equal(native_frame(raw, shape, 1, True), expected)


@pytest.mark.parametrize("little", [True, False])
def test_finishing_in_place_tells_whether_the_bytes_can_be_had_back(little: bool) -> None:
    """Byte swapping alone is no alteration; a masked overlay bit or an extended sign is."""
    order = "<u2" if little else ">u2"
    for words, signed, altered, expected in [
        ([0, 1, 0x0FFF, 5], 0, False, [0, 1, 0x0FFF, 5]),
        ([0, 1, 0x1FFF, 5], 0, True, [0, 1, 0x0FFF, 5]),
        ([0, 0xF800, 0x07FF, 5], 1, False, [0, -2048, 2047, 5]),
        ([0, 0x0FFF, 1, 5], 1, True, [0, -1, 1, 5]),
    ]:
        shape = layout(rows=1, bits_stored=12, pixel_representation=signed)
        raw = bytearray(np.array(words, order).tobytes())
        slot = np.frombuffer(raw, shape.stored_dtype).reshape(1, 4)
        assert finish_in_place(slot, shape, little) is altered
        np.testing.assert_array_equal(slot, [expected])


def test_lengths_of_a_layout() -> None:
    """Lengths follow from rows, columns, samples, bits and frames."""
    shape = layout(rows=5, columns=7, bits_allocated=8, photometric="RGB", samples=3, frames=3)
    assert (shape.frame_pixels, shape.frame_bits, shape.frame_bytes) == (35, 840, 105)
    assert (shape.native_length, shape.shape) == (315, (5, 7, 3))
    assert shape.frame_span(2) == (210, 315)
    assert shape.dtype_for(False) == np.dtype("u1")
    assert layout().dtype_for(False) == np.dtype(">u2")


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": 0},
        {"rows": None},
        {"rows": "3"},
        {"columns": 0},
        {"columns": 65536},
        {"frames": 0},
        {"frames": 2**31},
        {"bits_allocated": 12},
        {"bits_allocated": 64},
        {"bits_allocated": None},
        {"bits_stored": 17},
        {"bits_stored": 0},
        {"bits_stored": 12, "high_bit": 10},
        {"high_bit": 16},
        {"pixel_representation": 2},
        {"bits_allocated": 1, "pixel_representation": 1},
        {"photometric": None},
        {"photometric": "CMYK"},
        {"photometric": "RGB"},
        {"samples": 3},
        {"photometric": "RGB", "samples": 3, "bits_allocated": 1},
        {"photometric": "RGB", "samples": 3, "planar_configuration": 2},
        {"photometric": "RGB", "samples": 3, "bits_allocated": 32, "kind": "float"},
        {"photometric": "YBR_FULL_422", "samples": 3, "bits_allocated": 8, "columns": 3},
        {"kind": "float"},
        {"kind": "complex"},
    ],
)
def test_nonsense_is_refused(changes: dict[str, Any]) -> None:
    """What is absent, absurd or contradictory is a DicomError, before any pixel is touched."""
    with pytest.raises(DicomError):
        layout(**changes)


def test_a_layout_is_a_value() -> None:
    """Layouts are equal by value, hashable, and cannot be changed."""
    assert layout() == layout()
    assert len({layout(), layout(), layout(rows=4)}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        layout().rows = 5  # type: ignore[misc]


@pytest.mark.parametrize("frame", [-1, 2])
def test_no_such_frame(frame: int) -> None:
    """A frame that is not there is a DicomError."""
    with pytest.raises(DicomError, match="Number of Frames is 2"):
        native_frame(bytes(48), layout(frames=2), frame, True)


@pytest.mark.parametrize("words", [True, False])
def test_short_pixel_data_say_how_many_bytes_are_missing(words: bool) -> None:
    """A value that ends early is a TruncatedError with the count."""
    with pytest.raises(TruncatedError, match="3 bytes short"):
        native_frame(bytes(21), layout(), 0, True, words=words)
    odd = layout(columns=3, bits_allocated=8, syntax_uid=BIG)
    with pytest.raises(TruncatedError, match="1 byte short"):
        native_frame(bytes(9), odd, 0, False, words=True)
