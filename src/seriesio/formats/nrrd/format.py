"""NRRD: .nrrd, and .nhdr with its data file.

Numpy reads and writes it. pynrrd would open any path that a header names, and unpacks without a
limit; here the data file lies in the same directory, and no more is unpacked than is announced.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from ...blob import MemoryBlob
from ...errors import DataError, EncodeError
from ..guest.blobs import Voxels, headed_blob, packed_voxels
from ..guest.bytes import (
    bytes_of,
    hex_into,
    inflate_into,
    native,
    new_volume,
    numbers_into,
    rest_into,
    skip_lines,
)
from ..guest.data import head_of, listed, named_axes, options_of, sibling, storable, text_of
from ..guest.data_file import data_file, wants_data_file
from ..guest.streams import GZIP
from ..image import Image
from .axes import attributes_of, layout_of
from .header import NrrdHeader, header_of, is_nrrd, split_lines
from .writing import header_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...blob import Blob

__all__ = ["NrrdFormat"]

_DATA: Final = re.compile(rb"^data ?file:[ \t]*([^\r\n]*)\r?\n", re.MULTILINE | re.IGNORECASE)
_SKIP_LIMIT: Final = 1 << 40


class NrrdFormat:
    """NRRD files (:class:`~seriesio.protocols.Guest`).

    Read: NRRD0001 to NRRD0005, all numeric types and encodings (raw, gzip, bzip2, hex, text), the
    spaces RAS, LAS and LPS (with time too) turned into LPS. Axes that lie in no direction of
    space become further axes, under the names of 3D Slicer's MultiVolume, of their labels, or of
    ``axes="te"`` (outermost first); "none" where nothing tells. Three unsigned values that stand
    together are colours. 3D Slicer's diffusion-weighted volumes get an axis "b" and gradient
    directions in LPS.

    Written: one ``.nrrd``, or ``.nhdr`` and ``.raw`` with ``detached=True`` (or a target that
    ends in ``.nhdr``); ``compress=True`` packs the voxels with gzip. What 3D Slicer knows of
    diffusion and of one further axis is told its way.
    """

    extensions: ClassVar[tuple[str, ...]] = (".nrrd", ".nhdr")
    read_options: ClassVar[frozenset[str]] = frozenset({"axes"})
    write_options: ClassVar[frozenset[str]] = frozenset({"compress", "detached"})

    def claims(self, name: str, head: bytes) -> bool:
        """The first line is NRRD0001 to NRRD0005."""
        return is_nrrd(head)

    def companions(self, name: str, head: bytes) -> Sequence[str]:
        """The data file; guessed by the name where the header is longer than ``head``."""
        found = _DATA.search(head.split(b"\n\n")[0] + b"\n")
        if found:
            file = sibling(name, text_of(found[1].strip()))
            return [file] if file else []
        stem = name.rpartition(".")[0]
        return [f"{stem}.raw", f"{stem}.raw.gz"] if name.lower().endswith(".nhdr") else []

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
        lines = split_lines(head_of(files[name]), name)
        header = header_of(lines, name)
        layout = layout_of(header, name)
        array = new_volume(name, header.sizes[::-1], header.dtype, memory)
        blob, start = _data(header, name, files, lines.end)
        notes = _fill(array, header, blob, start)
        array = native(array).transpose(layout.order)
        if layout.planes:
            array = np.expand_dims(array, array.ndim - 2 - layout.colour)
        return Image(
            array,
            named_axes(layout.axes, chosen["axes"], name),
            layout.affine,
            layout.colour,
            layout.bvectors,
            attributes_of(header.pairs),
            (*layout.notes, *notes),
            layout.spacing,
        )

    def write(self, image: Image, name: str, *, options: Mapping[str, Any]) -> Iterable[Blob]:
        """The file of a volume, or header and data file.

        Raises:
            EncodeError: voxels of a type that the format has not, or no place in space.
        """
        chosen = options_of(options, compress=False, detached=None, extension="")
        detached = wants_data_file(chosen, ".nhdr")
        dtype = storable(image.array.dtype, "an NRRD file")
        voxels = Voxels(image.array, image.array.ndim - 2 - image.color, dtype)
        packed = packed_voxels(voxels, GZIP) if chosen["compress"] else None
        data = f"{name}.raw.gz" if chosen["compress"] else f"{name}.raw"
        file = data.rpartition("/")[2] if detached else ""
        if file != file.strip() or listed(file):
            raise EncodeError(
                f"the name {file!r} of a data file would be taken for another, or for a list or "
                "pattern of files: choose another, or write a .nrrd"
            )
        head = header_bytes(image, dtype, packed is not None, file)
        if detached:
            yield MemoryBlob(f"{name}.nhdr", head)
        own, head = (data, b"") if detached else (f"{name}.nrrd", head)
        yield headed_blob(own, head, voxels, packed)


def _data(header: NrrdHeader, name: str, files: Mapping[str, Blob], end: int) -> tuple[Blob, int]:
    """The blob that has the voxels, and where their encoding begins."""
    if min(header.line_skip, header.byte_skip + 1) < 0 or header.byte_skip > _SKIP_LIMIT:
        raise DataError(f"{name}: a line skip or byte skip that is no number of them")
    if header.data_file:
        skips = bool(header.line_skip or header.byte_skip)
        blob, start = data_file(header.data_file, name, files, skips=skips), 0
    else:
        blob, start = files[name], end
    return blob, skip_lines(blob, start, header.line_skip)


def _fill(array: NDArray[Any], header: NrrdHeader, blob: Blob, start: int) -> tuple[str, ...]:
    """Read the voxels; what is to be told of them."""
    skip = header.byte_skip
    if header.encoding in ("gzip", "bzip2"):
        if skip < 0:
            raise DataError(f"{blob.name}: a byte skip of -1 is for raw voxels alone")
        inflate_into(bytes_of(array), blob, start, header.encoding, skip)
        return ()
    if skip < 0:
        size = math.prod(header.sizes) * header.dtype.itemsize
        start = max(blob.size - size, 0) if header.encoding == "raw" else start
    else:
        start += skip
    if header.encoding == "hex":
        hex_into(bytes_of(array), blob, start)
    elif header.encoding == "text":
        numbers_into(array, blob, start)
    else:
        return rest_into(array, blob, start)
    return ()
