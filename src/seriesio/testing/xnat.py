"""An XNAT 1.8 stand-in for tests, demonstrations and local work: a plain ASGI application.

It answers XNAT's REST interface as its sources, its tests and its clients say: sessions, listings,
items, files, streamed zips, uploads, the import service, the prearchive; also where XNAT surprises:
an unknown scan shows the subject's files, a refused upload is answered with 200. Switched on, its
:class:`XnatFaults` make it every bad server that a client has to live with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from ._xnat_answering import Service
from ._xnat_archive import Archive
from ._xnat_dicom import read_header
from ._xnat_faults import XnatFaults
from ._xnat_http import Gone, Receive, Scope, Send
from ._xnat_records import XnatRequest
from ._xnat_routes import Router
from ._xnat_serve import Serving
from ._xnat_sessions import Door, Role, User

__all__ = ["XnatServer"]

Accessibility = Literal["public", "protected", "private"]


class XnatServer:
    """An XNAT in this process: an ASGI application.

    In process it serves ``httpx.AsyncClient(transport=httpx.ASGITransport(server))``; cuts come
    out of that as ConnectionResetError, and bodies come whole. On a port it streams, see
    :meth:`serve`.

    Args:
        directory: whose files ``PROJECT/SUBJECT/EXPERIMENT/SCAN/RESOURCE/…`` are held, and where
            files of scans are stored and deleted; None: everything is in memory.
        users: names and passwords of administrators; see also :meth:`add_user`.
        context: the path below which it is, as "/xnat".
        version: that it says it has.
        deflate: zips are deflated (``zipCompressionMethod`` 8), not stored, unless a request says
            ``compression=``.
        site: the beginning of accession ids.
        idle: seconds after which an unused session is dead.
        max_sessions: that one user may have at a time.
        upload_limit: bytes of the body of a request, and of what is unpacked from it.
        faults: what goes wrong; may be replaced while the server runs.
    """

    def __init__(
        self,
        directory: str | PathLike[str] | None = None,
        *,
        users: Mapping[str, str] | None = None,
        context: str = "",
        version: str = "1.8.10",
        deflate: bool = False,
        site: str = "XNAT",
        idle: float = 900.0,
        max_sessions: int = 1000,
        upload_limit: int = 1 << 31,
        faults: XnatFaults = XnatFaults(),  # noqa: B008 - frozen
    ) -> None:
        self._archive = Archive(None if directory is None else Path(directory), site)
        self._door = Door(max_sessions, idle)
        self._context = context.rstrip("/")
        router = Router(self._archive, self._door, version, deflate)
        self._service = Service(router, self._context, upload_limit, faults)
        for name, password in ({"admin": "admin"} if users is None else users).items():
            self.add_user(name, password)
        self._archive.load()

    def __repr__(self) -> str:
        projects, sessions = len(self._archive.projects), len(self._archive.experiments)
        return f"<XnatServer, {projects} projects, {sessions} sessions>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it.

        Raises:
            ConnectionResetError: what the server around it takes as the end of the connection.
        """
        if scope["type"] != "http":
            raise Gone("only HTTP is spoken here")
        await self._service(scope, receive, send)

    def serve(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        certificate: tuple[str | PathLike[str], str | PathLike[str]] | None = None,
    ) -> Serving:
        """Be on a port: ``async with server.serve() as url`` (or ``with``).

        uvicorn runs in a thread of its own; nothing of it is left when the block ends.

        Args:
            host: the address to listen at.
            port: 0 takes a free one.
            certificate: files of a certificate and its key, for https.
        """
        return Serving(self, host, port, self._context, certificate)

    # --- users --------------------------------------------------------------------------------

    def add_user(
        self,
        name: str,
        password: str,
        *,
        admin: bool = True,
        roles: Mapping[str, Role] | None = None,
    ) -> None:
        """Add an account: an administrator, or one that has roles in some projects.

        A collaborator may read, a member may write as well, an owner may delete as well.
        """
        held = dict(roles or {})
        self._door.users[name] = User(name, password, admin and roles is None, held)

    def issue_token(self, user: str) -> tuple[str, str]:
        """An alias token: a name and a password that serve for two days in place of a user's."""
        return self._door.issue(user)

    def expire_sessions(self) -> None:
        """End all sessions, as a restart does."""
        self._door.sessions.clear()

    @property
    def open_sessions(self) -> int:
        """How many sessions there are now."""
        self._door.sweep()
        return len(self._door.sessions)

    # --- contents -----------------------------------------------------------------------------

    def add_project(
        self, project: str, *, accessibility: Accessibility = "private", **fields: str
    ) -> None:
        """Make a project, or change it; ``fields`` are name, description …"""
        made = self._archive.make_project(project)
        made.accessibility = accessibility
        made.fields.update(fields)

    def add_subject(self, project: str, subject: str, **fields: str) -> str:
        """Make a subject, or change it; its accession id."""
        made = self._archive.make_subject(self._archive.make_project(project), subject)
        made.fields.update(fields)
        return made.id

    def add_experiment(
        self,
        project: str,
        subject: str,
        experiment: str,
        *,
        xsi_type: str = "xnat:mrSessionData",
        **fields: str,
    ) -> str:
        """Make an image session, or change it; its accession id."""
        owner = self._archive.make_subject(self._archive.make_project(project), subject)
        made = self._archive.make_experiment(owner, experiment, xsi_type)
        made.fields.update(fields)
        return made.id

    def add_scan(
        self,
        project: str,
        subject: str,
        experiment: str,
        scan: str,
        files: Mapping[str, bytes | str | PathLike[str]] | Iterable[bytes | str | PathLike[str]],
        *,
        resource: str = "DICOM",
        xsi_type: str | None = None,
        **fields: str,
    ) -> str:
        """Put files into a scan, made with all above it where it is missing.

        Type, description, UID, frames, modality and xsi:type come from the headers of those files
        that are DICOM, unless ``fields`` have others.

        Args:
            files: bytes of files, or their paths; a mapping gives them their paths in the resource.

        Returns:
            ``project/subject/experiment/scan``, percent-encoded, for a URL.
        """
        names = (project, subject, experiment, scan)
        self._archive.add_scan(names, resource, _named(files), xsi_type, fields)
        return "/".join(quote(name, safe="") for name in names)

    def share(self, project: str, experiment: str, other: str, label: str = "") -> None:
        """Share an image session into another project, under another label if one is given.

        Raises:
            KeyError: there is no such experiment.
        """
        found = self._archive.experiment_of(project, experiment)
        if found is None:
            raise KeyError(experiment)
        self._archive.make_project(other)
        found.shares[other] = label or found.label

    def accession(self, project: str, experiment: str) -> str:
        """The accession id of an image session.

        Raises:
            KeyError: there is no such experiment.
        """
        found = self._archive.experiment_of(project, experiment)
        if found is None:
            raise KeyError(experiment)
        return found.id

    def scans(self, project: str, experiment: str) -> dict[str, dict[str, str]]:
        """The fields of each scan of an image session, with its xsiType; {} if there is none."""
        found = self._archive.experiment_of(project, experiment)
        held = {} if found is None else found.scans
        return {name: {**scan.fields, "xsiType": scan.xsi_type} for name, scan in held.items()}

    def files(
        self, project: str, experiment: str, scan: str, resource: str = "DICOM"
    ) -> dict[str, bytes]:
        """The files of a scan's resource, by their paths in it; {} if there are none."""
        found = self._archive.experiment_of(project, experiment)
        held = None if found is None else found.scans.get(scan)
        if held is None or resource not in held.resources:
            return {}
        return {path: file.data() for path, file in held.resources[resource].files.items()}

    @property
    def prearchive(self) -> tuple[str, ...]:
        """The paths of sessions that wait in the prearchive."""
        return tuple(one.url for one in self._archive.prearchive)

    # --- what tests change and look at --------------------------------------------------------

    @property
    def faults(self) -> XnatFaults:
        """What goes wrong now."""
        return self._service.faults

    @faults.setter
    def faults(self, faults: XnatFaults) -> None:
        self._service.faults = faults

    @property
    def requests(self) -> tuple[XnatRequest, ...]:
        """Every request that was answered or cut, in the order in which that ended."""
        return tuple(self._service.records)

    def forget(self) -> None:
        """Clear the records of requests."""
        self._service.records.clear()


def _named(
    files: Mapping[str, bytes | str | PathLike[str]] | Iterable[bytes | str | PathLike[str]],
) -> dict[str, bytes | Path]:
    """Each file by its name: of the path, or as XNAT calls what it imports."""
    if isinstance(files, Mapping):
        return {name: _source(file) for name, file in files.items()}
    sources = [_source(file) for file in files]
    return {_name(source, number): source for number, source in enumerate(sources, 1)}


def _source(file: bytes | str | PathLike[str]) -> bytes | Path:
    return file if isinstance(file, bytes) else Path(file)


def _name(source: bytes | Path, number: int) -> str:
    if isinstance(source, Path):
        return source.name
    header = read_header(source)
    return header.file_name if header else f"{number:06}"
