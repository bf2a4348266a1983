"""Files on their way in: bodies, forms, archives that are unpacked."""

from __future__ import annotations

import io
import json
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from typing import Final

from ._xnat_archive import Archive
from ._xnat_http import Answer, Refusal, Request, html, text
from ._xnat_model import Resource

__all__ = ["Upload", "read_uploads", "store", "unpack"]

_KNOWN: Final = frozenset(
    {
        *("application/octet-stream", "application/dicom", "application/zip", "application/x-zip"),
        *("application/x-tar", "application/tar", "application/x-gzip", "application/gzip"),
        *("application/xml", "application/json", "application/pdf", "image/gif", "image/jpeg"),
        *("image/png", "application/x-compressed", "application/x-zip-compressed"),
    }
)
_ARCHIVES: Final = (".zip", ".tar", ".tgz", ".tar.gz")
_ZIPPED: Final = frozenset({"application/zip", "application/x-zip-compressed"})
_DAMAGED: Final = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, LookupError, OSError, OverflowError, RuntimeError, ValueError),
)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that came."""

    name: str
    data: bytes = field(repr=False)


async def read_uploads(request: Request, name: str) -> list[Upload]:
    """The files in the body of a request; ``name`` wins over a form's own.

    Raises:
        Refusal: 400, a body that is not known to be a file; 500, an empty one or one without its
            length; 413.
    """
    if request.media_type == "multipart/form-data":
        return list(_form(await request.connection.body(), request.boundary, name))
    known = request.media_type in _KNOWN or request.media_type.startswith("text/")
    if not (request.flag("inbody") or known):
        raise Refusal(400, "Unsupported media type")
    zipped = request.media_type in _ZIPPED
    if request.headers.get("content-length", "0") == "0" and not zipped:
        raise Refusal(500, "The request body was empty")
    return [Upload(name, await request.connection.body())]


def _form(body: bytes, boundary: str, name: str) -> Iterator[Upload]:
    if not boundary:
        raise Refusal(400, "No boundary")
    mark = b"\r\n--" + boundary.encode("latin-1", "replace")
    for part in (b"\r\n" + body).split(mark)[1:]:
        if part.startswith(b"--"):
            return
        head, blank, data = part.partition(b"\r\n\r\n")
        own = _file_name(head)
        if blank and (own or name):
            yield Upload(name or own, data)
    raise Refusal(400, "The form does not end")


def _file_name(head: bytes) -> str:
    """The leaf of the file name in a part's headers; "" if it is no file."""
    message = Message()
    for line in head.decode("utf-8", "replace").split("\r\n"):
        key, _, value = line.partition(":")
        if key.strip().lower() == "content-disposition":
            message["content-disposition"] = value.strip()
    return (message.get_filename("") or "").replace("\\", "/").rpartition("/")[2]


# --- archives -------------------------------------------------------------------------------------


def unpack(upload: Upload, limit: int) -> Iterator[Upload]:
    """The files in an archive, by the ending of its name.

    Raises:
        Refusal: 500, it is damaged, or holds what java.util.zip cannot read from a stream; 413,
            its files have more than ``limit`` bytes together.
    """
    zipped = upload.name.lower().endswith(".zip")
    try:
        yield from _unzip(upload, limit) if zipped else _untar(upload, limit)
    except _DAMAGED as error:
        raise Refusal(500, f"An error occurred while unpacking: {type(error).__name__}") from None


def _unzip(upload: Upload, limit: int) -> Iterator[Upload]:
    with zipfile.ZipFile(io.BytesIO(upload.data)) as archive:
        _check(sum(member.file_size for member in archive.infolist()), limit)
        for member in archive.infolist():
            if member.flag_bits & 8 and member.compress_type == zipfile.ZIP_STORED:
                raise Refusal(500, "only DEFLATED entries can have EXT descriptor")
            if not member.is_dir():
                yield Upload(_inside(member.filename), archive.read(member))


def _untar(upload: Upload, limit: int) -> Iterator[Upload]:
    size = 0
    with tarfile.open(fileobj=io.BytesIO(upload.data)) as archive:
        for member in archive:
            size += member.size
            _check(size, limit)
            if member.isfile() and (stream := archive.extractfile(member)) is not None:
                yield Upload(_inside(member.name), stream.read())


def _check(size: int, limit: int) -> None:
    if size > limit:
        raise Refusal(413, f"more than {limit} bytes")


def _inside(name: str) -> str:
    parts = [part for part in name.replace("\\", "/").split("/") if part not in {"", "."}]
    if ".." in parts or not parts:
        raise Refusal(500, "an entry outside of the target directory")
    return "/".join(parts)


# --- storing --------------------------------------------------------------------------------------


def store(archive: Archive, resource: Resource, uploads: list[Upload], request: Request) -> Answer:
    """Put what came into a resource. Files that are there already stay, unless overwritten.

    Answers 200 with an empty body; or, also with 200, with the names of those that were there.
    """
    files = [one for upload in uploads for one in _expanded(upload, request)]
    overwrite = request.flag("overwrite")
    query = request.query
    about = (query.get("format", ""), query.get("content", ""), query.get("tags", ""))
    duplicates = []
    for one in files:
        if one.name in resource.files and not overwrite:
            duplicates.append(one.name)
        else:
            archive.put(resource, one.name, one.data, about)
    return html(200, json.dumps({"duplicates": duplicates})) if duplicates else text()


def _expanded(upload: Upload, request: Request) -> list[Upload]:
    if request.flag("extract") and upload.name.lower().endswith(_ARCHIVES):
        return list(unpack(upload, request.connection.limit))
    return [upload]
