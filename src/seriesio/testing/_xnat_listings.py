"""The listings of XNAT: projects, subjects, experiments, scans, resources, files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import md5
from typing import Final

from ._xnat_archive import Owner
from ._xnat_faults import XnatFaults
from ._xnat_http import Answer, Request
from ._xnat_model import Experiment, Project, Resource, Scan, StoredFile, Subject
from ._xnat_paths import Finder, Found, Target
from ._xnat_tables import Row, Table, select, table_answer

__all__ = ["collection", "file_table", "listed_files", "resource_table", "stamp"]

_PROJECTS: Final = (
    *("ID", "secondary_ID", "name", "description", "pi_firstname", "pi_lastname", "URI"),
)
_SUBJECTS: Final = ("ID", "project", "label", "insert_date", "insert_user", "URI")
_KEY: Final = "xnat:subjectassessordata/id"
_EXPERIMENTS: Final = ("ID", "project", "date", "xsiType", _KEY, "label", "insert_date", "URI")
_SCANS: Final = (
    *("xnat_imagescandata_id", "ID", "type", "quality", "xsiType", "note"),
    *("series_description", "URI"),
)
_SCAN_FIELDS: Final = (
    *("type", "UID", "note", "quality", "condition", "series_description", "documentation"),
    *("scanner", "modality", "frames", "coil", "fieldStrength", "validation_status"),
)
_SESSION_FIELDS: Final = (
    *("date", "time", "note", "scanner", "operator", "modality", "UID", "session_type"),
    *("dcmAccessionNumber", "dcmPatientId", "dcmPatientName", "visit_id"),
)
_SUBJECT_FIELDS: Final = ("gender", "handedness", "dob", "yob", "age", "group", "src")
_RESOURCES: Final = (
    *("xnat_abstractresource_id", "label", "element_name", "category", "cat_id", "cat_desc"),
    *("file_count", "file_size", "tags", "content", "format"),
)
_FILES: Final = (
    *("Name", "Size", "URI", "collection", "file_tags", "file_format", "file_content"),
    *("cat_ID", "digest"),
)


def stamp(when: datetime) -> str:
    """A time as listings have it."""
    return when.strftime("%Y-%m-%d %H:%M:%S.%f")[:-5]


def collection(finder: Finder, target: Target, request: Request) -> Answer:
    """The listing of projects, subjects, experiments, scans or of the projects of an item."""
    found = finder.chain(target)
    finder.require(target, found)
    makers = {
        "projects": _projects,
        "subjects": _subjects,
        "experiments": _experiments,
        "scans": _scans,
        "shares": _shares,
    }
    return table_answer(makers[target.kind](finder, found, request), request)


# --- rows -----------------------------------------------------------------------------------------


def _projects(finder: Finder, found: Found, request: Request) -> Table:
    return select(map(_project_row, finder.projects()), _PROJECTS, request, always=("URI",))


def _project_row(project: Project) -> Row:
    known = {name: project.fields.get(name, "") for name in _PROJECTS}
    stamps = {"insert_date": stamp(project.inserted), "insert_user": "admin"}
    return {**known, **stamps, "ID": project.id, "URI": f"/data/projects/{project.id}"}


def _shares(finder: Finder, found: Found, request: Request) -> Table:
    item = found.experiment or found.subject
    assert item is not None
    names = (item.project, *item.shares)
    held = [one for name in names if (one := finder.archive.projects.get(name)) is not None]
    return select(map(_project_row, held), _PROJECTS, request, always=("URI",))


def _label(item: Subject | Experiment, found: Found) -> str:
    """The label in the project of the path."""
    if found.project is None or found.project.id == item.project:
        return item.label
    return item.shares.get(found.project.id, item.label)


def _is_in(item: Subject | Experiment, found: Found) -> bool:
    return found.project is None or found.project.id in (item.project, *item.shares)


def _subjects(finder: Finder, found: Found, request: Request) -> Table:
    held = [one for one in finder.archive.subjects.values() if _is_in(one, found)]
    rows = [_subject_row(one, found) for one in held if finder.readable(one)]
    return select(rows, _SUBJECTS, request, always=("URI",), paged=True)


def _subject_row(subject: Subject, found: Found) -> Row:
    return {
        **{name: subject.fields.get(name, "") for name in _SUBJECT_FIELDS},
        "ID": subject.id,
        "project": subject.project,
        "label": _label(subject, found),
        "insert_date": stamp(subject.inserted),
        "insert_user": "admin",
        "URI": f"/data/subjects/{subject.id}",
    }


def _experiments(finder: Finder, found: Found, request: Request) -> Table:
    held = [one for one in finder.archive.experiments.values() if _is_in(one, found)]
    if found.subject is not None:
        held = [one for one in held if one.subject == found.subject.id]
    rows = [_experiment_row(finder, one, found) for one in held if finder.readable(one)]
    return select(rows, _EXPERIMENTS, request, always=(_KEY, "URI"), paged=True)


def _experiment_row(finder: Finder, experiment: Experiment, found: Found) -> Row:
    subject = finder.archive.subjects.get(experiment.subject)
    return {
        **{name: experiment.fields.get(name, "") for name in _SESSION_FIELDS},
        "ID": experiment.id,
        _KEY: experiment.id,
        "project": experiment.project,
        "xsiType": experiment.xsi_type,
        "label": _label(experiment, found),
        "subject_ID": experiment.subject,
        "subject_label": "" if subject is None else subject.label,
        "subject_project": "" if subject is None else subject.project,
        "insert_date": stamp(experiment.inserted),
        "insert_user": "admin",
        "URI": f"/data/experiments/{experiment.id}",
    }


def _scans(finder: Finder, found: Found, request: Request) -> Table:
    assert found.experiment is not None
    held = finder.shown(found.experiment.scans.values())
    rows = [_scan_row(found.experiment, scan) for scan in held]
    return select(rows, _SCANS, request, always=("xnat_imagescandata_id", "URI"))


def _scan_row(experiment: Experiment, scan: Scan) -> Row:
    return {
        **{name: scan.fields.get(name, "") for name in _SCAN_FIELDS},
        "xnat_imagescandata_id": str(scan.number),
        "ID": scan.id,
        "xsiType": scan.xsi_type,
        "insert_date": stamp(scan.inserted),
        "insert_user": "admin",
        "URI": f"/data/experiments/{experiment.id}/scans/{scan.id}",
    }


# --- resources ------------------------------------------------------------------------------------


def resource_table(finder: Finder, found: Found, request: Request) -> Table:
    """The resources that were found; those of all scans of a session with ``all=true``."""
    pairs: Sequence[tuple[Owner, Resource]] = found.resources
    if found.owner is found.experiment is not None and request.flag("all"):
        scans = finder.shown(found.experiment.scans.values())
        below = [(scan, one) for scan in scans for one in scan.resources.values()]
        pairs = [*pairs, *below]
    return Table(_RESOURCES, [resource_row(*pair, finder.faults) for pair in pairs])


def resource_row(owner: Owner, resource: Resource, faults: XnatFaults) -> Row:
    """What a listing says of a resource."""
    scan = owner if isinstance(owner, Scan) else None
    count, size = len(resource.files) + faults.count_offset, resource.size
    return {
        "xnat_abstractresource_id": str(resource.number),
        "label": resource.label,
        "element_name": "xnat:resourceCatalog",
        "category": "scans" if scan else "resources",
        "cat_id": scan.id if scan else "",
        "cat_desc": scan.type if scan else "",
        "file_count": "" if faults.no_counts else str(count),
        "file_size": "" if faults.no_counts else str(size),
        "tags": "",
        "content": resource.content,
        "format": resource.format,
    }


# --- files ----------------------------------------------------------------------------------------


def listed_files(resource: Resource, faults: XnatFaults) -> list[tuple[StoredFile, bool]]:
    """The files that a listing names, in no order; whether each is there."""
    lost = set(sorted(resource.files)[: faults.missing_files])
    files = sorted(resource.files.values(), key=lambda file: md5_of(file.path))
    return [(file, file.path not in lost) for file in files]


def md5_of(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def file_table(found: Found, folder: str, faults: XnatFaults) -> Table:
    """The files of resources that were found, of a folder in them if it is not ""."""
    rows = [row for pair in found.resources for row in file_rows(found, *pair, folder, faults)]
    return Table(_FILES, rows, counted=False, title="Files")


def file_rows(
    found: Found, owner: Owner, resource: Resource, folder: str, faults: XnatFaults
) -> Iterable[Row]:
    """What a listing says of the files of a resource."""
    base = _base(found, owner)
    for file, _ in listed_files(resource, faults):
        if file.path.startswith(folder):
            uri = f"{base}/resources/{resource.number}/files/{file.path}"
            yield _file_row(file, resource, uri, faults)


def _base(found: Found, owner: Owner) -> str:
    """The owner's path with accession ids: the long one if one resource was named by it."""
    if found.experiment is None:
        kind = "subjects" if isinstance(owner, Subject) else "projects"
        return f"/data/{kind}/{owner.id}"
    above, project, subject = "", found.project, found.subject
    if found.named and len(found.resources) == 1 and project and subject:
        above = f"/projects/{project.id}/subjects/{subject.id}"
    below = f"/scans/{owner.id}" if isinstance(owner, Scan) else ""
    return f"/data{above}/experiments/{found.experiment.id}{below}"


def _file_row(file: StoredFile, resource: Resource, uri: str, faults: XnatFaults) -> Row:
    digest = "" if faults.no_digests else file.md5
    return {
        "Name": file.name,
        "Size": str(file.size + faults.size_offset),
        "URI": uri,
        "collection": resource.label,
        "file_tags": file.tags,
        "file_format": file.format,
        "file_content": file.content,
        "cat_ID": str(resource.number),
        "digest": md5_of(digest) if digest and faults.wrong_digests else digest,
    }
