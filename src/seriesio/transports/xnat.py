"""XNAT: scans read while they arrive, new scans written whole or not at all.

``xnat://host[:port][/context]/project/subject/experiment/scan`` is https, ``xnat+http://`` plain
http. Labels and IDs serve alike; parts are percent-encoded.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from ..errors import LocationError
from ..protocols import Entry, Receipt
from ._http_client import HttpClient, Timeouts
from ._http_pool import Pool, PoolingWorkers
from ._http_retry import Retry
from ._xnat_answers import NoXnatError
from ._xnat_auth import COOKIE, Auth, Credentials, credentials
from ._xnat_find import Finder
from ._xnat_import import Importer
from ._xnat_location import LEVELS, XnatPlace, place_of, quoted
from ._xnat_read import Reader
from ._xnat_session import XnatSession
from ._xnat_target import WriteOptions
from ._xnat_write import Writer

if TYPE_CHECKING:
    from ..blob import Blob
    from ..location import Location
    from ..offload import Workers

__all__ = ["XnatTransport"]

_CONNECTIONS: Final = 16
_DOWNLOADS: Final = 12  # long ones, that may wait for whoever takes them: some have to be left


class XnatTransport:
    """A place on an XNAT. A Source, a Sink and a Catalogue.

    Args:
        auth: (user, password), or alias and secret of a token, or ("JSESSIONID", id) for a session
            that lives and is left alive; or the path of a netrc file.
            Without it: what stands in the URL, else the entry for this host in the file that
            ``NETRC`` names, else in ``~/.netrc``; else we are nobody.
        ssl_context: what to trust instead of the usual certificates (``SSL_CERT_FILE`` and
            ``SSL_CERT_DIR`` are heeded).
        context: the path below which XNAT runs ("/xnat"), where it cannot be told from the URL.
        resource: label of the resource to read, without it DICOM, else secondary; to write:
            DICOM.
        quality: only scans of this quality are read; of a new scan: "usable".
        via: "zip": one zip for many files; "files": each for itself, ``parallel`` at a time;
            "auto": by their number and size. "import" writes through the import service.
        scan_id: of the new scan; without it, what the URL says, else the series' number.
        scan_type, xsi_type, note: of the new scan; without them from its headers.
        content: of the new resource.
        compression: "stored" or "deflated" zips are sent.
        create_parents: make the subject and the experiment, where they are missing.
        import_to: "archive" or "prearchive"; ``merge``: "none", or "append" to a session.
        timeouts: seconds for "connect", "first_byte" and "idle".
        retries: how often to ask again where that is safe.
        memory: bytes that one scan may take while it is received; None: what the machine has.
        on_incomplete: "raise", or "warn": files that are listed and not there are told by
            :attr:`missing` only.
        http: an httpx transport instead of the network.
    """

    def __init__(
        self,
        location: Location,
        workers: Workers,
        *,
        auth: Auth = None,
        ssl_context: ssl.SSLContext | None = None,
        context: str | None = None,
        resource: str | None = None,
        quality: str | None = None,
        via: Literal["auto", "zip", "files", "import"] = "auto",
        scan_id: str | int | None = None,
        scan_type: str | None = None,
        xsi_type: str | None = None,
        note: str | None = None,
        content: str = "RAW",
        compression: Literal["stored", "deflated"] = "stored",
        create_parents: bool = False,
        import_to: Literal["archive", "prearchive"] = "archive",
        merge: Literal["none", "append"] = "none",
        parallel: int = 4,
        timeouts: Mapping[str, float] | None = None,
        retries: int = 3,
        memory: int | None = None,
        on_incomplete: Literal["raise", "warn"] = "raise",
        http: Any = None,
    ) -> None:
        _one_of("via", via, ("auto", "zip", "files", "import"))
        _one_of("compression", compression, ("stored", "deflated"))
        _one_of("import_to", import_to, ("archive", "prearchive"))
        _one_of("merge", merge, ("none", "append"))
        _one_of("on_incomplete", on_incomplete, ("raise", "warn"))
        self._place = place_of(location, context)
        self._userinfo = location.userinfo
        self._workers = workers
        self._auth = auth
        self._ssl = ssl_context
        self._http = http
        self._pool = workers.pool if isinstance(workers, PoolingWorkers) else None
        self._timeouts = Timeouts(**(timeouts or {}))
        self._retry = Retry(attempts=retries + 1)
        self._via = via
        self._parallel = max(parallel, 1)
        self._memory = memory
        self._resource, self._quality = resource, quality
        self._import_to, self._merge = import_to, merge
        self._options = WriteOptions(
            scan_id=None if scan_id is None else str(scan_id),
            scan_type=scan_type,
            xsi_type=xsi_type,
            quality=quality,
            note=note,
            resource=resource,
            content=content,
            deflate=compression == "deflated",
            create_parents=create_parents,
            parallel=self._parallel,
        )
        self._tolerant = on_incomplete == "warn"
        self.skipped: list[tuple[str, str]] = []
        self.missing: list[tuple[str, str]] = []

    # --- the three verbs ----------------------------------------------------------------------

    async def read(self) -> AsyncGenerator[Blob, None]:
        """Yield every file of the scan's resource as it arrives; of all scans of a shorter URL.

        Raises:
            NotFoundError: a part of the URL is not there; names it.
            AmbiguousSeriesError: its last part means several scans; lists them.
            IncompleteSeriesError: the catalogue lists files that are not there; names them.
            TransportError: the server cannot be reached or read, or does not let us in.
        """
        if self._via == "import":
            raise LocationError('via="import" is for writing')
        async with self._session() as (session, place):
            finder = Finder(session, place, self._resource, self._quality)
            memory = self._memory or _machine_memory()
            missing = self.missing if self._tolerant else None
            reader = Reader(
                session, self._workers, self._via, self._parallel, memory, self.skipped, missing
            )
            async with aclosing(finder.scans()) as scans:
                async for found in scans:
                    prefix = _prefix(place, found.place)
                    async with aclosing(reader.read(found, prefix)) as blobs:
                        async for blob in blobs:
                            yield blob

    async def list(self) -> AsyncGenerator[Entry, None]:
        """Yield what is directly below: projects, subjects, experiments, scans, or files.

        Raises:
            NotFoundError: a part of the URL is not there; names it.
            TransportError: the server cannot be reached or read, or does not let us in.
        """
        async with self._session() as (session, place):
            finder = Finder(session, place, self._resource, self._quality)
            async with aclosing(finder.entries()) as entries:
                async for entry in entries:
                    yield entry

    async def taken(self) -> frozenset[str]:
        """No name: a scan that is written is a new one."""
        return frozenset()

    async def write(self, blobs: AsyncIterable[Blob], *, overwrite: bool = False) -> Receipt:
        """Store every blob in a new scan, each series in one of its own, or none at all.

        With ``overwrite`` the files of a scan that is there are replaced: its old ones go when
        the new ones are all there.

        Raises:
            NotFoundError: subject or experiment are not there; names it.
            TargetExistsError: a scan of that ID is there, and ``overwrite`` is false.
            TransportError: the server cannot be reached, or does not take the files.
        """
        self._options.check()
        async with self._session() as (session, place):
            if len(place.parts) < 3:
                raise LocationError(
                    f"{place}: a new scan belongs into xnat://host/project/subject/experiment"
                )
            if self._via == "import":
                self._refuse_for_import(place, overwrite)
                return await self._importer(session, place).write(blobs)
            writer = Writer(session, self._workers, place, self._options, self._via)
            return await writer.write(blobs, overwrite)

    def _refuse_for_import(self, place: XnatPlace, overwrite: bool) -> None:
        """Refuse what the service would not heed: it names and describes scans itself."""
        options = self._options
        named = (options.scan_id, options.scan_type, options.xsi_type, options.note)
        if len(place.parts) > 3 or any((*named, options.quality, options.resource)):
            raise LocationError(
                f'{place}: via="import" leaves ID and description of scans to the server'
            )
        if overwrite:
            raise LocationError(f'{place}: via="import" replaces nothing; merge="append" adds')

    def _importer(self, session: XnatSession, place: XnatPlace) -> Importer:
        options = self._options
        return Importer(
            session,
            self._workers,
            place,
            self._import_to,
            self._merge,
            options.deflate,
            options.create_parents,
        )

    # --- sessions -----------------------------------------------------------------------------

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[tuple[XnatSession, XnatPlace]]:
        """The session of the host and user, and the place as the server has it.

        A client keeps it for its next calls; without one it ends with this call.
        """
        if self._pool is not None:
            yield await self._opened(self._pool)
            return
        pool = Pool()
        try:
            yield await self._opened(pool)
        finally:
            await pool.aclose()

    async def _opened(self, pool: Pool) -> tuple[XnatSession, XnatPlace]:
        who = await self._workers.run(credentials, self._auth, self._userinfo, self._place.host)
        first: NoXnatError | None = None
        for place in self._place.candidates():
            base = place.origin + (place.context or "")
            key = ("xnat", base, who, self._ssl, self._http)
            session = await pool.get(key, partial(self._made, base, who))
            try:
                await session.open()
                return session, place
            except NoXnatError as error:
                first = first or error
        assert first is not None
        raise first

    async def _made(self, base: str, who: Credentials | None) -> XnatSession:
        """A session that is still to be opened: what comes of that is known to all who share it."""
        make = partial(
            HttpClient,
            base,
            timeouts=self._timeouts,
            connections=_CONNECTIONS,
            ssl_context=self._ssl,
            transport=self._http,
            own=COOKIE,
        )
        http = await self._workers.run(make)
        return XnatSession(http, who, retry=self._retry, downloads=_DOWNLOADS)


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name}= is one of {', '.join(known)}")


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _prefix(asked: XnatPlace, found: XnatPlace) -> str:
    """What tells the files of several scans apart: the part of the path that was not given."""
    if len(asked.parts) == len(LEVELS):
        return ""
    return "".join(f"{quoted(part)}/" for part in found.parts[len(asked.parts) :])
