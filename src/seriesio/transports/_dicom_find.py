"""C-FIND: which patients, studies, series and instances an archive has (PS3.4 section C.4.1).

Blocking, for the thread that owns the association. Every query has the unique keys of all levels
above it, as the information model asks for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from pydicom.charset import convert_encodings, decode_bytes

from ..errors import (
    AmbiguousSeriesError,
    AssociationError,
    DicomError,
    NotFoundError,
    StatusError,
    TooLargeError,
    UnsupportedByPeerError,
)
from ._dicom_association import Proposal
from ._dicom_dimse import (
    C_FIND_RQ,
    RESPONSE,
    Elements,
    decode_elements,
    encode_elements,
    find_request,
    is_failure,
    is_pending,
    status_words,
)
from ._dicom_found import FoundInstance, FoundPatient, FoundSeries, FoundStudy

if TYPE_CHECKING:
    from ._dicom_association import Association, Context
    from ._dicom_location import DicomLocation, Name

__all__ = [
    "FIND_PROPOSALS",
    "IMPLICIT",
    "Finder",
    "FoundInstance",
    "FoundPatient",
    "FoundSeries",
    "FoundStudy",
    "identifier",
    "is_uid",
]

IMPLICIT: Final = "1.2.840.10008.1.2"  # the one that every peer has (PS3.5 section 10.1)
PATIENT_ROOT: Final = "1.2.840.10008.5.1.4.1.2.1.1"
STUDY_ROOT: Final = "1.2.840.10008.5.1.4.1.2.2.1"
FIND_PROPOSALS: Final = (Proposal(STUDY_ROOT, (IMPLICIT,)), Proposal(PATIENT_ROOT, (IMPLICIT,)))

CHARACTER_SET, LEVEL = 0x00080005, 0x00080052
STUDY_DATE, STUDY_TIME, SERIES_DATE = 0x00080020, 0x00080030, 0x00080021
ACCESSION, MODALITY, MODALITIES = 0x00080050, 0x00080060, 0x00080061
SOP_CLASS, SOP_INSTANCE = 0x00080016, 0x00080018
STUDY_DESCRIPTION, SERIES_DESCRIPTION = 0x00081030, 0x0008103E
PATIENT = 0x00100020
STUDY, SERIES, SERIES_NUMBER = 0x0020000D, 0x0020000E, 0x00200011
PATIENT_STUDIES, PATIENT_SERIES, PATIENT_INSTANCES = 0x00201200, 0x00201202, 0x00201204
STUDY_SERIES, STUDY_INSTANCES, SERIES_INSTANCES = 0x00201206, 0x00201208, 0x00201209

_UIDS: Final = frozenset({SOP_CLASS, SOP_INSTANCE, STUDY, SERIES})
_UID: Final = re.compile(r"[0-9.]{1,64}")
_MOST: Final = 1_000_000  # answers to one query
_SHOWN: Final = 20  # matches in an error's text

T = TypeVar("T")


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


class Finder:
    """Queries over an association.

    Args:
        association: open, with :data:`FIND_PROPOSALS` among its contexts.

    Raises:
        UnsupportedByPeerError: the peer has neither the study root nor the patient root model.
    """

    def __init__(self, association: Association) -> None:
        self._association = association
        self._peer = str(association.peer)
        context = association.context_for(STUDY_ROOT, PATIENT_ROOT)
        if context is None:
            raise UnsupportedByPeerError(f"{self._peer}: has no C-FIND, no query is possible")
        self._context: Context = context

    @property
    def patient_root(self) -> bool:
        """The peer has no study root: all queries need a Patient ID."""
        return self._context.abstract == PATIENT_ROOT

    # --- levels ---------------------------------------------------------------------------

    def patients(self, patient: str | None) -> list[FoundPatient]:
        """The patients whose ID matches; None for all.

        An archive that has only the study root is asked for its studies.
        """
        if not self._patient_model():
            studies = self.studies(patient, None)
            return [FoundPatient(one) for one in dict.fromkeys(s.patient for s in studies)]
        counts = (PATIENT_STUDIES, PATIENT_SERIES, PATIENT_INSTANCES)
        keys = {PATIENT: _query_text(patient), **dict.fromkeys(counts, "")}
        answers = self._find("PATIENT", keys, self._association.context_for(PATIENT_ROOT))
        found = [
            FoundPatient(_text(one, PATIENT), *(_text(one, tag) for tag in counts))
            for one in answers
            if _fits(_text(one, PATIENT), patient)
        ]
        return sorted(set(found), key=lambda one: one.patient)

    def _patient_model(self) -> bool:
        return self._association.context_for(PATIENT_ROOT) is not None

    def studies(self, patient: str | None, study: Name | None) -> list[FoundStudy]:
        """The studies of the patients that match; by UID, accession number, or all."""
        if not self.patient_root or (patient and not _wild(patient)):
            return self._studies_of(patient, study)
        patients = dict.fromkeys(one.patient for one in self.patients(patient))
        return [found for one in patients for found in self._studies_of(one, study)]

    def _studies_of(self, patient: str | None, study: Name | None) -> list[FoundStudy]:
        found = self._studies_named(patient, study)
        if not found and study is not None and study.kind == "uid" and not study.wild:
            # An accession number may look like a UID.
            return self._studies_by(patient, "", study.text)
        return found

    def _studies_named(self, patient: str | None, study: Name | None) -> list[FoundStudy]:
        if study is None or study.text == "*":
            return self._studies_by(patient, "", "")
        if study.kind == "accession":
            return self._studies_by(patient, "", study.text)
        # A UID has no wildcards in a query (PS3.4 section C.2.2.2.4): matched here.
        found = self._studies_by(patient, "" if study.wild else study.text, "")
        return [one for one in found if _fits(one.uid, study.text)]

    def _studies_by(self, patient: str | None, uid: str, accession: str) -> list[FoundStudy]:
        tags = (
            *(PATIENT, ACCESSION, STUDY_DESCRIPTION, STUDY_DATE, MODALITIES),
            *(STUDY_SERIES, STUDY_INSTANCES),
        )
        wanted = {PATIENT: _query_text(patient), STUDY: uid, ACCESSION: accession}
        answers = self._find("STUDY", {**dict.fromkeys(tags, ""), **wanted})
        found = [
            FoundStudy(self._uid(one, STUDY), *(_text(one, tag) for tag in tags))
            for one in answers
            if _fits(_text(one, PATIENT), patient) and _fits(_text(one, ACCESSION), accession)
        ]
        return _unique([one for one in found if not uid or one.uid == uid])

    def series(self, study: FoundStudy, series: Name | None) -> list[FoundSeries]:
        """The series of a study; by UID, number, or all."""
        uid = series.text if series and series.kind == "uid" and not series.wild else ""
        number = series.text if series and series.kind == "number" and not series.wild else ""
        tags = (SERIES_DESCRIPTION, MODALITY, SERIES_DATE, SERIES_INSTANCES)
        wanted = {**self._parents(study), SERIES: uid, SERIES_NUMBER: number}
        answers = self._find("SERIES", {**dict.fromkeys(tags, ""), **wanted})
        found = [self._series_of(study, one) for one in answers]
        return _unique([one for one in found if series is None or _is_named(one, series)])

    def _parents(self, study: FoundStudy) -> dict[int, str]:
        return {STUDY: study.uid, **({PATIENT: study.patient} if self.patient_root else {})}

    def _series_of(self, study: FoundStudy, answer: Elements) -> FoundSeries:
        return FoundSeries(
            self._uid(answer, SERIES),
            study.uid,
            study.patient,
            _number(_text(answer, SERIES_NUMBER)),
            _text(answer, SERIES_DESCRIPTION),
            _text(answer, MODALITY),
            _text(answer, SERIES_DATE),
            _number(_text(answer, SERIES_INSTANCES)),
        )

    def instances(self, series: FoundSeries, uid: str | None = None) -> list[FoundInstance]:
        """The instances of a series, or the one that has the UID."""
        parents = {STUDY: series.study, SERIES: series.uid}
        if self.patient_root:
            parents[PATIENT] = series.patient
        answers = self._find("IMAGE", {**parents, SOP_INSTANCE: uid or "", SOP_CLASS: ""})
        found = [
            FoundInstance(self._uid(one, SOP_INSTANCE), _text(one, SOP_CLASS)) for one in answers
        ]
        return _unique([one for one in found if uid is None or one.uid == uid])

    # --- what a URL means -----------------------------------------------------------------

    def resolve(self, where: DicomLocation) -> list[FoundSeries]:
        """The series that a URL names.

        Raises:
            NotFoundError: there is none; names the level where the trace ends.
            AmbiguousSeriesError: an accession number or a series number without wildcards that
                several have.
            StatusError, AssociationError: the peer did not answer as it should.
        """
        studies = self.studies(where.patient, where.study)
        if not studies:
            raise NotFoundError(self._none(where, "study" if where.study else "patient"))
        found = [one for study in studies for one in self.series(study, where.series)]
        if not found:
            raise NotFoundError(self._none(where, "series"))
        if _several_studies(where, found):
            listed = [study for study in studies if study.uid in {one.study for one in found}]
            raise self._ambiguous("studies have that accession number", listed, found)
        if _several_of_a_number(where.series, found):
            raise self._ambiguous(f"series have the number {found[0].number}", found, found)
        return found

    def _none(self, where: DicomLocation, level: str) -> str:
        """Nothing was found at a level; tells UIDs and series numbers, nothing of a patient."""
        named = {"study": where.study, "series": where.series}.get(level)
        told = f" {named.text}" if named and named.kind != "accession" else ""
        by = " of that accession number" if named and named.kind == "accession" else ""
        return f"{self._peer}: has no {level}{told}{by} at this URL (level {level.upper()})"

    def _ambiguous(
        self, what: str, listed: Sequence[object], found: Sequence[FoundSeries]
    ) -> AmbiguousSeriesError:
        lines = "".join(f"\n  {one}" for one in listed[:_SHOWN])
        more = f"\n  and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
        return AmbiguousSeriesError(
            f"{self._peer}: {len(listed)} {what}:{lines}{more}\n"
            "a UID in the URL picks one; open_all opens them all by a wildcard",
            [one.summary() for one in found],
        )

    # --- the query ------------------------------------------------------------------------

    def _find(
        self, level: str, keys: Mapping[int, str], context: Context | None = None
    ) -> list[Elements]:
        """All answers to a query.

        Raises:
            StatusError: it fails.
            TooLargeError: more answers than any archive should give.
        """
        return list(self._answers(level, keys, context or self._context))

    def _answers(self, level: str, keys: Mapping[int, str], context: Context) -> Iterator[Elements]:
        association, message = self._association, self._association.next_message()
        request = find_request(message, context.abstract)
        association.send(context, request, [identifier(level, keys)])
        for count in range(_MOST + 1):
            answer = association.receive(first=count == 0)
            command = answer.command
            if command.field != C_FIND_RQ | RESPONSE or command.message != message:
                raise AssociationError(f"{self._peer}: answers a C-FIND with something else")
            if not is_pending(command.status):
                self._check(command.status, level)
                return
            yield self._decoded(answer.joined())
        raise TooLargeError(f"{self._peer}: more than {_MOST} answers to one C-FIND")

    def _check(self, status: int, level: str) -> None:
        if is_failure(status):
            told = f"C-FIND at the {level} level failed: {status_words(status, C_FIND_RQ)}"
            raise StatusError(f"{self._peer}: {told}", status)

    def _decoded(self, data: bytes) -> Elements:
        try:
            return decode_elements(data)
        except DicomError as error:
            raise DicomError(f"{self._peer}: {error}") from error

    def _uid(self, answer: Elements, tag: int) -> str:
        uid = _text(answer, tag)
        if not is_uid(uid):
            raise DicomError(f"{self._peer}: answers a C-FIND without a valid UID")
        return uid


def _text(answer: Elements, tag: int) -> str:
    """A value as text, without padding."""
    value = answer.get(tag, b"").strip(b" \0")
    if value.isascii() and b"\x1b" not in value:
        return value.decode("ascii")
    names = answer.get(CHARACTER_SET, b"").decode("ascii", "replace").strip(" \0").split("\\")
    try:
        return str(decode_bytes(value, convert_encodings(names), set()))
    except (LookupError, ValueError):  # a character set that does not exist
        return value.decode("ascii", "replace")


def _number(text: str) -> int | None:
    try:
        return int(text[:12])
    except ValueError:
        return None


def _wild(text: str) -> bool:
    return "*" in text or "?" in text


def _query_text(text: str | None) -> str:
    """A key: what matches everything is empty (PS3.4 section C.2.2.2.3)."""
    return "" if text is None or text == "*" else text


def _fits(value: str, wanted: str | None) -> bool:
    """Match a value again: some archives answer with more than was asked for."""
    if not wanted or wanted == "*":
        return True
    pattern = re.escape(wanted).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(pattern, value, re.DOTALL | re.IGNORECASE) is not None


def _is_named(series: FoundSeries, name: Name) -> bool:
    if name.kind == "uid":
        return _fits(series.uid, name.text)
    if not name.wild:
        return series.number == _number(name.text)
    return series.number is not None and _fits(str(series.number), name.text)


def _several_studies(where: DicomLocation, found: Sequence[FoundSeries]) -> bool:
    one = where.study is not None and not where.study.wild
    return one and len({series.study for series in found}) > 1


def _several_of_a_number(name: Name | None, found: Sequence[FoundSeries]) -> bool:
    """Several in one study; a wildcard for the study means that there may be several studies."""
    one = name is not None and name.kind == "number" and not name.wild
    return one and len(found) > len({series.study for series in found})


def _unique(found: Sequence[T]) -> list[T]:
    return list(dict.fromkeys(found))
