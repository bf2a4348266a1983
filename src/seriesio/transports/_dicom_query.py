"""One C-FIND: the identifier that asks, and the answers (PS3.4 section C.4.1). Blocking."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from pydicom.charset import convert_encodings, decode_bytes

from ..errors import (
    AssociationError,
    DicomError,
    StatusError,
    TooLargeError,
    UnsupportedByPeerError,
)
from ._dicom_association import Proposal
from ._dicom_dimse import C_FIND_RQ, RESPONSE, find_request
from ._dicom_elements import Elements, decode_elements, encode_elements
from ._dicom_status import is_failure, is_pending, status_words

if TYPE_CHECKING:
    from ._dicom_association import Association, Context

__all__ = [
    "ACCESSION",
    "FIND_PROPOSALS",
    "IMPLICIT",
    "MODALITIES",
    "MODALITY",
    "PATIENT",
    "PATIENT_INSTANCES",
    "PATIENT_ROOT",
    "PATIENT_SERIES",
    "PATIENT_STUDIES",
    "SERIES",
    "SERIES_DATE",
    "SERIES_DESCRIPTION",
    "SERIES_INSTANCES",
    "SERIES_NUMBER",
    "SOP_CLASS",
    "SOP_INSTANCE",
    "STUDY",
    "STUDY_DATE",
    "STUDY_DESCRIPTION",
    "STUDY_INSTANCES",
    "STUDY_SERIES",
    "Query",
    "identifier",
    "is_uid",
    "number_of",
    "text_of",
]

IMPLICIT: Final = "1.2.840.10008.1.2"  # the one that every peer has (PS3.5 section 10.1)
PATIENT_ROOT: Final = "1.2.840.10008.5.1.4.1.2.1.1"
STUDY_ROOT: Final = "1.2.840.10008.5.1.4.1.2.2.1"
FIND_PROPOSALS: Final = (Proposal(STUDY_ROOT, (IMPLICIT,)), Proposal(PATIENT_ROOT, (IMPLICIT,)))

CHARACTER_SET, LEVEL = 0x00080005, 0x00080052
STUDY_DATE, SERIES_DATE = 0x00080020, 0x00080021
ACCESSION, MODALITY, MODALITIES = 0x00080050, 0x00080060, 0x00080061
SOP_CLASS, SOP_INSTANCE = 0x00080016, 0x00080018
STUDY_DESCRIPTION, SERIES_DESCRIPTION = 0x00081030, 0x0008103E
PATIENT = 0x00100020
STUDY, SERIES, SERIES_NUMBER = 0x0020000D, 0x0020000E, 0x00200011
PATIENT_STUDIES, PATIENT_SERIES, PATIENT_INSTANCES = 0x00201200, 0x00201202, 0x00201204
STUDY_SERIES, STUDY_INSTANCES, SERIES_INSTANCES = 0x00201206, 0x00201208, 0x00201209

_UIDS: Final = frozenset({SOP_CLASS, SOP_INSTANCE, STUDY, SERIES})
# Digits and dots (PS3.5 section 9.1); but scanners put letters into some, and archives keep them.
_UID: Final = re.compile(r"[0-9A-Za-z._-]{1,64}")
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,12}")  # IS (PS3.5 table 6.2-1)
_MOST: Final = 1_000_000  # answers to one query


def is_uid(text: str) -> bool:
    """Something that can be a UID, and nothing else."""
    return _UID.fullmatch(text) is not None


def identifier(level: str, keys: Mapping[int, str]) -> bytes:
    """The identifier of a query, in Implicit VR Little Endian."""
    values = {tag: _padded(tag, text.encode()) for tag, text in keys.items()}
    if not all(text.isascii() for text in keys.values()):
        values[CHARACTER_SET] = b"ISO_IR 192"
    return encode_elements({LEVEL: _padded(LEVEL, level.encode()), **values})


def _padded(tag: int, value: bytes) -> bytes:
    return value + (b"\0" if tag in _UIDS else b" ") * (len(value) % 2)


class Query:
    """C-FIND over an association.

    Args:
        association: open, with :data:`FIND_PROPOSALS` among its contexts.

    Raises:
        UnsupportedByPeerError: the peer has neither the study root nor the patient root model.
    """

    def __init__(self, association: Association) -> None:
        self._association = association
        self.peer = str(association.peer)
        context = association.context_for(STUDY_ROOT, PATIENT_ROOT)
        if context is None:
            raise UnsupportedByPeerError(f"{self.peer}: has no C-FIND, no query is possible")
        self._context: Context = context
        self._patient_context = association.context_for(PATIENT_ROOT)

    @property
    def patient_root(self) -> bool:
        """The peer has no study root: all queries need a Patient ID."""
        return self._context.abstract == PATIENT_ROOT

    def find(self, level: str, keys: Mapping[int, str]) -> list[Elements]:
        """All answers to a query; that for patients uses the patient root.

        Raises:
            StatusError: it fails.
            TooLargeError: more answers than any archive should give.
        """
        context = self._patient_context if level == "PATIENT" else None
        return list(self._answers(level, keys, context or self._context))

    def _answers(self, level: str, keys: Mapping[int, str], context: Context) -> Iterator[Elements]:
        association, message = self._association, self._association.next_message()
        request = find_request(message, context.abstract)
        association.send(context, request, [identifier(level, keys)])
        for count in range(_MOST + 1):
            answer = association.receive(first=count == 0)
            command = answer.command
            if command.field != C_FIND_RQ | RESPONSE or command.message != message:
                raise AssociationError(f"{self.peer}: answers a C-FIND with something else")
            if not is_pending(command.status):
                self._check(command.status, level)
                return
            yield self._decoded(answer.joined())
        raise TooLargeError(f"{self.peer}: more than {_MOST} answers to one C-FIND")

    def _check(self, status: int, level: str) -> None:
        if is_failure(status):
            told = f"C-FIND at the {level} level failed: {status_words(status, C_FIND_RQ)}"
            raise StatusError(f"{self.peer}: {told}", status)

    def _decoded(self, data: bytes) -> Elements:
        try:
            return decode_elements(data)
        except DicomError as error:
            raise DicomError(f"{self.peer}: {error}") from error

    def uid_of(self, answer: Elements, tag: int) -> str:
        """The UID that an answer has to have.

        Raises:
            DicomError: it has none.
        """
        uid = text_of(answer, tag)
        if not is_uid(uid):
            raise DicomError(f"{self.peer}: answers a C-FIND without a valid UID")
        return uid


def text_of(answer: Elements, tag: int) -> str:
    """A value as text, without padding."""
    value = answer.get(tag, b"").strip(b" \0")
    if value.isascii() and b"\x1b" not in value:
        return value.decode("ascii")
    names = answer.get(CHARACTER_SET, b"").decode("ascii", "replace").strip(" \0").split("\\")
    try:
        return str(decode_bytes(value, convert_encodings(names), set()))
    except (LookupError, ValueError):  # a character set that does not exist
        return value.decode("ascii", "replace")


def number_of(text: str) -> int | None:
    """An integer as DICOM writes them, leading zeros or not; None if it is none."""
    return int(text) if _INTEGER.fullmatch(text) else None
