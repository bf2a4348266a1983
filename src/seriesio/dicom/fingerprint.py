"""A number for the content of a slot, so that writing can tell whether voxels were changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["fingerprint"]

_PRIME: Final = 509
# Odd, and far from each other: multiples of 2^64 divided by the golden ratio.
_WEIGHTS: Final = np.arange(1, _PRIME + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) | (
    np.uint64(1)
)


def fingerprint(slot: NDArray[Any]) -> int:
    """A number that (all but surely) changes when any value of the contiguous slot does.

    One pass at the speed of memory: the words of the slot are summed in columns of a prime
    width, so that shifting or flipping an image moves them to others, and the columns weighed.
    """
    data = slot.reshape(-1).view(np.uint8)
    count = data.size // 8
    words = data[: 8 * count].view(np.uint64)
    rows = count // _PRIME
    sums = np.add.reduce(words[: rows * _PRIME].reshape(rows, _PRIME), axis=0)
    rest = words[rows * _PRIME :]
    sums[: rest.size] += rest
    last = int.from_bytes(data[8 * count :].tobytes(), "little")
    return int(np.dot(sums, _WEIGHTS)) ^ last ^ data.size << 56 & 0xFFFFFFFFFFFFFFFF
