"""Stored values → the value of Pixel Data, native or encapsulated (PS3.5 section 8, annex A)."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import uid as uids
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import get_encoder
from pydicom.pixels.processing import convert_color_space

from ..errors import EncodeError, MissingDependencyError
from ._phantom_spec import Spec

__all__ = ["LOSSY", "add_pixels", "check_codec", "tolerance"]

Array = NDArray[Any]

_JPEG_LOSSLESS = {uids.JPEGLossless: 4, uids.JPEGLosslessSV1: 1}  # predictor (ISO 10918-1, H.1)
_JPEG_LOSSY = (uids.JPEGBaseline8Bit, uids.JPEGExtended12Bit)
_JPEG_LS = (uids.JPEGLSLossless, uids.JPEGLSNearLossless)
_JPEG_2000 = (uids.JPEG2000Lossless, uids.JPEG2000)
_HTJ2K = (uids.HTJ2KLossless, uids.HTJ2KLosslessRPCL, uids.HTJ2K)
LOSSY = {  # and Lossy Image Compression Method (PS3.3 C.7.6.1.1.5.1)
    uids.JPEGBaseline8Bit: "ISO_10918_1",
    uids.JPEGExtended12Bit: "ISO_10918_1",
    uids.JPEGLSNearLossless: "ISO_14495_1",
    uids.JPEG2000: "ISO_15444_1",
    uids.HTJ2K: "ISO_15444_15",
}
_NEAR = 2  # JPEG-LS: largest error of a near-lossless sample


def _imagecodecs(spec: Spec) -> Any:
    try:
        return importlib.import_module("imagecodecs")
    except ImportError as error:
        name = f"{spec.transfer_syntax.name} ({spec.transfer_syntax})"
        raise MissingDependencyError(
            f'encoding {name} needs imagecodecs: pip install "seriesio[codecs]"'
        ) from error


def tolerance(spec: Spec) -> int:
    """The most that a decoded stored value may differ from the one encoded."""
    if spec.transfer_syntax not in LOSSY:
        return 0
    if spec.transfer_syntax in _JPEG_LS:
        return _NEAR
    if spec.photometric == "YBR_FULL_422":
        return 64  # colours at edges, blurred by the decoder's filter
    return max(8, 1 << spec.bits_stored >> 7)


def _jpeg_lossless(codecs: Any, frame: Array, spec: Spec) -> bytes:
    space = "rgb" if spec.color else None
    return bytes(
        codecs.jpeg8_encode(
            _unsigned(frame, spec.bits_stored),
            lossless=True,
            predictor=_JPEG_LOSSLESS[spec.transfer_syntax],
            bitspersample=max(spec.bits_stored, 2),
            colorspace=space,
            outcolorspace=space,
        )
    )


def _jpeg_lossy(codecs: Any, frame: Array, spec: Spec) -> bytes:
    if not spec.color:
        return bytes(codecs.jpeg8_encode(frame, 98, bitspersample=spec.bits_stored))
    rgb = frame if spec.photometric == "RGB" else convert_color_space(frame, "YBR_FULL", "RGB")
    return bytes(
        codecs.jpeg8_encode(
            rgb,
            98,
            colorspace="rgb",
            outcolorspace="rgb" if spec.photometric == "RGB" else "ycbcr",
            subsampling="422" if spec.photometric == "YBR_FULL_422" else "444",
        )
    )


def _jpeg_ls(codecs: Any, frame: Array, spec: Spec) -> bytes:
    near = _NEAR if spec.transfer_syntax == uids.JPEGLSNearLossless else 0
    return bytes(codecs.jpegls_encode(_unsigned(frame, spec.bits_allocated), near))


def _jpeg_2000(codecs: Any, frame: Array, spec: Spec) -> bytes:
    lossless = spec.transfer_syntax == uids.JPEG2000Lossless
    return bytes(
        codecs.jpeg2k_encode(
            frame,
            0 if lossless else 60,  # dB
            codecformat="j2k",
            bitspersample=spec.bits_stored,
            reversible=lossless,
            mct=spec.photometric in ("YBR_RCT", "YBR_ICT"),
        )
    )


def _htj2k(codecs: Any, frame: Array, spec: Spec) -> bytes:
    lossless = spec.transfer_syntax != uids.HTJ2K
    rpcl = spec.transfer_syntax == uids.HTJ2KLosslessRPCL
    return bytes(
        codecs.htj2k_encode(
            frame,
            None if lossless else 1 / (1 << spec.bits_allocated),
            reversible=lossless,
            tlm=rpcl,
            rgb=spec.photometric in ("YBR_RCT", "YBR_ICT"),
        )
    )


def _unsigned(frame: Array, bits: int) -> Array:
    """JPEG and JPEG-LS know no sign: the two's complement in ``bits`` bits."""
    if frame.dtype.kind != "i":
        return frame
    bare = np.ascontiguousarray(frame).view(f"u{frame.dtype.itemsize}")
    return np.asarray(bare & ((1 << bits) - 1))


def _rle(frame: Array, spec: Spec) -> bytes:
    """PS3.5 annex G: a plane per sample and byte, most significant byte first."""
    try:
        codecs = _imagecodecs(spec)
    except MissingDependencyError:
        return _rle_pydicom(frame, spec)
    samples = np.atleast_3d(frame)
    big = np.ascontiguousarray(np.moveaxis(samples, -1, 0)).astype(frame.dtype.newbyteorder(">"))
    planes = big.view(np.uint8).reshape(-1, spec.rows, spec.columns, frame.dtype.itemsize)
    segments = []
    for plane in np.moveaxis(planes, -1, 1).reshape(-1, spec.rows, spec.columns):
        packed = b"".join(bytes(codecs.packbits_encode(row.tobytes())) for row in plane)
        segments.append(packed + b"\0" * (len(packed) % 2))
    header = np.zeros(16, "<u4")
    header[0] = len(segments)
    header[1 : len(segments) + 1] = 64 + np.cumsum([0, *map(len, segments[:-1])])
    return header.tobytes() + b"".join(segments)


def _rle_pydicom(frame: Array, spec: Spec) -> bytes:
    return get_encoder(uids.RLELossless).encode(
        np.ascontiguousarray(frame),
        rows=spec.rows,
        columns=spec.columns,
        samples_per_pixel=3 if spec.color else 1,
        bits_allocated=spec.bits_allocated,
        bits_stored=spec.bits_stored,
        pixel_representation=int(spec.signed),
        photometric_interpretation=spec.photometric,
        number_of_frames=1,
    )


def _encoder(spec: Spec) -> Callable[[Array], bytes]:
    syntax = spec.transfer_syntax
    if syntax == uids.RLELossless:
        return lambda frame: _rle(frame, spec)
    for syntaxes, encode in (
        (_JPEG_LOSSLESS, _jpeg_lossless),
        (_JPEG_LOSSY, _jpeg_lossy),
        (_JPEG_LS, _jpeg_ls),
        (_JPEG_2000, _jpeg_2000),
        (_HTJ2K, _htj2k),
    ):
        if syntax in syntaxes:
            codecs = _imagecodecs(spec)
            return lambda frame: encode(codecs, frame, spec)
    raise EncodeError(f"transfer syntax {syntax.name} ({syntax}) is not made here")


def check_codec(spec: Spec) -> None:
    """Find out now, not in the middle, that the transfer syntax cannot be made.

    Raises:
        MissingDependencyError: its codec is not installed.
        EncodeError: it cannot hold such pixels, or is unknown.
    """
    syntax = spec.transfer_syntax
    if syntax.is_private or not syntax.is_transfer_syntax:
        raise EncodeError(f"{syntax} is not a transfer syntax of DICOM's")
    if not syntax.is_compressed:
        return
    _encoder(spec)
    rle = syntax == uids.RLELossless
    if spec.kind != "integer" or spec.bits_allocated == 1 or (spec.bits_allocated > 16 and not rle):
        raise EncodeError(f"{syntax.name} phantoms have 8 or 16 bits")
    if syntax in _JPEG_LOSSY and (
        spec.signed or spec.bits_stored not in (8, 12)[: 1 + (syntax == uids.JPEGExtended12Bit)]
    ):
        raise EncodeError(f"{syntax.name} does not hold {spec.bits_stored} bits, or a sign")
    if spec.signed and syntax == uids.JPEGLSNearLossless:
        raise EncodeError("near-lossless JPEG-LS would wrap small negative values around")
    if spec.photometric == "YBR_FULL_422" and syntax not in _JPEG_LOSSY:
        raise EncodeError(f"{syntax.name} with YBR_FULL_422 is not made here")
    j2k = {"YBR_RCT": {*_JPEG_2000, *_HTJ2K} - LOSSY.keys(), "YBR_ICT": {uids.JPEG2000, uids.HTJ2K}}
    if syntax not in j2k.get(spec.photometric, {syntax}):
        raise EncodeError(f"{spec.photometric} does not exist in {syntax.name}")


def _native(frames: Array, spec: Spec) -> bytes:
    if spec.bits_allocated == 1:
        data = np.packbits(frames.ravel(), bitorder="little").tobytes()
    elif spec.photometric == "YBR_FULL_422":
        pairs = frames.reshape(-1, 2, 3)
        quads = np.stack([pairs[:, 0, 0], pairs[:, 1, 0], pairs[:, 0, 1], pairs[:, 0, 2]], axis=1)
        data = quads.tobytes()
    else:
        planar = spec.color and spec.planar_configuration == 1
        ordered = np.moveaxis(frames, -1, 1) if planar else frames
        order: Literal["<", ">"] = "<" if spec.transfer_syntax.is_little_endian else ">"
        data = ordered.astype(ordered.dtype.newbyteorder(order), copy=False).tobytes()
    return data + b"\0" * (len(data) % 2)


_NATIVE_ELEMENT = {
    "float": (0x7FE00008, "OF"),
    "double": (0x7FE00009, "OD"),
    "integer": (0x7FE00010, "OW"),
}


def add_pixels(dataset: Dataset, frames: Array, spec: Spec) -> None:
    """Put ``frames`` (N, rows, columns[, 3]) into the dataset as its pixel element."""
    if spec.transfer_syntax.is_compressed:
        encode = _encoder(spec)
        value = encapsulate([encode(np.ascontiguousarray(frame)) for frame in frames])
        element = DataElement(0x7FE00010, "OB", value, is_undefined_length=True)
        _declare_lossy(dataset, frames, len(value), spec)
    else:
        tag, vr = _NATIVE_ELEMENT[spec.kind]
        if spec.bits_allocated <= 8 and not spec.transfer_syntax.is_implicit_VR:
            vr = "OB"
        element = DataElement(tag, vr, _native(frames, spec))
    dataset[element.tag] = element


def _declare_lossy(dataset: Dataset, frames: Array, length: int, spec: Spec) -> None:
    if spec.transfer_syntax in LOSSY:
        dataset.LossyImageCompression = "01"
        dataset.LossyImageCompressionRatio = f"{frames.nbytes / length:.2f}"
        dataset.LossyImageCompressionMethod = LOSSY[spec.transfer_syntax]
