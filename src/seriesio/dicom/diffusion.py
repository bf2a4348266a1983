"""b values and gradient directions of a volume, whatever tells them: its axes, or its header."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .attributes import SERIES_UID, SOP_UID
from .frames import FrameTable
from .gradients import weighting
from .part10 import parse
from .splice import splice
from .table import HeaderGroup, HeaderTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .header import Header
    from .part10 import RawHeader
    from .sorting import Axis
    from .volume import Volume

__all__ = ["bvalues", "bvectors"]


def bvalues(volume: Volume) -> NDArray[np.float64] | None:
    """(n,) b values in s/mm2 of the n volumes, in C order of the axes before the slices.

    They are those of the axis "b" or "dti"; else what the header says of each volume's first
    slice. None if nothing says so.

    Raises:
        DicomError: damaged functional groups.
    """
    for place, axis in enumerate(volume.axes[: volume.leading]):
        if axis.name == "b" and axis.unit:  # without a unit: mere indices
            return _along(volume, place, np.asarray(axis.values, float))
        if axis.name == "dti" and axis.values.ndim == 2:
            return _along(volume, place, axis.values[:, 0])
    return _of_header(volume)[0]


def bvectors(volume: Volume) -> NDArray[np.float64] | None:
    """(n, 3) gradient directions of the n volumes, in C order of the axes before the slices.

    Unit vectors x, y, z in patient coordinates (LPS); zeros for volumes without a direction. They
    are those of the axis "bvector" or "dti"; else what the header says of each volume's first
    slice. None if nothing says so.

    Raises:
        DicomError: damaged functional groups.
    """
    for place, axis in enumerate(volume.axes[: volume.leading]):
        if axis.name in ("bvector", "dti") and axis.values.ndim == 2:
            return _along(volume, place, axis.values[:, -3:])
    return _of_header(volume)[1]


def _further(volume: Volume) -> list[tuple[int, Axis]]:
    """The axes before the rows that are not the slices, and their places."""
    leading = enumerate(volume.axes[: volume.leading])
    return [(place, axis) for place, axis in leading if axis.name != "slice"]


def _along(volume: Volume, place: int, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values of an axis for each volume."""
    places = [at for at, _ in _further(volume)]
    shape = [volume.array.shape[at] for at in places]
    chosen = np.indices(shape)[places.index(place)].reshape(-1)
    return np.array(values[chosen], np.float64)


def _of_header(
    volume: Volume,
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """What the header says of the first slice of each volume."""
    stored, leading = volume.stored, volume.array.shape[: volume.leading]
    slots = np.arange(len(stored.instance))
    if not len(slots) or not len(volume.header.instances):
        return None, None
    names = [axis.name for axis in volume.axes[: volume.leading]]
    if "slice" in names:
        slots = slots.reshape(leading).take(0, axis=names.index("slice")).reshape(-1)
    owners, local = np.unique(stored.instance[slots], return_inverse=True)
    frames = FrameTable(_table(volume.header, owners.tolist()))
    wanted = frames.first[local.reshape(-1)] + stored.frame[slots]
    values, vectors = weighting(frames)
    return (
        None if values is None else values[wanted],
        None if vectors is None else vectors[wanted],
    )


def _table(header: Header, indices: list[int]) -> HeaderTable:
    return HeaderTable([HeaderGroup.single(_raw(header, index)) for index in indices])


def _raw(header: Header, index: int) -> RawHeader:
    """An instance's header as it is now."""
    changes = header.changes(index)
    raw = header.instances[index].raw
    if changes.keys() <= {SERIES_UID, SOP_UID} or raw.syntax.deflated:
        return raw
    data = b"".join(bytes(piece) for piece in splice(raw, changes))
    return parse(memoryview(data), len(data) + max(raw.pixel_length, 0), "header").header
