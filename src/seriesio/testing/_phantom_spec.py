"""What a phantom shall be: checked once, then only read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydicom.uid import UID, generate_uid
from pydicom.valuerep import format_number_as_ds

from ..errors import EncodeError

__all__ = [
    "COLOR",
    "FURTHER_AXES",
    "IMAGE_AXES",
    "Kind",
    "Spec",
    "ds",
    "make_spec",
    "multi_rescale",
    "uid",
]

Kind = Literal["integer", "float", "double"]

IMAGE_AXES = ("slice", "row", "column")
# Each further axis: value of the first step, and what every further step adds.
FURTHER_AXES: dict[str, tuple[float, float]] = {
    "time": (0.0, 2.5),  # s
    "b": (0.0, 500.0),  # s/mm2
    "te": (4.6, 4.6),  # ms
    "fa": (5.0, 10.0),  # degrees
    "triggertime": (0.0, 62.5),  # ms
    "ti": (100.0, 250.0),  # ms
    "tr": (500.0, 750.0),  # ms
}
COLOR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")
PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", *COLOR)
MODALITIES = ("CT", "MR", "PT")


@dataclass(frozen=True, slots=True)
class Spec:
    """All that decides about a phantom; two equal specs give equal bytes."""

    shape: tuple[int, ...]
    axes: tuple[str, ...]
    spacing: tuple[float, float, float]
    orientation: tuple[float, ...]
    position: tuple[float, float, float] | None
    tilt: float
    bits_allocated: int
    bits_stored: int
    signed: bool
    kind: Kind
    slope: tuple[str, ...]
    intercept: tuple[str, ...]
    photometric: str
    planar_configuration: int
    transfer_syntax: UID
    modality: str
    enhanced: bool
    multiframe: bool
    per_volume: bool
    header_elements: int
    header_bytes: int
    shuffle: int | None
    seed: int
    series_number: int
    series_description: str
    preamble: bool
    values: tuple[tuple[float, ...], ...]

    @property
    def outer(self) -> tuple[int, ...]:
        """Lengths of the further axes."""
        return self.shape[:-3]

    @property
    def slices(self) -> int:
        return self.shape[-3]

    @property
    def rows(self) -> int:
        return self.shape[-2]

    @property
    def columns(self) -> int:
        return self.shape[-1]

    @property
    def steps(self) -> int:
        """Volumes: steps along all further axes together."""
        return math.prod(self.outer)

    @property
    def frames(self) -> int:
        return self.steps * self.slices

    @property
    def color(self) -> bool:
        return self.photometric in COLOR

    @property
    def frame_shape(self) -> tuple[int, ...]:
        return (self.rows, self.columns, 3) if self.color else (self.rows, self.columns)

    @property
    def identity(self) -> bool:
        """True if stored values are the values."""
        return set(self.slope) == {"1"} and set(self.intercept) == {"0"}

    @property
    def stored_dtype(self) -> np.dtype[np.generic]:
        if self.kind != "integer":
            return np.dtype(np.float32 if self.kind == "float" else np.float64)
        return np.dtype(f"{'i' if self.signed else 'u'}{max(self.bits_allocated // 8, 1)}")

    @property
    def stored_range(self) -> tuple[int, int]:
        """Smallest and largest value that Bits Stored can hold."""
        if self.signed:
            return -(1 << (self.bits_stored - 1)), (1 << (self.bits_stored - 1)) - 1
        return 0, (1 << self.bits_stored) - 1

    def steps_of(self, step: int) -> tuple[int, ...]:
        """Index along each further axis of volume number ``step``."""
        return tuple(int(i) for i in np.unravel_index(step, self.outer)) if self.outer else ()

    def step_values(self, step: int) -> dict[str, tuple[int, float]]:
        """Per further axis: index and value of volume number ``step``."""
        names = self.axes[: len(self.outer)]
        indices = self.steps_of(step)
        return {
            name: (index, values[index])
            for name, index, values in zip(names, indices, self.values, strict=True)
        }


def uid(*entropy: object, length: int = 64) -> str:
    """A UID that depends on nothing but ``entropy``."""
    return str(generate_uid(entropy_srcs=[repr(part) for part in entropy]))[:length].rstrip(".")


def ds(number: float) -> str:
    """A decimal string of at most 16 characters (PS3.5 6.2), as short as it can be."""
    short = repr(int(number)) if float(number).is_integer() and abs(number) < 1e15 else repr(number)
    return short if len(short) <= 16 else str(format_number_as_ds(float(number)))


def _per_frame(
    name: str, numbers: float | Sequence[float], steps: int, slices: int
) -> tuple[str, ...]:
    given = np.atleast_1d(np.asarray(numbers, dtype=np.float64))
    if given.ndim != 1 or len(given) not in (1, slices, steps * slices):
        raise EncodeError(
            f"{name}: one number, one per slice ({slices}) or per frame ({steps * slices})"
        )
    texts = [ds(float(number)) for number in given]
    return tuple(texts * (steps * slices // len(texts)))


def _axis_values(name: str, count: int, given: Mapping[str, Sequence[float]]) -> tuple[float, ...]:
    first, step = FURTHER_AXES[name]
    values = tuple(float(v) for v in given.get(name, [first + step * i for i in range(count)]))
    if len(values) != count:
        raise EncodeError(f"values[{name!r}]: {len(values)} values for {count} steps")
    return values


def _axes(shape: tuple[int, ...], axes: Sequence[str] | None) -> tuple[str, ...]:
    if axes is None:
        axes = {3: IMAGE_AXES, 4: ("time", *IMAGE_AXES)}.get(len(shape), ())
    further = tuple(axes)[:-3]
    if tuple(axes)[-3:] != IMAGE_AXES or len(axes) != len(shape):
        raise EncodeError(f"axes {tuple(axes)} do not fit shape {shape}; the last are {IMAGE_AXES}")
    if len(set(further)) != len(further) or not set(further) <= FURTHER_AXES.keys():
        raise EncodeError(f"further axes are each one of {', '.join(FURTHER_AXES)}")
    if min(shape) < 1:
        raise EncodeError(f"shape {shape}: every length is at least 1")
    return tuple(axes)


def _directions(orientation: Sequence[float]) -> tuple[float, ...]:
    cosines = np.asarray(orientation, dtype=np.float64)
    if cosines.shape != (6,):
        raise EncodeError("orientation: six direction cosines")
    row, column = cosines[:3], cosines[3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if not np.allclose(lengths, 1, atol=1e-4) or abs(float(row @ column)) > 1e-4:
        raise EncodeError("orientation: two unit vectors at right angles")
    return tuple(float(c) for c in np.concatenate([row / lengths[0], column / lengths[1]]))


def _bits(
    kind: Kind,
    photometric: str,
    allocated: int | None,
    stored: int | None,
    signed: bool,
    usual: int,
) -> tuple[int, int]:
    if kind != "integer":
        return {"float": 32, "double": 64}[kind], {"float": 32, "double": 64}[kind]
    coloured = photometric in COLOR or photometric == "PALETTE COLOR"
    allocated = allocated or (8 if coloured else 16)
    stored = stored or (usual if allocated == 16 else allocated)
    if allocated not in (1, 8, 16, 32) or not 1 <= stored <= allocated:
        raise EncodeError(f"bits allocated {allocated}, bits stored {stored}")
    if coloured and (allocated, stored, signed) != (8, 8, False):
        raise EncodeError(f"{photometric} phantoms have 8 bits, unsigned")
    if signed and stored == 1:
        raise EncodeError("one bit has no sign")
    return allocated, stored


def make_spec(
    *,
    shape: Sequence[int],
    axes: Sequence[str] | None,
    spacing: Sequence[float],
    orientation: Sequence[float],
    position: Sequence[float] | None,
    tilt: float,
    bits_allocated: int | None,
    bits_stored: int | None,
    signed: bool,
    kind: Kind,
    slope: float | Sequence[float],
    intercept: float | Sequence[float],
    photometric: str,
    planar_configuration: int,
    transfer_syntax: str,
    modality: str | None,
    enhanced: bool | Literal["per-volume"],
    multiframe: bool,
    header_elements: int,
    header_bytes: int,
    shuffle: int | None,
    seed: int,
    series_number: int,
    series_description: str,
    preamble: bool,
    values: Mapping[str, Sequence[float]],
) -> Spec:
    """Check everything and fill in the defaults.

    Raises:
        EncodeError: the parts contradict each other or DICOM.
    """
    sizes = tuple(int(length) for length in shape)
    names = _axes(sizes, axes)
    slices, steps = sizes[-3], math.prod(sizes[:-3])
    mm = tuple(float(length) for length in spacing)
    place = None if position is None else tuple(float(p) for p in position)
    if len(mm) != 3 or not all(0 < length < math.inf for length in mm):
        raise EncodeError(f"spacing {mm}: three positive lengths in mm")
    if place is not None and len(place) != 3:
        raise EncodeError("position: x, y, z in mm")
    if photometric not in PHOTOMETRIC:
        raise EncodeError(f"photometric interpretation {photometric!r} is not made here")
    modality = modality or ("MR" if set(names[:-3]) - {"time"} else "CT")
    if modality not in MODALITIES:
        raise EncodeError(f"modality is one of {', '.join(MODALITIES)}")
    if enhanced and multiframe:
        raise EncodeError("an object is enhanced or plain multi-frame, not both")
    if not -60 <= tilt <= 60:
        raise EncodeError("tilt: at most 60 degrees")
    if len(series_description) > 64 or not series_description.isprintable():
        raise EncodeError("series_description: one line of at most 64 characters (PS3.5 6.2, LO)")
    if any(ord(character) > 255 for character in series_description):
        raise EncodeError("series_description: Latin-1 only, as the phantom's character set is")
    if header_elements < 0 or header_bytes < 0:
        raise EncodeError("header_elements and header_bytes count from 0")
    usual = 16 if modality == "PT" else 12
    allocated, stored = _bits(kind, photometric, bits_allocated, bits_stored, signed, usual)
    spec = Spec(
        shape=sizes,
        axes=names,
        spacing=(mm[0], mm[1], mm[2]),
        orientation=_directions(orientation),
        position=None if place is None else (place[0], place[1], place[2]),
        tilt=float(tilt),
        bits_allocated=allocated,
        bits_stored=stored,
        signed=signed,
        kind=kind,
        slope=_per_frame("slope", slope, steps, slices),
        intercept=_per_frame("intercept", intercept, steps, slices),
        photometric=photometric,
        planar_configuration=planar_configuration,
        transfer_syntax=UID(transfer_syntax),
        modality=modality,
        enhanced=bool(enhanced),
        multiframe=multiframe,
        per_volume=multiframe or enhanced == "per-volume",
        header_elements=header_elements,
        header_bytes=header_bytes,
        shuffle=shuffle,
        seed=seed,
        series_number=series_number,
        series_description=series_description,
        preamble=preamble,
        values=tuple(
            _axis_values(name, count, values)
            for name, count in zip(names[:-3], sizes[:-3], strict=True)
        ),
    )
    _check_combination(spec)
    return spec


def _check_combination(spec: Spec) -> None:
    syntax = spec.transfer_syntax
    if not spec.identity and (
        spec.kind != "integer" or spec.color or spec.photometric == "PALETTE COLOR"
    ):
        raise EncodeError("slope and intercept belong to integer grey values")
    if multi_rescale(spec) and spec.multiframe:
        raise EncodeError("plain multi-frame objects have one slope and intercept")
    if spec.photometric in ("YBR_RCT", "YBR_ICT") and not syntax.is_compressed:
        raise EncodeError(f"{spec.photometric} exists inside JPEG 2000 only")
    if spec.photometric == "YBR_FULL_422" and spec.columns % 2:
        raise EncodeError("YBR_FULL_422 needs an even number of columns")
    if not spec.preamble and (syntax.is_compressed or syntax.is_deflated):
        raise EncodeError("a bare dataset cannot say that it is compressed or deflated")


def multi_rescale(spec: Spec) -> bool:
    """True if slope or intercept differ between frames."""
    return len(set(spec.slope)) > 1 or len(set(spec.intercept)) > 1
