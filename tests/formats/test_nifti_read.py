"""Reading NIfTI: values, place, axes and gradients as nibabel, SimpleITK and hand have them."""

from __future__ import annotations

import gzip
import io
import mmap
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from seriesio.blob import Blob, FileBlob, MemoryBlob
from seriesio.formats.image import Image
from seriesio.formats.nifti import NiftiFormat

FORMAT = NiftiFormat()
NIBABEL: Any = nibabel  # typed in parts only
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
OBLIQUE = np.array(
    [[-1.9, 0.3, 0.1, 80.5], [0.3, 1.8, -0.7, -91.0], [0.1, 0.4, 2.9, 12.25], [0, 0, 0, 1]]
)
DTYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "c8", "c16"]


def read(files: Mapping[str, bytes], name: str = "x.nii", **options: Any) -> Image:
    blobs: dict[str, Blob] = {key: MemoryBlob(key, data) for key, data in files.items()}
    return FORMAT.read(name, blobs, memory=1 << 24, options=options)


def opened(path: Path, memory: int = 1 << 24, **options: Any) -> Image:
    blob = FileBlob(path.name, str(path), path.stat().st_size)
    return FORMAT.read(path.name, {path.name: blob}, memory=memory, options=options)


def place(image: Image) -> NDArray[np.float64]:
    assert image.affine is not None
    return image.affine


def cells(dtype: str = "i2", shape: tuple[int, ...] = (2, 4, 5, 6)) -> NDArray[Any]:
    """Random values over the whole range of a type: (…, slice, row, column)."""
    made = np.random.default_rng(7).integers(0, 256, (*shape, np.dtype(dtype).itemsize), np.uint8)
    if np.dtype(dtype).kind in "fc":
        return (made[..., 0] - 100.5).astype(dtype)
    return np.asarray(made.view(dtype)[..., 0])


def saved(
    array: NDArray[Any],
    affine: NDArray[np.float64] | None = OBLIQUE,
    *,
    version: int = 1,
    endian: str = "<",
    **fields: Any,
) -> bytes:
    """A file by nibabel: ``array`` as our library has it, ``affine`` to RAS."""
    kind = NIBABEL.Nifti1Image if version == 1 else NIBABEL.Nifti2Image
    header = kind.header_class(endianness=endian)
    header.set_data_dtype(array.dtype)
    image = kind(array.T, affine, header)
    data = bytearray(image.to_bytes())
    changed = kind.header_class(bytes(data[: header.sizeof_hdr]), endianness=endian, check=False)
    for name, value in ({"xyzt_units": 10} | fields).items():  # mm and s
        changed[name] = value
    data[: header.sizeof_hdr] = changed.binaryblock
    return bytes(data)


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_voxels_are_nibabels(dtype: str, version: int, endian: str) -> None:
    """Every numeric type, either version and byte order: the same numbers, native type."""
    array = cells(dtype)
    image = read({"x.nii": saved(array, version=version, endian=endian)})
    assert image.array.dtype == array.dtype
    assert image.array.dtype.isnative
    assert np.array_equal(image.array, array)
    assert image.array.flags.c_contiguous
    assert np.allclose(place(image), LPS @ OBLIQUE, rtol=0, atol=1e-5)


def test_claims_by_the_bytes() -> None:
    """A header is known in either version, gzipped or not; other bytes are nobody's."""
    for version in (1, 2):
        data = saved(cells(), version=version)
        assert FORMAT.claims("noname", data[:1024])
        assert FORMAT.claims("noname", gzip.compress(data)[:1024])
        assert not FORMAT.claims("x.nii", data[: 300 if version == 1 else 500])
    for other in (b"", b"\x1f\x8b", b"\x1f\x8b" + bytes(300), bytes(1024), b"%!PS" * 200):
        assert not FORMAT.claims("x.nii", other)


def test_companions() -> None:
    """Gradients lie beside each file, the voxels beside the header of a pair."""
    single, pair = saved(cells()), paired(cells())["x.hdr"]
    assert FORMAT.companions("a/x.nii.gz", single) == ["a/x.bval", "a/x.bvec"]
    assert FORMAT.companions("x.hdr", pair) == ["x.img", "x.img.gz", "x.bval", "x.bvec"]
    assert FORMAT.companions("X.HDR", pair)[:2] == ["X.IMG", "X.IMG.GZ"]


def paired(array: NDArray[Any]) -> dict[str, bytes]:
    image = NIBABEL.Nifti1Pair(array.T, OBLIQUE)
    parts = {kind: NIBABEL.FileHolder(fileobj=io.BytesIO()) for kind in ("header", "image")}
    image.to_file_map(parts)
    return {
        "x.hdr": parts["header"].fileobj.getvalue(),
        "x.img": parts["image"].fileobj.getvalue(),
    }


def test_pairs_of_header_and_image() -> None:
    """The voxels of a .hdr are in the .img beside it, gzipped or not."""
    files = paired(cells())
    assert np.array_equal(read(files, "x.hdr").array, cells())
    packed = {"x.hdr": files["x.hdr"], "x.img.gz": gzip.compress(files["x.img"])}
    assert np.array_equal(read(packed, "x.hdr").array, cells())


def test_gzip_of_one_or_several_members() -> None:
    """Members follow each other, padded with zeros; what else follows is told."""
    array = cells(shape=(40, 50, 60))
    data = saved(array)
    many = b"".join(gzip.compress(data[k : k + 1000]) for k in range(0, len(data), 1000))
    for packed in (gzip.compress(data), many):
        image = read({"x.nii.gz": packed + bytes(512)}, "x.nii.gz")
        assert np.array_equal(image.array, array)
        assert image.notes == ()
    image = read({"x.nii.gz": many + b"else"}, "x.nii.gz")
    assert image.notes == ("4 bytes behind the voxels were left out",)


def test_rgb() -> None:
    """RGB24 has its colours last."""
    array = cells("u1", (4, 5, 6, 3))
    rgb = np.ascontiguousarray(array).view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    image = read({"x.nii": saved(rgb)})
    assert image.color
    assert image.axes == ()
    assert np.array_equal(image.array, array)


def test_rgba_loses_its_fourth_channel_and_says_so() -> None:
    """RGBA32 is read as red, green, blue."""
    array = cells("u1", (4, 5, 6, 4))
    kinds = [("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")]
    image = read({"x.nii": saved(np.ascontiguousarray(array).view(kinds)[..., 0])})
    assert np.array_equal(image.array, array[..., :3])
    assert any("alpha" in note for note in image.notes)


SCALED = [
    ("u1", 2.0, -10.0, "i2"),
    ("i2", 1.0, -1024.0, "i4"),  # the values go down to -32768: they need the wider type
    ("u1", 1.0, 0.0, "u1"),
    ("u1", 0.0, 5.0, "u1"),
    ("u2", float("nan"), 5.0, "u2"),
    ("i2", 0.25, 3.0, "f4"),
    ("f4", 0.5, -1.0, "f4"),
    ("i8", 2.0, 0.0, "f8"),
]


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize(("dtype", "slope", "inter", "expected"), SCALED)
def test_scaling(dtype: str, slope: float, inter: float, expected: str, endian: str) -> None:
    """Values are nibabel's, in the smallest exact integer type or in a float."""
    array = cells(dtype)
    data = saved(array, endian=endian, scl_slope=slope, scl_inter=inter)
    reference: Any = NIBABEL.Nifti1Image.from_bytes(data)
    image = read({"x.nii": data})
    assert image.array.dtype == np.dtype(expected)
    exact = reference.get_fdata(dtype=np.float64).T
    assert np.array_equal(image.array, exact.astype(expected))
    assert np.array_equal(read({"x.nii": data}, rescale=False).array, array)


def test_whole_scaling_stays_narrow_where_values_allow() -> None:
    """CT as scanners have it: 12 bits less 1024 stay int16."""
    array = (cells("u2") & 0xFFF).astype("i2")
    image = read({"x.nii": saved(array, scl_slope=1, scl_inter=-1024)})
    assert image.array.dtype == np.int16
    assert np.array_equal(image.array, array.astype(int) - 1024)


def test_both_parts_of_complex_values_are_scaled() -> None:
    """nifti1.h: the slope and the intercept apply to the real and the imaginary part."""
    array = cells("c8")
    image = read({"x.nii": saved(array, scl_slope=2, scl_inter=1)})
    assert np.array_equal(image.array, array * 2 + (1 + 1j))


# --- place ------------------------------------------------------------------------------------


@st.composite
def rotations(draw: st.DrawFn) -> NDArray[np.float64]:
    numbers = st.floats(-1, 1).filter(lambda value: abs(value) > 0.01)
    found, _ = np.linalg.qr(np.array(draw(st.lists(numbers, min_size=9, max_size=9))).reshape(3, 3))
    return np.asarray(found)


@given(rotations(), st.tuples(*[st.floats(0.1, 9)] * 3))
def test_qform_is_nibabels(rotation: NDArray[np.float64], sizes: tuple[float, ...]) -> None:
    """Any rotation, reflected or not, where there is no sform."""
    affine = np.eye(4)
    affine[:3, :3] = rotation * sizes
    affine[:3, 3] = 5, -6, 7
    image: Any = NIBABEL.Nifti1Image(np.zeros((3, 4, 5), np.uint8), None)
    image.header.set_qform(affine, 1)
    image.header.set_sform(None, 0)
    wanted = LPS @ image.header.get_qform()
    b, c, d = (float(image.header[f"quatern_{letter}"]) for letter in "bcd")
    assume(1 - b * b - c * c - d * d > 1e-6)  # nibabel takes less for a half turn, nifti1_io.c not
    assert np.allclose(place(read({"x.nii": image.to_bytes()})), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("less", [-1e-7, 0.0, 2e-8, 6e-8])
def test_a_half_turn_is_simpleitks(tmp_path: Path, less: float) -> None:
    """What rounding leaves of a quaternion's first number is no rotation (nifti1_io.c)."""
    b, c, d = np.array([0.53, 0.24, 0.81]) / np.linalg.norm([0.53, 0.24, 0.81])
    told = {"quatern_b": b * np.sqrt(1 - less), "quatern_c": c, "quatern_d": d}
    path = tmp_path / "x.nii"
    path.write_bytes(saved(cells(shape=(4, 5, 6)), sform_code=0, qform_code=1, **told))
    image: Any = SimpleITK.ReadImage(str(path))
    directions = np.array(image.GetDirection()).reshape(3, 3)
    found = place(opened(path))[:3, :3]
    assert np.allclose(found / np.linalg.norm(found, axis=0), directions, rtol=0, atol=2e-6)


def test_sform_before_qform() -> None:
    """Where both are told, the sform counts, sheared as it may be."""
    sheared = OBLIQUE.copy()
    sheared[:3, 2] += 0.5 * sheared[:3, 1]
    image: Any = NIBABEL.Nifti1Image(np.zeros((3, 4, 5), np.uint8), sheared)
    image.header.set_qform(np.diag([2.0, 2.0, 2.0, 1.0]), 1)
    assert np.allclose(place(read({"x.nii": image.to_bytes()})), LPS @ sheared, atol=1e-5)


def test_an_sform_that_is_none_is_left_for_the_qform() -> None:
    """dcm2niix writes a zero column where it cannot tell the slices' direction; a note tells."""
    array, wanted = cells(shape=(4, 5, 6)), np.diag([2.0, 2.0, 3.0, 1.0])
    flat: dict[str, Any] = {"srow_x": [2, 0, 0, 0], "srow_y": [0, 2, 0, 0], "srow_z": [0] * 4}
    names = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
    flat |= dict.fromkeys(names, 0)
    data = saved(array, qform_code=1, pixdim=[1, 2, 2, 3, 0, 0, 0, 0], **flat)
    found = read({"x.nii": data})
    assert np.allclose(place(found), LPS @ wanted, atol=1e-5)
    assert any("the qform is taken" in note for note in found.notes)


@pytest.mark.parametrize(("unit", "scale"), [(1, 1000.0), (2, 1.0), (3, 0.001), (0, 1.0)])
def test_units_of_length(unit: int, scale: float) -> None:
    """Metres and micrometres become millimetres, as SimpleITK has them; unknown ones are told."""
    image = read({"x.nii": saved(cells(shape=(4, 5, 6)), xyzt_units=unit)})
    assert np.allclose(place(image)[:3], scale * (LPS @ OBLIQUE)[:3], rtol=1e-6, atol=1e-5)
    assert bool(image.notes) == (unit == 0)


def test_place_is_simpleitks(tmp_path: Path) -> None:
    """Origin and spacing in patient coordinates, as ITK has them."""
    path = tmp_path / "x.nii"
    rotated = np.array([[0, -2.0, 0, 3], [1.5, 0, 0, 4], [0, 0, 5, 6], [0, 0, 0, 1]])
    path.write_bytes(saved(cells(shape=(4, 5, 6)), rotated, qform_code=0))
    reference: Any = SimpleITK.ReadImage(str(path))
    affine = place(opened(path))
    assert np.allclose(affine[:3, 3], reference.GetOrigin())
    direction = np.array(reference.GetDirection()).reshape(3, 3) * reference.GetSpacing()
    assert np.allclose(affine[:3, :3], direction)


def test_a_mere_spacing_is_no_place() -> None:
    """Method 1: without qform and sform there is a spacing (z, y, x), and no affine."""
    fields: dict[str, Any] = {"qform_code": 0, "sform_code": 0}
    data = saved(cells(shape=(4, 5, 6)), pixdim=[1, 2, 3, 4, 0, 0, 0, 0], xyzt_units=1, **fields)
    image = read({"x.nii": data})
    assert image.affine is None
    assert image.spacing == (4000, 3000, 2000)
    nothing = read({"x.nii": saved(cells(shape=(4, 5, 6)), pixdim=[0] * 8, **fields)})
    assert (nothing.affine, nothing.spacing) == (None, None)
    assert nothing.notes


# --- axes -------------------------------------------------------------------------------------

TIMES = [
    (8, "time", "s", 1.0),
    (16, "time", "s", 1e-3),
    (24, "time", "s", 1e-6),
    (32, "frequency", "Hz", 1.0),
    (40, "shift", "ppm", 1.0),
    (48, "frequency", "rad/s", 1.0),
    (0, "time", "s", 1.0),
]


@pytest.mark.parametrize(("unit", "name", "told", "scale"), TIMES)
def test_the_fourth_dimension(unit: int, name: str, told: str, scale: float) -> None:
    """Steps from toffset on, in seconds or in the unit of a spectrum."""
    pixdim = [1, 2, 2, 3, 1.5, 0, 0, 0]
    data = saved(cells(shape=(3, 4, 5, 6)), xyzt_units=2 | unit, pixdim=pixdim, toffset=10)
    image = read({"x.nii": data})
    (axis,) = image.axes
    assert (axis.name, axis.unit) == (name, told)
    assert axis.values == pytest.approx(np.array([10, 11.5, 13]) * scale)
    assert bool(image.notes) == (unit == 0)


def test_time_without_a_step_is_counted() -> None:
    """Where pixdim[4] is zero, the axis has numbers and no unit."""
    data = saved(cells(shape=(3, 4, 5, 6)), pixdim=[1, 2, 2, 3, 0, 0, 0, 0])
    (axis,) = read({"x.nii": data}).axes
    assert (axis.name, axis.unit, axis.values.tolist()) == ("time", "", [0, 1, 2])


def test_further_dimensions() -> None:
    """Dimensions of one index go; the others are axes, the last one first, and never moved."""
    array = cells(shape=(2, 3, 4, 5, 6))
    image = read({"x.nii": saved(array, xyzt_units=10)})
    assert [axis.name for axis in image.axes] == ["dim5", "time"]
    assert np.array_equal(image.array, array)
    vectors = read({"x.nii": saved(cells(shape=(3, 1, 4, 5, 6)), intent_code=1007)})
    assert [axis.name for axis in vectors.axes] == ["component"]
    assert vectors.array.shape == (3, 4, 5, 6)


def test_images_of_two_dimensions_are_one_slice() -> None:
    """A picture is a volume of one slice."""
    array = cells(shape=(5, 6))
    assert np.array_equal(read({"x.nii": saved(array)}).array, array[None])


# --- gradients --------------------------------------------------------------------------------


def gradients(affine: NDArray[np.float64], bvec: bytes, bval: bytes = b"0 700\n") -> Image:
    data = saved(cells(shape=(2, 4, 5, 6)), affine)
    return read({"x.nii": data, "x.bval": bval, "x.bvec": bvec})


@pytest.mark.parametrize("x", [1.0, -1.0])
def test_gradients_along_the_axes(x: float) -> None:
    """Along x of the file means to the left where x goes to the right, and where it does not.

    FSL: x is turned round where the affine's determinant is positive, so it always ends at left.
    """
    image = gradients(np.diag([2.0 * x, 2, 3, 1]), b"0 0.6\n0 0.8\n0 0\n")
    assert image.axes[0].name == "dti"
    assert np.allclose(image.axes[0].values, np.array([[0, 0, 0, 0], [700, 0.6, -0.8, 0]]))
    assert image.bvectors is not None
    assert np.allclose(image.bvectors, np.array([[0, 0, 0], [0.6, -0.8, 0]]))


def test_gradients_in_columns() -> None:
    """A .bvec of one line for each volume, means the same."""
    rows = gradients(OBLIQUE, b"0 0.6\n0 0.8\n0 0\n").bvectors
    columns = gradients(OBLIQUE, b"0 0 0\r\n0.6\t0.8 0\r\n").bvectors
    assert rows is not None
    assert columns is not None
    assert np.array_equal(rows, columns)


def test_b_values_without_directions() -> None:
    """Only a .bval: an axis of b values."""
    data = saved(cells(shape=(2, 4, 5, 6)))
    image = read({"x.nii": data, "x.bval": b"0\t1000 \n"})
    assert [(axis.name, axis.values.tolist()) for axis in image.axes] == [("b", [0, 1000])]
    assert image.bvectors is None
    image = read({"x.nii": data, "x.bvec": b"0 1\n0 0\n0 0\n"})
    assert [axis.name for axis in image.axes] == ["time"]
    assert any(".bval" in note for note in image.notes)


def test_the_b_value_of_a_single_volume() -> None:
    """One volume has no axis, but attributes."""
    data = saved(cells(shape=(4, 5, 6)), np.diag([-2.0, 2, 3, 1]))
    image = read({"x.nii": data, "x.bval": b"800", "x.bvec": b"0\n0\n1\n"})
    assert image.axes == ()
    assert image.attributes["DiffusionBValue"] == 800
    assert image.attributes["DiffusionGradientOrientation"] == pytest.approx([0, 0, 1])


# --- memory maps ------------------------------------------------------------------------------


def the_map(array: NDArray[Any]) -> object:
    """What an array's memory belongs to."""
    base: Any = array
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    return base


def test_mmap_copies_nothing(tmp_path: Path) -> None:
    """The array is the file's pages, whatever the limit; changes stay in memory."""
    path, array = tmp_path / "x.nii", cells()
    path.write_bytes(data := saved(array))
    image = opened(path, memory=0, mmap=True)
    assert isinstance(the_map(image.array), mmap.mmap)
    whole = np.frombuffer(the_map(image.array), np.uint8)  # type: ignore[call-overload]
    assert np.shares_memory(whole, image.array)
    assert np.array_equal(image.array, array)
    assert image.notes == ()
    image.array[...] = 0
    assert path.read_bytes() == data
    del image, whole


def test_mmap_of_a_stored_zip_member(tmp_path: Path) -> None:
    """A span of a larger file is mapped where it is, at any offset."""
    path, array = tmp_path / "x.zip", cells("f8")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("odd.nii", data := saved(array))
    start = path.read_bytes().index(data)
    blob = FileBlob("odd.nii", str(path), len(data), start)
    image = FORMAT.read("odd.nii", {"odd.nii": blob}, memory=0, options={"mmap": True})
    assert isinstance(the_map(image.array), mmap.mmap)
    assert np.array_equal(image.array, array)
    del image


@pytest.mark.parametrize("change", ["gzip", "big", "scaled"])
def test_what_cannot_be_mapped_is_read(tmp_path: Path, change: str) -> None:
    """Packed, swapped or scaled values have to be computed, and a note says so."""
    fields: dict[str, Any] = {"scl_slope": 2.0} if change == "scaled" else {}
    array = cells("u1" if change == "scaled" else "i2")
    data = saved(array, endian="<>"[change == "big"], **fields)
    path = tmp_path / "x.nii"
    path.write_bytes(gzip.compress(data) if change == "gzip" else data)
    image = opened(path, mmap=True)
    assert np.array_equal(image.array, opened(path).array)
    assert any("mmap" in note for note in image.notes)


def test_options_that_there_are_not() -> None:
    """A TypeError names what is taken."""
    with pytest.raises(TypeError, match="mmap, rescale"):
        read({"x.nii": saved(cells())}, maps=True)


def test_nothing_stays_open(tmp_path: Path) -> None:
    """Reading leaves no descriptor behind."""
    path = tmp_path / "x.nii.gz"
    path.write_bytes(gzip.compress(saved(cells())))
    before = set(os.listdir("/proc/self/fd"))
    opened(path)
    assert set(os.listdir("/proc/self/fd")) == before
