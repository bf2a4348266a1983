"""Writing NIfTI: nibabel and SimpleITK read what was given, and nothing is copied."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from seriesio.blob import Blob, PiecesBlob, read_all
from seriesio.dicom.sorting import Axis
from seriesio.errors import EncodeError
from seriesio.formats.image import Image
from seriesio.formats.nifti import NiftiFormat

FORMAT = NiftiFormat()
NIBABEL: Any = nibabel  # typed in parts only
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Turned, not sheared: columns of lengths 2, 2.5, 3.
TURNED = np.array(
    [[1.6, -1.5, 0.0, 10.5], [1.2, 2.0, 0.0, -20.0], [0.0, 0.0, 3.0, 30.25], [0, 0, 0, 1]]
)


def axis(name: str, values: Any, unit: str = "") -> Axis:
    return Axis(name, unit, np.asarray(values, np.float64))


def cells(dtype: str = "i2", shape: tuple[int, ...] = (4, 5, 6)) -> NDArray[Any]:
    return np.random.default_rng(3).integers(0, 120, shape).astype(dtype)


def files(image: Image, **options: Any) -> dict[str, Blob]:
    return {blob.name: blob for blob in FORMAT.write(image, "x", options=options)}


def written(image: Image, **options: Any) -> Any:
    """The one file of an image, as nibabel reads it."""
    (blob,) = files(image, **options).values()
    data = bytes(read_all(blob))
    assert len(data) == blob.size
    kind = NIBABEL.Nifti2Image if data[:4] == b"\x1c\x02\0\0" else NIBABEL.Nifti1Image
    return kind.from_bytes(data)


def back(image: Image, **options: Any) -> Image:
    """Written and read again by ourselves."""
    made = files(image, **options)
    return FORMAT.read(next(iter(made)), made, memory=1 << 24, options={})


@pytest.mark.parametrize(
    "dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "c8", "c16"]
)
def test_types_are_kept(dtype: str) -> None:
    """nibabel reads the same numbers of the same type, unscaled, and the same place."""
    array = cells(dtype)
    image = written(Image(array, affine=TURNED))
    assert image.get_data_dtype() == array.dtype
    assert np.array_equal(np.asarray(image.dataobj).T, array)
    assert np.allclose(image.affine, LPS @ TURNED, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("dtype", "instead"), [("?", "u1"), ("f2", "f4"), (">i2", "i2")])
def test_types_that_have_to_change(dtype: str, instead: str) -> None:
    """What NIfTI has not is written as what holds it exactly."""
    array = cells(dtype)
    for made in (array, array[:, ::-1]):
        image = written(Image(made, affine=TURNED))
        assert image.get_data_dtype() == np.dtype(instead)
        assert np.array_equal(np.asarray(image.dataobj).T, made)


def test_sform_and_qform() -> None:
    """Both are the affine, in scanner coordinates, with lengths in mm."""
    header = written(Image(cells(), affine=TURNED)).header
    for found, code in (header.get_sform(coded=True), header.get_qform(coded=True)):
        assert code == 1
        assert np.allclose(found, LPS @ TURNED, rtol=0, atol=1e-5)
    assert header.get_zooms() == pytest.approx((2, 2.5, 3))
    assert header.get_xyzt_units() == ("mm", "unknown")
    assert int(header["dim_info"]) == 0


@given(st.lists(st.floats(-1, 1), min_size=9, max_size=9), st.booleans())
def test_any_rotation_is_a_qform(numbers: list[float], mirrored: bool) -> None:
    """The quaternion is right for every rotation, half turns and reflections too."""
    rotation, _ = np.linalg.qr(np.array(numbers).reshape(3, 3) + np.diag([1e-3, 2e-3, 3e-3]))
    affine = np.eye(4)
    affine[:3, :3] = rotation * [2.0, 3.0, -4.0 if mirrored else 4.0]
    affine[:3, 3] = 1, 2, 3
    header = written(Image(cells(), affine=affine)).header
    assert np.allclose(header.get_qform(), LPS @ affine, rtol=0, atol=1e-5)


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (-1, 1, -1), (1, -1, -1)])
def test_half_turns(signs: tuple[int, int, int]) -> None:
    """Where the quaternion's first number is zero."""
    affine = np.diag([*signs, 1.0])
    assert np.allclose(written(Image(cells(), affine=affine)).header.get_qform(), LPS @ affine)


def test_a_sheared_affine_has_no_qform() -> None:
    """A tilted gantry: only the sform can say it."""
    sheared = TURNED.copy()
    sheared[1, 2] = 0.8
    header = written(Image(cells(), affine=sheared)).header
    assert int(header["qform_code"]) == 0
    assert np.allclose(header.get_sform(), LPS @ sheared, rtol=0, atol=1e-5)
    assert back(Image(cells(), affine=sheared)).affine == pytest.approx(sheared, abs=1e-5)


def test_no_affine() -> None:
    """Without a place there are no codes; a spacing is kept."""
    header = written(Image(cells(), spacing=(3.0, 2.0, 1.0))).header
    assert (int(header["qform_code"]), int(header["sform_code"])) == (0, 0)
    assert header.get_zooms() == (1, 2, 3)
    assert back(Image(cells(), spacing=(3.0, 2.0, 1.0))).spacing == (3, 2, 1)


def test_simpleitk_reads_the_same_place(tmp_path: Path) -> None:
    """Voxels, origin and directions in patient coordinates."""
    (blob,) = files(Image(cells(), affine=TURNED), compress=True).values()
    path = tmp_path / blob.name
    path.write_bytes(read_all(blob))
    image: Any = SimpleITK.ReadImage(str(path))
    assert np.array_equal(SimpleITK.GetArrayFromImage(image), cells())
    assert np.allclose(image.GetOrigin(), TURNED[:3, 3], atol=1e-5)
    direction = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    assert np.allclose(direction, TURNED[:3, :3], atol=1e-5)


def test_rgb() -> None:
    """Colours become RGB24."""
    array = cells("u1", (4, 5, 6, 3))
    image = written(Image(array, affine=TURNED, color=True))
    found = np.asarray(image.dataobj).T
    assert np.array_equal(np.stack([found["R"], found["G"], found["B"]], axis=-1), array)
    assert np.array_equal(back(Image(array, affine=TURNED, color=True)).array, array)


def test_long_axes_need_nifti_2() -> None:
    """More voxels along an axis than 16 bits can say."""
    array = cells("u1", (1, 2, 32768))
    image = written(Image(array, affine=TURNED))
    assert isinstance(image, NIBABEL.Nifti2Image)
    assert np.array_equal(np.asarray(image.dataobj).T, array)
    assert np.array_equal(back(Image(array, affine=TURNED)).array, array)


# --- axes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time", "attributes", "step"),
    [
        (axis("time", [40000, 40002.5, 40005], "s"), {}, 2.5),
        (axis("triggertime", [0, 50, 100], "ms"), {}, 0.05),
        (axis("time", [0, 1, 2]), {"RepetitionTime": 1500}, 1.5),
    ],
)
def test_time_is_the_fourth_dimension(time: Axis, attributes: Any, step: float) -> None:
    """The step is in seconds; of mere numbers it is the repetition time."""
    array = cells(shape=(3, 4, 5, 6))
    image = written(Image(array, (time,), TURNED, attributes=attributes))
    assert image.shape == (6, 5, 4, 3)
    assert image.header.get_zooms()[3] == pytest.approx(step)
    assert image.header.get_xyzt_units() == ("mm", "sec")
    assert np.array_equal(np.asarray(image.dataobj).T, array)


def test_time_without_a_step() -> None:
    """Numbers without a unit say nothing of a step."""
    header = written(Image(cells(shape=(3, 4, 5, 6)), (axis("time", [0, 1, 2]),), TURNED)).header
    assert header.get_zooms()[3] == 0
    assert header.get_xyzt_units() == ("mm", "unknown")


@pytest.mark.parametrize("time_first", [True, False])
def test_time_and_another_axis(time_first: bool) -> None:
    """Time is the fourth dimension wherever it stands, the other one the fifth."""
    time, te = axis("time", [0, 2, 4], "s"), axis("te", [10, 20], "ms")
    array = cells(shape=(3, 2, 4, 5, 6) if time_first else (2, 3, 4, 5, 6))
    image = written(Image(array, (time, te) if time_first else (te, time), TURNED))
    assert image.shape == (6, 5, 4, 3, 2)
    wanted = array.swapaxes(0, 1) if time_first else array
    assert np.array_equal(np.asarray(image.dataobj).T, wanted)


def test_components_stand_in_the_fifth_dimension() -> None:
    """Vectors keep their place, with a fourth dimension of one, and come back as such."""
    array = cells("f4", (3, 4, 5, 6))
    image = Image(array, (axis("component", [0, 1, 2]),), TURNED)
    assert written(image).shape == (6, 5, 4, 1, 3)
    again = back(image)
    assert [found.name for found in again.axes] == ["component"]
    assert np.array_equal(again.array, array)


def test_a_spectrum_keeps_its_unit() -> None:
    """Frequencies come back as they went."""
    image = back(Image(cells(shape=(3, 4, 5, 6)), (axis("frequency", [10, 15, 20], "Hz"),), TURNED))
    assert (image.axes[0].name, image.axes[0].unit) == ("frequency", "Hz")
    assert image.axes[0].values.tolist() == [10, 15, 20]


def test_too_many_axes() -> None:
    """NIfTI has seven dimensions."""
    axes = tuple(axis(name, [0]) for name in ("te", "ti", "fa", "tr", "echo"))
    with pytest.raises(EncodeError, match="seven dimensions"):
        files(Image(cells(shape=(1, 1, 1, 1, 1, 4, 5, 6)), axes, TURNED))


# --- gradients --------------------------------------------------------------------------------

DIRECTIONS = np.array([[0, 0, 0], [1, 0, 0], [0, 0.6, 0.8], [-0.48, 0.6, 0.64]])
BVALUES = np.array([0.0, 1000, 1000, 700.5])


@pytest.mark.parametrize("mirrored", [1.0, -1.0])
def test_gradients_come_back(mirrored: float) -> None:
    """Directions in patient space survive the frame of the image, whatever its handedness."""
    affine = TURNED * [mirrored, 1, 1, 1]
    dti = Axis("dti", "s/mm2", np.column_stack([BVALUES, DIRECTIONS]))
    made = Image(cells(shape=(4, 4, 5, 6)), (dti,), affine)
    assert list(files(made)) == ["x.nii", "x.bval", "x.bvec"]
    again = back(made)
    assert again.bvectors is not None
    assert np.allclose(again.bvectors, DIRECTIONS, atol=1e-8)
    assert np.allclose(again.axes[0].values, dti.values, atol=1e-6)


def test_gradient_files_are_as_fsl_has_them() -> None:
    """One row of b values, three of directions; along the image, x turned for a positive affine."""
    left = np.diag([2.0, -2.0, 3.0, 1.0])  # LPS: x to the left, y to the front
    image = Image(
        cells(shape=(2, 4, 5, 6)),
        (axis("b", [0, 1000], "s/mm2"),),
        left,
        bvectors=np.array([[0, 0, 0], [0.6, 0.8, 0]]),
    )
    made = files(image)
    assert bytes(read_all(made["x.bval"])) == b"0 1000\n"
    # To RAS that is diag(-2, 2, 3): a negative determinant, nothing is turned round.
    assert bytes(read_all(made["x.bvec"])) == b"0 0.6\n0 -0.8\n0 0\n"


def test_b_values_and_vectors_as_two_axes() -> None:
    """The volumes stand one after the other, as each program for diffusion wants them."""
    axes = (axis("b", [500, 1000]), Axis("bvector", "", np.eye(3)))
    array = cells(shape=(2, 3, 4, 5, 6))
    made = files(Image(array, axes, np.eye(4)))
    data: Any = NIBABEL.Nifti1Image.from_bytes(bytes(read_all(made["x.nii"])))
    assert np.array_equal(np.asarray(data.dataobj).T, array.reshape(6, 4, 5, 6))
    assert bytes(read_all(made["x.bval"])) == b"500 500 500 1000 1000 1000\n"
    assert np.loadtxt(bytes(read_all(made["x.bvec"])).decode().splitlines()).shape == (3, 6)


@pytest.mark.parametrize(
    ("axes", "bvectors", "affine", "told"),
    [
        ((axis("te", [1, 2]), axis("b", [0, 1])), None, TURNED, "one index of te"),
        ((axis("time", [1, 2]), axis("te", [0, 1])), np.eye(3)[[0, 1, 2, 0]], TURNED, "axis of b"),
        ((axis("b", [1, 2]), axis("b", [0, 1])), np.eye(3), TURNED, "one for each of 4"),
        ((axis("b", [1, 2]), Axis("bvector", "", np.eye(3)[:2])), None, None, "need an affine"),
        ((axis("b", [1, np.nan]), axis("b", [0, np.nan])), None, TURNED, "finite"),
    ],
)
def test_gradients_that_no_file_holds(
    axes: tuple[Axis, ...], bvectors: Any, affine: Any, told: str
) -> None:
    """The error says what is missing or too much."""
    with pytest.raises(EncodeError, match=told):
        files(Image(cells(shape=(2, 2, 4, 5, 6)), axes, affine, bvectors=bvectors))


# --- bytes ------------------------------------------------------------------------------------


def test_voxels_are_not_copied() -> None:
    """What goes to the file is the array's own memory, also where axes change places."""
    array = cells(shape=(3, 2, 4, 5, 6))
    axes = (axis("time", [0, 2, 4], "s"), axis("te", [10, 20], "ms"))
    for image in (Image(array[0, 0], affine=TURNED), Image(array, axes, TURNED)):
        (blob,) = files(image).values()
        assert isinstance(blob, PiecesBlob)
        assert all(
            np.shares_memory(np.frombuffer(piece, np.uint8), array) for piece in blob.pieces[1:]
        )


@pytest.mark.parametrize("compress", [False, True])
def test_views_are_written_as_they_look(compress: bool) -> None:
    """Flipped, thinned out and transposed arrays, a plane at a time, never whole."""
    array = cells("f4", (3, 40, 50, 60))
    views = [array[:, ::-1, ::2], array[..., ::-1], array[:, :, :, 10:20], array.swapaxes(2, 3)]
    for view in views:
        image = Image(view, (axis("time", [0, 1, 2], "s"),), TURNED)
        (blob,) = files(image, compress=compress).values()
        data = bytes(read_all(blob))
        data = gzip.decompress(data) if compress else data
        assert len(data) == 352 + view.nbytes
        assert np.array_equal(np.frombuffer(data[352:], "<f4").reshape(view.shape), view)


def test_views_take_no_second_volume() -> None:
    """While a view is read out, memory grows by a plane."""
    array = np.zeros((200, 128, 128), np.float32)
    (blob,) = files(Image(array[:, :, ::-1], affine=TURNED)).values()
    part = memoryview(bytearray(1 << 16))
    reader = blob.open()
    tracemalloc.start()
    try:
        for offset in range(0, blob.size, len(part)):
            reader.readinto(part, offset)
        assert tracemalloc.get_traced_memory()[1] < 4 * array[0].nbytes
    finally:
        tracemalloc.stop()
        reader.close()


def test_readers_of_views_start_anywhere() -> None:
    """Offsets in any order give the bytes of the whole."""
    array = cells("u2", (3, 4, 5))[:, ::-1]
    (blob,) = files(Image(array, affine=TURNED)).values()
    whole, reader = bytes(read_all(blob)), blob.open()
    for offset in (400, 0, 350, 352, blob.size - 1, blob.size, blob.size + 5):
        part = bytearray(60)
        count = reader.readinto(memoryview(part), offset)
        assert part[:count] == whole[offset : offset + 60]
    reader.close()


def test_compressed_files() -> None:
    """gzip reads them; equal images are equal files; the level has a say."""
    array = np.repeat(cells(shape=(40, 50, 20)), 3, axis=2)
    image = Image(array, affine=TURNED)
    (packed,) = files(image, compress=True).values()
    (plain,) = files(image).values()
    data = bytes(read_all(packed))
    assert packed.name == "x.nii.gz"
    assert gzip.decompress(data) == bytes(read_all(plain))
    assert data == bytes(read_all(*files(image, compress=True).values()))
    (fast,) = files(image, compress=True, level=1).values()
    (small,) = files(image, compress=True, level=9).values()
    assert small.size < fast.size < plain.size


def test_the_extension_decides() -> None:
    """A target's own extension is kept; compress= must not contradict it."""
    image = Image(cells(), affine=TURNED)
    assert list(files(image, extension=".NII.GZ")) == ["x.NII.GZ"]
    assert list(files(image, extension=".nii", compress=False)) == ["x.nii"]
    with pytest.raises(EncodeError, match="compress=True"):
        files(image, extension=".nii", compress=True)
    with pytest.raises(TypeError, match="compress, extension, level"):
        files(image, packed=True)
    with pytest.raises(ValueError, match="0 to 9"):
        files(image, compress=True, level=42)


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (Image(cells().astype("O")), "type object"),
        (Image(cells().astype("g")), "type"),
        (Image(cells("u2", (4, 5, 6, 3)), color=True), "no colours of type uint16"),
        (Image(cells("u1", (4, 5, 6, 4)), color=True), "shape"),
        (Image(cells(shape=(5, 6))), "does not fit"),
        (Image(cells(shape=(3, 4, 5, 6)), (axis("time", [1, 2]),)), "does not fit"),
        (Image(cells(shape=(0, 5, 6))), "shape"),
        (Image(cells(), affine=np.zeros((4, 4))), "spacing"),
        (Image(cells(), affine=np.full((4, 4), np.nan)), "no numbers"),
    ],
)
def test_what_nifti_cannot_hold(image: Image, told: str) -> None:
    """Types, shapes and affines are refused before a byte is written."""
    with pytest.raises(EncodeError, match=told):
        files(image)
