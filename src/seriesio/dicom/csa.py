"""Numbers out of the CSA image headers of Siemens, for all frames of a series at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from .mosaic import csa_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .frames import Frames

__all__ = ["csa_numbers"]

_HEADER: Final = 0x0029, "SIEMENS CSA HEADER", 0x10
_FIRST: Final = "B_value"  # every image of a diffusion series has one


def csa_numbers(frames: Frames, name: str, count: int) -> NDArray[np.float64]:
    """(n, count) numbers of a tag in (0029,xx10); NaN where there are fewer, or no such header.

    The headers are long and few series need them: the others are known by one of them.
    """
    sample = frames.private_sample(*_HEADER)
    nothing = np.full((len(frames), count), np.nan)
    if not np.isfinite(_numbers(sample, _FIRST, 1)).all():
        return nothing
    found = frames.private(*_HEADER, "OB")
    if found is None:
        return nothing
    column = found[0]
    table = np.array([_numbers(value, name, count) for value in column.values])
    return np.asarray(table[column.codes])


def _numbers(value: bytes | None, name: str, count: int) -> tuple[float, ...]:
    try:
        texts = csa_values(value, {name}).get(name, [])
        found = tuple(float(text.strip(b" \0")) for text in texts)[:count]
    except ValueError:
        found = ()
    return found if len(found) == count else (float("nan"),) * count
