"""Which axes of an NRRD file lie in space, what the others are, and 3D Slicer's conventions.

Sources: Teem, "Definition of NRRD File Format", kinds and space directions; NA-MIC wiki, "DWI data
in NRRD" (DWMRI_…); 3D Slicer's MultiVolume module (MultiVolume.…).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ...dicom.sorting import Axis
from ...errors import DataError
from ..guest.data import axis_of, checked_affine, numbers_in, with_normal
from .header import MILLIMETRES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from .header import NrrdHeader

__all__ = ["Layout", "attributes_of", "layout_of"]

_NUMBER: Final = re.compile(r"\d{1,9}(\.\d{1,9})?")
_SPATIAL: Final = ("domain", "space")
_COLOURS: Final = ("rgb-color", "3-color", "vector", "3-vector")
_MOST: Final = 1 << 20  # places of a further axis
_SECONDS: Final = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "msec": 1e-3, "us": 1e-6}
_TIMED: Final = {"s": 1.0, "ms": 1.0}
# Tag names of 3D Slicer's MultiVolume, and what their axes are called here.
TAGS: Final = {
    "AcquisitionTime": "time",
    "Time": "time",
    "TriggerTime": "triggertime",
    "EchoTime": "te",
    "FlipAngle": "fa",
    "RepetitionTime": "tr",
    "InversionTime": "ti",
    "DiffusionBValue": "b",
}
MULTI: Final = "MultiVolume.FrameIdentifyingDICOMTagName"
LABELS: Final = "MultiVolume.FrameLabels"
UNITS: Final = "MultiVolume.FrameIdentifyingDICOMTagUnits"


# Key/value pairs in which dcm2niix tells what it knows of a series; nothing of the patient.
_TOLD: Final = {
    "Modality": "0008_0060",
    "RepetitionTime": "0018_0080",
    "EchoTime": "0018_0081",
    "InversionTime": "0018_0082",
    "MagneticFieldStrength": "0018_0087",
    "FlipAngle": "0018_1314",
}


def attributes_of(pairs: Mapping[str, str]) -> dict[str, str | float]:
    """DICOM keywords of the acquisition, of dcm2niix's pairs ``DICOM_0018_0081_EchoTime:=25``."""
    found: dict[str, str | float] = {}
    for keyword, tag in _TOLD.items():
        value = pairs.get(f"DICOM_{tag}_{keyword}", "")
        if keyword == "Modality" and value.isascii() and value.isalpha() and len(value) <= 16:
            found[keyword] = value
        elif _NUMBER.fullmatch(value):
            found[keyword] = float(value)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """What the array's axes mean.

    Attributes:
        order: how the axes, as they stand in the file with the slowest first, are to be put.
        planes: True if there is no axis of slices.
        colour: the last one is red, green, blue.
        affine, spacing: as :class:`~seriesio.formats.image.Image` has them.
        axes: the further ones.
        bvectors: (n, 3) in LPS; None: there are none.
        notes: for the report.
    """

    order: tuple[int, ...]
    planes: bool
    colour: bool
    affine: NDArray[np.float64] | None
    spacing: tuple[float, float, float] | None
    axes: tuple[Axis, ...]
    bvectors: NDArray[np.float64] | None
    notes: tuple[str, ...]


def layout_of(header: NrrdHeader, name: str) -> Layout:
    """The meaning of a header's axes.

    Raises:
        DataError: no plane in space, directions that span none, gradients that do not fit.
    """
    spatial = _spatial(header, name)
    colour = _colour(header, spatial)
    further = [k for k in range(len(header.sizes)) if k not in spatial and k != colour]
    kept = [*reversed(further), *reversed(spatial), *([] if colour is None else [colour])]
    last = len(header.sizes) - 1
    axes, bvectors, notes = _further(header, further[::-1], name)
    affine, spacing = _place(header, spatial, name)
    return Layout(
        tuple(last - place for place in kept),
        len(spatial) == 2,
        colour is not None,
        affine,
        spacing,
        axes,
        bvectors,
        (*header.notes, *notes),
    )


def _spatial(header: NrrdHeader, name: str) -> list[int]:
    """The two or three axes in space, the fastest first."""
    count = range(len(header.sizes))
    if header.directions:
        found = [k for k in count if header.directions[k] is not None]
    elif any(kind in _SPATIAL for kind in header.kinds):
        found = [k for k in count if header.kinds[k] in _SPATIAL]
    else:
        first = 1 if header.sizes[0] == 3 and header.kinds[0] in _COLOURS else 0
        found = [k for k in count if k >= first and header.kinds[k] != "time"]
    if len(found) < 2:
        raise DataError(f"{name}: {len(found)} of its axes are in space: that is no plane")
    return found[:3]


def _colour(header: NrrdHeader, spatial: Sequence[int]) -> int | None:
    """The fastest axis, if it is of three unsigned bytes or words that may be colours."""
    small = header.dtype.kind == "u" and header.dtype.itemsize <= 2
    fits = header.sizes[0] == 3 and 0 not in spatial and header.kinds[0] in _COLOURS
    return 0 if small and fits else None


def _place(
    header: NrrdHeader, spatial: Sequence[int], name: str
) -> tuple[NDArray[np.float64] | None, tuple[float, float, float] | None]:
    """The affine where directions are told, else the spacing where that is."""
    if not header.directions:
        scales = [MILLIMETRES.get(header.units[k], 1.0) for k in spatial]
        sizes = np.array([header.spacings[k] for k in spatial]) * scales
        if np.isnan(sizes).any():
            return None, None
        columns = np.diag([*sizes, 1.0][:3])
        dx, dy, dz = np.abs(np.diag(checked_affine(columns, np.zeros(3), name)))[:3].tolist()
        return None, (dz, dy, dx)
    turn = np.array(header.turn)
    steps = [_padded(header.directions[k]) * turn for k in spatial]
    columns = np.stack(steps, axis=1)
    columns = columns if len(steps) == 3 else with_normal(columns)
    return checked_affine(columns, _padded(header.origin) * turn, name), None


def _padded(vector: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """(3,) the first three of a vector's numbers; zeros where it has none."""
    padded = np.zeros(3)
    if vector is not None:
        padded[: len(vector[:3])] = vector[:3]
    return padded


# --- further axes ----------------------------------------------------------------------------


def _further(
    header: NrrdHeader, places: Sequence[int], name: str
) -> tuple[tuple[Axis, ...], NDArray[np.float64] | None, tuple[str, ...]]:
    if any(not 0 < header.sizes[k] <= _MOST for k in places):
        raise DataError(f"{name}: a further axis is not of 1 to {_MOST} places")
    if header.pairs.get("modality", "").upper() == "DWMRI":
        if len(places) == 1:
            b, vectors, notes = _gradients(header, header.sizes[places[0]], name)
            return (axis_of("b", b),), vectors, notes
        raise DataError(f"{name}: diffusion-weighted volumes want one axis beside space")
    if len(places) == 1 and MULTI in header.pairs:
        return (_multi_volume(header, header.sizes[places[0]], name),), None, ()
    names: list[str] = []
    for k in places:
        names.append(_name(header, k, names))
    pairs = zip(places, names, strict=True)
    return tuple(_axis(header, k, called, name) for k, called in pairs), None, ()


def _name(header: NrrdHeader, place: int, taken: Sequence[str]) -> str:
    """The label of an axis, or what its kind tells; "none" if nothing is told."""
    label = "".join(header.labels[place].split()).lower()
    told = "time" if header.kinds[place] == "time" or _last_domain(header, place) else ""
    found = label or told or ("channel" if place == 0 else "none")
    return found if found not in (*taken, "slice", "row", "column", "rgb") else f"axis{place}"


def _last_domain(header: NrrdHeader, place: int) -> bool:
    """A fourth axis of a space with time."""
    return bool(header.directions) and header.directions[place] is not None


def _axis(header: NrrdHeader, place: int, called: str, name: str) -> Axis:
    size = header.sizes[place]
    told = header.pairs.get(f"seriesio.{called}")
    if told is not None:
        wide = 4 if called == "dti" else 3 if called == "bvector" else 1
        values = np.array(numbers_in(told, size * wide, f"seriesio.{called}", name))
        return axis_of(called, values.reshape(size, wide) if wide > 1 else values)
    start, step = _steps(header, place)
    unit = header.units[place].lower()
    scale = _SECONDS.get(unit, 1.0) if called == "time" else 1.0
    return axis_of(called, (start + step * np.arange(size)) * scale)


def _steps(header: NrrdHeader, place: int) -> tuple[float, float]:
    direction = header.directions[place] if header.directions else None
    if direction is not None:
        return 0.0, float(np.linalg.norm(direction))
    start, step = header.mins[place], header.spacings[place]
    return (0.0 if math.isnan(start) else start), (1.0 if math.isnan(step) else step)


def _multi_volume(header: NrrdHeader, size: int, name: str) -> Axis:
    """The axis of 3D Slicer's MultiVolume."""
    tag = header.pairs[MULTI]
    labels = header.pairs.get(LABELS, "").replace(",", " ")
    values = np.array(numbers_in(labels, size, LABELS, name))
    called = TAGS.get(tag) or "".join(char for char in tag.lower() if char.isalnum())[:64]
    unit = header.pairs.get(UNITS, "").lower()
    scale = _SECONDS.get(unit, 1.0) if called == "time" else 1.0
    return axis_of(called or "time", values * scale)


# --- diffusion -------------------------------------------------------------------------------


def _gradients(
    header: NrrdHeader, count: int, name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[str, ...]]:
    """b values in s/mm² and unit directions in LPS of the volumes.

    The longest gradient has the nominal b value, the others less by their squared lengths.
    """
    pairs = header.pairs
    largest = numbers_in(pairs.get("DWMRI_b-value", ""), 1, "DWMRI_b-value", name)[0]
    if largest < 0:
        raise DataError(f"{name}: DWMRI_b-value is negative")
    gradients = _told_gradients(pairs, count, name)
    lengths = np.linalg.norm(gradients, axis=1)
    longest = float(lengths.max())
    if not longest:
        return np.zeros(count), np.zeros((count, 3)), ()
    b = largest * (lengths / longest) ** 2
    frame = np.eye(3) if header.frame is None else header.frame[:3, :3]
    turned = gradients @ frame.T * np.array(header.turn or (1.0, 1.0, 1.0))
    sizes = np.linalg.norm(turned, axis=1)
    vectors = np.divide(turned, sizes[:, None], out=np.zeros_like(turned), where=sizes[:, None] > 0)
    notes = () if header.frame is not None else ("no measurement frame: gradients lie in space",)
    return np.round(b, 6), vectors, notes


def _told_gradients(pairs: Mapping[str, str], count: int, name: str) -> NDArray[np.float64]:
    """(count, 3) DWMRI_gradient_NNNN, each as often as DWMRI_NEX_NNNN says."""
    rows: list[list[float]] = []
    while len(rows) < count:
        number = len(rows)
        key = f"DWMRI_gradient_{number:04d}"
        row = numbers_in(pairs.get(key, ""), 3, key, name)
        if max(map(abs, row)) > 1e100:
            raise DataError(f"{name}: {key} is no direction")
        text = pairs.get(f"DWMRI_NEX_{number:04d}", "1")
        times = numbers_in(text, 1, f"DWMRI_NEX_{number:04d}", name)[0]
        if not 1 <= times <= count - number:
            raise DataError(f"{name}: DWMRI_NEX_{number:04d} is not 1 to {count - number}")
        rows += [row] * int(times)
    return np.array(rows)
