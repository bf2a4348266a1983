"""What is decided before a volume is written: which voxels have changed, and how they are stored.

Pure and blocking: for worker threads.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from ..errors import EncodeError
from .encode import Encoding, extent, fit, inverse
from .groups import is_enhanced
from .mosaic import reassembled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .header import Header
    from .pixels import PixelLayout
    from .volume import Volume

__all__ = ["WritePlan", "altered", "own_layout", "plan_write", "stored_pixels"]

_EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
_CONVERTED: Final = frozenset({"YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR"})
_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."
_PET: Final = f"{_STORAGE}128"
# Their IODs have no more than 16 bits (PS3.3 sections C.8.1.1, C.8.2.1, C.8.3.1, C.8.4.8,
# C.8.7.1, C.8.9.4, C.8.11.3, C.8.13.1, C.8.15.2, C.8.22.4): CR, DX and mammography, CT, MR,
# US, NM, XA and RF, PET, their enhanced and legacy converted ones, multi-frame words.
_NARROW: Final = frozenset(
    f"{_STORAGE}{tail}"
    for tail in (
        *("1", "1.1", "1.1.1", "1.2", "1.2.1", "1.3", "1.3.1"),
        *("2", "2.1", "2.2", "4", "4.1", "4.4"),
        *("6.1", "3.1", "20", "12.1", "12.1.1", "12.2", "12.2.1"),
        *("128", "130", "128.1", "7.3"),
    )
)


@dataclass(frozen=True, slots=True, eq=False)
class WritePlan:
    """What was decided for all instances before the first is encoded.

    Attributes:
        changed: (n,) the slots whose voxels are not those that were read.
        encoding: the common representation of computed voxels; None to keep each its own.
        slots: for each instance, its slots in the order of its frames.
        image_types: of each instance; empty where no voxel has changed.
    """

    volume: Volume
    header: Header
    changed: NDArray[np.bool_]
    encoding: Encoding | None
    slots: tuple[tuple[int, ...], ...]
    image_types: tuple[tuple[str, ...], ...] = ()


def plan_write(volume: Volume, prints: NDArray[np.uint64], keep_uid: bool) -> WritePlan:
    """Decide how a volume is written.

    Raises:
        EncodeError: voxels that DICOM cannot hold, or an instance that cannot be cut.
    """
    if volume.array.dtype.kind not in "biuf":
        raise EncodeError(f"pixels of dtype {volume.array.dtype} cannot be stored")
    volume, prints = reassembled(volume, prints)
    stored = volume.stored
    header = volume.header.original_uids() if keep_uid else volume.header
    none = stored.prints is None
    changed = np.ones(len(prints), bool) if none else prints != stored.prints
    slots = _slots_of(stored.instance, stored.frame, len(stored.layouts))
    plan = WritePlan(volume, header, changed, None, slots)
    _check_cuts(plan)
    if not changed.any():
        return plan
    plan = replace(plan, image_types=_image_types(header))
    return plan if _representable(plan) else replace(plan, encoding=_fitted(volume))


def _slots_of(
    instance: NDArray[np.intp], frame: NDArray[np.intp], count: int
) -> tuple[tuple[int, ...], ...]:
    order = np.lexsort((frame, instance))
    ends = np.cumsum(np.bincount(instance, minlength=count))
    return tuple(tuple(part.tolist()) for part in np.split(order, ends[:-1]))


def _check_cuts(plan: WritePlan) -> None:
    """Only what describes each frame by itself can lose frames or be cropped."""
    volume = plan.volume
    for index, layout in enumerate(volume.stored.layouts):
        cut = volume.moved or len(plan.slots[index]) != layout.frames
        if cut and layout.frames > 1 and not is_enhanced(volume.header, index):
            raise EncodeError(
                "a multi-frame instance without functional groups cannot be cropped or cut: "
                "write the whole series, or compute with .array"
            )


def _fitted(volume: Volume) -> Encoding:
    """The representation of computed voxels."""
    array = volume.array
    low, high = extent(array)
    if volume.axes[-1].name != "rgb":
        return _fitted_gray(volume, low, high)
    # Colour has no rescale: its step is one.
    encoding = fit(round(low), round(high), np.int64, integral=True)
    if encoding.signed or encoding.bits_allocated > 16:
        raise EncodeError("colour is stored in unsigned whole numbers of 8 or 16 bits")
    return encoding


def _fitted_gray(volume: Volume, low: float, high: float) -> Encoding:
    array, classes = volume.array, _classes(volume)
    words = any(layout.bits_allocated > 8 for layout in volume.stored.layouts)
    encoding = fit(
        low,
        high,
        array.dtype,
        integral=array.dtype.kind in "biu",
        words=words,
        proportional=_PET in classes,
        narrow=bool(classes & _NARROW),
    )
    if array.dtype.kind in "iu" and float(encoding.slope) != 1:
        warnings.warn(
            f"whole numbers from {low:.0f} to {high:.0f} are stored in steps of {encoding.slope}: "
            "images of this kind have 16 bits; other formats hold them exactly",
            stacklevel=2,
        )
    return encoding


def _classes(volume: Volume) -> set[str]:
    """The SOP classes of the instances."""
    return {str(value or "") for value in volume.header.values("SOPClassUID")}


def _representable(plan: WritePlan) -> bool:
    """True if the changed voxels fit their instances' own representation exactly."""
    volume = plan.volume
    if volume.array.dtype.kind == "b":  # a mask is no image of its source's kind
        return False
    if volume.stored.converted and _CONVERTED & {a.photometric for a in volume.stored.layouts}:
        return False
    return all(
        stored_pixels(plan, index) is not None
        for index, slots in enumerate(plan.slots)
        if altered(plan, index, slots)
    )


def altered(plan: WritePlan, index: int, slots: Sequence[int]) -> bool:
    """True if an instance's pixels are no longer those of its file."""
    return bool(
        plan.changed[list(slots)].any() or len(slots) != plan.volume.stored.layouts[index].frames
    )


def own_layout(plan: WritePlan, index: int) -> PixelLayout:
    """An instance's pixels as they are written anew: uncompressed, of the shape they have now."""
    layout = plan.volume.stored.layouts[index]
    rows, columns = plan.volume.rows_and_columns
    return replace(
        layout,
        # Colours that were not converted are samples like any others.
        photometric="RGB" if layout.samples == 3 else layout.photometric,
        rows=rows,
        columns=columns,
        frames=len(plan.slots[index]),
        syntax_uid=layout.syntax_uid if layout.native else _EXPLICIT_LITTLE,
        planar=False,
        high_bit=layout.bits_stored - 1,
    )


def stored_pixels(plan: WritePlan, index: int) -> list[memoryview] | None:
    """An instance's voxels as stored values in its own representation; None if they do not fit."""
    volume, stored, slots = plan.volume, plan.volume.stored, plan.slots[index]
    layout = own_layout(plan, index)
    little = volume.header.instances[index].raw.syntax.little
    if layout.bits_allocated == 1:  # frames share bytes
        frames = np.stack([volume.slot(slot) for slot in slots])
        value = inverse(frames, layout, 1.0, 0.0, little)
        return None if value is None else [value]
    pieces = []
    for slot in slots:
        cells = np.ascontiguousarray(volume.slot(slot))
        slope, intercept = float(stored.slope[slot]), float(stored.intercept[slot])
        value = inverse(cells, layout, slope, intercept, little)
        if value is None:
            return None
        pieces.append(value)
    return pieces


def _image_types(header: Header) -> tuple[tuple[str, ...], ...]:
    found = (value or () for value in header.values("ImageType"))
    return tuple((str(v),) if isinstance(v, str) else tuple(map(str, v)) for v in found)
