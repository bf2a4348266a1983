"""From a place to scans, and from a place to what is directly below it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from ..errors import AmbiguousSeriesError, NotFoundError
from ..protocols import Entry
from ._http_client import HttpError
from ._xnat_listing import (
    SCAN_COLUMNS,
    Resource,
    Scan,
    is_pattern,
    matching,
    meant,
    pick_resource,
    resources_of,
    rows_of,
    scans_of,
    shared_session,
    summary_of,
)
from ._xnat_location import LEVELS, XnatPlace, quoted

if TYPE_CHECKING:
    from ._xnat_session import XnatSession

__all__ = ["Finder", "Found", "item_path"]

_SEGMENTS: Final = ("projects", "subjects", "experiments", "scans")
_MISSING: Final = frozenset({404})


@dataclass(frozen=True, slots=True)
class Found:
    """A scan and the resource of it that is read; ``place`` is its own, to the scan's ID."""

    place: XnatPlace
    scan: Scan
    resource: Resource


def item_path(parts: Sequence[str]) -> str:
    """The path of a project, subject, experiment or scan, percent-encoded."""
    named = zip(_SEGMENTS, parts, strict=False)
    return "/data" + "".join(f"/{segment}/{quoted(part)}" for segment, part in named)


@dataclass(frozen=True, slots=True)
class Finder:
    """Asks one server what there is.

    Attributes:
        resource: label or number of the resource to read; None: DICOM, else secondary.
        quality: only scans of this quality; None: of any.
    """

    session: XnatSession
    place: XnatPlace
    resource: str | None = None
    quality: str | None = None

    # --- scans --------------------------------------------------------------------------------

    async def scans(self) -> AsyncGenerator[Found, None]:
        """The scan that the place names, or all scans below it, session by session.

        Raises:
            NotFoundError: one of its parts, or any scan in it, is not there.
            AmbiguousSeriesError: its last part means several scans; it lists them.
        """
        count = 0
        async for session in self._sessions():
            for scan in await self._chosen(session):
                place = _below(self.place, (*session, scan.id))
                found = await self._found(place, scan)
                if found is not None:
                    count += 1
                    yield found
        if not count:
            raise NotFoundError(f"{self.place}: no scan with files is there{self._filtered()}")

    async def _chosen(self, session: tuple[str, ...]) -> list[Scan]:
        listed = await self.listed(session)
        good = [s for s in listed if self.quality is None or s.quality == self.quality]
        if len(self.place.parts) < len(LEVELS):
            return good
        wanted = self.place.parts[3]
        chosen = matching(good, wanted)
        if len(chosen) == 1:
            return chosen
        if not chosen:
            there = "".join(f"\n  {scan}" for scan in good) or " none"
            raise NotFoundError(
                f"{self.place}: no scan has this ID, type or description{self._filtered()}; "
                f"there are:{there}"
            )
        lines = "".join(f"\n  {scan}" for scan in chosen)
        raise AmbiguousSeriesError(
            f"{self.place}: {len(chosen)} scans are meant:{lines}\nthe ID of one names it",
            [summary_of(scan) for scan in chosen],
        )

    def _filtered(self) -> str:
        return "" if self.quality is None else f" with quality={self.quality!r}"

    async def _found(self, place: XnatPlace, scan: Scan) -> Found | None:
        """A scan with its files; one without any is nothing to read, unless it was asked for."""
        resources = await self.files(scan)
        if len(self.place.parts) < len(LEVELS) and not resources:
            return None
        return Found(place, scan, pick_resource(resources, self.resource, str(place)))

    async def files(self, scan: Scan) -> list[Resource]:
        """The resources of a scan, with their files."""
        path = f"{scan.files_path}/files"
        what = self._named(path)
        return await self.session.listing(
            path, read=lambda document: resources_of(rows_of(document, what), scan.id, what)
        )

    async def listed(self, parts: Sequence[str]) -> list[Scan]:
        """All scans of an experiment.

        Raises:
            NotFoundError: it is not there; says which part of its path is the first to be missing.
        """
        path = item_path(parts) + "/scans"
        try:
            rows = await self._rows(path, parts, {"columns": SCAN_COLUMNS})
        except NotFoundError:
            session = await self._shared(parts)
            if session is None:
                raise
            path = f"/data/experiments/{quoted(session)}/scans"
            rows = await self._rows(path, (), {"columns": SCAN_COLUMNS})
            return scans_of(rows, self._named(path))
        scans = scans_of(rows, self._named(path))
        if not scans:  # a path that leads nowhere may answer with an empty list
            await self.require(parts)
        return scans

    async def _shared(self, parts: Sequence[str]) -> str | None:
        """The accession ID of an experiment that a project shares without its subject."""
        try:
            rows = await self._experiments(parts[0])
        except NotFoundError:
            return None
        return shared_session(rows, parts)

    # --- the levels above ---------------------------------------------------------------------

    async def _sessions(self) -> AsyncIterator[tuple[str, ...]]:
        """Project, subject and experiment of every session that the place names."""
        for project in await self._projects():
            for session in await self._sessions_of(project):
                yield session

    async def _projects(self) -> list[str]:
        given = self._given(0)
        return meant(given, await self._names(()) if is_pattern(given) else [given])

    async def _sessions_of(self, project: str) -> list[tuple[str, ...]]:
        """The sessions of a project that the place means, also those that are shared into it.

        The listing of the project has them all; that of a subject may lack the shared ones.
        """
        subject, experiment = self._given(1), self._given(2)
        if not is_pattern(subject) and not is_pattern(experiment):
            return [(project, subject, experiment)]
        if not is_pattern(subject):
            with suppress(NotFoundError):
                names = meant(experiment, await self._names((project, subject)))
                return [(project, subject, name) for name in names]
        rows = [row for row in await self._experiments(project) if _owner(row)]
        subjects = meant(subject, map(_owner, rows))
        if not subjects and not is_pattern(subject):
            await self.require((project, subject))
        rows = [row for row in rows if _owner(row) in subjects]
        names = meant(experiment, map(_label, rows))
        return sorted((project, _owner(r), _label(r)) for r in rows if _label(r) in names)

    def _given(self, level: int) -> str:
        return self.place.parts[level] if level < len(self.place.parts) else "*"

    async def _names(self, above: tuple[str, ...]) -> list[str]:
        return [_label(row) for row in await self._children(above)]

    async def _experiments(self, project: str) -> list[dict[str, str]]:
        path = f"{item_path((project,))}/experiments"
        columns = "ID,label,project,subject_ID,subject_label"
        return await self._rows(path, (project,), {"columns": columns})

    async def _children(self, above: Sequence[str]) -> list[dict[str, str]]:
        """The projects of the server, the subjects of a project, the experiments of a subject."""
        return await self._rows(f"{item_path(above)}/{_SEGMENTS[len(above)]}", above, {})

    async def _rows(
        self, path: str, above: Sequence[str], params: Mapping[str, str]
    ) -> list[dict[str, str]]:
        try:
            read = partial(rows_of, what=self._named(path))
            return await self.session.listing(path, params, read)
        except HttpError as error:
            if error.status in _MISSING:
                await self.require(above)
            raise

    async def missing(self, parts: Sequence[str]) -> int | None:
        """The level of the first part of a path that is not there; None: all are."""
        for level in range(len(parts)):
            try:
                await self.session.listing(item_path(parts[: level + 1]))
            except HttpError as error:
                if error.status in _MISSING:
                    return level
                raise
        return None

    async def require(self, parts: Sequence[str]) -> None:
        """Raise NotFoundError, naming the first part that is not there, or not to be seen."""
        level = await self.missing(parts)
        if level is not None:
            where = _below(self.place, parts[:level])
            raise NotFoundError(
                f"{where}: no {LEVELS[level]} {parts[level]!r} is there (or none that this "
                "user may see)"
            )

    def _named(self, path: str) -> str:
        return self.session.base + path

    # --- entries ------------------------------------------------------------------------------

    async def entries(self) -> AsyncGenerator[Entry, None]:
        """What is directly below the place: projects, subjects, experiments, scans or files."""
        level = len(self.place.parts)
        if level < 3:
            for row in sorted(await self._children(self.place.parts), key=_label):
                yield self._entry(LEVELS[level], row)
        elif level == 3:
            for scan in await self.listed(self.place.parts):
                if self.quality in (None, scan.quality):
                    yield self._scan_entry(scan)
        else:
            async for found in self.scans():
                for file in sorted(found.resource.files, key=attrgetter("path")):
                    yield Entry(str(found.place), file.path, "file", file.size)

    def _entry(self, kind: str, row: Mapping[str, str]) -> Entry:
        name = _label(row)
        keep = ("ID", "name", "date", "xsiType", "project")
        attributes = {key: row[key] for key in keep if row.get(key)}
        return Entry(self.place.url(*self.place.parts, name), name, kind, None, attributes)

    def _scan_entry(self, scan: Scan) -> Entry:
        values = {
            "type": scan.type,
            "series_description": scan.description,
            "quality": scan.quality,
            "xsiType": scan.kind,
            "frames": "" if scan.frames is None else str(scan.frames),
            "UID": scan.uid,
            "note": scan.note,
        }
        attributes = {key: value for key, value in values.items() if value}
        url = self.place.url(*self.place.parts, scan.id)
        return Entry(url, scan.id, "scan", None, attributes)


def _label(row: Mapping[str, str]) -> str:
    return row.get("label") or row.get("ID", "")


def _owner(row: Mapping[str, str]) -> str:
    return row.get("subject_label") or row.get("subject_ID", "")


def _below(place: XnatPlace, parts: Sequence[str]) -> XnatPlace:
    return XnatPlace(place.scheme, place.host, place.context, tuple(parts))
