"""Which instances lie at chosen indices of a volume's axes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..errors import HeaderError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .sorting import Axis
    from .volume import Volume

__all__ = ["Indices", "Places", "instances_along", "instances_at"]

Indices: TypeAlias = "int | slice | Iterable[int]"


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where a volume's instances lie, without its voxels.

    Attributes:
        axes: of the volume.
        instances: the instance of each slot, in the shape of the axes before the rows.
    """

    axes: tuple[Axis, ...]
    instances: NDArray[np.intp]

    @classmethod
    def of(cls, volume: Volume) -> Places:
        shape = volume.array.shape[: volume.leading]
        return cls(volume.axes, volume.stored.instance.reshape(shape))

    @property
    def leading(self) -> int:
        """How many axes come before row and column."""
        return self.instances.ndim

    @property
    def names(self) -> list[str]:
        return [axis.name for axis in self.axes[: self.leading]]


def instances_at(places: Places | None, chosen: Mapping[str, Indices]) -> list[int]:
    """The instances whose frames lie at the indices, ascending; ``chosen`` by axis name.

    Raises:
        HeaderError: no such axis or index, or instances of which only some frames are meant.
    """
    if places is None:
        raise HeaderError("this header belongs to no volume: name instances with where=")
    grid = places.instances
    mask = np.ones(grid.shape, bool)
    for name, indices in chosen.items():
        place = _place(name, places.names)
        mask &= _along(_indices(indices, grid.shape[place], name), place, grid.shape)
    whole = np.bincount(grid.ravel())
    meant = np.bincount(grid[mask], minlength=len(whole))
    if ((meant > 0) & (meant < whole)).any():
        raise HeaderError(
            "the frames chosen share instances with others: set "
            "PerFrameFunctionalGroupsSequence, or the whole instances with where="
        )
    return [int(index) for index in np.flatnonzero(meant)]


def instances_along(places: Places | None, name: str) -> list[int]:
    """(n,) for each instance, its index along an axis.

    Raises:
        HeaderError: no such axis, or instances that reach over several indices of it.
    """
    if places is None:
        raise HeaderError("this header belongs to no volume: along= has no meaning")
    grid = places.instances
    place = _place(name, places.names)
    steps = np.broadcast_to(
        np.arange(grid.shape[place]).reshape(_aside(place, grid.ndim)), grid.shape
    )
    found = np.full(int(grid.max()) + 1, -1)
    found[grid.ravel()] = steps.ravel()
    if (found[grid] != steps).any():
        raise HeaderError(f"instances reach over several indices of the axis {name!r}")
    return [int(index) for index in found]


def _place(name: str, names: list[str]) -> int:
    known = {other: place for place, other in enumerate(names)}
    known.setdefault("slices", known.get("slice", -1))
    if known.get(name, -1) < 0:
        told = ", ".join(names) or "none"
        raise HeaderError(f"no axis {name!r} to choose instances by; there are: {told}")
    return known[name]


def _indices(indices: Indices, size: int, name: str) -> NDArray[np.intp]:
    try:
        if isinstance(indices, slice):
            return np.arange(size)[indices]
        wanted = [indices] if isinstance(indices, int | np.integer) else list(indices)
        return np.array([range(size)[index] for index in wanted], np.intp)
    except (IndexError, TypeError, ValueError):
        raise HeaderError(f"the axis {name!r} has indices from 0 to {size - 1}") from None


def _along(places: NDArray[np.intp], place: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = np.zeros(shape[place], bool)
    mask[places] = True
    return mask.reshape(_aside(place, len(shape)))


def _aside(place: int, ndim: int) -> list[int]:
    """The shape that lets values of one axis be broadcast over all."""
    return [-1 if other == place else 1 for other in range(ndim)]
