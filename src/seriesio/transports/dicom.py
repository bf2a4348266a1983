"""DICOM archives: read by C-GET (or C-MOVE), written by C-STORE, listed by C-FIND.

Each association has a worker thread of its own; what it receives comes over a bounded bridge.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from time import monotonic
from typing import TYPE_CHECKING, Final, Literal, TypeVar
from urllib.parse import unquote

from ..errors import (
    AssociationError,
    IncompleteSeriesError,
    LocationError,
    NotFoundError,
    StatusError,
)
from ..protocols import Entry, Receipt
from ._dicom_association import Association, Identity, Peer, Proposal, Timeouts
from ._dicom_dimse import C_ECHO_RQ, echo_request
from ._dicom_find import Finder
from ._dicom_inbound import Destination, destination_of
from ._dicom_jobs import Wanted
from ._dicom_listing import entries
from ._dicom_location import DicomLocation, parse_dicom_location
from ._dicom_query import FIND_PROPOSALS, IMPLICIT
from ._dicom_resolve import resolve
from ._dicom_retrieve import Retrieval
from ._dicom_session import ASSOCIATIONS, deadline, host_limiter, patiently, use
from ._dicom_status import status_words
from ._dicom_store import store
from ._dicom_title import checked_title
from ._netrc import login_of

if TYPE_CHECKING:
    from ..blob import Blob
    from ..location import Location
    from ..offload import Workers
    from ._dicom_found import FoundSeries
    from ._dicom_store_session import Transcode

__all__ = ["DicomTransport", "Timeouts"]

_VERIFICATION: Final = "1.2.840.10008.1.1"
_INSTANCE_LIMIT: Final = 1 << 32
_SHOWN: Final = 10

R = TypeVar("R")


class DicomTransport:
    """``dicom://host:port/AET[/patientID[/study[/series[/instance]]]]``; ``dicoms://`` with TLS.

    Args:
        location: a ``dicom`` or ``dicoms`` URL.
        workers: where what blocks for a moment is done; associations have threads of their own.
        auth: user, or user and password, to negotiate; "netrc": those that the file which
            ``NETRC`` names, or ``~/.netrc``, has for ``host:port`` or the host; over TLS they are
            used anyway. Those of the URL come first.
        ssl_context: for ``dicoms``; None: one that verifies the peer's certificate and name.
        aet: our AE title.
        move_to: AE title and port (``"AET:port"`` or a pair) of this machine that the archive
            knows, for one that has no C-GET, or reports on storage commitment by calling back;
            with a third part, an SSL context for servers, over TLS.
        transfer_syntaxes: UIDs of those to take, the preferred one first; None: all.
        timeouts: how long to wait for the peer.
        associations: how many may be open with the host at a time; the first to say so in an event
            loop is right.
        on_incomplete: "raise", or "warn": what is missing is told by :attr:`missing` only.
        single: one series is wanted: where C-FIND tells of several with images, that is said
            before any is read.
        transcode: what to do with an instance whose encoding the archive does not take.
        verify: ask by C-FIND whether all that was stored is there.
        commit: ask for storage commitment.

    Raises:
        LocationError: a malformed URL.
        ValueError: an AE title, or a number of associations, that cannot be.
    """

    def __init__(
        self,
        location: Location,
        workers: Workers,
        *,
        auth: str | tuple[str, str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        aet: str = "SERIESIO",
        move_to: str | tuple[str, int] | tuple[str, int, ssl.SSLContext] | None = None,
        transfer_syntaxes: Sequence[str] | None = None,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
        associations: int = ASSOCIATIONS,
        on_incomplete: Literal["raise", "warn"] = "raise",
        single: bool = False,
        transcode: Transcode | None = None,
        verify: bool = False,
        commit: bool = False,
    ) -> None:
        self._where = parse_dicom_location(location)
        self._workers = workers
        self._auth = _auth_of(location) or auth
        self._ssl_context = ssl_context
        self._aet = checked_title(aet)
        self._destination: Destination | None = destination_of(move_to)
        self._syntaxes = transfer_syntaxes
        self._timeouts = timeouts
        if associations < 1:
            raise ValueError(f"associations has to be 1 or more, not {associations}")
        self._associations = associations
        self._tolerant = on_incomplete == "warn"
        self._single = single
        self._transcode, self._verify, self._commit = transcode, verify, commit
        self._known_peer: Peer | None = None
        self.skipped: list[tuple[str, str]] = []
        self.missing: list[tuple[str, str]] = []
        self.warnings: list[str] = []

    def __repr__(self) -> str:
        return f"<DicomTransport {self._where}>"

    # --- reading --------------------------------------------------------------------------

    async def read(self) -> AsyncIterator[Blob]:
        """Yield every instance behind the URL as a Part 10 file, as they arrive.

        What has arrived is held against what the archive has announced by C-FIND.

        Raises:
            NotFoundError: nothing is there; names the level.
            AmbiguousSeriesError: an accession number or series number that several have.
            IncompleteSeriesError: instances are missing; names them, and the peer's reason.
            StatusError, AssociationError, UnsupportedByPeerError: the peer fails.
        """
        self.skipped, self.missing, self.warnings = [], [], []
        peer, begun = await self._peer(), monotonic()
        wanted = await self._session(peer, self._find, FIND_PROPOSALS)
        retrieval = Retrieval(
            peer,
            wanted,
            self._associations,
            self._syntaxes,
            self._destination,
            _INSTANCE_LIMIT,
            self._tolerant,
            monotonic() - begun,
        )
        async with aclosing(retrieval.blobs()) as blobs:
            async for blob in blobs:
                yield blob
        self.missing, self.warnings = retrieval.missing, retrieval.warnings
        self._report(peer)

    def _find(self, association: Association) -> list[Wanted]:
        """The series behind the URL, and the instances that the archive announces."""
        finder = Finder(association)
        if self._where.patient is None:
            raise LocationError(
                "a URL to read from goes on after the AE title: /patientID/study/series "
                "(* stands for any; list shows what is there)"
            )
        found = resolve(finder, self._where, single=self._single)
        wanted = [self._wanted(finder, one) for one in found]
        if self._where.instance and not any(one.instances for one in wanted):
            raise NotFoundError(
                f"{association.peer}: has no instance {self._where.instance} in the series at "
                "this URL (level IMAGE)"
            )
        some = [one for one in wanted if one.instances is None or one.instances]
        if not some:
            raise NotFoundError(
                f"{association.peer}: has no instances in the series at this URL (level IMAGE)"
            )
        return some

    def _wanted(self, finder: Finder, series: FoundSeries) -> Wanted:
        instance = self._where.instance
        try:
            found = tuple(finder.instances(series, instance))
        except StatusError as error:
            # Some archives have no queries for instances: what they send cannot be compared.
            if instance or not (error.status == 0xA900 or error.status & 0xF000 == 0xC000):
                raise
            return Wanted(series, None)
        return Wanted(series, found, bool(instance))

    def _report(self, peer: Peer) -> None:
        """Tell what is missing.

        Raises:
            IncompleteSeriesError: something is, and that is not tolerated.
        """
        if not self.missing:
            return
        if self._tolerant:
            self.skipped += [(uid, "missing") for uid, _ in self.missing]
            return
        told = "; ".join(f"{uid} {reason}" for uid, reason in self.missing[:_SHOWN])
        more = len(self.missing) - _SHOWN
        raise IncompleteSeriesError(
            f"{peer}: {len(self.missing)} missing: {told}{f'; and {more} more' * (more > 0)}",
            [f"{uid}: {reason}" for uid, reason in self.missing],
        )

    # --- listing --------------------------------------------------------------------------

    async def list(self) -> AsyncIterator[Entry]:
        """Yield what is directly below: patients, studies, series or instances.

        Attributes of entries: ``description``, ``modality``, ``count`` (of instances), ``date``
        (YYYYMMDD), ``number``, ``sop_class``; those that the archive tells.

        Raises:
            NotFoundError, AmbiguousSeriesError, StatusError, AssociationError: as :meth:`read`.
        """
        peer, where = await self._peer(), self._where

        def find(association: Association) -> list[Entry]:
            return entries(Finder(association), where)

        for entry in await self._session(peer, find, FIND_PROPOSALS):
            yield entry

    async def echo(self) -> float:
        """Ask whether the archive is there (C-ECHO): seconds until it has answered.

        Raises:
            StatusError, AssociationError, UnsupportedByPeerError: it is not, or not for us.
        """
        peer = await self._peer()
        return await self._session(peer, _echo, (Proposal(_VERIFICATION, (IMPLICIT,)),))

    # --- writing --------------------------------------------------------------------------

    async def taken(self) -> frozenset[str]:
        """No name is taken: instances have UIDs."""
        return frozenset()

    async def write(self, blobs: AsyncIterable[Blob], *, overwrite: bool = False) -> Receipt:
        """Store every instance by C-STORE; ``overwrite`` means nothing to an archive.

        Raises:
            StoreError: some were not stored; says which and why. All others were.
            AssociationError, UnsupportedByPeerError: the peer fails.
        """
        if self._where.patient is not None:
            raise LocationError(
                "a URL to write to ends with the AE title: instances say themselves whose they are"
            )
        peer = await self._peer()
        async with deadline(peer):
            return await store(
                blobs,
                peer,
                str(self._where),
                transcode=self._transcode,
                associations=self._associations,
                verify=self._verify,
                commit=self._commit,
                destination=self._destination,
            )

    # --- the peer -------------------------------------------------------------------------

    async def _peer(self) -> Peer:
        if self._known_peer is None:
            self._known_peer = await self._workers.run(self._make_peer)
        return self._known_peer

    def _make_peer(self) -> Peer:
        """Whom to talk to; reads certificates and credentials, so it blocks."""
        where, context = self._where, self._ssl_context
        if where.tls and context is None:
            context = ssl.create_default_context()
        return Peer(
            where.host,
            where.port,
            where.ae_title,
            self._aet,
            context if where.tls else None,
            _identity(self._auth, where),
            self._timeouts,
        )

    async def _session(
        self, peer: Peer, work: Callable[[Association], R], proposals: Sequence[Proposal]
    ) -> R:
        """Open an association, do something with it, release it."""

        def session(association: Association) -> R:
            association.open(proposals)
            result = work(association)
            association.release()
            return result

        limiter = host_limiter(peer, self._associations)
        async with deadline(peer):
            return await patiently(lambda: use(Association(peer), session, limiter))


def _echo(association: Association) -> float:
    begin, message = time.perf_counter(), association.next_message()
    context = association.context_for(_VERIFICATION)
    assert context is not None
    association.send(context, echo_request(message))
    answer = association.receive(first=True).command
    if answer.field != C_ECHO_RQ | 0x8000 or answer.message != message:
        raise AssociationError(f"{association.peer}: answers a C-ECHO with something else")
    if answer.status:
        words = status_words(answer.status)
        raise StatusError(f"{association.peer}: C-ECHO failed: {words}", answer.status)
    return time.perf_counter() - begin


# --- credentials ------------------------------------------------------------------------------


def _auth_of(location: Location) -> str | tuple[str, str] | None:
    user, colon, password = location.userinfo.partition(":")
    if not user:
        return None
    return (unquote(user), unquote(password)) if colon else unquote(user)


def _identity(auth: str | tuple[str, str] | None, where: DicomLocation) -> Identity | None:
    """The user to negotiate; without TLS a password of a netrc file is sent only when asked for."""
    if auth == "netrc" or (auth is None and where.tls):
        login = login_of([f"{where.host}:{where.port}", where.host], default=False)
        return None if login is None else Identity(login[0], login[1] or None)
    if auth is None:
        return None
    return Identity(auth) if isinstance(auth, str) else Identity(*auth)
