"""To SimpleITK and back: ITK's coordinates are DICOM's (LPS); ITK keeps voxels of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..dicom.bare import bare_volume, placed
from ..dicom.sorting import Axis
from ..errors import DataError, EncodeError
from ..formats._imaging import image_of
from ._door import expected, package

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..dicom.volume import Volume
    from ..formats.image import Image

__all__ = ["from_sitk", "to_sitk"]

_INSTEAD: Final = {"b1": "u1", "f2": "f4"}  # what SimpleITK has not, and what holds it exactly
_MOST: Final = 5  # dimensions
_FLAT: Final = 2


def to_sitk(volume: Volume, *, accept_uneven: bool = False) -> Any:
    """A ``SimpleITK.Image`` with a copy of the voxels; further axes are further dimensions.

    Spacing, origin and direction are those of the affine (the direction of a tilted stack is
    sheared); along further axes the spacing is their mean step, if it is positive.

    Raises:
        EncodeError: slices that no affine can place; axes or a dtype that SimpleITK has not.
        MissingDependencyError: SimpleITK is not installed.
    """
    sitk = package("SimpleITK", "sitk")
    image = image_of(volume, accept_uneven=accept_uneven)
    array = image.array.astype(
        _INSTEAD.get(image.array.dtype.str[1:], image.array.dtype), copy=False
    )
    if len(image.axes) + 3 > _MOST:
        raise EncodeError(f"SimpleITK has five dimensions, too few for {array.shape}")
    try:
        made = sitk.GetImageFromArray(array, isVector=image.color)
    except (KeyError, TypeError):
        raise EncodeError(f"SimpleITK holds no voxels of type {array.dtype}") from None
    _place(made, image, volume.geometry.affine)
    return made


def _place(made: Any, image: Image, affine: NDArray[np.float64]) -> None:
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    direction = np.eye(3 + len(image.axes))
    direction[:3, :3] = affine[:3, :3] / spacing
    behind = tuple(reversed(image.axes))
    made.SetSpacing((*spacing.tolist(), *map(_step, behind)))
    made.SetOrigin((*affine[:3, 3].tolist(), *map(_start, behind)))
    made.SetDirection(direction.ravel().tolist())


def _numbers(axis: Axis) -> NDArray[np.float64] | None:
    values = np.asarray(axis.values)
    return values if values.ndim == 1 and values.dtype.kind in "iuf" else None


def _step(axis: Axis) -> float:
    """The mean step; 1 where there is none that ITK takes for a spacing."""
    values = _numbers(axis)
    if values is None or len(values) < 2:
        return 1.0
    step = float(values[-1] - values[0]) / (len(values) - 1)
    return step if np.isfinite(step) and step > 0 else 1.0


def _start(axis: Axis) -> float:
    values = _numbers(axis)
    start = 0.0 if values is None else float(values[0])
    return start if np.isfinite(start) else 0.0


def from_sitk(image: Any) -> Volume:
    """The volume of an image, with a copy of its voxels: ITK frees its own when it likes.

    A flat image is one slice. Pixels of three 8-bit components are colours, other vectors the
    axis "component"; the fourth dimension is the axis "time", the fifth "dim5".

    Raises:
        TypeError: no image of SimpleITK's.
        DataError: a label map.
        MissingDependencyError: SimpleITK is not installed.
    """
    sitk = package("SimpleITK", "sitk")
    expected(image, sitk.Image, "from_sitk")
    if "label" in image.GetPixelIDTypeAsString():  # SimpleITK ends the process if asked for them
        raise DataError("a label map has no voxels; SimpleITK.LabelMapToLabel makes an image of it")
    dimensions, components = image.GetDimension(), image.GetNumberOfComponentsPerPixel()
    array = sitk.GetArrayFromImage(image)
    color = components == 3 and array.dtype == np.uint8
    vector = array.ndim > dimensions and not color
    if vector:
        array = np.moveaxis(array, -1, 0)
    if dimensions == _FLAT:
        array = np.expand_dims(array, 1 if vector else 0)
    axes = _further(image) if not vector else (_components(components), *_further(image))
    slices = array.shape[-4 if color else -3]
    return bare_volume(array, axes, placed(_affine(image), slices), color=color)


def _components(count: int) -> Axis:
    return Axis("component", "", np.arange(float(count)))


def _further(image: Any) -> tuple[Axis, ...]:
    dimensions, names = range(3, image.GetDimension()), ("time", "dim5")
    axes = (
        Axis(
            names[n - 3],
            "s" if n == 3 else "",
            image.GetOrigin()[n] + np.arange(float(image.GetSize()[n])) * image.GetSpacing()[n],
        )
        for n in dimensions
    )
    return tuple(reversed(tuple(axes)))


def _affine(image: Any) -> NDArray[np.float64]:
    """(4, 4) of the first three dimensions; the third of a flat image is 1 mm thick."""
    count = image.GetDimension()
    used = min(count, 3)
    direction = np.reshape(image.GetDirection(), (count, count))[:used, :used]
    affine = np.eye(4)
    affine[:used, :used] = direction * image.GetSpacing()[:used]
    affine[:used, 3] = image.GetOrigin()[:used]
    return affine
