"""Real series: what dcm2niix makes of them, read as NIfTI, is what we make of the DICOM."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from anyio import to_thread
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from seriesio import Series
from seriesio.blob import Blob, FileBlob, RenamedBlob
from seriesio.formats.image import Image
from seriesio.formats.nifti import NiftiFormat

FORMAT = NiftiFormat()


def converted(program: str, source: Path, target: Path, *, packed: bool = False) -> list[Image]:
    """dcm2niix's files of a folder, read by ourselves; those it resampled are left out."""
    target.mkdir(exist_ok=True)
    arguments = ["-b", "n", "-z", "i" if packed else "n", "-f", "%s", "-o", str(target)]
    subprocess.run([program, *arguments, str(source)], check=True, capture_output=True)
    there: dict[str, Blob] = {
        path.name: FileBlob(path.name, str(path), path.stat().st_size)
        for path in sorted(target.iterdir())
    }
    names = [name for name in there if ".nii" in name and "_Tilt" not in name]
    return [FORMAT.read(name, there, memory=1 << 30, options={}) for name in names]


def reoriented(
    array: NDArray[Any], affine: NDArray[np.float64], like: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """(…, slice, row, column) with its axes along those of another affine, and its affine."""
    columns = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    wanted = like[:3, :3] / np.linalg.norm(like[:3, :3], axis=0)
    cosines = wanted.T @ columns
    order = max(permutations(range(3)), key=lambda p: sum(abs(cosines[i, p[i]]) for i in range(3)))
    changed = affine.copy()
    changed[:, :3] = affine[:, order]
    # Column, row, slice are the array's last, last but one, last but two.
    moved = np.moveaxis(array, [-1 - k for k in order], [-1, -2, -3])
    for axis in range(3):
        if cosines[axis, order[axis]] < 0:
            moved = np.flip(moved, -1 - axis)
            changed[:3, 3] += (moved.shape[-1 - axis] - 1) * changed[:3, axis]
            changed[:3, axis] *= -1
    return moved, changed


def assert_same(image: Image, series: Series) -> None:
    assert image.affine is not None
    array, affine = reoriented(image.array, image.affine, series.affine)
    assert np.array_equal(array, series.array)
    assert np.allclose(affine, series.affine, rtol=0, atol=1e-3)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["mr_oblique", "mr_enhanced", "mr_mosaic", "mr_fmri/mr_0004"])
async def test_magnetic_resonance(
    corpus: Path, tool: Callable[[str], str], tmp_path: Path, name: str, packed: bool
) -> None:
    """Voxels and affine, after reorientation; and there are as many volumes."""
    make = partial(converted, tool("dcm2niix"), corpus / name, tmp_path / "out", packed=packed)
    (image,) = await to_thread.run_sync(make)
    series = await Series.open(corpus / name)
    assert_same(image, series)
    assert [axis.name for axis in image.axes] == (["time"] if series.ndim > 3 else [])


async def test_dynamic_series(corpus: Path, tool: Callable[[str], str], tmp_path: Path) -> None:
    """dcm2niix cannot tell the slices' direction and says so; it has all frames, each once.

    Its sform spans no volume, so we read the qform and say so.
    """
    make = partial(converted, tool("dcm2niix"), corpus / "mr_dynamic", tmp_path / "out")
    (image,) = await to_thread.run_sync(make)
    series = await Series.open(corpus / "mr_dynamic")
    assert image.array.shape == series.shape
    theirs = {frame.tobytes() for frame in image.array[..., ::-1, :].reshape(9, -1)}
    assert theirs == {frame.tobytes() for frame in series.array.reshape(9, -1)}
    assert any("the qform is taken" in note for note in image.notes)


@pytest.mark.parametrize("number", [201, 301])
async def test_computed_tomography(
    corpus: Path, tool: Callable[[str], str], tmp_path: Path, number: int
) -> None:
    """Rescaled values; dcm2niix does not shear the affine under tilt, so voxels only."""
    folder = corpus / "ct_study" / "S21610" / f"S{number}0"
    make = partial(converted, tool("dcm2niix"), folder, tmp_path / "out")
    images = await to_thread.run_sync(make)
    series = await Series.open(folder)
    assert images[0].affine is not None
    array, _ = reoriented(images[0].array, images[0].affine, series.affine)
    assert np.array_equal(array, series.array)


def diffusion_instance(
    place: Sequence[int], direction: Sequence[float], b: float, frame: NDArray[np.float64]
) -> Any:
    """A slice as Siemens scanners have it: b value and direction in private elements, too."""
    volume, slice_number = place
    meta: Any = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["diffusion", str(place)])
    made: Any = Dataset()
    made.file_meta = meta
    made.update(
        {
            "SOPClassUID": meta.MediaStorageSOPClassUID,
            "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
            "StudyInstanceUID": "1.2.3",
            "SeriesInstanceUID": "1.2.4",
            "Modality": "MR",
            "Manufacturer": "SIEMENS",
            "ImageType": ["ORIGINAL", "PRIMARY", "DIFFUSION"],
            "SeriesNumber": 3,
            "InstanceNumber": 5 * volume + slice_number + 1,
            "AcquisitionNumber": volume + 1,
            "AcquisitionTime": f"1000{volume:02d}",
            "PatientPosition": "HFS",
            "Rows": 6,
            "Columns": 8,
            "BitsAllocated": 16,
            "BitsStored": 16,
            "HighBit": 15,
            "PixelRepresentation": 0,
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "PixelSpacing": [2.5, 2],
            "SliceThickness": 3,
            "RepetitionTime": 2000,
            "EchoTime": 80,
            "ImageOrientationPatient": [f"{v:.10g}" for v in frame[:, :2].T.ravel()],
            "ImagePositionPatient": [
                f"{v:.10g}" for v in np.array([5, -7, 9]) + slice_number * 3 * frame[:, 2]
            ],
        }
    )
    block = made.private_block(0x19, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", str(int(b)))
    block.add_new(0x0E, "FD", list(direction))
    values = np.arange(48) + 1000 * volume + 100 * slice_number
    made.PixelData = values.astype("<u2").tobytes()
    return made


DIRECTIONS = np.array([[0, 0, 0], [1, 0, 0], [0, 0.6, 0.8], [-0.48, 0.6, 0.64]])
BVALUES = [0, 1000, 1000, 700]


@pytest.mark.parametrize("seed", [1, 2])
def test_diffusion(tool: Callable[[str], str], tmp_path: Path, seed: int) -> None:
    """Directions that scanners tell in patient space come out of dcm2niix's files unchanged."""
    frame, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    frame[:, 2] = np.cross(frame[:, 0], frame[:, 1])
    (tmp_path / "in").mkdir()
    for volume, (direction, b) in enumerate(zip(DIRECTIONS.tolist(), BVALUES, strict=True)):
        for number in range(5):
            made = diffusion_instance((volume, number), direction, b, frame)
            path = tmp_path / "in" / f"{volume}{number}.dcm"
            made.save_as(path, enforce_file_format=True)
    (image,) = converted(tool("dcm2niix"), tmp_path / "in", tmp_path / "out")
    (axis,) = image.axes
    assert axis.name == "dti"
    assert np.allclose(axis.values, np.column_stack([BVALUES, DIRECTIONS]), atol=1e-5)
    assert image.bvectors is not None
    assert np.allclose(image.bvectors, DIRECTIONS, atol=1e-5)
    again = written_and_read(image)
    assert np.allclose(again.axes[0].values, axis.values, atol=1e-5)
    assert np.array_equal(again.array, image.array)


def written_and_read(image: Image) -> Image:
    files: dict[str, Blob] = {
        f"a/{blob.name}": RenamedBlob(f"a/{blob.name}", blob)
        for blob in FORMAT.write(image, "y", options={"compress": True})
    }
    return FORMAT.read("a/y.nii.gz", files, memory=1 << 24, options={})
