"""A number for the content of a slot, so that writing can tell whether voxels were changed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["column_sums", "columns", "fingerprint", "fingerprints", "weigh"]

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
    if slots.dtype.itemsize == 8:
        data = slots.reshape(len(slots), -1).view(np.uint8)
        return np.array([crc32(row.data) for row in data], np.uint64)
    return weigh(column_sums(slots), slots)


def column_sums(slots: NDArray[Any], out: NDArray[np.uint64] | None = None) -> NDArray[np.uint64]:
    """(n, :func:`columns`) the words of each slot, summed: the pass over the voxels, one call."""
    prime = columns(slots)
    words = _words(slots)
    rows = words.shape[1] // prime
    found: NDArray[np.uint64] = np.add.reduce(
        words[:, : rows * prime].reshape(len(slots), rows, prime), axis=1, out=out
    )
    return found


def weigh(sums: NDArray[np.uint64], slots: NDArray[Any]) -> NDArray[np.uint64]:
    """(n,) fingerprints, from the sums and the few words that are left over."""
    data = slots.reshape(len(slots), -1).view(np.uint8)
    words, prime = _words(slots), sums.shape[1]
    rest = words[:, words.shape[1] // prime * prime :]
    last = np.zeros((len(data), 8), np.uint8)
    last[:, : data.shape[1] % 8] = data[:, 8 * words.shape[1] :]
    found = (sums * _WEIGHTS[:prime]).sum(axis=1)
    found += (rest * _WEIGHTS[: rest.shape[1]]).sum(axis=1)
    return np.asarray(found + last.view(np.uint64)[:, 0] * _WEIGHTS[-1] + np.uint64(data.shape[1]))


def columns(slots: NDArray[Any]) -> int:
    """How many columns the words of slots of this shape are summed in."""
    size = math.prod(slots.shape[2:]) * slots.dtype.itemsize
    return next(prime for prime in _PRIMES if size % prime)


def _words(slots: NDArray[Any]) -> NDArray[np.uint64]:
    data = slots.reshape(len(slots), -1).view(np.uint8)
    return data[:, : data.shape[1] // 8 * 8].view(np.uint64)
