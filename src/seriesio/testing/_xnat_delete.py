"""Deleting projects, subjects, experiments, scans, resources and files."""

from __future__ import annotations

from urllib.parse import unquote

from ._xnat_archive import Archive
from ._xnat_create import NO_RIGHT, editable, owner_of
from ._xnat_http import Answer, Refusal, Request, text
from ._xnat_model import Experiment, Project, Subject
from ._xnat_paths import Finder, Found, Target
from ._xnat_sessions import may_delete

__all__ = ["delete"]


def delete(finder: Finder, target: Target, request: Request) -> Answer:
    """Delete what a path names.

    Raises:
        Refusal: 400, 403, 404.
    """
    if target.kind == "files":
        return _delete_files(finder, target)
    if target.kind == "resources":
        return _delete_resource(finder, target)
    found = finder.item(target)
    _deletable(finder, found)
    archive, experiment, disk = finder.archive, found.experiment, request.flag("removeFiles")
    if target.kind == "scans" and experiment is not None:
        archive.remove_scan(experiment, found.scans[0].id, disk=disk)
    elif target.kind == "experiments" and experiment is not None:
        _delete_here(finder, found, experiment, disk)
    elif target.kind == "subjects" and found.subject is not None:
        _delete_here(finder, found, found.subject, disk)
    elif target.kind == "projects" and found.project is not None:
        _delete_project(archive, found.project, disk)
    return text()


def _deletable(finder: Finder, found: Found) -> None:
    if not may_delete(finder.user, editable(finder, found)):
        raise Refusal(403, NO_RIGHT)


def _delete_here(finder: Finder, found: Found, item: Subject | Experiment, disk: bool) -> None:
    """Delete an item; in a project that it is only shared into, take back that."""
    if found.project is not None and found.project.id != item.project:
        item.shares.pop(found.project.id, None)
    elif isinstance(item, Experiment):
        finder.archive.remove_experiment(item, disk=disk)
    else:
        finder.archive.remove_subject(item, disk=disk)


def _delete_project(archive: Archive, project: Project, disk: bool) -> None:
    for subject in [one for one in archive.subjects.values() if one.project == project.id]:
        archive.remove_subject(subject, disk=disk)
    del archive.projects[project.id]


def _delete_resource(finder: Finder, target: Target) -> Answer:
    found, owner = owner_of(finder, target)
    _deletable(finder, found)
    wanted = target.text("resources").split(",")
    for one in list(owner.resources.values()):
        if one.label in wanted or str(one.number) in wanted:
            finder.archive.remove_resource(owner.resources, one.label)
    return text()


def _delete_files(finder: Finder, target: Target) -> Answer:
    found, owner = owner_of(finder, target)
    _deletable(finder, found)
    label, path = target.text("resources"), unquote(target.names.get("files", ""))
    held = [one for one in owner.resources.values() if label in (one.label, str(one.number))]
    if not held:
        raise Refusal(400, "Unable to find the specified resource")
    if path not in held[0].files:
        raise Refusal(404, "File not found")
    finder.archive.remove_file(held[0], path)
    return text()
