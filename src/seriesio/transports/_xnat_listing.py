"""What the server's listings say: pure, every shape and value held to be hostile."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final
from urllib.parse import unquote

from ..errors import NotFoundError, TransportError
from ..protocols import SeriesSummary
from ._xnat_location import quoted
from ._xnat_receive import CatalogFile
from ._zip_names import normalise

__all__ = [
    "PREFERRED",
    "SCAN_COLUMNS",
    "Resource",
    "Scan",
    "is_pattern",
    "matching",
    "meant",
    "pick_resource",
    "resources_of",
    "rows_of",
    "scans_of",
    "shared_session",
    "summary_of",
]

SCAN_COLUMNS: Final = "ID,type,series_description,quality,xsiType,note,frames,UID,URI"
_MODALITIES: Final = {"mr": "MR", "ct": "CT", "pet": "PT", "us": "US", "cr": "CR", "dx": "DX"}
_FILE: Final = re.compile(
    r"/(?:experiments|subjects|projects)/[^/]+(?:/scans/(?P<scan>[^/]+))?"
    r"/resources/(?P<resource>[^/]+)/files/(?P<path>.*)",
    re.DOTALL,
)
PREFERRED: Final = ("DICOM", "secondary")


@dataclass(frozen=True, slots=True)
class Scan:
    """A scan as the listing of its session gives it; ``session`` is the accession ID."""

    id: str
    session: str
    type: str
    description: str
    quality: str
    kind: str
    note: str
    frames: int | None
    uid: str

    @property
    def path(self) -> str:
        """Percent-encoded, below the server's base."""
        return f"/data/experiments/{quoted(self.session)}/scans/{quoted(self.id)}"

    @property
    def files_path(self) -> str:
        """The same for routes that take lists of scans: a comma in an ID is no list."""
        name = quoted(self.id.replace(",", "[COMMA]"))
        return f"/data/experiments/{quoted(self.session)}/scans/{name}"

    def __str__(self) -> str:
        return f"{self.id}: {self.description or '(no description)'} [{self.type or '?'}]"


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource of a scan, with its files."""

    label: str
    id: str
    files: tuple[CatalogFile, ...]


def rows_of(document: Any, what: str) -> list[dict[str, str]]:
    """The rows of a listing, all values as text.

    Raises:
        TransportError: it has another shape.
    """
    result = document.get("ResultSet") if isinstance(document, dict) else None
    rows = result.get("Result") if isinstance(result, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise TransportError(f"{what}: the listing has a shape that no XNAT gives")
    return [{str(key): _text(value) for key, value in row.items()} for row in rows]


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else str(value)


def scans_of(rows: Sequence[Mapping[str, str]], what: str) -> list[Scan]:
    """The scans of a session, in the order of their IDs, numbers first.

    Raises:
        TransportError: the rows are no scans.
    """
    found = [_scan(row, what) for row in rows]
    return sorted(found, key=lambda scan: (not scan.id.isdigit(), len(scan.id), scan.id))


def _scan(row: Mapping[str, str], what: str) -> Scan:
    uri = row.get("URI", "").split("/")
    name = row.get("ID", "")
    if not name or "experiments" not in uri or "scans" not in uri[:-1]:
        raise TransportError(f"{what}: lists something else than scans")
    session = uri[uri.index("experiments") + 1]
    frames = row.get("frames", "")
    return Scan(
        id=name,
        session=unquote(session),
        type=row.get("type", ""),
        description=row.get("series_description", ""),
        quality=row.get("quality", ""),
        kind=row.get("xsiType", ""),
        note=row.get("note", ""),
        frames=int(frames) if frames.isdecimal() and len(frames) < 10 else None,
        uid=row.get("UID", ""),
    )


def shared_session(rows: Sequence[Mapping[str, str]], parts: Sequence[str]) -> str | None:
    """The accession ID of the one experiment of a project that is meant; None: no such one.

    ``parts`` are project, subject and experiment; the subject counts where the rows name it.
    """
    _, subject, experiment = parts
    found = [
        row["ID"]
        for row in rows
        if experiment in (row.get("label"), row.get("ID"))
        and row.get("ID")
        and subject in (row.get("subject_label"), row.get("subject_ID"))
    ]
    return found[0] if len(found) == 1 else None


def is_pattern(text: str) -> bool:
    return any(char in text for char in "*?[")


def meant(wanted: str, names: Iterable[str]) -> list[str]:
    """The names that a part of a path means: itself, if it is there; else all that match it."""
    known = sorted(set(names))
    return [wanted] if wanted in known else [name for name in known if fnmatchcase(name, wanted)]


def matching(scans: Sequence[Scan], wanted: str) -> list[Scan]:
    """The scan of that very ID; else those whose type or series description is, or matches, it."""
    exact = [scan for scan in scans if scan.id == wanted]
    if exact:
        return exact
    named = [scan for scan in scans if wanted in (scan.type, scan.description)]
    if named or not is_pattern(wanted):
        return named
    return [
        scan
        for scan in scans
        if any(fnmatchcase(v, wanted) for v in (scan.id, scan.type, scan.description))
    ]


def summary_of(scan: Scan) -> SeriesSummary:
    """What a listing of series says of a scan."""
    kind = scan.kind.partition(":")[2].removesuffix("ScanData").lower()
    return SeriesSummary(
        series_instance_uid=scan.uid,
        series_number=int(scan.id) if scan.id.isdecimal() and len(scan.id) < 10 else None,
        series_description=scan.description or scan.type,
        modality=_MODALITIES.get(kind, ""),
        instances=scan.frames or 0,
        frames=scan.frames or 0,
        rows=0,
        columns=0,
    )


def resources_of(rows: Sequence[Mapping[str, str]], scan: str, what: str) -> list[Resource]:
    """The resources of a scan and their files, from a listing of files.

    Rows of other scans, whose type is this one's ID, are left out.

    Raises:
        TransportError: a file has a name that leads elsewhere, or stands there twice.
    """
    found: dict[tuple[str, str], dict[str, CatalogFile]] = {}
    for row in rows:
        where = _FILE.search(row.get("URI", ""))
        if where is None:
            raise TransportError(f"{what}: lists something else than files")
        if where["scan"] is None or unquote(where["scan"]) != scan:
            continue
        number = unquote(where["resource"])
        file = _file(row, where["path"], what)
        files = found.setdefault((row.get("collection") or number, number), {})
        if file.path in files:
            raise TransportError(f"{what}: the catalogue lists {file.path!r} twice")
        files[file.path] = file
    return [Resource(label, n, tuple(files.values())) for (label, n), files in found.items()]


def _file(row: Mapping[str, str], path: str, what: str) -> CatalogFile:
    name = row.get("Name", "")
    if name and path.rpartition("/")[2] != name and unquote(path).rpartition("/")[2] == name:
        path = unquote(path)
    try:
        safe = normalise(path) == path and not path.endswith("/")
    except ValueError:
        safe = False
    if not safe:
        raise TransportError(f"{what}: the catalogue names a file {path[:200]!r}, it is not used")
    size, digest = row.get("Size", ""), row.get("digest", "")
    known = int(size) if size.isdecimal() and len(size) < 19 else None
    return CatalogFile(path, known, digest if len(digest) == 32 else "")


def pick_resource(resources: Sequence[Resource], wanted: str | None, where: str) -> Resource:
    """The resource to read: the one that was asked for, else DICOM, else secondary, else the only.

    Raises:
        NotFoundError: there is none, or several and nobody says which.
    """
    names = PREFERRED if wanted is None else (wanted,)
    for name in names:
        for resource in resources:
            if name in (resource.label, resource.id) and resource.files:
                return resource
    if wanted is None and len(resources) == 1 and resources[0].files:
        return resources[0]
    labels = ", ".join(repr(resource.label) for resource in resources) or "none"
    asked = "DICOM or secondary" if wanted is None else repr(wanted)
    raise NotFoundError(
        f"{where}: no files in a resource {asked} (resource= picks one; there are: {labels})"
    )
