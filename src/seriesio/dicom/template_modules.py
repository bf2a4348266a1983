"""Single-frame SOP classes for other pixels, and the modules that they need (PS3.3 annex A)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ..errors import HeaderError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .splice import Change

__all__ = [
    "CR",
    "CT",
    "MR",
    "PT",
    "SECONDARY_CAPTURE",
    "ULTRASOUND",
    "check_class",
    "check_template",
    "missing_modules",
    "single_frame_class",
]

_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."
CR: Final = _STORAGE + "1"
CT: Final = _STORAGE + "2"
MR: Final = _STORAGE + "4"
PT: Final = _STORAGE + "128"
ULTRASOUND: Final = _STORAGE + "6.1"
SECONDARY_CAPTURE: Final = _STORAGE + "7"

# Classes that hold one frame each of any values. Others (DX, MG, XA, RF, NM …) want unsigned
# values, views and detectors of a real projection: what is computed is a Secondary Capture then.
_SINGLE: Final = frozenset({CR, CT, MR, PT, SECONDARY_CAPTURE})
# Multi-frame classes whose frames have a class of their own: enhanced, legacy converted.
_FRAMES_OF: Final = {
    _STORAGE + "2.1": CT,
    _STORAGE + "2.2": CT,
    _STORAGE + "4.1": MR,
    _STORAGE + "4.4": MR,
    _STORAGE + "128.1": PT,
    _STORAGE + "3.1": ULTRASOUND,
}
_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)*")

# What no header can be made without (type 1 of SOP Common, General Study, General Series).
_NEEDED: Final = {
    "SOPClassUID": "SOP Common Module",
    "StudyInstanceUID": "General Study Module",
    "Modality": "General Series Module",
}
# Type 1 of PET Series (C.8.9.1), PET Image (C.8.9.4): nothing that could be made up.
_NEEDED_OF_PET: Final = {
    **dict.fromkeys(
        (*("SeriesDate", "SeriesTime", "Units", "CountsSource", "SeriesType", "DecayCorrection"),),
        "PET Series Module",
    ),
    "FrameReferenceTime": "PET Image Module",
}
# Type 2 of Patient, General Study, Series, Frame of Reference, Equipment (C.7.1 to C.7.5).
_EMPTY: Final[dict[int, str]] = {
    0x00100010: "PN", 0x00100020: "LO", 0x00100030: "DA", 0x00100040: "CS",
    0x00080020: "DA", 0x00080030: "TM", 0x00080090: "PN", 0x00200010: "SH", 0x00080050: "SH",
    0x00200011: "IS", 0x00201040: "LO", 0x00080070: "LO",
}  # fmt: skip
# Patient Orientation, where the class has no Image Plane Module (C.7.6.1): type 2C.
_WITHOUT_PLANE: Final = {0x00200020: ("CS", "")}
# Type 1 and 2 of the images of a class.
_IMAGE: Final[dict[str, dict[int, tuple[str, Any]]]] = {
    CR: {0x00180015: ("CS", ""), 0x00185101: ("CS", ""), **_WITHOUT_PLANE},  # C.8.1.1
    CT: {  # C.8.2.1
        0x00185100: ("CS", ""),
        0x00180060: ("DS", ""),
        0x00200012: ("IS", ""),
    },
    MR: {  # C.8.3.1
        0x00185100: ("CS", ""),
        0x00180020: ("CS", "RM"),  # research mode
        0x00180021: ("CS", "NONE"),
        0x00180022: ("CS", ""),
        0x00180023: ("CS", ""),
        0x00180080: ("DS", ""),
        0x00180081: ("DS", ""),
        0x00180091: ("IS", ""),
    },
    PT: {  # C.8.9.1, C.8.9.2, C.8.9.4, C.8.4.6
        0x00080022: ("DA", ""),
        0x00080032: ("TM", ""),
        0x00181181: ("CS", ""),
        0x00181242: ("IS", ""),
        0x00280051: ("CS", ""),
        0x00540016: ("SQ", None),
        0x00540410: ("SQ", None),
        0x00540414: ("SQ", None),
    },
    SECONDARY_CAPTURE: {0x00080064: ("CS", "WSD"), **_WITHOUT_PLANE},  # made on a workstation
    ULTRASOUND: {**_WITHOUT_PLANE},
}
_BODY_PART, _LATERALITIES = 0x00180015, frozenset({0x00200060, 0x00200062})


def check_template(get: Callable[[str], Any]) -> None:
    """Raise unless a header, of which ``get`` gives the attributes, can be a template.

    Raises:
        HeaderError: names what it lacks, or what is no single name.
    """
    _check_needed(get, _NEEDED)
    for keyword in ("SOPClassUID", "StudyInstanceUID", "FrameOfReferenceUID"):
        value = get(keyword)
        if value and not _is_uid(value):
            raise HeaderError(f"the template's {keyword} is not one UID")
    if not isinstance(get("Modality"), str):
        raise HeaderError("the template's Modality is not one word")


def check_class(get: Callable[[str], Any], sop_class: str) -> None:
    """Raise unless a template has what images of a class must say and nobody can make up.

    Raises:
        HeaderError: names what it lacks.
    """
    if sop_class != PT:
        return
    _check_needed(get, _NEEDED_OF_PET)
    if get("DecayCorrection") != "NONE":
        _check_needed(get, {"DecayFactor": "PET Image Module"})


def _check_needed(get: Callable[[str], Any], needed: dict[str, str]) -> None:
    lacking = [
        f"{keyword} ({module})" for keyword, module in needed.items() if get(keyword) in (None, "")
    ]
    if lacking:
        raise HeaderError(f"the template lacks {', '.join(lacking)}")


def _is_uid(value: object) -> bool:
    """True for at most 64 digits and dots (PS3.5 section 9.1); zeros in front are let pass."""
    return isinstance(value, str) and len(value) <= 64 and bool(_UID.fullmatch(value))


def single_frame_class(sop_class: str, *, color: bool, byte_sized: bool = False) -> str:
    """The class of one frame under a template's class; Secondary Capture where it has none.

    ``byte_sized``: voxels are unsigned bytes; ultrasound holds nothing else (C.8.5.6.1).
    """
    found = _FRAMES_OF.get(sop_class, sop_class)
    if found == ULTRASOUND and byte_sized:
        return ULTRASOUND
    return found if found in _SINGLE and not color else SECONDARY_CAPTURE


def missing_modules(present: frozenset[int], sop_class: str) -> dict[int, Change]:
    """What a header must still say: attributes of type 2 are empty, where nothing is known."""
    wanted = {tag: (vr, "") for tag, vr in _EMPTY.items()} | _IMAGE.get(sop_class, {})
    if _BODY_PART not in present and not _LATERALITIES & present:
        wanted[min(_LATERALITIES)] = ("CS", "")  # of what may be one of a pair (C.7.3.1)
    return {tag: change for tag, change in wanted.items() if tag not in present}
