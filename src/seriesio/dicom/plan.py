"""The plan: which frame of which instance goes where in one array, and what it then means.

Pure: headers in, a plan out. Every permutation of the instances gives the same plan.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ..errors import DicomError, InconsistentSeriesError, TooLargeError
from .codecs import decoded_photometric
from .frames import FrameTable
from .geometry import SHIFT_TOLERANCE, Geometry, find_stack
from .layouts import Layouts, pixel_layouts
from .lookup import Lookup, lookup_table
from .mosaic import is_mosaic
from .own_criteria import all_criteria
from .positions import checked_numbers
from .rescale import ValuePlan, looked_up, plan_values
from .sorting import Axis, Grid, fill_grid, make_order
from .stacks import cosine_tolerance, frames_of_stack
from .table import decode_numbers, decode_text
from .whole import whole_series

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from .options import PlanOptions
    from .table import HeaderTable

__all__ = ["Plan", "plan_series", "volume_bytes"]

_IDENTITY: Final = {
    "PatientID": (0x00100020, "LO"),
    "StudyInstanceUID": (0x0020000D, "UI"),
    "FrameOfReferenceUID": (0x00200052, "UI"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Where everything goes.

    Attributes:
        table: the instances' headers, ``frames`` their frames.
        shape: of the volume, colour samples last.
        slots: (n, 2) instance and frame number of each slot, in C order of the leading axes.
        axes: one for each dimension of ``shape``.
        layouts, values: how stored values lie in the files, and how they become values.
        lookup: the table that stored values are looked up in (palette, modality LUT), if any.
        color: True if YBR becomes RGB.
        missing, notes: for the report.
    """

    table: HeaderTable
    frames: FrameTable
    shape: tuple[int, ...]
    slots: NDArray[np.intp]
    axes: tuple[Axis, ...]
    geometry: Geometry
    layouts: Layouts
    values: ValuePlan
    lookup: Lookup | None
    color: bool
    criterion: str
    reason: str
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def frame_shape(self) -> tuple[int, ...]:
        return self.shape[self.leading :]

    @property
    def leading(self) -> int:
        """How many axes come before (row, column[, rgb])."""
        return len(self.shape) - (3 if self.axes[-1].name == "rgb" else 2)

    def converted(self, instance: int) -> bool:
        """True if an instance's pixels are looked up, or change their colour space."""
        if self.lookup is not None:
            return True
        return self.color and decoded_photometric(self.layouts[instance]).startswith("YBR")


def plan_series(
    table: HeaderTable,
    options: PlanOptions,
    *,
    wide: bool = False,
    layouts: Layouts | None = None,
) -> Plan:
    """Plan one series from the headers of its instances; ``layouts`` where they are known.

    Raises:
        IncompleteSeriesError: gaps, or missing or doubled positions (unless ``options.warn``).
        InconsistentSeriesError, AmbiguousSeriesError, UnsortableSeriesError, DicomError.
        EncodeError: ``options.dtype`` cannot hold the values.
    """
    order = make_order(
        options.input_order,
        all_criteria(options.criteria),
        options.auto_sort,
        options.accept_duplicate_tag,
    )
    layouts = layouts or pixel_layouts(table)
    layouts.check()
    _check_identity(table)
    frames = FrameTable(table)
    checked_numbers(frames, "NumberOfFrames")
    wanted = _wanted(frames, options)
    part = frames.subset(wanted)
    stack = find_stack(
        part,
        slice_tolerance=options.slice_tolerance,
        dir_cosine_tolerance=options.dir_cosine_tolerance,
        by_location=options.sort_on_slice_location,
    )
    chosen, stack, missing = whole_series(
        part,
        stack,
        options.warn,
        by_values=order.by_values,
        uneven=options.accept_uneven_slices,
    )
    grid = fill_grid(part.subset(chosen), stack.slices, order)
    values, lookup = _meaning(frames, layouts, options, wide)
    rows, columns = _frame_size(frames, layouts)
    samples = () if layouts.kinds[0].samples == 1 else (layouts.kinds[0].samples,)
    samples = samples if lookup is None else lookup.table.shape[1:]
    flat = wanted[chosen[grid.frames.reshape(-1)]]
    return Plan(
        table=table,
        frames=frames,
        shape=(*grid.frames.shape, rows, columns, *samples),
        slots=np.stack([frames.instance[flat], frames.number[flat]], axis=1),
        axes=_axes(grid, stack.geometry, rows, columns, colour=bool(samples)),
        geometry=stack.geometry,
        layouts=layouts,
        values=values,
        lookup=lookup,
        color=options.rescale,
        criterion=grid.criterion,
        reason=grid.reason,
        missing=missing,
        notes=tuple(_notes(stack.geometry, frames, grid)),
    )


def _wanted(frames: FrameTable, options: PlanOptions) -> NDArray[np.intp]:
    """The frames that the caller asks for: those of a stack, or all."""
    if options.stack is None:
        return np.arange(len(frames))
    return frames_of_stack(frames, options.stack, cosine_tolerance(options.dir_cosine_tolerance))


def _check_identity(table: HeaderTable) -> None:
    """One series is of one patient, one study and one frame of reference (PS3.3 section A.1.2).

    Raises:
        InconsistentSeriesError: names the attribute, never its values.
    """
    for keyword, (tag, vr) in _IDENTITY.items():
        found = {decode_text(value) for value in table.column_at(tag, vr).values} - {""}
        if len(found) > 1:
            raise InconsistentSeriesError(
                f"instances of one series differ in {keyword}: {len(found)} values; "
                f'select one with select={{"{keyword}": ...}}'
            )


def _meaning(
    frames: FrameTable, layouts: Layouts, options: PlanOptions, wide: bool
) -> tuple[ValuePlan, Lookup | None]:
    """What stored values become: by slope and intercept, or by a table."""
    lookup = None
    if options.rescale:
        lookup = lookup_table(frames.instances, layouts)
    if lookup is not None:
        slope = intercept = np.full(len(frames), np.nan)  # there is no linear way back
        return looked_up(layouts, lookup.table.dtype, slope, intercept, options.dtype), lookup
    slope, intercept = _rescale(frames, options.rescale)
    return plan_values(layouts.kinds, slope, intercept, dtype=options.dtype, wide=wide), None


def _rescale(frames: FrameTable, wanted: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n,) slope and intercept of each frame (Modality LUT Module, PS3.3 section C.11.1)."""
    if not wanted:
        return np.ones(len(frames)), np.zeros(len(frames))
    slope = checked_numbers(frames, "RescaleSlope")[:, 0]
    intercept = checked_numbers(frames, "RescaleIntercept")[:, 0]
    if (slope == 0).any():
        raise DicomError(
            f"RescaleSlope is 0 in {int((slope == 0).sum())} of {len(frames)} frames; "
            "rescale=False opens the stored values"
        )
    return np.nan_to_num(slope, nan=1.0), np.nan_to_num(intercept, nan=0.0)


def _frame_size(frames: FrameTable, layouts: Layouts) -> tuple[int, int]:
    """(rows, columns) of a frame: those of a tile where instances are mosaics."""
    for mosaic in frames.mosaics.values():
        return mosaic.rows, mosaic.columns
    return layouts.kinds[0].rows, layouts.kinds[0].columns


def _axes(
    grid: Grid, geometry: Geometry, rows: int, columns: int, *, colour: bool
) -> tuple[Axis, ...]:
    dy, dx = geometry.pixel_spacing
    axes = [
        *grid.axes,
        Axis("slice", "mm", geometry.slice_locations),
        Axis("row", "mm", np.arange(rows, dtype=np.float64) * dy),
        Axis("column", "mm", np.arange(columns, dtype=np.float64) * dx),
    ]
    if colour:
        axes.append(Axis("rgb", "", np.arange(3.0)))
    return tuple(axes)


def _notes(geometry: Geometry, frames: FrameTable, grid: Grid) -> Iterator[str]:
    """What a careful reader should know."""
    if not geometry.known:
        yield "the files give no positions: slices are in the order of their numbers"
    if geometry.deviation > 0.01:
        yield (
            f"slices are unevenly spaced: the affine is off by up to {geometry.deviation:.3g} mm, "
            "imagePositions are exact"
        )
    if geometry.wander > SHIFT_TOLERANCE:
        yield (
            f"slices lie up to {geometry.wander:.3g} mm beside the line from the first to the "
            "last: imagePositions are exact"
        )
    if grid.ranked:
        yield f"volumes are told apart by the rank of {grid.ranked} at each position"
    stored = {
        decode_numbers(v, "US", True)[:1] for v in frames.instances.column("BitsStored").values
    }
    if len(stored) > 1:
        bits = ", ".join(f"{number:.0f}" for (number,) in sorted(filter(None, stored)))
        yield f"BitsStored differs between the instances: {bits}"
    if geometry.known and geometry.tilt > 0.1 and len(geometry.positions) > 1:
        yield f"the stack is tilted by {geometry.tilt:.3g} degrees: the affine is sheared"
    if any(map(is_mosaic, frames.instances.column("ImageType").values)) and not frames.mosaics:
        yield "ImageType says MOSAIC, but nothing says of how many tiles: they are left together"


def volume_bytes(plan: Plan, limit: int) -> int:
    """Bytes of the volume.

    Raises:
        TooLargeError: more than ``limit``.
    """
    size = math.prod(plan.shape) * plan.values.dtype.itemsize
    if size > limit:
        raise TooLargeError(f"a volume of shape {plan.shape} needs {size} bytes, over {limit}")
    return size
