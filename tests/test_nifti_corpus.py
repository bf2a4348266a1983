"""Every real series written as NIfTI: voxels and affine are those of dcm2niix's own file.

Both files are read and reoriented by nibabel; nothing of ours judges.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from anyio import to_thread

from seriesio import Series

Tool = Callable[[str], str]

# Folder, and the number of the series where dcm2niix makes several files of it.
FOLDERS = {
    "mr_oblique": "",
    "mr_mosaic": "",
    "mr_enhanced": "",
    "mr_fmri/mr_0004": "",
    "mr_dynamic": "",
    "ct_gantry_tilt": "",
    "ct_study/S21610/S2010": "201",
    "ct_study/S21610/S3010": "301",
}
# Tilted: dcm2niix keeps an affine without shear, and writes a resampled file besides.
SHEARED = ("ct_gantry_tilt", "ct_study/S21610/S2010", "ct_study/S21610/S3010")
UNEVEN = ("ct_gantry_tilt",)  # up to 22.8 mm: written only where that is accepted
# dcm2niix cannot tell the way from slice to slice, and says so: its affine spans no volume.
UNORDERED = ("mr_dynamic",)


def converted(program: str, source: Path, target: Path, number: str) -> Any:
    """dcm2niix's image of a folder; not the one that it resampled."""
    target.mkdir()
    command = [program, "-z", "n", "-b", "n", "-f", "%s", "-o", str(target), str(source)]
    subprocess.run(command, check=False, capture_output=True)
    found = [path for path in sorted(target.glob("*.nii")) if not {"_Tilt", "_Eq"} & _parts(path)]
    (path,) = [path for path in found if path.stem == number] if number else found
    return nibabel.load(path)


def _parts(path: Path) -> set[str]:
    """What dcm2niix has put behind the name of a file that it resampled."""
    return {f"_{part.rstrip('_1234567890')}" for part in path.stem.split("_")[1:]}


def canonical(image: Any) -> tuple[Any, Any]:
    """Voxels from left to right, back to front, foot to head, and their affine."""
    turned: Any = nibabel.as_closest_canonical(image)  # type: ignore[no-untyped-call]
    return np.asarray(turned.dataobj), turned.affine


def frames(image: Any) -> list[bytes]:
    """The bytes of every image, rows from top to bottom and from bottom to top alike."""
    stack = np.asarray(image.dataobj).T.reshape(-1, *image.shape[1::-1])
    return sorted(min(one.tobytes(), one[::-1].tobytes()) for one in stack)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One event loop: it is the files that are looked at."""
    return "asyncio"


@pytest.mark.parametrize("name", FOLDERS)
async def test_as_dcm2niix(corpus: Path, tool: Tool, tmp_path: Path, name: str) -> None:
    """What we write is what dcm2niix writes, but for the order of axes in the file."""
    source = corpus / name
    theirs = await to_thread.run_sync(
        converted, tool("dcm2niix"), source, tmp_path / "theirs", FOLDERS[name]
    )
    series = await Series.open(source)
    await series.write(tmp_path / "ours.nii", accept_uneven_slices=name in UNEVEN)
    ours: Any = nibabel.load(tmp_path / "ours.nii")
    if name in UNORDERED:
        assert frames(ours) == frames(theirs)
        return
    (own, own_affine), (other, affine) = canonical(ours), canonical(theirs)
    np.testing.assert_array_equal(own, other)
    if name not in SHEARED:
        np.testing.assert_allclose(own_affine, affine, rtol=0, atol=1e-3)
    if own.ndim > 3:
        assert ours.header.get_zooms()[3] == pytest.approx(theirs.header.get_zooms()[3], rel=0.02)
