"""Pictures: PNG as Pillow reads it, TIFF as tifffile does; values as they are, or as shown."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile
from numpy.typing import NDArray

from seriesio.blob import read_all
from seriesio.dicom.sorting import Axis
from seriesio.errors import EncodeError, FormatError, MissingDependencyError
from seriesio.formats import pictures
from seriesio.formats.image import Image
from seriesio.formats.pictures import PngFormat, TiffFormat

from .guest_files import voxels

PLACE = np.diag([0.5, 0.25, 3.0, 1.0])


def pngs(image: Image, name: str = "a", **options: Any) -> dict[str, PIL.Image.Image]:
    blobs = PngFormat().write(image, name, options=options)
    return {blob.name: PIL.Image.open(io.BytesIO(bytes(read_all(blob)))) for blob in blobs}


def tiff(image: Image, **options: Any) -> tifffile.TiffFile:
    (blob,) = TiffFormat().write(image, "d/a", options=options)
    assert blob.name == "d/a.tif"
    data = bytes(read_all(blob))
    assert len(data) == blob.size
    return tifffile.TiffFile(io.BytesIO(data))


# --- PNG -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "mode"),
    [("u1", "L"), (bool, "L"), ("u2", "I;16"), ("i2", "I;16"), ("i8", "I;16"), (">u2", "I;16")],
)
def test_png_values(dtype: Any, mode: str) -> None:
    """Whole numbers are written as they are, 8-bit or 16-bit, one picture for each slice."""
    array = voxels(dtype, (2, 2, 3, 4))
    axes = (Axis("time", "s", np.arange(2.0)),)
    found = pngs(Image(array, axes))
    assert list(found) == ["IM00001.png", "IM00002.png", "IM00003.png", "IM00004.png"]
    for picture, frame in zip(found.values(), array.reshape(4, 3, 4), strict=True):
        assert picture.mode == mode
        np.testing.assert_array_equal(np.asarray(picture), frame)


def test_png_extremes() -> None:
    """0 and 65535 fit; rows that differ by any amount survive the filter."""
    array = np.random.default_rng(1).integers(0, 65536, (1, 50, 40)).astype(np.uint16)
    array[0, 0, :2] = 0, 65535
    (picture,) = pngs(Image(array)).values()
    np.testing.assert_array_equal(np.asarray(picture), array[0])


def test_png_names_and_size() -> None:
    """A single picture has the caller's name, several lie beside it; pixels per metre are told."""
    assert list(pngs(Image(voxels(shape=(1, 3, 4))), "d/one")) == ["d/one.png"]
    found = pngs(Image(voxels(), affine=PLACE), "d/many")
    assert list(found) == ["d/IM00001.png", "d/IM00002.png"]
    dpi = found["d/IM00001.png"].info["dpi"]
    np.testing.assert_allclose(dpi, (2000 * 0.0254, 4000 * 0.0254), rtol=1e-3)


def test_png_colours() -> None:
    """Colours of 8 bits are Pillow's, those of 16 bits tell their depth in the header."""
    rgb = np.random.default_rng(1).integers(0, 256, (2, 3, 4, 3)).astype(np.uint8)
    for picture, frame in zip(pngs(Image(rgb, color=True)).values(), rgb, strict=True):
        assert picture.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(picture), frame)
    deep = rgb.astype(np.uint16) << 8
    blob = next(iter(PngFormat().write(Image(deep, color=True), "a", options={})))
    data = bytes(read_all(blob))
    assert (data[24], data[25]) == (16, 2)  # bit depth, colour type (PNG section 11.2.1)
    picture = PIL.Image.open(io.BytesIO(data)).convert("RGB")
    np.testing.assert_array_equal(np.asarray(picture), rgb[0])


@pytest.mark.parametrize("array", [voxels("i2") - 5, voxels("i4") * 9999, voxels("f4")])
def test_png_refuses_what_it_cannot_hold(array: NDArray[Any]) -> None:
    """Negative, too large and fractional values are not written unless a window is given."""
    with pytest.raises(EncodeError, match=r'from 0 to 65535.*window="auto"'):
        pngs(Image(array))
    assert all(picture.mode == "L" for picture in pngs(Image(array), window="auto").values())


def test_png_window() -> None:
    """Values of a window are spread from black to white, those outside clipped; NaN is black."""
    array = np.array([[[-1000.0, -100, 0, 100, 3000, np.nan]]], np.float32)
    (picture,) = pngs(Image(array), window=(-100, 100)).values()
    assert np.asarray(picture)[0].tolist() == [0, 0, 128, 255, 255, 0]


def test_png_automatic_window() -> None:
    """The header's window is taken where it is known, else almost all values are spread."""
    array = np.linspace(-500, 500, 1000, dtype=np.float32).reshape(1, 20, 50)
    told = {"WindowCenter": 0.5, "WindowWidth": 201}
    (picture,) = pngs(Image(array, attributes=told), window="auto").values()
    shown = np.asarray(picture).ravel()
    assert np.abs(array.ravel()[shown == 0].max() - -100) < 2
    assert np.abs(array.ravel()[shown == 255].min() - 100) < 2
    (picture,) = pngs(Image(array), window="auto").values()
    assert (np.asarray(picture) == 0).sum() < 20


@pytest.mark.parametrize("window", ["wide", 5, (5, 5), (1, float("inf")), (1, 2, 3)])
def test_wrong_windows(window: Any) -> None:
    """A window is "auto" or two finite ascending values."""
    for format_ in (PngFormat(), TiffFormat()):
        with pytest.raises(EncodeError, match="window="):
            list(format_.write(Image(voxels()), "a", options={"window": window}))


# --- TIFF ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8", ">i2"])
def test_tiff_values(dtype: str) -> None:
    """Every page of every type is what it was; three types are ImageJ's."""
    array = voxels(dtype, (5, 2, 3, 4))
    image = Image(array, (Axis("time", "s", np.array([0, 2.5, 5, 7.5, 10])),), PLACE)
    with tiff(image) as found:
        np.testing.assert_array_equal(found.asarray(), array)
        assert (len(found.pages), found.series[0].axes) == (10, "TZYX")
        assert found.is_imagej is (dtype in ("u1", "u2", "f4"))
        told = found.imagej_metadata or found.shaped_metadata[0]  # type: ignore[index]
        assert (told["spacing"], told["unit"], told["finterval"]) == (3.0, "mm", 2.5)
        scale = 1 if found.is_imagej else 10  # for each mm, or for each cm
        first: Any = found.pages[0]
        assert first.resolution == (2 * scale, 4 * scale)


def test_tiff_colours_axes_and_window() -> None:
    """Colours, several further axes and shown values."""
    rgb = voxels("u1", (2, 3, 4, 3))
    with tiff(Image(rgb, color=True)) as found:
        np.testing.assert_array_equal(found.asarray(), rgb)
        assert found.series[0].axes == "ZYXS"
    axes = (Axis("b", "s/mm2", np.arange(2.0)), Axis("time", "s", np.arange(5.0)))
    with tiff(Image(voxels(shape=(2, 5, 2, 3, 4)), axes)) as found:
        np.testing.assert_array_equal(found.asarray(), voxels(shape=(2, 5, 2, 3, 4)))
        assert found.series[0].axes == "CTZYX"
    with tiff(Image(np.array([[[-9.0, 0, 9]]])), window=(-1, 1)) as found:
        assert found.asarray().ravel().tolist() == [0, 128, 255]


def test_tiff_without_a_copy() -> None:
    """A plain array is written from its own memory; any view comes out right too."""
    array = voxels(shape=(4, 6, 8))
    (blob,) = TiffFormat().write(Image(array), "a", options={"extension": ".tiff"})
    assert blob.name == "a.tiff"
    pieces = [np.frombuffer(piece, np.uint8) for piece in getattr(blob, "pieces")]  # noqa: B009
    assert any(np.shares_memory(piece, array) for piece in pieces)
    view = array[::-1, ::2, ::3]
    with tiff(Image(view)) as found:
        np.testing.assert_array_equal(found.asarray(), view)


def test_big_tiff() -> None:
    """More than 4 GB are laid out as BigTIFF, without the voxels in memory."""
    huge = np.broadcast_to(np.uint16(7), (2100, 1024, 1024))
    (blob,) = TiffFormat().write(Image(huge), "a", options={})
    assert blob.size > huge.nbytes
    reader = blob.open()
    head = bytearray(4)
    reader.readinto(memoryview(head), 0)
    reader.close()
    assert bytes(head) == b"II\x2b\0"  # version 43


@pytest.mark.parametrize("window", ["auto", (0, 1)])
def test_no_window_on_complex(window: Any) -> None:
    """What is shown of complex values is the caller's to say: no part is left out in silence."""
    for format_ in (PngFormat(), TiffFormat()):
        with pytest.raises(EncodeError, match=r"abs\(series\)"):
            list(format_.write(Image(voxels("c8")), "a", options={"window": window}))


def test_tiff_refuses_complex() -> None:
    """Complex voxels are no picture."""
    with pytest.raises(EncodeError, match="complex64"):
        tiff(Image(voxels("c8")))


def test_missing_tifffile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without tifffile the error says what to install."""

    def fail(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(pictures, "import_module", fail)
    with pytest.raises(MissingDependencyError, match=r'pip install "seriesio\[tiff\]"'):
        tiff(Image(voxels()))


@pytest.mark.parametrize("format_", [PngFormat(), TiffFormat()])
def test_never_read(format_: PngFormat | TiffFormat) -> None:
    """Pictures are claimed by nobody, and reading one says so; unknown options are refused."""
    assert not format_.claims("a.png", b"\x89PNG\r\n\x1a\n")
    assert not format_.companions("a.png", b"")
    with pytest.raises(FormatError, match="written, not read"):
        format_.read("a.png", {}, memory=1, options={})
    with pytest.raises(TypeError, match="window"):
        list(format_.write(Image(voxels()), "a", options={"dpi": 72}))
