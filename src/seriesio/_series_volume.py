"""The volume inside of a series: there at once, or made when somebody asks for it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Self

from .dicom.pending import Computed, Part, Past, origin_of, part_of
from .dicom.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from .dicom.header import Header
    from .dicom.instance import Instance
    from .dicom.sources import Origin

__all__ = ["SeriesVolume", "plain", "touch"]

_MOST_ORIGINS: Final = 8


class SeriesVolume:
    """Voxels, and the volume that they are of."""

    _array: NDArray[Any]
    _pending: Part | Computed | None

    def __init__(self, volume: Volume) -> None:
        self.__dict__.update(_volume=volume, _array=volume.array, _pending=None)

    @classmethod
    def _later(cls, pending: Part | Computed) -> Self:
        """A series whose header, axes and geometry nobody has asked for yet."""
        series = cls.__new__(cls)
        series.__dict__.update(_array=pending.array, _pending=pending)
        return series

    @cached_property
    def _volume(self) -> Volume:
        """The volume, made now; of two threads that ask at once, both get the same."""
        own = self.__dict__
        pending = own["_pending"]
        made: Volume = (
            own["_volume"] if pending is None else own.setdefault("_volume", pending.volume())
        )
        own["_pending"] = None
        return made

    @property
    def header(self) -> Header:
        """The attributes of the series and of its instances."""
        return self._volume.header

    @property
    def _place(self) -> Volume | Past:
        """What has the geometry and the axes, with nothing made for it that can wait."""
        pending = self._pending
        return pending.past if isinstance(pending, Computed) else self._volume

    def _computed(self, array: NDArray[Any], others: Iterable[SeriesVolume] = ()) -> Self:
        """Computed voxels in the same place, under new UIDs, and what else they are made of."""
        pending, place = self._pending, self._place
        origins = pending.others if isinstance(pending, Computed) else ()
        for other in others:
            origins += other._origins(place.header.instances)
        if len(origins) > _MOST_ORIGINS:  # they keep whole headers: what is told of them is short
            return type(self)(Computed(array, Past.of(self._volume), origins).volume())
        past = Past.of(place) if isinstance(place, Volume) else place
        return self._later(Computed(array, past, origins))

    def _origins(self, but: Sequence[Instance]) -> tuple[Origin, ...]:
        """What the voxels were read from, where that is not known already."""
        pending, place = self._pending, self._place
        origins = pending.others if isinstance(pending, Computed) else ()
        if place.header.instances is but or not len(place.header):
            return origins
        return (origin_of(place, self._array), *origins)

    def _part(self, index: Any) -> Any:
        """The part that an index means: a series where that has a place, else a plain array."""
        found = part_of(self._volume, index)
        if found is None:
            return self._array[index]
        return type(self)(found) if isinstance(found, Volume) else self._later(found)


def plain(value: Any) -> Any:
    """The array of a series; any other value as it is."""
    return value._array if isinstance(value, SeriesVolume) else value


def touch(values: Iterable[Any]) -> None:
    """Say of series that were computed in place that their voxels have changed."""
    for series in values:
        if isinstance(series, SeriesVolume):
            series.header.renew_uids()
