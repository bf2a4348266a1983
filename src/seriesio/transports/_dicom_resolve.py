"""Which series a URL names; an error where that is none, or more than it may be. Blocking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ..errors import AmbiguousSeriesError, NotFoundError

if TYPE_CHECKING:
    from ._dicom_find import Finder
    from ._dicom_found import FoundSeries
    from ._dicom_location import DicomLocation, Name

__all__ = ["resolve"]

_SHOWN: Final = 20  # matches in an error's text
# Of images for certain: reports, plans and the like beside them make nothing ambiguous.
_IMAGES: Final = frozenset(
    "BMD CR CT DX ES GM IO IVOCT IVUS MG MR NM OP OPT PT PX RF US XA XC".split()  # noqa: SIM905
)


def resolve(finder: Finder, where: DicomLocation, *, single: bool = False) -> list[FoundSeries]:
    """The series that a URL names, each once.

    Args:
        finder: asks the archive.
        where: the URL.
        single: one series of images is wanted.

    Raises:
        NotFoundError: there is none; names the level where the trace ends.
        AmbiguousSeriesError: an accession number or a series number without wildcards that
            several have; or several series of images where only one is wanted.
        StatusError, AssociationError: the peer did not answer as it should.
    """
    studies = finder.studies(where.patient, where.study)
    if not studies:
        raise NotFoundError(_none(finder, where, "study" if where.study else "patient"))
    # An archive may tell of a study more than once: of two patients, with two dates.
    found = list(
        {(o.study, o.uid): o for s in studies for o in finder.series(s, where.series)}.values()
    )
    if not found:
        raise NotFoundError(_none(finder, where, "series"))
    if _several_studies(where, found):
        listed = [study for study in studies if study.uid in {one.study for one in found}]
        raise _ambiguous(finder, "studies have that accession number", listed, found)
    if _several_of_a_number(where.series, found):
        raise _ambiguous(finder, f"series have the number {found[0].number}", found, found)
    if single and sum(one.modality in _IMAGES for one in found) > 1:
        raise _ambiguous(finder, "series are there", found, found)
    return found


def _none(finder: Finder, where: DicomLocation, level: str) -> str:
    """Nothing was found at a level; tells UIDs and series numbers, nothing of a patient."""
    named = {"study": where.study, "series": where.series}.get(level)
    told = f" {named.text}" if named and named.kind != "accession" else ""
    by = " of that accession number" if named and named.kind == "accession" else ""
    return f"{finder.peer}: has no {level}{told}{by} at this URL (level {level.upper()})"


def _ambiguous(
    finder: Finder, what: str, listed: Sequence[object], found: Sequence[FoundSeries]
) -> AmbiguousSeriesError:
    lines = "".join(f"\n  {one}" for one in listed[:_SHOWN])
    more = f"\n  and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return AmbiguousSeriesError(
        f"{finder.peer}: {len(listed)} {what}:{lines}{more}\n"
        "a UID in the URL picks one; open_all opens them all by a wildcard",
        [one.summary() for one in found],
    )


def _several_studies(where: DicomLocation, found: Sequence[FoundSeries]) -> bool:
    one = where.study is not None and not where.study.wild
    return one and len({series.study for series in found}) > 1


def _several_of_a_number(name: Name | None, found: Sequence[FoundSeries]) -> bool:
    """Several in one study; a wildcard for the study means that there may be several studies."""
    one = name is not None and name.kind == "number" and not name.wild
    return one and len(found) > len({series.study for series in found})
