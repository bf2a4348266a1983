"""Volumes through pickle and deepcopy: headers are views on shared buffers, which cannot go."""

from __future__ import annotations

import copyreg
from typing import TYPE_CHECKING, Any

import numpy as np

from .part10 import RawHeader

if TYPE_CHECKING:
    from .volume import Volume

__all__ = ["restored", "state_of"]


def state_of(volume: Volume) -> tuple[Any, ...]:
    """What :func:`restored` needs; each header with its own bytes only."""
    return (
        np.asarray(volume.array),
        volume.header,
        volume.geometry,
        volume.axes,
        volume.stored,
        volume.report,
        volume.moved,
    )


def restored(state: tuple[Any, ...]) -> Volume:
    """The volume again."""
    from .volume import Volume

    return Volume(*state)


def _header(
    data: bytes, layout: Any, places: tuple[Any, Any, Any], syntax: Any, meta_end: int
) -> RawHeader:
    return RawHeader(memoryview(data), layout, *places, syntax, meta_end)


def _reduced(raw: RawHeader) -> tuple[Any, ...]:
    places = raw.starts, raw.offsets, raw.lengths
    return _header, (bytes(raw.data), raw.layout, places, raw.syntax, raw.meta_end)


copyreg.pickle(RawHeader, _reduced)
