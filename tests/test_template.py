"""Headers and places from templates, end to end: opened, written, read back; pydicom as oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from seriesio import Series
from seriesio.dicom.sorting import Axis
from seriesio.errors import (
    AmbiguousSeriesError,
    EncodeError,
    HeaderError,
    InconsistentSeriesError,
    NotFoundError,
)
from seriesio.testing import phantom

LPS = np.diag([-1.0, -1, 1, 1])  # from and to NIfTI's RAS
OBLIQUE = (0.8, 0.6, 0.0, 0.0, 0.0, -1.0)
PATIENT = ("PatientName", "PatientID", "StudyInstanceUID", "AccessionNumber", "Manufacturer")


def read(folder: Path) -> list[Dataset]:
    """The written instances in the order of their numbers."""
    found = [pydicom.dcmread(path) for path in folder.rglob("*.dcm")]
    return sorted(found, key=lambda dataset: int(dataset.InstanceNumber))


def affine_of(datasets: list[Dataset]) -> Any:
    """The affine that a stack's headers say (PS3.3 section C.7.6.2.1.1)."""
    first, last = datasets[0], datasets[-1]
    cosines, (dy, dx) = np.array(first.ImageOrientationPatient, float), first.PixelSpacing
    ends = [np.array(dataset.ImagePositionPatient, float) for dataset in (first, last)]
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1] = cosines[:3] * float(dx), cosines[3:] * float(dy)
    matrix[:3, 2] = (ends[1] - ends[0]) / (len(datasets) - 1)
    matrix[:3, 3] = ends[0]
    return matrix


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A CT series of 5 slices, whose headers are taken."""
    return phantom((5, 10, 12), modality="CT", slope=1, intercept=-1024, seed=3).save(
        tmp_path / "model"
    )


def nifti(path: Path, array: Any, lps: Any, step: float = 1.0) -> Path:
    """A NIfTI file by nibabel, of an array (…, slice, row, column) and its LPS affine."""
    image: Any = nibabel.Nifti1Image(np.asarray(array).T, LPS @ lps)  # type: ignore[no-untyped-call]
    image.header.set_xyzt_units("mm", "sec")
    if array.ndim > 3:
        image.header.set_zooms((*image.header.get_zooms()[:3], step))
    nibabel.save(image, path)
    return path


async def test_nifti_with_template(tmp_path: Path, model: Path) -> None:
    """A file without a header gets the patient of the template, keeps voxels and place."""
    lps = np.array([[0, 0, -4.0, -3], [1.5, 0, 0, 5], [0, -2, 0, 7], [0, 0, 0, 1]])
    array = np.arange(4 * 6 * 8, dtype=np.int16).reshape(4, 6, 8) - 50
    series = await Series.open(nifti(tmp_path / "x.nii", array, lps), template=model)
    expected = pydicom.dcmread(next(model.iterdir()))
    assert series.patientName == expected.PatientName
    before = series.seriesInstanceUID
    assert before != expected.SeriesInstanceUID
    await series.write(tmp_path / "out")
    assert series.seriesInstanceUID == before
    written = read(tmp_path / "out")
    for keyword in PATIENT:
        assert {dataset[keyword].value for dataset in written} == {expected[keyword].value}
    assert {dataset.SeriesInstanceUID for dataset in written} == {before}
    assert len({dataset.SOPInstanceUID for dataset in written}) == 4
    assert {dataset.SOPClassUID for dataset in written} == {expected.SOPClassUID}
    assert {dataset.file_meta.MediaStorageSOPInstanceUID for dataset in written} == {
        dataset.SOPInstanceUID for dataset in written
    }
    np.testing.assert_allclose(affine_of(written), lps, atol=1e-9)
    values = [dataset.pixel_array * int(dataset.RescaleSlope) for dataset in written]
    np.testing.assert_array_equal(values, array)
    assert {tuple(dataset.ImageType[:2]) for dataset in written} == {("DERIVED", "SECONDARY")}
    again = await Series.open(tmp_path / "out")
    np.testing.assert_array_equal(again.array, array)
    np.testing.assert_allclose(again.affine, lps, atol=1e-9)


async def test_mirrored_nifti(tmp_path: Path, model: Path) -> None:
    """A left-handed file, as dcm2niix writes them, has its slices turned round, not its voxels."""
    lps = np.array([[1.0, 0, 0, -3], [0, -2, 0, 5], [0, 0, 3, 7], [0, 0, 0, 1]])
    array = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)
    path = nifti(tmp_path / "x.nii", array, lps)
    bare = await Series.open(path)
    np.testing.assert_allclose(bare.affine, lps, atol=1e-6)
    series = await Series.open(path, template=model)
    np.testing.assert_array_equal(series.array, array[::-1])
    turned = lps @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 2], [0, 0, 0, 1]])
    np.testing.assert_allclose(series.affine, turned, atol=1e-6)
    await series.write(tmp_path / "out")
    again = await Series.open(tmp_path / "out")
    np.testing.assert_array_equal(again.array, array[::-1])
    np.testing.assert_allclose(again.affine, turned, atol=1e-6)


async def test_times(tmp_path: Path, model: Path) -> None:
    """Times count from the template's Acquisition Time, and are read back."""
    array = np.arange(3 * 2 * 4 * 5, dtype=np.int16).reshape(3, 2, 4, 5)
    path = nifti(tmp_path / "x.nii", array, np.eye(4), 2.5)
    series = await Series.open(path, template=model)
    first = min(str(d.AcquisitionTime) for d in map(pydicom.dcmread, model.iterdir()))
    start = int(first[:2]) * 3600 + int(first[2:4]) * 60 + float(first[4:])
    np.testing.assert_allclose(series.tags["time"], start + np.array([0, 2.5, 5]))
    np.testing.assert_allclose(series.timeline, [0, 2.5, 5])
    await series.write(tmp_path / "out")
    assert [int(dataset.TemporalPositionIdentifier) for dataset in read(tmp_path / "out")] == [
        *(1, 1, 2, 2, 3, 3)
    ]
    again = await Series.open(tmp_path / "out")
    np.testing.assert_array_equal(again.array, array)
    np.testing.assert_allclose(again.tags["time"], series.tags["time"])


VECTORS = np.array([[0, 0, 0, 0], [800, 1, 0, 0], [800, 0, 0.6, 0.8]])


@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        ([Axis("b", "s/mm2", np.array([0.0, 500, 1000]))], (3,)),
        ([Axis("te", "ms", np.array([4.6, 9.25, 13.8]))], (3,)),
        ([Axis("ti", "ms", np.array([100.0, 2500.5]))], (2,)),
        ([Axis("fa", "deg", np.array([5.0, 10.0, 15.0]))], (3,)),
        ([Axis("tr", "ms", np.array([5.0, 1000.0]))], (2,)),
        ([Axis("triggertime", "ms", np.array([0.0, 40.0, 80.0]))], (3,)),
        ([Axis("time", "s", np.array([0.0, 1.25])), Axis("te", "ms", np.array([4.0, 8]))], (2, 2)),
        ([Axis("time", "", np.array([0.0, 1, 2]))], (3,)),
    ],
    ids=lambda value: "-".join(axis.name for axis in value) if isinstance(value, list) else "",
)
async def test_axes_survive(
    tmp_path: Path, model: Path, axes: list[Axis], shape: tuple[int, ...]
) -> None:
    """What auto reads back has the same shape, axes, spacing, affine and voxels."""
    rng = np.random.default_rng(0)
    array = rng.integers(-99, 999, (*shape, 3, 4, 5)).astype(np.int16)
    template = await Series.open(model)
    affine = np.array([[0, -0.7, 0, 1], [0.7, 0, 0, 2], [0, 0, 2.5, 3.3], [0, 0, 0, 1]])
    series = Series.from_array(array, template=template, affine=affine, axes=axes)
    await series.write(tmp_path / "out")
    again = await Series.open(tmp_path / "out")
    np.testing.assert_array_equal(again.array, array)
    assert [axis.name for axis in again.axes] == [axis.name for axis in series.axes]
    for axis, other in zip(again.axes, series.axes, strict=True):
        np.testing.assert_allclose(axis.values, other.values, atol=1e-6)
    np.testing.assert_allclose(again.affine, affine, atol=1e-9)
    np.testing.assert_allclose(again.spacing, (2.5, 0.7, 0.7))


async def test_directions(tmp_path: Path, model: Path) -> None:
    """b values and directions are Diffusion Module attributes (PS3.3 section C.8.13.5.9)."""
    template = await Series.open(model)
    array = np.zeros((3, 2, 4, 5), np.int16)
    series = Series.from_array(array, template=template, axes=[Axis("dti", "s/mm2", VECTORS)])
    await series.write(tmp_path / "out")
    volumes = read(tmp_path / "out")[::2]
    assert [float(dataset.DiffusionBValue) for dataset in volumes] == [0, 800, 800]
    kinds = [dataset.DiffusionDirectionality for dataset in volumes]
    assert kinds == ["NONE", "DIRECTIONAL", "DIRECTIONAL"]
    assert "DiffusionGradientOrientation" not in volumes[0]
    np.testing.assert_allclose(volumes[2].DiffusionGradientOrientation, [0, 0.6, 0.8])


async def test_template_on_dicom(tmp_path: Path, model: Path) -> None:
    """A DICOM series opened with template= keeps pixels and geometry under another's header."""
    made = phantom((5, 10, 12), orientation=OBLIQUE, spacing=(2, 1, 1), seed=9, modality="MR")
    path = made.save(tmp_path / "other")
    series = await Series.open(path, template=model)
    expected = pydicom.dcmread(next(model.iterdir()))
    assert series.studyInstanceUID == expected.StudyInstanceUID
    assert series.modality == "CT"
    np.testing.assert_array_equal(series.array, made.array)
    np.testing.assert_allclose(series.affine, made.affine, atol=1e-6)
    await series.write(tmp_path / "out")
    np.testing.assert_allclose(affine_of(read(tmp_path / "out")), made.affine, atol=1e-6)


async def test_geometry_on_dicom(tmp_path: Path, model: Path) -> None:
    """A DICOM series opened with geometry= is written there, in that frame of reference."""
    made = phantom((5, 10, 12), orientation=OBLIQUE, spacing=(2, 1, 1), seed=9)
    place = await Series.open(made.save(tmp_path / "place"))
    series = await Series.open(model, geometry=tmp_path / "place")
    np.testing.assert_allclose(series.affine, made.affine, atol=1e-6)
    await series.write(tmp_path / "out")
    written = read(tmp_path / "out")
    np.testing.assert_allclose(affine_of(written), made.affine, atol=1e-6)
    assert {d.FrameOfReferenceUID for d in written} == {place.frameOfReferenceUID}
    shifted = np.eye(4)
    shifted[:3, 3] = 1, 2, 3
    moved = await Series.open(model, geometry=shifted)
    np.testing.assert_allclose(moved.affine, shifted)
    with pytest.raises(InconsistentSeriesError, match="geometry: has"):
        await Series.open(model, geometry=place[1:])


async def test_geometry_and_template(tmp_path: Path, model: Path) -> None:
    """Place and frame of reference from one series, the rest from another."""
    made = phantom((4, 6, 8), orientation=OBLIQUE, spacing=(2, 1, 1), seed=9)
    place = await Series.open(made.save(tmp_path / "place"))
    path = nifti(tmp_path / "x.nii", np.ones((4, 6, 8), np.int16), np.eye(4))
    series = await Series.open(path, geometry=place, template=await Series.open(model))
    np.testing.assert_allclose(series.affine, made.affine, atol=1e-6)
    assert series.frameOfReferenceUID == place.frameOfReferenceUID
    assert series.accessionNumber == pydicom.dcmread(next(model.iterdir())).AccessionNumber


@pytest.mark.parametrize(
    "kind",
    [
        {"transfer_syntax": "1.2.840.10008.1.2"},
        {"transfer_syntax": "1.2.840.10008.1.2.2"},
        {"transfer_syntax": "1.2.840.10008.1.2.1.99"},
        {"transfer_syntax": "1.2.840.10008.1.2.5"},
        {"transfer_syntax": "1.2.840.10008.1.2", "preamble": False},
        {"kind": "float"},
        {"photometric": "RGB"},
        {"photometric": "MONOCHROME1"},
        {"enhanced": True},
        {"enhanced": "per-volume", "modality": "PT"},
        {"multiframe": True},
        {"header_elements": 40},
    ],
    ids=lambda kind: "-".join(map(str, kind.values())),
)
async def test_templates_of_every_kind(tmp_path: Path, kind: dict[str, Any]) -> None:
    """However a template is stored, what is made of it is read back equal."""
    template = await Series.open(phantom((3, 8, 6), **kind).save(tmp_path / "model"))
    array = np.arange(3 * 8 * 6, dtype=np.int16).reshape(3, 8, 6) - 40
    series = Series.from_array(array, template=template, axes=[])
    await series.write(tmp_path / "out")
    written = read(tmp_path / "out")
    assert len(written) == 3
    for dataset in written:
        assert not any(element.tag.is_private for element in dataset)
        assert dataset.PatientID == "PHANTOM"
        assert "SharedFunctionalGroupsSequence" not in dataset
        assert dataset.pixel_array.shape == (8, 6)
    again = await Series.open(tmp_path / "out")
    np.testing.assert_array_equal(again.array, array)
    np.testing.assert_allclose(again.affine, template.affine, atol=1e-6)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "i8", "f4", "f8", "?"])
async def test_voxels_of_every_kind(tmp_path: Path, model: Path, dtype: str) -> None:
    """Voxels that DICOM can hold exactly come back as they were; CT words have 16 bits or more."""
    array = (np.arange(2 * 4 * 5).reshape(2, 4, 5) % 7).astype(dtype)
    series = Series.from_array(array, template=await Series.open(model))
    await series.write(tmp_path / "out")
    written = read(tmp_path / "out")
    assert {dataset.BitsAllocated for dataset in written} == {16}
    again = await Series.open(tmp_path / "out")
    np.testing.assert_array_equal(again.array, array)


async def test_color(tmp_path: Path, model: Path) -> None:
    """Colour under a CT template is a Secondary Capture of the same study."""
    array = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    template = await Series.open(model)
    axes = ["slice", "row", "column", "rgb"]
    series = Series.from_array(array, template=template, axes=axes, spacing=(3, 2, 1))
    await series.write(tmp_path / "out")
    written = read(tmp_path / "out")
    assert {dataset.SOPClassUID for dataset in written} == {"1.2.840.10008.5.1.4.1.1.7"}
    assert {dataset.ConversionType for dataset in written} == {"WSD"}
    np.testing.assert_array_equal([dataset.pixel_array for dataset in written], array)
    again = await Series.open(tmp_path / "out")
    assert again.spacing == (3.0, 2.0, 1.0)


async def test_errors(tmp_path: Path, model: Path) -> None:
    """Templates that are none are told, and which argument it was."""
    path = nifti(tmp_path / "x.nii", np.zeros((2, 3, 4), np.int16), np.eye(4))
    with pytest.raises(HeaderError, match="has no DICOM header itself"):
        await Series.open(path, template=path)
    with pytest.raises(NotFoundError) as told:
        await Series.open(path, template=tmp_path / "nowhere")
    assert "while opening template=" in told.value.__notes__
    phantom((2, 8, 8), seed=8).save(model / "second")
    with pytest.raises(AmbiguousSeriesError) as several:
        await Series.open(path, geometry=model)
    assert "while opening geometry=" in several.value.__notes__
    with pytest.raises(HeaderError, match=r"lacks SOPClassUID .*, StudyInstanceUID .*, Modality"):
        await Series.open(path, template=Dataset())
    with pytest.raises(TypeError, match="a Series, a pydicom Dataset or a URL"):
        await Series.open(path, template=3)  # type: ignore[arg-type]


async def test_what_dicom_cannot_hold(tmp_path: Path, model: Path) -> None:
    """Sheared planes, complex voxels and unknown axes are refused when the header is made."""
    template = await Series.open(model)
    sheared = np.eye(4)
    sheared[0, 1] = 0.3
    with pytest.raises(EncodeError, match="right angles"):
        Series.from_array(np.zeros((2, 3, 4)), template=template, affine=sheared)
    with pytest.raises(EncodeError, match="complex"):
        Series.from_array(np.zeros((2, 3, 4), complex), template=template)
    with pytest.raises(HeaderError, match=r"axis 'channel': no attribute .*known are b, bvector"):
        Series.from_array(np.zeros((2, 2, 3, 4)), template=template, axes=["channel"])


@pytest.mark.parametrize("names", [["none"], ["rank"], ["none", "te"]], ids="-".join)
async def test_ranks_survive(tmp_path: Path, model: Path, names: list[str]) -> None:
    """Axes of which just the order is known are temporal positions, and read back in it."""
    rng = np.random.default_rng(0)
    shape = (3, 2)[: len(names)]
    array = rng.integers(-99, 999, (*shape, 2, 4, 5)).astype(np.int16)
    series = Series.from_array(array, template=await Series.open(model), axes=names)
    await series.write(tmp_path / "out")
    again = await Series.open(tmp_path / "out")
    np.testing.assert_array_equal(again.array, array)
    assert again.axes[0].name == "time"
    assert {len(dataset.AcquisitionTime) for dataset in read(tmp_path / "out")} == {0}


async def test_b_and_vector_in_any_order(tmp_path: Path, model: Path) -> None:
    """What one axis leaves out, the other may say; two that say the same are refused."""
    template = await Series.open(model)
    b = Axis("b", "s/mm2", np.array([500.0, 1000.0]))
    vectors = Axis("bvector", "", VECTORS[1:, 1:])
    for axes in ([b, vectors], [vectors, b]):
        series = Series.from_array(np.zeros((2, 2, 2, 4, 5)), template=template, axes=axes)
        found = series.header.values("DiffusionGradientOrientation")
        assert len(found) == 8
        assert {tuple(value) for value in found} == {(1.0, 0.0, 0.0), (0.0, 0.6, 0.8)}
    with pytest.raises(HeaderError, match="axes none and rank: DICOM tells both by"):
        Series.from_array(np.zeros((2, 2, 2, 4, 5)), template=template, axes=["none", "rank"])
