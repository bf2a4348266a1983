"""One frame of an enhanced multi-frame instance as a single-frame header."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..errors import HeaderError
from .values import BROKEN

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["flattened"]

_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
# Echo Pulse Sequence (C.8.13.4) → Scanning Sequence (C.8.3.1).
_SEQUENCES: Final = {"SPIN": "SE", "GRADIENT": "GR", "BOTH": ["SE", "GR"]}
# In-plane Phase Encoding Direction (C.8.13.5.9 → C.8.3.1).
_PHASE: Final = {"ROW": "ROW", "COLUMN": "COL"}
_DATE: Final = 8  # characters
# Enhanced CT (C.8.15.3.8) has decimals for what CT Image (C.8.2.1) says in whole numbers.
_WHOLE: Final = {
    "ExposureTimeInms": "ExposureTime",
    "XRayTubeCurrentInmA": "XRayTubeCurrent",
    "ExposureInmAs": "Exposure",
}


def flattened(whole: Dataset, frame: int) -> Dataset:
    """A dataset whose functional groups of one frame stand at the top level.

    Functional Group Macros (PS3.3 section C.7.6.16) hold, one level down, the attributes that
    single-frame modules have at the top.

    Raises:
        HeaderError: functional groups that cannot be taken apart.
    """
    try:
        return _flattened(whole, frame)
    except BROKEN:
        raise HeaderError("the template's functional groups cannot be taken apart") from None


def _flattened(whole: Dataset, frame: int) -> Dataset:
    from pydicom.dataset import Dataset

    flat = Dataset()
    for element in whole:
        if element.tag.group != 0x5200:
            flat[element.tag] = element
    shared, per_frame = whole.get(_SHARED) or (), whole.get(_PER_FRAME) or ()
    for item in [*shared[:1], *per_frame[frame : frame + 1]]:
        _raise_up(item, flat)
    _classic(flat)
    return flat


def _raise_up(item: Dataset, flat: Dataset) -> None:
    """Put what macros hold at the top level."""
    for macro in item:
        if macro.tag.is_private or macro.VR != "SQ" or not macro.value:
            continue
        for element in macro.value[0]:
            if not element.tag.is_private:
                flat[element.tag] = element
        if "DiffusionGradientDirectionSequence" in macro.value[0]:
            direction = macro.value[0].DiffusionGradientDirectionSequence
            flat.update({e.tag: e for e in (direction[0] if direction else ())})


def _classic(flat: Any) -> None:
    """Attributes that single-frame modules call otherwise."""
    if "EffectiveEchoTime" in flat:
        flat.EchoTime = float(flat.EffectiveEchoTime)
    if flat.get("InversionTimes"):
        times = flat.InversionTimes
        flat.InversionTime = float(times if isinstance(times, float) else times[0])
    if flat.get("EchoPulseSequence") in _SEQUENCES and "ScanningSequence" not in flat:
        flat.ScanningSequence = _SEQUENCES[flat.EchoPulseSequence]
    if "InPlanePhaseEncodingDirection" in flat:
        flat.InPlanePhaseEncodingDirection = _PHASE.get(flat.InPlanePhaseEncodingDirection, "")
    for name, whole in _WHOLE.items():
        if name in flat:
            setattr(flat, whole, round(float(flat[name].value)))
            del flat[name]
    moment = str(flat.get("FrameAcquisitionDateTime") or flat.get("AcquisitionDateTime") or "")
    if len(moment) > _DATE:
        flat.AcquisitionDate = moment[:_DATE]
        flat.AcquisitionTime = moment[_DATE:].split("+")[0].split("-")[0]
