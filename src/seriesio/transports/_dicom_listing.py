"""What a DICOM archive lists: patients, studies, series, instances. Blocking."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..errors import NotFoundError
from ..protocols import Entry
from ._dicom_resolve import resolve

if TYPE_CHECKING:
    from ._dicom_find import Finder
    from ._dicom_found import FoundInstance, FoundPatient, FoundSeries, FoundStudy
    from ._dicom_location import DicomLocation

__all__ = ["entries"]


def entries(finder: Finder, where: DicomLocation) -> list[Entry]:
    """What is directly below a URL; of an instance, the instance.

    Raises:
        NotFoundError: what the URL names is not there.
        AmbiguousSeriesError: an accession number or series number that several have.
    """
    if where.patient is None:
        return [_patient(where, one) for one in finder.patients(None)]
    if where.study is None:
        return [_study(where, one) for one in _some(finder.studies(where.patient, None), "patient")]
    if where.series is None:
        return [_series(where, one) for one in resolve(finder, where)]
    return [
        _instance(where, series, one)
        for series in resolve(finder, where)
        for one in _named(finder, series, where.instance)
    ]


def _some(studies: Sequence[FoundStudy], level: str) -> Sequence[FoundStudy]:
    if not studies:
        raise NotFoundError(f"the archive has no such {level} (level {level.upper()})")
    return studies


def _named(finder: Finder, series: FoundSeries, uid: str | None) -> Iterator[FoundInstance]:
    found = finder.instances(series, uid)
    if not found and uid:
        raise NotFoundError(f"the archive has no instance {uid} in the series (level IMAGE)")
    yield from found


def _patient(where: DicomLocation, one: FoundPatient) -> Entry:
    told = {"studies": one.studies, "series": one.series, "count": one.instances}
    return Entry(where.below(patient=one.patient).url, one.patient, "patient", None, _told(told))


def _study(where: DicomLocation, one: FoundStudy) -> Entry:
    below = where.below(patient=one.patient, study=one.uid)
    told = {
        "description": one.description,
        "modality": one.modalities,
        "date": one.date,
        "series": one.series,
        "count": one.instances,
    }
    return Entry(below.url, one.uid, "study", None, _told(told))


def _series(where: DicomLocation, one: FoundSeries) -> Entry:
    below = where.below(patient=one.patient, study=one.study, series=one.uid)
    told = {
        "number": "" if one.number is None else str(one.number),
        "description": one.description,
        "modality": one.modality,
        "date": one.date,
        "count": "" if one.count is None else str(one.count),
    }
    return Entry(below.url, one.uid, "series", None, _told(told))


def _instance(where: DicomLocation, series: FoundSeries, one: FoundInstance) -> Entry:
    below = where.below(
        patient=series.patient, study=series.study, series=series.uid, instance=one.uid
    )
    return Entry(below.url, one.uid, "instance", None, _told({"sop_class": one.sop_class}))


def _told(attributes: dict[str, str]) -> dict[str, str]:
    """Those that the archive has told."""
    return {name: value for name, value in attributes.items() if value}
