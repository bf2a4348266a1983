"""NIfTI through Series.open and Series.write: files, directories, zip members; real series out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from anyio import to_thread

from seriesio import Series

NIBABEL: Any = nibabel  # typed in parts only
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
AFFINE = np.array([[-2.0, 0, 0, 5], [0, 2.5, 0, -6], [0, 0, 3, 7], [0, 0, 0, 1]])


def save(path: Path, shape: tuple[int, ...] = (3, 4, 5, 6)) -> Any:
    """A file by nibabel; its voxels as our library has them."""
    array = np.random.default_rng(5).integers(-900, 900, shape).astype(np.int16)
    image = NIBABEL.Nifti1Image(array.T, AFFINE)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 1.5
    NIBABEL.save(image, path)
    return array


def load(path: Path) -> tuple[Any, Any]:
    """Voxels (…, slice, row, column) and affine (LPS), by nibabel."""
    image = NIBABEL.load(path)
    return np.asarray(image.dataobj).T.copy(), LPS @ image.affine


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
async def test_open(tmp_path: Path, name: str) -> None:
    """A file, and a directory that holds it and its gradients."""
    array = save(tmp_path / name)
    series = await Series.open(tmp_path / name)
    assert np.array_equal(series.array, array)
    assert np.allclose(series.affine, LPS @ AFFINE)
    assert series.spacing == pytest.approx((3, 2.5, 2))
    assert series.timeline.tolist() == [0, 1.5, 3]
    (tmp_path / "x.bval").write_text("0 500 1000\n")
    again = await Series.open(tmp_path)
    assert again.axes[0].values.tolist() == [0, 500, 1000]


async def test_open_mapped(tmp_path: Path) -> None:
    """mmap=True reaches the format."""
    array = save(tmp_path / "x.nii")
    series = await Series.open(tmp_path / "x.nii", mmap=True)
    assert np.array_equal(series.array, array)
    assert not series.array.flags.owndata


@pytest.mark.parametrize("target", ["y.nii", "y.nii.gz", "archive.zip?y.nii.gz"])
async def test_write_and_open(tmp_path: Path, target: str) -> None:
    """What is written to a file or into a zip opens as it was."""
    save(tmp_path / "x.nii")
    series = await Series.open(tmp_path / "x.nii")
    await series.write(f"{tmp_path}/{target}")
    again = await Series.open(f"{tmp_path}/{target}")
    assert np.array_equal(again.array, series.array)
    assert np.allclose(again.affine, series.affine)
    assert again.timeline.tolist() == series.timeline.tolist()


@pytest.mark.parametrize("name", ["mr_oblique", "mr_mosaic", "mr_enhanced", "mr_fmri/mr_0004"])
async def test_real_series_as_nibabel_reads_them(corpus: Path, tmp_path: Path, name: str) -> None:
    """DICOM written as NIfTI: nibabel has the voxels and the affine."""
    series = await Series.open(corpus / name)
    await series.write(tmp_path / "y.nii.gz")
    array, affine = await to_thread.run_sync(load, tmp_path / "y.nii.gz")
    assert np.array_equal(array, series.array)
    assert np.allclose(affine, series.affine, rtol=0, atol=1e-3)


async def test_a_view_of_a_real_series(corpus: Path, tmp_path: Path) -> None:
    """A crop of every second row keeps its place."""
    series = (await Series.open(corpus / "mr_oblique"))[2:, 5:40:2, 7:]
    await series.write(tmp_path / "y.nii")
    array, affine = await to_thread.run_sync(load, tmp_path / "y.nii")
    assert np.array_equal(array, series.array)
    assert np.allclose(affine, series.affine, rtol=0, atol=1e-3)
