"""Writing new scans: begun, sent, held against the catalogue; removed again if anything fails."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import anyio

from ..blob import RenamedBlob
from ..blob_pieces import batches
from ..errors import LocationError, TargetExistsError
from ..protocols import Receipt
from ._http_client import HttpError
from ._xnat_answers import LOST
from ._xnat_describe import Described, describe_all
from ._xnat_find import Finder, item_path
from ._xnat_holdings import Holdings, taken_back, tried
from ._xnat_kinds import session_kind
from ._xnat_location import XnatPlace, quoted
from ._xnat_pack import Packed, file_body, pack, summed
from ._xnat_parents import Parents
from ._xnat_target import Target, WriteOptions, fields_of, uid_of, wanted_id
from ._zip_records import encoded_name

if TYPE_CHECKING:
    from ..blob import Blob
    from ..offload import Workers
    from ._xnat_session import XnatSession

__all__ = ["Scans", "Writer", "Writing"]

Writing: TypeAlias = Literal["auto", "zip", "files", "import"]

_BATCH: Final = 32 << 20
_BATCH_FILES: Final = 1024


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
            await taken_back(scans.undo, error)
            raise
        return scans.receipt()


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
        finder = Finder(writer.session, writer.place)
        self._holdings = Holdings(writer.session, finder, self._parts)
        self._parents = Parents(writer.session, finder, self._parts)
        self._targets: dict[str, Target] = {}
        self._token = secrets.token_hex(4)
        self._order: list[str] = []

    # --- sending ------------------------------------------------------------------------------

    async def store(self, blobs: AsyncIterable[Blob]) -> None:
        """Send batches; the next one is made ready while one is under way."""
        if not self._options.create_parents:
            await self._holdings.scans()
        slots = anyio.Semaphore(self._options.parallel if self._single else 1)
        failures: list[Exception] = []

        async def send(target: Target, batch: Sequence[Blob] | Packed) -> None:
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
    ) -> AsyncGenerator[tuple[Target, Sequence[Blob] | Packed], None]:
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

    async def _shared_out(self, batch: Sequence[Blob]) -> dict[Target, list[Blob]]:
        """Which blob belongs to which scan, under which name."""
        shared: dict[Target, list[Blob]] = {}
        for blob, told in zip(
            batch, await self._workers.run_alone(describe_all, batch), strict=True
        ):
            target = await self._target(told)
            target.frames += 1 if told is None else told.frames
            shared.setdefault(target, []).append(self._named(target, blob))
        return shared

    def _named(self, target: Target, blob: Blob) -> Blob:
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

    async def _send(self, target: Target, batch: Sequence[Blob] | Packed) -> None:
        target.mine = True
        params = {"inbody": "true", **self._about(target)}
        if isinstance(batch, Packed):
            for sent in batch.sent:
                target.sent[sent.name] = sent
            path = target.file(f"seriesio-{secrets.token_hex(8)}.zip")
            body = batch.body(self._workers)
            await self._session.fetch(
                "PUT", path, params=params | {"extract": "true"}, body=body, patience=5.0
            )
            return
        for blob in batch:
            target.sent[blob.name] = await self._workers.run(summed, blob)
            body = file_body(blob, self._workers)
            await self._session.fetch("PUT", target.file(blob.name), params=params, body=body)

    def _about(self, target: Target) -> dict[str, str]:
        return {"format": target.format, "content": self._options.content}

    # --- scans --------------------------------------------------------------------------------

    async def _target(self, told: Described | None) -> Target:
        """The scan of a series, begun with its first file."""
        wanted = wanted_id(self._place, self._given, told)
        known = self._targets.get(wanted)
        if known is None:
            known = self._targets[wanted] = await self._begun(wanted, told)
        elif uid_of(known.described) != uid_of(told):
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

    async def _begun(self, name: str, told: Described | None) -> Target:
        label = self._options.resource or ("DICOM" if told is not None else None)
        if label is None:
            raise LocationError(f"{self._place}: files that are not DICOM: resource= names theirs")
        if self._options.create_parents and not self._holdings.looked:
            await self._parents.make(session_kind(told.modality if told else ""))
        there = (await self._holdings.scans()).get(name)
        if there is not None and not self._overwrite:
            raise TargetExistsError(
                f"{self._place}: there is a scan {name} already (scan_id= gives another ID, "
                "overwrite=True replaces its files)"
            )
        old = await self._holdings.files(there, label) if there is not None else {}
        path = f"{item_path(self._parts)}/scans/{quoted(name)}"
        kind = "DICOM" if told is not None else ""
        target = Target(name, path, label, kind, told, there, old)
        if there is None:
            self._targets[name] = target
            target.mine = True
            await self._session.fetch("PUT", path, params=fields_of(target, self._options))
            await self._claim(target)
        return target

    async def _claim(self, target: Target) -> None:
        """Make the resource: of several that begin the same scan at once, one can."""
        params = self._about(target)
        try:
            await self._session.fetch("PUT", target.resource, params=params, repeat=False)
        except HttpError as error:
            if error.status == 409:
                target.mine = False
                raise TargetExistsError(
                    f"{self._place}: somebody else has begun a scan {target.id} meanwhile"
                ) from error
            if not (error.cut or error.status in LOST):
                raise
            # The answer is lost, the resource may be made: then it is there, and that is well.
            await self._session.fetch(
                "PUT", target.resource, params=params, accept=frozenset({200, 201, 409})
            )

    # --- the end ------------------------------------------------------------------------------

    async def finish(self) -> None:
        """Hold every scan against the catalogue; only then drop what was replaced."""
        for target in self._targets.values():
            await self._holdings.verify(target)
            fields = fields_of(target, self._options)
            await self._session.fetch("PUT", target.path, params=fields)
        for target in self._targets.values():
            target.mine = False  # from here on what is new stays, whatever happens
        for target in self._targets.values():
            await self._holdings.replace(target)

    async def undo(self) -> list[str]:
        """Remove what this call has made; what could not be removed."""
        left = []
        for target in self._targets.values():
            remove = partial(self._holdings.remove, target)
            left += await tried(remove, f"scan {target.id} could not be removed again")
        return left + await self._parents.undo()

    def receipt(self) -> Receipt:
        ids = list(self._targets)
        parts = (*self._parts, *ids) if len(ids) == 1 else self._parts
        total = sum(s.size for target in self._targets.values() for s in target.sent.values())
        return Receipt(self._place.url(*parts), tuple(self._order), len(self._order), total)
