"""NIfTI's place in space (RAS) and ours (LPS), and the frame of its gradient directions.

Source: nifti1.h, "3D IMAGE (VOLUME) ORIENTATION AND LOCATION IN SPACE", methods 1 to 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...errors import DataError, EncodeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .header import NiftiHeader

__all__ = ["Place", "gradient_frame", "place_fields", "volume_place"]

_LPS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])  # RAS to LPS, and back
_MILLIMETRES: Final = {1: 1e3, 2: 1.0, 3: 1e-3}  # of metre, millimetre, micrometre
_SPACING: Final = (1e-9, 1e9)  # mm between voxels
_FURTHEST: Final = 1e12  # mm
_FLAT: Final = 1e-6  # of the volume of a box: directions that lie in one plane
_SHEAR: Final = 1e-4  # cosine between two axes: from here on no rotation
_LONG: Final = 1e-3  # how far beyond 1 a quaternion may be by rounding
_HALF_TURN: Final = 1e-7  # what rounding leaves of a² (nifti1_io.c has the same)
_MM: Final = 2  # xyzt_units


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where voxels are.

    Attributes:
        affine: (4, 4) column, row, slice to x, y, z in mm (LPS); None if nothing is said.
        spacing: (dz, dy, dx) in mm, where only that is said.
        notes: what a careful reader should know.
    """

    affine: NDArray[np.float64] | None
    spacing: tuple[float, float, float] | None
    notes: tuple[str, ...]


def volume_place(header: NiftiHeader, name: str) -> Place:
    """The place by the sform, else by the qform, else the mere spacing.

    An sform that is none is left for a qform that is one, and a note says so.

    Raises:
        DataError: numbers that are none, or directions that span no volume.
    """
    scale = _MILLIMETRES.get(header.xyzt_units & 7)
    notes = () if scale else ("xyzt_units does not say the unit of length: millimetres are taken",)
    if header.sform_code <= 0 and header.qform_code <= 0:
        return _unplaced(header, scale or 1.0, notes)
    if header.sform_code <= 0:
        return Place(_affine(_qform(header, name), scale or 1.0, "qform", name), None, notes)
    try:
        return Place(_affine(header.srow, scale or 1.0, "sform", name), None, notes)
    except DataError as error:  # dcm2niix writes such where it cannot tell the slices' direction
        if header.qform_code <= 0:
            raise
        affine = _affine(_qform(header, name), scale or 1.0, "qform", name)
        return Place(affine, None, (*notes, f"{error}: the qform is taken"))


def _affine(rows: NDArray[np.float64], scale: float, what: str, name: str) -> NDArray[np.float64]:
    """(4, 4) to LPS in mm, of (3, 4) to RAS."""
    matrix = np.eye(4)
    with np.errstate(over="ignore"):
        matrix[:3] = rows * scale
    _check(matrix, what, name)
    return _LPS @ matrix


def _unplaced(header: NiftiHeader, scale: float, notes: tuple[str, ...]) -> Place:
    """Method 1: a spacing, if it is one."""
    told = "neither sform nor qform: place and orientation are not known"
    dx, dy, dz = (_sizes(header) * scale).tolist()
    if not _SPACING[0] <= min(dx, dy, dz) <= max(dx, dy, dz) <= _SPACING[1]:
        return Place(None, None, (f"{told}, nor is the spacing",))
    return Place(None, (dz, dy, dx), (told, *notes))


def _qform(header: NiftiHeader, name: str) -> NDArray[np.float64]:
    """(3, 4) of the quaternion (method 2)."""
    qfac = -1.0 if header.pixdim[0] < 0 else 1.0
    directions = _rotation(header.quatern, name) * [1.0, 1.0, qfac]
    return np.column_stack([directions * _sizes(header), header.qoffset])


def _sizes(header: NiftiHeader) -> NDArray[np.float64]:
    """(3,) the spacing; 1 where none is said along an axis of one voxel."""
    sizes = np.abs(np.nan_to_num(header.pixdim[1:4], nan=0.0))
    single = np.array(header.dims[:3]) == 1
    sizes[single & (sizes == 0)] = 1.0
    return sizes


def _rotation(quatern: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """(3, 3) of the quaternion's b, c, d (nifti1.h, method 2)."""
    if not np.isfinite(quatern).all() or np.abs(quatern).max() > 2:
        raise DataError(f"{name}: the qform holds no rotation")
    b, c, d = quatern.tolist()
    rest = 1.0 - (b * b + c * c + d * d)
    if rest < -_LONG:
        raise DataError(f"{name}: the qform holds no rotation: its quaternion is too long")
    a = rest**0.5 if rest >= _HALF_TURN else 0.0
    if rest < _HALF_TURN:
        b, c, d = (np.array([b, c, d]) / np.sqrt(1.0 - rest)).tolist()
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )


def _check(matrix: NDArray[np.float64], what: str, name: str) -> None:
    if not np.isfinite(matrix).all() or np.abs(matrix).max() > _FURTHEST:
        raise DataError(f"{name}: the {what} holds values that are no numbers or too large")
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if lengths.min() < _SPACING[0] or lengths.max() > _SPACING[1]:
        raise DataError(f"{name}: the {what} has a spacing of {lengths.tolist()} mm")
    if abs(np.linalg.det(matrix[:3, :3] / lengths)) < _FLAT:
        raise DataError(f"{name}: the directions of the {what} span no volume")


def place_fields(
    affine: NDArray[np.float64] | None, spacing: tuple[float, float, float] | None = None
) -> dict[str, Any]:
    """The fields of a header that say where the voxels are; ``pixdim`` with qfac and spacing.

    Raises:
        EncodeError: the affine holds no numbers, or spans no volume.
    """
    pixdim = np.ones(8)
    pixdim[4:] = 0.0
    if affine is None:
        pixdim[1:4] = spacing[::-1] if spacing else 1.0
        return {"pixdim": pixdim, "xyzt_units": _MM if spacing else 0}
    matrix = _LPS @ np.asarray(affine, np.float64)
    try:
        _check(matrix, "affine", "NIfTI")
    except DataError as error:
        raise EncodeError(str(error)) from None
    pixdim[1:4] = np.linalg.norm(matrix[:3, :3], axis=0)
    fields = {"sform_code": 1, "srow": matrix[:3], "pixdim": pixdim, "xyzt_units": _MM}
    return fields | _qform_fields(matrix, pixdim)


def _qform_fields(matrix: NDArray[np.float64], pixdim: NDArray[np.float64]) -> dict[str, Any]:
    """The qform of an affine; none where the axes are not at right angles."""
    directions = matrix[:3, :3] / pixdim[1:4]
    if np.abs(directions.T @ directions - np.eye(3)).max() > _SHEAR:
        return {}
    rotation = _nearest_rotation(directions)
    if np.linalg.det(rotation) < 0:
        pixdim[0] = -1.0
        rotation = rotation * [1.0, 1.0, -1.0]
    return {"qform_code": 1, "quatern": _quatern(rotation), "qoffset": matrix[:3, 3]}


def _nearest_rotation(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """The orthogonal matrix (reflected, if it was) next to one whose columns are directions."""
    left, _, right = np.linalg.svd(directions)
    return np.asarray(left @ right)


def _quatern(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3,) b, c, d of a rotation's quaternion with a ≥ 0.

    It is the eigenvector of a symmetric matrix (Bar-Itzhack, 2000): no case is near a division
    by zero.
    """
    xx, xy, xz, yx, yy, yz, zx, zy, zz = rotation.ravel().tolist()
    symmetric = np.array(
        [
            [xx - yy - zz, yx + xy, zx + xz, zy - yz],
            [yx + xy, yy - xx - zz, zy + yz, xz - zx],
            [zx + xz, zy + yz, zz - xx - yy, yx - xy],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    b, c, d, a = np.linalg.eigh(symmetric)[1][:, -1].tolist()
    return np.array([b, c, d]) * (-1.0 if a < 0 else 1.0)


def gradient_frame(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) from a gradient direction as FSL and dcm2niix write it to patient space (LPS).

    In the file directions are along columns, rows and slices, x being turned round where the
    affine (to RAS) has a positive determinant. The matrix is orthogonal: its transpose goes back.
    """
    linear = affine[:3, :3]
    frame = _nearest_rotation(linear / np.linalg.norm(linear, axis=0))
    turned = -1.0 if np.linalg.det(linear) > 0 else 1.0
    return frame * [turned, 1.0, 1.0]
