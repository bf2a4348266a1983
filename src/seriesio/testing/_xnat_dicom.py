"""What an XNAT stand-in reads from DICOM files: where they belong, and what scans are called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

from ..errors import DicomError
from ._archive_instance import Instance, read_instance

__all__ = ["Header", "read_header", "resource_label", "scan_fields", "scan_type", "session_type"]

_LIMIT: Final = 1 << 32
_KINDS: Final = {
    **dict.fromkeys(("MR", "CT", "US", "CR", "DX", "MG", "NM", "XA", "RF", "OPT", "SR", "SEG"), ""),
    "PT": "pet",
    "SC": "sc",
    "RTSTRUCT": "rtImage",
}
_SESSIONS: Final = frozenset({"mr", "ct", "pet", "us", "cr", "dx", "mg", "nm", "xa", "rf", "opt"})
_CAPTURES: Final = "1.2.840.10008.5.1.4.1.1.7"


@dataclass(frozen=True, slots=True)
class Header:
    """What one instance says of itself; "" where it says nothing."""

    study: str
    series: str
    instance: str
    sop_class: str
    series_number: str
    instance_number: str
    description: str
    modality: str
    scanner: str
    frames: int
    date: str
    time: str
    patient: str = field(repr=False)
    patient_id: str = field(repr=False)
    accession: str = field(repr=False)

    @property
    def file_name(self) -> str:
        """The name that XNAT gives the file when it is imported."""
        code = sha256(f"{self.sop_class}{self.instance}".encode()).hexdigest()[:7]
        return f"{self.study}-{self.series_number}-{self.instance_number}-{code}.dcm"


def read_header(source: bytes | Path) -> Header | None:
    """What a file says of itself; None if it is no DICOM instance."""
    try:
        return _header(read_instance(source, limit=_LIMIT))
    except DicomError:
        return None


def _header(instance: Instance) -> Header:
    def text(tag: int) -> str:
        values = instance.record.get(tag) or ("",)
        return values[0]

    frames = text(0x00280008)
    return Header(
        study=instance.study,
        series=instance.series,
        instance=instance.sop_instance,
        sop_class=instance.sop_class,
        series_number=text(0x00200011) or "0",
        instance_number=text(0x00200013),
        description=text(0x0008103E),
        modality=text(0x00080060),
        scanner=text(0x00081010),
        frames=int(frames) if frames.isdecimal() else 1,
        date=_date(text(0x00080020)),
        time=_time(text(0x00080030)),
        patient=_label(text(0x00100010)),
        patient_id=_label(text(0x00100020)),
        accession=text(0x00080050),
    )


def _date(value: str) -> str:
    return f"{value[:4]}-{value[4:6]}-{value[6:8]}" if re.fullmatch(r"[0-9]{8}", value) else ""


def _time(value: str) -> str:
    found = re.match(r"([0-9]{2})([0-9]{2})([0-9]{2})", value)
    return ":".join(found.groups()) if found else ""


def _label(value: str) -> str:
    """A label as XNAT makes it of a patient's attribute."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", value).strip("_")


def _kind(modality: str) -> str:
    return _KINDS.get(modality, "otherDicom") or modality.lower()


def scan_type(modality: str) -> str:
    """The ``xsi:type`` of a scan of a modality (xnat.xsd of XNAT 1.8)."""
    return f"xnat:{_kind(modality)}ScanData"


def session_type(modality: str) -> str:
    """The ``xsi:type`` of a session of a modality (xnat.xsd of XNAT 1.8)."""
    kind = _kind(modality)
    return f"xnat:{kind if kind in _SESSIONS else 'otherDicom'}SessionData"


def resource_label(header: Header) -> str:
    """The resource that files of this kind are put into."""
    captured = header.sop_class == _CAPTURES or header.sop_class.startswith(_CAPTURES + ".")
    return "secondary" if captured else "DICOM"


def scan_fields(headers: Sequence[Header]) -> dict[str, str]:
    """The fields of a scan of these instances, as XNAT fills them when it archives."""
    first = headers[0]
    return {
        "type": first.description,
        "quality": "usable",
        "series_description": first.description,
        "UID": first.series,
        "frames": str(sum(header.frames for header in headers)),
        "modality": first.modality,
        "scanner": first.scanner,
    }
