"""A series: a volume with a header. A value: no socket, no open file, nothing to close."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from .dicom.hints import hint_for
from .dicom.indexing import same_place, take
from .dicom.keywords import camel_case, keyword_for, tag_for
from .errors import HeaderError, InconsistentSeriesError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from .client import Client
    from .dicom.header import Header
    from .dicom.sorting import Axis
    from .dicom.volume import Volume
    from .location import URL
    from .progress import ProgressCallback
    from .protocols import Receipt
    from .report import Report

__all__ = ["Series"]


class Series(NDArrayOperatorsMixin):
    """One whole imaging series as a sorted, georeferenced array.

    Any DICOM keyword is an attribute, in camelCase (``patientName``, ``sopInstanceUID``) or as
    DICOM spells it (``PatientName``), to read and to set. An attribute that differs between
    instances answers with the first; ``series.header.values("AcquisitionTime")`` gives all.
    """

    _volume: Volume

    def __init__(self, volume: Volume) -> None:
        object.__setattr__(self, "_volume", volume)

    # --- opening and writing ------------------------------------------------------------------

    @classmethod
    async def open(
        cls,
        url: URL | Sequence[URL],
        input_order: str = "auto",
        *,
        client: Client | None = None,
        select: Mapping[str, Any] | None = None,
        rescale: bool = True,
        dtype: DTypeLike | None = None,
        on_incomplete: Literal["raise", "warn"] = "raise",
        progress: ProgressCallback | None = None,
        **options: Any,
    ) -> Series:
        """Open the one series behind a URL.

        Args:
            url: a path or URL, or a list of them: a file, a directory tree, ``file.zip``,
                ``file.zip?directory&pattern``.
            input_order: "auto", "none", or criteria: "time", "b", "te", "fa", "triggertime" …,
                several with commas.
            client: whose limits and threads to use; a short-lived one by default.
            select: attributes that the series (or the part of it) must have, as
                ``{"SeriesNumber": 4}``.
            rescale: False for stored values, without RescaleSlope and RescaleIntercept (PS3.3
                section C.11.1) and without conversion of colours.
            dtype: of the array; by default the smallest integer type that holds all values,
                float32 where slope or intercept are fractions.
            on_incomplete: "warn" hands over what is there; ``series.report`` says what is not.
            progress: called in the event loop with a :class:`~seriesio.Progress`.
            **options: ``slice_tolerance`` (mm), ``dir_cosine_tolerance``; the transport's, as
                ``password=`` of a zip.

        Raises:
            NotFoundError: nothing is there, or nothing that ``select`` asks for.
            AmbiguousSeriesError: several series are there; lists them.
            IncompleteSeriesError: slices are missing or doubled.
            InconsistentSeriesError, UnsortableSeriesError: the instances make no one volume.
            DataError, TransportError: damaged or unreadable files.
        """
        from .client import Client  # the client makes series: one of the two must import late

        arguments: dict[str, Any] = {
            "select": select,
            "rescale": rescale,
            "dtype": dtype,
            "on_incomplete": on_incomplete,
            "progress": progress,
            **options,
        }
        if client is not None:
            return await client.open(url, input_order, **arguments)
        async with Client() as own:
            return await own.open(url, input_order, **arguments)

    @classmethod
    async def open_all(
        cls,
        url: URL | Sequence[URL],
        input_order: str = "auto",
        *,
        client: Client | None = None,
        **options: Any,
    ) -> AsyncGenerator[Series, None]:
        """Open every series behind a URL, one after the other; arguments as :meth:`open`.

        Raises:
            SeriesIOError: as :meth:`open`, when its turn comes.
        """
        from .client import Client

        if client is not None:
            async with aclosing(client.open_all(url, input_order, **options)) as found:
                async for series in found:
                    yield series
            return
        async with Client() as own, aclosing(own.open_all(url, input_order, **options)) as found:
            async for series in found:
                yield series

    async def write(
        self,
        url: URL,
        *,
        formats: Sequence[str] | None = None,
        client: Client | None = None,
        keep_uid: bool | None = None,
        overwrite: bool = False,
        progress: ProgressCallback | None = None,
        **options: Any,
    ) -> Receipt:
        """Write the series into a directory or a zip file.

        An unchanged series is written with its own UIDs, byte for byte. A changed one has new
        ones (``keep_uid=True`` keeps the old); only its changed elements are new.

        Args:
            url: a directory, made if need be, to which files are added under free names; a
                file (a name that ends in ``.dcm``) for a series of one instance; a zip, made
                or appended to; ``file.zip?directory``.
            formats: names of formats; ``["dicom"]`` by default.
            client: whose limits and threads to use; a short-lived one by default.
            keep_uid: keep the UIDs of a changed series.
            overwrite: write the usual names, replacing what has them.
            progress: called in the event loop with a :class:`~seriesio.Progress`.
            **options: the transport's, as ``compression="stored"`` of a zip.

        Raises:
            TargetExistsError: something would be replaced, and ``overwrite`` is false.
            EncodeError: voxels that the format cannot hold.
            TransportError: the bytes cannot be written. Nothing is left half written.
        """
        from .client import Client

        arguments: dict[str, Any] = {
            "formats": formats,
            "keep_uid": keep_uid,
            "overwrite": overwrite,
            "progress": progress,
            **options,
        }
        if client is not None:
            return await client.write(self, url, **arguments)
        async with Client() as own:
            return await own.write(self, url, **arguments)

    # --- the array ----------------------------------------------------------------------------

    @property
    def array(self) -> NDArray[Any]:
        """The voxels themselves, no copy: further axes, then slice, row, column (and rgb)."""
        return self._volume.array

    @property
    def shape(self) -> tuple[int, ...]:
        return self._volume.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._volume.array.dtype

    @property
    def ndim(self) -> int:
        return self._volume.array.ndim

    def __len__(self) -> int:
        return len(self._volume.array)

    def __iter__(self) -> Iterator[Any]:
        return (self[place] for place in range(len(self)))

    def __bool__(self) -> bool:
        """As numpy has it: an array of several values is neither true nor false."""
        return bool(self.array)

    def __contains__(self, value: object) -> bool:
        return value in self.array

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.array, dtype=dtype, copy=copy)

    def __getitem__(self, index: Any) -> Any:
        """What keeps its place in space is a Series, the rest a plain array; a view if it can."""
        index = _plain_index(index)
        found = take(self._volume, index)
        return self.array[index] if found is None else Series(found)

    def __setitem__(self, index: Any, value: Any) -> None:
        self.array[_plain_index(index)] = _plain(value)
        self.header.renew_uids()

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """A result that keeps the place of its operands is a Series, any other a plain array.

        Raises:
            InconsistentSeriesError: operands that lie in different places.
        """
        out: tuple[Any, ...] = kwargs.get("out", ())
        together = [value for value in (*inputs, *out) if isinstance(value, Series)]
        if method == "__call__":
            _check_together(together)
        kwargs = {name: _plain(value) for name, value in kwargs.items()}
        if out:
            kwargs["out"] = tuple(map(_plain, out))
        result = getattr(ufunc, method)(*map(_plain, inputs), **kwargs)
        if method == "at":
            _touch(inputs[:1])
        if out:
            return _written_into(result, out)
        if method != "__call__":
            return result
        if isinstance(result, tuple):
            return tuple(_placed(part, together) for part in result)
        return _placed(result, together)

    # --- copies -------------------------------------------------------------------------------

    def __copy__(self) -> Series:
        """Another series with a header of its own, over the same voxels."""
        return Series(replace(self._volume, header=self.header.copy()))

    def __deepcopy__(self, memo: dict[int, Any]) -> Series:
        """An independent series with voxels of its own."""
        array = self.array.copy()
        return Series(replace(self._volume, array=array, header=self.header.copy()))

    def __reduce__(self) -> tuple[Any, ...]:
        from .dicom.pickling import state_of

        self._notice(self._volume.prints())
        self.header.settle()  # from now on two series have the present UIDs
        return _restored, (state_of(self._volume),)

    # --- geometry and sorting -----------------------------------------------------------------

    @property
    def spacing(self) -> tuple[float, float, float]:
        """(dz, dy, dx) in mm: from slice to slice, row to row, column to column.

        dz is the length of the step from a slice's first voxel to the next one's: along the
        tilt, where a gantry was tilted. ``sliceLocations`` are distances along the normal.
        """
        return self._volume.geometry.spacing

    @property
    def affine(self) -> NDArray[np.float64]:
        """(4, 4): (column, row, slice, 1) to (x, y, z, 1) in mm, patient coordinates (LPS).

        PS3.3 section C.7.6.2.1.1; sheared where a gantry was tilted.
        """
        return self._volume.geometry.affine

    @property
    def transformationMatrix(self) -> NDArray[np.float64]:
        """(4, 4): (slice, row, column, 1) to (z, y, x, 1) in mm, the affine in reversed order."""
        order = [2, 1, 0, 3]
        return self.affine[np.ix_(order, order)]

    @property
    def orientation(self) -> NDArray[np.float64]:
        """(6,) direction cosines of rows, then of columns (Image Orientation (Patient))."""
        return self._volume.geometry.orientation.copy()

    @property
    def imagePositions(self) -> NDArray[np.float64]:
        """(slices, 3) x, y, z of each slice's first voxel, in mm."""
        return self._volume.geometry.positions.copy()

    @property
    def sliceLocations(self) -> NDArray[np.float64]:
        """(slices,) distances along the normal, in mm."""
        return self._volume.geometry.slice_locations

    @property
    def axes(self) -> tuple[Axis, ...]:
        """One for each dimension: name, unit and values."""
        return self._volume.axes

    @property
    def tags(self) -> dict[str, NDArray[np.float64]]:
        """The values of the axes before the slices, by name: ``{"time": …}``."""
        leading = self._volume.axes[: self._volume.leading]
        return {axis.name: axis.values for axis in leading if axis.name != "slice"}

    @property
    def timeline(self) -> NDArray[np.float64]:
        """(times,) seconds from the first; one zero where there is no axis of time."""
        for name, scale in (("time", 1.0), ("triggertime", 1e-3)):
            if name in self.tags:
                values = self.tags[name]
                return np.asarray((values - values[0]) * scale)
        return np.zeros(1)

    @property
    def bvalues(self) -> NDArray[np.float64]:
        """(b values,) in s/mm²; empty where there is no such axis."""
        return self.tags.get("b", np.empty(0))

    @property
    def report(self) -> Report:
        """What happened while the series was opened."""
        return self._volume.report

    # --- the header ---------------------------------------------------------------------------

    @property
    def header(self) -> Header:
        """The attributes of the series and of its instances."""
        return self._volume.header

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or tag_for(name) is None:
            raise self._no_attribute(name)
        missing = object()
        value = self.header.get(name, missing)
        if value is missing:
            raise AttributeError(f"the series has no attribute {name!r}", name=name, obj=self)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(type(self), name):
            raise AttributeError(f"{name!r} cannot be set", name=name, obj=self)
        if tag_for(name) is None:
            raise self._no_attribute(name)
        self.header.set(name, value)

    def __delattr__(self, name: str) -> None:
        if tag_for(name) is None:
            raise self._no_attribute(name)
        if name not in self.header:
            raise AttributeError(f"the series has no attribute {name!r}", name=name, obj=self)
        try:
            self.header.delete(name)
        except HeaderError as error:
            raise AttributeError(str(error), name=name, obj=self) from error

    def __dir__(self) -> list[str]:
        """With the DICOM attributes that the first instance has."""
        return sorted({*super().__dir__(), *self._attributes()})

    def _attributes(self) -> list[str]:
        if not len(self.header):
            return []
        keywords = map(keyword_for, self.header.instances[0].raw.layout.tags)
        names = [camel_case(keyword) for keyword in keywords if keyword.isidentifier()]
        return [name for name in names if name in self.header]

    def _no_attribute(self, name: str) -> AttributeError:
        hint = "" if name.startswith("_") else hint_for(name)
        kind = type(self).__name__
        return AttributeError(f"{kind!r} object has no attribute {name!r}{hint}")

    def __repr__(self) -> str:
        axes = ", ".join(axis.name for axis in self.axes)
        spacing = ", ".join(f"{value:.4g}" for value in self.spacing)
        return f"<Series {self.shape} {self.dtype} ({axes}), spacing ({spacing}) mm>"

    def _repr_html_(self) -> str:
        from .notebook import html

        return html(self)

    def _notice(self, prints: NDArray[np.uint64]) -> None:
        """Say that these voxels are about to be handed out: under UIDs that no others have.

        Changes through ``array`` are noticed here. UIDs that are new already stay as they were
        seen, unless they were handed out with other voxels before.
        """
        volume = self._volume
        seen = volume.stored.prints
        if not self.header.renewed and (seen is None or not np.array_equal(seen, prints)):
            self.header.renew_uids()
        self.header.claim(volume.contents(prints))


def _restored(state: tuple[Any, ...]) -> Series:
    """A series out of a pickle."""
    from .dicom.pickling import restored

    return Series(restored(state))


def _plain(value: Any) -> Any:
    return value.array if isinstance(value, Series) else value


def _plain_index(index: Any) -> Any:
    """An index without series (masks) in it."""
    return tuple(map(_plain, index)) if isinstance(index, tuple) else _plain(index)


def _touch(values: Iterable[Any]) -> None:
    """Series that were computed in place: their voxels have changed."""
    for series in values:
        if isinstance(series, Series):
            series.header.renew_uids()


def _written_into(result: Any, out: tuple[Any, ...]) -> Any:
    """What ``out=`` returns: the very objects that were given."""
    _touch(out)
    if not isinstance(result, tuple):
        return result if out[0] is None else out[0]
    return tuple(part if given is None else given for part, given in zip(result, out, strict=True))


def _placed(result: Any, operands: Sequence[Series]) -> Any:
    """A result of the shape of an operand lies where that does."""
    for series in operands:
        if np.shape(result) == series.shape and result.dtype.kind in "biuf":
            return Series(series._volume.with_array(result))
    return result


def _check_together(operands: Sequence[Series]) -> None:
    """Voxels that are computed with each other must lie in the same place."""
    if not operands:
        return
    first = operands[0]._volume
    for other in operands[1:]:
        volume = other._volume
        if first.rows_and_columns != volume.rows_and_columns or not same_place(
            first.geometry, volume.geometry
        ):
            raise InconsistentSeriesError(
                "the two series lie in different places; compute with their .array if that is meant"
            )
