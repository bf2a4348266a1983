"""An embedded DICOM archive for tests, demonstrations and local work.

It answers C-ECHO, C-FIND (patient root and study root, all levels), C-GET, C-MOVE, C-STORE and
storage commitment, as PS3.4 annexes A, B, C and J say, over instances in memory or in a directory.
It keeps and sends datasets byte for byte, and records what it is asked. Switched on, its
:class:`Faults` make it every bad archive that a client has to live with.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from pathlib import Path
from ssl import SSLContext
from typing import Final, Self
from urllib.parse import quote

import anyio.to_thread
from pynetdicom.ae import ApplicationEntity
from pynetdicom.presentation import build_context

from ..errors import TransportError
from ._archive_associations import Associations
from ._archive_faults import Faults
from ._archive_holdings import Holdings
from ._archive_records import AssociationRecord, Identity, Request
from ._archive_server import ArchiveServer
from ._archive_service import Destination, Service
from ._archive_wire import quiet
from ._stopping import Stopping

__all__ = ["DicomArchive"]

_VERIFICATION: Final = "1.2.840.10008.1.1"
_POLL: Final = 0.02  # seconds after which the listening thread looks whether it is to stop


class DicomArchive(Stopping):
    """A DICOM archive in this process; ``async with`` (or ``with``) starts and stops it.

    Its threads are pynetdicom's; none of them is left when the block ends, and no socket.

    Args:
        directory: whose files are served, with all below it, and where instances are stored (as
            study/series/instance.dcm); None: everything is in memory.
        ae_title: of the archive; associations for another title are rejected.
        host: the address to listen at; only this machine unless told otherwise.
        port: 0 takes a free one, see :attr:`port`.
        destinations: AE title → (host, port[, SSLContext]) of where C-MOVE may send to.
        ssl_context: for TLS; with ``verify_mode`` it asks for client certificates.
        authenticate: is asked about the user identity of each association (None: there was none
            negotiated); false rejects it.
        faults: what goes wrong; may be replaced while the archive runs.
        max_associations: at a time; more are rejected.
        instance_limit: bytes of one instance; larger ones are refused (0xA700).
        capacity: bytes of all instances together.
    """

    def __init__(
        self,
        directory: str | PathLike[str] | None = None,
        *,
        ae_title: str = "SERIESIO",
        host: str = "127.0.0.1",
        port: int = 0,
        destinations: Mapping[str, tuple[str, int] | tuple[str, int, SSLContext]] | None = None,
        ssl_context: SSLContext | None = None,
        authenticate: Callable[[Identity | None], bool] | None = None,
        faults: Faults = Faults(),  # noqa: B008 - frozen
        max_associations: int = 32,
        instance_limit: int = 1 << 30,
        capacity: int = 1 << 33,
    ) -> None:
        self.ae_title, self.host = ae_title, host
        self._asked_port, self._ssl_context = port, ssl_context
        folder = None if directory is None else Path(directory)
        self._holdings = Holdings(folder, instance_limit, capacity)
        self._destinations = {title: Destination(*at) for title, at in (destinations or {}).items()}
        self._associations = Associations(self._holdings, faults, authenticate, max_associations)
        self._service = Service(ae_title, self._associations, self._destinations)
        self._server: ArchiveServer | None = None
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        state = self.url if self._server else "not running"
        return f"<DicomArchive {state}, {len(self)} instances>"

    # --- running --------------------------------------------------------------------------

    def start(self) -> None:
        """Read the directory and listen. Blocks for as long as that takes.

        Raises:
            TransportError: the port is taken, the address is not ours, the directory unreadable.
            RuntimeError: it runs already.
        """
        if self._server is not None:
            raise RuntimeError("the archive runs already")
        quiet()
        self._holdings.load()
        self._associations.stopping.clear()
        self._server = self._listen()
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL,), name="DicomArchive", daemon=True
        )
        self._thread.start()

    def _listen(self) -> ArchiveServer:
        entity = ApplicationEntity(self.ae_title)
        entity.require_called_aet = True
        entity.maximum_associations = 1 << 16  # the service counts them
        entity.connection_timeout = 10
        address = (self.host, self._asked_port)
        try:
            server = entity.make_server(
                address,
                contexts=[build_context(_VERIFICATION)],
                ssl_context=self._ssl_context,
                evt_handlers=self._service.handlers(),
                server_class=ArchiveServer,
            )
        except OSError as error:
            raise TransportError(
                f"cannot listen at {self.host} port {self._asked_port}: {error.strerror}"
            ) from error
        assert isinstance(server, ArchiveServer)
        return server

    def stop(self) -> None:
        """Stop listening, abort what associations there are, and wait for all threads. Blocks."""
        server, thread, self._server = self._server, self._thread, None
        if server is None or thread is None:
            return
        self._associations.stopping.set()
        server.shutdown()
        thread.join()
        self._service.end()

    def __enter__(self) -> Self:
        self.start()
        return self

    async def __aenter__(self) -> Self:
        await anyio.to_thread.run_sync(self.start)
        return self

    @property
    def port(self) -> int:
        """Where it listens.

        Raises:
            RuntimeError: it does not run.
        """
        if self._server is None:
            raise RuntimeError("the archive does not run")
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """``dicom://host:port/AET``, or ``dicoms://…`` with TLS."""
        scheme = "dicom" if self._ssl_context is None else "dicoms"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}/{quote(self.ae_title, safe='')}"

    # --- contents -------------------------------------------------------------------------

    def add(self, *files: bytes | str | PathLike[str] | Iterable[bytes]) -> None:
        """Put instances into the archive: the bytes of Part 10 files, their paths, or many bytes.

        Raises:
            DicomError: one is no composite instance.
            TooLargeError: one is larger than the limit, or the archive is full.
        """
        for file in files:
            if isinstance(file, str | PathLike):
                self._add(Path(file).read_bytes())
            elif isinstance(file, bytes):
                self._add(file)
            else:
                self.add(*file)

    def _add(self, data: bytes) -> None:
        self._holdings.put(self._holdings.read(data))

    def __len__(self) -> int:
        return len(self._holdings.all())

    def files(self) -> dict[str, bytes]:
        """SOP Instance UID → the whole Part 10 file, in the order in which they came."""
        return {one.sop_instance: one.part10() for one in self._holdings.all()}

    def datasets(self) -> dict[str, tuple[str, bytes]]:
        """SOP Instance UID → transfer syntax UID and the encoded dataset, byte for byte."""
        held = self._holdings.all()
        return {one.sop_instance: (one.transfer_syntax, one.dataset()) for one in held}

    @property
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """Names of files of the directory that are no instances, each with the reason."""
        return tuple(self._holdings.skipped)

    # --- what tests change and look at ----------------------------------------------------

    @property
    def faults(self) -> Faults:
        """What goes wrong now."""
        return self._associations.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._associations.faults = faults

    def add_destination(
        self, ae_title: str, host: str, port: int, ssl_context: SSLContext | None = None
    ) -> None:
        """Let C-MOVE send to an application entity."""
        self._destinations[ae_title] = Destination(host, port, ssl_context)

    @property
    def associations(self) -> tuple[AssociationRecord, ...]:
        """Every association that was asked for, in order."""
        return self._associations.ledger.associations

    @property
    def requests(self) -> tuple[Request, ...]:
        """Every DIMSE request, in order."""
        return self._associations.ledger.requests

    @property
    def open_associations(self) -> int:
        """How many associations peers have with the archive now."""
        return self._associations.open

    def forget(self) -> None:
        """Clear the records of requests and of associations that have ended."""
        self._associations.ledger.clear()
