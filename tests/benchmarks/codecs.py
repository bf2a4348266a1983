"""Compressed slices: made by imagecodecs, framed by pydicom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

__all__ = ["NAMES", "compress", "decode"]

NAMES = {"jpegls": "JPEG-LS", "jpeg2000": "JPEG 2000", "rle": "RLE"}
SYNTAXES = {"jpegls": JPEGLSLossless, "jpeg2000": JPEG2000Lossless, "rle": RLELossless}


def compress(dataset: Dataset, codec: str) -> Dataset:
    """The same instance in another transfer syntax; lossless, so all else stays as it is."""
    frame = _ENCODERS[codec](dataset.pixel_array)
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = SYNTAXES[codec]
    return dataset


def decode(dataset: Dataset) -> NDArray[np.uint16]:
    """Stored values of a single-frame dataset."""
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    if dataset.file_meta.TransferSyntaxUID == RLELossless:
        shape = (dataset.Rows, dataset.Columns)
        return _unpack(frame, shape)
    decoder = _DECODERS[dataset.file_meta.TransferSyntaxUID]
    array: NDArray[np.uint16] = decoder(frame)
    return array


def _jpeg2000(pixels: NDArray[Any]) -> bytes:
    return bytes(
        imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True, bitspersample=12)
    )


def _jpegls(pixels: NDArray[Any]) -> bytes:
    return bytes(imagecodecs.jpegls_encode(pixels))


def _rle(pixels: NDArray[np.uint16]) -> bytes:
    """DICOM PS3.5 annex G: the high bytes first, each row packed by itself."""
    planes = ((pixels >> 8).astype(np.uint8), (pixels & 255).astype(np.uint8))
    segments = [b"".join(imagecodecs.packbits_encode(row) for row in plane) for plane in planes]
    segments = [segment + b"\0" * (len(segment) % 2) for segment in segments]
    header = np.zeros(16, "<u4")
    header[:3] = (2, 64, 64 + len(segments[0]))
    return header.tobytes() + b"".join(segments)


def _unpack(frame: bytes, shape: tuple[int, int]) -> NDArray[np.uint16]:
    starts = np.frombuffer(frame, "<u4", 2, 4)
    high = imagecodecs.packbits_decode(frame[starts[0] : starts[1]])
    low = imagecodecs.packbits_decode(frame[starts[1] :])
    pixels = np.empty((*shape, 2), np.uint8)
    count = shape[0] * shape[1]
    pixels[..., 1] = np.frombuffer(high, np.uint8, count).reshape(shape)
    pixels[..., 0] = np.frombuffer(low, np.uint8, count).reshape(shape)
    return pixels.view("<u2")[..., 0]


_ENCODERS: dict[str, Callable[[NDArray[Any]], bytes]] = {
    "jpegls": _jpegls,
    "jpeg2000": _jpeg2000,
    "rle": _rle,
}
_DECODERS: dict[str, Callable[[bytes], Any]] = {
    JPEGLSLossless: imagecodecs.jpegls_decode,
    JPEG2000Lossless: imagecodecs.jpeg2k_decode,
}
