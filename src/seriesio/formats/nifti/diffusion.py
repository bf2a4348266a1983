"""The .bval and .bvec files beside a NIfTI file, as FSL defined and dcm2niix writes them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...blob import MemoryBlob, read_all
from ...dicom.sorting import Axis
from ...errors import DataError, EncodeError, TooLargeError
from ..guest.data import number_of
from .affine import gradient_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...blob import Blob
    from .header import NiftiHeader

__all__ = ["Gradients", "gradient_files", "read_gradients"]

_LARGEST: Final = 8 << 20
_BOM: Final = b"\xef\xbb\xbf"  # of a text that Windows has written
_UNIT: Final = "s/mm2"


@dataclass(frozen=True, slots=True, eq=False)
class Gradients:
    """What .bval and .bvec say.

    Attributes:
        axes: of the volumes, if there are several; None where nothing is said.
        bvectors: (n, 3) in patient space (LPS).
        attributes: DICOM keywords.
        notes: what a careful reader should know.
    """

    axes: tuple[Axis, ...] | None = None
    bvectors: NDArray[np.float64] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_gradients(
    stem: str, files: Mapping[str, Blob], header: NiftiHeader, affine: NDArray[np.float64] | None
) -> Gradients:
    """Read what lies beside a NIfTI file (``stem``: its name without extension).

    Raises:
        DataError: no numbers, or not one for each volume.
        TooLargeError: a file too large for some.
        TransportError: it cannot be read.
    """
    bval, bvec = files.get(f"{stem}.bval"), files.get(f"{stem}.bvec")
    if bval is None:
        return Gradients(notes=() if bvec is None else (f"{bvec.name}: there is no .bval with it",))
    bvals = _b_values(bval)
    _check_count(bvals, header, bval.name)
    if bvec is None:
        return _found(bvals, None)
    if affine is None:
        return _found(bvals, None, (f"{bvec.name}: of no use without an orientation",))
    return _found(bvals, _directions(bvec, bvals) @ gradient_frame(affine).T)


def _check_count(bvals: NDArray[np.float64], header: NiftiHeader, name: str) -> None:
    count = math.prod(header.further)
    if len(bvals) != count:
        raise DataError(f"{name}: {len(bvals)} b values for {count} volumes")
    if len([size for size in header.further if size > 1]) > 1:
        raise DataError(f"{name}: b values of volumes along more than one dimension")


def _found(
    bvals: NDArray[np.float64],
    vectors: NDArray[np.float64] | None,
    notes: tuple[str, ...] = (),
) -> Gradients:
    if len(bvals) == 1:
        return Gradients((), vectors, _of_one(bvals, vectors), notes)
    if vectors is None:
        return Gradients((Axis("b", _UNIT, bvals),), None, notes=notes)
    axis = Axis("dti", _UNIT, np.column_stack([bvals, vectors]))
    return Gradients((axis,), vectors, notes=notes)


def _of_one(
    bvals: NDArray[np.float64], vectors: NDArray[np.float64] | None
) -> dict[str, float | list[float]]:
    """What DICOM calls the b value and the direction of a single volume."""
    found: dict[str, float | list[float]] = {"DiffusionBValue": float(bvals[0])}
    if vectors is not None and vectors.any():
        found["DiffusionGradientOrientation"] = vectors[0].tolist()
    return found


def gradient_files(
    stem: str,
    bvals: NDArray[np.float64] | None,
    bvectors: NDArray[np.float64] | None,
    affine: NDArray[np.float64] | None,
) -> list[Blob]:
    """The .bval and .bvec files of volumes; ``bvectors`` in patient space (LPS).

    Raises:
        EncodeError: directions without an affine: those of the file are along its axes.
    """
    found: list[Blob] = []
    if bvals is not None:
        found.append(MemoryBlob(f"{stem}.bval", _text(bvals[None])))
    if bvals is not None and bvectors is not None:
        if affine is None:
            raise EncodeError("NIfTI: gradient directions need an affine")
        found.append(MemoryBlob(f"{stem}.bvec", _text((bvectors @ gradient_frame(affine)).T)))
    return found


def _b_values(blob: Blob) -> NDArray[np.float64]:
    """(n,) in s/mm²."""
    values = np.concatenate(_rows(blob))
    if not np.isfinite(values).all():
        raise DataError(f"{blob.name}: b values that are not finite")
    if not values.size or values.min() < 0:
        raise DataError(f"{blob.name}: b values must be zero or more, and at least one")
    return values


def _directions(blob: Blob, bvals: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3) gradient directions along columns, rows and slices, as in the file.

    Three rows of numbers; three columns are understood too. Where b is 0 there is no direction:
    some programs write "nan" there.
    """
    found = _three_columns(blob, len(bvals))
    found[(bvals == 0) & np.isnan(found).any(axis=1)] = 0.0
    if not np.isfinite(found).all():
        raise DataError(f"{blob.name}: directions that are not finite")
    return found


def _three_columns(blob: Blob, count: int) -> NDArray[np.float64]:
    rows = _rows(blob)
    lengths = {len(row) for row in rows}
    if len(rows) == 3 and lengths == {count}:
        return np.stack(rows, axis=1)
    if len(rows) == count and lengths == {3}:
        return np.stack(rows)
    raise DataError(
        f"{blob.name}: {len(rows)} rows of {sorted(lengths)[:5]} numbers are not 3 rows of "
        f"{count}, one direction for each volume"
    )


def _rows(blob: Blob) -> list[NDArray[np.float64]]:
    if blob.size > _LARGEST:
        raise TooLargeError(f"{blob.name}: {blob.size} bytes are no list of gradients")
    try:
        lines = read_all(blob).removeprefix(_BOM).decode("ascii").splitlines()
        rows = [np.array([number_of(word) for word in line.split()]) for line in lines]
    except ValueError:  # UnicodeDecodeError is one
        raise DataError(
            f"{blob.name}: holds something else than numbers with blanks between them"
        ) from None
    rows = [row for row in rows if row.size]
    if not rows:
        raise DataError(f"{blob.name}: holds no numbers")
    return rows


def _text(rows: NDArray[np.float64]) -> bytes:
    """Rows of numbers, as .bval and .bvec files have them."""
    lines = [" ".join(f"{value + 0.0:.9g}" for value in row) for row in rows.tolist()]
    return "".join(f"{line}\n" for line in lines).encode("ascii")
