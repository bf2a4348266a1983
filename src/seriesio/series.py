"""A series: a volume with a header. A value: no socket, no open file, nothing to close."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterable, Mapping, MutableMapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ._series_array import SeriesArray
from ._series_attributes import SeriesAttributes
from ._series_geometry import SeriesGeometry
from ._series_interop import SeriesInterop

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray
    from pydicom.dataset import Dataset

    from .client import Client
    from .dicom.sorting import Axis
    from .location import URL
    from .progress import ProgressCallback
    from .protocols import Receipt
    from .report import Report

__all__ = ["Series", "volume_in"]


class Series(SeriesArray, SeriesAttributes, SeriesGeometry, SeriesInterop):
    """One whole imaging series as a sorted, georeferenced array.

    Any DICOM keyword is an attribute, in camelCase (``patientName``, ``sopInstanceUID``) or as
    DICOM spells it (``PatientName``), to read and to set. An attribute that differs between
    instances answers with the first; ``series.header.values("AcquisitionTime")`` gives all.
    """

    # --- opening and writing ------------------------------------------------------------------

    @classmethod
    async def open(
        cls,
        url: URL | Sequence[URL],
        input_order: str = "auto",
        *,
        client: Client | None = None,
        select: Mapping[str, Any] | None = None,
        template: URL | Series | Dataset | None = None,
        geometry: URL | Series | ArrayLike | None = None,
        rescale: bool = True,
        dtype: DTypeLike | None = None,
        on_incomplete: Literal["raise", "warn"] = "raise",
        progress: ProgressCallback | None = None,
        **options: Any,
    ) -> Series:
        """Open the one series behind a URL.

        Files without a DICOM header (NIfTI, MetaImage, NRRD, MATLAB, PostScript) open where there
        is no DICOM image: each is a series, with its companions beside it.

        Args:
            url: a path or URL, or a list of them: a file, a directory tree, ``file.zip``,
                ``file.zip?directory&pattern``.
            input_order: "auto", "none", or criteria: "time", "b", "te", "fa", "triggertime" …,
                several with commas.
            client: whose limits and threads to use; a short-lived one by default.
            select: attributes that the series (or the part of it) must have, as
                ``{"SeriesNumber": 4}``; a set or a range (and a list, where the attribute has one
                value) means any of them, a function of the text decides for itself;
                ``{"name": "x.nii"}`` picks a file without DICOM header.
            template: a series (or its URL) or a pydicom Dataset whose patient, study, equipment,
                frame of reference and acquisition the voxels get, each slice as an instance with
                new UIDs. Pixels, place and axes stay those of the opened series; slices run along
                the normal then, times count from the template's. Where neither place nor spacing
                is known and the size is the template's, so is the place.
            geometry: a series (or its URL) of as many slices, rows and columns, or a (4, 4)
                affine, LPS in mm: where the voxels are said to lie.
            rescale: False for stored values, without RescaleSlope and RescaleIntercept (PS3.3
                section C.11.1) and without conversion of colours.
            dtype: of the array; by default the smallest integer type that holds all values,
                float32 where slope or intercept are fractions.
            on_incomplete: "warn" hands over what is there; ``series.report`` says what is not.
            progress: called in the event loop with a :class:`~seriesio.Progress`.
            **options: ``slice_tolerance`` (mm), ``dir_cosine_tolerance``; the transport's, as
                ``password=`` of a zip; ``format="nifti"``: open files of that format only; that
                format's own, as ``resolution=`` of PostScript.

        Raises:
            NotFoundError: nothing is there, or nothing that ``select`` asks for.
            AmbiguousSeriesError: several series are there; lists them.
            IncompleteSeriesError: slices are missing or doubled.
            InconsistentSeriesError, UnsortableSeriesError: the instances make no one volume.
            DataError, TransportError: damaged or unreadable files.
            HeaderError, EncodeError: the template cannot give these voxels a header.
        """
        from .client import Client  # the client makes series: one of the two must import late

        arguments: dict[str, Any] = {
            "select": select,
            "template": template,
            "geometry": geometry,
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

    @classmethod
    def from_array(
        cls,
        array: ArrayLike,
        *,
        template: Series | Dataset | None = None,
        geometry: Series | ArrayLike | None = None,
        spacing: Sequence[float] | None = None,
        affine: ArrayLike | None = None,
        axes: Sequence[str | Axis] | None = None,
    ) -> Series:
        """A series of computed data; the array is not copied.

        Without a template it has no DICOM header: it can be computed with and written in other
        formats. With one, its header is made at once, in this thread: some 0.5 ms a slice.

        Args:
            array: (…, slices, rows, columns), or (rows, columns); rgb behind, if ``axes`` says
                so or the template has it.
            template: as in :meth:`open`; the data count as computed from a series given here:
                Image Type DERIVED, Source Image Sequence (PS3.3 section C.7.6.1). Its further
                axes are taken where they have the same lengths, and its place where none is
                given and the size is the same.
            geometry: as in :meth:`open`.
            spacing: (dz, dy, dx) in mm, where nothing is known of the place.
            affine: as ``geometry``.
            axes: names of the axes before the slices, or whole ones with values; those of
                slice, row, column and rgb may stand behind. One without a name is "time".

        Raises:
            TypeError: a URL: opening waits, ``Series.open`` does that.
            ValueError: arguments that contradict each other or the array's shape.
            InconsistentSeriesError: no affine, or a geometry of another size.
            HeaderError, EncodeError: the template cannot give these voxels a header.
        """
        from .dicom.making import make_volume, place_of, template_of

        for name, given in (("template", template), ("geometry", geometry)):
            if isinstance(given, str | os.PathLike):
                raise TypeError(
                    f"{name}= is a URL: from_array does not wait; await Series.open(url) first"
                )
        like, place = volume_in(template), volume_in(geometry)
        found = make_volume(
            array,
            template=template_of(like, source=isinstance(template, Series)),
            like=like if isinstance(template, Series) else None,
            place=place_of(place),
            spacing=spacing,
            affine=affine,
            axes=axes,
        )
        return cls(found)

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

        Other formats than DICOM hold the voxels, their place and axes, and no header. Their file
        is that of the URL, if it ends as theirs do (``x.nii.gz``; ``formats`` may be left out
        then); else it lies in the directory or zip, named after series number and description.

        An unchanged series is written with its own UIDs, byte for byte. A changed one has new
        ones (``keep_uid=True`` keeps the old); only its changed elements are new.

        Args:
            url: a directory, made if need be, to which files are added under free names; a
                file (a name that ends in ``.dcm``) for a series of one instance; a zip, made
                or appended to; ``file.zip?directory``.
            formats: the name of a format, as ``["nifti"]``; ``["dicom"]`` by default.
            client: whose limits and threads to use; a short-lived one by default.
            keep_uid: keep the UIDs of a changed series.
            overwrite: write the usual names, replacing what has them.
            progress: called in the event loop with a :class:`~seriesio.Progress`.
            **options: the transport's, as ``compression="stored"`` of a zip; in other formats
                than DICOM ``name=`` (of the file, without extension), ``accept_uneven_slices=``
                (as if they were even), and the format's own.

        Raises:
            TargetExistsError: something would be replaced, and ``overwrite`` is false.
            EncodeError: voxels that the format cannot hold.
            HeaderError: DICOM of a series that has no DICOM header.
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

    @property
    def report(self) -> Report:
        """What happened while the series was opened."""
        return self._volume.report

    def __reduce__(self) -> tuple[Any, ...]:
        from .dicom.pickling import state_of

        self._notice(self._volume.prints())
        self.header.settle()  # from now on two series have the present UIDs
        return _restored, (state_of(self._volume),)

    # --- the header ---------------------------------------------------------------------------

    async def anonymize(
        self,
        *,
        seed: str | bytes | None = None,
        uid_map: MutableMapping[str, str] | None = None,
        keep: Iterable[str | int | tuple[int, int]] = (),
    ) -> Series:
        """Another series over the same voxels, without what identifies the patient.

        By the Basic Application Level Confidentiality Profile (PS3.15 annex E), its table by the
        package dicom-anonymizer: what it lists is removed, emptied or replaced, in sequences too;
        private and unknown elements, overlays, and all behind the pixels go; UIDs are new ones.
        Patient ID becomes a pseudonym that keeps patients apart. Of a Siemens mosaic stays how it
        is tiled. The pixels are not looked at: ``report.notes`` says whether they may show text.

        Args:
            seed: a secret; with the same one, equal UIDs and patients become equal ones in
                several series. A random one by default.
            uid_map: old UID → new UID: goes before, and is filled with what is made.
            keep: attributes to keep against the profile (``["PatientSex", "StudyDate"]``).

        Raises:
            MissingDependencyError: the extra "anonymize" is not installed.
            HeaderError: the series has no DICOM header, ``keep`` names no attribute, or
                ``uid_map`` gives no UIDs.
            ValueError: an empty ``seed``.
            DicomError: a header that cannot be taken apart.
        """
        from .anonymize import anonymized

        return Series(await anonymized(self._volume, seed=seed, uid_map=uid_map, keep=keep))

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


def volume_in(given: Any) -> Any:
    """The volume of a series; anything else as it is."""
    return given._volume if isinstance(given, Series) else given
