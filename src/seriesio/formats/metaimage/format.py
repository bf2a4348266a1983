"""MetaImage: .mha, and .mhd with its .raw or .zraw.

Numpy reads and writes it: a header of text and voxels in plain order. Libraries that do the same
(ITK) read from paths alone, and follow a header to any file that it names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from ...blob import MemoryBlob
from ...dicom.sorting import Axis
from ...errors import DataError, EncodeError
from ..guest.blobs import Voxels, headed_blob, packed_voxels
from ..guest.bytes import bytes_of, inflate_into, native, new_volume, numbers_into, rest_into
from ..guest.data import head_of, named_axes, options_of, sibling, storable, text_of
from ..guest.data_file import data_file, wants_data_file
from ..guest.streams import ZLIB
from ..image import Image
from .header import MetaHeader, header_of, split_lines
from .writing import header_lines

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...blob import Blob

__all__ = ["MetaImageFormat"]

_DIMENSIONS: Final = re.compile(rb"^[ \t]*NDims[ \t]*=[ \t]*\d", re.MULTILINE)
_OBJECT: Final = re.compile(rb"^[ \t]*ObjectType[ \t]*=[ \t]*(\w+)", re.MULTILINE)
_DATA: Final = re.compile(rb"^[ \t]*ElementDataFile[ \t]*=[ \t]*([^\r\n]*)\r?\n", re.MULTILINE)


class MetaImageFormat:
    """MetaImage files (:class:`~seriesio.protocols.Guest`).

    Read: all element types, both byte orders, zlib, text; two to ten axes, of which the fourth is
    time unless the file or ``axes="b"`` (names of the further axes, outermost first) says
    otherwise. Three unsigned channels of 8 or 16 bits are colours, any others an axis "channel".
    The place is what ITK makes of it, in LPS. Data files lie in the same directory, one for each
    header: lists and patterns of files are refused.

    Written: one ``.mha``, or ``.mhd`` and ``.raw`` with ``detached=True`` (or a target that ends
    in ``.mhd``); ``compress=True`` packs the voxels with zlib. Axes other than evenly spaced time
    are told in fields of our own (``Axis3Name``, ``Axis3Values``), which others ignore.
    """

    extensions: ClassVar[tuple[str, ...]] = (".mha", ".mhd")
    read_options: ClassVar[frozenset[str]] = frozenset({"axes"})
    write_options: ClassVar[frozenset[str]] = frozenset({"compress", "detached"})

    def claims(self, name: str, head: bytes) -> bool:
        """Lines of ``key = value`` with NDims; without "ObjectType = Image" by the name too."""
        text = head.split(b"ElementDataFile")[0]
        if b"\0" in text or not _DIMENSIONS.search(text):
            return False
        kind = _OBJECT.search(text)
        return kind[1] == b"Image" if kind else name.lower().endswith((".mha", ".mhd"))

    def companions(self, name: str, head: bytes) -> Sequence[str]:
        """The data file; guessed by the name where the header is longer than ``head``."""
        found = _DATA.search(head)
        if found:
            file = sibling(name, text_of(found[1].strip()))
            return [file] if file and found[1].strip().upper() != b"LOCAL" else []
        stem = name.rpartition(".")[0]
        return [f"{stem}.raw", f"{stem}.zraw"] if name.lower().endswith(".mhd") else []

    def read(
        self, name: str, files: Mapping[str, Blob], *, memory: int, options: Mapping[str, Any]
    ) -> Image:
        """Read the volume of a file.

        Raises:
            DataError: damaged, cut, its data file missing or elsewhere.
            TooLargeError: more than ``memory``.
            TransportError: it cannot be read.
        """
        chosen = options_of(options, axes=None)
        fields, end = split_lines(head_of(files[name]), name)
        header = header_of(fields, name)
        blob, start = _data(header, name, files, end)
        array = new_volume(name, header.shape, header.dtype, memory)
        notes = _fill(array, header, blob, start)
        return _image(native(array), header, chosen["axes"], name, notes)

    def write(self, image: Image, name: str, *, options: Mapping[str, Any]) -> Iterable[Blob]:
        """The file of a volume, or header and data file.

        Raises:
            EncodeError: voxels of a type that the format has not, or no place in space.
        """
        chosen = options_of(options, compress=False, detached=None, extension="")
        dtype = storable(image.array.dtype, "a MetaImage")
        voxels = Voxels(image.array, image.array.ndim - 2 - image.color, dtype)
        packed = packed_voxels(voxels, ZLIB) if chosen["compress"] else None
        size = None if packed is None else sum(map(len, packed))
        if not wants_data_file(chosen, ".mhd"):
            head = header_lines(image, dtype, "LOCAL", size)
            yield headed_blob(f"{name}.mha", head, voxels, packed)
            return
        data = f"{name}.raw" if packed is None else f"{name}.zraw"
        file = data.rpartition("/")[2]
        if file != file.strip() or "%" in file or file.upper().startswith("LIST"):
            raise EncodeError(
                f"the name {file!r} of a data file would be taken for a list or pattern of files: "
                "choose another, or write a .mha"
            )
        yield MemoryBlob(f"{name}.mhd", header_lines(image, dtype, file, size))
        yield headed_blob(data, b"", voxels, packed)


def _data(header: MetaHeader, name: str, files: Mapping[str, Blob], end: int) -> tuple[Blob, int]:
    """The blob that has the elements, and where they begin."""
    if header.data_file.upper() == "LOCAL":
        blob, start = files[name], end
    else:
        blob, start = data_file(header.data_file, name, files, skips=header.skipped != 0), 0
    return blob, start + _skipped(header, blob, start, name)


def _skipped(header: MetaHeader, blob: Blob, start: int, name: str) -> int:
    if header.skipped >= 0:
        return header.skipped
    if header.skipped != -1 or header.packed or header.spelt:
        raise DataError(f"{name}: HeaderSize is {header.skipped}")
    size = math.prod(header.shape) * header.dtype.itemsize
    return max(blob.size - start - size, 0)


def _fill(array: NDArray[Any], header: MetaHeader, blob: Blob, start: int) -> tuple[str, ...]:
    """Read the elements; what is to be told of them."""
    if header.spelt:
        if header.packed:
            raise DataError(f"{blob.name}: elements that are text cannot be compressed")
        numbers_into(array, blob, start)
    elif header.packed:
        inflate_into(bytes_of(array), blob, start, "zlib")
    else:
        return rest_into(array, blob, start)
    return ()


def _image(
    array: NDArray[Any], header: MetaHeader, names: Any, name: str, notes: tuple[str, ...]
) -> Image:
    axes = header.axes
    if header.channels > 1 and not header.colour:
        array = np.moveaxis(array, -1, 0)  # a view
        axes = (Axis("channel", "", np.arange(header.channels, dtype=np.float64)), *axes)
    return Image(
        array,
        named_axes(axes, names, name),
        header.affine,
        header.colour,
        None,
        header.attributes,
        (*header.notes, *notes),
        header.spacing,
    )
