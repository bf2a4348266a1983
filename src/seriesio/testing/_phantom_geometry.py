"""Where a phantom's voxels are (PS3.3 C.7.6.2.1.1), in DICOM's patient coordinates, mm."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ._phantom_spec import Spec

__all__ = ["make_affine", "positions"]


def _step(spec: Spec) -> NDArray[np.float64]:
    """From one slice to the next: along the normal, sheared by the gantry tilt.

    A gantry with positive tilt leans the planes, while the table moves on level: seen from the
    planes the slices drift against the column direction.
    """
    row, column = np.array(spec.orientation[:3]), np.array(spec.orientation[3:])
    shear = math.tan(math.radians(spec.tilt))
    return np.asarray(spec.spacing[0] * (np.cross(row, column) - shear * column), dtype=np.float64)


def make_affine(spec: Spec) -> NDArray[np.float64]:
    """(column, row, slice, 1) → (x, y, z, 1); without a position the volume's centre is at 0."""
    affine = np.eye(4)
    affine[:3, 0] = np.array(spec.orientation[:3]) * spec.spacing[2]
    affine[:3, 1] = np.array(spec.orientation[3:]) * spec.spacing[1]
    affine[:3, 2] = _step(spec)
    if spec.position is None:
        last = np.array([spec.columns - 1, spec.rows - 1, spec.slices - 1])
        affine[:3, 3] = -affine[:3, :3] @ last / 2
    else:
        affine[:3, 3] = spec.position
    return affine


def positions(spec: Spec) -> NDArray[np.float64]:
    """Image Position (Patient) of every slice: (slices, 3)."""
    affine = make_affine(spec)
    return np.asarray(affine[:3, 3] + np.arange(spec.slices)[:, None] * affine[:3, 2])
