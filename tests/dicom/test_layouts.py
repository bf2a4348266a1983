"""Pixel layouts of many instances: the different ones, and what may not differ."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
from pydicom import Dataset

from seriesio.dicom.layouts import Layouts, pixel_layouts
from seriesio.dicom.part10 import parse_header
from seriesio.dicom.table import HeaderGroup, HeaderTable
from seriesio.errors import DataError, DicomError, InconsistentSeriesError
from seriesio.testing import phantom


def make(**attributes: object) -> bytes:
    dataset: Dataset = phantom((1, 8, 6)).datasets()[0]
    for keyword, value in attributes.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    stream = BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def layouts_of(files: Sequence[bytes]) -> Layouts:
    return pixel_layouts(HeaderTable([HeaderGroup.single(parse_header(data)) for data in files]))


def test_one_layout() -> None:
    """Equal instances have one layout, that of their Image Pixel Module."""
    layouts = layouts_of([make(), make(), make()])
    assert len(layouts.kinds) == 1
    assert layouts.codes.tolist() == [0, 0, 0]
    assert (layouts[1].rows, layouts[1].columns, layouts[1].frames) == (8, 6, 1)
    assert (layouts[1].bits_allocated, layouts[1].photometric) == (16, "MONOCHROME2")
    layouts.check()


def test_different_layouts() -> None:
    """Each instance has its own; what may differ does not make the series inconsistent."""
    files = [make(), make(BitsStored=10, HighBit=9), make(), make(BitsStored=10, HighBit=9)]
    layouts = layouts_of(files)
    assert [layouts[k].bits_stored for k in range(4)] == [12, 10, 12, 10]
    assert len(layouts.kinds) == 2
    layouts.check()


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({"Rows": 9}, r'Rows: 8, 9; select=\{"Rows": 8\} picks some of them$'),
        ({"Columns": 7}, "Columns: 6, 7"),
        ({"BitsAllocated": 32, "BitsStored": 12}, "BitsAllocated: 16, 32"),
        ({"PixelRepresentation": 1}, "PixelRepresentation"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "PhotometricInterpretation"),
    ],
)
def test_inconsistent(attributes: dict[str, object], text: str) -> None:
    """What must be equal in a series and is not, is named with its values."""
    with pytest.raises(InconsistentSeriesError, match=text):
        layouts_of([make(), make(**attributes)]).check()


@pytest.mark.parametrize("keyword", ["Rows", "Columns", "Bits ?Allocated"])
def test_missing(keyword: str) -> None:
    """What no picture can do without is named."""
    with pytest.raises(DicomError, match=keyword):
        layouts_of([make(**{keyword.replace(" ?", ""): None})])


def with_raw(tag: int, value: bytes) -> bytes:
    """The first instance with other bytes as one element's value."""
    data = make(NumberOfFrames=1)
    header = parse_header(data)
    place = header.layout.lookup[tag]
    start, offset = int(header.starts[place]), int(header.offsets[place])
    head = data[start : offset - 2] + len(value).to_bytes(2, "little")
    return data[:start] + head + value + data[offset + int(header.lengths[place]) :]


@pytest.mark.parametrize("value", [b"many", b"1.5 ", b"nan ", b"1\\x "])
def test_no_number_of_frames(value: bytes) -> None:
    """A Number of Frames that is no whole number is refused, not taken for 1."""
    with pytest.raises(DicomError, match="NumberOfFrames is no whole number"):
        layouts_of([with_raw(0x00280008, value)])


@pytest.mark.parametrize("tag", [0x00280010, 0x00280100, 0x00280103, 0x00280002])
@pytest.mark.parametrize("value", [b"", b"x", b"\0\0", b"\xff\xff", b"\xff" * 8])
def test_any_bytes(tag: int, value: bytes) -> None:
    """Whatever stands in the Image Pixel Module: a layout or an error of ours."""
    with suppress(DataError):
        layouts_of([with_raw(tag, value)]).check()


def test_no_pixels() -> None:
    """An instance without pixel data has no layout."""
    data = make()
    header = parse_header(data)
    with pytest.raises(DicomError, match="no pixel data"):
        layouts_of([data[: int(header.starts[-1])]])


def test_many_kinds() -> None:
    """Instances and their layouts belong together, in any order."""
    stored = np.random.default_rng(0).integers(8, 17, 40).tolist()
    files = {bits: make(BitsStored=bits, HighBit=bits - 1) for bits in set(stored)}
    layouts = layouts_of([files[bits] for bits in stored])
    assert [layouts[k].bits_stored for k in range(len(stored))] == stored
    assert len(layouts.kinds) == len(files)
