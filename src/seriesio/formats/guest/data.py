"""What the guest formats share as values: options, sizes, numbers in texts, affines, axes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...blob import Blob, read_at
from ...dicom.criteria import CRITERIA
from ...dicom.sorting import Axis
from ...errors import DataError, EncodeError, TooLargeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..image import Image

__all__ = [
    "axis_of",
    "check_volume",
    "checked_affine",
    "head_of",
    "listed",
    "named_axes",
    "number_of",
    "number_text",
    "numbers_in",
    "options_of",
    "sibling",
    "split_affine",
    "steps_of",
    "storable",
    "text_of",
    "told_axes",
    "whole_in",
]

MAX_HEADER: Final = 1 << 20  # bytes of a text header
_DIGITS: Final = 20  # of a whole number: more are too many for anything, and so are the first 20
_LIST: Final = re.compile(r"LIST(\d?D?)(\s|$)", re.IGNORECASE)
_MAX_SIDE: Final = 1 << 40  # voxels along an axis
_SINGULAR: Final = 1e-6  # volume of three unit directions that lie nearly in one plane
_UNIFORM: Final = 1e-6  # of a step


def options_of(options: Mapping[str, Any], **defaults: Any) -> dict[str, Any]:
    """The options with their defaults.

    Raises:
        TypeError: an option that the format does not take.
    """
    unknown = sorted(options.keys() - defaults.keys())
    if unknown:
        taken = f"options are {', '.join(sorted(defaults))}" if defaults else "it takes none"
        raise TypeError(f"this format takes no option {', '.join(unknown)} ({taken})")
    return {**defaults, **options}


# --- files and headers -----------------------------------------------------------------------


def sibling(name: str, other: str) -> str | None:
    """The name of a file in the same directory; None for one that would lie elsewhere."""
    other = other.removeprefix("./")
    if other in ("", ".", "..") or any(mark in other for mark in "/\\:\0"):
        return None
    return name[: name.rfind("/") + 1] + other


def listed(told: str) -> bool:
    """Does a header name several data files, by a list or a pattern like ``a%03d.raw 1 20 1``?"""
    return "%" in told or _LIST.match(told) is not None


def text_of(data: bytes) -> str:
    """A header's bytes as text: UTF-8, or else Latin-1, which all bytes are."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def head_of(blob: Blob) -> bytes:
    """The first bytes of a file, as many as a text header may have."""
    data = bytearray(min(blob.size, MAX_HEADER))
    return bytes(data[: read_at(blob, memoryview(data))])


def check_volume(name: str, shape: Sequence[int], dtype: np.dtype[Any], memory: int) -> int:
    """The bytes of a volume.

    Raises:
        DataError: a side that is no size.
        TooLargeError: more than ``memory``.
    """
    if not all(0 < side <= _MAX_SIDE for side in shape):
        raise DataError(f"{name}: the header gives the size {shape_text(shape)}")
    size = math.prod(shape) * dtype.itemsize
    if size > memory:
        raise TooLargeError(
            f"{name}: {shape_text(shape)} voxels of {dtype.itemsize} bytes are more than the limit "
            f"of {memory} bytes; Client(limits=Limits(memory=…)) raises it"
        )
    return size


def shape_text(shape: Sequence[int]) -> str:
    """Sizes as a text of bounded length."""
    return "×".join(str(side)[:20] for side in shape[:16])


def number_of(word: str | bytes) -> float:
    """The value of a word of digits, as every program reads it.

    Raises:
        ValueError: it has none; Python's ``1_000`` and digits other than ASCII are none.
    """
    if not word.isascii() or (b"_" in word if isinstance(word, bytes) else "_" in word):
        raise ValueError("no number")
    return float(word)


def numbers_in(text: str, count: int, what: str, name: str) -> list[float]:
    """Finite numbers of a text that has exactly so many.

    Raises:
        DataError: it has not.
    """
    tokens = text.split(None, count)
    try:
        values = [number_of(token) for token in tokens]
    except ValueError:
        raise DataError(f"{name}: {what} is not {count} numbers") from None
    if len(values) != count or not all(map(math.isfinite, values)):
        raise DataError(f"{name}: {what} is not {count} finite numbers")
    return values


def whole_in(text: str, count: int, what: str, name: str) -> list[int]:
    """Whole numbers of a text that has exactly so many.

    Raises:
        DataError: it has not.
    """
    tokens = text.split(None, count)
    try:
        values = [_whole(token) for token in tokens]
    except ValueError:
        raise DataError(f"{name}: {what} is not {count} whole numbers") from None
    if len(values) != count:
        raise DataError(f"{name}: {what} is not {count} whole numbers")
    return values


def _whole(token: str) -> int:
    if not token.isascii() or "_" in token:
        raise ValueError("no number")
    return int(token[:_DIGITS])


def number_text(value: float) -> str:
    """The shortest text that is read back as the same value."""
    short = f"{value + 0.0:.15g}"
    return short if float(short) == value else f"{value:.17g}"


# --- affines ---------------------------------------------------------------------------------


def checked_affine(
    columns: NDArray[np.float64], origin: NDArray[np.float64], name: str
) -> NDArray[np.float64]:
    """(4, 4) the affine of steps along column, row, slice, as (3, 3) columns, and an origin.

    Raises:
        DataError: not finite, a step of no length, or all steps in one plane.
    """
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = columns, origin
    if not _regular(affine):
        raise DataError(f"{name}: the directions and spacings of its axes span no volume")
    return affine


def with_normal(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) the (3, 2) steps of a plane, and one of 1 mm along its normal."""
    normal = np.cross(columns[:, 0], columns[:, 1])
    length = float(np.linalg.norm(normal))
    return np.column_stack([columns, normal / length if length else normal])


def split_affine(
    affine: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(3, 3) unit directions as columns, (3,) spacings, (3,) origin.

    Raises:
        EncodeError: the affine is not finite, or singular.
    """
    if not _regular(affine):
        raise EncodeError("the affine is not finite, or singular: there is no such place in space")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return affine[:3, :3] / spacing, spacing, affine[:3, 3].copy()


def _regular(affine: NDArray[np.float64]) -> bool:
    with np.errstate(all="ignore"):
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        if not (np.isfinite(affine).all() and np.isfinite(lengths).all() and lengths.all()):
            return False
        return bool(abs(np.linalg.det(affine[:3, :3] / lengths)) > _SINGULAR)


# --- axes ------------------------------------------------------------------------------------


def axis_of(name: str, values: Any) -> Axis:
    """An axis with the unit that sorting gives it."""
    unit = CRITERIA[name].unit if name in CRITERIA else ""
    return Axis(name, unit, np.asarray(values, np.float64))


def named_axes(
    axes: Sequence[Axis], names: str | Sequence[str] | None, file: str
) -> tuple[Axis, ...]:
    """The axes under the names that the caller gives.

    Raises:
        DataError: there are not as many axes.
    """
    if names is None:
        return tuple(axes)
    given = names.split(",") if isinstance(names, str) else list(names)
    if len(given) != len(axes):
        raise DataError(f"{file}: axes= names {len(given)} axes, the file has {len(axes)} of them")
    pairs = zip(given, axes, strict=True)
    return tuple(axis_of(name.strip(), axis.values) for name, axis in pairs)


def steps_of(values: NDArray[Any]) -> tuple[float, float] | None:
    """(first, step) of values at equal distances; None of others."""
    if values.ndim != 1 or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        return None
    if len(values) == 1:
        return float(values[0]), 1.0
    step = float(values[-1] - values[0]) / (len(values) - 1)
    even = float(values[0]) + step * np.arange(len(values))
    return (float(values[0]), step) if abs(even - values).max() <= abs(step) * _UNIFORM else None


def told_axes(image: Image) -> tuple[Axis, ...]:
    """The further axes as they are written: b values and gradient directions are one, "dti"."""
    vectors = image.bvectors
    if vectors is None or [axis.name for axis in image.axes] != ["b"]:
        return image.axes
    b = np.asarray(image.axes[0].values, np.float64)
    if vectors.shape != (len(b), 3):
        raise EncodeError("not one gradient direction for each b value")
    return (axis_of("dti", np.column_stack([b, vectors])),)


# --- dtypes ----------------------------------------------------------------------------------


def storable(dtype: np.dtype[Any], what: str) -> np.dtype[Any]:
    """The native dtype in which a format keeps voxels: bool as uint8, float16 as float32.

    Raises:
        EncodeError: there is none for it.
    """
    wider = {"?": "u1", "e": "f4"}
    found = np.dtype(wider.get(dtype.char, dtype.newbyteorder("=")))
    if found.kind not in "iuf" or found.itemsize > 8:
        raise EncodeError(f"{what} cannot hold voxels of type {dtype}")
    return found
