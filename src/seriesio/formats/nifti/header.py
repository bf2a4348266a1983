"""The header of a NIfTI-1 or NIfTI-2 file: bytes to values and back.

Sources: nifti1.h (Neuroimaging Informatics Technology Initiative, 2005) and nifti2.h (2011);
their names of fields are kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError

__all__ = [
    "HEADER_BYTES",
    "LARGEST_DIM1",
    "SCALARS",
    "NiftiHeader",
    "build_header",
    "is_nifti",
    "parse_header",
]

HEADER_BYTES: Final = 540
"""The longest header; a NIfTI-1 header has 348 bytes."""

LARGEST_DIM1: Final = 32767
"""The most voxels along an axis in NIfTI-1."""

# (bytes order is put in later)
_FIELDS1: Final = [
    ("sizeof_hdr", "i4"),
    ("unused1", "V35"),  # of ANALYZE 7.5
    ("dim_info", "u1"),
    ("dim", "i2", (8,)),
    ("intent_p", "f4", (3,)),
    ("intent_code", "i2"),
    ("datatype", "i2"),
    ("bitpix", "i2"),
    ("slice_start", "i2"),
    ("pixdim", "f4", (8,)),
    ("vox_offset", "f4"),
    ("scl_slope", "f4"),
    ("scl_inter", "f4"),
    ("slice_end", "i2"),
    ("slice_code", "u1"),
    ("xyzt_units", "u1"),
    ("cal_max", "f4"),
    ("cal_min", "f4"),
    ("slice_duration", "f4"),
    ("toffset", "f4"),
    ("unused2", "V8"),
    ("descrip", "S80"),
    ("aux_file", "S24"),
    ("qform_code", "i2"),
    ("sform_code", "i2"),
    ("quatern", "f4", (3,)),
    ("qoffset", "f4", (3,)),
    ("srow", "f4", (3, 4)),
    ("intent_name", "S16"),
    ("magic", "S4"),
]
_FIELDS2: Final = [
    ("sizeof_hdr", "i4"),
    ("magic", "S8"),
    ("datatype", "i2"),
    ("bitpix", "i2"),
    ("dim", "i8", (8,)),
    ("intent_p", "f8", (3,)),
    ("pixdim", "f8", (8,)),
    ("vox_offset", "i8"),
    ("scl_slope", "f8"),
    ("scl_inter", "f8"),
    ("cal_max", "f8"),
    ("cal_min", "f8"),
    ("slice_duration", "f8"),
    ("toffset", "f8"),
    ("slice_start", "i8"),
    ("slice_end", "i8"),
    ("descrip", "S80"),
    ("aux_file", "S24"),
    ("qform_code", "i4"),
    ("sform_code", "i4"),
    ("quatern", "f8", (3,)),
    ("qoffset", "f8", (3,)),
    ("srow", "f8", (3, 4)),
    ("slice_code", "i4"),
    ("xyzt_units", "i4"),
    ("intent_code", "i4"),
    ("intent_name", "S16"),
    ("dim_info", "u1"),
    ("unused", "V15"),
]
_LAYOUTS: Final = {1: np.dtype(_FIELDS1), 2: np.dtype(_FIELDS2)}
_SIZES: Final = {348: 1, 540: 2}
_NO_EXTENSION: Final = bytes(4)

# The magic of each version: the header alone in a file, and with the voxels behind it.
_MAGICS: Final = {
    1: {b"ni1\0": False, b"n+1\0": True},
    2: {b"ni2\0\r\n\x1a\n": False, b"n+2\0\r\n\x1a\n": True},
}

SCALARS: Final[Mapping[int, tuple[str, int]]] = {
    2: ("u1", 1),
    4: ("i2", 1),
    8: ("i4", 1),
    16: ("f4", 1),
    32: ("f4", 2),  # complex
    64: ("f8", 1),
    128: ("u1", 3),  # RGB
    256: ("i1", 1),
    512: ("u2", 1),
    768: ("u4", 1),
    1024: ("i8", 1),
    1280: ("u8", 1),
    1792: ("f8", 2),  # complex
    2304: ("u1", 4),  # RGBA
}
"""Of each data type that is read: the scalars it is made of, and how many make one voxel."""

_UNREAD: Final = {1: "one bit for each voxel", 1536: "128-bit floats", 2048: "256-bit complex"}


@dataclass(frozen=True, slots=True, eq=False)
class NiftiHeader:
    """What a NIfTI header says, checked as far as sizes go.

    Attributes:
        version: 1 or 2.
        little: the least significant byte comes first.
        single: the voxels are in the same file.
        dims: dim[1] to dim[dim[0]]: columns, rows, slices, times, and up to three more.
        datatype: a key of :data:`SCALARS`.
        offset: vox_offset, bytes.
        slope, inter: scl_slope, scl_inter.
        pixdim: (8,) as in the file; its first is qfac.
        xyzt_units, intent_code, qform_code, sform_code: codes of nifti1.h.
        toffset: where the time axis begins, in the file's unit.
        quatern: (3,) b, c, d of the quaternion.
        qoffset: (3,) of the qform.
        srow: (3, 4) of the sform.
    """

    version: int
    little: bool
    single: bool
    dims: tuple[int, ...]
    datatype: int
    offset: int
    slope: float
    inter: float
    pixdim: NDArray[np.float64] = field(repr=False)
    xyzt_units: int
    intent_code: int
    toffset: float
    qform_code: int
    sform_code: int
    quatern: NDArray[np.float64] = field(repr=False)
    qoffset: NDArray[np.float64] = field(repr=False)
    srow: NDArray[np.float64] = field(repr=False)

    @property
    def further(self) -> tuple[int, ...]:
        """The sizes behind columns, rows and slices."""
        return self.dims[3:]

    @property
    def scaled(self) -> bool:
        """True if stored values are to be scaled (nifti1.h: scl_slope is not zero; not RGB)."""
        if self.slope == 0 or self.datatype in (128, 2304):
            return False
        return (self.slope, self.inter) != (1, 0)


def is_nifti(head: bytes) -> bool:
    """Are these the first bytes (540 are enough) of a NIfTI header?"""
    return _kind(head) is not None


def parse_header(data: bytes, name: str) -> NiftiHeader:
    """Read a header.

    Raises:
        DataError: no NIfTI header, cut short, or with sizes and types that cannot be.
    """
    kind = _kind(data)
    if kind is None:
        order = _order(data)
        missing = 0 if order is None else _LAYOUTS[order[0]].itemsize - len(data)
        if missing > 0:
            raise DataError(f"{name}: the NIfTI header is {missing} bytes short")
        raise DataError(f"{name}: no NIfTI-1 or NIfTI-2 header")
    version, little, single = kind
    layout = _LAYOUTS[version].newbyteorder("<" if little else ">")
    record = np.frombuffer(data, layout, count=1)[0]
    with np.errstate(invalid="ignore"):  # a signalling NaN; what is used is checked
        return _checked(record, version, little, single, name)


def _order(head: bytes) -> tuple[int, bool] | None:
    """The version and whether it is little endian, by the header's own size."""
    little, big = int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")
    if little in _SIZES:
        return _SIZES[little], True
    return (_SIZES[big], False) if big in _SIZES else None


def _kind(head: bytes) -> tuple[int, bool, bool] | None:
    """Version, byte order (little?) and whether the voxels are in the same file."""
    found = _order(head)
    if found is None:
        return None
    version, little = found
    magic = head[344:348] if version == 1 else head[4:12]
    if len(head) < _LAYOUTS[version].itemsize or magic not in _MAGICS[version]:
        return None
    return version, little, _MAGICS[version][magic]


def _checked(record: Any, version: int, little: bool, single: bool, name: str) -> NiftiHeader:
    dims = _dims(record["dim"].tolist(), name)
    datatype = _datatype(int(record["datatype"]), int(record["bitpix"]), name)
    slope, inter = _scaling(float(record["scl_slope"]), float(record["scl_inter"]), name)
    least = _LAYOUTS[version].itemsize if single else 0
    return NiftiHeader(
        version=version,
        little=little,
        single=single,
        dims=dims,
        datatype=datatype,
        offset=_offset(record["vox_offset"].item(), least, name),
        slope=slope,
        inter=inter,
        pixdim=_numbers(record["pixdim"]),
        xyzt_units=int(record["xyzt_units"]),
        intent_code=int(record["intent_code"]),
        toffset=float(record["toffset"]),
        qform_code=int(record["qform_code"]),
        sform_code=int(record["sform_code"]),
        quatern=_numbers(record["quatern"]),
        qoffset=_numbers(record["qoffset"]),
        srow=_numbers(record["srow"]),
    )


def _numbers(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(values.astype(np.float64))


def _dims(dim: list[int], name: str) -> tuple[int, ...]:
    count = dim[0]
    if not 1 <= count <= 7:
        raise DataError(f"{name}: the NIfTI header says {count} dimensions, of 1 to 7")
    sizes = dim[1 : count + 1]
    if min(sizes) < 1:
        raise DataError(f"{name}: the NIfTI header says sizes of {sizes}, which must be positive")
    return (*sizes, *[1] * (3 - count))


def _datatype(code: int, bits: int, name: str) -> int:
    if code not in SCALARS:
        what = _UNREAD.get(code, "unknown")
        raise DataError(f"{name}: NIfTI data type {code} ({what}) cannot be read")
    scalar, count = SCALARS[code]
    needed = 8 * np.dtype(scalar).itemsize * count
    if bits not in (0, needed):
        raise DataError(f"{name}: NIfTI data type {code} has {needed} bits, the header says {bits}")
    return code


def _scaling(slope: float, inter: float, name: str) -> tuple[float, float]:
    """Slope and intercept; a slope that is no number means: not scaled (as nibabel has it)."""
    if not math.isfinite(slope) or slope == 0:
        return 0.0, 0.0
    if not math.isfinite(inter):
        raise DataError(f"{name}: scl_slope is {slope:g}, but scl_inter is no number")
    return slope, inter


def _offset(value: float, least: int, name: str) -> int:
    if not math.isfinite(value) or value != int(value) or value < least:
        raise DataError(
            f"{name}: vox_offset is {value:g}: no place of voxels (at least {least} in this file)"
        )
    return int(value)


def build_header(version: int, fields: Mapping[str, Any]) -> bytes:
    """The bytes of a little endian header with the voxels behind it, and of no extension.

    ``fields``: values by the names of nifti1.h (``quatern``, ``qoffset`` and ``srow`` whole).
    """
    record = np.zeros((), _LAYOUTS[version].newbyteorder("<"))
    for name, value in fields.items():
        record[name] = value
    size = _LAYOUTS[version].itemsize
    record["sizeof_hdr"] = size
    record["vox_offset"] = size + len(_NO_EXTENSION)
    record["magic"] = next(magic for magic, single in _MAGICS[version].items() if single)
    return record.tobytes() + _NO_EXTENSION
