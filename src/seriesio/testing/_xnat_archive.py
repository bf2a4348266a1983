"""The holdings of an XNAT stand-in: in memory, or in a directory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from shutil import rmtree
from typing import Final, TypeAlias

from ._xnat_dicom import read_header, scan_fields, scan_type, session_type
from ._xnat_http import Refusal
from ._xnat_model import (
    Experiment,
    Incoming,
    Project,
    Resource,
    Resources,
    Scan,
    StoredFile,
    Subject,
)

__all__ = ["Archive", "Owner"]

Owner: TypeAlias = "Project | Subject | Experiment | Scan"

_DEPTH: Final = 6  # project/subject/experiment/scan/resource/file
_BAD: Final = re.compile(r'[\x00-\x1f/\\:*?"<>|]')


class Archive:
    """All that there is, by accession id; ids and numbers are given out here.

    Args:
        directory: of ``PROJECT/SUBJECT/EXPERIMENT/SCAN/RESOURCE/FILE``: what is there is held, what
            is stored is written there, what is deleted is deleted there; None: all in memory.
        site: the beginning of accession ids.
    """

    def __init__(self, directory: Path | None, site: str) -> None:
        self.directory, self.site = directory, site
        self.projects: dict[str, Project] = {}
        self.subjects: dict[str, Subject] = {}
        self.experiments: dict[str, Experiment] = {}
        self.prearchive: list[Incoming] = []
        self._number = 0

    def number(self) -> int:
        """A number that nothing else has."""
        self._number += 1
        return self._number

    # --- finding ----------------------------------------------------------------------------

    def subject_of(self, project: str, name: str) -> Subject | None:
        """The subject of a project, or shared into it, by its id or its label there."""
        return next((one for one in self.subjects.values() if is_named(one, project, name)), None)

    def experiment_of(self, project: str, name: str) -> Experiment | None:
        """The experiment of a project, or shared into it, by its id or its label there."""
        found = self.experiments.values()
        return next((one for one in found if is_named(one, project, name)), None)

    def experiments_of(self, subject: Subject) -> list[Experiment]:
        return [one for one in self.experiments.values() if one.subject == subject.id]

    # --- making -----------------------------------------------------------------------------

    def make_project(self, name: str) -> Project:
        """The project of an id; a new one, private, if there is none."""
        if name not in self.projects:
            self.projects[name] = Project(name, fields={"name": name, "secondary_ID": name})
        return self.projects[name]

    def make_subject(self, project: Project, label: str) -> Subject:
        """The subject of a project by its label; a new one if there is none."""
        if found := self.subject_of(project.id, label):
            return found
        subject = Subject(f"{self.site}_S{self.number():05}", label, project.id)
        self.subjects[subject.id] = subject
        return subject

    def make_experiment(self, subject: Subject, label: str, xsi_type: str) -> Experiment:
        """The experiment of a subject's project by its label; a new one if there is none."""
        if found := self.experiment_of(subject.project, label):
            return found
        number = f"{self.site}_E{self.number():05}"
        made = Experiment(number, label, subject.project, subject.id, xsi_type)
        made.fields["modality"] = _modality(xsi_type)
        self.experiments[made.id] = made
        return made

    def make_scan(self, experiment: Experiment | Incoming, name: str, xsi_type: str) -> Scan:
        """The scan of an experiment by its id; a new one if there is none."""
        if name not in experiment.scans:
            experiment.scans[name] = Scan(name, self.number(), xsi_type)
        return experiment.scans[name]

    def make_resource(self, owner: Owner, label: str, folder: Path | None) -> Resource:
        """The resource of an owner by its label; a new one if there is none."""
        if label not in owner.resources:
            owner.resources[label] = Resource(self.number(), label, folder=folder)
        return owner.resources[label]

    def folder(self, *parts: str) -> Path | None:
        """Where the files of a resource are kept; None for memory.

        Raises:
            BadNameError: a name that no directory can have.
        """
        if self.directory is None:
            return None
        return self.directory.joinpath(*map(_disk_name, parts))

    # --- files --------------------------------------------------------------------------------

    def put(
        self,
        resource: Resource,
        path: str,
        data: bytes | Path,
        about: tuple[str, str, str] = ("", "", ""),
    ) -> StoredFile:
        """Put a file into a resource; one of the same path is replaced.

        ``about`` are its format, content and tags.

        Raises:
            BadNameError: a path that no file can have.
        """
        file = StoredFile(path, data, *about)
        if isinstance(data, bytes):
            file.sum_up()
        if resource.folder is not None and isinstance(data, bytes):
            target = resource.folder.joinpath(*map(_disk_name, path.split("/")))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            file.source = target
        resource.files[path] = file
        return file

    def remove_file(self, resource: Resource, path: str) -> None:
        file = resource.files.pop(path)
        if resource.folder is not None and isinstance(file.source, Path):
            file.source.unlink(missing_ok=True)

    def remove_resource(self, resources: Resources, label: str) -> None:
        resource = resources.pop(label)
        if resource.folder is not None:
            rmtree(resource.folder, ignore_errors=True)

    def remove_scan(self, experiment: Experiment, name: str, *, disk: bool) -> None:
        """Remove a scan, and its files from the directory if ``disk`` is true."""
        scan = experiment.scans.pop(name)
        for label in list(scan.resources) if disk else ():
            self.remove_resource(scan.resources, label)

    def remove_experiment(self, experiment: Experiment, *, disk: bool) -> None:
        for name in list(experiment.scans):
            self.remove_scan(experiment, name, disk=disk)
        self.experiments.pop(experiment.id, None)

    def remove_subject(self, subject: Subject, *, disk: bool) -> None:
        for experiment in self.experiments_of(subject):
            self.remove_experiment(experiment, disk=disk)
        self.subjects.pop(subject.id, None)

    # --- filling ------------------------------------------------------------------------------

    def add_scan(
        self,
        names: tuple[str, str, str, str],
        resource: str,
        files: Mapping[str, bytes | Path],
        xsi_type: str | None,
        fields: Mapping[str, str],
    ) -> Scan:
        """Put files into a scan, made with all above it where it is missing."""
        project, label, session, name = names
        headers = [header for data in files.values() if (header := read_header(data))]
        modality = headers[0].modality if headers else "MR"
        subject = self.make_subject(self.make_project(project), label)
        experiment = self.make_experiment(subject, session, session_type(modality))
        scan = self.make_scan(experiment, name, xsi_type or scan_type(modality))
        known = scan_fields(headers) if headers else {}
        scan.fields.update({**known, **fields})
        if headers:
            experiment.fields.setdefault("UID", headers[0].study)
            experiment.fields.setdefault("date", headers[0].date)
        held = self.make_resource(scan, resource, self.folder(*names, resource))
        if headers and not held.format:
            held.format, held.content = "DICOM", "RAW"
        for path, data in files.items():
            self.put(held, path, data, (held.format, held.content, ""))
        return scan

    def load(self) -> None:
        """Take what is in the directory."""
        if self.directory is None:
            return
        found: dict[tuple[str, ...], dict[str, bytes | Path]] = {}
        for parts, path in _tree(self.directory):
            found.setdefault(parts[: _DEPTH - 1], {})["/".join(parts[_DEPTH - 1 :])] = path
        for (project, subject, session, scan, resource), files in sorted(found.items()):
            self.add_scan((project, subject, session, scan), resource, files, None, {})


def is_named(one: Subject | Experiment, project: str, name: str) -> bool:
    """Whether an id, or a label, means this one in a project."""
    if one.project == project:
        return name in (one.id, one.label)
    return project in one.shares and name in (one.id, one.shares[project])


def _modality(xsi_type: str) -> str:
    kind = xsi_type.removeprefix("xnat:").removesuffix("SessionData")
    return {"pet": "PT", "otherDicom": "OT"}.get(kind, kind.upper())


class BadNameError(Refusal, ValueError):
    """A name that no file can have."""


def _disk_name(part: str) -> str:
    if part in {"", ".", ".."} or _BAD.search(part):
        raise BadNameError(400, "a name that cannot be stored")
    return part


def _tree(directory: Path) -> Iterator[tuple[tuple[str, ...], Path]]:
    paths: Iterable[Path] = sorted(directory.rglob("*"))
    for path in paths:
        parts = path.relative_to(directory).parts
        if len(parts) >= _DEPTH and path.is_file():
            yield parts, path
