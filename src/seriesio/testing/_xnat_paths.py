"""Paths of XNAT's REST interface, and what they find."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, unquote_plus

from ._xnat_archive import Archive, Owner
from ._xnat_faults import XnatFaults
from ._xnat_http import Refusal
from ._xnat_model import Experiment, Project, Resource, Scan, Subject
from ._xnat_sessions import User, may_read, sees

__all__ = ["Finder", "Found", "Target", "parse_target"]

_CHILDREN: Final[Mapping[str, frozenset[str]]] = {
    "": frozenset({"projects", "subjects", "experiments"}),
    "projects": frozenset({"subjects", "experiments", "resources", "files"}),
    "subjects": frozenset({"experiments", "resources", "files", "projects"}),
    "experiments": frozenset({"scans", "resources", "files", "projects"}),
    "scans": frozenset({"resources", "files"}),
    "resources": frozenset({"files"}),
}


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names.

    Attributes:
        names: kind → name, still percent-encoded; "shares" is a project that something is shared
            into, "files" the path of a file in its resource.
        kind: of the last one.
        many: it is the collection, no member of it.
        rest: segments that mean nothing: a route matches the beginning of a path.
    """

    names: Mapping[str, str]
    kind: str
    many: bool
    rest: tuple[str, ...] = ()

    def __contains__(self, kind: str) -> bool:
        return kind in self.names

    def text(self, kind: str) -> str:
        """A name, decoded; "" without one."""
        return unquote(self.names.get(kind, ""))


def parse_target(segments: Sequence[str]) -> Target | None:
    """What the path behind ``/data`` names; None if no route matches.

    There is no route ``/projects/P/experiments/E/scans``: that path names the experiment.
    """
    names: dict[str, str] = {}
    kind, place = "", 0
    while place < len(segments) and _follows(names, kind, segments[place]):
        kind = "shares" if segments[place] == "projects" and names else segments[place]
        place += 1
        if kind == "files":
            return _file_target(names, segments[place:])
        if "".join(segments[place:]) == "":
            return Target(names, kind, many=True)
        names[kind] = segments[place]
        place += 1
    return Target(names, kind, False, tuple(segments[place:])) if names else None


def _follows(names: Mapping[str, str], kind: str, segment: str) -> bool:
    if kind == "experiments" and "projects" in names and "subjects" not in names:
        return segment == "projects"
    return segment in _CHILDREN.get(kind, ())


def _file_target(names: dict[str, str], rest: Sequence[str]) -> Target:
    path = "/".join(rest)
    if not path:
        return Target(names, "files", many=True)
    return Target({**names, "files": path}, "files", many=False)


@dataclass(frozen=True, slots=True)
class Found:
    """What is at a path; ``resources`` are those that it names, or all of its last owner.

    ``owners`` has an owner for each resource; ``named``: resources were asked for by name.
    """

    project: Project | None = None
    subject: Subject | None = None
    experiment: Experiment | None = None
    scans: tuple[Scan, ...] = ()
    resources: tuple[tuple[Owner, Resource], ...] = ()
    named: bool = field(default=False)

    @property
    def owner(self) -> Owner | None:
        """The last one of the path that can have resources; None for several scans."""
        if self.scans:
            return self.scans[0] if len(self.scans) == 1 else None
        return self.experiment or self.subject or self.project


class Finder:
    """Finds what paths name, as far as one user may see it."""

    def __init__(self, archive: Archive, user: User, faults: XnatFaults) -> None:
        self.archive, self.user, self.faults = archive, user, faults

    # --- who may see what -----------------------------------------------------------------------

    def projects(self) -> list[Project]:
        return [one for one in self.archive.projects.values() if sees(self.user, one)]

    def readable(self, item: Subject | Experiment) -> bool:
        """Whether the user may read this, by its project or one it is shared into."""
        found = map(self.archive.projects.get, (item.project, *item.shares))
        return any(one is not None and may_read(self.user, one) for one in found)

    def project(self, name: str) -> Project:
        """The project of an id; 404 if there is none that the user can see, 403 if not read."""
        found = self.archive.projects.get(name)
        if found is None or not sees(self.user, found):
            raise Refusal(404, f"Unable to identify project {name}")
        if not may_read(self.user, found):
            raise Refusal(403, "User does not have permission to access this project")
        return found

    # --- one of each ----------------------------------------------------------------------------

    def chain(self, target: Target) -> Found:
        """Project, subject and experiment of a path, None for those that are not there."""
        project = self.project(target.text("projects")) if "projects" in target else None
        subject = self._subject(project, target.text("subjects"))
        experiment = self._experiment(project, target.text("experiments"))
        if subject is not None and experiment is not None and experiment.subject != subject.id:
            experiment = None
        return Found(project, subject, experiment)

    def _subject(self, project: Project | None, name: str) -> Subject | None:
        if project is not None:
            return self.archive.subject_of(project.id, name)
        found = self.archive.subjects.get(name)
        return found if found is not None and self.readable(found) else None

    def _experiment(self, project: Project | None, name: str) -> Experiment | None:
        if project is not None:
            return self.archive.experiment_of(project.id, name)
        found = self.archive.experiments.get(name)
        return found if found is not None and self.readable(found) else None

    def item(self, target: Target) -> Found:
        """What an item's path names; scans by their id alone, as it stands in the path.

        Raises:
            Refusal: 404.
        """
        found = self.chain(target)
        self.require(target, found)
        if "scans" not in target or found.experiment is None:
            return found
        scan = found.experiment.scans.get(target.names["scans"])
        if scan is None or not self.shown([scan]):
            raise Refusal(404, "Unable to find the specified scan.")
        return Found(found.project, found.subject, found.experiment, (scan,))

    def require(self, target: Target, found: Found) -> None:
        missing = [
            name
            for name, one in (("subjects", found.subject), ("experiments", found.experiment))
            if name in target and one is None
        ]
        if missing:
            raise Refusal(404, f"Unable to find the specified {missing[0].removesuffix('s')}.")

    # --- scans and resources ----------------------------------------------------------------------

    def shown(self, scans: Iterable[Scan]) -> list[Scan]:
        """The scans that can be seen by now; asking makes late ones appear."""
        scans = list(scans)
        for scan in scans:
            scan.asked += 1
        return [scan for scan in scans if scan.asked > self.faults.late_scans]

    def matching(self, experiment: Experiment, text: str) -> list[Scan]:
        """Scans by id or type: a list with commas, "*", "ALL", "NULL" for an empty type."""
        wanted = [_unescape(part) for part in unquote_plus(text).split(",")]
        if {"*", "ALL"} & set(wanted):
            return list(experiment.scans.values())
        names = {"" if one == "NULL" else one for one in wanted}
        return [one for one in experiment.scans.values() if one.id in names or one.type in names]

    def resources(self, target: Target) -> Found:
        """What a path to resources or files names. What is not there leaves its parent.

        Raises:
            Refusal: 404 for the project, or a subject; 500 where nothing is left.
        """
        found = self.chain(target)
        if "subjects" in target and found.subject is None:
            raise Refusal(404, "Unable to find the specified subject.")
        if "experiments" in target and found.experiment is None:
            return self._fall_back(target, found)
        if "scans" in target and found.experiment is not None:
            scans = tuple(self.shown(self.matching(found.experiment, target.names["scans"])))
            if not scans:
                return self._fall_back(target, found)
            found = Found(found.project, found.subject, found.experiment, scans)
        return self._of_owners(target, found)

    def _fall_back(self, target: Target, found: Found) -> Found:
        if found.project is None:
            many = target.kind == "resources"
            raise Refusal(404 if many else 500, "Unable to find the specified item")
        return self._of_owners(target, Found(found.project, found.subject))

    def _of_owners(self, target: Target, found: Found) -> Found:
        owners: Sequence[Owner] = found.scans or ([found.owner] if found.owner else [])
        pairs = [(owner, one) for owner in owners for one in owner.resources.values()]
        named = "resources" in target
        if named:
            wanted = set(target.text("resources").split(","))
            pairs = [pair for pair in pairs if {pair[1].label, str(pair[1].number)} & wanted]
        return Found(
            found.project, found.subject, found.experiment, found.scans, tuple(pairs), named
        )


def _unescape(text: str) -> str:
    return text.replace("[SLASH]", "/").replace("[COMMA]", ",")
