"""Stored values out of native (uncompressed) pixel data.

Sources: PS3.5 section 8.1.1 (pixel cells), 8.2 (native encoding) and annex D; PS3.3 C.7.6.3.
Everything here is pure and thread-safe.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DicomError, TruncatedError
from .pixel_layout import LITTLE_HOST, NATIVE_SYNTAXES, PixelLayout, pixel_layout

__all__ = [
    "NATIVE_SYNTAXES",
    "PixelLayout",
    "correct_unused_bits",
    "finish_in_place",
    "native_frame",
    "pixel_layout",
]


def native_frame(
    buffer: bytes | bytearray | memoryview,
    layout: PixelLayout,
    frame: int,
    little: bool,
    *,
    words: bool = False,
) -> NDArray[Any]:
    """The stored values of one native frame, as a new array of ``layout.shape``.

    ``buffer`` is the whole pixel value. ``words`` says that cells of 1 or 8 bits stand in big
    endian 16-bit words (VR OW in explicit big endian, PS3.5 annex D). YBR_FULL_422 comes back
    with its Cb and Cr repeated for both pixels; bits outside of Bits Stored are dropped.

    Raises:
        DicomError: there is no such frame.
        TruncatedError: the value is too short for it.
    """
    if not 0 <= frame < layout.frames:
        raise DicomError(f"frame {frame} does not exist: Number of Frames is {layout.frames}")
    raw = _frame_bytes(memoryview(buffer).cast("B"), layout, frame, words and not little)
    if layout.bits_allocated == 1:
        return _unpack(raw, layout, frame)
    cells = raw.view(layout.dtype_for(little)).astype(layout.stored_dtype)
    correct_unused_bits(cells, layout)
    return _arrange(cells, layout)


def _frame_bytes(
    value: memoryview, layout: PixelLayout, frame: int, swapped: bool
) -> NDArray[np.uint8]:
    start, stop = layout.frame_span(frame)
    if stop > value.nbytes:
        raise TruncatedError(f"pixel data end {stop - value.nbytes} bytes short in frame {frame}")
    if swapped and layout.bits_allocated <= 8:
        return _unswapped(value, start, stop)
    return np.frombuffer(value[start:stop], np.uint8)


def _unswapped(value: memoryview, start: int, stop: int) -> NDArray[np.uint8]:
    # A word may lie across two frames: swap whole words, then cut.
    first = start & ~1
    if stop + (stop & 1) > value.nbytes:
        raise TruncatedError("pixel data end 1 byte short of a 16-bit word")
    words = np.frombuffer(value[first : stop + (stop & 1)], np.uint16).byteswap()
    return words.view(np.uint8)[start - first : stop - first]


def _unpack(raw: NDArray[np.uint8], layout: PixelLayout, frame: int) -> NDArray[np.uint8]:
    skip = frame * layout.frame_bits % 8
    bits = np.unpackbits(raw, count=skip + layout.frame_bits, bitorder="little")
    return bits[skip:].reshape(layout.shape)


def _arrange(cells: NDArray[Any], layout: PixelLayout) -> NDArray[Any]:
    if layout.subsampled:
        return _upsample(cells, layout)
    if layout.planar:
        planes = cells.reshape(layout.samples, layout.rows, layout.columns)
        return np.ascontiguousarray(np.moveaxis(planes, 0, -1))
    return cells.reshape(layout.shape)


def _upsample(cells: NDArray[Any], layout: PixelLayout) -> NDArray[Any]:
    # Stored order is Y1 Y2 Cb Cr (PS3.3 C.7.6.3.1.2).
    pairs = cells.reshape(layout.rows, layout.columns // 2, 4)
    result = np.empty(layout.shape, cells.dtype)
    result[..., 0] = pairs[..., :2].reshape(layout.rows, layout.columns)
    result[:, 0::2, 1:] = result[:, 1::2, 1:] = pairs[..., 2:]
    return result


def finish_in_place(slot: NDArray[Any], layout: PixelLayout, little: bool) -> bool:
    """Turn the raw bytes of a native frame into stored values where they lie.

    ``slot`` is contiguous, of ``layout.stored_dtype``, and holds the bytes of one or more whole
    frames as they stand in the file. Only for layouts that are :attr:`PixelLayout.direct`.

    Returns:
        True if a value was altered other than by byte swapping, so that the bytes in the file
        cannot be had back from the slot.
    """
    if little != LITTLE_HOST and slot.dtype.itemsize > 1:
        slot.byteswap(inplace=True)
    return correct_unused_bits(slot, layout)


def correct_unused_bits(cells: NDArray[Any], layout: PixelLayout) -> bool:
    """Drop the bits outside of Bits Stored and extend the sign, in place (PS3.5 8.1.1).

    ``cells`` hold whole pixel cells of ``layout.stored_dtype``. One or two quick passes find
    out whether there is anything to do.

    Returns:
        True if a value may have changed.
    """
    if unused_bits_clear(cells, layout):
        return False
    unused = layout.bits_allocated - layout.bits_stored
    # Signed cells are shifted arithmetically: the sign comes along.
    np.left_shift(cells, layout.bits_allocated - 1 - layout.high_bit, out=cells)
    np.right_shift(cells, unused, out=cells)
    return True


def unused_bits_clear(cells: NDArray[Any], layout: PixelLayout) -> bool:
    """True if cells of ``layout.stored_dtype`` are the stored values as they lie (PS3.5 8.1.1)."""
    unused = layout.bits_allocated - layout.bits_stored
    if unused == 0 or layout.bits_allocated == 1:
        return True
    return layout.high_bit == layout.bits_stored - 1 and _within(cells, layout)


def _within(cells: NDArray[Any], layout: PixelLayout) -> bool:
    if not layout.signed:
        return int(np.maximum.reduce(cells, axis=None)) >> layout.bits_stored == 0
    half = 1 << (layout.bits_stored - 1)
    return bool(
        np.maximum.reduce(cells, axis=None) < half and np.minimum.reduce(cells, axis=None) >= -half
    )
