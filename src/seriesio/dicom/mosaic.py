"""Siemens mosaics: the slices of a volume as tiles of one image.

Image Type says MOSAIC; how many tiles there are, and to which side they are stacked, stands in
the scanner's own CSA header (0029,xx10), the count also in (0019,xx0A). The tiles fill a square
grid row by row. Image Position (Patient) is that of an image of the mosaic's size around the
centre of the first slice, so it has to be moved to the corner of a tile.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import DicomError, EncodeError, InconsistentSeriesError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from .part10 import RawHeader
    from .pixels import PixelLayout
    from .sorting import Axis
    from .table import HeaderTable
    from .volume import Volume

__all__ = ["Mosaic", "csa_values", "is_mosaic", "mosaic_of", "mosaics_of", "reassembled"]

_IMAGE_TYPE, _ROWS, _COLUMNS, _FRAMES = 0x00080008, 0x00280010, 0x00280011, 0x00280008
_CSA_CREATOR: Final = b"SIEMENS CSA HEADER"
_MR_CREATOR: Final = b"SIEMENS MR HEADER"
_COUNT, _NORMAL = "NumberOfImagesInMosaic", "SliceNormalVector"
_TAG: Final = struct.Struct("<64si4s3i")
_ITEM: Final = struct.Struct("<4i")
_MAX_TAGS: Final = 1000  # as other readers of this format have it
_MAX_TILES: Final = 4096


@dataclass(frozen=True, slots=True)
class Mosaic:
    """How one image is tiled.

    Attributes:
        count: tiles that hold a slice; the rest of the grid is empty.
        grid: tiles in each row and in each column of the grid.
        rows, columns: of a tile.
        normal: unit vector from each tile's slice to the next; None if the file does not say.
    """

    count: int
    grid: int
    rows: int
    columns: int
    normal: tuple[float, float, float] | None = None

    def tile(self, image: NDArray[Any], number: int) -> NDArray[Any]:
        """One tile of a mosaic of shape (rows, columns), a view."""
        row, column = divmod(number, self.grid)
        down, right = row * self.rows, column * self.columns
        part: NDArray[Any] = image[down : down + self.rows, right : right + self.columns]
        return part

    def shift(self, pixel_spacing: tuple[float, float]) -> tuple[float, float]:
        """mm down and to the right, from the announced position to the first tile's corner."""
        dy, dx = pixel_spacing
        return (self.grid - 1) * self.rows * dy / 2, (self.grid - 1) * self.columns * dx / 2


def is_mosaic(image_type: bytes | memoryview | None) -> bool:
    """True if an Image Type has a value MOSAIC."""
    return b"MOSAIC" in [part.strip(b" \0") for part in bytes(image_type or b"").split(b"\\")]


def mosaics_of(table: HeaderTable) -> Mapping[int, Mosaic]:
    """The instances that are mosaics; empty for almost every series.

    Raises:
        DicomError: a mosaic that contradicts itself.
        InconsistentSeriesError: tiles of several sizes, or mosaics among other images.
    """
    column = table.column("ImageType")
    tiled = np.array([is_mosaic(value) for value in column.values], bool)[column.codes]
    found = {
        index: mosaic
        for index in np.flatnonzero(tiled).tolist()
        if (mosaic := mosaic_of(table.header(index))) is not None
    }
    if found and len(found) < len(table):
        raise InconsistentSeriesError("the series has both mosaics and images that are none")
    if len({(mosaic.grid, mosaic.rows, mosaic.columns) for mosaic in found.values()}) > 1:
        raise InconsistentSeriesError("the mosaics of the series have tiles of several sizes")
    return found


def mosaic_of(header: RawHeader) -> Mosaic | None:
    """How an instance is tiled; None if it is not, or does not say how many tiles it has.

    Raises:
        DicomError: the tiles do not fit the image.
    """
    if not is_mosaic(header.raw(_IMAGE_TYPE)):
        return None
    values = csa_values(_private(header, 0x0029, _CSA_CREATOR, 0x10), {_COUNT, _NORMAL})
    count = _count(values.get(_COUNT)) or _public_count(header)
    if count == 0:
        return None
    rows, columns = (_short(header, tag) for tag in (_ROWS, _COLUMNS))
    grid = math.isqrt(count - 1) + 1
    if count > _MAX_TILES or rows == 0 or columns == 0 or rows % grid or columns % grid:
        raise DicomError(f"a mosaic of {count} tiles does not fit {rows}x{columns} pixels")
    if bytes(header.raw(_FRAMES) or b"").strip(b" \0") not in (b"", b"1"):
        raise DicomError("a mosaic has several frames")
    return Mosaic(count, grid, rows // grid, columns // grid, _unit(values.get(_NORMAL)))


def _count(values: list[bytes] | None) -> int:
    text = values[0].strip(b" \0") if values else b""
    return int(text) if text.isdigit() and len(text) < 8 else 0


def _public_count(header: RawHeader) -> int:
    value = _private(header, 0x0019, _MR_CREATOR, 0x0A)
    if value is None or len(value) not in (2, 4, 6):
        return 0
    if len(value) == 2:
        return int.from_bytes(value, "little" if header.syntax.little else "big")
    return _count([bytes(value)])


def _short(header: RawHeader, tag: int) -> int:
    value = header.raw(tag)
    if value is None or len(value) != 2:
        return 0
    return int.from_bytes(value, "little" if header.syntax.little else "big")


def _unit(values: list[bytes] | None) -> tuple[float, float, float] | None:
    try:
        x, y, z = (float(value.strip(b" \0")) for value in values or ())
    except ValueError:
        return None
    length = math.sqrt(x * x + y * y + z * z) if max(abs(x), abs(y), abs(z)) < 2 else 0.0
    return (x / length, y / length, z / length) if 0.9 < length < 1.1 else None


def _private(header: RawHeader, group: int, creator: bytes, element: int) -> memoryview | None:
    """A private element, in whichever block its creator has reserved (PS3.5 section 7.8.1)."""
    for tag in header.layout.tags:
        if tag >> 16 == group and 0x10 <= tag & 0xFFFF <= 0xFF:
            name = header.raw(tag)
            if name is not None and bytes(name[:64]).strip(b" \0").startswith(creator):
                return header.raw(group << 16 | (tag & 0xFF) << 8 | element)
    return None


def csa_values(data: memoryview | bytes | None, names: set[str]) -> dict[str, list[bytes]]:
    """The values of some tags of a CSA header; damaged ones are left out.

    The header is a count of tags, then for each its name, multiplicity and VR, and its items,
    each with a length and padded to 4 bytes. The older form (CSA1) has no magic number and
    counts lengths from the first tag's number of items.
    """
    view = memoryview(data or b"")
    newer = bytes(view[:4]) == b"SV10"
    position = 8 if newer else 0
    found: dict[str, list[bytes]] = {}
    if len(view) < position + 8:
        return found
    (tags,) = struct.unpack_from("<I", view, position)
    position += 8
    base = 0
    for number in range(min(tags, _MAX_TAGS)):
        if position + _TAG.size > len(view):
            break
        name, multiplicity, _, _, items, _ = _TAG.unpack_from(view, position)
        position += _TAG.size
        base = items if number == 0 and not newer else base
        values, after = _csa_items(view, position, items, None if newer else base)
        if after is None:
            break
        position = after
        text = name.split(b"\0")[0].decode("latin-1")
        if text in names:
            found[text] = [value for value in values[: multiplicity or None] if value]
        if len(found) == len(names):
            break
    return found


def _csa_items(
    view: memoryview, position: int, count: int, base: int | None
) -> tuple[list[bytes], int | None]:
    """The items of a tag, and where they end; None for an end that cannot be."""
    values: list[bytes] = []
    if not 0 <= count <= _MAX_TAGS:
        return values, None
    for _ in range(count):
        if position + _ITEM.size > len(view):
            return values, None
        first, second, _, _ = _ITEM.unpack_from(view, position)
        position += _ITEM.size
        length = second if base is None else first - base
        if not 0 <= length <= len(view) - position:
            return values, None
        values.append(bytes(view[position : position + length]).split(b"\0")[0].strip(b" "))
        position += length + -length % 4
    return values, position


def reassembled(volume: Volume, prints: NDArray[np.uint64]) -> tuple[Volume, NDArray[np.uint64]]:
    """A volume whose slots are whole mosaics again, and what tells which of them have changed.

    Any other volume comes back as it is; so does one that has lost tiles. Tiles without a slice
    are filled with zeros where pixels have changed.

    Raises:
        EncodeError: the tiles were cropped.
    """
    mosaics = [mosaic_of(instance.raw) for instance in volume.header.instances]
    if not volume.stored.whole or not any(mosaics):
        return volume, prints
    if volume.moved:
        raise EncodeError("a cropped mosaic cannot be written: its slices are tiles of one image")
    stored = volume.stored
    before = np.zeros(len(mosaics), np.uint64)
    after = before.copy()
    altered = np.ones(len(prints), bool) if stored.prints is None else prints != stored.prints
    np.bitwise_or.at(after, stored.instance, altered.astype(np.uint64))
    first = np.unique(stored.instance, return_index=True)[1]
    whole = replace(
        stored,
        instance=np.arange(len(mosaics)),
        frame=np.zeros(len(mosaics), np.intp),
        layouts=tuple(map(_untiled, stored.layouts, mosaics)),
        slope=stored.slope[first],
        intercept=stored.intercept[first],
        prints=None if stored.prints is None else before,
    )
    array = _untiled_array(volume, mosaics)
    return replace(volume, array=array, axes=_image_axes(volume), stored=whole), after


def _untiled(layout: PixelLayout, mosaic: Mosaic | None) -> PixelLayout:
    grid = mosaic.grid if mosaic else 1
    return replace(layout, frames=1, rows=layout.rows * grid, columns=layout.columns * grid)


def _untiled_array(volume: Volume, mosaics: list[Mosaic | None]) -> NDArray[Any]:
    slots = volume.array.reshape(-1, *volume.array.shape[volume.leading :])
    grid = max(mosaic.grid for mosaic in mosaics if mosaic)
    rows, columns = slots.shape[1] * grid, slots.shape[2] * grid
    array = np.zeros((len(mosaics), rows, columns, *slots.shape[3:]), slots.dtype)
    owners = zip(volume.stored.instance.tolist(), volume.stored.frame.tolist(), strict=True)
    for slot, (instance, frame) in enumerate(owners):
        mosaic = mosaics[instance]
        if mosaic is not None:
            mosaic.tile(array[instance], frame)[...] = slots[slot]
    return array


def _image_axes(volume: Volume) -> tuple[Axis, ...]:
    """Axes of the mosaics: their number, then row, column (and rgb)."""
    row = volume.leading
    return (volume.axes[row - 1], *volume.axes[row:])
