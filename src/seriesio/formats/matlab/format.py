"""MATLAB: .mat files of level 5 (scipy reads them) and 7.3 (HDF5, h5py)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from ...blob import PiecesBlob
from ...dicom.sorting import Axis
from ...errors import (
    DataError,
    EncodeError,
    MissingDependencyError,
    SeriesIOError,
    TooLargeError,
)
from ..guest.blobs import Voxels, voxels_blob
from ..guest.bytes import native
from ..guest.cancel import canceller
from ..guest.data import check_volume, named_axes, options_of, shape_text, storable
from ..guest.streams import ZLIB, deflated
from ..image import Image
from .mat5 import HEADER, Variable, file_header, matrix_head, padding, turned, variables
from .mat73 import BlobFile, Dataset, datasets, read_dataset, seekable, written

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...blob import Blob

__all__ = ["MatlabFormat"]

_LEVEL_5: Final = re.compile(rb"MATLAB 5\.0 MAT-file.{105}(\x00\x01IM|\x01\x00MI)", re.DOTALL)
_LEVEL_73: Final = re.compile(rb"MATLAB 7\.3 MAT-file.{105}(\x00\x02IM|\x02\x00MI)", re.DOTALL)
_HDF5: Final = b"\x89HDF\r\n\x1a\n"
_VARIABLE: Final = "A"
_LARGEST: Final = (1 << 31) - (1 << 12)  # bytes of a variable that MATLAB reads from level 5
_KINDS: Final = {"f4": "single", "f8": "double"}
_TOLD: Final = 10  # variables that an error names


class MatlabFormat:
    """MATLAB files (:class:`~seriesio.protocols.Guest`), as imagedata stores them.

    One variable is the volume; imagedata's is called "A". MATLAB's dimensions are (rows, columns,
    slices, further axes from the innermost to the outermost); they become (further axes, slice,
    row, column), nothing is flipped. A matrix of two dimensions is one slice. The file says
    nothing of place, spacing or axes: one further axis is called "none", as imagedata has it,
    unless ``axes="time"`` (outermost first) names it.

    Read: the variable "A", else the only one that is numbers in at least two rows and columns, or
    the one that ``variable="…"`` names. Values keep the type in which the file stores them, which
    may be narrower than the variable's class (whole doubles are stored as small integers).
    Objects, function handles, cells, structs, texts, sparse and complex values are refused,
    nothing in them is run.

    Written: one ``.mat`` of level 5 with the one variable "A", as imagedata does; of 7.3 from 2 GB
    on. ``version="5"`` or ``"7.3"`` asks for one of them, ``variable="…"`` for another name,
    ``compress=True`` (level 5) packs the variable with zlib. Level 5 is written by us, frame by
    frame: scipy would need the whole file in memory a second time.
    """

    extensions: ClassVar[tuple[str, ...]] = (".mat",)
    read_options: ClassVar[frozenset[str]] = frozenset({"axes", "variable"})
    write_options: ClassVar[frozenset[str]] = frozenset({"compress", "variable", "version"})
    placed: ClassVar[bool] = False

    def claims(self, name: str, head: bytes) -> bool:
        """MATLAB's own header of 128 bytes; bare HDF5 only under the name ``.mat``."""
        if _LEVEL_5.match(head) or _LEVEL_73.match(head):
            return True
        return head.startswith(_HDF5) and name.lower().endswith(".mat")

    def companions(self, name: str, head: bytes) -> Sequence[str]:
        """None."""
        return ()

    def read(
        self, name: str, files: Mapping[str, Blob], *, memory: int, options: Mapping[str, Any]
    ) -> Image:
        """Read the volume of a file.

        Raises:
            DataError: damaged, cut, several variables or none that is a volume.
            TooLargeError: more than ``memory``.
            TransportError: it cannot be read.
            MissingDependencyError: scipy (level 5) or h5py (7.3) is not installed.
        """
        chosen = options_of(options, axes=None, variable=None)
        blob = seekable(files[name], memory)
        found: Sequence[Variable | Dataset] = variables(blob) if _old(blob) else datasets(blob)
        taken = _chosen(found, chosen["variable"], name)
        if isinstance(taken, Variable):
            array = _read_5(blob, taken, memory)
        else:
            array = read_dataset(blob, taken.name, memory)
        array = turned(_with_slices(array))
        left = [other for other in found if other is not taken]
        notes = (f"{len(left)} other variables are not read",) if left else ()
        return Image(array, named_axes(_axes(array.shape), chosen["axes"], name), notes=notes)

    def write(self, image: Image, name: str, *, options: Mapping[str, Any]) -> Iterable[Blob]:
        """The file of a volume.

        Raises:
            EncodeError: colours, or voxels of a type that MATLAB has not.
            MissingDependencyError: h5py (7.3) is not installed.
        """
        chosen = options_of(options, compress=False, variable=_VARIABLE, version=None, extension="")
        if image.color:
            raise EncodeError("colours are not written as MATLAB files, as imagedata does not")
        variable = _checked_name(chosen["variable"])
        dtype = storable(image.array.dtype, "a MAT-file").newbyteorder("<")
        voxels = Voxels(image.array, image.array.ndim - 2, dtype, transposed=True)
        logical = image.array.dtype == bool
        if _wants_73(chosen["version"], voxels):
            if chosen["compress"]:
                raise EncodeError('compress=True is for MAT-files of version="5", below 2 GB')
            kind = "logical" if logical else _KINDS.get(dtype.str[1:], dtype.name)
            yield written(f"{name}.mat", variable, voxels, kind)
            return
        *leading, rows, columns = image.array.shape
        head = matrix_head(variable, (rows, columns, *reversed(leading)), dtype, logical)
        tail = bytes(padding(len(voxels) * voxels.frame_size))
        if chosen["compress"]:
            yield PiecesBlob(f"{name}.mat", _compressed(head, voxels, tail))
        else:
            yield voxels_blob(f"{name}.mat", file_header("5.0") + head, voxels, tail)


# --- reading ---------------------------------------------------------------------------------


def _old(blob: Blob) -> bool:
    """True for level 5, False for HDF5.

    Raises:
        DataError: it is neither.
    """
    with BlobFile(blob) as stream:
        head = stream.read(HEADER)
    if _LEVEL_5.match(head):
        return True
    if not (_LEVEL_73.match(head) or head.startswith(_HDF5)):
        raise DataError(f"{blob.name}: is no MAT-file of level 5 or 7.3")
    return False


def _chosen(
    found: Sequence[Variable | Dataset], asked: str | None, name: str
) -> Variable | Dataset:
    """The variable that is the volume.

    Raises:
        DataError: it is none, or not the only one.
    """
    if asked is not None:
        named = [variable for variable in found if variable.name == asked]
        if not named:
            raise DataError(f"{name}: has no variable of that name; {_told(found)}")
        return _readable(named[-1], name)
    images = [variable for variable in found if variable.image]
    named = [variable for variable in found if variable.name == _VARIABLE]
    if named and (named[-1].image or len(found) == 1):
        return _readable(named[-1], name)
    if len(images) > 1:
        raise DataError(f'{name}: variable="…" says which is the volume; {_told(found)}')
    if not images and len(found) == 1:
        return _readable(found[0], name)
    if not images:
        raise DataError(f"{name}: no variable is a volume; {_told(found)}")
    return images[0]


def _readable(variable: Variable | Dataset, name: str) -> Variable | Dataset:
    if variable.fault:
        raise DataError(f"{name}: the variable {variable.name[:64]!r} {variable.fault}: no volume")
    if len(variable.shape) < 2:
        raise DataError(f"{name}: the variable {variable.name[:64]!r} has at most one dimension")
    return variable


def _told(found: Sequence[Variable | Dataset]) -> str:
    told = [
        f"{variable.name[:64]!r} ({variable.kind[:40]} {shape_text(variable.shape)})"
        for variable in found[:_TOLD]
    ]
    more = f" and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
    return f"it has {', '.join(told) or 'none'}{more}"


def _read_5(blob: Blob, variable: Variable, memory: int) -> NDArray[Any]:
    """(…, columns, rows) the values of a variable whose first bytes were checked.

    Raises:
        DataError: scipy cannot read it.
        TooLargeError: more than ``memory``.
    """
    kept = np.dtype(f"u{variable.stored}")
    check_volume(blob.name, variable.shape, kept, memory)
    loadmat = _loadmat()
    with _OneVariable(blob, variable) as stream:
        try:
            values = loadmat(stream, variable_names=[variable.name])[variable.name]
        except SeriesIOError:
            raise
        except MemoryError:
            raise TooLargeError(f"{blob.name}: no memory for its variable") from None
        except Exception as error:  # whatever a foreign reader raises, our caller sees one kind
            raise DataError(f"{blob.name}: its variable is damaged") from error
    if not isinstance(values, np.ndarray) or values.shape != variable.shape:
        raise DataError(f"{blob.name}: its variable is not what its header says")
    if values.dtype.kind not in "iuf":
        raise DataError(f"{blob.name}: its variable has values of type {values.dtype}")
    return native(np.ascontiguousarray(values.T))


def _loadmat() -> Any:
    try:
        return import_module("scipy.io").loadmat
    except ImportError as error:
        raise MissingDependencyError(
            'a MAT-file of level 5 needs scipy: pip install "seriesio[matlab]"'
        ) from error


class _OneVariable(BlobFile):
    """The file as if there were no other variable: no reader comes across the others."""

    def __init__(self, blob: Blob, variable: Variable) -> None:
        super().__init__(blob)
        self._shift = variable.offset - HEADER
        self._end = HEADER + variable.size
        self._check_cancelled = canceller()

    def seek(self, offset: int, whence: int = 0) -> int:
        return super().seek(
            offset + (self._end if whence == 2 else 0), 0 if whence == 2 else whence
        )

    def readinto(self, view: Any) -> int:
        self._check_cancelled()
        target = memoryview(view).cast("B")
        early = self._place < HEADER
        end = HEADER if early else self._end
        wanted = max(min(target.nbytes, end - self._place), 0)
        shift = 0 if early else self._shift
        count = self._reader.readinto(target[:wanted], self._place + shift) if wanted else 0
        self._place += count
        return count


def _with_slices(array: NDArray[Any]) -> NDArray[Any]:
    return array[None] if array.ndim == 2 else array


def _axes(shape: tuple[int, ...]) -> tuple[Axis, ...]:
    """Further axes: the file names none of them; the innermost is imagedata's "none"."""
    further = shape[:-3]
    names = ["none", *(f"axis{place}" for place in range(4, 3 + len(further)))]
    pairs = zip(reversed(names[: len(further)]), further, strict=True)
    return tuple(Axis(name, "", np.arange(size, dtype=np.float64)) for name, size in pairs)


# --- writing ---------------------------------------------------------------------------------


def _wants_73(version: Any, voxels: Voxels) -> bool:
    size = len(voxels) * voxels.frame_size
    if version is None:
        return size > _LARGEST
    if version not in ("5", "7.3", 5, 7.3):  # numbers, as the command line has them
        raise EncodeError('version= is "5" or "7.3"')
    if version in ("5", 5) and size > _LARGEST:
        raise EncodeError(f"{size} bytes of voxels are too many for a MAT-file of level 5")
    return version in ("7.3", 7.3)


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,62}", name):
        raise EncodeError("variable= is a MATLAB name: a letter, then letters, digits and _")
    return name


def _compressed(head: bytes, voxels: Voxels, tail: bytes) -> tuple[memoryview, ...]:
    """The whole file, its variable packed with zlib."""
    parts = [*deflated((memoryview(head), *voxels.pieces(), memoryview(tail)), ZLIB)]
    size = sum(map(len, parts))
    start = file_header("5.0") + bytes([15, 0, 0, 0]) + size.to_bytes(4, "little")
    return tuple(part for part in (memoryview(start), *parts) if part)
