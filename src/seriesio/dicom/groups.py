"""Functional groups of enhanced objects, brought into line with computed or cropped pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .derived import add_derivation, sources_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from .encode import Encoding
    from .header import Header
    from .plane import Plane
    from .splice import Change

__all__ = ["GroupEdit", "functional_changes", "is_enhanced"]

_SHARED, _PER_FRAME, _FRAMES = 0x52009229, 0x52009230, 0x00280008
_TRANSFORMATION: Final = "PixelValueTransformationSequence"
_REAL_WORLD: Final = "RealWorldValueMappingSequence"


def is_enhanced(header: Header, index: int) -> bool:
    """True if each frame of an instance has functional groups of its own."""
    return _PER_FRAME in header.instances[index].raw.layout.lookup


@dataclass(frozen=True, slots=True)
class GroupEdit:
    """What has happened to the frames of an instance.

    Attributes:
        frames: those that are left, in their order.
        encoding: of computed pixels; None if they keep their own.
        planes: where cropped frames now are; None for those that stay.
        altered: whether the pixels of each are computed.
    """

    frames: Sequence[int]
    encoding: Encoding | None
    planes: Sequence[Plane] | None
    altered: Sequence[bool]


def functional_changes(header: Header, index: int, edit: GroupEdit) -> dict[int, Change]:
    """What the functional groups must say of changed frames (PS3.3 section C.7.6.16).

    Nothing for instances that have no such groups.
    """
    lookup = header.instances[index].raw.layout.lookup
    if _SHARED not in lookup and _PER_FRAME not in lookup:
        return {}
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence as Items

    shared, items = (_groups_of(header, index, tag) for tag in (_SHARED, _PER_FRAME))
    shared = shared or Items([Dataset()])
    count = len(items)
    kept = [items[frame] for frame in edit.frames] if items else []
    if edit.encoding is not None:
        _set_transformation(shared[0], kept, edit.encoding)
    if any(edit.altered):
        sources = sources_of(header.instances[index], header.changes(index), edit.frames)
        add_derivation(shared[0], kept, edit.frames, edit.altered, sources)
    if edit.planes is not None:
        for item, plane in zip(kept, edit.planes, strict=False):
            _set_plane(shared[0], item, plane)
    changes: dict[int, Change] = {_SHARED: ("SQ", Items(shared))}
    if kept:
        changes[_PER_FRAME] = ("SQ", Items(kept))
    if len(kept) < count:
        changes[_FRAMES] = ("IS", len(kept))
    return changes


def _groups_of(header: Header, index: int, tag: int) -> Any:
    """Functional groups as they are now, the caller's own."""
    return header.values(tag, where=[index])[0] or []


def _set_transformation(shared: Dataset, items: Sequence[Dataset], encoding: Encoding) -> None:
    """One rescale for all frames (Pixel Value Transformation Macro, C.7.6.16.2.9)."""
    found = [item[_TRANSFORMATION].value for item in (shared, *items) if _TRANSFORMATION in item]
    kind = found[0][0].get("RescaleType") if found and found[0] else None
    for item in (shared, *items):
        for stale in (_TRANSFORMATION, _REAL_WORLD):
            if stale in item:
                del item[stale]
    new = _item(shared, _TRANSFORMATION)
    new.RescaleIntercept = encoding.intercept
    new.RescaleSlope = encoding.slope
    new.RescaleType = kind or "US"


def _set_plane(shared: Dataset, item: Dataset, plane: Plane) -> None:
    """Pixel Measures, Plane Position and Plane Orientation Macros (C.7.6.16.2.1, .3 and .4)."""
    for macro, keyword, value in (
        ("PlanePositionSequence", "ImagePositionPatient", plane.position),
        ("PlaneOrientationSequence", "ImageOrientationPatient", plane.orientation),
        ("PixelMeasuresSequence", "PixelSpacing", plane.spacing),
    ):
        owner = item if macro in item or macro not in shared else shared
        setattr(_item(owner, macro), keyword, list(value))


def _item(owner: Dataset, macro: str) -> Any:
    """The one item of a macro, made if need be."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence as Items

    if not owner.get(macro):
        setattr(owner, macro, Items([Dataset()]))
    return owner[macro].value[0]
