"""What an XNAT stand-in holds: projects, subjects, experiments, scans, resources, files."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

__all__ = [
    "Experiment",
    "Incoming",
    "Project",
    "Resource",
    "Resources",
    "Scan",
    "StoredFile",
    "Subject",
    "now",
]

_RAW_DEFLATE: Final = -15
_KEEP_DEFLATED: Final = 1 << 26  # bytes of a file whose deflated form is kept


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True, eq=False)
class StoredFile:
    """One file of a resource: its bytes, or where they are."""

    path: str
    source: bytes | Path = field(repr=False)
    format: str = ""
    content: str = ""
    tags: str = ""
    modified: datetime = field(default_factory=now)
    _md5: str | None = None
    _crc: int | None = None
    _deflated: bytes | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def size(self) -> int:
        if isinstance(self.source, bytes):
            return len(self.source)
        return self.source.stat().st_size

    def data(self) -> bytes:
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()

    def sum_up(self) -> str:
        """The MD5 of the file's bytes; a catalogue has it from the moment a file is stored."""
        if self._md5 is None:
            self._md5 = hashlib.md5(self.data(), usedforsecurity=False).hexdigest()
        return self._md5

    @property
    def md5(self) -> str:
        return self.sum_up()

    def crc(self, data: bytes) -> int:
        """The CRC-32 of the file's bytes, which the caller has in hand."""
        if self._crc is None:
            self._crc = zlib.crc32(data)
        return self._crc

    def deflated(self, data: bytes) -> bytes:
        """The file's bytes, which the caller has in hand, deflated."""
        if self._deflated is not None:
            return self._deflated
        deflater = zlib.compressobj(6, zlib.DEFLATED, _RAW_DEFLATE)
        result = deflater.compress(data) + deflater.flush()
        if len(data) <= _KEEP_DEFLATED:
            self._deflated = result
        return result


@dataclass(slots=True, eq=False)
class Resource:
    """A resource: a catalogue of files. ``folder`` is where they are kept; None: in memory."""

    number: int
    label: str
    format: str = ""
    content: str = ""
    folder: Path | None = None
    files: dict[str, StoredFile] = field(default_factory=dict, repr=False)

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files.values())


Resources = dict[str, Resource]


@dataclass(slots=True, eq=False)
class Scan:
    """A scan; ``fields`` hold type, quality, series_description, UID, frames, modality …"""

    id: str
    number: int
    xsi_type: str
    fields: dict[str, str] = field(default_factory=dict)
    resources: Resources = field(default_factory=dict, repr=False)
    inserted: datetime = field(default_factory=now)
    asked: int = 0

    @property
    def type(self) -> str:
        return self.fields.get("type", "")


@dataclass(slots=True, eq=False)
class Experiment:
    """An image session. ``shares``: the projects it is shared into, and its label there."""

    id: str
    label: str
    project: str
    subject: str
    xsi_type: str
    fields: dict[str, str] = field(default_factory=dict, repr=False)
    scans: dict[str, Scan] = field(default_factory=dict, repr=False)
    resources: Resources = field(default_factory=dict, repr=False)
    shares: dict[str, str] = field(default_factory=dict)
    inserted: datetime = field(default_factory=now)


@dataclass(slots=True, eq=False)
class Subject:
    """A subject; ``shares`` as of an experiment."""

    id: str
    label: str
    project: str
    fields: dict[str, str] = field(default_factory=dict, repr=False)
    resources: Resources = field(default_factory=dict, repr=False)
    shares: dict[str, str] = field(default_factory=dict)
    inserted: datetime = field(default_factory=now)

    xsi_type: str = "xnat:subjectData"


@dataclass(slots=True, eq=False)
class Project:
    """A project; ``accessibility`` is "public", "protected" or "private"."""

    id: str
    accessibility: str = "private"
    fields: dict[str, str] = field(default_factory=dict, repr=False)
    resources: Resources = field(default_factory=dict, repr=False)
    inserted: datetime = field(default_factory=now)

    xsi_type: str = "xnat:projectData"

    @property
    def label(self) -> str:
        return self.id


@dataclass(slots=True, eq=False)
class Incoming:
    """A session in the prearchive, at ``/data/prearchive/projects/PROJECT/TIMESTAMP/FOLDER``."""

    project: str
    timestamp: str
    label: str
    subject: str
    xsi_type: str
    fields: dict[str, str] = field(default_factory=dict, repr=False)
    scans: dict[str, Scan] = field(default_factory=dict, repr=False)
    status: str = "READY"
    uploaded: datetime = field(default_factory=now)

    @property
    def url(self) -> str:
        return f"/prearchive/projects/{self.project}/{self.timestamp}/{self.label}"
