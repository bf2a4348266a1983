"""Which patients, studies, series and instances an archive has (PS3.4 section C.6).

Blocking, for the thread that owns the association. Every query has the unique keys of all levels
above it, as the information model asks for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _dicom_query as tags
from ._dicom_found import FoundInstance, FoundPatient, FoundSeries, FoundStudy
from ._dicom_pattern import is_wild, key_of, literal, loose_key_of, matches
from ._dicom_query import Query, number_of, text_of

if TYPE_CHECKING:
    from ._dicom_elements import Elements
    from ._dicom_location import Name

__all__ = ["Finder"]


class Finder(Query):
    """Queries over an association, level by level.

    What a peer answers is matched again: some archives answer with more than was asked for, and
    not all that a URL can say can be said in a query.
    """

    def patients(self, patient: str | None) -> list[FoundPatient]:
        """The patients whose ID matches a pattern; None for all.

        An archive that has only the study root is asked for its studies.
        """
        if self._patient_context is None:
            studies = self.studies(patient, None)
            return [FoundPatient(one) for one in dict.fromkeys(s.patient for s in studies)]
        for key in _keys_of(patient):
            if found := self._patients_by(key, patient):
                return found
        return []

    def _patients_by(self, key: str, patient: str | None) -> list[FoundPatient]:
        counts = (tags.PATIENT_STUDIES, tags.PATIENT_SERIES, tags.PATIENT_INSTANCES)
        answers = self.find("PATIENT", {tags.PATIENT: key, **dict.fromkeys(counts, "")})
        found = {
            FoundPatient(text_of(one, tags.PATIENT), *(text_of(one, tag) for tag in counts))
            for one in answers
            if matches(text_of(one, tags.PATIENT), patient)
        }
        return sorted(found, key=lambda one: one.patient)

    def studies(self, patient: str | None, study: Name | None) -> list[FoundStudy]:
        """The studies of the patients that match; by UID, accession number, or all."""
        if not self.patient_root or _is_value(patient):
            return self._studies_of(patient, study)
        patients = dict.fromkeys(one.patient for one in self.patients(patient))
        return [found for one in patients for found in self._studies_of(literal(one), study)]

    def _studies_of(self, patient: str | None, study: Name | None) -> list[FoundStudy]:
        keys = (key_of(patient),) if self.patient_root else _keys_of(patient)
        for key in keys:
            if found := self._studies_named(key, patient, study):
                return found
        return []

    def _studies_named(self, key: str, patient: str | None, study: Name | None) -> list[FoundStudy]:
        """Those of patients that a key finds."""
        if study is None or study.text == "*":
            return self._studies_by(key, patient, "", None)
        if study.kind == "uid":
            # A UID has no wildcards in a query (PS3.4 section C.2.2.2.4): matched here.
            found = self._studies_by(key, patient, "" if study.wild else study.text, None)
            if some := [one for one in found if matches(one.uid, study.text)]:
                return some
        # An accession number may look like a UID.
        return self._studies_by(key, patient, "", study.text)

    def _studies_by(
        self, key: str, patient: str | None, uid: str, accession: str | None
    ) -> list[FoundStudy]:
        told = (
            *(tags.PATIENT, tags.ACCESSION, tags.STUDY_DESCRIPTION, tags.STUDY_DATE),
            *(tags.MODALITIES, tags.STUDY_SERIES, tags.STUDY_INSTANCES),
        )
        wanted = {tags.PATIENT: key, tags.STUDY: uid, tags.ACCESSION: loose_key_of(accession)}
        answers = self.find("STUDY", {**dict.fromkeys(told, ""), **wanted})
        found = [
            FoundStudy(self.uid_of(one, tags.STUDY), *(text_of(one, tag) for tag in told))
            for one in answers
            if matches(text_of(one, tags.PATIENT), patient)
            and matches(text_of(one, tags.ACCESSION), accession)
        ]
        return list(dict.fromkeys(one for one in found if not uid or one.uid == uid))

    def series(self, study: FoundStudy, series: Name | None) -> list[FoundSeries]:
        """The series of a study; by UID, number, or all."""
        uid = series.text if series and series.kind == "uid" and not series.wild else ""
        told = (
            *(tags.SERIES_DESCRIPTION, tags.MODALITY, tags.SERIES_DATE, tags.SERIES_INSTANCES),
            # Matched here: "7" is the number "007", and not all archives know that.
            tags.SERIES_NUMBER,
        )
        wanted = {**self._parents(study), tags.SERIES: uid}
        answers = self.find("SERIES", {**dict.fromkeys(told, ""), **wanted})
        found = [self._series_of(study, one) for one in answers]
        some = [one for one in found if series is None or _is_named(one, series)]
        return list(dict.fromkeys(some))

    def _parents(self, study: FoundStudy) -> dict[int, str]:
        parents = {tags.STUDY: study.uid}
        return {**parents, tags.PATIENT: study.patient} if self.patient_root else parents

    def _series_of(self, study: FoundStudy, answer: Elements) -> FoundSeries:
        return FoundSeries(
            self.uid_of(answer, tags.SERIES),
            study.uid,
            study.patient,
            number_of(text_of(answer, tags.SERIES_NUMBER)),
            text_of(answer, tags.SERIES_DESCRIPTION),
            text_of(answer, tags.MODALITY),
            text_of(answer, tags.SERIES_DATE),
            number_of(text_of(answer, tags.SERIES_INSTANCES)),
        )

    def instances(self, series: FoundSeries, uid: str | None = None) -> list[FoundInstance]:
        """The instances of a series, or the one that has the UID."""
        parents = {tags.STUDY: series.study, tags.SERIES: series.uid}
        if self.patient_root:
            parents[tags.PATIENT] = series.patient
        wanted = {**parents, tags.SOP_INSTANCE: uid or "", tags.SOP_CLASS: ""}
        found = [
            FoundInstance(self.uid_of(one, tags.SOP_INSTANCE), text_of(one, tags.SOP_CLASS))
            for one in self.find("IMAGE", wanted)
        ]
        return list(dict.fromkeys(one for one in found if uid is None or one.uid == uid))


def _is_value(pattern: str | None) -> bool:
    """It is what the patient root asks for: one ID, which a query can name."""
    key = key_of(pattern)
    return bool(key) and key.isascii() and not is_wild(key)


def _keys_of(pattern: str | None) -> tuple[str, ...]:
    """The keys to try: some peers compare bytes, and have theirs in another character set."""
    return tuple(dict.fromkeys((key_of(pattern), loose_key_of(pattern))))


def _is_named(series: FoundSeries, name: Name) -> bool:
    if name.kind == "uid":
        return matches(series.uid, name.text)
    if not name.wild:
        return series.number == number_of(name.text)
    return series.number is not None and matches(str(series.number), name.text)
