"""Colour: YBR and palettes become RGB."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.processing import apply_color_lut, convert_color_space
from pydicom.uid import ExplicitVRLittleEndian

from seriesio.dicom.color import apply_palette, palette_table, to_rgb
from seriesio.errors import DicomError, SeriesIOError


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422"])
def test_ybr_equals_pydicom(photometric: str) -> None:
    """Every mix of a grid of YBR values gives pydicom's RGB, within rounding."""
    steps = np.array([*range(0, 256, 5)], np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 52, 3)
    got = to_rgb(grid, photometric)
    assert got.dtype == np.uint8
    difference = got.astype(int) - convert_color_space(grid, photometric, "RGB")
    assert np.abs(difference).max() <= 1


def test_ybr_of_known_colours() -> None:
    """Grey stays, and the primaries of ITU-T T.871 come back."""
    ybr = np.array([[[128, 128, 128], [76, 85, 255], [150, 44, 21], [29, 255, 107]]], np.uint8)
    expected = [[[128, 128, 128], [254, 0, 0], [0, 255, 1], [0, 0, 254]]]
    np.testing.assert_allclose(to_rgb(ybr, "YBR_FULL").astype(int), expected, atol=1)


def test_ybr_of_more_bits() -> None:
    """Cb and Cr have their middle at half of Bits Stored, and results stay within it."""
    ybr = np.array([[[2000, 2048, 2048], [4095, 2048, 4095]]], np.uint16)
    got = to_rgb(ybr, "YBR_FULL", 12)
    np.testing.assert_array_equal(got[0, 0], [2000, 2000, 2000])
    assert got.max() == 4095


@pytest.mark.parametrize("photometric", ["RGB", "YBR_RCT", "YBR_ICT"])
def test_what_is_rgb_already_is_not_copied(photometric: str) -> None:
    """RGB, and what JPEG 2000 decoding turned into RGB, is handed back itself."""
    colours = np.zeros((2, 2, 3), np.uint8)
    assert to_rgb(colours, photometric) is colours


@pytest.mark.parametrize(
    ("shape", "dtype", "photometric"),
    [
        ((2, 2), "u1", "YBR_FULL"),
        ((2, 2, 3), "i2", "YBR_FULL"),
        ((2, 2, 3), "u1", "MONOCHROME2"),
    ],
)
def test_no_colours(shape: tuple[int, ...], dtype: str, photometric: str) -> None:
    """What holds no colour cannot become RGB."""
    with pytest.raises(DicomError):
        to_rgb(np.zeros(shape, dtype), photometric)


def test_palette_of_a_real_file() -> None:
    """pydicom's palette example gives pydicom's colours."""
    path = get_testdata_file("examples_palette.dcm", download=False)
    assert isinstance(path, str)
    dataset = pydicom.dcmread(Path(path))
    names = ("Red", "Green", "Blue")
    descriptors = [dataset[f"{name}PaletteColorLookupTableDescriptor"].value for name in names]
    data = [dataset[f"{name}PaletteColorLookupTableData"].value for name in names]
    table = palette_table(descriptors, data)
    got = apply_palette(dataset.pixel_array, table, descriptors[0][1])
    expected = apply_color_lut(dataset.pixel_array, dataset)
    np.testing.assert_array_equal(got, expected)


def described(values: Sequence[int], *, bits: int = 8, entries: int | None = None) -> Dataset:
    """A pydicom dataset with a segmented palette, the same for all channels."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    raw = struct.pack(f"<{len(values)}{'B' if bits == 8 else 'H'}", *values)
    for name in ("Red", "Green", "Blue"):
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [entries, 0, bits])
        setattr(dataset, f"Segmented{name}PaletteColorLookupTableData", raw)
    return dataset


def expanded(dataset: Dataset) -> tuple[NDArray[Any], NDArray[Any]]:
    """Our table of a segmented palette, and pydicom's."""
    descriptor = list(dataset.RedPaletteColorLookupTableDescriptor)
    raw = dataset.SegmentedRedPaletteColorLookupTableData
    places = np.arange(descriptor[0], dtype=np.uint16)
    ours = palette_table([descriptor] * 3, [raw] * 3, segmented=True)
    return ours, apply_color_lut(places, dataset)


@pytest.mark.parametrize("bits", [8, 16])
def test_segmented_palette(bits: int) -> None:
    """Discrete and linear segments expand as pydicom expands them."""
    dataset = described(
        [0, 3, 10, 20, 30, 1, 7, 200, 1, 2, 200, 0, 1, 5, 1, 4, 1], bits=bits, entries=17
    )
    ours, theirs = expanded(dataset)
    assert ours.dtype == np.dtype(f"u{bits // 8}")
    np.testing.assert_array_equal(ours, theirs)


def test_indirect_segment_of_8_bits() -> None:
    """An indirect segment copies earlier segments, as with pydicom."""
    values = [0, 2, 7, 9, 1, 3, 30, 2, 2, 0, 0, 0, 0]
    ours, theirs = expanded(described(values, entries=10))
    np.testing.assert_array_equal(ours, theirs)


def test_indirect_offset_of_16_bits_counts_bytes() -> None:
    """PS3.3 C.7.9.2.3: the offset counts bytes, least significant 16 bits first."""
    values = [0, 1, 500, 0, 2, 700, 900, 2, 1, 6, 0]
    raw = struct.pack("<11H", *values)
    table = palette_table([[5, 0, 16]] * 3, [raw] * 3, segmented=True)
    np.testing.assert_array_equal(table[:, 0], [500, 700, 900, 700, 900])


def test_indices_outside_of_the_table() -> None:
    """Below the first index: the first entry; beyond the table: the last; signed ones too."""
    raw = bytes([10, 20, 30, 40])
    table = palette_table([[4, -2, 8]] * 3, [raw] * 3)
    got = apply_palette(np.array([-32768, -3, -2, -1, 1, 2, 32767], np.int16), table, -2)
    np.testing.assert_array_equal(got[:, 1], [10, 10, 10, 20, 40, 40, 40])
    assert got.dtype == np.uint8


def test_entries_of_8_bits_in_words() -> None:
    """8-bit entries may stand in 16-bit words; big endian turns bytes around."""
    plain = bytes([1, 2, 3, 4])
    expected = [1, 2, 3, 4]
    for raw, little in [
        (plain, True),
        (bytes([2, 1, 4, 3]), False),
        (struct.pack("<4H", *expected), True),
        (struct.pack(">4H", *expected), False),
    ]:
        table = palette_table([[4, 0, 8]] * 3, [raw] * 3, little=little)
        assert table.dtype == np.uint8
        np.testing.assert_array_equal(table[:, 2], expected)


def test_a_full_table() -> None:
    """0 entries mean 65536."""
    raw = np.arange(65536, dtype="<u2").tobytes()
    table = palette_table([[0, 0, 16]] * 3, [raw] * 3)
    assert table.shape == (65536, 3)
    assert table.dtype == np.uint16
    assert apply_palette(np.array([65535], np.uint16), table, 0)[0, 0] == 65535


@pytest.mark.parametrize(
    ("descriptors", "data"),
    [
        ([[4, 0, 8]] * 2, [bytes(4)] * 2),
        ([[4, 0, 8], [4, 0, 8], [5, 0, 8]], [bytes(8)] * 3),
        ([[4, 0]] * 3, [bytes(4)] * 3),
        ([[4, 0, 12]] * 3, [bytes(4)] * 3),
        ([[4, 0, 8]] * 3, [bytes(4), bytes(3), bytes(4)]),
        ([[0, 0, 16]] * 3, [bytes(4)] * 3),
    ],
)
def test_palettes_that_lie(descriptors: list[list[int]], data: list[bytes]) -> None:
    """Descriptors and data that do not agree are a DicomError."""
    with pytest.raises(DicomError):
        palette_table(descriptors, data)


@pytest.mark.parametrize(
    "values",
    [
        [],
        [0],
        [0, 9, 1],
        [1, 4, 9],
        [3, 1, 1, 1],
        [0, 1, 5, 2, 1, 0],
        [0, 1, 5, 2, 1, 200, 0, 0, 0],
        [0, 1, 5, 2, 1, 3, 0, 0, 0, 0],
        [0, 5, 1, 2, 3, 4, 5],
        [0, 1, 5, 2, 255, 0, 0, 0, 0],
    ],
)
def test_segments_that_lie(values: list[int]) -> None:
    """Segments cut short, out of range, indirect twice or without end are a DicomError."""
    with pytest.raises(DicomError):
        palette_table([[4, 0, 8]] * 3, [bytes(values)] * 3, segmented=True)


@given(st.binary(max_size=64), st.sampled_from([8, 16]), st.integers(0, 65535), st.booleans())
def test_only_our_errors(raw: bytes, bits: int, entries: int, little: bool) -> None:
    """Noise as segments raises nothing but our own errors."""
    try:
        table = palette_table([[entries, 0, bits]] * 3, [raw] * 3, segmented=True, little=little)
    except SeriesIOError:
        return
    assert len(table) == (entries or 65536)
