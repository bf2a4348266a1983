"""NIfTI-1 and NIfTI-2 files: .nii, .nii.gz and pairs of .hdr and .img, with .bval and .bvec.

Sources: nifti1.h, nifti2.h (NIfTI Data Format Working Group); .bval and .bvec as FSL has defined
and dcm2niix writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ...blob import PiecesBlob
from ...errors import DataError, EncodeError
from ..guest.streams import GZIP, deflated, inflated_head, is_gzip, open_stream
from ..image import Image
from .affine import place_fields, volume_place
from .axes import Dimensions, place_axes, read_axes
from .diffusion import gradient_files, read_gradients
from .header import HEADER_BYTES, LARGEST_DIM1, build_header, is_nifti, parse_header
from .voxels import read_voxels
from .writing import file_blob, file_dtype, file_pieces, voxel_fields

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...blob import Blob

__all__ = ["NiftiFormat"]

_EXTENSION: Final = re.compile(r"\.(nii|hdr|img)(\.gz)?$", re.IGNORECASE)


class NiftiFormat:
    """NIfTI as a :class:`~seriesio.protocols.Guest`."""

    extensions = (".nii", ".nii.gz")
    read_options = frozenset({"dtype", "mmap", "rescale"})
    write_options = frozenset({"compress", "level"})

    def claims(self, name: str, head: bytes) -> bool:
        """Does the file begin with a NIfTI header, gzipped or not? The name has no say."""
        return is_nifti(_plain_head(head))

    def companions(self, name: str, head: bytes) -> Sequence[str]:
        """The voxels of a pair, b values and gradient directions."""
        stem = _stem(name)
        beside = [f"{stem}.bval", f"{stem}.bvec"]
        return [*_data_names(name), *beside] if _is_pair(_plain_head(head)) else beside

    def read(
        self,
        name: str,
        files: Mapping[str, Blob],
        *,
        memory: int,
        options: Mapping[str, Any],
    ) -> Image:
        """Read a file, or a pair, with its b values and directions if they are there.

        Values are stored values times scl_slope plus scl_inter: in the smallest integer type
        that holds them exactly where both are whole, else float32 (float64 where its range is
        needed). The affine is that of the sform, else of the qform; without both there is none,
        but a spacing.

        The fourth dimension is the axis ``time`` in s (``frequency`` or ``shift`` of a
        spectrum), with a ``.bval`` file ``b`` in s/mm²; with a ``.bvec`` file too ``dti``,
        (n, 4): b and the direction x, y, z in patient coordinates (LPS). Further ones are
        ``dim5`` to ``dim7``, or ``component`` of vectors.

        Options: ``mmap=True`` maps an uncompressed file copy-on-write: no voxel is copied, and
        a file cut short later kills the process; ``rescale=False`` gives stored values;
        ``dtype`` is the type of the array.

        Raises:
            DataError: damaged, cut, or not what its header says; a companion missing.
            TooLargeError: more than ``memory``.
            TransportError: a file cannot be read.
            TypeError: an option that there is not.
        """
        _check_options(options, self.read_options)
        header = parse_header(_header_bytes(files[name]), name)
        place = volume_place(header, name)
        found = read_gradients(_stem(name), files, header, place.affine)
        voxels = read_voxels(
            files[name] if header.single else _data_blob(name, files),
            header,
            memory=memory,
            mmap=bool(options.get("mmap", False)),
            rescale=bool(options.get("rescale", True)),
            dtype=options.get("dtype"),
        )
        axes, told = read_axes(header)  # as long as the voxels have shown to be
        return Image(
            array=voxels.array,
            axes=axes if found.axes is None else found.axes,
            affine=place.affine,
            color=voxels.color,
            bvectors=found.bvectors,
            attributes=found.attributes,
            notes=(*place.notes, *told, *found.notes, *voxels.notes),
            spacing=place.spacing,
        )

    def write(self, image: Image, name: str, *, options: Mapping[str, Any]) -> Iterable[Blob]:
        """``name.nii``, or with ``compress=True`` ``name.nii.gz``; with ``.bval`` and ``.bvec``.

        NIfTI-1, or NIfTI-2 where an axis has more than 32767 voxels. Voxels keep their type,
        but bool becomes uint8 and float16 float32. The sform is the affine; so is the qform,
        unless the axes are not at right angles. Time is the fourth dimension, with the mean
        step in s and from zero on; of other axes NIfTI holds the size, but no values.
        ``level`` is that of deflate, 0 to 9. Packed bytes are in memory before they are written.

        Raises:
            EncodeError: a type, axes or an affine that NIfTI cannot hold.
            TypeError: an option that there is not.
            ValueError: a ``level`` that there is not.
        """
        _check_options(options, self.write_options | {"extension"})
        extension, packed = _extension(options)
        level = options.get("level")
        if level is not None and level not in range(10):
            raise ValueError(f"level= is 0 to 9, not {level!r}")
        dimensions = place_axes(image)
        array = _in_file_order(image, dimensions)
        target, code = file_dtype(array.dtype, image.color)
        fields = voxel_fields(code, target, image.color)
        head = _header(image, dimensions, fields)
        beside = gradient_files(name, dimensions.bvals, dimensions.bvectors, image.affine)
        if packed:
            pieces = deflated(file_pieces(head, array, target), GZIP, level)
            main: Blob = PiecesBlob(name + extension, tuple(pieces))
        else:
            main = file_blob(name + extension, head, array, target)
        return [main, *beside]


def _check_options(options: Mapping[str, Any], known: frozenset[str]) -> None:
    unknown = sorted(options.keys() - known)
    if unknown:
        raise TypeError(
            f"nifti takes no option {', '.join(unknown)} (options are {', '.join(sorted(known))})"
        )


# --- names and headers ------------------------------------------------------------------------


def _stem(name: str) -> str:
    """A name without its extension."""
    return _EXTENSION.sub("", name)


def _data_names(name: str) -> list[str]:
    """What the voxels of a pair may be in; an extension in capitals has its like beside it."""
    found = [f"{_stem(name)}.{extension}" for extension in ("img", "img.gz")]
    if name.endswith((".HDR", ".HDR.GZ")):
        return [*(f"{_stem(name)}.{extension}" for extension in ("IMG", "IMG.GZ")), *found]
    return found


def _plain_head(head: bytes) -> bytes:
    """A file's first bytes, unpacked if need be."""
    return inflated_head(head, HEADER_BYTES) if is_gzip(head) else head[:HEADER_BYTES]


def _is_pair(head: bytes) -> bool:
    return is_nifti(head) and (head[344:348] == b"ni1\0" or head[4:7] == b"ni2")


def _header_bytes(blob: Blob) -> bytes:
    """As much of a file as a header may take; less if there is less."""
    stream = open_stream(blob)
    try:
        data = bytearray(HEADER_BYTES)
        count = stream.readinto(memoryview(data))
    finally:
        stream.close()
    return bytes(data[:count])


def _data_blob(name: str, files: Mapping[str, Blob]) -> Blob:
    """The other file of a pair.

    Raises:
        DataError: it is not there.
    """
    names = _data_names(name)
    for other in names:
        if other in files:
            return files[other]
    raise DataError(f"{name}: its voxels are in {names[0]}, which is not there")


# --- writing ----------------------------------------------------------------------------------


def _in_file_order(image: Image, dimensions: Dimensions) -> NDArray[Any]:
    """The array with its axes from the file's last dimension to its first: a view.

    Raises:
        EncodeError: an array without voxels, or of another shape than its axes.
    """
    array, leading = image.array, len(image.axes)
    spatial = tuple(range(leading, array.ndim))
    lengths = tuple(map(len, image.axes))
    if len(spatial) != 3 + image.color or array.shape[:leading] != lengths:
        raise EncodeError(f"an array of shape {array.shape} does not fit axes of {lengths}")
    if not array.size or (image.color and array.shape[-1] != 3):
        raise EncodeError(f"NIfTI holds no array of shape {array.shape}")
    return array.transpose(*dimensions.order, *spatial)


def _extension(options: Mapping[str, Any]) -> tuple[str, bool]:
    """The extension of a file to be written, and whether it is packed.

    Raises:
        EncodeError: a target's extension and ``compress=`` contradict each other.
    """
    extension = options.get("extension")
    if extension is None:
        packed = bool(options.get("compress", False))
        return (".nii.gz" if packed else ".nii"), packed
    packed = extension.lower().endswith(".gz")
    if packed != options.get("compress", packed):
        raise EncodeError(f"compress={options['compress']!r} is not what {extension} says")
    return extension, packed


def _header(image: Image, dimensions: Dimensions, voxel: Mapping[str, Any]) -> bytes:
    """The bytes before the voxels."""
    first = len(image.axes)
    sizes = [*reversed(image.array.shape[first : first + 3]), *dimensions.further]
    fields = {**voxel, **dimensions.fields, **place_fields(image.affine, image.spacing)}
    fields["pixdim"][4] = dimensions.step
    fields["xyzt_units"] = fields.get("xyzt_units", 0) | dimensions.unit
    fields["dim"] = [len(sizes), *sizes, *[1] * (7 - len(sizes))]
    return build_header(1 if max(sizes) <= LARGEST_DIM1 else 2, fields)
