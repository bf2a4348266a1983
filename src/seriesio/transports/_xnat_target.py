"""A scan that is to be written: what it may be called, and what its catalogue entry says."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ..errors import LocationError
from ._xnat_kinds import scan_kind
from ._xnat_location import XnatPlace, quoted

if TYPE_CHECKING:
    from ._xnat_describe import Described
    from ._xnat_listing import Scan
    from ._xnat_pack import Sent
    from ._xnat_receive import CatalogFile

__all__ = ["Target", "WriteOptions", "fields_of", "uid_of", "wanted_id"]

# What all routes of a server decode alike, and take neither for a list nor for another path.
_SCAN: Final = re.compile(r"(?!(?:ALL|NULL|\.+)\Z)[A-Za-z0-9_.-]{1,64}")
_LABEL: Final = re.compile(r"(?!\.+\Z)[^\x00-\x1f\x7f/\\,*]{1,200}")


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """What a new scan is called; None: what its files say, or XNAT's usual.

    Raises:
        LocationError: an ID or a label that would mean something else in a path.
    """

    scan_id: str | None = None
    scan_type: str | None = None
    xsi_type: str | None = None
    quality: str | None = None
    note: str | None = None
    resource: str | None = None
    content: str = "RAW"
    deflate: bool = False
    create_parents: bool = False
    parallel: int = 4

    def check(self) -> None:
        if self.scan_id is not None:
            _refuse_scan(self.scan_id)
        if self.resource is not None and not _LABEL.fullmatch(self.resource):
            raise LocationError(
                f"resource={self.resource[:200]!r} cannot be written: no commas, slashes, stars"
            )


def _refuse_scan(name: str) -> None:
    if not _SCAN.fullmatch(name):
        raise LocationError(
            f"a scan {name[:200]!r} cannot be written: the ID of a scan has letters, digits, "
            "'_', '-' and '.', at most 64 of them"
        )


@dataclass(eq=False)
class Target:
    """A scan that is being written.

    Attributes:
        scan: what was there under its ID; None: nothing.
        old: files of the resource before us, by path.
        mine: whether there is something of ours on the server that a failure has to take back.
        sent: files that are on the server, or may be, by name.
        names: of the files, as the caller gave them.
    """

    id: str
    path: str
    label: str
    format: str
    described: Described | None
    scan: Scan | None
    old: dict[str, CatalogFile]
    mine: bool = False
    sent: dict[str, Sent] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    frames: int = 0

    @property
    def resource(self) -> str:
        """The path of its resource, percent-encoded."""
        return f"{self.path}/resources/{quoted(self.label)}"

    def file(self, name: str) -> str:
        """The path of one of its files, percent-encoded."""
        return f"{self.resource}/files/{'/'.join(map(quoted, name.split('/')))}"


def uid_of(told: Described | None) -> str:
    return "" if told is None else told.uid


def wanted_id(place: XnatPlace, given: str | None, told: Described | None) -> str:
    """The ID of the scan for a file: the one that was given, else the number of its series.

    Raises:
        LocationError: neither is there, or it would mean something else in a path.
    """
    if given is None and told is None:
        raise LocationError(
            f"{place}: files that are not DICOM have no number: scan_id= names the scan"
        )
    if given is None and (told is None or told.number is None):
        raise LocationError(f"{place}: the series has no number: scan_id= names the scan")
    name = given if given is not None else str(told.number if told else "")
    _refuse_scan(name)
    return name


def fields_of(target: Target, options: WriteOptions) -> dict[str, str]:
    """What the catalogue shall say of a scan, as parameters of a PUT."""
    told = target.described
    kind = options.xsi_type or scan_kind(told.modality if told else "")
    if target.scan is not None:
        kind = target.scan.kind or kind
    description = told.description if told is not None else ""
    fields = {
        "type": options.scan_type or description or "unknown",
        "series_description": description,
        "quality": options.quality or "usable",
        "UID": uid_of(told),
        "frames": str(target.frames) if target.frames else "",
        "note": options.note or "",
    }
    values = {f"{kind}/{name}": value for name, value in fields.items() if value}
    return {"xsiType": kind, **values}
