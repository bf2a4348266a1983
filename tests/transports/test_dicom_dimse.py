"""Command sets and identifiers: as pydicom reads and writes them; malformed ones are refused."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pynetdicom.status import GENERAL_STATUS, QR_GET_SERVICE_CLASS_STATUS, code_to_category

from seriesio.errors import DicomError
from seriesio.transports import _dicom_dimse as dimse
from seriesio.transports._dicom_dimse import decode_command
from seriesio.transports._dicom_elements import decode_elements, encode_elements
from seriesio.transports._dicom_status import is_failure, is_pending, is_warning, status_words

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
CT = "1.2.840.10008.5.1.4.1.1.2"


def read(command: bytes) -> Dataset:
    """A command set as pydicom reads it; its group length is held against its length."""
    dataset = read_dataset(BytesIO(command), is_implicit_VR=True, is_little_endian=True)
    assert dataset.CommandGroupLength == len(command) - 12
    return dataset


def written(dataset: Dataset) -> bytes:
    """A data set in Implicit VR Little Endian as pydicom writes it."""
    buffer = DicomBytesIO()
    buffer.is_little_endian = buffer.is_implicit_VR = True
    write_dataset(buffer, dataset)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("command", "field", "expected"),
    [
        (dimse.echo_request(7), 0x30, {"AffectedSOPClassUID": "1.2.840.10008.1.1"}),
        (dimse.find_request(7, FIND), 0x20, {"AffectedSOPClassUID": FIND, "Priority": 0}),
        (dimse.get_request(7, FIND), 0x10, {"AffectedSOPClassUID": FIND}),
        (dimse.move_request(7, FIND, "ODD"), 0x21, {"MoveDestination": "ODD"}),
        (dimse.store_request(7, CT, "1.2.3"), 0x01, {"AffectedSOPInstanceUID": "1.2.3"}),
    ],
)
def test_requests(command: bytes, field: int, expected: dict[str, object]) -> None:
    """Requests are what the standard says: pydicom reads every element back."""
    dataset = read(command)
    assert dataset.CommandField == field
    assert dataset.MessageID == 7
    assert (dataset.CommandDataSetType == 0x0101) == (field == 0x30)
    assert {name: getattr(dataset, name) for name in expected} == expected
    assert [element.tag for element in dataset] == sorted(element.tag for element in dataset)


def test_responses() -> None:
    """Responses name the message that they answer."""
    stored = read(dimse.store_response(9, CT, "1.2.3", 0xA700))
    assert (stored.CommandField, stored.MessageIDBeingRespondedTo) == (0x8001, 9)
    assert (stored.Status, stored.AffectedSOPInstanceUID) == (0xA700, "1.2.3")
    assert read(dimse.echo_response(9)).Status == 0
    assert read(dimse.cancel_request(9)).MessageIDBeingRespondedTo == 9


def test_decode() -> None:
    """What pydicom has written is read; sub-operations that are not told are None."""
    dataset = Dataset()
    dataset.AffectedSOPClassUID = FIND
    dataset.CommandField, dataset.MessageIDBeingRespondedTo = 0x8010, 3
    dataset.CommandDataSetType, dataset.Status = 0x0101, 0xB000
    dataset.NumberOfFailedSuboperations = 2
    command = decode_command(written(dataset))
    assert (command.field, command.message, command.status) == (0x8010, 3, 0xB000)
    assert (command.sop_class, command.has_dataset) == (FIND, False)
    assert (command.failed, command.completed) == (2, None)


def test_sequences_are_passed_over() -> None:
    """Elements behind sequences, of defined and of undefined length, are found."""
    inner = Dataset()
    inner.PatientID = "inner"
    for undefined in (False, True):
        dataset = Dataset()
        dataset.ReferencedStudySequence = [inner, inner]
        dataset.StudyID = "behind"
        dataset["ReferencedStudySequence"].is_undefined_length = undefined
        inner.is_undefined_length_sequence_item = undefined
        assert decode_elements(written(dataset))[0x00200010].strip() == b"behind"


@pytest.mark.parametrize(
    "data",
    [
        b"\x08\0",
        b"\x08\0\x05\0\x10\0\0\0short",
        b"\x08\0\x05\0\xff\xff\xff\xff",
        b"\x08\0\x15\x11\xff\xff\xff\xff" * 100,
        b"",
        encode_elements({0x00000100: b"\x30\x80", 0x00000120: b"\1\0", 0x00000800: b"\1\1"}),
    ],
)
def test_malformed(data: bytes) -> None:
    """A command set that is cut, too deep, or lacks what it must have is an error."""
    with pytest.raises(DicomError):
        decode_command(data)


@given(st.binary(max_size=100))
def test_hostile_bytes(data: bytes) -> None:
    """Any bytes are a command set or our error."""
    with suppress(DicomError):
        decode_command(data)


def test_unprintable_uids_come_back() -> None:
    """A UID of any bytes is answered, not tripped over."""
    assert dimse.store_response(1, "\ufffd", "\ufffd", 0)


def test_categories() -> None:
    """Statuses count as what pynetdicom's tables of the standard say."""
    for status in {**GENERAL_STATUS, **QR_GET_SERVICE_CLASS_STATUS}:
        category = code_to_category(status)
        assert is_warning(status) == (category == "Warning"), hex(status)
        assert is_pending(status) == (category == "Pending"), hex(status)
        assert is_failure(status) == (category in ("Failure", "Cancel")), hex(status)


def test_words() -> None:
    """A status is told as a number and in words that fit the service."""
    assert status_words(0xA700) == "0xA700 (refused: out of resources)"
    assert status_words(0xA801).endswith("(refused: the move destination is unknown to the peer)")
    assert "coerced" in status_words(0xB000, dimse.C_STORE_RQ)
    assert "sub-operations" in status_words(0xB000, dimse.C_GET_RQ)
    assert "cannot understand" in status_words(0xC123)
    assert "no service knows" in status_words(0x1234)
