"""Compressed frames become stored values; what does not decode is a clear error."""

from __future__ import annotations

import struct
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.pixels.encoders.base import RLELosslessEncoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID

from seriesio.dicom.codecs import SYNTAX_NAMES, decode, decoded_photometric
from seriesio.dicom.color import to_rgb
from seriesio.dicom.fragments import fragments
from seriesio.dicom.pixels import PixelLayout, pixel_layout
from seriesio.errors import CodecError, MissingDependencyError, SeriesIOError

imagecodecs: Any = pytest.importorskip("imagecodecs")

RLE = "1.2.840.10008.1.2.5"
JPEG = "1.2.840.10008.1.2.4."
BASELINE, EXTENDED, LOSSLESS = JPEG + "50", JPEG + "51", JPEG + "70"
JPEG_LS, NEAR_LOSSLESS = JPEG + "80", JPEG + "81"
JPEG_2000, JPEG_2000_LOSSY = JPEG + "90", JPEG + "91"
HTJ2K = JPEG + "201"
DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"


def layout(**changes: Any) -> PixelLayout:
    values: dict[str, Any] = {
        "rows": 24,
        "columns": 40,
        "bits_allocated": 16,
        "photometric": "MONOCHROME2",
        "syntax_uid": JPEG_LS,
    }
    return pixel_layout(**(values | changes))


def picture(dtype: str = "u2", bits: int = 12) -> NDArray[Any]:
    """A ramp with noise that uses all values of so many bits."""
    rng = np.random.default_rng(3)
    ramp = np.linspace(0, (1 << bits) - 1, 24 * 40).reshape(24, 40).astype(int)
    values = np.clip(ramp + rng.integers(-3, 4, ramp.shape), 0, (1 << bits) - 1)
    return (values - ((1 << bits >> 1) if np.dtype(dtype).kind == "i" else 0)).astype(dtype)


def colours(bits: int = 8) -> NDArray[Any]:
    rng = np.random.default_rng(4)
    return rng.integers(0, 1 << bits, (24, 40, 3)).astype("u1" if bits <= 8 else "u2")


def lossless_jpeg(array: NDArray[Any], bits: int, predictor: int = 1) -> bytes:
    space = {"colorspace": "RGB", "outcolorspace": "RGB"} if array.ndim == 3 else {}
    return bytes(
        imagecodecs.jpeg8_encode(
            array, lossless=True, bitspersample=bits, predictor=predictor, **space
        )
    )


def jpeg_2000(array: NDArray[Any], bits: int | None = None, mct: bool = False) -> bytes:
    return bytes(
        imagecodecs.jpeg2k_encode(
            array, level=0, codecformat="j2k", reversible=True, bitspersample=bits, mct=mct
        )
    )


def rle(array: NDArray[Any]) -> bytes:
    little = array.astype(array.dtype.newbyteorder("<"))
    return bytes(
        RLELosslessEncoder.encode(
            little.tobytes(),
            rows=array.shape[0],
            columns=array.shape[1],
            samples_per_pixel=array.shape[2] if array.ndim == 3 else 1,
            planar_configuration=0,
            photometric_interpretation="RGB" if array.ndim == 3 else "MONOCHROME2",
            bits_allocated=8 * array.dtype.itemsize,
            bits_stored=8 * array.dtype.itemsize,
            pixel_representation=int(array.dtype.kind == "i"),
            number_of_frames=1,
            encoding_plugin="pydicom",
        )
    )


def decoded(data: bytes, shape: PixelLayout) -> NDArray[Any]:
    return decode([memoryview(data)], shape)


@pytest.fixture
def no_imagecodecs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra ``codecs`` was not installed."""
    monkeypatch.setitem(sys.modules, "imagecodecs", None)


# Real files: pydicom (with the libraries it uses) is the oracle.

EXACT = [
    "693_J2KI.dcm",
    "GDCMJ2K_TextGBR.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "JPEG2000.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "SC_rgb_gdcm_KY.dcm",
    "SC_rgb_rle.dcm",
    "SC_rgb_rle_16bit.dcm",
    "SC_rgb_rle_16bit_2frame.dcm",
    "SC_rgb_rle_2frame.dcm",
    "SC_rgb_rle_32bit.dcm",
    "SC_rgb_rle_32bit_2frame.dcm",
    "examples_jpeg2k.dcm",
    "rtdose_rle.dcm",
    "rtdose_rle_1frame.dcm",
]
# Decoders of lossy JPEG may round differently, and smooth subsampled chroma differently.
LOSSY = {
    "SC_rgb_dcmtk_+eb+cr.dcm": 1,
    "SC_rgb_dcmtk_+eb+cy+n1.dcm": 2,
    "SC_rgb_dcmtk_+eb+cy+n2.dcm": 2,
    "SC_rgb_dcmtk_+eb+cy+np.dcm": 2,
    "SC_rgb_dcmtk_+eb+cy+s2.dcm": 2,
    "SC_rgb_dcmtk_+eb+cy+s4.dcm": 2,
    "SC_rgb_jpeg_dcmtk.dcm": 2,
    "SC_rgb_jpeg_lossy_gdcm.dcm": 2,
    "SC_rgb_small_odd_jpeg.dcm": 2,
    "examples_ybr_color.dcm": 3,
}


def dataset_of(name: str) -> pydicom.Dataset:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(Path(path))


def frames_of(dataset: pydicom.Dataset) -> tuple[PixelLayout, NDArray[Any]]:
    """Our layout and frames of a dataset; colours as RGB."""
    shape = pixel_layout(
        rows=dataset.Rows,
        columns=dataset.Columns,
        frames=dataset.get("NumberOfFrames"),
        samples=dataset.SamplesPerPixel,
        planar_configuration=dataset.get("PlanarConfiguration"),
        bits_allocated=dataset.BitsAllocated,
        bits_stored=dataset.BitsStored,
        high_bit=dataset.HighBit,
        pixel_representation=dataset.PixelRepresentation,
        photometric=dataset.PhotometricInterpretation,
        syntax_uid=str(dataset.file_meta.TransferSyntaxUID),
    )
    # pydicom keeps the items and leaves their delimiter out.
    parts = fragments(dataset.PixelData + DELIMITER, shape)
    cells = np.stack([decode(part, shape) for part in parts])
    if shape.samples == 3:
        cells = to_rgb(cells, decoded_photometric(shape))
    return shape, cells


def pydicoms(dataset: pydicom.Dataset, shape: PixelLayout) -> NDArray[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pixel_array(dataset).reshape((shape.frames, *shape.shape))


@pytest.mark.parametrize("name", EXACT)
def test_files_equal_pydicom(name: str) -> None:
    """Every lossless, RLE and JPEG 2000 file that pydicom ships decodes to its values."""
    dataset = dataset_of(name)
    shape, cells = frames_of(dataset)
    expected = pydicoms(dataset, shape)
    assert cells.dtype == expected.dtype
    np.testing.assert_array_equal(cells, expected)


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_files_are_near_pydicom(name: str) -> None:
    """Lossy JPEG in colour, however it is labelled, comes back as RGB near pydicom's."""
    dataset = dataset_of(name)
    shape, cells = frames_of(dataset)
    expected = pydicoms(dataset, shape)
    assert np.abs(cells.astype(int) - expected.astype(int)).max() <= LOSSY[name]


@pytest.mark.parametrize("name", ["SC_rgb_jpeg.dcm", "SC_jpeg_no_color_transform.dcm"])
def test_rgb_in_lossy_jpeg_is_not_converted(name: str) -> None:
    """Without a mark that says YCbCr, the label RGB holds: equal to the decompressed file."""
    reference = dataset_of("SC_rgb_jpeg_dcmd.dcm")
    expected = np.frombuffer(reference.PixelData, np.uint8).reshape(1, 256, 256, 3)
    _, cells = frames_of(dataset_of(name))
    np.testing.assert_array_equal(cells, expected)


def test_an_adobe_mark_that_says_rgb() -> None:
    """Adobe's transform 0 keeps RGB as it is, as pydicom does."""
    dataset = dataset_of("SC_rgb_jpeg_app14_dcmd.dcm")
    shape, cells = frames_of(dataset)
    expected = pydicoms(dataset, shape)
    assert np.abs(cells.astype(int) - expected.astype(int)).max() <= 1


def test_a_jfif_mark_beats_the_label() -> None:
    """A JFIF stream is YCbCr, even where the label says RGB: equal to Pillow's picture."""
    image = pytest.importorskip("PIL.Image")
    array = np.linspace(0, 255, 24 * 40 * 3).reshape(24, 40, 3).astype(np.uint8)
    file = BytesIO()
    image.fromarray(array).save(file, "JPEG", quality=95, subsampling=0)
    assert b"JFIF" in file.getvalue()
    expected = np.asarray(image.open(file).convert("RGB"))
    for photometric in ("RGB", "YBR_FULL", "YBR_FULL_422"):
        shape = colour_layout(BASELINE, photometric=photometric)
        got = decoded(file.getvalue(), shape)
        assert decoded_photometric(shape) == "RGB"
        assert np.abs(got.astype(int) - expected).max() <= 1


@pytest.mark.interop
@pytest.mark.parametrize(
    ("name", "program", "tolerance"),
    [
        ("JPEG-lossy.dcm", "dcmdjpeg", 1),
        ("JPGExtended.dcm", "dcmdjpeg", 1),
        ("SC_rgb_jpeg_gdcm.dcm", "dcmdjpeg", 0),
        ("MR_small_jpeg_ls_lossless.dcm", "dcmdjpls", 0),
        ("JPEGLSNearLossless_08.dcm", "dcmdjpls", 0),
        ("JPEGLSNearLossless_16.dcm", "dcmdjpls", 0),
        ("SC_rgb_jls_lossy_line.dcm", "dcmdjpls", 0),
        ("SC_rgb_jls_lossy_sample.dcm", "dcmdjpls", 0),
    ],
)
def test_files_equal_dcmtk(
    name: str, program: str, tolerance: int, tool: Callable[[str], str], tmp_path: Path
) -> None:
    """12-bit, lossless and JPEG-LS files decode to what DCMTK decodes."""
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    target = tmp_path / "plain.dcm"
    subprocess.run([tool(program), path, target], check=True, capture_output=True)
    shape, cells = frames_of(dataset_of(name))
    expected = pydicoms(pydicom.dcmread(target), shape)
    assert cells.dtype == expected.dtype
    assert np.abs(cells.astype(int) - expected.astype(int)).max() <= tolerance


# Hand-made frames: the array that was encoded is the oracle.


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("uid", [LOSSLESS, JPEG_LS, JPEG_2000, HTJ2K, RLE])
def test_lossless_unsigned(uid: str, bits: int) -> None:
    """Each lossless syntax gives back unsigned values of 8 to 16 bits."""
    array = picture("u1" if bits == 8 else "u2", bits)
    encoders: dict[str, Callable[[], bytes]] = {
        LOSSLESS: lambda: lossless_jpeg(array, bits),
        JPEG_LS: lambda: bytes(imagecodecs.jpegls_encode(array)),
        JPEG_2000: lambda: jpeg_2000(array, bits),
        HTJ2K: lambda: bytes(imagecodecs.htj2k_encode(array, reversible=True)),
        RLE: lambda: rle(array),
    }
    allocated = 8 if bits == 8 else 16
    shape = layout(syntax_uid=uid, bits_allocated=allocated, bits_stored=bits)
    got = decoded(encoders[uid](), shape)
    assert got.dtype == array.dtype
    np.testing.assert_array_equal(got, array)


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("uid", [LOSSLESS, JPEG_LS, JPEG_2000])
def test_signed_values_in_unsigned_streams(uid: str, whole: bool, bits: int) -> None:
    """Streams that know no sign hold two's complement, of Bits Stored or of the whole cell."""
    array = picture("i2", bits)
    stored = array.view("u2") if whole else array.view("u2") & ((1 << bits) - 1)
    precision = 16 if whole else bits
    encoders: dict[str, Callable[[], bytes]] = {
        LOSSLESS: lambda: lossless_jpeg(stored, precision),
        JPEG_LS: lambda: bytes(imagecodecs.jpegls_encode(stored)),
        JPEG_2000: lambda: jpeg_2000(stored, precision),
    }
    shape = layout(syntax_uid=uid, bits_stored=bits, pixel_representation=1)
    got = decoded(encoders[uid](), shape)
    assert got.dtype == np.int16
    np.testing.assert_array_equal(got, array)


@pytest.mark.parametrize("uid", [JPEG_2000, HTJ2K, RLE])
def test_signed_streams(uid: str) -> None:
    """Codestreams that know the sign, and RLE's byte planes, keep it."""
    array = picture("i2", 12)
    encoders: dict[str, Callable[[], bytes]] = {
        JPEG_2000: lambda: jpeg_2000(array),
        HTJ2K: lambda: bytes(imagecodecs.htj2k_encode(array, reversible=True)),
        RLE: lambda: rle(array),
    }
    shape = layout(syntax_uid=uid, bits_stored=12, pixel_representation=1)
    np.testing.assert_array_equal(decoded(encoders[uid](), shape), array)


def test_a_signed_stream_of_unsigned_values() -> None:
    """Pixel Representation wins over the sign in a lossy JPEG 2000 stream."""
    array = picture("i2", 16)
    shape = layout(syntax_uid=JPEG_2000_LOSSY)
    np.testing.assert_array_equal(decoded(jpeg_2000(array), shape), array.view("u2"))


def test_fewer_bits_than_allocated_are_widened() -> None:
    """A stream of 8 bits fits 16 allocated ones, signed values too."""
    array = picture("u1", 8)
    for uid, data in [
        (JPEG_LS, imagecodecs.jpegls_encode(array)),
        (JPEG_2000_LOSSY, jpeg_2000(array)),
        (LOSSLESS, lossless_jpeg(array, 8)),
    ]:
        got = decoded(bytes(data), layout(syntax_uid=uid))
        assert got.dtype == np.uint16
        np.testing.assert_array_equal(got, array)
    signed = layout(syntax_uid=JPEG_2000, pixel_representation=1)
    small = picture("i1", 8)
    np.testing.assert_array_equal(decoded(jpeg_2000(small), signed), small)
    np.testing.assert_array_equal(
        decoded(bytes(imagecodecs.jpegls_encode(small.view("u1"))), layout(pixel_representation=1)),
        small,
    )


@pytest.mark.parametrize("predictor", range(1, 8))
def test_every_predictor(predictor: int) -> None:
    """JPEG Lossless with each of its seven predictors."""
    array = picture()
    shape = layout(syntax_uid=JPEG + "57")
    np.testing.assert_array_equal(decoded(lossless_jpeg(array, 16, predictor), shape), array)


def test_unused_bits_of_lossless_cells() -> None:
    """Overlay bits above Bits Stored are dropped from RLE and lossless streams."""
    array = picture()
    junk = array | 0x8000
    for uid, data in [(RLE, rle(junk)), (JPEG_LS, bytes(imagecodecs.jpegls_encode(junk)))]:
        got = decoded(data, layout(syntax_uid=uid, bits_stored=12))
        np.testing.assert_array_equal(got, array)


def colour_layout(uid: str, bits: int = 8, photometric: str = "RGB") -> PixelLayout:
    allocated = 8 if bits == 8 else 16
    return layout(
        syntax_uid=uid,
        samples=3,
        planar_configuration=0,
        photometric=photometric,
        bits_allocated=allocated,
    )


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("uid", [JPEG_LS, JPEG_2000, HTJ2K, RLE, LOSSLESS])
def test_lossless_colours(uid: str, bits: int) -> None:
    """Colours come back by pixel: (rows, columns, 3)."""
    array = colours(bits)
    encoders: dict[str, Callable[[], bytes]] = {
        JPEG_LS: lambda: bytes(imagecodecs.jpegls_encode(array)),
        JPEG_2000: lambda: jpeg_2000(array, mct=False),
        HTJ2K: lambda: bytes(imagecodecs.htj2k_encode(array, reversible=True)),
        RLE: lambda: rle(array),
        LOSSLESS: lambda: lossless_jpeg(array, bits),
    }
    np.testing.assert_array_equal(decoded(encoders[uid](), colour_layout(uid, bits)), array)


def test_ybr_rct_comes_back_as_rgb() -> None:
    """The component transform of JPEG 2000 is undone, and said to be."""
    array = colours()
    shape = colour_layout(JPEG_2000, photometric="YBR_RCT")
    np.testing.assert_array_equal(decoded(jpeg_2000(array, mct=True), shape), array)
    assert decoded_photometric(shape) == "RGB"


def test_lossless_ybr_is_not_converted() -> None:
    """RLE, JPEG-LS and lossless JPEG keep YBR_FULL, and say so."""
    array = colours()
    for uid, data in [
        (RLE, rle(array)),
        (JPEG_LS, bytes(imagecodecs.jpegls_encode(array))),
        (LOSSLESS, lossless_jpeg(array, 8)),
    ]:
        shape = colour_layout(uid, photometric="YBR_FULL")
        np.testing.assert_array_equal(decoded(data, shape), array)
        assert decoded_photometric(shape) == "YBR_FULL"


def test_jpeg_ls_plane_after_plane() -> None:
    """JPEG-LS colours that are not interleaved (made by pyjpegls) come back by pixel."""
    data = bytes.fromhex(
        "ffd8fff70011040010001803011100021100031100ffda000801010000000077ff7ffbff7fff7fff"
        "da0008010200000000ff7fff60077fff7fbfc0ffda0008010300000000ff002bff757c3d3d3c9d9d"
        "9d9d9d9d9d9d9d9d9cffd9"
    )
    expected = np.zeros((16, 24, 3), np.uint8)
    expected[..., 0] = 1
    expected[8:, :, 1] = 5
    expected[:, 12:, 2] = 9
    shape = layout(rows=16, columns=24, samples=3, photometric="RGB", bits_allocated=8)
    np.testing.assert_array_equal(decoded(data, shape), expected)


def test_a_jp2_file_around_the_codestream() -> None:
    """JP2 boxes, which DICOM does not want, are taken off."""
    array = picture()
    wrapped = bytes(imagecodecs.jpeg2k_encode(array, level=0, codecformat="jp2"))
    assert wrapped[4:8] == b"jP  "
    np.testing.assert_array_equal(decoded(wrapped, layout(syntax_uid=JPEG_2000)), array)


def test_frames_in_several_fragments() -> None:
    """Fragments of one frame are put together before they are decoded."""
    array = picture()
    data = memoryview(bytes(imagecodecs.jpegls_encode(array)))
    got = decode([data[:10], data[10:200], data[200:]], layout())
    np.testing.assert_array_equal(got, array)


@pytest.mark.parametrize("uid", [JPEG_LS, JPEG_2000, HTJ2K, RLE, LOSSLESS])
def test_decoding_into_a_slot(uid: str) -> None:
    """With ``out`` a frame lands in its place in a volume, and nowhere else."""
    array = picture("u2", 16)
    encoders: dict[str, Callable[[], bytes]] = {
        JPEG_LS: lambda: bytes(imagecodecs.jpegls_encode(array)),
        JPEG_2000: lambda: jpeg_2000(array),
        HTJ2K: lambda: bytes(imagecodecs.htj2k_encode(array, reversible=True)),
        RLE: lambda: rle(array),
        LOSSLESS: lambda: lossless_jpeg(array, 16),
    }
    volume = np.full((3, 24, 40), 7, np.uint16)
    got = decode([memoryview(encoders[uid]())], layout(syntax_uid=uid), volume[1])
    assert np.shares_memory(got, volume)
    np.testing.assert_array_equal(volume, [np.full_like(array, 7), array, np.full_like(array, 7)])


@pytest.mark.parametrize(
    "out",
    [np.empty((24, 41), "u2"), np.empty((24, 40), "i2"), np.empty((24, 80), "u2")[:, ::2]],
)
def test_a_slot_that_does_not_fit(out: NDArray[Any]) -> None:
    """``out`` of another shape, dtype or stride is refused."""
    with pytest.raises(ValueError, match="contiguous uint16"):
        decode([memoryview(rle(picture()))], layout(syntax_uid=RLE), out)


def test_many_threads_at_once() -> None:
    """Frames that are decoded side by side do not disturb each other."""
    arrays = [picture() + np.uint16(i) for i in range(32)]
    streams = [bytes(imagecodecs.jpegls_encode(array)) for array in arrays]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda data: decoded(data, layout()), streams))
    np.testing.assert_array_equal(got, arrays)


# RLE by hand and without any codec library.


@pytest.mark.usefixtures("no_imagecodecs")
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2"])
def test_rle_needs_no_extra(dtype: str) -> None:
    """RLE decodes in plain Python."""
    array = picture(dtype, 8)
    shape = layout(
        syntax_uid=RLE,
        bits_allocated=8 * array.dtype.itemsize,
        pixel_representation=int(array.dtype.kind == "i"),
    )
    np.testing.assert_array_equal(decoded(rle(array), shape), array)


@pytest.mark.usefixtures("no_imagecodecs")
@pytest.mark.parametrize("name", [name for name in EXACT if "rle" in name.lower()])
def test_rle_files_need_no_extra(name: str) -> None:
    """pydicom's RLE files, up to 32 bits and several frames, too."""
    test_files_equal_pydicom(name)


@pytest.mark.usefixtures("no_imagecodecs")
def test_rle_colours_need_no_extra() -> None:
    """So do RLE colours."""
    array = colours(16)
    np.testing.assert_array_equal(decoded(rle(array), colour_layout(RLE, 16)), array)


def rle_frame(
    *segments: bytes, offsets: list[int] | None = None, count: int | None = None
) -> bytes:
    if offsets is None:
        offsets = [64 + sum(map(len, segments[:i])) for i in range(len(segments))]
    header = [len(segments) if count is None else count, *offsets]
    return struct.pack("<16I", *header, *[0] * (16 - len(header))) + b"".join(segments)


SMALL = pixel_layout(
    rows=1, columns=4, bits_allocated=16, photometric="MONOCHROME2", syntax_uid=RLE
)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    ("high", "low"),
    [
        (b"\xfd\x01", b"\x03abcd"),
        (b"\xfd\x01", b"\x03abcd\0"),
        (b"\x80\xfd\x01\x80", b"\x01ab\x80\x01cd"),
        (b"\xfc\x01", b"\x03abcd\0\0"),
        (b"\xff\x01\xff\x01", b"\x04abcde"),
    ],
)
def test_rle_by_hand(high: bytes, low: bytes, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Literals, runs, no-operations and padding, with and without imagecodecs."""
    if not fast:
        monkeypatch.setitem(sys.modules, "imagecodecs", None)
    got = decoded(rle_frame(high, low), SMALL)
    np.testing.assert_array_equal(got, [[0x161, 0x162, 0x163, 0x164]])


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(63),
        bytes(64),
        rle_frame(b"\xfd\x01"),
        rle_frame(b"\xfd\x01", b"\xfd\x01", b"\xfd\x01"),
        rle_frame(b"\xfd\x01", b"\xfd\x01", offsets=[64, 64]),
        rle_frame(b"\xfd\x01", b"\xfd\x01", offsets=[66, 64]),
        rle_frame(b"\xfd\x01", b"\xfd\x01", offsets=[0, 66]),
        rle_frame(b"\xfd\x01", b"\xfd\x01", offsets=[64, 6600]),
        rle_frame(b"\xfd\x01", b"\xfd\x01", count=2**32 - 1),
        rle_frame(b"\xfd\x01", b"\xfe\x01"),
        rle_frame(b"\xfd\x01", b"\x03abc"),
        rle_frame(b"\xfe\x01", b"\xfc\x01"),
        rle_frame(b"\xfd\x01", b"\xfd"),
    ],
)
def test_rle_that_lies(data: bytes, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """RLE headers and segments that do not fit are a CodecError, with and without imagecodecs."""
    if not fast:
        monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(CodecError):
        decoded(data, SMALL)


# What does not decode.


@pytest.mark.usefixtures("no_imagecodecs")
@pytest.mark.parametrize("uid", [uid for uid in SYNTAX_NAMES if uid != RLE])
def test_a_missing_codec_is_named(uid: str) -> None:
    """The error names the transfer syntax, its UID and the extra to install."""
    streams = {
        "5": bytes(imagecodecs.jpeg8_encode(picture("u1", 8))),
        "7": lossless_jpeg(picture(), 16),
        "8": bytes(imagecodecs.jpegls_encode(picture())),
    }
    data = streams.get(uid[len(JPEG)], jpeg_2000(picture()))
    with pytest.raises(MissingDependencyError) as caught:
        decoded(data, layout(syntax_uid=uid))
    assert SYNTAX_NAMES[uid] in str(caught.value)
    assert f"({uid})" in str(caught.value)
    assert 'pip install "seriesio[codecs]"' in str(caught.value)


def test_names_are_those_of_the_standard() -> None:
    """Our names of transfer syntaxes begin as pydicom's do."""
    for uid, name in SYNTAX_NAMES.items():
        words = name.replace("HTJ2K", "High-Throughput JPEG 2000").replace(" SV1", "").split()
        assert words[0] in UID(uid).name
        assert words[-1].strip("()") in UID(uid).name


@pytest.mark.parametrize("uid", ["1.2.840.10008.1.2.4.100", "1.2.3.4"])
def test_an_unknown_transfer_syntax(uid: str) -> None:
    """Video and private transfer syntaxes are a CodecError that names them."""
    with pytest.raises(CodecError, match=uid.replace(".", r"\.")):
        decoded(b"abc", layout(syntax_uid=uid))


def test_one_bit_pixels_cannot_be_compressed() -> None:
    """No supported codec holds 1-bit cells."""
    with pytest.raises(CodecError, match="1-bit"):
        decoded(b"abc", layout(syntax_uid=RLE, bits_allocated=1))


ENCODERS: dict[str, Callable[[], bytes]] = {
    BASELINE: lambda: bytes(imagecodecs.jpeg8_encode(picture("u1", 8))),
    EXTENDED: lambda: bytes(imagecodecs.jpeg8_encode(picture(), bitspersample=12)),
    LOSSLESS: lambda: lossless_jpeg(picture(), 16),
    JPEG_LS: lambda: bytes(imagecodecs.jpegls_encode(picture())),
    JPEG_2000: lambda: jpeg_2000(picture()),
    HTJ2K: lambda: bytes(imagecodecs.htj2k_encode(picture(), reversible=True)),
    RLE: lambda: rle(picture()),
}


@pytest.mark.parametrize("part", [0, 1, 3, 10, 30, 0.5, 0.9])
@pytest.mark.parametrize("uid", ENCODERS)
def test_streams_that_are_cut_short(uid: str, part: float) -> None:
    """A compressed frame cut anywhere is a CodecError, never made-up pixels."""
    data = ENCODERS[uid]()
    kept = int(part if part >= 1 else part * len(data))
    with pytest.raises(CodecError):
        decoded(data[:kept], layout(syntax_uid=uid))


@pytest.mark.timeout(3)
def test_a_cut_jpeg_ls_stream_costs_no_time() -> None:
    """An end marker hidden in a comment does not send the codec beyond the end for seconds."""
    data = ENCODERS[JPEG_LS]()
    hidden = data[:2] + b"\xff\xfe\x00\x04\xff\xd9" + data[2 : len(data) // 2]
    with pytest.raises(CodecError):
        decoded(hidden, layout())


SIZES = [(uid, changes) for uid in ENCODERS for changes in ({"rows": 25}, {"columns": 39})]
SIZES.remove((RLE, {"columns": 39}))  # says nothing of columns, and padding behind is legal


@pytest.mark.parametrize(("uid", "changes"), SIZES)
def test_streams_of_another_size(uid: str, changes: dict[str, int]) -> None:
    """A frame of other dimensions than the header's is a CodecError."""
    with pytest.raises(CodecError):
        decoded(ENCODERS[uid](), layout(syntax_uid=uid, **changes))


@pytest.mark.parametrize("uid", [LOSSLESS, JPEG_LS, JPEG_2000, HTJ2K])
def test_streams_of_more_bits_than_allocated(uid: str) -> None:
    """16-bit values do not fit 8 allocated bits."""
    with pytest.raises(CodecError, match="Bits Allocated is 8"):
        decoded(ENCODERS[uid](), layout(syntax_uid=uid, bits_allocated=8))


@pytest.mark.parametrize("uid", [BASELINE, LOSSLESS, JPEG_LS, JPEG_2000, HTJ2K])
def test_streams_of_another_kind(uid: str) -> None:
    """Data of another codec than the transfer syntax says is a CodecError."""
    other = JPEG_2000 if uid not in (JPEG_2000, HTJ2K) else JPEG_LS
    with pytest.raises(CodecError):
        decoded(ENCODERS[other](), layout(syntax_uid=uid))


def test_streams_of_more_samples() -> None:
    """Colours where the header says grey are a CodecError."""
    for uid, data in [(JPEG_2000, jpeg_2000(colours())), (LOSSLESS, lossless_jpeg(colours(), 8))]:
        with pytest.raises(CodecError, match="samples"):
            decoded(data, layout(syntax_uid=uid, bits_allocated=8))


@pytest.mark.parametrize("uid", [BASELINE, LOSSLESS, JPEG_LS, JPEG_2000, HTJ2K])
def test_decompression_bombs_never_reach_the_codec(
    uid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that claims 65,535 x 65,535 pixels is refused by its header alone."""
    data = bytearray(ENCODERS[uid]())
    if uid in (JPEG_2000, HTJ2K):
        struct.pack_into(">II", data, 8, 65535, 65535)
    else:
        marker = {BASELINE: b"\xff\xc0", LOSSLESS: b"\xff\xc3", JPEG_LS: b"\xff\xf7"}[uid]
        struct.pack_into(">HH", data, data.index(marker) + 5, 65535, 65535)
    for name in ("jpeg8_decode", "jpegls_decode", "jpeg2k_decode"):
        monkeypatch.setattr(imagecodecs, name, None)
    with pytest.raises(CodecError, match=r"65535, 65535|more tiles"):
        decoded(bytes(data), layout(syntax_uid=uid))


def siz(**changes: int) -> bytes:
    """The head of a JPEG 2000 codestream of 24 x 40 pixels."""
    values = {
        **{"x": 40, "y": 24, "x0": 0, "y0": 0, "tx": 40, "ty": 24, "tx0": 0, "ty0": 0},
        **{"count": 1, "depth": 15, "dx": 1, "dy": 1, "length": 41},
    } | changes
    order = ("x", "y", "x0", "y0", "tx", "ty", "tx0", "ty0", "count")
    body = struct.pack(">H8IH", 0, *(values[name] for name in order))
    component = bytes((values["depth"], values["dx"], values["dy"]))
    return b"\xff\x4f\xff\x51" + struct.pack(">H", values["length"]) + body + component


@pytest.mark.parametrize(
    "data",
    [
        siz(tx=0),
        siz(ty=0),
        siz(tx=1, ty=1, x=400, y=400),
        siz(tx0=41),
        siz(x0=4),
        siz(count=0, length=38),
        siz(count=2),
        siz(count=2, length=44),
        siz(length=40),
        siz(dx=2),
        siz(depth=37),
        b"\x00\x00\x00\x0cjP  \r\n\x87\n",
        b"\x00\x00\x00\x0cjP  \r\n\x87\n" + b"\x00\x00\x00\x07jp2c",
        b"\x00\x00\x00\x0cjP  \r\n\x87\n" + b"\x00\x00\x01\x00jp2c",
        b"\x00\x00\x00\x0cjP  \r\n\x87\n" + b"\x00\x00\x00\x01jp2c" + bytes(8),
    ],
)
def test_jpeg_2000_headers_that_lie(data: bytes) -> None:
    """Sizes, tiles, components and boxes that make no sense are a CodecError."""
    with pytest.raises(CodecError):
        decoded(data, layout(syntax_uid=JPEG_2000))


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8",
        b"\xff\xd8\xff\xff\xff",
        b"\xff\xd8\x00\xe0\x00\x04ab",
        b"\xff\xd8\xff\xe0\x00\x01",
        b"\xff\xd8\xff\xe0\xff\xff",
        b"\xff\xd8\xff\xda\x00\x04ab\xff\xd9",
        b"\xff\xd8\xff\xc0\x00\x04ab\xff\xd9",
        b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x18\x00\x28\x02\x01\x11\x00\xff\xd9",
        b"\xff\xd8\xff\xc2\x00\x0b\x08\x00\x18\x00\x28\x01\x01\x11\x00\xff\xd9",
        b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x18\x00\x28\x01\x01\x11\x00\xff\xd9",
    ],
)
def test_jpeg_headers_that_lie(data: bytes) -> None:
    """Markers and lengths that make no sense, and progressive frames, are a CodecError."""
    with pytest.raises(CodecError):
        decoded(data, layout(syntax_uid=BASELINE))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(ENCODERS)), st.data())
def test_damage_raises_only_our_errors(uid: str, data: st.DataObject) -> None:
    """Flipped bytes give pixels or one of our errors, and nothing else."""
    stream = bytearray(ENCODERS[uid]())
    for place in data.draw(st.lists(st.integers(0, len(stream) - 1), min_size=1, max_size=6)):
        stream[place] = data.draw(st.integers(0, 255))
    try:
        got = decoded(bytes(stream), layout(syntax_uid=uid))
    except SeriesIOError:
        return
    assert got.shape == (24, 40)
