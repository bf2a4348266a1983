"""The import service and the prearchive: DICOM files that find their place by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from ._xnat_archive import Archive
from ._xnat_dicom import Header, read_header, resource_label, scan_fields, scan_type, session_type
from ._xnat_http import Answer, Refusal, Request, text
from ._xnat_model import Experiment, Incoming, Project, Scan, StoredFile, now
from ._xnat_paths import Finder
from ._xnat_sessions import User, may_edit
from ._xnat_upload import Upload, read_uploads, unpack

__all__ = ["archive_incoming", "find_incoming", "import_service", "uri_list", "visible_incoming"]

_ABOUT: Final = ("DICOM", "RAW", "")
_ENDINGS: Final = {
    "application/zip": ".zip",
    "application/x-zip-compressed": ".zip",
    "application/x-tar": ".tar",
    "application/tar": ".tar",
    "application/x-gzip": ".tgz",
    "application/gzip": ".tgz",
}


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an import is to go; ``archive``: at once, not by way of the prearchive."""

    project: str
    subject: str
    session: str
    archive: bool


def uri_list(*paths: str) -> Answer:
    """Paths as the services answer them."""
    return text("".join(f"{path}\r\n" for path in paths), content_type="text/uri-list")


def read_destination(request: Request) -> Destination:
    """Where an import is to go: ``dest``, or ``project``, ``subject`` and ``session``."""
    parts = [unquote(part) for part in request.query.get("dest", "").strip("/").split("/")]
    named = dict(zip(parts[1::2], parts[2::2], strict=False))
    query = request.query
    complete = parts[0] == "archive" and {"projects", "subjects", "experiments"} <= set(named)
    return Destination(
        named.get("projects") or query.get("project") or query.get("PROJECT_ID") or "Unassigned",
        named.get("subjects") or query.get("subject") or query.get("SUBJECT_ID", ""),
        named.get("experiments") or query.get("session") or query.get("EXPT_LABEL", ""),
        archive=complete,
    )


async def import_service(finder: Finder, request: Request) -> Answer:
    """Take one zip or tar of DICOM files.

    Raises:
        Refusal: 400, the format is not known, a file is no DICOM, or a conflict; 403, 404; 409, a
            conflict that the handler SI reports.
    """
    archive, where = finder.archive, read_destination(request)
    _check_project(finder, where.project)
    uploads = await read_uploads(request, "")
    files = [file for packed in uploads[:1] for file in _files(packed, request)]
    session = _receive(archive, where, files, request)
    if not where.archive:
        return uri_list(f"/data{session.url}")
    return uri_list(archive_incoming(finder, session, request, where))


def _check_project(finder: Finder, name: str) -> None:
    if name == "Unassigned":
        return
    project = finder.project(name)
    if not may_edit(finder.user, project):
        raise Refusal(403, "User does not have permission to import into this project")


def _files(packed: Upload, request: Request) -> Iterator[Upload]:
    """The files of the archive, whose kind the name says, or else the Content-Type."""
    ending = _ENDINGS.get(request.media_type, "")
    name = packed.name or (f"upload{ending}" if ending else "")
    if not name.lower().endswith((".zip", ".tar", ".tgz", ".tar.gz")):
        raise Refusal(400, "Unsupported format")
    return unpack(Upload(name, packed.data), request.connection.limit)


# --- into the prearchive --------------------------------------------------------------------------


def _receive(
    archive: Archive, where: Destination, files: Sequence[Upload], request: Request
) -> Incoming:
    """A new session in the prearchive of these files; those before one that is no DICOM stay."""
    lenient = request.query.get("Ignore-Unparsable", "").lower() == "true"
    good, bad = [], ""
    for file in files:
        header = read_header(file.data)
        if header is not None:
            good.append((header, file))
        elif not lenient:
            bad = file.name
            break
    session = _incoming(archive, where, good) if good else None
    if bad or session is None:
        raise Refusal(400, f"unable to read DICOM object {bad}" if bad else "no DICOM objects")
    return session


def _incoming(
    archive: Archive, where: Destination, files: Sequence[tuple[Header, Upload]]
) -> Incoming:
    first = files[0][0]
    session = Incoming(
        project=where.project,
        timestamp=f"{now():%Y%m%d_%H%M%S}{archive.number() % 1000:03}",
        label=where.session or first.patient_id or "session",
        subject=where.subject or first.patient or "subject",
        xsi_type=session_type(first.modality),
        fields={"UID": first.study, "date": first.date, "time": first.time},
    )
    for header, file in files:
        _take(archive, session, header, file)
    for scan in session.scans.values():
        headers = [header for header, _ in files if header.series == scan.fields["UID"]]
        scan.fields.update(scan_fields(headers))
    archive.prearchive.append(session)
    return session


def _take(archive: Archive, session: Incoming, header: Header, file: Upload) -> None:
    scan = _scan_for(archive, session, header.series_number, header.series, header.modality)
    resource = archive.make_resource(scan, resource_label(header), None)
    resource.format, resource.content = "DICOM", "RAW"
    archive.put(resource, header.file_name, file.data, _ABOUT)


def _scan_for(
    archive: Archive, session: Incoming | Experiment, number: str, series: str, modality: str
) -> Scan:
    """The scan of a series: its number, or a new id where another series has that."""
    name, count = number, 0
    while name in session.scans and session.scans[name].fields.get("UID") != series:
        count += 1
        name = f"{number}-{modality or 'OT'}{count}"
    scan = archive.make_scan(session, name, scan_type(modality))
    scan.fields.setdefault("UID", series)
    scan.fields.setdefault("modality", modality)
    return scan


def find_incoming(archive: Archive, user: User, path: str) -> Incoming:
    """The session of a path ``[/data]/prearchive/projects/P/TIMESTAMP/FOLDER``.

    Raises:
        Refusal: 404.
    """
    wanted = unquote(path).removeprefix("/data").rstrip("/")
    for one in visible_incoming(archive, user):
        if one.url == wanted:
            return one
    raise Refusal(404, "Unable to find the specified session in the prearchive")


def visible_incoming(archive: Archive, user: User) -> list[Incoming]:
    """The sessions of projects that a user may change; those of no project are for admins."""
    return [one for one in archive.prearchive if _may(user, archive.projects.get(one.project))]


def _may(user: User, project: Project | None) -> bool:
    return user.admin if project is None else may_edit(user, project)


# --- into the archive -----------------------------------------------------------------------------


def archive_incoming(
    finder: Finder, session: Incoming, request: Request, where: Destination | None = None
) -> str:
    """Move a session from the prearchive into the archive; its new path.

    Raises:
        Refusal: 400 from the importer of DICOM zips, 409 from all others: it is there already.
    """
    archive, query = finder.archive, request.query
    where = where or read_destination(request)
    project = where.project if where.project != "Unassigned" else session.project
    _check_project(finder, project)
    if project not in archive.projects:
        raise Refusal(400, "the session has no project")
    subject = archive.make_subject(archive.projects[project], where.subject or session.subject)
    label = where.session or session.label
    held = archive.experiment_of(project, label)
    mode = query.get("overwrite", "none").lower()
    if held is not None and (problem := _conflict(held, session, mode, request)):
        session.status = "CONFLICT"
        raise _refused(problem, request)
    experiment = held or archive.make_experiment(subject, label, session.xsi_type)
    experiment.fields.update(session.fields)
    for scan in session.scans.values():
        _merge(archive, experiment, scan, replaced=mode == "delete")
    archive.prearchive.remove(session)
    return f"/data/archive/projects/{project}/subjects/{subject.label}/experiments/{label}"


def _refused(problem: str, request: Request) -> Refusal:
    dicom_zip = request.query.get("import-handler", "DICOM-zip") == "DICOM-zip"
    if request.path.endswith("/import") and dicom_zip:
        return Refusal(400, "unable to archive for the Prearchive session")
    return Refusal(409, problem)


def _conflict(held: Experiment, session: Incoming, mode: str, request: Request) -> str:
    """Why a session cannot be merged into one that is there; "" if it can."""
    if mode not in {"append", "delete"}:
        return "Session already exists, retry with overwrite enabled"
    if mode == "delete" or request.flag("overwrite_files"):
        return ""
    old = {(scan.fields.get("UID"), file.path) for scan, file in _all_files(held)}
    new = {(scan.fields.get("UID"), file.path) for scan, file in _all_files(session)}
    return "Session already exists with matching files." if old & new else ""


def _all_files(session: Experiment | Incoming) -> Iterator[tuple[Scan, StoredFile]]:
    for scan in session.scans.values():
        for resource in scan.resources.values():
            for file in resource.files.values():
                yield scan, file


def _merge(archive: Archive, experiment: Experiment, came: Scan, *, replaced: bool) -> None:
    number, modality = came.id.partition("-")[0], came.fields.get("modality", "")
    scan = _scan_for(archive, experiment, number, came.fields["UID"], modality)
    if replaced:
        archive.remove_scan(experiment, scan.id, disk=True)
        scan = archive.make_scan(experiment, scan.id, came.xsi_type)
    scan.fields.update(came.fields)
    above = archive.subjects[experiment.subject].label
    for one in came.resources.values():
        names = (experiment.project, above, experiment.label, scan.id, one.label)
        resource = archive.make_resource(scan, one.label, archive.folder(*names))
        resource.format, resource.content = one.format, one.content
        for file in one.files.values():
            archive.put(resource, file.path, file.data(), _ABOUT)
