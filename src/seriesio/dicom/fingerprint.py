"""A number for the content of a slot, so that writing can tell whether voxels were changed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["fingerprint", "fingerprints"]

_PRIMES: Final = (509, 521)
# Odd, and far from each other: multiples of 2^64 divided by the golden ratio.
_WEIGHTS: Final = np.arange(1, 522, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) | np.uint64(1)


def fingerprint(slot: NDArray[Any]) -> int:
    """A number that (all but surely) changes when any value of the contiguous slot does."""
    return int(fingerprints(slot[None])[0])


def fingerprints(slots: NDArray[Any]) -> NDArray[np.uint64]:
    """(n,) the fingerprints of n contiguous slots that lie one behind the other.

    One pass at the speed of memory: the words of a slot are summed in columns of a prime width
    that does not divide a row, so that shifting or flipping an image moves them to others, and
    the columns weighed. In sums of 64-bit values an even number of signs would cancel out:
    those get a checksum.
    """
    data = slots.reshape(len(slots), -1).view(np.uint8)
    if slots.dtype.itemsize == 8:
        return np.array([crc32(row.data) for row in data], np.uint64)
    prime = _prime_for(slots.shape[2:], slots.dtype.itemsize)
    count = data.shape[1] // 8
    rows = count // prime
    words = data[:, : 8 * count].view(np.uint64)
    sums = np.add.reduce(words[:, : rows * prime].reshape(len(data), rows, prime), axis=1)
    rest = words[:, rows * prime :]
    sums[:, : rest.shape[1]] += rest
    last = np.zeros((len(data), 8), np.uint8)
    last[:, : data.shape[1] - 8 * count] = data[:, 8 * count :]
    ends = last.view(np.uint64)[:, 0] * _WEIGHTS[-1] + np.uint64(data.shape[1])
    return np.asarray((sums * _WEIGHTS[:prime]).sum(axis=1) + ends)


def _prime_for(row: tuple[int, ...], itemsize: int) -> int:
    size = math.prod(row) * itemsize
    return next(prime for prime in _PRIMES if size % prime)
