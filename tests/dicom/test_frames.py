"""Frames of instances: functional groups over plain attributes, judged by pydicom."""

from __future__ import annotations

import tracemalloc
from io import BytesIO

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from seriesio.dicom.frames import FrameTable
from seriesio.dicom.part10 import parse_header
from seriesio.dicom.table import HeaderGroup, HeaderTable
from seriesio.errors import DicomError, TooLargeError
from seriesio.testing import phantom


def frames_of(*files: bytes) -> FrameTable:
    return FrameTable(HeaderTable([HeaderGroup.single(parse_header(data)) for data in files]))


def saved(dataset: Dataset) -> bytes:
    stream = BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def enhanced(syntax: str = "1.2.840.10008.1.2.1") -> Dataset:
    return phantom((4, 8, 8), enhanced=True, transfer_syntax=syntax, shuffle=3).datasets()[0]


@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"]
)
def test_positions(syntax: str) -> None:
    """Each frame has the position and orientation of its functional groups."""
    dataset = enhanced(syntax)
    frames = frames_of(saved(dataset))
    groups = dataset.PerFrameFunctionalGroupsSequence
    expected = [item.PlanePositionSequence[0].ImagePositionPatient for item in groups]
    assert frames.numbers("ImagePositionPatient", 3).tolist() == [
        list(map(float, e)) for e in expected
    ]
    indices = [item.FrameContentSequence[0].DimensionIndexValues for item in groups]
    count = len(np.atleast_1d(indices[0]))
    assert frames.numbers("DimensionIndexValues", count).tolist() == [
        list(map(float, np.atleast_1d(index))) for index in indices
    ]
    assert (frames.instance.tolist(), frames.number.tolist()) == ([0] * 4, [0, 1, 2, 3])
    assert frames.multiframe


def test_plain_and_enhanced() -> None:
    """Instances with functional groups and without stand side by side."""
    plain = next(iter(phantom((1, 8, 8)).files().values()))
    frames = frames_of(plain, saved(enhanced()), plain)
    assert frames.instance.tolist() == [0, 1, 1, 1, 1, 2]
    assert frames.number.tolist() == [0, 0, 1, 2, 3, 0]
    positions = frames.numbers("ImagePositionPatient", 3)
    own = dcmread(BytesIO(plain)).ImagePositionPatient
    assert positions[0].tolist() == positions[5].tolist() == list(map(float, own))
    part = frames.subset(np.array([5, 2], np.intp))
    assert (len(part), part.instance.tolist(), part.number.tolist()) == (2, [2, 1], [0, 1])
    assert part.numbers("ImagePositionPatient", 3).tolist() == positions[[5, 2]].tolist()
    texts, codes = part.texts("SOPInstanceUID")
    assert texts[codes[0]] == str(dcmread(BytesIO(plain)).SOPInstanceUID)


def test_plain_multiframe() -> None:
    """Frames without functional groups share their instance's attributes."""
    made = phantom((3, 8, 8), multiframe=True)
    frames = frames_of(next(iter(made.files().values())))
    assert (len(frames), frames.multiframe) == (3, True)
    assert frames.numbers("Rows")[:, 0].tolist() == [8, 8, 8]


def test_per_frame_goes_before_shared() -> None:
    """What a frame says itself goes before what all share."""
    dataset = enhanced()
    measures = Dataset()
    measures.PixelSpacing = [7, 8]
    item = dataset.PerFrameFunctionalGroupsSequence[1]
    item.PixelMeasuresSequence = [measures]
    shared = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    found = frames_of(saved(dataset)).numbers("PixelSpacing", 2).tolist()
    assert found[1] == [7, 8]
    assert found[0] == found[2] == list(map(float, shared))


def test_sequences_of_unknown_vr() -> None:
    """Functional groups that somebody has written as UN are read all the same."""
    dataset = enhanced("1.2.840.10008.1.2")
    expected = frames_of(saved(dataset)).numbers("ImagePositionPatient", 3)
    header = parse_header(saved(dataset))
    value = bytes(header.raw(0x52009230) or b"")
    hidden = enhanced()
    del hidden.PerFrameFunctionalGroupsSequence
    data = saved(hidden)
    start = int(parse_header(data).starts[-1])
    element = b"\x00\x52\x30\x92UN\0\0" + len(value).to_bytes(4, "little") + value
    found = frames_of(data[:start] + element + data[start:])
    assert found.numbers("ImagePositionPatient", 3).tolist() == expected.tolist()


def with_frames(text: str) -> bytes:
    data = next(iter(phantom((1, 8, 8)).files().values()))
    header = parse_header(data)
    start = int(header.starts[header.layout.lookup[0x00280010]])
    value = text.encode() + b" " * (len(text) % 2)
    element = b"\x28\0\x08\0IS" + len(value).to_bytes(2, "little") + value
    return data[:start] + element + data[start:]


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "1\\x", "nan"])
def test_bad_number_of_frames(text: str) -> None:
    """A Number of Frames that is none is an error of ours."""
    with pytest.raises(DicomError, match="NumberOfFrames"):
        frames_of(with_frames(text))


@pytest.mark.parametrize("text", ["99999999", "1e300"])
def test_too_many_frames(text: str) -> None:
    """More frames than the limit are refused."""
    with pytest.raises(TooLargeError, match="frames are more than"):
        frames_of(with_frames(text))


@pytest.mark.parametrize("text", ["", "1"])
def test_one_frame(text: str) -> None:
    """An empty Number of Frames is one frame."""
    assert len(frames_of(with_frames(text))) == 1


def test_frames_and_items_differ() -> None:
    """As many items as frames, or an error that says both numbers."""
    dataset = enhanced()
    del dataset.PerFrameFunctionalGroupsSequence[-1]
    with pytest.raises(DicomError, match=r"NumberOfFrames is 4, .* have 3 items"):
        frames_of(saved(dataset))


def test_lie_without_items() -> None:
    """A great Number of Frames without items of their own costs no dictionary each."""
    dataset = enhanced()
    del dataset.PerFrameFunctionalGroupsSequence
    dataset.NumberOfFrames = 300_000
    data = saved(dataset)
    tracemalloc.start()
    try:
        frames = frames_of(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(frames) == 300_000
    assert peak < 50 << 20
