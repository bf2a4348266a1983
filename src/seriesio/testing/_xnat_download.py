"""Files of resources: listings, zips, single files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from email.utils import format_datetime
from pathlib import Path
from typing import Final

from ._xnat_archive import Archive, Owner
from ._xnat_faults import XnatFaults
from ._xnat_http import Answer, Refusal, Request, attachment
from ._xnat_listings import file_table, listed_files
from ._xnat_model import Resource, Scan, StoredFile
from ._xnat_paths import Finder, Found, Target
from ._xnat_tables import table_answer
from ._xnat_zip import PIECE, zip_pieces

__all__ = ["file_answer", "files_answer", "packed", "scan_folder"]

_TYPES: Final = {
    ".zip": "application/zip",
    ".txt": "text/plain",
    ".xml": "text/xml",
    ".html": "text/html",
    ".json": "application/json",
    ".csv": "text/csv",
    ".gif": "image/gif",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".pdf": "application/pdf",
}


def media_type(name: str) -> str:
    return _TYPES.get(Path(name).suffix.lower(), "application/octet-stream")


def files_answer(finder: Finder, target: Target, request: Request, deflate: bool) -> Answer:
    """The files of a path: one of them, a zip, or a listing.

    Raises:
        Refusal: 404, no such file, or nothing to pack.
    """
    found = finder.resources(target)
    path = target.text("files")
    if path and not path.endswith("/"):
        return file_answer(_one(found, path, finder.faults))
    if request.format == "zip":
        compressed = request.query.get("compression", "8" if deflate else "0") != "0"
        return zip_answer(finder.archive, found, finder.faults, deflate=compressed)
    return table_answer(file_table(found, path, finder.faults), request)


def _one(found: Found, path: str, faults: XnatFaults) -> StoredFile:
    for _, resource in found.resources:
        for file, there in listed_files(resource, faults):
            if file.path == path and there:
                return file
    raise Refusal(404, "Unable to find file.")


def file_answer(file: StoredFile) -> Answer:
    """One file, with its length; ranges are not known."""
    headers = (
        ("Last-Modified", format_datetime(file.modified.replace(microsecond=0), usegmt=True)),
        ("Cache-Control", "must-revalidate"),
        attachment(file.name),
    )
    return Answer(200, _pieces(file), media_type(file.name), headers, size=file.size)


def _pieces(file: StoredFile) -> Iterator[bytes]:
    if isinstance(file.source, bytes):
        for start in range(0, len(file.source), PIECE):
            yield file.source[start : start + PIECE]
        return
    with file.source.open("rb") as stream:
        while piece := stream.read(PIECE):
            yield piece


# --- zips -----------------------------------------------------------------------------------------


def zip_answer(archive: Archive, found: Found, faults: XnatFaults, *, deflate: bool) -> Answer:
    """A zip of all files that were found, in chunks, without a length.

    Raises:
        Refusal: 404, there are none.
    """
    top = _top(found)
    members = [
        (member_name(top, owner, resource, file), file)
        for owner, resource in found.resources
        for file, there in listed_files(resource, faults)
        if there
    ]
    if not members:
        raise Refusal(404, "No files found")
    if len(members) >= 1 << 16 or sum(file.size for _, file in members) >= 1 << 32:
        raise Refusal(500, "more than a zip of this server can hold")
    return packed(top, members, faults, deflate=deflate)


def packed(
    top: str, members: Iterable[tuple[str, StoredFile]], faults: XnatFaults, *, deflate: bool
) -> Answer:
    """These members as a zip that is called after its uppermost directory."""
    pieces: Iterable[bytes] = zip_pieces(members, deflate=deflate, bomb=faults.zip_bomb)
    if faults.truncate_zip is not None:
        pieces = [b"".join(pieces)[: -faults.truncate_zip or None]]
    return Answer(body=pieces, content_type="application/zip", headers=(attachment(f"{top}.zip"),))


def _top(found: Found) -> str:
    above = found.experiment or found.subject or found.project
    return "files" if above is None else above.label


def member_name(top: str, owner: Owner, resource: Resource, file: StoredFile) -> str:
    """``SESSION/scans/ID-TYPE/resources/LABEL/files/PATH``."""
    path = f"resources/{resource.label}/files/{file.path}"
    if not isinstance(owner, Scan):
        return f"{top}/{path}"
    return "/".join((top, *in_path(f"scans/{owner.id}/{path}", owner)))


def in_path(path: str, scan: Scan) -> list[str]:
    """The parts of a path; wherever one is the scan's id, its type stands behind it."""
    return [scan_folder(scan) if part == scan.id else part for part in path.split("/")]


def scan_folder(scan: Scan) -> str:
    kind = re.sub(r"\W", "_", scan.type, flags=re.ASCII)
    return f"{scan.id}-{kind}" if kind else scan.id
