"""Where cropped or thinned-out instances now are (Image Plane Module, PS3.3 C.7.6.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from .header import Header
    from .splice import Change
    from .volume import Volume

__all__ = ["Plane", "plane_changes", "plane_of"]

_POSITION, _ORIENTATION = 0x00200032, 0x00200037
_SPACINGS: Final = (0x00280030, 0x00181164)  # Pixel Spacing, Imager Pixel Spacing
_EXACT: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Plane:
    """The plane of one frame, as decimal strings."""

    position: Sequence[Any]
    orientation: Sequence[Any]
    spacing: Sequence[Any]
    known: bool


def plane_of(volume: Volume, slot: int) -> Plane:
    """Where the frame of a slot is."""
    geometry = volume.geometry
    place = slot % len(geometry.positions)  # slices are the last of the leading axes
    return Plane(
        _decimals(geometry.positions[place]),
        _decimals(geometry.orientation),
        _decimals(geometry.pixel_spacing),
        geometry.known,
    )


def plane_changes(header: Header, index: int, plane: Plane) -> dict[int, Change]:
    """What an instance's header must say, of what it does not say yet."""
    lookup = header.instances[index].raw.layout.lookup
    wanted: dict[int, Sequence[Any]] = {
        tag: plane.spacing for tag in [tag for tag in _SPACINGS if tag in lookup][:1]
    }
    if plane.known:
        wanted |= {_POSITION: plane.position, _ORIENTATION: plane.orientation}
    own = header.subset([index])
    return {tag: ("DS", value) for tag, value in wanted.items() if not _equal(own.get(tag), value)}


def _equal(present: Any, value: Sequence[Any]) -> bool:
    try:
        numbers = [float(part) for part in present]
    except (TypeError, ValueError):
        return False
    return len(numbers) == len(value) and np.allclose(
        numbers, [float(part) for part in value], rtol=0, atol=_EXACT
    )


def _decimals(numbers: Any) -> list[Any]:
    from pydicom.valuerep import DSfloat

    return [DSfloat(float(number), auto_format=True) for number in numbers]
