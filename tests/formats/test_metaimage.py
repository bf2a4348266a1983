"""MetaImage: as SimpleITK reads and writes it, and no harm from damaged or lying files."""

from __future__ import annotations

import zlib
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from seriesio.blob import Blob, MemoryBlob, read_all
from seriesio.dicom.sorting import Axis
from seriesio.errors import DataError, EncodeError, SeriesIOError, TooLargeError
from seriesio.formats.image import Image
from seriesio.formats.metaimage import MetaImageFormat

from .guest_files import MEMORY, OBLIQUE, TYPES, GuestFiles, affine_of, changed, place, voxels

sitk: Any = import_module("SimpleITK")

FORMAT = MetaImageFormat()
FILES = GuestFiles(FORMAT, "a.mha")
read, read_path, write = FILES.read, FILES.read_path, FILES.write
HEADER = """ObjectType = Image
NDims = 3
DimSize = 4 3 2
ElementType = MET_SHORT
"""


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
def test_read_what_simpleitk_writes(tmp_path: Path, dtype: str, packed: bool) -> None:
    """Voxels of every type and an oblique place are SimpleITK's; so with a separate data file."""
    made = sitk.GetImageFromArray(voxels(dtype))
    made.SetDirection(OBLIQUE.ravel().tolist())
    made.SetSpacing([0.5, 0.75, 3.0])
    made.SetOrigin([-10.0, 20.5, 30.0])
    for name in ("a.mha", "b.mhd"):
        sitk.WriteImage(made, str(tmp_path / name), packed)
        image = read_path(tmp_path / name)
        np.testing.assert_array_equal(image.array, voxels(dtype))
        assert image.array.dtype == np.dtype(dtype)
        assert image.affine is not None
        np.testing.assert_allclose(image.affine, affine_of(made), atol=1e-12)
        assert (image.axes, image.color, image.notes) == ((), False, ())


@pytest.mark.parametrize("options", [{}, {"compress": True}, {"detached": True}])
@pytest.mark.parametrize("dtype", TYPES)
def test_simpleitk_reads_what_is_written(
    tmp_path: Path, dtype: str, options: dict[str, bool]
) -> None:
    """SimpleITK finds the voxels, the spacing and an oblique, sheared place."""
    path = write(tmp_path, Image(voxels(dtype), affine=place()), **options)[0]
    assert path.suffix == (".mhd" if options.get("detached") else ".mha")
    found = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), voxels(dtype))
    np.testing.assert_allclose(affine_of(found), place(), atol=1e-12)


def test_detached_and_compressed_names(tmp_path: Path) -> None:
    """A target that ends in .mhd is a header with its data file beside it, packed or not."""
    image = Image(voxels(), affine=np.eye(4))
    names = [p.name for p in write(tmp_path, image, extension=".mhd")]
    assert names == ["a.mhd", "a.raw"]
    packed = write(tmp_path, image, detached=True, compress=True)
    assert [p.name for p in packed] == ["a.mhd", "a.zraw"]
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(packed[0]))), voxels())


@pytest.mark.parametrize("stem", ["a b  c d e", "schädel", "a.b"])
def test_names_of_data_files(tmp_path: Path, stem: str) -> None:
    """Blanks and letters of any language: what is written is read by SimpleITK and by us."""
    for blob in FORMAT.write(Image(voxels()), stem, options={"detached": True}):
        (tmp_path / blob.name).write_bytes(read_all(blob))
    path = tmp_path / f"{stem}.mhd"
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), voxels())
    np.testing.assert_array_equal(read_path(path).array, voxels())


def test_names_that_others_misunderstand(tmp_path: Path) -> None:
    """A data file that would be taken for a list is not written, but read where it is there."""
    for stem in ("LIST of all", "a%03d"):
        with pytest.raises(EncodeError, match="list or pattern"):
            list(FORMAT.write(Image(voxels()), stem, options={"detached": True}))
    (tmp_path / "LISTED.raw").write_bytes(voxels().tobytes())
    (tmp_path / "a.mhd").write_text(HEADER + "ElementDataFile = LISTED.raw\n")
    np.testing.assert_array_equal(read_path(tmp_path / "a.mhd").array, voxels())


def test_latin_names_of_data_files(tmp_path: Path) -> None:
    """A header that is not UTF-8 is Latin-1."""
    (tmp_path / "ü.raw").write_bytes(voxels().tobytes())
    (tmp_path / "a.mhd").write_bytes((HEADER + "ElementDataFile = ü.raw\n").encode("latin-1"))
    np.testing.assert_array_equal(read_path(tmp_path / "a.mhd").array, voxels())


def test_big_endian() -> None:
    """Words with the most significant byte first come out in the machine's order."""
    head = HEADER + "ElementByteOrderMSB = True\nElementDataFile = LOCAL\n"
    image = read(head.encode() + voxels(">i2").tobytes())
    np.testing.assert_array_equal(image.array, voxels())
    assert image.array.dtype.isnative
    assert image.affine is None


def test_text_elements() -> None:
    """BinaryData = False spells the numbers."""
    head = HEADER + "BinaryData = False\nElementDataFile = LOCAL\n"
    image = read(head.encode() + " ".join(map(str, range(24))).encode())
    np.testing.assert_array_equal(image.array, voxels())


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_colours(tmp_path: Path, dtype: str) -> None:
    """Three unsigned channels are colours, there and back."""
    rgb = voxels(dtype, (2, 3, 4, 3))
    sitk.WriteImage(sitk.GetImageFromArray(rgb, isVector=True), str(tmp_path / "c.mha"))
    image = read_path(tmp_path / "c.mha")
    assert image.color
    np.testing.assert_array_equal(image.array, rgb)
    path = write(tmp_path, image)[0]
    found = sitk.ReadImage(str(path))
    assert found.GetNumberOfComponentsPerPixel() == 3
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), rgb)


def test_vectors_are_an_axis(tmp_path: Path) -> None:
    """Channels that are no colours come first, as an axis."""
    field = voxels("f4", (2, 3, 4, 3))
    sitk.WriteImage(sitk.GetImageFromArray(field, isVector=True), str(tmp_path / "v.mha"))
    image = read_path(tmp_path / "v.mha")
    assert [axis.name for axis in image.axes] == ["channel"]
    np.testing.assert_array_equal(image.array, np.moveaxis(field, -1, 0))
    assert read_path(tmp_path / "v.mha", axes="component").axes[0].name == "component"


def test_two_dimensions(tmp_path: Path) -> None:
    """A picture is one slice in the plane z = 0, its normal upright."""
    made = sitk.GetImageFromArray(voxels(shape=(3, 4)))
    made.SetSpacing([0.5, 2.0])
    made.SetOrigin([7.0, 8.0])
    sitk.WriteImage(made, str(tmp_path / "p.mha"))
    image = read_path(tmp_path / "p.mha")
    np.testing.assert_array_equal(image.array, voxels(shape=(1, 3, 4)))
    expected = np.diag([0.5, 2.0, 1.0, 1.0])
    expected[:3, 3] = [7.0, 8.0, 0.0]
    assert image.affine is not None
    np.testing.assert_allclose(image.affine, expected)


def test_fourth_dimension_is_time(tmp_path: Path) -> None:
    """The fourth axis is time by its spacing and offset, there and back; a caller names it."""
    made = sitk.GetImageFromArray(voxels(shape=(5, 2, 3, 4)), isVector=False)
    made.SetSpacing([0.5, 0.75, 3.0, 2.5])
    made.SetOrigin([1.0, 2.0, 3.0, 10.0])
    sitk.WriteImage(made, str(tmp_path / "t.mha"))
    image = read_path(tmp_path / "t.mha")
    (axis,) = image.axes
    assert (axis.name, axis.unit, axis.values.tolist()) == ("time", "s", [10, 12.5, 15, 17.5, 20])
    assert [axis.name for axis in read_path(tmp_path / "t.mha", axes="fa").axes] == ["fa"]
    with pytest.raises(DataError, match="names 2 axes, the file has 1"):
        read_path(tmp_path / "t.mha", axes=["b", "te"])
    found = sitk.ReadImage(str(write(tmp_path, image)[0]))
    assert found.GetSpacing() == (0.5, 0.75, 3.0, 2.5)
    assert found.GetOrigin() == (1.0, 2.0, 3.0, 10.0)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), voxels(shape=(5, 2, 3, 4)))


def test_other_axes_come_back(tmp_path: Path) -> None:
    """Names and uneven values of further axes survive; SimpleITK does not mind them."""
    b = Axis("b", "s/mm2", np.array([0.0, 500.0, 2000.0]))
    te = Axis("te", "ms", np.array([10.0, 20.0]))
    dti = Axis("dti", "s/mm2", np.array([[0.0, 0, 0, 0], [1e3, 0, 0.6, 0.8]]))
    for axes in ((b,), (b, te), (dti,)):
        shape = (*map(len, axes), 2, 3, 4)
        path = write(tmp_path, Image(voxels(shape=shape), axes, np.eye(4)))[0]
        image = read_path(path)
        assert [axis.name for axis in image.axes] == [axis.name for axis in axes]
        for found, axis in zip(image.axes, axes, strict=True):
            np.testing.assert_array_equal(found.values, axis.values)
        array = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        np.testing.assert_array_equal(array, voxels(shape=shape))


def test_many_directions(tmp_path: Path) -> None:
    """b values with directions are one axis; lines stay as short as other readers want them."""
    vectors = np.random.default_rng(1).normal(size=(600, 3))
    axis = Axis("b", "s/mm2", np.linspace(0, 3000, 600) ** 0.5)
    image = Image(voxels(shape=(600, 1, 1, 2)), (axis,), np.eye(4), bvectors=vectors)
    path = write(tmp_path, image)[0]
    assert max(map(len, path.read_bytes().splitlines())) < 1 << 15
    (found,) = read_path(path).axes
    assert (found.name, found.unit) == ("dti", "s/mm2")
    np.testing.assert_array_equal(found.values, np.column_stack([axis.values, vectors]))
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    np.testing.assert_array_equal(array, voxels(shape=(600, 1, 1, 2)))


def test_spacing_without_place(tmp_path: Path) -> None:
    """Spacing alone is no place in space, there and back."""
    head = HEADER + "ElementSpacing = 0.5 0.75 3\nElementDataFile = LOCAL\n"
    image = read(head.encode() + voxels().tobytes())
    assert (image.affine, image.spacing) == (None, (3.0, 0.75, 0.5))
    again = read_path(write(tmp_path, image)[0])
    assert (again.affine, again.spacing) == (None, (3.0, 0.75, 0.5))


def test_units_and_notes() -> None:
    """Centimetres become millimetres; what is not applied or not used is told."""
    head = HEADER + (
        "ElementSpacing = 0.05 0.075 0.3\nOffset = 1 2 3\nDistanceUnits = cm\n"
        "CenterOfRotation = 1 0 0\nElementToIntensityFunctionSlope = 2\nElementDataFile = LOCAL\n"
    )
    image = read(head.encode() + voxels().tobytes() + b"tail")
    assert image.affine is not None
    np.testing.assert_allclose(image.affine[:3, 3], [10, 20, 30])
    np.testing.assert_allclose(np.diag(image.affine), [0.5, 0.75, 3, 1])
    assert len(image.notes) == 3
    assert "4 bytes" in image.notes[-1]


@pytest.mark.parametrize("skip", ["3", "-1"])
def test_header_size(skip: str) -> None:
    """HeaderSize skips bytes of the data file; -1 takes the last ones."""
    name = "d/a.mhd"
    head = HEADER + f"HeaderSize = {skip}\nElementDataFile = x.raw\n"
    files: dict[str, Blob] = {
        name: MemoryBlob(name, head.encode()),
        "d/x.raw": MemoryBlob("d/x.raw", b"abc" + voxels().tobytes()),
    }
    assert FORMAT.companions(name, head.encode()) == ["d/x.raw"]
    image = FORMAT.read(name, files, memory=MEMORY, options={})
    np.testing.assert_array_equal(image.array, voxels())


def test_written_without_a_copy(tmp_path: Path) -> None:
    """A plain array is written from its own memory; any view comes out right too."""
    array = voxels(shape=(4, 6, 8))
    (blob,) = FORMAT.write(Image(array), "a", options={})
    piece = getattr(blob, "pieces")[-1]  # noqa: B009
    assert np.shares_memory(np.frombuffer(piece, np.uint8), array)
    view = array[::-1, ::2, ::3]
    path = write(tmp_path, Image(view))[0]
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), view)


@pytest.mark.parametrize(
    ("given", "wider"), [(np.bool_, np.uint8), (np.float16, np.float32), (">i2", np.int16)]
)
def test_other_types_are_widened(tmp_path: Path, given: Any, wider: Any) -> None:
    """Types that the format has not are written in one that holds all of their values."""
    array = (voxels() % 2).astype(given)
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(write(tmp_path, Image(array))[0])))
    assert found.dtype == wider
    np.testing.assert_array_equal(found, array)


def test_what_cannot_be_written() -> None:
    """Complex voxels and an affine that is none are refused; unknown options too."""
    with pytest.raises(EncodeError, match="complex64"):
        list(FORMAT.write(Image(voxels("c8")), "a", options={}))
    for affine in (np.full((4, 4), np.nan), np.diag([1.0, 1.0, 0.0, 1.0])):
        with pytest.raises(EncodeError, match="affine"):
            list(FORMAT.write(Image(voxels(), affine=affine), "a", options={}))
    with pytest.raises(TypeError, match="compress, detached"):
        list(FORMAT.write(Image(voxels()), "a", options={"level": 3}))


@pytest.mark.parametrize(
    ("head", "claimed"),
    [
        (b"ObjectType = Image\nNDims = 3\n", True),
        (b"NDims = 3\n", True),
        (b"ObjectType = Tube\nNDims = 3\n", False),
        (b"NDims\n", False),
        (b"\0\0NDims = 3\n", False),
    ],
)
def test_claims(head: bytes, claimed: bool) -> None:
    """The bytes decide; without an ObjectType, the name."""
    assert FORMAT.claims("a.mha", head) is claimed
    assert FORMAT.claims("a.txt", head) is (claimed and b"ObjectType" in head)


def test_companions() -> None:
    """The named data file of the same directory, none of another, guesses for long headers."""
    head = HEADER.encode()
    assert FORMAT.companions("d/a.mhd", head + b"ElementDataFile = b c.raw\n") == ["d/b c.raw"]
    assert FORMAT.companions("d/a.mhd", head + b"ElementDataFile = ../b.raw\n") == []
    assert FORMAT.companions("d/a.mha", head + b"ElementDataFile = LOCAL\n") == []
    assert FORMAT.companions("d/a.mhd", head) == ["d/a.raw", "d/a.zraw"]


LOCAL = "ElementDataFile = LOCAL\n"
PACKED = HEADER + "CompressedData = True\n" + LOCAL


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "no ElementDataFile"),
        (b"what is this\n", "line 1 of the header is no field"),
        ((HEADER + LOCAL).encode() + bytes(47), "1 bytes short"),
        ((HEADER + "NDims = 99\n" + LOCAL).encode(), "NDims is 99"),
        ((HEADER + "DimSize = 4 3\n" + LOCAL).encode(), "DimSize is not 3 whole numbers"),
        ((HEADER + "DimSize = 4 3 -2\n" + LOCAL).encode(), "size -2×3×4"),
        ((HEADER + "ElementType = MET_OTHER\n" + LOCAL).encode(), "ElementType"),
        ((HEADER + "Offset = nan 0 0\n" + LOCAL).encode(), "Offset is not 3 finite numbers"),
        ((HEADER + "Offset = 0 0 0\nElementSpacing = 1 0 1\n" + LOCAL).encode(), "span no volume"),
        ((HEADER + "TransformMatrix = 1 0 0 1 0 0 0 0 1\n" + LOCAL).encode(), "span no volume"),
        ((HEADER + "ElementDataFile = LIST 2\n").encode(), "join them"),
        ((HEADER + "ElementDataFile = s%03d.raw 1 2 1\n").encode(), "join them"),
        ((HEADER + "ElementDataFile = ../b.raw\n").encode(), "not in the same directory"),
        ((HEADER + "ElementDataFile = /etc/passwd\n").encode(), "not in the same directory"),
        ((HEADER + "ElementDataFile = b.raw\n").encode(), "'b.raw' is missing"),
        ((HEADER + f"ElementDataFile = {'b' * 999}\n").encode(), "'b{100}' is missing"),
        ((HEADER + "ElementDataFile = a.mha\n").encode(), "its own data file"),
        ((HEADER + "Offset = 1_0 0 0\n" + LOCAL).encode(), "Offset is not 3 numbers"),
        ((HEADER + "Offset = ٣ 0 0\n" + LOCAL).encode(), "Offset is not 3 numbers"),
        ((HEADER + "HeaderSize = 1_0\n" + LOCAL).encode(), "HeaderSize is not 1 whole"),
        (PACKED.encode() + b"damaged", "damaged"),
        (PACKED.encode() + zlib.compress(bytes(48))[:-4], "cut short"),
        (PACKED.encode() + zlib.compress(bytes(47)), "1 bytes short"),
        (PACKED.encode() + zlib.compress(bytes(1 << 24)), "more than its header"),
        ((HEADER + "BinaryData = False\n" + LOCAL).encode() + b"1 2 x", "not numbers"),
        ((HEADER + "BinaryData = False\n" + LOCAL).encode() + b"1 2 3", "3 numbers instead of 24"),
        ((HEADER + "BinaryData = False\n" + LOCAL).encode() + b"1 " * 30, "more numbers"),
        ((HEADER + "BinaryData = False\n" + LOCAL).encode() + b"1" * 99, "not numbers"),
        ((HEADER + "BinaryData = False\n" + LOCAL).encode() + b"1_0 2", "not numbers"),
    ],
)
def test_damaged_files(data: bytes, told: str) -> None:
    """What is wrong with a file is told with its name."""
    with pytest.raises(DataError, match=told) as caught:
        read(data)
    assert str(caught.value).startswith("a.mha: ")


def test_limit() -> None:
    """A header that announces more than the limit is refused before anything is made."""
    head = HEADER + "DimSize = 100000 100000 100000\n" + LOCAL
    with pytest.raises(TooLargeError, match="Limits"):
        read(head.encode())


SEEDS = [
    (HEADER + "Offset = 1 2 3\nElementSpacing = 1 2 3\n" + LOCAL).encode() + voxels().tobytes(),
    PACKED.encode() + zlib.compress(voxels().tobytes()),
    (HEADER + "BinaryData = False\n" + LOCAL).encode() + b" 1" * 24,
]


@settings(max_examples=150, deadline=None)
@given(data=changed(SEEDS))
def test_mutated_files(data: bytes) -> None:
    """Whatever is changed in a file: a volume within the limit, or an error of ours."""
    FORMAT.claims("a.mha", data[:1024])
    FORMAT.companions("a.mhd", data[:1024])
    try:
        image = read(data)
    except SeriesIOError:
        return
    assert image.array.nbytes <= MEMORY
