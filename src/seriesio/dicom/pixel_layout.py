"""What the pixel cells of an instance look like, checked against the standard.

Sources: PS3.3 C.7.6.3, C.7.6.24 and C.7.6.25; PS3.5 section 8.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import DicomError

__all__ = ["LITTLE_HOST", "NATIVE_SYNTAXES", "PixelLayout", "pixel_layout"]

LITTLE_HOST = sys.byteorder == "little"
"""True if this machine keeps the least significant byte first."""

NATIVE_SYNTAXES = frozenset(
    {
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.1.99",
        "1.2.840.10008.1.2.2",
    }
)
"""Transfer syntaxes whose pixel data are native: implicit, explicit, deflated, big endian."""

_SAMPLES = {
    "MONOCHROME1": 1,
    "MONOCHROME2": 1,
    "PALETTE COLOR": 1,
    "RGB": 3,
    "YBR_FULL": 3,
    "YBR_FULL_422": 3,
    "YBR_ICT": 3,
    "YBR_RCT": 3,
}
_ALLOCATED = {"integer": (1, 8, 16, 32), "float": (32,), "double": (64,)}
_MAX_US = 0xFFFF
_MAX_FRAMES = 2**31 - 1


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How the pixel cells of one instance are laid out (PS3.3 C.7.6.3).

    ``planar`` is Planar Configuration 1; ``kind`` is "integer", "float" or "double" (Pixel Data,
    Float Pixel Data, Double Float Pixel Data). Made by :func:`pixel_layout`, which checks.
    """

    rows: int
    columns: int
    frames: int
    samples: int
    planar: bool
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    photometric: str
    kind: str
    syntax_uid: str

    @property
    def native(self) -> bool:
        """True if the transfer syntax leaves pixel data uncompressed."""
        return self.syntax_uid in NATIVE_SYNTAXES

    @property
    def subsampled(self) -> bool:
        """True if native frames share each Cb and Cr between two pixels of a row."""
        return self.photometric == "YBR_FULL_422" and self.native

    @property
    def direct(self) -> bool:
        """True if the raw bytes of a native frame, once byte swapped, are its array's bytes."""
        return (
            self.native
            and self.bits_allocated > 1
            and not self.planar
            and self.photometric != "YBR_FULL_422"
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, columns), with samples behind if there are several."""
        if self.samples == 1:
            return (self.rows, self.columns)
        return (self.rows, self.columns, self.samples)

    @property
    def frame_pixels(self) -> int:
        """Pixels in one frame."""
        return self.rows * self.columns

    @property
    def frame_bits(self) -> int:
        """Bits of one uncompressed frame."""
        cells = 2 if self.subsampled else self.samples
        return self.frame_pixels * cells * self.bits_allocated

    @property
    def frame_bytes(self) -> int:
        """Bytes that hold one uncompressed frame; rounded up for 1-bit frames."""
        return (self.frame_bits + 7) // 8

    @property
    def native_length(self) -> int:
        """Bytes of the whole native value without its padding byte.

        1-bit frames follow each other without a gap (PS3.5 8.1.1).
        """
        return (self.frame_bits * self.frames + 7) // 8

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """The dtype of stored values, in this machine's byte order; uint8 for 1-bit cells."""
        return _dtype(self.kind, self.bits_allocated, self.signed, LITTLE_HOST)

    def dtype_for(self, little: bool) -> np.dtype[Any]:
        """The dtype of stored values in a byte order."""
        return _dtype(self.kind, self.bits_allocated, self.signed, little)

    def frame_span(self, frame: int) -> tuple[int, int]:
        """First byte and end of one native frame in the value.

        Neighbouring 1-bit frames may share a byte.
        """
        first = frame * self.frame_bits
        return first // 8, (first + self.frame_bits + 7) // 8

    def validate(self) -> None:
        """Check every field against the standard and against each other.

        Raises:
            DicomError: a value that is absurd, not supported, or contradicts another.
        """
        _check_size(self)
        _check_bits(self)
        _check_samples(self)


def pixel_layout(
    *,
    rows: int | None,
    columns: int | None,
    bits_allocated: int | None,
    photometric: str | None,
    syntax_uid: str,
    frames: int | None = None,
    samples: int | None = None,
    planar_configuration: int | None = None,
    bits_stored: int | None = None,
    high_bit: int | None = None,
    pixel_representation: int | None = None,
    kind: str = "integer",
) -> PixelLayout:
    """Make a checked layout of header values; None stands for an absent attribute.

    Absent Number of Frames and Samples per Pixel count as 1, absent Bits Stored as Bits
    Allocated, absent High Bit as Bits Stored - 1, absent Pixel Representation as unsigned.
    For float and double pixel data, bits stored and signedness have no meaning.

    Raises:
        DicomError: a value that is missing, absurd, not supported, or contradicts another.
    """
    allocated = _integer("Bits Allocated", bits_allocated)
    stored = _integer("Bits Stored", bits_stored, allocated)
    high = _integer("High Bit", high_bit, stored - 1)
    signed = _flag("Pixel Representation", pixel_representation)
    if kind != "integer":
        stored, high, signed = allocated, allocated - 1, True
    count = _integer("Samples per Pixel", samples, 1)
    layout = PixelLayout(
        rows=_integer("Rows", rows),
        columns=_integer("Columns", columns),
        frames=_integer("Number of Frames", frames, 1),
        samples=count,
        planar=_flag("Planar Configuration", planar_configuration) and count > 1,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=high,
        signed=signed,
        photometric=_photometric(photometric, kind),
        kind=kind,
        syntax_uid=syntax_uid,
    )
    layout.validate()
    return layout


def _integer(name: str, value: int | None, default: int | None = None) -> int:
    if value is None:
        value = default
    if value is None:
        raise DicomError(f"{name} is missing")
    if not isinstance(value, int | np.integer):
        raise DicomError(f"{name} is not one whole number")
    return int(value)


def _flag(name: str, value: int | None) -> bool:
    number = _integer(name, value, 0)
    if number not in (0, 1):
        raise DicomError(f"{name} is {number}, neither 0 nor 1")
    return number == 1


def _photometric(value: str | None, kind: str) -> str:
    if value is None and kind == "integer":
        raise DicomError("Photometric Interpretation is missing")
    return "MONOCHROME2" if value is None else str(value).strip(" \0")


def _check_size(layout: PixelLayout) -> None:
    _check_range("Rows", layout.rows, 1, _MAX_US)
    _check_range("Columns", layout.columns, 1, _MAX_US)
    _check_range("Number of Frames", layout.frames, 1, _MAX_FRAMES)


def _check_bits(layout: PixelLayout) -> None:
    allowed = _ALLOCATED.get(layout.kind)
    if allowed is None:
        raise DicomError(f"pixel data of kind {layout.kind!r} are not known")
    if layout.bits_allocated not in allowed:
        raise DicomError(
            f"Bits Allocated {layout.bits_allocated} is not supported for {layout.kind} pixel data"
        )
    _check_range("Bits Stored", layout.bits_stored, 1, layout.bits_allocated)
    _check_range("High Bit", layout.high_bit, layout.bits_stored - 1, layout.bits_allocated - 1)
    if layout.bits_allocated == 1 and layout.signed:
        raise DicomError("1-bit pixel data cannot be signed")


def _check_samples(layout: PixelLayout) -> None:
    expected = _SAMPLES.get(layout.photometric)
    if expected is None:
        # The text comes from the file: only its length is safe to tell.
        raise DicomError("Photometric Interpretation is not one that is supported")
    if layout.samples != expected:
        raise DicomError(
            f"Samples per Pixel is {layout.samples}, but {layout.photometric} has {expected}"
        )
    if layout.samples > 1 and layout.bits_allocated == 1:
        raise DicomError("1-bit pixel data cannot have several samples per pixel")
    if layout.samples > 1 and layout.kind != "integer":
        raise DicomError(f"{layout.kind} pixel data cannot have several samples per pixel")
    if layout.subsampled:
        _check_subsampled(layout)


def _check_subsampled(layout: PixelLayout) -> None:
    if layout.columns % 2 or layout.planar or layout.bits_allocated != 8:
        raise DicomError("native YBR_FULL_422 needs even Columns, 8 bits and colour by pixel")


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise DicomError(f"{name} is {value}, not within {low} to {high}")


@lru_cache(maxsize=64)
def _dtype(kind: str, bits: int, signed: bool, little: bool) -> np.dtype[Any]:
    letter = "f" if kind != "integer" else "i" if signed else "u"
    return np.dtype(f"{'<' if little else '>'}{letter}{max(bits, 8) // 8}")
