"""What Instance Numbers (PS3.3 section C.7.6.1) tell of volumes, where nothing else tells them.

Scanners number images volume by volume or slice by slice, from 1 (some from 0) on. Where numbers
are missing, that still says which volume an image belongs to, but only if it can be no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["numbered_through", "numbered_volumes"]

_LARGEST: Final = 1 << 31  # an Instance Number (IS) is no larger


def numbered_through(numbers: NDArray[np.float64]) -> bool:
    """True if the numbers are 1 (or 0) to as many as there are: then no image was lost."""
    ordered = np.sort(numbers)
    return bool(ordered[0] in (0, 1) and (np.diff(ordered) == 1).all())


def numbered_volumes(
    numbers: NDArray[np.float64], slices: NDArray[np.intp]
) -> NDArray[np.intp] | None:
    """(n,) the volume that each frame belongs to by its number; None unless that is certain.

    Args:
        numbers: (n,) of the frames, each once.
        slices: (n,) their positions, 0 to the last, all of them there.
    """
    unique = np.unique(numbers)
    if len(unique) < len(numbers) or not (numbers == np.rint(numbers)).all():
        return None
    if unique[0] < 0 or unique[-1] > _LARGEST:
        return None
    base = 0 if unique[0] == 0 else 1
    places = (numbers - base).astype(np.int64)
    step = int(np.gcd.reduce(np.diff(unique).astype(np.int64))) if len(unique) > 1 else 1
    if step > 1 and not (places % step).any():
        places //= step
    found = [_volume_by_volume(places, slices, base == 0), _slice_by_slice(places, slices)]
    known = [codes for codes in found if codes is not None]
    if len(known) == 2 and not np.array_equal(known[0], known[1]):
        return None
    return known[0] if known else None


def _volume_by_volume(
    places: NDArray[np.int64], slices: NDArray[np.intp], from_zero: bool
) -> NDArray[np.intp] | None:
    """Each run of as many numbers as there are slices is a volume."""
    count = int(slices.max()) + 1
    order = np.full(count, -1)
    order[places % count] = slices
    if (order[places % count] != slices).any() or len(np.unique(order)) < count:
        return None
    certain = _monotonic(order) if count > 2 else count == 1
    # Had the numbers begun elsewhere, other frames would be together. Two or three slices look
    # alike where numbers begin with 0, and that one is lost.
    begun = places.min() == 0 and (count > 3 or from_zero)
    if not certain and not (begun and _usual(order)):
        return None
    return np.asarray(places // count, np.intp)


def _monotonic(order: NDArray[np.intp]) -> bool:
    steps = np.diff(order)
    return bool((steps > 0).all() or (steps < 0).all())


def _usual(order: NDArray[np.intp]) -> bool:
    """Slices one after the other, or every other one first, upwards or downwards."""
    forward = np.arange(len(order))
    ways = [forward] + [np.concatenate([forward[a::2], forward[b::2]]) for a, b in ((0, 1), (1, 0))]
    return any(np.array_equal(order, way) or np.array_equal(order, way[::-1]) for way in ways)


def _slice_by_slice(places: NDArray[np.int64], slices: NDArray[np.intp]) -> NDArray[np.intp] | None:
    """Each run of as many numbers as there are volumes is a slice, upwards or downwards."""
    count = int(slices.max()) + 1
    for ways in (slices, count - 1 - slices):
        first, last = np.full(count, np.iinfo(np.int64).max), np.zeros(count, np.int64)
        np.minimum.at(first, ways, places)
        np.maximum.at(last, ways, places)
        ranks = np.arange(count)
        least = int((last // (ranks + 1)).max()) + 1
        most = int((first[1:] // ranks[1:]).min()) if count > 1 else least
        if least == most:  # no other number of volumes is possible
            return np.asarray(places - ways * least, np.intp)
    return None
