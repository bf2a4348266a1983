"""Images of guest formats to volumes and back; no voxel is copied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..dicom.bare import bare_volume, leading_axes, unplaced
from ..dicom.bare import placed as placed_at
from ..dicom.diffusion import bvectors
from ..dicom.sorting import Axis
from ..errors import DataError, EncodeError, SeriesError
from .image import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..dicom.volume import Volume
    from ..report import Report

__all__ = ["image_of", "volume_of"]

# What is handed to guests: acquisition and description, nothing of the patient.
_TOLD: Final = (
    *("Modality", "SeriesNumber", "SeriesDescription", "RepetitionTime", "EchoTime"),
    *("InversionTime", "FlipAngle", "MagneticFieldStrength", "WindowCenter", "WindowWidth"),
)
_DIFFUSION: Final = frozenset({"b", "bvector", "dti"})
_UNEVEN: Final = 0.1  # of the spacing: from here on an affine misplaces slices
_PLAIN: Final = (1.0, 1.0, 1.0)


def volume_of(image: Image, name: str, report: Report) -> Volume:
    """The volume of an image, without a DICOM header.

    Raises:
        DataError: what the guest has read does not fit together.
    """
    try:
        return _volume(image, report)
    except SeriesError as error:
        raise DataError(f"{name}: {error}") from error


def _volume(image: Image, report: Report) -> Volume:
    slices = _slices(image)
    if image.affine is not None:
        geometry = placed_at(image.affine, slices)
    else:
        geometry = unplaced(image.spacing or _PLAIN, slices)
    return bare_volume(
        image.array,
        _with_directions(image.axes, image.bvectors),
        geometry,
        color=image.color,
        known=image.attributes,
        report=report,
    )


def _slices(image: Image) -> int:
    shape = image.array.shape[: image.array.ndim - image.color]
    return shape[-3] if len(shape) > 2 else 1


def _with_directions(
    axes: tuple[Axis, ...], bvectors: NDArray[np.float64] | None
) -> tuple[Axis, ...]:
    """Axes where b values and directions are one: "dti" with values (n, 4): b, x, y, z."""
    if bvectors is None or [axis.name for axis in axes] != ["b"]:
        return axes
    values = np.asarray(axes[0].values, np.float64)
    if bvectors.shape != (len(values), 3):
        raise DataError(f"{len(values)} b values and directions of shape {bvectors.shape}")
    return (Axis("dti", "s/mm2", np.column_stack([values, bvectors])),)


def image_of(volume: Volume, *, accept_uneven: bool = False, placed: bool = True) -> Image:
    """The image that guests write.

    ``placed``: the format says where slices lie, so they must lie as an affine puts them.

    Raises:
        EncodeError: slices that no affine can place, unless that is accepted.
    """
    geometry = volume.geometry
    notes: tuple[str, ...] = ()
    if placed and geometry.deviation > _UNEVEN * max(geometry.spacing[0], 1e-9):
        told = f"uneven slices: an affine is off by up to {geometry.deviation:.3g} mm"
        if not accept_uneven:
            raise EncodeError(f"{told}; accept_uneven_slices=True writes them as if they were even")
        notes = (told,)
    header = volume.header
    known = {name: value for name in _TOLD if (value := header.get(name)) not in (None, "")}
    axes = leading_axes(volume)
    return Image(
        _with_slices(volume),
        axes,
        geometry.affine if geometry.known else None,
        volume.axes[-1].name == "rgb",
        _directions(volume, axes),
        known,
        notes,
        None if geometry.known or geometry.spacing == _PLAIN else geometry.spacing,
    )


def _with_slices(volume: Volume) -> NDArray[Any]:
    """The array; with an axis of one slice, where that was indexed away."""
    if any(axis.name == "slice" for axis in volume.axes):
        return volume.array
    single: NDArray[Any] = np.expand_dims(volume.array, volume.leading)
    return single


def _directions(volume: Volume, axes: tuple[Axis, ...]) -> NDArray[np.float64] | None:
    """(n, 3) gradient directions of the volumes that an axis tells apart by diffusion."""
    if not _DIFFUSION & {axis.name for axis in axes}:
        return None
    return bvectors(volume)
