"""What a guest format reads and writes: an array and where it lies, without a DICOM header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..dicom.sorting import Axis

__all__ = ["Image"]


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """One volume of a guest format.

    Attributes:
        array: further axes, then slice, row, column (and rgb, if ``color``).
        axes: the further axes before the slices, in their order; () for a 3D volume.
        affine: (4, 4) column, row, slice to x, y, z in mm, patient coordinates (LPS); None
            where the format says nothing of place or spacing.
        color: True if the last axis is (red, green, blue).
        bvectors: (n, 3) gradient directions in patient coordinates (LPS) of the volumes, in C
            order of the further axes; zeros for those without one. None: there are none.
        attributes: DICOM keywords that the format knows values of (RepetitionTime …).
        notes: what a careful reader should know; for the report.
        spacing: (dz, dy, dx) in mm, where the format says how large voxels are, but nothing of
            their place (``affine`` is None then); None where the affine says it, or nothing does.
    """

    array: NDArray[Any] = field(repr=False)
    axes: tuple[Axis, ...] = ()
    affine: NDArray[np.float64] | None = None
    color: bool = False
    bvectors: NDArray[np.float64] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()
    spacing: tuple[float, float, float] | None = None
