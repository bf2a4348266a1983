"""XNAT's names for what a modality's scans and sessions are (its schema, ``xnat.xsd``)."""

from __future__ import annotations

from typing import Final

__all__ = ["scan_kind", "session_kind"]

_MODALITIES: Final = {
    **{name: name.lower() for name in ("CR", "CT", "DX", "ECG", "ES", "GM", "HD", "IO", "MG")},
    **{name: name.lower() for name in ("MR", "NM", "OP", "OPT", "RF", "SC", "SM", "SR", "US")},
    **{name: name.lower() for name in ("SEG", "XA", "XC")},
    "PT": "pet",
    "RTIMAGE": "rtImage",
    "EPS": "eps",
}
# Scans of these are held in sessions of another kind.
_NO_SESSIONS: Final = frozenset({"SC", "SR", "SEG", "ECG", "RTIMAGE"})


def scan_kind(modality: str) -> str:
    """``xnat:mrScanData`` for MR; ``xnat:otherDicomScanData`` for what has no kind of its own."""
    return f"xnat:{_MODALITIES.get(modality, 'otherDicom')}ScanData"


def session_kind(modality: str) -> str:
    """``xnat:mrSessionData`` for MR."""
    name = "" if modality in _NO_SESSIONS else _MODALITIES.get(modality, "")
    return f"xnat:{name or 'otherDicom'}SessionData"
