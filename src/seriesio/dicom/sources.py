"""Which instances the other operands of a computation came from.

A computed volume has the header of its first operand; what it is computed from is told by all of
them (PS3.3 section C.7.6.1.1.4).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from .derived import own_source
from .instance import Instance, Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .volume import Stored

__all__ = ["Origin", "with_sources"]

Pairs: TypeAlias = "list[tuple[int, int | None]]"


class Origin(NamedTuple):
    """What voxels were read from, without them.

    Attributes:
        instances: as they were read.
        stored: of their slots.
        shape: of the axes before the rows; () for slots in any other order.
    """

    instances: tuple[Instance, ...]
    stored: Stored
    shape: tuple[int, ...]

    def slots(self, shape: tuple[int, ...]) -> NDArray[np.intp] | None:
        """(n, 1) the slot at each place of an array that this one was computed into."""
        try:
            places = np.arange(len(self.stored.instance)).reshape(self.shape)
            return np.broadcast_to(places, shape).reshape(-1, 1)
        except ValueError:
            return None


def with_sources(
    instances: Sequence[Instance],
    stored: Stored,
    others: Iterable[tuple[Origin, NDArray[np.intp] | None]],
) -> tuple[Instance, ...]:
    """Instances that name those of other origins.

    Args:
        instances, stored: of the computed voxels.
        others: each with (n, m) the m slots that each of the n computed ones is made of.
    """
    found: list[dict[str, Source]] = [{s.uid: s for s in one.sources} for one in instances]
    for origin, slots in others:
        if slots is not None:
            for mine, source in _sources(stored, origin, slots):
                found[mine][source.uid] = source.merged(found[mine].get(source.uid))
    return tuple(
        replace(one, sources=tuple(sources.values())) if sources else one
        for one, sources in zip(instances, found, strict=True)
    )


def _sources(
    stored: Stored, origin: Origin, slots: NDArray[np.intp]
) -> Iterator[tuple[int, Source]]:
    """(instance, source of it)"""
    told: dict[int, list[Source]] = {}
    for (mine, theirs), pairs in _frames(stored, origin, slots).items():
        if theirs not in told:
            other = origin.instances[theirs]
            own = own_source(other)
            told[theirs] = [*([own] if own is not None else []), *other.sources]
        if origin.stored.layouts[theirs].frames == 1:
            pairs = [(frame, None) for frame, _ in pairs] if stored.layouts[mine].frames > 1 else []
        for source in told[theirs]:
            yield mine, _with_frames(source, pairs)


def _frames(
    stored: Stored, origin: Origin, slots: NDArray[np.intp]
) -> dict[tuple[int, int], Pairs]:
    """For each instance and each that it is computed from: (frame, frame of the other)."""
    count = slots.shape[1]
    found: dict[tuple[int, int], Pairs] = {}
    flat = slots.reshape(-1)
    columns = (
        stored.instance.repeat(count),
        origin.stored.instance[flat],
        stored.frame.repeat(count),
        origin.stored.frame[flat],
    )
    for mine, theirs, frame, other in zip(*(c.tolist() for c in columns), strict=True):
        found.setdefault((mine, theirs), []).append((frame, other))
    return found


def _with_frames(source: Source, pairs: Pairs) -> Source:
    """A source of what frames are computed from, by these frames."""
    if source.frames and pairs:
        pairs = [
            (mine, last)
            for mine, other in pairs
            for first, last in source.frames
            if other in (None, first)
        ]
    elif source.frames:
        return source
    return replace(source, frames=tuple(pairs)) if pairs else source
