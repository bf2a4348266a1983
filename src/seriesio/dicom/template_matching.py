"""Which slot of a template gives its header to which slot of a volume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .bare import leading_axes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .geometry import Geometry
    from .sorting import Axis
    from .template import Template
    from .volume import Volume

__all__ = ["chosen_slots", "same_axes", "same_times"]


def same_axes(axes: Sequence[Axis], others: Sequence[Axis]) -> bool:
    """True if axes have the same names and lengths."""
    return [(axis.name, len(axis)) for axis in axes] == [(a.name, len(a)) for a in others]


def same_times(axes: Sequence[Axis], others: Sequence[Axis]) -> bool:
    """True if the times (in s) of a volume are those of its template; axes must be the same."""
    return all(
        np.allclose(one.values, other.values, rtol=0, atol=1e-3)
        for one, other in zip(axes, others, strict=True)
        if one.name == "time"
    )


def chosen_slots(volume: Volume, template: Template, same: bool) -> NDArray[np.intp]:
    """(n,) the slot of the template for each slot of the volume, in C order.

    ``same``: volumes take theirs from the template's volume at the same step; else all from its
    first.
    """
    slices = _matching_slices(volume.geometry, template)
    volumes = math.prod(len(axis) for axis in leading_axes(volume))
    steps = np.arange(volumes) if same else np.zeros(volumes, np.intp)
    return np.asarray((steps[:, None] * template.slices + slices[None, :]).reshape(-1))


def _matching_slices(geometry: Geometry, template: Template) -> NDArray[np.intp]:
    """The slice of the template for each slice: as many, the nearest, or the first."""
    count = len(geometry.positions)
    if count == template.slices:
        return np.arange(count)
    if template.geometry is None or not (geometry.known and template.geometry.known):
        return np.zeros(count, np.intp)
    places = template.geometry.positions @ template.geometry.normal
    order = np.argsort(places, kind="stable")
    borders = (places[order][1:] + places[order][:-1]) / 2
    return np.asarray(
        order[np.searchsorted(borders, geometry.positions @ template.geometry.normal)]
    )
