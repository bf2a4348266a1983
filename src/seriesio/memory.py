"""Memory for much data at once.

The system gives memory when it is first touched, page by page, and each page takes its time: some
microseconds for a small one in a virtual machine. Linux has large ones for whom asks, as numpy
does for arrays from 4 MB on; but these must lie at multiples of their size, which the beginning
and the end of an array do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["fresh"]

_LARGE: Final = 1 << 21  # bytes of a large page of most processors
_WORTH: Final = 1 << 20  # bytes that are worth one


def fresh(size: int) -> NDArray[np.uint8]:
    """(size,) bytes that may hold anything, in large pages where there are such.

    A view of a little more memory; what is not used of that is never touched, and costs nothing.

    Raises:
        MemoryError, ValueError: there is not that much.
    """
    if size < _WORTH:
        return np.empty(size, np.uint8)
    room = np.empty(size + 2 * _LARGE, np.uint8)
    start = -room.__array_interface__["data"][0] % _LARGE
    return room[start : start + size]
