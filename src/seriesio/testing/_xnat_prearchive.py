"""The prearchive: listings, downloads, deleting, archiving."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

from ._xnat_archive import Archive
from ._xnat_download import file_answer, packed, scan_folder
from ._xnat_http import Answer, Refusal, Request, text
from ._xnat_import import archive_incoming, find_incoming, uri_list, visible_incoming
from ._xnat_listings import stamp
from ._xnat_model import Incoming, Resource, Scan
from ._xnat_paths import Finder
from ._xnat_tables import Row, Table, table_answer

__all__ = ["prearchive", "prearchive_service"]

_SESSIONS: Final = (
    *("project", "timestamp", "lastmod", "uploaded", "scan_date", "scan_time", "subject"),
    *("folderName", "name", "tag", "status", "url", "autoarchive", "prevent_anon"),
    *("prevent_auto_commit", "SOURCE", "visit", "protocol", "TIMEZONE"),
)
_SCANS: Final = ("ID", "xsiType", "series_description", "type", "quality")
_RESOURCES: Final = ("category", "cat_id", "label", "file_count", "file_size", "content", "format")
_FILES: Final = ("Name", "Size", "URI", "collection", "file_tags", "file_format", "file_content")


def prearchive(finder: Finder, parts: tuple[str, ...], request: Request) -> Answer:
    """Answer what is below ``/data/prearchive``; ``parts`` are the segments behind that.

    Raises:
        Refusal: 403, 404, 405, 409.
    """
    parts = tuple(part for part in parts if part)
    if parts[:1] != ("projects",):
        raise Refusal(404)
    if len(parts) < 4:
        return _sessions(finder, unquote(parts[1]) if len(parts) > 1 else "", request)
    path = "/prearchive/" + "/".join(parts[:4])
    session = find_incoming(finder.archive, finder.user, path)
    if request.method == "DELETE":
        finder.archive.prearchive.remove(session)
        return text()
    if request.method == "POST":
        return _act(finder, session, request)
    return _read(finder, session, parts[4:], request)


def _sessions(finder: Finder, project: str, request: Request) -> Answer:
    if project and project != "Unassigned":
        finder.project(project)
    found = visible_incoming(finder.archive, finder.user)
    rows = [_row(one) for one in found if project in {"", one.project}]
    return table_answer(Table(_SESSIONS, rows), request)


def _row(session: Incoming) -> Row:
    when = stamp(session.uploaded)
    return {
        "project": session.project,
        "timestamp": session.timestamp,
        "lastmod": when,
        "uploaded": when,
        "scan_date": session.fields.get("date", ""),
        "scan_time": session.fields.get("time", ""),
        "subject": session.subject,
        "folderName": session.label,
        "name": session.label,
        "tag": session.fields.get("UID", ""),
        "status": session.status,
        "url": session.url,
        "autoarchive": "Manual",
        "prevent_anon": "false",
        "prevent_auto_commit": "false",
    }


def _act(finder: Finder, session: Incoming, request: Request) -> Answer:
    action = request.query.get("action", "")
    if action == "commit":
        return uri_list(archive_incoming(finder, session, request))
    if action == "build":
        return uri_list(session.url)
    raise Refusal(400, f"unknown action {action}")


def prearchive_service(finder: Finder, verb: str, request: Request) -> Answer:
    """The services that archive, delete, move or rebuild the session that ``src`` names.

    Raises:
        Refusal: 400, 403, 404, 409.
    """
    session = find_incoming(finder.archive, finder.user, request.query.get("src", ""))
    if verb == "archive":
        return uri_list(archive_incoming(finder, session, request))
    if verb == "delete":
        finder.archive.prearchive.remove(session)
    elif verb == "move":
        session.project = finder.project(request.query.get("newProject", "")).id
    elif verb != "rebuild":
        raise Refusal(404)
    return uri_list(session.url)


# --- below one session ----------------------------------------------------------------------------


def _read(finder: Finder, session: Incoming, rest: tuple[str, ...], request: Request) -> Answer:
    """A session, its scans, their resources, the files of these."""
    names = dict(zip(rest[::2], rest[1::2], strict=False))
    kind = rest[-1] if len(rest) % 2 else ""
    if not rest:
        return _session(finder, session, request)
    if kind == "scans":
        return table_answer(Table(_SCANS, list(map(_scan_row, session.scans.values()))), request)
    scan = session.scans.get(unquote(names.get("scans", "")))
    if scan is None:
        raise Refusal(404)
    if kind == "resources":
        rows = [_resource_row(scan, one) for one in scan.resources.values()]
        return table_answer(Table(_RESOURCES, rows), request)
    resource = scan.resources.get(unquote(names.get("resources", "")))
    if resource is None:
        raise Refusal(404)
    return _files(finder.archive, session, scan, resource, names.get("files", ""), request)


def _session(finder: Finder, session: Incoming, request: Request) -> Answer:
    if request.format != "zip":
        return table_answer(Table(_SESSIONS, [_row(session)]), request)
    members = [
        (f"{session.label}/scans/{scan_folder(scan)}/resources/{one.label}/files/{path}", file)
        for scan in session.scans.values()
        for one in scan.resources.values()
        for path, file in one.files.items()
    ]
    return packed(session.label, members, finder.faults, deflate=False)


def _scan_row(scan: Scan) -> Row:
    known = {name: scan.fields.get(name, "") for name in _SCANS}
    return {**known, "ID": scan.id, "xsiType": scan.xsi_type}


def _resource_row(scan: Scan, resource: Resource) -> Row:
    return {
        "category": "scans",
        "cat_id": scan.id,
        "label": resource.label,
        "file_count": str(len(resource.files)),
        "file_size": str(resource.size),
        "content": resource.content,
        "format": resource.format,
    }


def _files(
    archive: Archive,
    session: Incoming,
    scan: Scan,
    resource: Resource,
    name: str,
    request: Request,
) -> Answer:
    if name:
        file = resource.files.get(unquote(name))
        if file is None:
            raise Refusal(404)
        return file_answer(file)
    base = f"/data{session.url}/scans/{scan.id}/resources/{resource.label}/files"
    rows = [
        {
            "Name": file.name,
            "Size": str(file.size),
            "URI": f"{base}/{file.path}",
            "collection": resource.label,
            "file_tags": file.tags,
            "file_format": file.format,
            "file_content": file.content,
        }
        for file in resource.files.values()
    ]
    return table_answer(Table(_FILES, rows, counted=False, title="Files"), request)
