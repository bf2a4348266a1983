"""Writing through the import service: the server sorts the files into scans itself."""

from __future__ import annotations

from collections.abc import AsyncIterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

from ..errors import TransportError
from ..protocols import Receipt
from ._xnat_find import Finder
from ._xnat_location import XnatPlace
from ._xnat_pack import pack

if TYPE_CHECKING:
    from ..blob import Blob
    from ..offload import Workers
    from ._xnat_session import XnatSession

__all__ = ["Importer"]


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

        Raises:
            NotFoundError: the project, or without ``create_parents`` the subject or the
                experiment, is not there.
            TransportError: the service does not take them, or does not say where they are.
        """
        whole = self.to == "archive" and not self.create_parents
        finder = Finder(self.session, self.place)
        await finder.require(self.place.parts[: 3 if whole else 1])
        packed = await self.workers.run(pack, [blob async for blob in blobs], self.deflate)
        names = tuple(sent.name for sent in packed.sent)
        size = sum(sent.size for sent in packed.sent)
        if not names:
            return Receipt(str(self.place), (), 0, 0)
        answer = await self.session.fetch(
            "POST",
            "/data/services/import",
            params=self._params(),
            body=packed.body(self.workers),
            patience=10.0,
        )
        return Receipt(self._landed(answer.text, answer.what), names, len(names), size)

    def _params(self) -> dict[str, str]:
        project, subject, experiment = self.place.parts[:3]
        params = {"import-handler": "DICOM-zip", "inbody": "true"}
        if self.merge == "append":
            params["overwrite"] = "append"
        if self.to == "archive":
            path = f"/archive/projects/{project}/subjects/{subject}/experiments/{experiment}"
            return params | {"dest": path}
        return params | {"project": project, "subject": subject, "session": experiment}

    def _landed(self, text: str, what: str) -> str:
        """Where the session is: an ``xnat://`` URL in the archive, the server's own else."""
        lines = text.splitlines()
        if len(lines) != 1 or not lines[0].startswith("/"):
            raise TransportError(
                f"{what}: the service does not say where the session is: {text[:200]!r}"
            )
        parts = [unquote(part) for part in lines[0].strip("/").split("/")]
        names = parts[parts.index("projects") + 1 :: 2] if "projects" in parts else []
        if "prearchive" not in parts and len(names) == 3:
            return self.place.url(*names)
        if self.to == "archive":
            raise TransportError(
                f"{what}: the session is not in the archive, it waits in {lines[0][:200]!r}"
            )
        return self.session.base + lines[0]
