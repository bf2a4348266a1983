"""A series as other libraries' arrays and images, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from ._series_volume import SeriesVolume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from .dicom.volume import Volume

__all__ = ["SeriesInterop"]


class SeriesInterop(SeriesVolume):
    """What needs an optional package says so: ``pip install "seriesio[xarray]"`` and the like.

    Images with an affine cannot say where unevenly spaced slices are: ``to_nibabel`` and
    ``to_sitk`` refuse a series of which a slice would lie a tenth of the spacing, or more, from
    its place, unless ``accept_uneven_slices=True``; ``to_xarray`` holds each slice's position.
    What comes back has no DICOM header; ``template=`` (a series or a pydicom Dataset) makes one,
    as in :meth:`~seriesio.Series.from_array`.
    """

    def to_xarray(self) -> Any:
        """An ``xarray.DataArray`` over the same voxels, with the axes as coordinates.

        ``attrs`` has spacing, orientation and affine (of the whole); the coordinates ``x``,
        ``y``, ``z`` (of each slice's first voxel), ``row`` and ``column`` still say where a part
        lies that xarray has cut out, and :meth:`from_xarray` reads them.

        Raises:
            MissingDependencyError: xarray is not installed.
        """
        from .interop.xarray_door import to_xarray

        return to_xarray(self._volume)

    def to_nibabel(self, *, accept_uneven_slices: bool = False) -> Any:
        """A ``nibabel.Nifti1Image`` over the same voxels, (column, row, slice, time), RAS.

        Half floats and colours are copied. b values and directions have no place in it:
        ``bvalues`` and ``bvectors`` have them.

        Raises:
            EncodeError: uneven slices; axes or a dtype that NIfTI does not have.
            MissingDependencyError: nibabel is not installed.
        """
        from .interop.nibabel_door import to_nibabel

        return to_nibabel(self._volume, accept_uneven=accept_uneven_slices)

    def to_sitk(self, *, accept_uneven_slices: bool = False) -> Any:
        """A ``SimpleITK.Image`` with one copy of the voxels; further axes are dimensions of it.

        Raises:
            EncodeError: uneven slices; more than five axes; a dtype that ITK does not have.
            MissingDependencyError: SimpleITK is not installed.
        """
        from .interop.sitk_door import to_sitk

        return to_sitk(self._volume, accept_uneven=accept_uneven_slices)

    def to_dask(self, chunks: Any = None) -> Any:
        """A ``dask.array.Array`` whose chunks are views on the voxels, one for each volume.

        Args:
            chunks: as dask has it.

        Raises:
            MissingDependencyError: dask is not installed.
        """
        from .interop.dask_door import to_dask

        return to_dask(self._volume, chunks)

    @classmethod
    def from_xarray(cls, data: Any, *, template: SeriesVolume | Dataset | None = None) -> Self:
        """A series over the voxels of a ``DataArray``.

        Dimensions named slice, row, column (and rgb) may stand in any order; of other names the
        last three are these. The place is that of :meth:`to_xarray`'s coordinates, else
        ``attrs["affine"]`` (LPS, mm); without both, the steps of the coordinates are the spacing.

        Raises:
            DataError: no rows and columns, or coordinates that are no numbers.
            InconsistentSeriesError: no affine.
            HeaderError, EncodeError: the template cannot give these voxels a header.
        """
        from .interop.xarray_door import from_xarray

        return cls(_completed(from_xarray(data), template))

    @classmethod
    def from_nibabel(cls, image: Any, *, template: SeriesVolume | Dataset | None = None) -> Self:
        """A series over the voxels of a nibabel image; those of a file are read, in this thread.

        RAS becomes LPS; metres and micrometres become mm, the fourth dimension "time" in s.

        Raises:
            DataError: no rows and columns.
            InconsistentSeriesError: no usable affine.
            HeaderError, EncodeError: the template cannot give these voxels a header.
        """
        from .interop.nibabel_door import from_nibabel

        return cls(_completed(from_nibabel(image), template))

    @classmethod
    def from_sitk(cls, image: Any, *, template: SeriesVolume | Dataset | None = None) -> Self:
        """A series with a copy of the voxels of a ``SimpleITK.Image``.

        Raises:
            DataError: no voxels that an array can hold.
            HeaderError, EncodeError: the template cannot give these voxels a header.
            MissingDependencyError: SimpleITK is not installed.
        """
        from .interop.sitk_door import from_sitk

        return cls(_completed(from_sitk(image), template))


def _completed(volume: Volume, template: SeriesVolume | Dataset | None) -> Volume:
    """With a header, if there is a template for one."""
    if template is None:
        return volume
    from .dicom.making import completed, template_of

    given = template._volume if isinstance(template, SeriesVolume) else template
    return completed(volume, template_of(given), None)
