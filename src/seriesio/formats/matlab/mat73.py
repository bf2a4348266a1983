"""MATLAB's MAT-file 7.3: HDF5. h5py tells where the values are; they are read from there by us.

An HDF5 file can name other files (external links, external storage, virtual datasets), filters
that are loaded as plug-ins, and compressed chunks of any size: all of these are refused.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from importlib import import_module
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...blob import Blob, MemoryBlob, read_all
from ...errors import DataError, MissingDependencyError, SeriesIOError, TooLargeError
from ...inflate import decompressobj, inflate_errors
from ..guest.blobs import Voxels
from ..guest.bytes import bytes_of, native, new_volume, raw_into
from ..guest.cancel import canceller
from ..guest.sparse import SparseFile
from .mat5 import NUMERIC, file_header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["Dataset", "datasets", "read_dataset", "written"]

USERBLOCK: Final = 512
_MOST: Final = 10_000  # variables of a file
_CHUNKS: Final = 1 << 20
_MOST_AXES: Final = 32
_DEFLATE: Final = 1
_SHUFFLE: Final = 2
_CLASSES: Final = NUMERIC | {"logical"}


@dataclass(frozen=True, slots=True)
class Dataset:
    """A variable of a file: its name, class and shape (MATLAB's: rows, columns, …)."""

    name: str
    kind: str
    shape: tuple[int, ...]
    fault: str = ""

    @property
    def image(self) -> bool:
        """True for what may be voxels: numbers in at least two rows and columns."""
        return not self.fault and len(self.shape) > 1 and min(self.shape[:2]) > 1


class BlobFile(io.RawIOBase):
    """A blob as a binary file to be read."""

    def __init__(self, blob: Blob) -> None:
        super().__init__()
        self._blob = blob
        self._reader = blob.open()
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        starts = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._blob.size}
        self._place = max(starts[whence] + offset, 0)
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, view: Any) -> int:
        target = memoryview(view).cast("B")
        wanted = max(min(target.nbytes, self._blob.size - self._place), 0)
        count = self._reader.readinto(target[:wanted], self._place) if wanted else 0
        self._place += count
        return count

    def close(self) -> None:
        self._reader.close()
        super().close()


def _h5py() -> Any:
    try:
        return import_module("h5py")
    except ImportError as error:
        raise MissingDependencyError(
            'a MAT-file 7.3 needs h5py: pip install "seriesio[matlab]"'
        ) from error


def seekable(blob: Blob, memory: int) -> Blob:
    """A blob that can be read to and fro: one that is unpacked on the way comes into memory.

    Raises:
        TooLargeError: more than ``memory``.
    """
    if not blob.sequential:
        return blob
    if blob.size > memory:
        raise TooLargeError(f"{blob.name}: {blob.size} bytes are more than {memory}")
    return MemoryBlob(blob.name, read_all(blob))


def datasets(blob: Blob) -> list[Dataset]:
    """All variables of a file.

    Raises:
        DataError: damaged.
        MissingDependencyError: h5py is not installed.
    """
    h5py = _h5py()
    with BlobFile(blob) as stream:
        try:
            with h5py.File(stream, "r") as file:
                return list(_members(h5py, file, blob.name))
        except SeriesIOError:
            raise
        except Exception as error:  # whatever a foreign library raises, our caller sees one kind
            raise DataError(
                f"{blob.name}: HDF5 does not open it ({type(error).__name__})"
            ) from error


def _members(h5py: Any, file: Any, name: str) -> Iterator[Dataset]:
    if len(file) > _MOST:
        raise DataError(f"{name}: more than {_MOST} variables")
    for called in file:
        if called.startswith("#"):  # where MATLAB keeps what cells and objects refer to
            continue
        link = file.get(called, getlink=True)
        if not isinstance(link, h5py.HardLink):
            yield Dataset(called, "link", (), "is a link to somewhere else")
            continue
        found = file[called]
        if isinstance(found, h5py.Dataset):
            yield _member(h5py, called, found)
        else:
            yield Dataset(called, "struct", (), "is a struct or an object")


def _member(h5py: Any, called: str, found: Any) -> Dataset:
    kind = found.attrs.get("MATLAB_class")
    kind = kind.decode("ascii", "replace") if isinstance(kind, bytes) else str(kind or "")
    dtype, shape = found.dtype, tuple(found.shape or ())[::-1]
    known = (kind in _CLASSES or not kind) and dtype.kind in "iuf" and dtype.itemsize <= 8
    if dtype.names == ("real", "imag"):
        return Dataset(called, kind, shape, "has complex values")
    if not known or "MATLAB_empty" in found.attrs or len(shape) > _MOST_AXES:
        return Dataset(called, kind, shape, f"is a {kind[:40] or 'dataset without numbers'}")
    return Dataset(called, kind or dtype.name, shape, _fault(h5py, found))


def _fault(h5py: Any, found: Any) -> str:
    """Why the values of a dataset are not read."""
    making = found.id.get_create_plist()
    if making.get_external_count() or found.is_virtual:
        return "has its values in other files"
    filters = [making.get_filter(place)[0] for place in range(making.get_nfilters())]
    if filters not in ([], [_DEFLATE], [_SHUFFLE, _DEFLATE]):
        return "is packed by filters other than gzip"
    return ""


def read_dataset(blob: Blob, called: str, memory: int) -> NDArray[Any]:
    """(…, columns, rows) the values of a variable, as HDF5 has them.

    Raises:
        DataError: damaged, or cut short.
        TooLargeError: more than ``memory``.
    """
    h5py = _h5py()
    with BlobFile(blob) as stream:
        try:
            with h5py.File(stream, "r") as file:
                found = file[called]
                array = new_volume(blob.name, found.shape, found.dtype, memory)
                _fill(h5py, array, found, blob, memory)
                return native(array)
        except SeriesIOError:
            raise
        except MemoryError:
            raise TooLargeError(f"{blob.name}: no memory for its variable") from None
        except Exception as error:  # as above
            raise DataError(
                f"{blob.name}: HDF5 does not read it ({type(error).__name__})"
            ) from error


def _fill(h5py: Any, array: NDArray[Any], found: Any, blob: Blob, memory: int) -> None:
    layout = found.id.get_create_plist().get_layout()
    if layout == h5py.h5d.CHUNKED:
        _fill_chunks(array, found, blob.name, memory)
    elif layout == h5py.h5d.COMPACT:
        found.read_direct(array)
    elif not found.id.get_storage_size():  # nothing was ever written
        array[...] = found.fillvalue
    else:
        raw_into(bytes_of(array), blob, found.id.get_offset())


def _fill_chunks(array: NDArray[Any], found: Any, name: str, memory: int) -> None:
    sides = found.chunks
    count = math.prod(-(-side // chunk) for side, chunk in zip(array.shape, sides, strict=True))
    size = math.prod(sides) * array.dtype.itemsize
    if size > memory or count > _CHUNKS:
        raise TooLargeError(f"{name}: {count} chunks of {size} bytes are more than the limits")
    starts = (range(0, side, chunk) for side, chunk in zip(array.shape, sides, strict=True))
    check_cancelled = canceller()
    for corner in product(*starts):
        check_cancelled()
        cells = tuple(slice(at, at + chunk) for at, chunk in zip(corner, sides, strict=True))
        block = _chunk(found, corner, size, name)
        target = array[cells]
        if block is None:
            target[...] = found.fillvalue
        else:
            values = np.frombuffer(block, array.dtype).reshape(sides)
            target[...] = values[tuple(slice(side) for side in target.shape)]


def _chunk(found: Any, corner: tuple[int, ...], size: int, name: str) -> bytes | None:
    """The bytes of a chunk, unpacked; None for one that was never written."""
    info = found.id.get_chunk_info_by_coord(corner)
    if info.byte_offset is None or not info.size:
        return None
    if info.size > 2 * size + 1024:
        raise DataError(f"{name}: a chunk is longer than its values")
    mask, data = found.id.read_direct_chunk(corner)
    filters = found.id.get_create_plist()
    codes = [filters.get_filter(place)[0] for place in range(filters.get_nfilters())]
    used = [code for place, code in enumerate(codes) if not mask >> place & 1]
    plain = _inflated(data, size, name) if _DEFLATE in used else data
    if len(plain) != size:
        raise DataError(f"{name}: a chunk has {len(plain)} instead of {size} bytes")
    if _SHUFFLE in used:
        width = found.dtype.itemsize
        plain = np.frombuffer(plain, np.uint8).reshape(width, -1).T.tobytes()
    return bytes(plain)


def _inflated(data: bytes, size: int, name: str) -> bytes:
    try:
        return decompressobj().decompress(data, size + 1)
    except inflate_errors() as error:
        raise DataError(f"{name}: a compressed chunk is damaged") from error


# --- writing ---------------------------------------------------------------------------------


def written(name: str, variable: str, voxels: Voxels, kind: str) -> Blob:
    """A file with one variable; its values are put in when it is read, none is copied before.

    Raises:
        MissingDependencyError: h5py is not installed.
    """
    h5py = _h5py()
    file = SparseFile()
    rows, columns = voxels.array.shape[-2:]
    shape = (*voxels.array.shape[:-2], columns, rows)
    with h5py.File(file, "w", userblock_size=USERBLOCK) as made:
        making = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        making.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        making.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        kept = h5py.h5t.py_create(voxels.dtype)
        space = h5py.h5s.create_simple(shape)
        dataset = h5py.h5d.create(made.id, variable.encode("ascii"), kept, space, making)
        attributes = h5py.Dataset(dataset).attrs
        attributes["MATLAB_class"] = np.bytes_(kind.encode("ascii"))
        if kind == "logical":
            attributes["MATLAB_int_decode"] = np.int32(1)
        offset = dataset.get_offset()
    file.seek(0)
    file.write(file_header("7.3", ", HDF5 schema 1.00 ."))
    return file.blob(name, offset, voxels)
