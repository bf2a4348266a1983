"""NIfTI's dimensions behind columns, rows and slices, and our axes before the slices.

A file (i, j, k, t, …) in Fortran order is an array (…, t, k, j, i) in C order: the same bytes.
Source: nifti1.h, "DATA DIMENSIONALITY", "UNITS OF SPATIAL AND TEMPORAL DIMENSIONS".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...dicom.sorting import Axis
from ...errors import EncodeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ..image import Image
    from .header import NiftiHeader

__all__ = ["Dimensions", "place_axes", "read_axes"]

_SECONDS: Final = {8: 1.0, 16: 1e-3, 24: 1e-6}  # xyzt_units: second, millisecond, microsecond
_SPECTRAL: Final = {32: ("frequency", "Hz"), 40: ("shift", "ppm"), 48: ("frequency", "rad/s")}
_VECTORS: Final = frozenset({1004, 1005, 1006, 1007, 1008, 1009})  # matrices, vectors, points …
_VECTOR: Final = 1007
_SECOND: Final = 8
_TIMES: Final = frozenset({"time", "triggertime"})
_GRADIENTS: Final = frozenset({"b", "bvector", "dti"})
_FIRST: Final = 4  # the dimension behind columns, rows and slices
_LAST: Final = 7


def read_axes(header: NiftiHeader) -> tuple[tuple[Axis, ...], tuple[str, ...]]:
    """The axes before the slices, of more than one index each; and notes."""
    found, notes = [], []
    for number, size in enumerate(header.further, _FIRST):
        if size == 1:
            continue
        if number > _FIRST:
            found.append(Axis(_name(header, number), "", np.arange(size, dtype=np.float64)))
            continue
        axis, note = _fourth(header, size)
        found.append(axis)
        notes += note
    return tuple(reversed(found)), tuple(notes)


def _name(header: NiftiHeader, number: int) -> str:
    return "component" if number == 5 and header.intent_code in _VECTORS else f"dim{number}"


def _fourth(header: NiftiHeader, size: int) -> tuple[Axis, list[str]]:
    """The axis of the fourth dimension: time, or what a spectrum is over."""
    units, step = header.xyzt_units & 0x38, float(header.pixdim[4])
    steps = np.arange(size, dtype=np.float64)
    start = header.toffset if math.isfinite(header.toffset) else 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        values = start + step * steps
    if step <= 0 or not np.isfinite(values).all():
        return Axis("time", "", steps), []
    if units in _SPECTRAL:
        name, unit = _SPECTRAL[units]
        return Axis(name, unit, values), []
    notes = []
    if units not in _SECONDS:
        notes.append("xyzt_units does not say the unit of time: seconds are taken")
    return Axis("time", "s", values * _SECONDS.get(units, 1.0)), notes


@dataclass(frozen=True, slots=True, eq=False)
class Dimensions:
    """How the axes of an image stand in a file.

    Attributes:
        further: the sizes of dimension 4 and on.
        order: the image's axes from the last dimension to the fourth: the order of the bytes.
        step, unit: of the fourth dimension, 0 where there is nothing to tell; the unit is a
            code of xyzt_units.
        fields: more of the header.
        bvals: (n,) for each volume, None without an axis of b values.
        bvectors: (n, 3) in patient space (LPS), None without directions.
    """

    further: tuple[int, ...]
    order: tuple[int, ...]
    step: float = 0.0
    unit: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict)
    bvals: NDArray[np.float64] | None = None
    bvectors: NDArray[np.float64] | None = None


def place_axes(image: Image) -> Dimensions:
    """Find a dimension for each axis.

    Time (or the trigger time) is the fourth; of others the last of an image comes first. Axes
    of b values and directions become one, as every program for diffusion has it.

    Raises:
        EncodeError: more axes than NIfTI has, or such that no place is theirs.
    """
    names = [axis.name for axis in image.axes]
    if _GRADIENTS.intersection(names):
        return _gradients(image, names)
    if image.axes and image.bvectors is not None and np.any(image.bvectors):
        raise EncodeError("NIfTI: gradient directions need an axis of b values")
    if len(names) > _LAST - _FIRST + 1:
        raise EncodeError(f"NIfTI has seven dimensions, too few for the axes {', '.join(names)}")
    places = _places(names)
    last = max(places, default=_FIRST - 1)
    further = tuple(
        len(image.axes[places[n]]) if n in places else 1 for n in range(_FIRST, last + 1)
    )
    order = tuple(places[n] for n in sorted(places, reverse=True))
    return Dimensions(further, order, *_timing(image, places), _fields(image, places))


def _fields(image: Image, places: Mapping[int, int]) -> dict[str, Any]:
    """What vectors and spectra have in a header."""
    found = {number: image.axes[place] for number, place in places.items()}
    fields: dict[str, Any] = {}
    if 5 in found and found[5].name == "component":
        fields["intent_code"] = _VECTOR
    if _FIRST in found and (found[_FIRST].name, found[_FIRST].unit) in _SPECTRAL.values():
        fields["toffset"] = float(found[_FIRST].values[0])
    return fields


def _places(names: Sequence[str]) -> dict[int, int]:
    """For each dimension that is used, which axis it gets."""
    places: dict[int, int] = {}
    for axis, name in enumerate(names):
        number = _wanted(name)
        if number is not None and number not in places:
            places[number] = axis
    for axis in reversed(range(len(names))):
        if axis not in places.values():
            places[next(n for n in range(_FIRST, _LAST + 1) if n not in places)] = axis
    return places


def _wanted(name: str) -> int | None:
    """The dimension that an axis of this name has by custom."""
    if name in _TIMES or name in {"frequency", "shift"}:
        return _FIRST
    return {"component": 5, "dim5": 5, "dim6": 6, "dim7": 7}.get(name)


def _timing(image: Image, places: Mapping[int, int]) -> tuple[float, int]:
    """Step and unit of the fourth dimension."""
    if _FIRST not in places:
        return 0.0, 0
    axis = image.axes[places[_FIRST]]
    spectral = {pair: code for code, pair in _SPECTRAL.items()}
    code = spectral.get((axis.name, axis.unit))
    if code is not None:
        return _step(axis), code
    if axis.name in _TIMES and axis.unit and len(axis) > 1:
        return _step(axis) * (1e-3 if axis.unit == "ms" else 1.0), _SECOND
    return _repetition(image)


def _step(axis: Axis) -> float:
    """The mean step of an axis, the only one that NIfTI has; 0 where it goes down or is none."""
    step = float(axis.values[-1] - axis.values[0]) / max(len(axis) - 1, 1)
    return step if math.isfinite(step) and step > 0 else 0.0


def _repetition(image: Image) -> tuple[float, int]:
    """The repetition time, which custom has for the step from volume to volume."""
    try:
        milliseconds = float(image.attributes.get("RepetitionTime") or 0.0)
    except (TypeError, ValueError):
        return 0.0, 0
    return (milliseconds * 1e-3, _SECOND) if 0 < milliseconds < 1e9 else (0.0, 0)


def _gradients(image: Image, names: Sequence[str]) -> Dimensions:
    """All volumes one after the other, with a b value and perhaps a direction for each."""
    others = [name for name in names if name not in _GRADIENTS]
    if others:
        raise EncodeError(
            f"NIfTI has b values for one axis of volumes, not for {', '.join(names)}: "
            f"write one index of {', '.join(others)} after the other"
        )
    sizes = [len(axis) for axis in image.axes]
    count = math.prod(sizes)
    columns = _columns(image, sizes)
    bvals = columns.get("b")
    if bvals is None:
        raise EncodeError("NIfTI: gradient directions need an axis of b values")
    bvectors = columns.get("vector")
    if image.bvectors is not None:
        bvectors = np.asarray(image.bvectors, np.float64)
        if bvectors.shape != (count, 3):
            raise EncodeError(f"bvectors are {bvectors.shape}, not one for each of {count} volumes")
    if not np.isfinite(bvals).all() or not (bvectors is None or np.isfinite(bvectors).all()):
        raise EncodeError("NIfTI: b values and gradient directions must be finite")
    order = tuple(range(len(sizes)))
    return Dimensions((count,), order, *_repetition(image), bvals=bvals, bvectors=bvectors)


def _columns(image: Image, sizes: Sequence[int]) -> dict[str, NDArray[np.float64]]:
    """The b value and the direction of each volume, as far as axes tell, in C order."""
    found: dict[str, NDArray[np.float64]] = {}
    for axis, index in zip(image.axes, np.indices(sizes).reshape(len(sizes), -1), strict=True):
        values = np.asarray(axis.values, np.float64)[index]
        if axis.name == "dti":
            found["b"], found["vector"] = values[:, 0], values[:, 1:4]
        else:
            found["b" if axis.name == "b" else "vector"] = values
    return found
