"""Writing through the import service: the server sorts the files into scans itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, TypeAlias
from urllib.parse import unquote

from ..errors import LocationError, SeriesIOError, TargetExistsError, TransportError
from ..protocols import Receipt
from ._http_client import HttpError
from ._xnat_answers import LOST
from ._xnat_describe import Described, describe_all
from ._xnat_find import Finder
from ._xnat_holdings import patiently
from ._xnat_listing import PREFERRED, Scan, rows_of
from ._xnat_location import XnatPlace, quoted
from ._xnat_pack import pack

if TYPE_CHECKING:
    from ..blob import Blob
    from ..offload import Workers
    from ._xnat_answers import Answer
    from ._xnat_session import XnatSession

__all__ = ["Importer"]

_SERVICE: Final = "/data/services/import"
# Files by the number of their series, which the server makes the ID of the scan, with an ending
# where another series has it; by its Series Instance UID where it has no number.
Counts: TypeAlias = "Counter[str]"


@dataclass(frozen=True, slots=True)
class Importer:
    """Hands files to the import service of one server.

    Attributes:
        to: "archive" puts them into the experiment, "prearchive" leaves that to somebody.
        merge: "append" adds to a session that is there; "none" refuses that.
    """

    session: XnatSession
    workers: Workers
    place: XnatPlace
    to: Literal["archive", "prearchive"]
    merge: Literal["none", "append"]
    deflate: bool
    create_parents: bool

    async def write(self, blobs: AsyncIterable[Blob]) -> Receipt:
        """Send all blobs in one zip; ``url`` of the receipt says where the session landed.

        What landed is counted, by series: the server may change headers (its anonymisation), so
        bytes cannot be compared.

        Raises:
            NotFoundError: the project, or without ``create_parents`` the subject or the
                experiment, is not there.
            TargetExistsError: the session is there, and nothing is to be appended.
            TransportError: the service does not take them, does not say where they are, or has
                fewer of them than were sent.
        """
        finder = Finder(self.session, self.place)
        held = [blob async for blob in blobs]
        told = await self.workers.run_alone(describe_all, held)
        expected = self._series(held, told)
        before = await self._before(finder, expected)
        if not held:
            return Receipt(str(self.place), (), 0, 0)
        packed = await self.workers.run(pack, held, self.deflate)
        body = packed.body(self.workers)
        try:
            answer = await self.session.fetch(
                "POST", _SERVICE, params=self._params(), body=body, patience=10.0
            )
            where = self._landed(answer)
        except HttpError as error:
            lost = error.cut or error.status in LOST
            if not (lost and await self._arrived(finder, expected, before)):
                await self._tell_waiting(error)
                raise
            where = self.place.url(*self.place.parts)
        else:
            await self._verify(finder, where, answer, expected, before)
        names = tuple(sent.name for sent in packed.sent)
        return Receipt(where, names, len(names), sum(sent.size for sent in packed.sent))

    def _series(self, blobs: Sequence[Blob], told: Sequence[Described | None]) -> Counts:
        """How many files each series has; the service takes DICOM files only."""
        found: Counts = Counter()
        for blob, one in zip(blobs, told, strict=True):
            if one is None:
                raise LocationError(
                    f'{self.place}: {blob.name!r} is not DICOM, and via="import" takes nothing else'
                )
            found[one.uid if one.number is None else str(one.number)] += 1
        return found

    async def _before(self, finder: Finder, expected: Counts) -> Counts:
        """What is there of these series; refuses what the service would refuse later."""
        parts = self.place.parts
        if self.to == "prearchive":
            await finder.require(parts[:1])
            return Counter()
        level = await finder.missing(parts)
        if level is not None:
            await finder.require(parts[:1] if self.create_parents else parts)
            return Counter()
        if self.merge == "none":
            raise TargetExistsError(
                f'{self.place}: the session is there already (merge="append" adds to it)'
            )
        return await self._counts(finder, expected)

    # --- asking -------------------------------------------------------------------------------

    def _params(self) -> dict[str, str]:
        project, subject, experiment = self.place.parts
        params = {"import-handler": "DICOM-zip", "inbody": "true"}
        if self.merge == "append":
            params["overwrite"] = "append"
        if self.to == "archive":
            names = quoted(project), quoted(subject), quoted(experiment)
            path = "/archive/projects/{}/subjects/{}/experiments/{}".format(*names)
            return params | {"dest": path}
        return params | {"project": project, "subject": subject, "session": experiment}

    def _landed(self, answer: Answer) -> str:
        """Where the session is: an ``xnat://`` URL in the archive, the server's own else."""
        lines = answer.text.splitlines()
        if len(lines) != 1 or not lines[0].startswith("/"):
            raise TransportError(
                f"{answer.what}: the service does not say where the session is: "
                f"{self.session.words(answer)}"
            )
        parts = [unquote(part) for part in lines[0].strip("/").split("/")]
        names = parts[parts.index("projects") + 1 :: 2] if "projects" in parts else []
        if "prearchive" not in parts and len(names) == 3:
            return self.place.url(*names)
        if self.to == "archive":
            raise TransportError(
                f"{answer.what}: the session is not in the archive, it waits in "
                f"{self.session.words(answer)}"
            )
        return self.session.base + lines[0]

    async def _tell_waiting(self, error: HttpError) -> None:
        """Say what may be left: a refused session stays in the prearchive."""
        project, _, experiment = self.place.parts
        path = f"/data/prearchive/projects/{quoted(project)}"
        with suppress(SeriesIOError):
            rows = await self.session.listing(path, read=partial(rows_of, what=path))
            for row in rows:
                if experiment in (row.get("folderName"), row.get("name")):
                    url = f"{self.session.base}/data{row.get('url', '')}"
                    error.add_note(f"a session of this name waits in the prearchive: {url}")

    # --- what landed --------------------------------------------------------------------------

    async def _verify(
        self,
        finder: Finder,
        where: str,
        answer: Answer,
        expected: Counts,
        before: Counts,
    ) -> None:
        """Look until the catalogue lists as many files as were sent.

        Raises:
            TransportError: it does not.
        """
        path = answer.text.strip()

        async def look() -> list[str]:
            if self.to == "archive":
                return await self._lacking(finder, expected, before)
            return await self._lacking_there(path, expected)

        if wrong := await patiently(look):
            raise TransportError(f"{where}: not all that was sent has landed: {', '.join(wrong)}")

    async def _arrived(self, finder: Finder, expected: Counts, before: Counts) -> bool:
        """True if all is there although nobody has said so."""

        async def look() -> list[str]:
            try:
                return await self._lacking(finder, expected, before)
            except SeriesIOError as error:
                return [str(error)]

        return self.to == "archive" and not await patiently(look)

    async def _lacking(self, finder: Finder, expected: Counts, before: Counts) -> list[str]:
        after = await self._counts(finder, expected)
        after.subtract(before)
        return _lacking(expected, after)

    async def _counts(self, finder: Finder, expected: Counts) -> Counts:
        """How many files of each series the archive has."""
        scans = await finder.listed(self.place.parts)
        found: Counts = Counter()
        for name in expected:
            resources = [
                r for scan in scans if _is_of(scan, name) for r in await finder.files(scan)
            ]
            found[name] = sum(len(r.files) for r in resources if r.label in PREFERRED)
        return found

    async def _lacking_there(self, path: str, expected: Counts) -> list[str]:
        """What the prearchive lacks; it lists nothing until it has built a session."""
        try:
            rows = await self.session.listing(f"{path}/scans", read=partial(rows_of, what=path))
        except HttpError as error:
            if error.status == 404:
                return []
            raise
        there: Counts = Counter()
        for scan in [row.get("ID", "") for row in rows]:
            below = f"{path}/scans/{quoted(scan)}/resources"
            resources = await self.session.listing(below, read=partial(rows_of, what=path))
            counts = [row.get("file_count", "") for row in resources]
            for name in expected:
                if _is_named(scan, name):
                    there[name] += sum(int(n) for n in counts if n.isdecimal() and len(n) < 10)
        return _lacking(expected, there) if rows else []


def _is_of(scan: Scan, name: str) -> bool:
    return scan.uid == name or _is_named(scan.id, name)


def _is_named(scan: str, name: str) -> bool:
    return scan == name or scan.startswith(f"{name}-")


def _lacking(expected: Counts, found: Counts) -> list[str]:
    return [
        f"{found[name]} of {count} files of series {name}"
        for name, count in expected.items()
        if found[name] < count
    ]
