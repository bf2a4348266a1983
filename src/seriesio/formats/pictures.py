"""Pictures of slices: PNG, one file for each; TIFF, one file for the volume. Written, never read.

A PNG needs no library (W3C, "Portable Network Graphics", third edition); Pillow would not write
16-bit colours. A TIFF is laid out by tifffile (extra ``tiff``).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn

import numpy as np

from ..blob import MemoryBlob
from ..errors import EncodeError, FormatError, MissingDependencyError
from ..inflate import compressobj, crc32
from ..window import window
from .guest.blobs import Voxels
from .guest.data import options_of
from .guest.sparse import SparseFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..blob import Blob
    from ..dicom.sorting import Axis
    from .image import Image

__all__ = ["PngFormat", "TiffFormat"]

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_UP: Final = 2  # PNG's filter: each row less the row above
_WIDEST: Final = (1 << 31) - 1
_IMAGEJ: Final = frozenset({"u1", "u2", "f4"})
_CLASSIC: Final = (1 << 32) - (1 << 20)  # bytes of voxels that a TIFF with 32-bit offsets holds
_LETTERS: Final = "TCQABDEFGHIJKLMNOP"


class _WriteOnly:
    """A format that is written, but never read; it keeps no place."""

    placed: ClassVar[bool] = False

    def claims(self, name: str, head: bytes) -> bool:
        """False: pictures are not read."""
        return False

    def companions(self, name: str, head: bytes) -> Sequence[str]:
        """None."""
        return ()

    def read(
        self, name: str, files: Mapping[str, Blob], *, memory: int, options: Mapping[str, Any]
    ) -> NoReturn:
        """Pictures are not read.

        Raises:
            FormatError: always.
        """
        raise FormatError(f"{name}: pictures are written, not read")


class PngFormat(_WriteOnly):
    """PNG pictures, one for each slice (:class:`~seriesio.protocols.Guest`, write only).

    By default the values are written as they are: uint8 and bool as 8-bit, other whole numbers
    from 0 to 65535 as 16-bit grey values; colours likewise. Most programs show 16-bit grey values
    of a medical image as nearly black. Other values (negative ones as in CT, fractions) do not
    fit into a PNG: an EncodeError says so. ``window="auto"`` or ``window=(low, high)`` writes what
    a screen shows instead, 8-bit: low and what is below it black, high and what is above white.

    Several pictures are named IM00001.png, IM00002.png … in the order of the array (all slices of
    the first time, then of the second …), a single one as the caller says.
    """

    extensions: ClassVar[tuple[str, ...]] = (".png",)
    read_options: ClassVar[frozenset[str]] = frozenset()
    write_options: ClassVar[frozenset[str]] = frozenset({"window"})

    def write(self, image: Image, name: str, *, options: Mapping[str, Any]) -> Iterable[Blob]:
        """The pictures of a volume, made one by one.

        Raises:
            EncodeError: values that a PNG cannot hold, and no ``window``.
        """
        chosen = options_of(options, window=None, extension="")
        limits = _limits(image, chosen["window"])
        dtype = np.dtype(np.uint8) if limits else _raw_dtype(image.array)
        leading = image.array.shape[: image.array.ndim - 2 - image.color]
        folder = name[: name.rfind("/") + 1]
        for number, place in enumerate(np.ndindex(leading), 1):
            frame = image.array[place]
            values = frame.astype(dtype) if limits is None else _shown(frame, *limits)
            own = name if math.prod(leading) == 1 else f"{folder}IM{number:05d}"
            yield MemoryBlob(f"{own}.png", _png(values, image))


class TiffFormat(_WriteOnly):
    """A TIFF file of many pages (:class:`~seriesio.protocols.Guest`, write only).

    Values are written as they are, integers and floats of any width; ``window="auto"`` or
    ``window=(low, high)`` writes what a screen shows instead, 8-bit. Where ImageJ can read the
    type (uint8, uint16, float32) and there is at most one further axis, the file is an ImageJ
    hyperstack with its axes (TZYX), spacing and frame interval; else tifffile's description names
    the axes. Needs tifffile: ``pip install "seriesio[tiff]"``.
    """

    extensions: ClassVar[tuple[str, ...]] = (".tif", ".tiff")
    read_options: ClassVar[frozenset[str]] = frozenset()
    write_options: ClassVar[frozenset[str]] = frozenset({"window"})

    def write(self, image: Image, name: str, *, options: Mapping[str, Any]) -> Iterable[Blob]:
        """The file of a volume; no second copy of the voxels is made, but by a window.

        Raises:
            EncodeError: values that a TIFF cannot hold.
            MissingDependencyError: tifffile is not installed.
        """
        chosen = options_of(options, window=None, extension="")
        limits = _limits(image, chosen["window"])
        array = image.array if limits is None else _shown(image.array, *limits)
        dtype = np.dtype(np.uint8) if array.dtype == bool else array.dtype.newbyteorder("<")
        if dtype.kind not in "iuf" or dtype.itemsize > 8:
            raise EncodeError(f"a TIFF cannot hold voxels of type {dtype}")
        voxels = Voxels(array, array.ndim - 2 - image.color, dtype)
        file = SparseFile()
        offset = _lay_out(file, image, voxels)
        yield file.blob(name + (chosen["extension"] or ".tif"), offset, voxels)


# --- values ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Shown:
    """What :func:`~seriesio.window.window` asks of a series."""

    array: NDArray[Any]
    spacing: Any
    attributes: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.attributes[name[:1].upper() + name[1:]]
        except KeyError:
            raise AttributeError(name) from None


def _limits(image: Image, asked: Any) -> tuple[float, float] | None:
    """The values shown black and white; None for values as they are."""
    if asked is None:
        return None
    if image.array.dtype.kind == "c":
        raise EncodeError("complex values have no grey: write abs(series), or its real part")
    if isinstance(asked, str) and asked == "auto":
        return window(_Shown(image.array, _spacing(image), image.attributes))
    try:
        low, high = map(float, asked)
    except (TypeError, ValueError):
        raise EncodeError('window= is "auto" or (low, high)') from None
    if not (np.isfinite([low, high]).all() and low < high):
        raise EncodeError("window=(low, high) wants two finite values, low < high")
    return low, high


def _shown(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Grey values from 0 (low and below, and what is no number) to 255 (high and above)."""
    scaled = (values.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    return np.asarray(np.nan_to_num(scaled).clip(0, 255) + np.float32(0.5)).astype(np.uint8)


def _raw_dtype(array: NDArray[Any]) -> np.dtype[Any]:
    """The unsigned type that holds the values as they are.

    Raises:
        EncodeError: there is none of 8 or 16 bits.
    """
    if array.dtype in (np.dtype(np.uint8), np.dtype(bool)):
        return np.dtype(np.uint8)
    whole = array.dtype.kind in "iu"
    if not whole or int(array.min()) < 0 or int(array.max()) > 65535:
        held = f"from {array.min()} to {array.max()}" if whole else f"of type {array.dtype}"
        raise EncodeError(
            f'a PNG holds whole numbers from 0 to 65535, not values {held}; window="auto" or '
            "window=(low, high) writes what a screen shows, TIFF holds all values"
        )
    return np.dtype(np.uint16)


def _spacing(image: Image) -> tuple[float, float, float] | None:
    """(dz, dy, dx) in mm; None where it is not known."""
    if image.affine is not None:
        dx, dy, dz = np.linalg.norm(image.affine[:3, :3], axis=0).tolist()
        return dz, dy, dx
    return image.spacing


# --- PNG -------------------------------------------------------------------------------------


def _png(values: NDArray[Any], image: Image) -> bytes:
    """A picture: (rows, columns) grey values, or (rows, columns, 3) colours."""
    rows, columns = values.shape[:2]
    if max(rows, columns) > _WIDEST:
        raise EncodeError(f"a PNG has {_WIDEST} rows and columns at the most")
    kind = 2 if values.ndim == 3 else 0
    head = struct.pack(">IIBBBBB", columns, rows, 8 * values.dtype.itemsize, kind, 0, 0, 0)
    packer = compressobj()
    data = packer.compress(_filtered(values)) + packer.flush()
    if len(data) > _WIDEST:
        raise EncodeError(f"{len(data)} compressed bytes of a slice are too many for a PNG")
    chunks = [(b"IHDR", head), *_sizes(_spacing(image)), (b"IDAT", data), (b"IEND", b"")]
    return _SIGNATURE + b"".join(_chunk(name, content) for name, content in chunks)


def _filtered(values: NDArray[Any]) -> bytes:
    """The rows, each less the one above and with the filter's number in front."""
    lines = values.astype(values.dtype.newbyteorder(">")).reshape(len(values), -1).view(np.uint8)
    found = np.empty((len(lines), lines.shape[1] + 1), np.uint8)
    found[:, 0] = _UP
    found[0, 1:] = lines[0]
    np.subtract(lines[1:], lines[:-1], out=found[1:, 1:])
    return found.tobytes()


def _sizes(spacing: tuple[float, float, float] | None) -> Iterator[tuple[bytes, bytes]]:
    """Pixels for each metre, where they are known."""
    if spacing is not None:
        across, down = (round(1000 / size) for size in (spacing[2], spacing[1]))
        if 0 < across <= _WIDEST and 0 < down <= _WIDEST:
            yield b"pHYs", struct.pack(">IIB", across, down, 1)


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = crc32(content, crc32(name))
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


# --- TIFF ------------------------------------------------------------------------------------


def _lay_out(file: SparseFile, image: Image, voxels: Voxels) -> int:
    """Write all but the voxels; where those begin."""
    shape, dtype = voxels.array.shape, voxels.dtype
    imagej = _for_imagej(image, voxels)
    found = _tifffile().imwrite(
        file,
        shape=shape,
        dtype=dtype,
        byteorder="<",
        imagej=imagej,
        bigtiff=len(voxels) * voxels.frame_size > _CLASSIC,
        photometric="rgb" if image.color else "minisblack",
        planarconfig="contig" if image.color else None,
        metadata=_metadata(image, imagej),
        software=False,
        returnoffset=True,
        **_resolution(image, imagej),
    )
    return int(found[0])


def _for_imagej(image: Image, voxels: Voxels) -> bool:
    known = voxels.dtype.str[1:] in (_IMAGEJ if not image.color else ("u1",))
    return known and len(image.axes) < 2 and len(voxels) * voxels.frame_size <= _CLASSIC


def _metadata(image: Image, imagej: bool) -> dict[str, Any]:
    """Axes by their letters, and lengths in mm and s."""
    letters = ("T" if imagej else _letters(image.axes))[: len(image.axes)]
    told: dict[str, Any] = {"axes": letters + "ZYX" + ("S" if image.color else "")}
    if (spacing := _spacing(image)) is not None:
        told |= {"spacing": spacing[0], "unit": "mm"}
    for axis in image.axes:
        if axis.name == "time" and len(axis) > 1:
            told["finterval"] = float(axis.values[-1] - axis.values[0]) / (len(axis) - 1)
    return told


def _letters(axes: Sequence[Axis]) -> str:
    """T for time, others for the rest, each once."""
    left = iter(_LETTERS[1:] if any(axis.name == "time" for axis in axes) else _LETTERS)
    return "".join("T" if axis.name == "time" else next(left, "Q") for axis in axes)


def _resolution(image: Image, imagej: bool) -> dict[str, Any]:
    """Pixels for each mm as ImageJ has it, for each cm elsewhere."""
    spacing = _spacing(image)
    if spacing is None:
        return {}
    scale, unit = (1.0, 1) if imagej else (10.0, 3)
    return {"resolution": (scale / spacing[2], scale / spacing[1]), "resolutionunit": unit}


def _tifffile() -> Any:
    try:
        return import_module("tifffile")
    except ImportError as error:
        raise MissingDependencyError(
            'a TIFF needs tifffile: pip install "seriesio[tiff]"'
        ) from error
