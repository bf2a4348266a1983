"""Making, changing and sharing projects, subjects, experiments, scans and resources."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ._xnat_archive import Archive, Owner
from ._xnat_http import Answer, Refusal, Request, text
from ._xnat_model import Project, Resource, Scan
from ._xnat_paths import Finder, Found, Target
from ._xnat_sessions import may_edit, sees
from ._xnat_upload import read_uploads, store

__all__ = ["NO_RIGHT", "editable", "owner_of", "put_item", "put_resource", "share", "upload"]

_CONTROLS: Final = frozenset(
    {
        *("xsiType", "req_format", "format", "event_reason", "event_type", "event_action"),
        *("event_id", "allowDataDeletion", "XNAT_CSRF", "activate", "quarantine"),
        *("triggerPipelines", "fixScanTypes", "pullDataFromHeaders"),
    }
)
_ABSTRACT: Final = frozenset({"xnat:imageScanData", "xnat:imageSessionData"})
_BASES: Final = {
    "ScanData": "xnat:imageScanData",
    "SessionData": "xnat:imageSessionData",
}
_GENERAL: Final = frozenset(
    {"xnat:experimentData", "xnat:subjectAssessorData", "xnat:subjectData", "xnat:projectData"}
)
NO_RIGHT: Final = "Specified user account has insufficient privileges for this project"


def fields_of(query: Mapping[str, str], xsi_type: str) -> dict[str, str]:
    """The fields that a query sets; those of other types are ignored."""
    suffix = next((base for base in _BASES if xsi_type.endswith(base)), "")
    own = {xsi_type, _BASES.get(suffix, "")} | _GENERAL
    found: dict[str, str] = {}
    for name, value in query.items():
        kind, colon, field = name.partition("/")
        if not colon and name not in _CONTROLS and ":" not in name:
            found[name] = value
        elif colon and kind in own:
            found[field] = value
    return found


# --- items ----------------------------------------------------------------------------------------


def put_item(finder: Finder, target: Target, request: Request) -> Answer:
    """Make or change what a path names.

    Raises:
        Refusal: 400, 403, 404, 409 or 417.
    """
    if target.rest or target.kind not in {"projects", "subjects", "experiments", "scans"}:
        raise Refusal(404)
    if target.kind == "projects":
        return _put_project(finder, target.text("projects"), request)
    found = finder.chain(target)
    project = editable(finder, found)
    if target.kind == "scans":
        return _put_scan(finder, target, found, request)
    if target.kind == "experiments":
        return _put_experiment(finder, target, project, found, request)
    return _put_subject(finder.archive, target, project, found, request)


def editable(finder: Finder, found: Found) -> Project:
    """The project of what was found; 403 if the user may change nothing there."""
    item = found.experiment or found.subject
    name = found.project.id if found.project else item.project if item else ""
    project = finder.archive.projects.get(name)
    if project is None:
        raise Refusal(404, "Unable to find the specified item")
    if not may_edit(finder.user, project):
        raise Refusal(403, NO_RIGHT)
    return project


def _put_project(finder: Finder, name: str, request: Request) -> Answer:
    found = finder.archive.projects.get(name)
    allowed = may_edit(finder.user, found) if found else finder.user.admin
    if not allowed:
        hidden = found is not None and not sees(finder.user, found)
        raise Refusal(404 if hidden else 403, NO_RIGHT)
    project = finder.archive.make_project(name)
    project.fields.update(fields_of(request.query, "xnat:projectData"))
    return text(name)


def _put_subject(
    archive: Archive, target: Target, project: Project, found: Found, request: Request
) -> Answer:
    new = found.subject is None
    subject = found.subject or archive.make_subject(project, target.text("subjects"))
    fields = fields_of(request.query, "xnat:subjectData")
    subject.label = fields.pop("label", subject.label)
    subject.fields.update(fields)
    return text(subject.id, 201 if new else 200)


def _put_experiment(
    finder: Finder, target: Target, project: Project, found: Found, request: Request
) -> Answer:
    archive, experiment = finder.archive, found.experiment
    kind = request.query.get("xsiType", experiment.xsi_type if experiment else "")
    if not kind:
        raise Refusal(417, "Please specify the xsiType")
    if kind in _ABSTRACT:
        raise Refusal(400, f"{kind} is abstract")
    new = experiment is None
    if experiment is None:
        if not target.text("subjects"):
            raise Refusal(404, "Unable to find the specified subject")
        subject = found.subject or archive.make_subject(project, target.text("subjects"))
        experiment = archive.make_experiment(subject, target.text("experiments"), kind)
    fields = fields_of(request.query, experiment.xsi_type)
    experiment.label = fields.pop("label", experiment.label)
    experiment.fields.update(fields)
    return text(experiment.id, 201 if new else 200)


def _put_scan(finder: Finder, target: Target, found: Found, request: Request) -> Answer:
    experiment, name = found.experiment, target.names["scans"]
    if experiment is None:
        raise Refusal(404, "Unable to find the specified experiment")
    scan, kind = experiment.scans.get(name), request.query.get("xsiType", "")
    if kind in _ABSTRACT:
        raise Refusal(400, f"{kind} is abstract")
    if scan is None and not kind:
        raise Refusal(417, "Please specify the xsiType")
    if scan is not None and kind not in {"", scan.xsi_type}:
        raise Refusal(409, "A scan of another type has this id")
    scan = scan or finder.archive.make_scan(experiment, name, kind)
    scan.fields.update(fields_of(request.query, scan.xsi_type))
    for key in {"ID", "id"} & set(scan.fields):
        del scan.fields[key]
    return text()


def share(finder: Finder, target: Target, request: Request) -> Answer:
    """Share a subject or an experiment into another project; DELETE takes it back."""
    found = finder.chain(Target(target.names, "shares", many=True))
    item = found.experiment or found.subject
    if item is None:
        raise Refusal(404)
    editable(finder, found)
    other = finder.project(target.text("shares"))
    if not may_edit(finder.user, other):
        raise Refusal(403, NO_RIGHT)
    if request.method == "DELETE":
        item.shares.pop(other.id, None)
    elif other.id in (item.project, *item.shares):
        raise Refusal(409, "Already assigned")
    else:
        item.shares[other.id] = request.query.get("label", item.label)
    return text()


# --- resources and files --------------------------------------------------------------------------


def put_resource(finder: Finder, target: Target, request: Request) -> Answer:
    """Make a resource.

    Raises:
        Refusal: 403, 404; 409, it is there already.
    """
    found, owner = owner_of(finder, target)
    editable(finder, found)
    label = target.text("resources")
    if label in owner.resources:
        raise Refusal(409, "Specified resource already exists.")
    _make_resource(finder.archive, found, owner, label, request)
    return text()


def _make_resource(
    archive: Archive, found: Found, owner: Owner, label: str, request: Request
) -> Resource:
    resource = archive.make_resource(owner, label, _folder(archive, found, owner, label))
    resource.format = request.query.get("format", resource.format)
    resource.content = request.query.get("content", resource.content)
    return resource


def _folder(archive: Archive, found: Found, owner: Owner, label: str) -> Path | None:
    """Where a resource of a scan is kept; those of other owners stay in memory."""
    if not isinstance(owner, Scan) or found.experiment is None:
        return None
    above = archive.subjects[found.experiment.subject]
    names = (found.experiment.project, above.label, found.experiment.label, owner.id, label)
    return archive.folder(*names)


def owner_of(finder: Finder, target: Target) -> tuple[Found, Owner]:
    """The one item whose resources a path means: nothing falls back where something is written."""
    found = finder.chain(target)
    finder.require(target, found)
    if "scans" in target and found.experiment is not None:
        scans = finder.matching(found.experiment, target.names["scans"])
        if len(scans) != 1:
            raise Refusal(404, "Unable to identify scan")
        found = Found(found.project, found.subject, found.experiment, tuple(scans))
    if found.owner is None:
        raise Refusal(404)
    return found, found.owner


async def upload(finder: Finder, target: Target, request: Request) -> Answer:
    """Store files. Who may not edit is answered 200, and nothing is stored.

    Raises:
        Refusal: 400, 404, 413, 500.
    """
    found, owner = owner_of(finder, target)
    name = target.text("files")
    uploads = await read_uploads(request, name)
    if not all(all(one.name.split("/")) for one in uploads):
        raise Refusal(400, "a file needs a name")
    try:
        editable(finder, found)
    except Refusal:
        return text()
    label = target.text("resources")
    named = [one for one in owner.resources.values() if label in (one.label, str(one.number))]
    resource = named[0] if named else _make_resource(finder.archive, found, owner, label, request)
    return store(finder.archive, resource, uploads, request)
