"""The steps of opening: transports, scan, which series, load, and what is told on the way."""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from posixpath import dirname, splitext
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from . import registry
from .errors import (
    AmbiguousSeriesError,
    DataError,
    FormatError,
    IncompleteSeriesError,
    IncompleteSeriesWarning,
    NotFoundError,
)
from .formats._guests import GuestFile, completed_by, find_guests, load_guest, named
from .registry import check_options, find_transport, format_for, guest_for
from .report import Report

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .blob import Blob
    from .dicom.options import PlanOptions
    from .dicom.volume import Volume
    from .errors import SeriesIOError
    from .location import URL
    from .offload import Workers
    from .progress import ProgressCallback
    from .protocols import Format, Guest, Inventory, SeriesSummary, Transport
    from .registry import Target

__all__ = [
    "Choice",
    "Found",
    "Opening",
    "ambiguous",
    "closing",
    "plain_report",
    "summaries",
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


@dataclass(frozen=True, slots=True)
class Opening:
    """The steps of opening that one and all have in common.

    ``format``: the only one to look for; None: DICOM, and guests where there is none of it.
    ``defaults``: options for transports that take them.
    """

    workers: Workers
    memory: int
    progress: ProgressCallback | None
    format: str | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)

    async def scan(self, urls: Sequence[URL], options: Mapping[str, Any]) -> Found:
        """Look what is behind URLs.

        Raises:
            TypeError: an option that nobody takes.
        """
        ready = await self.workers.run(_resolved, urls, options, self.format)
        handler, targets, wanted, left = ready
        transports = [target.open(self.workers, options, self.defaults) for target in targets]
        listed: list[list[Blob]] = [[] for _ in transports]
        async with aclosing(_chain(transports, listed)) as blobs:
            inventory = await handler.scan(blobs, self.workers, self.progress, memory=self.memory)
        try:
            for transport in transports:
                for name, reason in transport.skipped:
                    inventory.skipped.setdefault(reason, []).append(name)
                    if reason == "missing":  # announced, and not sent
                        inventory.failed.append((name, _not_sent(name)))
            told = list(zip(targets, listed, strict=True))
            return Found(inventory, await self._guests(inventory, told, wanted, options), left)
        except BaseException:
            inventory.close()
            raise

    async def _guests(
        self,
        inventory: Inventory,
        listed: Sequence[tuple[Target, Sequence[Blob]]],
        wanted: Mapping[str, Guest] | None,
        options: Mapping[str, Any],
    ) -> tuple[GuestFile, ...]:
        """The guests among what is no DICOM; counted as skipped, by format."""
        names = set(inventory.skipped.get(NOT_DICOM, ()))
        if not names or wanted == {}:
            return ()
        guests = registry.guests if wanted is None else partial(dict[str, "Guest"], wanted)
        found: list[GuestFile] = []
        for target, blobs in listed:
            others = [blob for blob in blobs if blob.name in names]
            files = await find_guests(others, guests, self.workers)
            if files and target.location.scheme == "zip" and target.location.selections:
                files = await self._with_unselected(files, target, options)
            found += files
        for file in found:
            inventory.skipped.setdefault(file.format, []).append(file.name)
        _leave_out(inventory, {blob.name for file in found for blob in file.files.values()})
        return tuple(found)

    async def _with_unselected(
        self, files: Sequence[GuestFile], target: Target, options: Mapping[str, Any]
    ) -> list[GuestFile]:
        """Files with their companions in a zip, of which only some members were asked for."""
        whole = replace(target, location=replace(target.location, selections=()))
        async with closing(whole.open(self.workers, options).read()) as blobs:
            others = [blob async for blob in blobs]
        return await self.workers.run(completed_by, files, others)

    async def chosen(
        self, found: Found, select: Mapping[str, Any] | None, plan: PlanOptions
    ) -> list[Choice]:
        """As :meth:`choices`, in a worker thread: grouping thousands of headers takes its time."""
        if not found.inventory.images:
            return self.choices(found, select, plan)
        return await self.workers.run_alone(self.choices, found, select, plan)

    def choices(
        self, found: Found, select: Mapping[str, Any] | None, plan: PlanOptions
    ) -> list[Choice]:
        """What can be opened; raises where there is none, or damaged files are not tolerated.

        Files of guest formats are chosen where there is no DICOM image, where ``format`` asks
        for theirs, or ``select`` for a name.
        """
        by_name = bool(select and "name" in select)
        if self.format in (None, "dicom") and not by_name and not _only_guests(found):
            found.inventory.group(plan)
            parts = self._parts(found.inventory, select, plan.warn)
            return [DicomPart(uid, rows) for uid, rows in parts.items()]
        if found.inventory.failed and self.format is None and not plan.warn:
            raise _damaged(found.inventory.failed)
        chosen = named(found.guests, select)
        if not chosen and found.guests:
            listed = "".join(f"\n  {file}" for file in found.guests)
            raise NotFoundError(
                "no file has what select= asks for (those without a DICOM header are picked by "
                f"name); there are:{listed}"
            )
        if not chosen:
            wanted = f"of format {self.format} " if self.format else ""
            raise FormatError(f"no readable image {wanted}was found: {_told(found.inventory)}")
        return [*chosen]

    def _parts(
        self, inventory: Inventory, select: Mapping[str, Any] | None, tolerant: bool
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

    def listing(self, found: Found) -> list[SeriesSummary]:
        """What is there: series of DICOM, or files of guest formats where there is none."""
        parts = found.inventory.select(None)
        own: list[Choice] = [DicomPart(uid, rows) for uid, rows in parts.items()]
        return summaries(found, own or found.guests)

    async def load(self, found: Found, choice: Choice, plan: PlanOptions) -> Volume:
        """The volume of what was chosen.

        Raises:
            TypeError: an option that its format does not take.
        """
        if isinstance(choice, DicomPart):
            check_options("a DICOM series", found.left, ())
            return await self._load_dicom(found.inventory, choice.rows, plan)
        takes = getattr(choice.guest, "read_options", None)
        if takes is not None:
            check_options(f"a file of format {choice.format}", found.left, takes)
        asked = {"rescale": None if plan.rescale else False, "dtype": plan.dtype}
        values = {n: v for n, v in asked.items() if v is not None and n in (takes or ())}
        return await self.workers.run(
            load_guest,
            choice,
            {**found.left, **values},
            _without(plain_report(found.inventory), choice),
            self.memory,
            plan.dtype,
        )

    async def _load_dicom(
        self, inventory: Inventory, rows: NDArray[np.intp], plan: PlanOptions
    ) -> Volume:
        handler = _dicom()  # imported by now
        volume: Volume = await handler.load(
            inventory, rows, plan, self.workers, memory=self.memory, progress=self.progress
        )
        for told in _worrying(volume.report):
            warnings.warn(told, IncompleteSeriesWarning, stacklevel=6)
        if "empty" in inventory.skipped:
            volume = await self.workers.run(_with_empty_noted, volume, inventory, rows)
        return volume


def _dicom() -> Format:
    return cast("Format", format_for("dicom"))


def _resolved(
    urls: Sequence[URL], options: Mapping[str, Any], name: str | None
) -> tuple[Format, list[Target], dict[str, Guest] | None, dict[str, Any]]:
    """All that has to be known before anything is read, with one hop to a thread."""
    wanted = _wanted(name)
    targets = [find_transport(url) for url in urls]
    return _dicom(), targets, wanted, _left(targets, options, wanted)


def _wanted(name: str | None) -> dict[str, Guest] | None:
    """The guests to look for; None for all of them."""
    return None if name is None else {} if name == "dicom" else {name: guest_for(name)}


def _left(
    targets: Sequence[Target], options: Mapping[str, Any], wanted: Mapping[str, Guest] | None
) -> dict[str, Any]:
    """The options that no transport takes by name.

    Raises:
        TypeError: one that no guest takes either.
    """
    taken = frozenset[str]().union(*(target.takes for target in targets))
    left = {name: value for name, value in options.items() if name not in taken}
    if not left or any(target.others for target in targets):
        return left
    asked = registry.guests() if wanted is None else wanted
    known = [getattr(guest, "read_options", left) for guest in asked.values()]
    schemes = " or ".join(sorted({target.location.scheme for target in targets}))
    if left.keys() - taken.union(*known):
        check_options(f"a {schemes} location", left, taken)
    return left


def _without(report: Report, file: GuestFile) -> Report:
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


def _only_guests(found: Found) -> bool:
    return bool(found.guests) and not found.inventory.images


def _leave_out(inventory: Inventory, names: set[str]) -> None:
    """Names that turned out to be guests are no longer just "not DICOM"."""
    left = [name for name in inventory.skipped.pop(NOT_DICOM) if name not in names]
    if left:
        inventory.skipped[NOT_DICOM] = left


def _not_sent(name: str) -> IncompleteSeriesError:
    told = f"{name}: was announced, and has not arrived"
    return IncompleteSeriesError(told, [told])


def _worrying(report: Report) -> Iterator[str]:
    if report.missing:
        yield f"the series is incomplete: {'; '.join(report.missing[:5])}"
    if unreadable := report.skipped.get("unreadable", 0):
        names = ", ".join(map(repr, report.skipped_names.get("unreadable", ())[:5]))
        yield (
            "the series may be incomplete: no permission to read "
            f"{unreadable} of the files and directories that were found: {names}"
        )


def _with_empty_noted(volume: Volume, inventory: Inventory, rows: NDArray[np.intp]) -> Volume:
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


async def _chain(
    transports: Iterable[Transport], listed: Sequence[list[Blob]]
) -> AsyncGenerator[Blob, None]:
    for transport, seen in zip(transports, listed, strict=True):
        async with closing(transport.read()) as blobs:
            async for blob in blobs:
                seen.append(blob)
                yield blob


@asynccontextmanager
async def closing(blobs: AsyncIterator[Blob]) -> AsyncIterator[AsyncIterator[Blob]]:
    """Close what yields blobs, where it can be closed, as soon as nobody asks any more."""
    try:
        yield blobs
    finally:
        close = getattr(blobs, "aclose", None)
        if close is not None:
            await close()


def _damaged(failed: Sequence[tuple[str, SeriesIOError]]) -> SeriesIOError:
    """The error for files that are DICOM but damaged: the first one's, and which others."""
    _, first = failed[0]
    if len(failed) == 1:
        return first
    others = f"{first} (and damaged too: {', '.join(name for name, _ in failed[1:11])})"
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
