"""NRRD: as SimpleITK and pynrrd read and write it, and no harm from damaged or lying files."""

from __future__ import annotations

import bz2
import gzip
import subprocess
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from seriesio import Series
from seriesio.dicom.sorting import Axis
from seriesio.errors import DataError, EncodeError, SeriesIOError, TooLargeError
from seriesio.formats.image import Image
from seriesio.formats.nrrd import NrrdFormat

from .guest_files import MEMORY, OBLIQUE, TYPES, GuestFiles, affine_of, changed, place, voxels

nrrd: Any = import_module("nrrd")
sitk: Any = import_module("SimpleITK")

FORMAT = NrrdFormat()
FILES = GuestFiles(FORMAT, "a.nrrd")
read, read_path, write = FILES.read, FILES.read_path, FILES.write
HEADER = "NRRD0004\ntype: short\ndimension: 3\nsizes: 4 3 2\nendian: little\n"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
def test_read_what_simpleitk_writes(tmp_path: Path, dtype: str, packed: bool) -> None:
    """Voxels of every type and an oblique place are SimpleITK's; so with a separate data file."""
    made = sitk.GetImageFromArray(voxels(dtype))
    made.SetDirection(OBLIQUE.ravel().tolist())
    made.SetSpacing([0.5, 0.75, 3.0])
    made.SetOrigin([-10.0, 20.5, 30.0])
    for name in ("a.nrrd", "b.nhdr"):
        sitk.WriteImage(made, str(tmp_path / name), packed)
        image = read_path(tmp_path / name)
        np.testing.assert_array_equal(image.array, voxels(dtype))
        assert image.array.dtype == np.dtype(dtype)
        assert image.affine is not None
        np.testing.assert_allclose(image.affine, affine_of(made), atol=1e-12)
        assert (image.axes, image.color, image.notes) == ((), False, ())


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "ascii"])
@pytest.mark.parametrize("dtype", TYPES)
def test_read_what_pynrrd_writes(tmp_path: Path, dtype: str, encoding: str) -> None:
    """Every type in every encoding that pynrrd has comes out the same, attached or detached."""
    for name in ("a.nrrd", "a.nhdr"):
        header = {"encoding": encoding, "spacings": [0.5, 0.75, 3.0]}
        nrrd.write(str(tmp_path / name), voxels(dtype), header, index_order="C")
        image = read_path(tmp_path / name)
        np.testing.assert_array_equal(image.array, voxels(dtype))
        assert (image.affine, image.spacing) == (None, (3.0, 0.75, 0.5))


@pytest.mark.parametrize("options", [{}, {"compress": True}, {"detached": True}])
@pytest.mark.parametrize("dtype", TYPES)
def test_others_read_what_is_written(tmp_path: Path, dtype: str, options: dict[str, bool]) -> None:
    """SimpleITK finds voxels and an oblique, sheared place, pynrrd the voxels."""
    path = write(tmp_path, Image(voxels(dtype), affine=place()), **options)[0]
    assert path.suffix == (".nhdr" if options.get("detached") else ".nrrd")
    found = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), voxels(dtype))
    np.testing.assert_allclose(affine_of(found), place(), atol=1e-12)
    array, header = nrrd.read(str(path), index_order="C")
    np.testing.assert_array_equal(array, voxels(dtype))
    assert header["space"] == "left-posterior-superior"


def test_names_of_files(tmp_path: Path) -> None:
    """A target that ends in .nhdr is a header with its data file beside it, packed or not."""
    image = Image(voxels(), affine=place())
    assert [p.name for p in write(tmp_path, image, extension=".nhdr")] == ["a.nhdr", "a.raw"]
    packed = write(tmp_path, image, detached=True, compress=True)
    assert [p.name for p in packed] == ["a.nhdr", "a.raw.gz"]
    np.testing.assert_array_equal(nrrd.read(str(packed[0]), index_order="C")[0], voxels())
    np.testing.assert_array_equal(read_path(packed[0]).array, voxels())


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("left-posterior-superior", (1, 1, 1)),
        ("right-anterior-superior", (-1, -1, 1)),
        ("RAS", (-1, -1, 1)),
        ("left-anterior-superior", (1, -1, 1)),
        ("LAS", (1, -1, 1)),
    ],
)
def test_spaces(tmp_path: Path, space: str, signs: tuple[int, ...]) -> None:
    """RAS and LAS are turned into LPS, as SimpleITK does."""
    head = HEADER + (
        f"space: {space}\nspace directions: (1,0,0.5) (0,2,0) (0,0,3)\n"
        "space origin: (5,6,7)\nencoding: raw\n\n"
    )
    path = tmp_path / "a.nrrd"
    path.write_bytes(head.encode() + voxels().tobytes())
    image = read_path(path)
    assert image.affine is not None
    np.testing.assert_allclose(image.affine[:3, 3], np.array([5, 6, 7]) * signs)
    np.testing.assert_allclose(image.affine[:3, 0], np.array([1, 0, 0.5]) * signs)
    np.testing.assert_allclose(image.affine, affine_of(sitk.ReadImage(str(path))), atol=1e-12)


@pytest.mark.parametrize(("unit", "scale"), [("cm", 10), ("um", 1e-3), ("m", 1000), ("mm", 1)])
def test_units_of_space(tmp_path: Path, unit: str, scale: float) -> None:
    """Directions and origin in another unit than mm come out in mm; one that is unknown is told."""
    directions, origin = OBLIQUE.T * [[2.0], [3.0], [4.0]], np.array([5.0, -6.0, 7.0])
    told: dict[str, Any] = {"space": "RAS", "space directions": directions, "space origin": origin}
    path = tmp_path / "a.nrrd"
    nrrd.write(str(path), voxels().T, told | {"space units": [unit] * 3})
    image = read_path(path)
    assert image.affine is not None
    turn = np.diag([-scale, -scale, scale])
    np.testing.assert_allclose(image.affine[:3, :3], turn @ directions.T)
    np.testing.assert_allclose(image.affine[:3, 3], turn @ origin)
    nrrd.write(str(path), voxels().T, told | {"space units": ["ell"] * 3})
    assert any("units are unknown" in note for note in read_path(path).notes)


def test_units_of_spacings() -> None:
    """A mere spacing comes out in mm, too."""
    head = HEADER + 'spacings: 1 2 3\nunits: "cm" "cm" "cm"\nencoding: raw\n\n'
    assert read(head.encode() + voxels().tobytes()).spacing == (30.0, 20.0, 10.0)


def test_names_of_data_files(tmp_path: Path) -> None:
    """Blanks and letters of any language in a header's UTF-8 or Latin-1; LIST needs a blank."""
    for number, (name, code) in enumerate(
        [("a b c d.raw", "ascii"), ("ü.raw", "utf-8"), ("é.raw", "latin-1"), ("LIST.raw", "ascii")]
    ):
        (tmp_path / name).write_bytes(voxels().tobytes())
        path = tmp_path / f"{number}.nhdr"
        path.write_bytes((HEADER + f"encoding: raw\ndata file: {name}\n").encode(code))
        np.testing.assert_array_equal(read_path(path).array, voxels())
    for stem in ("LIST of", "a%03d"):
        with pytest.raises(EncodeError, match="list or pattern"):
            list(FORMAT.write(Image(voxels()), stem, options={"detached": True}))


def test_spaces_without_a_patient() -> None:
    """Scanner coordinates, and a space without a name, are taken as LPS and told so."""
    for space in ("space: scanner-xyz", "space dimension: 3"):
        head = f"{HEADER}{space}\nspace directions: (1,0,0) (0,2,0) (0,0,3)\nencoding: raw\n\n"
        image = read(head.encode() + voxels().tobytes())
        assert image.affine is not None
        np.testing.assert_allclose(np.diag(image.affine), [1, 2, 3, 1])
        assert "taken as LPS" in image.notes[0]


def test_big_endian_hex_skips_and_comments() -> None:
    """Byte order, hexadecimal digits, skipped lines and bytes, CRLF and comments."""
    head = HEADER.replace("little", "big") + "# comment\nencoding: hex\n\n"
    digits = voxels(">i2").tobytes().hex(" ").upper() + "\n"
    image = read(head.replace("\n", "\r\n").encode() + digits.encode())
    np.testing.assert_array_equal(image.array, voxels())
    head = HEADER + "encoding: raw\nline skip: 2\nbyte skip: 3\n\n"
    image = read(head.encode() + b"one\ntwo\nabc" + voxels().tobytes())
    np.testing.assert_array_equal(image.array, voxels())
    head = HEADER + "encoding: raw\nbyteskip: -1\n\n"
    image = read(head.encode() + b"whatever" + voxels().tobytes())
    np.testing.assert_array_equal(image.array, voxels())
    head = HEADER + "encoding: gzip\nbyte skip: 3\n\n"
    image = read(head.encode() + gzip.compress(b"abc" + voxels().tobytes()))
    np.testing.assert_array_equal(image.array, voxels())


def test_members() -> None:
    """A gzip stream of several members is one run of voxels."""
    data = voxels().tobytes()
    packed = gzip.compress(data[:7]) + gzip.compress(b"") + gzip.compress(data[7:])
    image = read((HEADER + "encoding: gz\n\n").encode() + packed)
    np.testing.assert_array_equal(image.array, voxels())
    packed = bz2.compress(data[:7]) + bz2.compress(data[7:])
    image = read((HEADER + "encoding: bz2\n\n").encode() + packed)
    np.testing.assert_array_equal(image.array, voxels())


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_colours(tmp_path: Path, dtype: str) -> None:
    """Three unsigned values that stand together are colours, there and back."""
    rgb = voxels(dtype, (2, 3, 4, 3))
    made = sitk.GetImageFromArray(rgb, isVector=True)
    sitk.WriteImage(made, str(tmp_path / "c.nrrd"))
    image = read_path(tmp_path / "c.nrrd")
    assert image.color
    np.testing.assert_array_equal(image.array, rgb)
    path = write(tmp_path, image)[0]
    found = sitk.ReadImage(str(path))
    assert found.GetNumberOfComponentsPerPixel() == 3
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), rgb)
    np.testing.assert_allclose(affine_of(found), affine_of(made))


def test_lists_come_first(tmp_path: Path) -> None:
    """An axis that has no direction in space leads, wherever it stands in the file."""
    field = voxels("f4", (2, 3, 4, 5))
    sitk.WriteImage(sitk.GetImageFromArray(field, isVector=True), str(tmp_path / "v.nrrd"))
    image = read_path(tmp_path / "v.nrrd")
    assert [axis.name for axis in image.axes] == ["channel"]
    np.testing.assert_array_equal(image.array, np.moveaxis(field, -1, 0))
    head = {"kinds": ["domain", "list", "domain", "domain"], "labels": ["x", "te", "y", "z"]}
    nrrd.write(str(tmp_path / "l.nrrd"), voxels(shape=(2, 3, 6, 4)), head, index_order="C")
    image = read_path(tmp_path / "l.nrrd")
    assert [axis.name for axis in image.axes] == ["te"]
    np.testing.assert_array_equal(image.array, np.moveaxis(voxels(shape=(2, 3, 6, 4)), 2, 0))


def test_fourth_dimension_is_time(tmp_path: Path) -> None:
    """A fourth axis of SimpleITK's, and one of kind time, are time by their spacing."""
    array = voxels(shape=(5, 2, 3, 4))
    made = sitk.GetImageFromArray(array, isVector=False)
    made.SetSpacing([0.5, 0.75, 3.0, 2.5])
    sitk.WriteImage(made, str(tmp_path / "t.nrrd"))
    image = read_path(tmp_path / "t.nrrd")
    (axis,) = image.axes
    assert (axis.name, axis.unit, axis.values.tolist()) == ("time", "s", [0, 2.5, 5, 7.5, 10])
    np.testing.assert_array_equal(image.array, array)
    assert read_path(tmp_path / "t.nrrd", axes="te").axes[0].name == "te"
    head = {
        "space": "RAS",
        "space directions": np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [np.nan] * 3]),
        "kinds": ["domain", "domain", "domain", "time"],
        "spacings": [np.nan, np.nan, np.nan, 500.0],
        "units": ["", "", "", "ms"],
    }
    nrrd.write(str(tmp_path / "s.nrrd"), array, head, index_order="C")
    assert read_path(tmp_path / "s.nrrd").axes[0].values.tolist() == [0, 0.5, 1, 1.5, 2]


def test_unknown_axis(tmp_path: Path) -> None:
    """A list of which nothing is told is not taken for time."""
    nrrd.write(str(tmp_path / "a.nrrd"), voxels(shape=(5, 2, 3, 4)), {}, index_order="C")
    (axis,) = read_path(tmp_path / "a.nrrd").axes
    assert (axis.name, axis.unit, axis.values.tolist()) == ("none", "", [0, 1, 2, 3, 4])


def test_multi_volume() -> None:
    """3D Slicer's MultiVolume names its axis and gives its values."""
    head = (
        "NRRD0005\ntype: uint8\ndimension: 4\nspace: RAS\nsizes: 2 2 2 3\n"
        "space directions: (1,0,0) (0,1,0) (0,0,1) none\nkinds: domain domain domain list\n"
        "encoding: raw\nMultiVolume.FrameIdentifyingDICOMTagName:=FlipAngle\n"
        "MultiVolume.FrameLabels:=2,5,15\nMultiVolume.NumberOfFrames:=3\n\n"
    )
    (axis,) = read(head.encode() + bytes(24)).axes
    assert (axis.name, axis.unit, axis.values.tolist()) == ("fa", "deg", [2, 5, 15])
    timed = head.replace("FlipAngle", "AcquisitionTime").replace(
        "\n\n", "\nMultiVolume.FrameIdentifyingDICOMTagUnits:=ms\n\n"
    )
    assert read(timed.encode() + bytes(24)).axes[0].values.tolist() == [0.002, 0.005, 0.015]


def test_axes_come_back(tmp_path: Path) -> None:
    """Names, units and uneven values of further axes survive; one axis SimpleITK can read, too."""
    time = Axis("time", "s", np.array([10.0, 12.5, 15.0]))
    te = Axis("te", "ms", np.array([10.0, 25.0, 30.0]))
    trace = Axis("dti", "s/mm2", np.array([[0.0, 0, 0, 0], [1e3, 0, 0, 0]]))
    for axes in ((time,), (te,), (time, te), (trace,)):  # a trace has no direction
        shape = (*map(len, axes), 2, 3, 4)
        path = write(tmp_path, Image(voxels(shape=shape), axes, place()))[0]
        image = read_path(path)
        assert [axis.name for axis in image.axes] == [axis.name for axis in axes]
        for found, axis in zip(image.axes, axes, strict=True):
            np.testing.assert_array_equal(found.values, axis.values)
        array, header = nrrd.read(str(path), index_order="C")
        np.testing.assert_array_equal(array, voxels(shape=shape))
        assert header["labels"][-1] == axes[0].name
        if len(axes) == 1:  # as components of each voxel
            found = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
            np.testing.assert_array_equal(np.moveaxis(found, -1, 0), voxels(shape=shape))


SLICER = (
    "NRRD0005\ntype: uint8\ndimension: 4\nspace: right-anterior-superior\nsizes: {sizes}\n"
    "space directions: {directions}\nkinds: {kinds}\nencoding: raw\nspace origin: (0,0,0)\n"
    "measurement frame: (0,1,0) (-1,0,0) (0,0,1)\nmodality:=DWMRI\nDWMRI_b-value:=1000\n"
    "DWMRI_gradient_0000:=0 0 0\nDWMRI_NEX_0000:=2\nDWMRI_gradient_0002:=1 0 0\n"
    "DWMRI_gradient_0003:=0 0.6 0.8\nDWMRI_gradient_0004:=0 0 0.5\n\n"
)


@pytest.mark.parametrize("first", [True, False])
def test_diffusion(first: bool) -> None:
    """3D Slicer's gradients: b by squared lengths, directions through the frame into LPS.

    By hand: the frame's first vector is (0, 1, 0), so a gradient along x lies along the anterior
    axis of RAS, which is (0, -1, 0) in LPS; one along y lies along -x of RAS, +x of LPS.
    """
    space, other = "(1,0,0) (0,1,0) (0,0,1)", ("none", "list", "5")

    def order(a: str, b: str) -> str:
        return f"{b} {a}" if first else f"{a} {b}"

    head = SLICER.format(
        sizes=order("4 3 2", other[2]),
        directions=order(space, other[0]),
        kinds=order("domain domain domain", other[1]),
    )
    image = read(head.encode() + voxels("u1", (5, 2, 3, 4)).tobytes())
    (axis,) = image.axes
    assert (axis.name, axis.unit) == ("b", "s/mm2")
    np.testing.assert_allclose(axis.values, [0, 0, 1000, 1000, 250])
    expected = np.array([[0, 0, 0], [0, 0, 0], [0, -1, 0], [0.6, 0, 0.8], [0, 0, 1]])
    assert image.bvectors is not None
    np.testing.assert_allclose(image.bvectors, expected, atol=1e-12)
    plain = voxels("u1", (5, 2, 3, 4))
    stored = np.moveaxis(plain.reshape(2, 3, 4, 5), -1, 0) if first else plain
    np.testing.assert_array_equal(image.array, stored)


@pytest.mark.parametrize("name", ["b", "dti"])
def test_diffusion_written(tmp_path: Path, name: str) -> None:
    """Gradients are written as 3D Slicer has them, and come back; other readers see the fields."""
    b = np.array([0.0, 1000, 1000, 250])
    vectors = np.array([[0, 0, 0], [1, 0, 0], [0, 0.6, -0.8], [0, 0, 1.0]])
    values = np.column_stack([b, vectors]) if name == "dti" else b
    image = Image(
        voxels(shape=(4, 2, 3, 4)), (Axis(name, "s/mm2", values),), place(), False, vectors
    )
    path = write(tmp_path, image)[0]
    _, header = nrrd.read(str(path))
    assert (header["modality"], header["DWMRI_b-value"]) == ("DWMRI", "1000")
    np.testing.assert_array_equal(header["measurement frame"], np.eye(3))
    assert header["DWMRI_gradient_0003"].split() == ["0", "0", "0.5"]
    again = read_path(path)
    np.testing.assert_allclose(again.axes[0].values, b)
    assert again.bvectors is not None
    np.testing.assert_allclose(again.bvectors, vectors, atol=1e-12)


def test_two_dimensions(tmp_path: Path) -> None:
    """A plane in space is one slice, its normal upright on it."""
    head = (
        "NRRD0004\ntype: short\ndimension: 2\nspace: LPS\nsizes: 4 3\nendian: little\n"
        "space directions: (0,2,0) (0,0,3)\nspace origin: (1,2,3)\nencoding: raw\n\n"
    )
    image = read(head.encode() + voxels(shape=(3, 4)).tobytes())
    np.testing.assert_array_equal(image.array, voxels(shape=(1, 3, 4)))
    assert image.affine is not None
    np.testing.assert_allclose(image.affine[:3], [[0, 0, 1, 1], [2, 0, 0, 2], [0, 3, 0, 3]])


def test_what_cannot_be_written() -> None:
    """Complex voxels and an affine that is none are refused; unknown options too."""
    with pytest.raises(EncodeError, match="complex64"):
        list(FORMAT.write(Image(voxels("c8")), "a", options={}))
    with pytest.raises(EncodeError, match="affine"):
        list(FORMAT.write(Image(voxels(), affine=np.full((4, 4), np.inf)), "a", options={}))
    axes = (Axis("größe", "", np.arange(2.0)),)
    with pytest.raises(EncodeError, match="ASCII"):
        list(FORMAT.write(Image(voxels(shape=(2, 2, 3, 4)), axes), "a", options={}))
    with pytest.raises(TypeError, match="compress, detached"):
        list(FORMAT.write(Image(voxels()), "a", options={"level": 3}))


def test_claims_and_companions() -> None:
    """The magic decides; data files of the same directory belong to a header, no others."""
    assert FORMAT.claims("x", b"NRRD0005\n")
    assert not FORMAT.claims("a.nrrd", b"NRRD0009\n")
    head = HEADER.encode()
    assert FORMAT.companions("d/a.nhdr", head + b"data file: ./b.raw\n\n") == ["d/b.raw"]
    assert FORMAT.companions("d/a.nhdr", head + b"datafile: /b.raw\n\n") == []
    assert FORMAT.companions("d/a.nrrd", head + b"\ndata file: b.raw\n") == []
    assert FORMAT.companions("d/a.nhdr", head) == ["d/a.raw", "d/a.raw.gz"]


SPACED = HEADER + "space: LPS\n"


@pytest.mark.parametrize(
    ("text", "body", "told"),
    [
        ("NRRD0007\n\n", b"", "is no NRRD0001 to NRRD0005"),
        (HEADER + "nonsense\n\n", b"", "line 6 of the header is no field"),
        (HEADER + "sizes: 4 3 2\nencoding: raw\n\n", b"", "same field twice"),
        (HEADER + "encoding: raw\n\n", bytes(47), "1 bytes short"),
        (HEADER + "encoding: zip\n\n", b"", "encoding is none of"),
        (HEADER.replace("short", "block") + "encoding: raw\n\n", b"", "type is none"),
        (HEADER.replace("little", "") + "encoding: raw\n\n", b"", "neither little nor big"),
        (HEADER.replace("4 3 2", "4 3") + "encoding: raw\n\n", b"", "sizes is not 3 whole"),
        (HEADER.replace("4 3 2", "4 3 0") + "encoding: raw\n\n", b"", "size 0×3×4"),
        (HEADER.replace(": 3", ": 99") + "encoding: raw\n\n", b"", "not 1 to 16"),
        (HEADER + "space: somewhere\nencoding: raw\n\n", b"", "none that NRRD0005 names"),
        (SPACED + "space directions: (1,0,0) none none\nencoding: raw\n\n", b"", "is no plane"),
        (SPACED + "space directions: (1,0,0)\nencoding: raw\n\n", b"", "not 3 vectors"),
        (
            SPACED + "space directions: (1,0,0) (2,0,0) (0,0,1)\nencoding: raw\n\n",
            b"",
            "span no volume",
        ),
        (
            SPACED + "space directions: (1,0,0) (0,inf,0) (0,0,1)\nencoding: raw\n\n",
            b"",
            "3 finite numbers",
        ),
        (HEADER + "kinds: domain\nencoding: raw\n\n", b"", "kinds are not 3 words"),
        (HEADER + 'labels: "a b\nencoding: raw\n\n', b"", "quote without its end"),
        (HEADER + "encoding: raw\nbyte skip: -7\n\n", b"", "byte skip"),
        (HEADER + "encoding: gzip\nbyte skip: -1\n\n", b"", "raw voxels alone"),
        (HEADER + "encoding: raw\nline skip: 5\n\n", b"\n", "more lines"),
        (HEADER + "encoding: gzip\n\n", b"damaged" * 9, "damaged"),
        (HEADER + "encoding: bzip2\n\n", b"damaged", "damaged"),
        (HEADER + "encoding: gzip\n\n", gzip.compress(bytes(48))[:-4], "cut short"),
        (HEADER + "encoding: bzip2\n\n", bz2.compress(bytes(48))[:-4], "cut short"),
        (HEADER + "encoding: gzip\n\n", gzip.compress(bytes(1 << 24)), "more than its header"),
        (HEADER + "encoding: bzip2\n\n", bz2.compress(bytes(1 << 22)), "more than its header"),
        (HEADER + "encoding: gzip\n\n", gzip.compress(b"") * 5000, "empty gzip members"),
        (HEADER + "encoding: hex\n\n", b"zz", "hexadecimal"),
        (HEADER + "encoding: hex\n\n", b"abc", "odd number"),
        (HEADER + "encoding: txt\n\n", b"1 2 99999", "not numbers of type int16"),
        (HEADER + "encoding: raw\ndata file: LIST\n\n", b"", "join them"),
        (HEADER + "encoding: raw\ndata file: LIST 2\na.raw\nb.raw\n", b"", "join them"),
        (HEADER + "encoding: raw\ndata file: a.nrrd\n\n", b"", "its own data file"),
        (HEADER + "spacings: 1_0 1 1\nencoding: raw\n\n", b"", "spacings are not 3 numbers"),
        (
            SPACED + 'space units: "mm" "cm" "mm"\nencoding: raw\n\n',
            bytes(48),
            "units differ",
        ),
        (HEADER + "encoding: raw\ndata file: s%03d.raw 1 2 1\n\n", b"", "join them"),
        (HEADER + "encoding: raw\ndata file: ../b.raw\n\n", b"", "not in the same directory"),
        (HEADER + "encoding: raw\ndata file: b.raw\n\n", b"", "'b.raw' is missing"),
    ],
)
def test_damaged_files(text: str, body: bytes, told: str) -> None:
    """What is wrong with a file is told with its name."""
    with pytest.raises(DataError, match=told) as caught:
        read(text.encode() + body)
    assert str(caught.value).startswith("a.nrrd: ")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("DWMRI_b-value:=1000", "DWMRI_b-value:=-1"), "negative"),
        (("DWMRI_gradient_0003:=0 0.6 0.8\n", ""), "DWMRI_gradient_0003 is not 3"),
        (("NEX_0000:=2", "NEX_0000:=9"), "not 1 to 5"),
        (("1 0 0\n", "1e200 0 0\n"), "no direction"),
        (("(0,1,0) (-1,0,0)", "(0,1,0)"), "measurement frame"),
    ],
)
def test_damaged_gradients(change: tuple[str, str], told: str) -> None:
    """Gradients that do not fit the volumes are told."""
    directions = "(1,0,0) (0,1,0) (0,0,1) none"
    head = SLICER.format(sizes="4 3 2 5", directions=directions, kinds="space space space list")
    with pytest.raises(DataError, match=told):
        read(head.replace(*change).encode() + bytes(120))


def test_limit() -> None:
    """A header that announces more than the limit is refused before anything is made."""
    with pytest.raises(TooLargeError, match="Limits"):
        read(HEADER.replace("4 3 2", "99999 99999 9999").encode() + b"encoding: raw\n\n")


@pytest.mark.parametrize("folder", ["mr_oblique", "mr_enhanced"])
async def test_as_dcm2niix(
    corpus: Path, tool: Callable[[str], str], tmp_path: Path, folder: str
) -> None:
    """What dcm2niix makes of real series has each voxel where the series has it."""
    command = [tool("dcm2niix"), "-e", "y", "-f", "x", "-o", str(tmp_path), str(corpus / folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    image = read(next(tmp_path.glob("*.nrrd")).read_bytes(), memory=1 << 30)
    series = await Series.open(corpus / folder)
    assert image.affine is not None
    back = np.linalg.inv(image.affine) @ series.affine
    np.testing.assert_allclose(back, np.round(back), atol=1e-3)
    places = np.indices(series.shape[-3:])[::-1].reshape(3, -1)  # columns, rows, slices
    columns, rows, slices = np.round(back[:3, :3] @ places + back[:3, 3:]).astype(int)
    found = image.array[..., slices, rows, columns]
    np.testing.assert_array_equal(found.reshape(series.shape), series.array)
    assert image.attributes["Modality"] == "MR"
    names = ("RepetitionTime", "EchoTime", "FlipAngle")
    for name in names if folder == "mr_oblique" else ():  # an enhanced header has them deeper
        assert image.attributes[name] == pytest.approx(float(getattr(series, name)), rel=1e-5)


SEEDS = [
    (SPACED + "space directions: (1,0,0) (0,2,0) (0,0,3)\nencoding: raw\n\n").encode() + bytes(48),
    (HEADER + "encoding: gzip\n\n").encode() + gzip.compress(bytes(48)),
    (HEADER + "encoding: bzip2\n\n").encode() + bz2.compress(bytes(48)),
    (HEADER + "encoding: hex\n\n").encode() + b"ab" * 48,
    (HEADER + "encoding: txt\n\n").encode() + b" 1" * 24,
    SLICER.format(
        sizes="4 3 2 5", directions="(1,0,0) (0,1,0) (0,0,1) none", kinds="space space space list"
    ).encode()
    + bytes(120),
]


@settings(max_examples=200, deadline=None)
@given(data=changed(SEEDS))
def test_mutated_files(data: bytes) -> None:
    """Whatever is changed in a file: a volume within the limit, or an error of ours."""
    FORMAT.claims("a.nrrd", data[:1024])
    FORMAT.companions("a.nhdr", data[:1024])
    try:
        image = read(data)
    except SeriesIOError:
        return
    assert image.array.nbytes <= MEMORY
