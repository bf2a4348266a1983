"""Which of what was found is opened, and what is told of the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from posixpath import dirname, splitext
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from .errors import (
    AmbiguousSeriesError,
    DataError,
    FormatError,
    HeaderError,
    IncompleteSeriesError,
    NotFoundError,
)
from .formats._guests import GuestFile, named
from .report import Report

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .dicom.options import PlanOptions
    from .dicom.volume import Volume
    from .errors import SeriesIOError
    from .protocols import Inventory, SeriesSummary

__all__ = [
    "NOT_DICOM",
    "Choice",
    "DicomPart",
    "Found",
    "ambiguous",
    "choices",
    "leave_out",
    "listing",
    "plain_report",
    "with_empty_noted",
    "without",
    "worrying",
]

NOT_DICOM: Final = "not DICOM"


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What is behind URLs: series of DICOM, files of guest formats; and whose options are whose.

    ``left``: options that no transport has taken.
    """

    inventory: Inventory
    guests: tuple[GuestFile, ...]
    left: Mapping[str, Any]

    def close(self) -> None:
        self.inventory.close()


@dataclass(frozen=True, slots=True, eq=False)
class DicomPart:
    """A series of an inventory, or a part of it."""

    uid: str
    rows: NDArray[np.intp]


Choice: TypeAlias = "DicomPart | GuestFile"


def choices(
    found: Found, wanted: str | None, select: Mapping[str, Any] | None, plan: PlanOptions
) -> list[Choice]:
    """What can be opened; raises where there is none, or damaged files are not tolerated.

    ``wanted``: the only format to look for.

    Files of guest formats are chosen where there is no DICOM image, where ``wanted`` asks
    for theirs, or ``select`` for a name.
    """
    if select is not None and not isinstance(select, Mapping):
        raise HeaderError(f"select= maps attributes to values, and is no {type(select).__name__}")
    by_name = bool(select and "name" in select)
    if wanted in (None, "dicom") and not by_name and not _only_guests(found):
        found.inventory.group(plan)
        parts = _parts(found.inventory, select, plan.warn)
        return [DicomPart(uid, rows) for uid, rows in parts.items()]
    if found.inventory.failed and wanted is None and not plan.warn:
        raise _damaged(found.inventory.failed)
    chosen = named(found.guests, select)
    if not chosen and found.guests:
        listed = "".join(f"\n  {file}" for file in found.guests)
        raise NotFoundError(
            "no file has what select= asks for (those without a DICOM header are picked by "
            f"name); there are:{listed}"
        )
    if not chosen:
        what = f"of format {wanted} " if wanted else ""
        raise FormatError(f"no readable image {what}was found: {_told(found.inventory)}")
    return [*chosen]


def _parts(
    inventory: Inventory, select: Mapping[str, Any] | None, tolerant: bool
) -> Mapping[str, NDArray[np.intp]]:
    if inventory.failed and not (tolerant and inventory.images):
        raise _damaged(inventory.failed)
    parts = inventory.select(select)
    if not parts and select:
        known = [inventory.summary(uid, rows) for uid, rows in inventory.select(None).items()]
        listed = "".join(f"\n  {summary}" for summary in known)
        raise NotFoundError(f"no series has what select= asks for; there are:{listed}")
    if not parts:
        raise FormatError(f"no readable image: {_told(inventory)}")
    return parts


def listing(found: Found) -> list[SeriesSummary]:
    """What is there: series of DICOM, or files of guest formats where there is none."""
    parts = found.inventory.select(None)
    own: list[Choice] = [DicomPart(uid, rows) for uid, rows in parts.items()]
    return summaries(found, own or found.guests)


def _damaged(failed: Sequence[tuple[str, SeriesIOError]]) -> SeriesIOError:
    """The error for files that are DICOM but damaged: the first one's, and which others."""
    _, first = failed[0]
    if len(failed) == 1:
        return first
    others = f"{first} (and so with {', '.join(name for name, _ in failed[1:11])})"
    if isinstance(first, DataError):
        return type(first)(others)
    return IncompleteSeriesError(
        f"{len(failed)} files cannot be read: {others}", [str(error) for _, error in failed]
    )


def summaries(found: Found, choices: Sequence[Choice]) -> list[SeriesSummary]:
    """What a listing says of each choice."""
    return [
        found.inventory.summary(choice.uid, choice.rows)
        if isinstance(choice, DicomPart)
        else choice.summary
        for choice in choices
    ]


def ambiguous(found: Found, choices: Sequence[Choice]) -> AmbiguousSeriesError:
    known = summaries(found, choices)
    listed: Sequence[object] = known
    picks, what = 'select={"SeriesNumber": 4} or select={"SeriesInstanceUID": "..."}', "series"
    if not isinstance(choices[0], DicomPart):
        listed, picks, what = choices, 'select={"name": "..."}', "files, each a series,"
    lines = "".join(f"\n  {line}" for line in listed)
    return AmbiguousSeriesError(
        f"{len(known)} {what} are there:{lines}\n"
        f"select= picks one, as {picks}; open_all opens them all",
        known,
    )


def _told(inventory: Inventory) -> str:
    if not inventory.skipped:
        return "nothing was found"
    counts = (f"{len(names)} {reason}" for reason, names in sorted(inventory.skipped.items()))
    return ", ".join(counts)


def plain_report(inventory: Inventory) -> Report:
    return Report(
        found=inventory.found,
        used=inventory.images,
        skipped={reason: len(names) for reason, names in inventory.skipped.items()},
        skipped_names={r: tuple(names[:100]) for r, names in inventory.skipped.items()},
        missing=tuple(str(error) for _, error in inventory.failed),
    )


def _only_guests(found: Found) -> bool:
    return bool(found.guests) and not found.inventory.images


def leave_out(inventory: Inventory, names: set[str]) -> None:
    """Names that turned out to be guests are no longer just "not DICOM"."""
    left = [name for name in inventory.skipped.pop(NOT_DICOM) if name not in names]
    if left:
        inventory.skipped[NOT_DICOM] = left


def without(report: Report, file: GuestFile) -> Report:
    """A report that does not count a file as skipped."""
    names = {
        reason: tuple(name for name in names if reason != file.format or name != file.name)
        for reason, names in report.skipped_names.items()
    }
    counts = {reason: count - (reason == file.format) for reason, count in report.skipped.items()}
    return replace(
        report,
        skipped={reason: count for reason, count in counts.items() if count},
        skipped_names={reason: found for reason, found in names.items() if found},
    )


def worrying(report: Report) -> Iterator[str]:
    if report.missing:
        yield f"the series is incomplete: {'; '.join(report.missing[:5])}"
    if unreadable := report.skipped.get("unreadable", 0):
        names = ", ".join(map(repr, report.skipped_names.get("unreadable", ())[:5]))
        yield (
            "the series may be incomplete: no permission to read "
            f"{unreadable} of the files and directories that were found: {names}"
        )


def with_empty_noted(volume: Volume, inventory: Inventory, rows: NDArray[np.intp]) -> Volume:
    """Note empty files that could be lost instances: beside those of the series, named alike."""
    kinds = {_kind(inventory.blobs[row].name) for row in rows.tolist()}
    empty = [name for name in inventory.skipped["empty"] if _kind(name) in kinds]
    if not empty:
        return volume
    names = ", ".join(map(repr, empty[:5]))
    note = f"{len(empty)} empty file(s) beside those of the series: {names}"
    return replace(volume, report=replace(volume.report, notes=(*volume.report.notes, note)))


def _kind(name: str) -> tuple[str, str]:
    """The directory and the extension of a name."""
    return dirname(name), splitext(name)[1].lower()
