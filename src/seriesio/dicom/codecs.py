"""Compressed frames → stored values.

RLE Lossless needs nothing; the JPEG families need imagecodecs (extra ``codecs``), which lets go
of the GIL while it decodes. Every frame's own header is held against the layout before a codec
sees it, so that a codec never allocates more than the layout says.
Sources: PS3.5 section 8.2 and annexes A.4, F, G; PS3.3 C.7.6.3.1.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CodecError, MissingDependencyError, TooLargeError
from .codestream import Codestream, jpeg_2000_stream, jpeg_ls_stream, jpeg_stream
from .pixels import PixelLayout, correct_unused_bits
from .rle import decode_rle, rle_segments

__all__ = ["SYNTAX_NAMES", "decode", "decoded_photometric"]

SYNTAX_NAMES = {
    "1.2.840.10008.1.2.5": "RLE Lossless",
    "1.2.840.10008.1.2.4.50": "JPEG Baseline",
    "1.2.840.10008.1.2.4.51": "JPEG Extended",
    "1.2.840.10008.1.2.4.57": "JPEG Lossless",
    "1.2.840.10008.1.2.4.70": "JPEG Lossless SV1",
    "1.2.840.10008.1.2.4.80": "JPEG-LS Lossless",
    "1.2.840.10008.1.2.4.81": "JPEG-LS Near-Lossless",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 Lossless",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.4.201": "HTJ2K Lossless",
    "1.2.840.10008.1.2.4.202": "HTJ2K Lossless RPCL",
    "1.2.840.10008.1.2.4.203": "HTJ2K",
}
"""The compressed transfer syntaxes that :func:`decode` knows."""

_RLE = "1.2.840.10008.1.2.5"
_JPEG = "1.2.840.10008.1.2.4."
_LOSSY_JPEG = frozenset({_JPEG + "50", _JPEG + "51"})
_LOSSLESS_JPEG = frozenset({_JPEG + "57", _JPEG + "70"})
_JPEG_LS = frozenset({_JPEG + "80", _JPEG + "81"})
_JPEG_2000 = frozenset(_JPEG + last for last in ("90", "91", "201", "202", "203"))
_LOSSLESS = _LOSSLESS_JPEG | {_JPEG + "80", _JPEG + "90", _JPEG + "201", _JPEG + "202"}


def decoded_photometric(layout: PixelLayout) -> str:
    """The photometric interpretation of what :func:`decode` (or a native read) returns.

    Lossy JPEG in colour is handed over as RGB: its codec converts as part of decoding. YBR_ICT
    and YBR_RCT exist only inside JPEG 2000 codestreams, whose decoding undoes them. All else
    (RLE, JPEG-LS, lossless JPEG, native) keeps its photometric interpretation.
    """
    if layout.samples == 3 and layout.syntax_uid in _LOSSY_JPEG:
        return "RGB"
    if layout.photometric in ("YBR_ICT", "YBR_RCT"):
        return "RGB"
    return layout.photometric


def decode(
    parts: Sequence[memoryview], layout: PixelLayout, out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Decode one frame, given as its fragments, to stored values of ``layout.shape``.

    ``out``, if given, is a contiguous array of ``layout.stored_dtype`` and ``layout.shape`` that
    the frame is decoded straight into; it is returned. Its content is undefined after an error.
    The photometric interpretation of the result is :func:`decoded_photometric`'s.

    Raises:
        CodecError: damaged data, or a frame of another size, depth or number of samples than
            the layout says, or a transfer syntax that is not known.
        MissingDependencyError: the codec is not installed.
        TooLargeError: there is no memory for the frame.
        ValueError: ``out`` is not such an array.
    """
    data = parts[0] if len(parts) == 1 else memoryview(b"".join(parts))
    decoder = _decoder(layout)
    cells = _new_cells(layout) if out is None else _checked(out, layout)
    decoder(data.cast("B"), layout, cells)
    return cells


def _decoder(layout: PixelLayout) -> Callable[[memoryview, PixelLayout, NDArray[Any]], None]:
    uid = layout.syntax_uid
    if uid not in SYNTAX_NAMES:
        raise CodecError(f"compressed pixel data of transfer syntax {uid} are not supported")
    if layout.kind != "integer" or layout.bits_allocated == 1:
        raise CodecError(f"{SYNTAX_NAMES[uid]} cannot hold 1-bit or float pixels")
    return _decode_rle if uid == _RLE else _decode_stream


def _new_cells(layout: PixelLayout) -> NDArray[Any]:
    try:
        return np.empty(layout.shape, layout.stored_dtype)
    except MemoryError as error:
        raise TooLargeError(f"no memory for a frame of {layout.frame_bytes} bytes") from error


def _checked(out: NDArray[Any], layout: PixelLayout) -> NDArray[Any]:
    if out.shape != layout.shape or out.dtype != layout.stored_dtype or not out.flags.c_contiguous:
        raise ValueError(f"out is no contiguous {layout.stored_dtype} array of {layout.shape}")
    return out


def _imagecodecs() -> Any:
    # Loaded late, since it is optional and large; its own types refuse memoryviews.
    return import_module("imagecodecs")


def _decode_rle(data: memoryview, layout: PixelLayout, cells: NDArray[Any]) -> None:
    if not _decode_rle_fast(data, layout, cells):
        decode_rle(data, cells, layout.samples)
    correct_unused_bits(cells, layout)


def _decode_rle_fast(data: memoryview, layout: PixelLayout, cells: NDArray[Any]) -> bool:
    """Decode with imagecodecs; False if it is absent or balks (at padding, for example)."""
    try:
        codecs = _imagecodecs()
    except ImportError:
        return False
    rle_segments(data, layout.samples * cells.dtype.itemsize)
    # It decodes plane after plane: several samples need to be interleaved afterwards.
    planes = cells if layout.samples == 1 else np.empty(_planar(layout), cells.dtype)
    dtype = np.dtype(f"=u{cells.dtype.itemsize}")
    try:
        done = codecs.dicomrle_decode(data, dtype, out=planes.reshape(-1).view(np.uint8).data)
    except (RuntimeError, ValueError):
        return False
    if len(done) == cells.nbytes and planes is not cells:
        cells[...] = np.moveaxis(planes, 0, -1)
    return len(done) == cells.nbytes


def _planar(layout: PixelLayout) -> tuple[int, int, int]:
    return (layout.samples, layout.rows, layout.columns)


def _decode_stream(data: memoryview, layout: PixelLayout, cells: NDArray[Any]) -> None:
    stream = _header(data, layout)
    _check(stream, layout)
    codec = _codec(layout)
    kind = "i" if stream.signed else "u"
    dtype = np.dtype(f"={kind}{_container(stream.precision)}")
    # One sample in a container of the right size is decoded straight into its place.
    straight = layout.samples == 1 and dtype.itemsize == cells.dtype.itemsize
    target = cells.view(dtype) if straight else None
    decoded = _run(codec, stream, layout, target)
    if target is None:
        if decoded.shape != layout.shape or decoded.dtype != dtype:
            raise CodecError(
                f"{_name(layout)} decoded to {decoded.shape} of {decoded.dtype}, "
                f"not {layout.shape} of {dtype}"
            )
        _widen(decoded, cells)
    _settle(cells, stream, layout)


def _header(data: memoryview, layout: PixelLayout) -> Codestream:
    if layout.syntax_uid in _JPEG_2000:
        return jpeg_2000_stream(data)
    return jpeg_ls_stream(data) if layout.syntax_uid in _JPEG_LS else jpeg_stream(data)


def _check(stream: Codestream, layout: PixelLayout) -> None:
    found = (stream.rows, stream.columns, stream.samples)
    expected = (layout.rows, layout.columns, layout.samples)
    if found != expected:
        raise CodecError(
            f"the compressed frame has (rows, columns, samples) {found}, the header {expected}"
        )
    if not 1 <= stream.precision <= layout.bits_allocated:
        raise CodecError(
            f"the compressed frame has {stream.precision} bits, "
            f"Bits Allocated is {layout.bits_allocated}"
        )


def _container(precision: int) -> int:
    return 1 if precision <= 8 else 2 if precision <= 16 else 4


def _name(layout: PixelLayout) -> str:
    return f"{SYNTAX_NAMES[layout.syntax_uid]} ({layout.syntax_uid})"


_Codec = Callable[[Codestream, PixelLayout, NDArray[Any] | None], Any]


def _codec(layout: PixelLayout) -> _Codec:
    try:
        _imagecodecs()
    except ImportError as error:
        raise MissingDependencyError(
            f'{_name(layout)} needs imagecodecs: pip install "seriesio[codecs]"'
        ) from error
    if layout.syntax_uid in _JPEG_2000:
        return _jpeg_2000
    return _jpeg_ls if layout.syntax_uid in _JPEG_LS else _jpeg


def _run(
    codec: _Codec, stream: Codestream, layout: PixelLayout, out: NDArray[Any] | None
) -> NDArray[Any]:
    try:
        return np.asarray(codec(stream, layout, out))
    except ImportError as error:  # an imagecodecs that was built without this codec
        raise MissingDependencyError(
            f'{_name(layout)}: this imagecodecs lacks it: pip install "seriesio[codecs]"'
        ) from error
    except MemoryError as error:
        raise TooLargeError(f"{_name(layout)}: no memory to decode a frame") from error
    except Exception as error:  # whatever a foreign codec raises, our caller sees one kind
        raise CodecError(f"{_name(layout)} does not decode: {error}") from error


def _jpeg(stream: Codestream, layout: PixelLayout, out: NDArray[Any] | None) -> Any:
    if stream.samples == 1:
        return _imagecodecs().jpeg8_decode(stream.data, out=out)
    if layout.syntax_uid in _LOSSLESS_JPEG:
        # Naming the same space twice keeps the codec from converting.
        return _imagecodecs().jpeg8_decode(
            stream.data, colorspace="RGB", outcolorspace="RGB", out=out
        )
    source = stream.color or ("YCBCR" if layout.photometric.startswith("YBR") else "RGB")
    return _imagecodecs().jpeg8_decode(stream.data, colorspace=source, outcolorspace="RGB", out=out)


def _jpeg_ls(stream: Codestream, layout: PixelLayout, out: NDArray[Any] | None) -> Any:
    # A scan that runs into the end of the buffer, not into a marker, costs CharLS seconds.
    return _imagecodecs().jpegls_decode(bytes(stream.data) + b"\xff\xd9", out=out)


def _jpeg_2000(stream: Codestream, layout: PixelLayout, out: NDArray[Any] | None) -> Any:
    # OpenJPEG for HTJ2K, too: imagecodecs' faster OpenJPH path swallows errors inside of the
    # codestream. One thread each: frames are decoded side by side already.
    return _imagecodecs().jpeg2k_decode(stream.data, numthreads=1, out=out)


def _widen(decoded: NDArray[Any], cells: NDArray[Any]) -> None:
    """Copy values into cells as large or larger; signs are settled afterwards."""
    signed = decoded.dtype.kind == "i"
    container = np.dtype(f"={'i' if signed else 'u'}{cells.dtype.itemsize}")
    cells.view(container)[...] = decoded


def _settle(cells: NDArray[Any], stream: Codestream, layout: PixelLayout) -> None:
    """Give decoded cells the sign that Pixel Representation says (PS3.5 8.2.3, 8.2.4).

    JPEG and JPEG-LS know no sign, JPEG 2000 may disagree about it. Lossless streams that cover
    whole pixel cells may carry unused bits as well, as native frames do; lossy ones may
    overshoot Bits Stored, which must not wrap around.
    """
    if layout.syntax_uid in _LOSSLESS and stream.precision > layout.high_bit:
        correct_unused_bits(cells, layout)
    elif stream.signed != layout.signed:
        unused = layout.bits_allocated - stream.precision
        np.left_shift(cells, unused, out=cells)
        np.right_shift(cells, unused, out=cells)
