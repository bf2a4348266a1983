"""Whole numbers beyond 16 bits in images that cannot have more: what becomes of them is told."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from seriesio import Series
from seriesio.testing import phantom

SHAPE = (3, 10, 12)


def datasets(folder: Path) -> list[Any]:
    found = [pydicom.dcmread(path) for path in folder.iterdir()]
    return sorted(found, key=lambda dataset: dataset.ImagePositionPatient[2])


def values_of(folder: Path) -> np.ndarray[Any, Any]:
    """The values by pydicom."""
    return np.stack(
        [
            d.pixel_array.astype(np.int64) * int(d.RescaleSlope) + int(d.RescaleIntercept)
            for d in datasets(folder)
        ]
    )


async def written(values: Any, folder: Path, **options: Any) -> Series:
    """A series computed to be these values, written."""
    source = await Series.open(phantom(SHAPE, **options).save(folder / "source"))
    made: Series = (source > 1e9) + values
    await made.write(folder / "new")
    return made


@pytest.mark.parametrize("modality", ["CT", "MR"])
async def test_exact_by_an_intercept(
    modality: Any, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    """A range of 65,535 or less is exact, however far from zero, and the IOD is kept to."""
    values = np.linspace(200_000, 265_535, 360).astype(np.int64).reshape(SHAPE)
    await written(values, tmp_path, modality=modality)
    np.testing.assert_array_equal(values_of(tmp_path / "new"), values)
    back = await Series.open(tmp_path / "new")
    np.testing.assert_array_equal(back.array, values)
    assert back.dtype.kind in "iu"
    for path in sorted((tmp_path / "new").iterdir())[:2]:
        result = subprocess.run([tool("dciodvfy"), "-new", str(path)], capture_output=True)
        assert b"Error" not in result.stdout + result.stderr


async def test_steps(tmp_path: Path) -> None:
    """A greater range is stored in whole steps, with a warning that says which."""
    values = np.linspace(-100_000, 200_000, 360).astype(np.int64).reshape(SHAPE)
    with pytest.warns(UserWarning, match="in steps of 5: .* 16 bits"):
        await written(values, tmp_path, modality="MR")
    assert {d.BitsAllocated for d in datasets(tmp_path / "new")} == {16}
    assert np.abs(values_of(tmp_path / "new") - values).max() <= 2  # half a step of 5


async def test_pet_has_no_intercept(tmp_path: Path) -> None:
    """PET's rescale has an intercept of 0 (PS3.3 section C.8.9.4): steps from zero."""
    values = np.linspace(0, 200_000, 360).astype(np.int64).reshape(SHAPE)
    with pytest.warns(UserWarning, match="in steps of"):
        await written(values, tmp_path, modality="PT", slope=[0.5, 0.25, 1.75], bits_stored=16)
    assert {float(d.RescaleIntercept) for d in datasets(tmp_path / "new")} == {0.0}
    back = await Series.open(tmp_path / "new")
    assert np.abs(back.array - values).max() <= 200_000 / 65_535 / 2 * 1.001


async def test_what_fits_stays(tmp_path: Path) -> None:
    """Whole numbers of 16 bits have no rescale."""
    values = np.linspace(0, 65_535, 360).astype(np.int64).reshape(SHAPE)
    await written(values, tmp_path, modality="MR")
    np.testing.assert_array_equal(values_of(tmp_path / "new"), values)
    assert {d.RescaleIntercept for d in datasets(tmp_path / "new")} == {0}


async def test_others_keep_their_bits(tmp_path: Path) -> None:
    """Secondary captures may have 32 bits: labels in them are exact."""
    source = await Series.open(phantom(SHAPE).save(tmp_path / "source"))
    source.sopClassUID = "1.2.840.10008.5.1.4.1.1.7"
    values = np.linspace(0, 300_000, 360).astype(np.int64).reshape(SHAPE)
    await (source * 0 + values).write(tmp_path / "new")
    found = datasets(tmp_path / "new")
    assert {d.BitsAllocated for d in found} == {32}
    np.testing.assert_array_equal(np.stack([d.pixel_array for d in found]), values)
