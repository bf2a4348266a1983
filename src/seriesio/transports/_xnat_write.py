"""Writing new scans: begun, sent, held against the catalogue; removed again if anything fails."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import anyio

from ..blob import RenamedBlob, batches
from ..errors import LocationError, SeriesIOError, TargetExistsError, TransportError
from ..protocols import Receipt
from ._http_client import HttpError
from ._xnat_describe import Described, describe
from ._xnat_find import Finder, item_path
from ._xnat_kinds import scan_kind, session_kind
from ._xnat_listing import Scan
from ._xnat_location import LEVELS, XnatPlace, quoted
from ._xnat_pack import Packed, Sent, file_body, pack, summed
from ._zip_records import encoded_name

if TYPE_CHECKING:
    from ..blob import Blob
    from ..offload import Workers
    from ._xnat_receive import CatalogFile
    from ._xnat_session import XnatSession

__all__ = ["Scans", "WriteOptions", "Writer", "Writing"]

Writing: TypeAlias = Literal["auto", "zip", "files", "import"]

_BATCH: Final = 32 << 20
_BATCH_FILES: Final = 1024
_LOOKS: Final = (0.0, 0.1, 0.3, 0.8, 2.0, 4.0)  # seconds before each look at the catalogue
_UNDO: Final = 30.0  # seconds that taking back may take
_NAMED: Final = 10


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """What a new scan is called; None: what its files say, or XNAT's usual."""

    scan_id: str | None = None
    scan_type: str | None = None
    xsi_type: str | None = None
    quality: str | None = None
    note: str | None = None
    resource: str | None = None
    content: str = "RAW"
    deflate: bool = False
    create_parents: bool = False
    parallel: int = 4


@dataclass(eq=False)
class _Target:
    """A scan that is being written.

    Attributes:
        scan: what was there under its ID; None: nothing.
        old: files of the resource before us, by path.
        mine: whether there is something of ours on the server that a failure has to take back.
    """

    id: str
    path: str
    label: str
    format: str
    described: Described | None
    scan: Scan | None
    old: dict[str, CatalogFile]
    mine: bool = False
    sent: dict[str, Sent] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    frames: int = 0

    @property
    def files(self) -> str:
        return f"{self.path}/resources/{quoted(self.label)}/files"


@dataclass(eq=False)
class Writer:
    """Writes into one experiment of one server."""

    session: XnatSession
    workers: Workers
    place: XnatPlace
    options: WriteOptions
    via: Writing

    async def write(self, blobs: AsyncIterable[Blob], overwrite: bool) -> Receipt:
        """Store every blob; those of each series as a scan of its own.

        Raises:
            NotFoundError: the subject or the experiment is not there; names it.
            TargetExistsError: a scan of that ID is there, or a name comes twice.
            TransportError: the server does not take it, or does not list what it took.
        """
        scans = Scans(self, overwrite)
        try:
            await scans.store(blobs)
            await scans.finish()
        except BaseException as error:
            await _taken_back(scans.undo, error)
            raise
        return scans.receipt()


async def _taken_back(undo: Callable[[], Awaitable[list[str]]], error: BaseException) -> None:
    """Undo, cancelled or not; what is left on the server is told with the error."""
    with anyio.move_on_after(_UNDO, shield=True):
        for told in await undo():
            error.add_note(told)
        return
    error.add_note("the server did not let us remove what we had begun in time")


class Scans:
    """The scans of one call, from the first request to the last."""

    def __init__(self, writer: Writer, overwrite: bool) -> None:
        self._session = writer.session
        self._workers = writer.workers
        self._options = writer.options
        self._overwrite = overwrite
        self._place = writer.place
        self._single = writer.via == "files"
        self._parts = writer.place.parts[:3]
        self._finder = Finder(writer.session, writer.place)
        self._made: list[tuple[str, ...]] = []
        self._there: dict[str, Scan] | None = None
        self._targets: dict[str, _Target] = {}
        self._token = secrets.token_hex(4)
        self._order: list[str] = []

    # --- sending ------------------------------------------------------------------------------

    async def store(self, blobs: AsyncIterable[Blob]) -> None:
        """Send batches; the next one is made ready while one is under way."""
        if not self._options.create_parents:
            await self._look()
        slots = anyio.Semaphore(self._options.parallel if self._single else 1)
        failures: list[Exception] = []

        async def send(target: _Target, batch: Sequence[Blob] | Packed) -> None:
            try:
                await self._send(target, batch)
            except Exception as error:
                failures.append(error)
            finally:
                slots.release()

        async def feed() -> None:
            async with aclosing(self._ready(blobs)) as ready:
                async for target, batch in ready:
                    await slots.acquire()
                    if failures:
                        return
                    group.start_soon(send, target, batch)

        async with anyio.create_task_group() as group:
            try:
                await feed()
            except Exception as error:  # raised below: not in a group
                failures.append(error)
        if failures:
            raise failures[0]

    async def _ready(
        self, blobs: AsyncIterable[Blob]
    ) -> AsyncGenerator[tuple[_Target, Sequence[Blob] | Packed], None]:
        async with aclosing(batches(blobs, _BATCH, _BATCH_FILES)) as groups:
            async for batch in groups:
                for target, named in (await self._shared_out(batch)).items():
                    # A body without bytes is refused: empty files go in a zip in any case.
                    single = [blob for blob in named if self._single and blob.size]
                    zipped = [blob for blob in named if not (self._single and blob.size)]
                    for blob in single:
                        yield target, [blob]
                    if zipped:
                        packed = await self._workers.run(pack, zipped, self._options.deflate)
                        yield target, packed

    async def _shared_out(self, batch: Sequence[Blob]) -> dict[_Target, list[Blob]]:
        """Which blob belongs to which scan, under which name."""
        shared: dict[_Target, list[Blob]] = {}
        for blob, told in zip(batch, await self._workers.run_alone(_described, batch), strict=True):
            target = await self._target(told)
            target.frames += 1 if told is None else told.frames
            shared.setdefault(target, []).append(self._named(target, blob))
        return shared

    def _named(self, target: _Target, blob: Blob) -> Blob:
        """A blob under a name that is free; refuses one that leads elsewhere, or comes twice."""
        encoded_name(blob.name)
        if blob.name in target.names:
            raise TargetExistsError(f"{self._place}: {blob.name!r} comes twice")
        target.names.add(blob.name)
        name = blob.name
        if name in target.old:
            stem, dot, end = name.rpartition(".")
            name = f"{stem}~{self._token}{dot}{end}" if dot else f"{name}~{self._token}"
        self._order.append(name)
        return blob if name == blob.name else RenamedBlob(name, blob)

    async def _send(self, target: _Target, batch: Sequence[Blob] | Packed) -> None:
        target.mine = True
        params = {"inbody": "true", "format": target.format, "content": self._options.content}
        if isinstance(batch, Packed):
            for sent in batch.sent:
                target.sent[sent.name] = sent
            path = f"{target.files}/seriesio-{secrets.token_hex(8)}.zip"
            body = batch.body(self._workers)
            await self._session.fetch(
                "PUT", path, params=params | {"extract": "true"}, body=body, patience=5.0
            )
            return
        for blob in batch:
            target.sent[blob.name] = await self._workers.run(summed, blob)
            path = f"{target.files}/{'/'.join(map(quoted, blob.name.split('/')))}"
            body = file_body(blob, self._workers)
            await self._session.fetch("PUT", path, params=params, body=body)

    # --- scans --------------------------------------------------------------------------------

    async def _look(self) -> dict[str, Scan]:
        """The scans that are there already, by ID."""
        if self._there is None:
            self._there = {scan.id: scan for scan in await self._finder.listed(self._parts)}
        return self._there

    async def _target(self, told: Described | None) -> _Target:
        """The scan of a series, begun with its first file."""
        wanted = self._wanted_id(told)
        known = self._targets.get(wanted)
        if known is None:
            known = self._targets[wanted] = await self._begun(wanted, told)
        elif _uid(known.described) != _uid(told):
            if self._given is None:
                raise TargetExistsError(
                    f"{self._place}: two series have the number {wanted}; write them one by one, "
                    "with scan_id="
                )
            raise LocationError(f"{self._place}: files of several series, and one scan for them")
        return known

    @property
    def _given(self) -> str | None:
        return self._place.parts[3] if len(self._place.parts) > 3 else self._options.scan_id

    def _wanted_id(self, told: Described | None) -> str:
        if self._given is not None:
            return self._given
        if told is None:
            raise LocationError(
                f"{self._place}: files that are not DICOM have no number: scan_id= names the scan"
            )
        if told.number is None:
            raise LocationError(f"{self._place}: the series has no number: scan_id= names the scan")
        return str(told.number)

    async def _begun(self, name: str, told: Described | None) -> _Target:
        if self._options.create_parents:
            await self._with_parents(told)
        there = (await self._look()).get(name)
        label = self._options.resource or ("DICOM" if told is not None else None)
        if label is None:
            raise LocationError(f"{self._place}: files that are not DICOM: resource= names theirs")
        if there is not None and not self._overwrite:
            raise TargetExistsError(
                f"{self._place}: there is a scan {name} already (scan_id= gives another ID, "
                "overwrite=True replaces its files)"
            )
        old = await self._old(there, label) if there is not None else {}
        path = f"{item_path(self._parts)}/scans/{quoted(name)}"
        kind = "DICOM" if told is not None else ""
        target = _Target(name, path, label, kind, told, there, old)
        if there is None:
            self._targets[name] = target
            target.mine = True
            await self._session.fetch("PUT", path, params=self._fields(target))
            await self._claim(target)
        return target

    async def _old(self, scan: Scan, label: str) -> dict[str, CatalogFile]:
        resources = await self._finder.files(scan)
        return {file.path: file for r in resources if r.label == label for file in r.files}

    async def _claim(self, target: _Target) -> None:
        """Make the resource: of several that begin the same scan at once, one can."""
        path = f"{target.path}/resources/{quoted(target.label)}"
        params = {"format": target.format, "content": self._options.content}
        for repeated in (False, True):
            try:
                await self._session.fetch("PUT", path, params=params, repeat=False)
                return
            except HttpError as error:
                if error.cut and not repeated:
                    continue
                if error.status != 409:
                    raise
                if repeated:  # the first answer was lost, not the resource
                    return
                target.mine = False
                raise TargetExistsError(
                    f"{self._place}: somebody else has begun a scan {target.id} meanwhile"
                ) from error

    def _fields(self, target: _Target) -> dict[str, str]:
        """What the catalogue shall say of a scan."""
        told, options = target.described, self._options
        kind = options.xsi_type or scan_kind(told.modality if told else "")
        if target.scan is not None:
            kind = target.scan.kind or kind
        description = told.description if told is not None else ""
        fields = {
            "type": options.scan_type or description or "unknown",
            "series_description": description,
            "quality": options.quality or "usable",
            "UID": _uid(told),
            "frames": str(target.frames) if target.frames else "",
            "note": options.note or "",
        }
        values = {f"{kind}/{name}": value for name, value in fields.items() if value}
        return {"xsiType": kind, **values}

    # --- parents ------------------------------------------------------------------------------

    async def _with_parents(self, told: Described | None) -> None:
        """Make the subject and the experiment, where they are missing."""
        if self._there is not None:
            return
        level = await self._finder.missing(self._parts)
        if level == 0:
            await self._finder.require(self._parts)
        for end in range(2 if level == 1 else 3, 4) if level else ():
            parts = self._parts[:end]
            kind = session_kind(told.modality if told else "")
            self._made.append(parts)
            params = {"xsiType": kind} if end == len(LEVELS) - 1 else None
            await self._session.fetch("PUT", item_path(parts), params=params)

    # --- the end ------------------------------------------------------------------------------

    async def finish(self) -> None:
        """Hold every scan against the catalogue; only then drop what was replaced."""
        for target in self._targets.values():
            await self._verify(target)
            await self._session.fetch("PUT", target.path, params=self._fields(target))
        for target in self._targets.values():
            await self._drop(target, sorted(target.old))
            target.old = {}

    async def _verify(self, target: _Target) -> None:
        """Look until the catalogue lists what was sent; it may be a moment behind.

        Raises:
            TransportError: it does not.
        """
        wrong: list[str] = []
        for pause in _LOOKS:
            await anyio.sleep(pause)
            wrong = await self._differences(target)
            if not wrong:
                return
        names = ", ".join(wrong[:_NAMED])
        raise TransportError(
            f"{self._place}: scan {target.id}: {len(wrong)} of {len(target.sent)} files are not "
            f"as they were sent (no permission to write?): {names}"
        )

    async def _differences(self, target: _Target) -> list[str]:
        scan = (await self._fresh()).get(target.id)
        if scan is None:
            return [f"scan {target.id} is not listed"]
        listed = await self._old(scan, target.label)
        return [
            why
            for name, sent in target.sent.items()
            if (why := _difference(sent, listed.get(name)))
        ]

    async def _fresh(self) -> dict[str, Scan]:
        self._there = None
        return await self._look()

    async def _drop(self, target: _Target, names: Sequence[str]) -> None:
        """Delete files of a scan."""
        params = {"removeFiles": "true"}
        for name in names:
            path = f"{target.files}/{'/'.join(map(quoted, name.split('/')))}"
            await self._session.fetch(
                "DELETE", path, params=params, accept=frozenset({200, 204, 404})
            )

    async def undo(self) -> list[str]:
        """Remove what this call has made; what could not be removed."""
        left = []
        for target in self._targets.values():
            remove = partial(self._removed, target)
            left += await _tried(remove, f"scan {target.id} could not be removed again")
        for parts in reversed(self._made):
            remove = partial(self._unmade, parts)
            left += await _tried(remove, f"{LEVELS[len(parts) - 1]} {parts[-1]!r} was made")
        return left

    async def _removed(self, target: _Target) -> None:
        if not target.mine:
            return
        if target.scan is None:
            await self._delete(target.path)
        else:
            await self._drop(target, [name for name in target.sent if name not in target.old])

    async def _unmade(self, parts: tuple[str, ...]) -> None:
        """Delete a parent that this call has made, unless others have put something into it."""
        below = "/scans" if len(parts) == 3 else "/experiments"
        listing = await self._session.listing(item_path(parts) + below)
        rows = listing.get("ResultSet", {}).get("Result") if isinstance(listing, dict) else None
        if rows == []:
            await self._delete(item_path(parts))

    async def _delete(self, path: str) -> None:
        accept = frozenset({200, 204, 404})
        await self._session.fetch("DELETE", path, params={"removeFiles": "true"}, accept=accept)

    def receipt(self) -> Receipt:
        ids = list(self._targets)
        parts = (*self._parts, *ids) if len(ids) == 1 else self._parts
        total = sum(s.size for target in self._targets.values() for s in target.sent.values())
        return Receipt(self._place.url(*parts), tuple(self._order), len(self._order), total)


async def _tried(call: Callable[[], Awaitable[None]], what: str) -> list[str]:
    try:
        await call()
    except SeriesIOError as error:
        return [f"{what}: {error}"]
    return []


def _uid(told: Described | None) -> str:
    return "" if told is None else told.uid


def _described(batch: Sequence[Blob]) -> list[Described | None]:
    return [describe(blob) for blob in batch]


def _difference(sent: Sent, listed: CatalogFile | None) -> str:
    if listed is None:
        return f"{sent.name} is not listed"
    if listed.size not in (None, sent.size):
        return f"{sent.name} has {listed.size} bytes, {sent.size} were sent"
    if listed.digest and listed.digest.lower() != sent.digest:
        return f"{sent.name} has another MD5 digest"
    return ""
