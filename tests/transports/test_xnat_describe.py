"""What the head of a file says of its series; pydicom writes the files."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from seriesio.blob import MemoryBlob
from seriesio.transports._xnat_describe import Described, describe

SYNTAXES = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
]
EXPECTED = Described("1.2.3", 7, "MR", "Schädel", 5)


def dataset(**values: Any) -> Dataset:
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 100"
    made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    made.SOPInstanceUID = "1.2.3.4"
    made.Modality = "MR"
    made.SeriesDescription = "Schädel"
    made.SeriesInstanceUID = "1.2.3"
    made.SeriesNumber = 7
    made.NumberOfFrames = 5
    made.Rows = 1
    for name, value in values.items():
        setattr(made, name, value)
    return made


def written(made: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    stream = io.BytesIO()
    dcmwrite(stream, made, enforce_file_format=True)
    return stream.getvalue()


WRITTEN = written(dataset())


def told(data: bytes) -> Described | None:
    return describe(MemoryBlob("name", data))


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_syntaxes(syntax: UID) -> None:
    """Every uncompressed transfer syntax, and the deflated one."""
    assert told(written(dataset(), syntax)) == EXPECTED


@pytest.mark.parametrize("syntax", SYNTAXES[:2], ids=lambda uid: uid.name)
@pytest.mark.parametrize("undefined", [False, True])
def test_sequences_before_it(syntax: UID, undefined: bool) -> None:
    """Nested sequences are stepped over, of defined and of undefined length."""
    inner = Dataset()
    inner.SeriesNumber = 99
    middle = Dataset()
    middle.ReferencedImageSequence = Sequence([inner])
    middle.is_undefined_length_sequence_item = undefined
    made = dataset(ReferencedStudySequence=Sequence([middle, inner]))
    made["ReferencedStudySequence"].is_undefined_length = undefined
    middle["ReferencedImageSequence"].is_undefined_length = undefined
    assert told(written(made, syntax)) == EXPECTED


def test_a_long_head() -> None:
    """Private elements of a megabyte before what is looked for."""
    made = dataset()
    made.add_new((0x0009, 0x0010), "LO", "US")
    made.add_new((0x0009, 0x1001), "OB", bytes(1_000_000))
    assert told(written(made)) == EXPECTED


def test_little_said() -> None:
    """What a file does not say is empty."""
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = "1.2", "1.3"
    assert told(written(made)) == Described("", None, "", "", 1)


@pytest.mark.parametrize("data", [b"", b"short", bytes(200), b"\x89PNG" + bytes(1000)])
def test_no_dicom(data: bytes) -> None:
    """Files of other kinds."""
    assert told(data) is None


@settings(deadline=None)
@given(st.integers(0, 600), st.integers(0, 600), st.integers(0, 255))
def test_damaged(cut: int, where: int, value: int) -> None:
    """Cut or changed anywhere: an answer, never another error."""
    data = bytearray(WRITTEN)
    data[where % len(data)] = value
    found = told(bytes(data[:cut]))
    assert found is None or isinstance(found, Described)
