"""The header of an NRRD file, out of an image."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...errors import EncodeError
from ..guest.data import number_text, split_affine, steps_of, told_axes
from .axes import LABELS, MULTI, TAGS, UNITS
from .header import MOST_AXES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ...dicom.sorting import Axis
    from ..image import Image

__all__ = ["header_bytes"]

_TYPES: Final = {
    **{"i1": "int8", "u1": "uint8", "i2": "int16", "u2": "uint16", "i4": "int32"},
    **{"u4": "uint32", "i8": "int64", "u8": "uint64", "f4": "float", "f8": "double"},
}
_TAGS: Final = {axis: tag for tag, axis in reversed(TAGS.items())}
_GRADIENTS: Final = 9999  # DWMRI_gradient_NNNN


def header_bytes(image: Image, dtype: np.dtype[Any], packed: bool, data_file: str) -> bytes:
    """The header; with the empty line before the voxels unless they are in a ``data_file``.

    Raises:
        EncodeError: an affine that is none, or more axes than the format has.
    """
    count = image.array.ndim
    if count > MOST_AXES:
        raise EncodeError(f"an NRRD file has {MOST_AXES} axes at the most, not {count}")
    gradients = _gradients(image)
    fields = {
        "type": _TYPES[dtype.str[1:]],
        "dimension": str(count),
        **_space_fields(image, gradients is not None),
        "sizes": " ".join(map(str, image.array.shape[::-1])),
        **_axis_fields(image, gradients is not None),
        "endian": sys.byteorder,
        "encoding": "gzip" if packed else "raw",
        **({"data file": data_file} if data_file else {}),
    }
    pairs = _gradient_pairs(*gradients) if gradients else _axis_pairs(image)
    lines = [f"{key}: {value}" for key, value in fields.items()]
    lines += [f"{key}:={value}" for key, value in pairs.items()]
    text = "\n".join(["NRRD0005", *lines, *([] if data_file else [""]), ""])
    try:
        return text.encode("ascii")
    except UnicodeEncodeError:
        raise EncodeError("the names in an NRRD header are plain ASCII") from None


def _space_fields(image: Image, measured: bool) -> dict[str, str]:
    if image.affine is None:
        return {}
    directions, spacing, origin = split_affine(image.affine)
    steps = [_vector(column) for column in (directions * spacing).T]
    fields = {
        "space": "left-posterior-superior",
        "space directions": " ".join(_per_axis(image, steps, "none")),
        "space origin": _vector(origin),
    }
    if measured:
        fields["measurement frame"] = "(1,0,0) (0,1,0) (0,0,1)"
    return fields


def _per_axis(image: Image, spatial: Sequence[str], other: str) -> list[str]:
    """One word for each axis, the fastest first."""
    return [*([other] if image.color else []), *spatial, *([other] * len(image.axes))]


def _vector(values: NDArray[np.float64]) -> str:
    return f"({','.join(number_text(value) for value in values.tolist())})"


def _axis_fields(image: Image, measured: bool) -> dict[str, str]:
    further = told_axes(image)[::-1]
    kinds = ["list"] * len(further)  # not "time": ITK takes that for a dimension of space
    colour = ["RGB-color"] if image.color else []
    fields = {"kinds": " ".join([*colour, "domain", "domain", "domain", *kinds])}
    if further:
        before = 3 + image.color
        fields["labels"] = " ".join(_quoted([""] * before + [axis.name for axis in further]))
        units = [axis.unit for axis in further]
        fields["units"] = " ".join(_quoted([""] * before + units))
    steps = [_steps(axis, measured) for axis in further]
    spatial = list(image.spacing[::-1]) if image.spacing and image.affine is None else []
    for key, place, own in (("spacings", 1, spatial), ("axis mins", 0, [])):
        values = [*([math.nan] * image.color), *(own or [math.nan] * 3)]
        values += [pair[place] for pair in steps]
        if not all(map(math.isnan, values)):
            fields[key] = " ".join("nan" if math.isnan(v) else number_text(v) for v in values)
    return fields


def _quoted(words: Sequence[str]) -> list[str]:
    for word in words:
        if any(char in word for char in '"\\\r\n') or word.strip() != word:
            raise EncodeError("the name or unit of an axis has a character that NRRD cannot hold")
    return [f'"{word}"' for word in words]


def _steps(axis: Axis, measured: bool) -> tuple[float, float]:
    """(first, step) of evenly spaced values; NaN of others, and of gradients."""
    pair = None if measured else steps_of(axis.values)
    return pair if pair and pair[1] else (math.nan, math.nan)


def _axis_pairs(image: Image) -> dict[str, str]:
    """What 3D Slicer reads of one further axis; what tells the values of uneven ones."""
    pairs: dict[str, str] = {}
    for axis in told_axes(image):
        if axis.values.dtype.kind not in "iuf" or not np.isfinite(axis.values).all():
            continue
        pair = steps_of(axis.values)
        if pair is None or not pair[1]:
            values = axis.values.ravel().tolist()
            pairs[f"seriesio.{axis.name}"] = " ".join(map(number_text, values))
    if len(image.axes) == 1 and image.axes[0].name in _TAGS:
        (axis,) = image.axes
        if axis.values.ndim == 1 and np.isfinite(axis.values).all():
            pairs[MULTI] = _TAGS[axis.name]
            pairs[UNITS] = axis.unit
            pairs[LABELS] = ",".join(map(number_text, axis.values.tolist()))
            pairs["MultiVolume.NumberOfFrames"] = str(len(axis))
    return pairs


# --- diffusion -------------------------------------------------------------------------------


def _gradients(image: Image) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """(n,) b values and (n, 3) directions in LPS, of an image whose one axis has both."""
    if len(image.axes) != 1 or image.affine is None:
        return None
    (axis,) = told_axes(image)
    if axis.name != "dti" or axis.values.shape != (len(axis), 4):
        return None
    values = np.asarray(axis.values, np.float64)
    return _checked_gradients(values[:, 0], values[:, 1:])


def _checked_gradients(
    b: NDArray[np.float64], vectors: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Both; None if 3D Slicer's way cannot tell them: a b value without a direction (trace)."""
    if not np.isfinite(b).all() or b.min() < 0:
        raise EncodeError("b values that are not finite and positive")
    if len(b) > _GRADIENTS + 1:
        raise EncodeError(f"an NRRD file has {_GRADIENTS + 1} gradients at the most")
    vectors = np.nan_to_num(vectors, posinf=0.0, neginf=0.0)
    without = np.asarray(~vectors.any(axis=1))
    return None if (without & (b > 0)).any() else (b, vectors)


def _gradient_pairs(b: NDArray[np.float64], vectors: NDArray[np.float64]) -> dict[str, str]:
    """The gradients of 3D Slicer: their squared lengths tell the b values."""
    largest = float(b.max())
    sizes = np.linalg.norm(vectors, axis=1)
    scale = np.sqrt(b / largest if largest else b) / np.where(sizes > 0, sizes, 1.0)
    rows = (vectors * scale[:, None]).tolist()
    pairs = {"modality": "DWMRI", "DWMRI_b-value": number_text(largest)}
    return pairs | {
        f"DWMRI_gradient_{number:04d}": " ".join(map(number_text, row))
        for number, row in enumerate(rows)
    }
