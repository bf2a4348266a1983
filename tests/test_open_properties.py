"""However the files come, the series is the same: any order, names, directories, or a zip."""

from __future__ import annotations

import random
import tempfile
import zipfile
from io import BytesIO
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from seriesio import Series
from seriesio.errors import IncompleteSeriesError
from seriesio.testing import Phantom, phantom

PHANTOMS: dict[str, Phantom] = {
    "ct": phantom((6, 12, 16), intercept=-1024, tilt=10),
    "te": phantom((2, 3, 12, 16), axes=("te", "slice", "row", "column")),
    "time": phantom((3, 3, 12, 16), modality="MR"),
    "two": phantom((2, 2, 2, 12, 16), axes=("time", "b", "slice", "row", "column")),
    "enhanced": phantom((2, 3, 12, 16), enhanced="per-volume", shuffle=1),
    "colour": phantom((4, 12, 16), photometric="RGB"),
    "noisy": phantom((4, 12, 16), orientation=(0.8, 0.6, 0, 0, 0, -1)),
}


def laid_out(source: Phantom, seed: int, folder: Path, packed: bool) -> Path:
    """The files under random names, in random directories, in a random order."""
    rng = random.Random(seed)
    files = list(source.files().values())
    rng.shuffle(files)
    names = [f"{rng.choice(['', 'a/', 'b/c/', 'd e/'])}{rng.getrandbits(64):x}" for _ in files]
    if packed:
        with zipfile.ZipFile(folder / "in.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in zip(names, files, strict=True):
                archive.writestr(name, data)
        return folder / "in.zip"
    for name, data in zip(names, files, strict=True):
        path = folder / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder / "in"


@pytest.mark.parametrize("name", PHANTOMS)
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32), packed=st.booleans())
async def test_any_layout_is_the_same_series(name: str, seed: int, packed: bool) -> None:
    """Array, affine, axes, attributes and the order of the instances."""
    source = PHANTOMS[name]
    with tempfile.TemporaryDirectory() as folder:
        series = await Series.open(laid_out(source, seed, Path(folder), packed))
    assert np.array_equal(series.array, source.array)
    assert np.allclose(series.affine, source.affine, atol=1e-4)
    assert tuple(axis.name for axis in series.axes[: len(source.axes)]) == source.axes
    wanted = [dataset.SOPInstanceUID for dataset in source.datasets()]
    assert list(series.header.values("SOPInstanceUID")) == wanted
    assert series.seriesInstanceUID == source.series_uid


def shaken(source: Phantom) -> list[bytes]:
    """The files, cosines and positions of each off by a little."""
    rng = np.random.default_rng(3)
    files = []
    for dataset in source.datasets():
        cosines = np.array(dataset.ImageOrientationPatient, float) + rng.normal(0, 1e-5, 6)
        position = np.array(dataset.ImagePositionPatient, float) + rng.normal(0, 1e-4, 3)
        dataset.ImageOrientationPatient = [f"{number:.8f}" for number in cosines]
        dataset.ImagePositionPatient = [f"{number:.6f}" for number in position]
        buffer = BytesIO()
        dataset.save_as(buffer)
        files.append(buffer.getvalue())
    return files


async def test_noise_within_the_tolerances(tmp_path: Path) -> None:
    """Cosines and positions that differ a little: the affine does not depend on the order."""
    files = shaken(phantom((4, 12, 16), modality="MR"))
    results = []
    for number, order in enumerate(permutations(range(4))):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, index in enumerate(order):
            (folder / f"{name}.dcm").write_bytes(files[index])
        results.append(await Series.open(folder))
    first, *others = results
    for other in others:
        assert np.array_equal(first.array, other.array)
        assert np.array_equal(first.affine, other.affine)
        assert np.array_equal(first.imagePositions, other.imagePositions)


SPARSE: dict[str, Phantom] = {
    "ct": phantom((6, 12, 16), intercept=-1024, tilt=10),
    "te": phantom((3, 3, 12, 16), axes=("te", "slice", "row", "column")),
    "b": phantom((3, 3, 12, 16), axes=("b", "slice", "row", "column")),
    "time": phantom((4, 3, 12, 16), modality="MR"),
    "two": phantom((2, 2, 3, 12, 16), axes=("time", "b", "slice", "row", "column")),
}


def equal_part(kept: list[int], array: NDArray[Any]) -> bool:
    """True if what is left is a part that a reader cannot know to be one: neighbouring (or
    evenly spaced) slices, the same ones of each volume, of all or some of the volumes."""
    slices = sorted({index % array.shape[-3] for index in kept})
    volumes = sorted({index // array.shape[-3] for index in kept})
    return len(slices) * len(volumes) == len(kept) and len(set(np.diff(slices).tolist())) <= 1


def orders(kept: list[int], source: Phantom) -> list[list[int]]:
    """What is left of the frames, with either of the further axes as the slowest one."""
    shape = source.shape[:-2]
    places = {index: np.unravel_index(index, shape) for index in kept}
    further = permutations(range(len(shape) - 1))
    return [
        sorted(kept, key=lambda index: [int(places[index][axis]) for axis in (*order, -1)])
        for order in further
    ]


@pytest.mark.parametrize("name", SPARSE)
@settings(max_examples=25, deadline=None)
@given(drawn=st.sets(st.integers(0, 11), min_size=1))
async def test_no_part_is_taken_for_the_whole(name: str, drawn: set[int]) -> None:
    """Whatever is removed: told as missing, or what is left is in its right order (where one
    axis is left of two, as in diffusion with several volumes of b = 0, of either axis)."""
    source = SPARSE[name]
    count = len(source.names)
    gone = {index % count for index in drawn}
    kept = [index for index in range(count) if index not in gone]
    assume(kept)
    with tempfile.TemporaryDirectory() as folder:
        try:
            series = await Series.open(source.without(gone).save(folder))
        except IncompleteSeriesError:
            return
    assert equal_part(kept, source.array)
    flat = source.array.reshape(-1, *source.shape[-2:])
    opened = series.array.reshape(-1, *source.shape[-2:])
    assert any(np.array_equal(opened, flat[order]) for order in orders(kept, source))
