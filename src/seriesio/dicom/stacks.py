"""Stacks: frames of a series that have one orientation, where it mixes several (localizers).

They are numbered from 1 on, by the first Instance Number (and frame) of each; so the same files
give the same numbers, in whatever order they come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ..errors import NotFoundError
from .positions import unit_normal
from .table import HeaderTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from .frames import Frames
    from .raw import RawHeader

__all__ = [
    "cosine_tolerance",
    "frames_of_stack",
    "instance_stacks",
    "mixes_orientations",
    "orientation_stacks",
    "stacks_told",
]

_TOLERANCE: Final = 1e-3  # of direction cosines
_PER_FRAME: Final = 0x52009230
_LONGEST: Final = 6 * 17  # bytes: six numbers and what parts them
_MOST: Final = 1000  # stacks
_APART: Final = 1e-2  # mm: positions nearer than this are one


def cosine_tolerance(asked: float | None) -> float:
    """How much direction cosines of one stack may differ."""
    return _TOLERANCE if asked is None else asked


def orientation_stacks(
    frames: Frames | HeaderTable, tolerance: float = _TOLERANCE
) -> NDArray[np.intp]:
    """(n,) the stack of each frame, 0 for the first; -1 where a frame has no orientation."""
    orientations = frames.numbers("ImageOrientationPatient", 6)
    known = ~np.isnan(orientations[:, 0])
    stacks = np.full(len(orientations), -1, np.intp)
    if not known.any():
        return stacks
    kinds, codes = np.unique(orientations[known], axis=0, return_inverse=True)
    own = _grouped(kinds, tolerance)[codes.reshape(-1)]
    number = np.nan_to_num(frames.numbers("InstanceNumber")[known, 0], nan=np.inf)
    place = np.zeros(len(stacks)) if isinstance(frames, HeaderTable) else frames.number
    order = np.lexsort((own, place[known], number))
    first = np.unique(own[order], return_index=True)[1]
    stacks[known] = np.argsort(np.argsort(first))[own]
    return stacks


def _grouped(kinds: NDArray[np.float64], tolerance: float) -> NDArray[np.intp]:
    """(k,) the group of each different orientation, ascending; near ones share the first's.

    Beyond a limit the rest are one group: nobody wants thousands of stacks, one by one.
    """
    groups = np.full(len(kinds), _MOST, np.intp)
    free = np.arange(len(kinds))
    for group in range(_MOST):
        if not len(free):
            break
        near = np.abs(kinds[free] - kinds[free[0]]).max(axis=1) <= tolerance
        groups[free[near]] = group
        free = free[~near]
    return np.unique(groups, return_inverse=True)[1].reshape(-1)


def stacks_told(frames: Frames | HeaderTable, stacks: NDArray[np.intp]) -> Iterator[str]:
    """What each stack is, and how to select it."""
    orientations = frames.numbers("ImageOrientationPatient", 6)
    positions = frames.numbers("ImagePositionPatient", 3)
    for stack in range(int(stacks.max()) + 1):
        own = stacks == stack
        cosines = orientations[own][0]
        told = ", ".join(f"{number:.4g}" for number in cosines + 0.0)
        yield (
            f"stack {stack + 1}: orientation [{told}], {int(own.sum())} frames "
            f'{_places(positions[own], cosines)}; select={{"stack": {stack + 1}}}'
        )


def _places(positions: NDArray[np.float64], cosines: NDArray[np.float64]) -> str:
    known = positions[~np.isnan(positions[:, 0])]
    if not len(known) or not np.any(np.cross(cosines[:3], cosines[3:])):
        return "without positions"
    along = np.sort(known @ unit_normal(cosines))
    count = 1 + int((np.diff(along) > _APART).sum())
    if count == 1:
        return f"at {along[0]:.4g} mm along its normal"
    return f"at {count} positions from {along[0]:.4g} to {along[-1]:.4g} mm along its normal"


def frames_of_stack(frames: Frames, stack: int, tolerance: float) -> NDArray[np.intp]:
    """The frames of a stack, by its number from 1 on.

    Raises:
        NotFoundError: there is none of that number.
    """
    stacks = orientation_stacks(frames, tolerance)
    chosen = np.flatnonzero(stacks == stack - 1)
    if stack < 1 or not len(chosen):
        raise NotFoundError(f"there is no stack {stack}: the series has {int(stacks.max()) + 1}")
    return chosen


def instance_stacks(table: HeaderTable, tolerance: float) -> NDArray[np.intp] | None:
    """(n,) the stack of each instance; None where all have the same orientation, or some none."""
    column = table.column("ImageOrientationPatient")
    if len(column.values) == 1:
        return None
    stacks = orientation_stacks(table, tolerance)
    return None if stacks.min() < 0 or stacks.max() == 0 else stacks


def mixes_orientations(table: HeaderTable) -> bool:
    """True if the functional groups of an instance may name several orientations.

    Only the raw bytes are looked at: an element in a sequence is what its tag stands before. So
    this costs little where, as usual, a series has but one orientation.
    """
    used = table.used
    if not any(_PER_FRAME in table.groups[group].layout.lookup for group in used):
        return False
    return any(_several(table.header(index)) for index in range(len(table)))


def _several(header: RawHeader) -> bool:
    data = bytes(header.raw(_PER_FRAME) or b"")
    order = "little" if header.syntax.little else "big"
    tag = b"".join(part.to_bytes(2, order) for part in (0x0020, 0x0037))  # type: ignore[arg-type]
    found: set[bytes] = set()
    place = data.find(tag)
    while place >= 0 and len(found) < 2:
        explicit = data[place + 4 : place + 6] == b"DS"
        length = data[place + 6 : place + 8] if explicit else data[place + 4 : place + 8]
        end = place + 8 + min(int.from_bytes(length, order), _LONGEST)  # type: ignore[arg-type]
        found.add(data[place:end])
        place = data.find(tag, place + 8)
    return len(found) > 1
