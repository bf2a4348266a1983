"""Where the slices of a volume lie, as single-frame instances say it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias
from uuid import uuid4

import numpy as np

from .template_axes import decimal

if TYPE_CHECKING:
    from .geometry import Geometry
    from .splice import Change
    from .template import Template
    from .volume import Volume

__all__ = ["FRAME_OF_REFERENCE", "frame_of_reference", "place_of_slice", "place_of_stack"]

Changes: TypeAlias = "dict[int, Change]"

FRAME_OF_REFERENCE: Final = 0x00200052


def frame_of_reference(volume: Volume, template: Template) -> str:
    """The template's frame of reference; a new one where the volume's place is made up."""
    own = template.header.get(FRAME_OF_REFERENCE)
    return str(own) if own and volume.geometry.known else f"2.25.{uuid4().int}"


def place_of_stack(geometry: Geometry, template: Template) -> Changes:
    """What all slices share of the Image Plane Module (PS3.3 section C.7.6.2)."""
    between = abs(float(geometry.step @ geometry.normal))
    own = _thickness(template)
    same = template.geometry is not None and _as_spaced(geometry, template.geometry)
    thickness = own if same and own else between
    return {
        0x00180050: ("DS", decimal(thickness)),
        0x00180088: ("DS", decimal(between)),
        0x00200037: ("DS", list(map(decimal, geometry.orientation))),
        0x00280030: ("DS", list(map(decimal, geometry.pixel_spacing))),
    }


def _thickness(template: Template) -> float:
    """The template's Slice Thickness in mm; 0 where it has none, or what is no thickness."""
    own = template.header.get("SliceThickness")
    return float(own) if isinstance(own, float) and 0 < own < np.inf else 0.0


def _as_spaced(one: Geometry, other: Geometry) -> bool:
    return bool(np.isclose(one.spacing[0], other.spacing[0], rtol=1e-3))


def place_of_slice(geometry: Geometry, place: int) -> Changes:
    """Image Position (Patient) and Slice Location of one slice."""
    position = geometry.positions[place]
    return {
        0x00200032: ("DS", list(map(decimal, position))),
        0x00201041: ("DS", decimal(float(position @ geometry.normal))),
    }
