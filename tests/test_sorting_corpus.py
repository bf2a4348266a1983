"""Every real series, sorted by itself and as asked: voxels and geometry are dcm2niix's."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from seriesio import Series

FOLDERS = {
    "mr_oblique": [],
    "mr_dynamic": ["time", "rank"],
    "ct_study:201": [],
    "ct_study:301": [],
    "mr_fmri/mr_0004": ["time", "rank"],
    "mr_mosaic": ["time"],
    "mr_enhanced": ["time"],
}
CASES = [(folder, order) for folder, orders in FOLDERS.items() for order in ["auto", *orders]]


STRAIGHTENED = ("ct_study",)  # by dcm2niix, since they are tilted: it keeps the voxels
UNORDERED = ("mr_dynamic",)  # dcm2niix finds no way from slice to slice, and mixes the images


@pytest.fixture(scope="module")
def references() -> dict[str, Any]:
    """dcm2niix's answers, by folder: each is asked once."""
    return {}


Answer = tuple[NDArray[Any], NDArray[np.float64]]


def reference(tool: Callable[[str], str], folder: Path, out: Path, number: str) -> Answer:
    """([time,] slice, row, column) that dcm2niix makes of a folder, and its affine in LPS."""
    out.mkdir()
    name = "%s" if number else "out"
    run = [tool("dcm2niix"), "-z", "n", "-b", "n", "-f", name, "-o", str(out), str(folder)]
    subprocess.run(run, check=False, capture_output=True)
    image: Any = nibabel.load(out / f"{number or 'out'}.nii")
    return np.asarray(image.dataobj).T.copy(), np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine


def flips(ours: NDArray[np.float64], theirs: NDArray[np.float64], size: NDArray[Any]) -> list[int]:
    """-1 for each of (slice, row, column) that the other affine counts from the other end.

    Every corner of ours must be a voxel of theirs.
    """
    ends = np.array([[z, y, x] for z in (0, 1) for y in (0, 1) for x in (0, 1)]) * (size - 1)
    places = np.column_stack([ends[:, ::-1], np.ones(8)]).T
    there = np.linalg.solve(theirs, ours @ places).T[:, 2::-1]
    assert np.allclose(there, np.rint(there), atol=2e-2)
    steps = np.rint(there[[4, 2, 1]] - there[0]).astype(int)
    assert np.array_equal(np.abs(steps), np.diag(size - 1))
    return [-1 if steps[axis, axis] < 0 else 1 for axis in range(3)]


def images(array: NDArray[Any]) -> list[bytes]:
    """The bytes of every image, in an order of their own."""
    return sorted(image.tobytes() for image in array.reshape(-1, *array.shape[-2:]))


@pytest.mark.parametrize(("name", "order"), CASES)
async def test_as_dcm2niix(
    corpus: Path,
    tool: Callable[[str], str],
    tmp_path: Path,
    references: dict[str, Any],
    name: str,
    order: str,
) -> None:
    """The same volumes, and every corner where dcm2niix has it."""
    folder, _, number = name.partition(":")
    if name not in references:
        references[name] = reference(tool, corpus / folder, tmp_path / "out", number)
    theirs, affine = references[name]
    select = {"SeriesNumber": int(number)} if number else None
    series = await Series.open(corpus / folder, order, select=select)
    if folder in UNORDERED:
        assert images(series.array) == images(theirs[..., ::-1, :])
        return
    ways = [1, -1, 1]
    if folder not in STRAIGHTENED:
        ways = flips(series.affine, affine, np.array(series.shape[-3:]))
    turned = theirs[..., :: ways[0], :: ways[1], :: ways[2]]
    assert np.array_equal(np.squeeze(series.array), np.squeeze(turned))
