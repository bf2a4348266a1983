"""Colour: YBR and palette → RGB.

Sources: PS3.3 C.7.6.3.1.2 (photometric interpretations), C.7.6.3.1.5 and C.7.6.3.1.6 (palette
descriptors and data), C.7.9.2 (segmented palettes).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DicomError

__all__ = ["apply_palette", "palette_table", "to_rgb"]

_MAX_ENTRIES = 65536
_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2
# Pixels handed to one round of floating-point work: keeps temporaries within the cache.
_BLOCK = 1 << 16

Descriptor = Sequence[int]
Bytes = bytes | bytearray | memoryview


def to_rgb(array: NDArray[Any], photometric: str, bits_stored: int | None = None) -> NDArray[Any]:
    """Convert colour values of shape (..., 3) to RGB of the same dtype.

    RGB, YBR_ICT and YBR_RCT come back as they are: the latter two exist only inside JPEG 2000
    codestreams, and decoding has undone them. YBR_FULL and YBR_FULL_422 (Cb and Cr already
    repeated for each pixel) are converted; ``bits_stored`` says where Cb and Cr have their
    middle, the whole dtype by default.

    Raises:
        DicomError: the values are not unsigned or have no 3 samples, or the photometric
            interpretation is no colour.
    """
    if array.dtype.kind != "u" or array.shape[-1:] != (3,):
        raise DicomError(f"{array.dtype} values of shape {array.shape} are no unsigned colours")
    if photometric in ("RGB", "YBR_ICT", "YBR_RCT"):
        return array
    if photometric not in ("YBR_FULL", "YBR_FULL_422"):
        raise DicomError(f"{photometric} cannot be converted to RGB")
    result = np.empty(array.shape, array.dtype)
    source, target = array.reshape(-1, 3), result.reshape(-1, 3)
    for start in range(0, len(source), _BLOCK):
        part = slice(start, start + _BLOCK)
        _ybr_to_rgb(source[part], target[part], bits_stored or 8 * array.dtype.itemsize)
    return result


def _ybr_to_rgb(source: NDArray[Any], target: NDArray[Any], bits: int) -> None:
    # The inverse of the equations in C.7.6.3.1.2, with exact coefficients (luma weights
    # 0.299, 0.587, 0.114), as ITU-T T.871 has them.
    exact = np.dtype(np.float32 if bits <= 16 else np.float64)
    values = source.astype(exact)
    luma: NDArray[Any] = values[:, 0]
    blue: NDArray[Any] = values[:, 1] - (1 << (bits - 1))
    red: NDArray[Any] = values[:, 2] - (1 << (bits - 1))
    top = (1 << bits) - 1
    _store(luma + red * 1.402, top, target[:, 0])
    green = luma - blue * (0.114 * 1.772 / 0.587) - red * (0.299 * 1.402 / 0.587)
    _store(green, top, target[:, 1])
    _store(luma + blue * 1.772, top, target[:, 2])


def _store(values: NDArray[Any], top: int, target: NDArray[Any]) -> None:
    np.clip(np.floor(values + 0.5, out=values), 0, top, out=values)
    target[...] = values


def apply_palette(indices: NDArray[Any], table: NDArray[Any], first: int) -> NDArray[Any]:
    """Look up palette indices of any shape: RGB of shape (..., 3) and the table's dtype.

    ``table`` is :func:`palette_table`'s; ``first`` is the descriptors' second value, the index
    of the first entry. Indices outside of the table get its first or last entry.
    """
    places = np.clip(indices.astype(np.int64) - first, 0, len(table) - 1)
    return np.take(table, places, axis=0)


def palette_table(
    descriptors: Sequence[Descriptor],
    data: Sequence[Bytes],
    *,
    segmented: bool = False,
    little: bool = True,
) -> NDArray[Any]:
    """The palette as an array of (entries, 3), uint8 or uint16.

    ``descriptors`` are the three values of each of the Red, Green and Blue Palette Color Lookup
    Table Descriptors (entries, where 0 means 65536; first index; bits per entry); ``data`` the
    raw bytes of the (with ``segmented``: Segmented) Palette Color Lookup Table Data. 8-bit
    entries may stand one in a byte or one in a 16-bit word.

    Raises:
        DicomError: descriptors that are absurd or differ, or data that do not fit them.
    """
    if len(descriptors) != 3 or len(data) != 3:
        raise DicomError("a palette needs a descriptor and data for red, green and blue")
    entries, bits = _described(descriptors)
    read = _segmented_channel if segmented else _plain_channel
    channels = [read(memoryview(raw).cast("B"), entries, bits, little) for raw in data]
    table = np.stack(channels, axis=-1)
    narrow = all(channel.dtype.itemsize == 1 for channel in channels) or (
        bits == 8 and int(table.max()) < 256
    )
    return table.astype(np.uint8) if narrow else table


def _described(descriptors: Sequence[Descriptor]) -> tuple[int, int]:
    values = {tuple(int(number) for number in descriptor) for descriptor in descriptors}
    if len(values) != 1:
        raise DicomError("the palette descriptors of red, green and blue differ")
    descriptor = values.pop()
    if len(descriptor) != 3:
        raise DicomError(f"a palette descriptor has {len(descriptor)} values, not 3")
    entries, _, bits = descriptor
    # Read as a signed short (US or SS), 65535 entries look like -1.
    entries = entries % _MAX_ENTRIES or _MAX_ENTRIES
    if bits not in (8, 16):
        raise DicomError(f"a palette of {bits} bits per entry is not supported")
    return entries, bits


def _plain_channel(raw: memoryview, entries: int, bits: int, little: bool) -> NDArray[Any]:
    if raw.nbytes >= 2 * entries:
        return _words(raw[: 2 * entries], little)
    if raw.nbytes >= entries:
        return _bytes(raw, little)[:entries]
    raise DicomError(f"a palette of {entries} entries has {raw.nbytes} bytes of data")


def _words(raw: memoryview, little: bool) -> NDArray[np.uint16]:
    return np.frombuffer(raw[: raw.nbytes & ~1], "<u2" if little else ">u2").astype(np.uint16)


def _bytes(raw: memoryview, little: bool) -> NDArray[np.uint8]:
    # 8-bit entries stand two by two in 16-bit words: big endian turns each pair around.
    if little or raw.nbytes % 2:
        return np.frombuffer(raw, np.uint8)
    return np.frombuffer(raw, np.uint16).byteswap().view(np.uint8)


def _segmented_channel(raw: memoryview, entries: int, bits: int, little: bool) -> NDArray[Any]:
    values = (_words if bits == 16 else _bytes)(raw, little).tolist()
    expanded = _Expansion(values, entries, bits // 8).run()
    return np.array(expanded, np.uint16 if bits == 16 else np.uint8)


class _Expansion:
    """Expands one segmented channel, never beyond its announced number of entries."""

    def __init__(self, values: list[int], entries: int, width: int) -> None:
        self._values = values
        self._entries = entries
        self._width = width
        self._result: list[int] = []

    def run(self) -> list[int]:
        position = 0
        while len(self._result) < self._entries:
            position = self._segment(position, indirect=True)
        if len(self._result) > self._entries:
            raise DicomError(f"a segmented palette yields more than {self._entries} entries")
        return self._result

    def _segment(self, position: int, *, indirect: bool) -> int:
        """Expand the segment at a position; return where the next one begins."""
        opcode, length = self._take(position, 2)
        if opcode == _DISCRETE:
            self._result += self._take(position + 2, length)
            return position + 2 + length
        if opcode == _LINEAR:
            self._line(length, self._take(position + 2, 1)[0])
            return position + 3
        if opcode == _INDIRECT and indirect:
            words = 4 // self._width
            self._copy(length, self._offset(self._take(position + 2, words)))
            return position + 2 + words
        raise DicomError(f"a segmented palette has opcode {opcode} where it is not allowed")

    def _take(self, position: int, count: int) -> list[int]:
        taken = self._values[position : position + count]
        if len(taken) != count:
            raise DicomError(
                f"a segmented palette ends after {len(self._result)} of {self._entries} entries"
            )
        return taken

    def _line(self, length: int, end: int) -> None:
        if not self._result:
            raise DicomError("a segmented palette begins with a linear segment")
        if length:
            steps = np.linspace(self._result[-1], end, length + 1)[1:]
            self._result += np.rint(steps).astype(int).tolist()

    def _copy(self, segments: int, offset: int) -> None:
        position, remainder = divmod(offset, self._width)
        if remainder:
            raise DicomError("a segmented palette points into the middle of an entry")
        for _ in range(segments):
            if len(self._result) >= self._entries:
                raise DicomError(f"a segmented palette yields more than {self._entries} entries")
            position = self._segment(position, indirect=False)

    def _offset(self, parts: list[int]) -> int:
        # 32 bits, the least significant part first.
        bits = 8 * self._width
        return sum(part << (bits * place) for place, part in enumerate(parts))
