"""Writing real series; the oracles are the files themselves, pydicom, dcmdump and SimpleITK."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from seriesio import Series
from seriesio.errors import EncodeError

SERIES: dict[str, tuple[str, dict[str, Any]]] = {
    "mr_oblique": ("mr_oblique", {}),
    "mr_dynamic": ("mr_dynamic", {}),
    "mr_dynamic.zip": ("mr_dynamic.zip?time", {}),
    "ct_gantry_tilt": ("ct_gantry_tilt", {}),
    "ct_study-201": ("ct_study", {"select": {"SeriesNumber": 201}}),
    "ct_study-301": ("ct_study", {"select": {"SeriesNumber": 301}}),
    "mr_fmri": ("mr_fmri", {}),
    "mr_enhanced": ("mr_enhanced", {}),
    "mr_mosaic": ("mr_mosaic", {}),
}


@pytest.fixture(params=SERIES)
def source(request: pytest.FixtureRequest, corpus: Path) -> tuple[str, dict[str, Any]]:
    name, options = SERIES[request.param]
    return str(corpus / name), options


def digests(files: Iterable[bytes]) -> list[str]:
    return sorted(hashlib.sha256(data).hexdigest() for data in files)


def written(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def in_memory(path: Path) -> Dataset:
    """A file as pydicom reads it, from memory: blockbuster makes many small reads slow."""
    return pydicom.dcmread(BytesIO(path.read_bytes()), force=True)


@cache
def originals(source: str, corpus: Path) -> dict[str, Path]:
    """The files of the corpus by SOP Instance UID, as pydicom reads it."""
    folder = corpus / Path(source.split("?")[0]).stem
    found = {}
    for path in sorted(folder.rglob("*")):
        try:
            dataset = in_memory(path)
        except (pydicom.errors.InvalidDicomError, OSError, ValueError):
            continue
        if "SOPInstanceUID" in dataset:
            found[str(dataset.SOPInstanceUID)] = path
    return found


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
async def test_unchanged(source: tuple[str, dict[str, Any]], corpus: Path, tmp_path: Path) -> None:
    """Read, write, read: the same bytes, the same voxels, in directory and zip."""
    url, options = source
    series = await Series.open(url, **options)
    await series.write(tmp_path / "dir")
    files = originals(url, corpus)
    uids = series.header.values("SOPInstanceUID")
    assert len(set(uids)) == len(uids)
    expected = digests(files[uid].read_bytes() for uid in uids)
    assert digests(written(tmp_path / "dir")) == expected
    await series.write(tmp_path / "a.zip", level=1)
    for path in (tmp_path / "dir", tmp_path / "a.zip"):
        back = await Series.open(path)
        np.testing.assert_array_equal(back.array, series.array)
        np.testing.assert_array_equal(back.affine, series.affine)
        assert repr(back) == repr(series)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
async def test_changed_header(
    source: tuple[str, dict[str, Any]], corpus: Path, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    """Only the changed elements differ; dcmdump says nothing that it did not say before."""
    url, options = source
    series = await Series.open(url, **options)
    files = originals(url, corpus)
    uids = series.header.values("SOPInstanceUID")
    series.seriesNumber = 4711
    await series.write(tmp_path / "dir")
    names = sorted(os.listdir(tmp_path / "dir"))
    for uid, name in zip(uids, names, strict=True):
        old, new = in_memory(files[uid]), in_memory(tmp_path / "dir" / name)
        assert differing(old, new) == {0x00080018, 0x0020000E, 0x00200011}
        assert new.SeriesNumber == 4711
    assert set(warned(tool, tmp_path / "dir" / names[0])) <= set(warned(tool, files[uids[0]]))


def differing(old: Dataset, new: Dataset) -> set[int]:
    """The tags of elements that are not the same bytes; group lengths follow and do not count."""
    tags = {tag for tag in (*old.keys(), *new.keys()) if tag & 0xFFFF}
    return {
        int(tag)
        for tag in tags
        if tag not in old or tag not in new or raw(old, tag) != raw(new, tag)
    }


def raw(dataset: Dataset, tag: Any) -> object:
    element = dataset.get_item(tag)
    value = getattr(element, "value", None)
    return value if isinstance(value, bytes) else dataset[tag]


def warned(tool: Callable[[str], str], path: Path) -> list[str]:
    command = [tool("dcmdump"), "-q", str(path)]
    told = subprocess.run(command, capture_output=True, check=False).stderr.decode("latin-1")
    return [line[:30] for line in told.splitlines()]


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
async def test_changed_voxels(source: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    """Voxels that others take the place of are written exactly, and the geometry stays."""
    url, options = source
    series = await Series.open(url, **options)
    series[..., :20, :20] = series.array[..., 20:40, 20:40].copy()
    await series.write(tmp_path / "dir")
    back = await Series.open(tmp_path / "dir")
    np.testing.assert_array_equal(back.array, series.array)
    np.testing.assert_allclose(back.imagePositions, series.imagePositions, atol=1e-9)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
async def test_computed(source: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    """The mean of two reads back within half a quantisation step, where it was."""
    url, options = source
    series = await Series.open(url, **options)
    mean = (series + np.roll(series.array, 1, axis=-1)) / 2.1
    await mean.write(tmp_path / "dir")
    back = await Series.open(tmp_path / "dir")
    step = (mean.array.max() - mean.array.min()) / 65535
    rounded = mean.array.max() * 2e-7  # what is read is float32
    assert np.abs(back.array - mean.array).max() <= step / 2 * 1.001 + rounded
    np.testing.assert_allclose(back.imagePositions, series.imagePositions, atol=1e-5)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
async def test_crops(source: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    """A crop is written where it is; a mosaic, whose slices share an image, is refused."""
    url, options = source
    series = await Series.open(url, **options)
    crop = series[..., 10:20, 5:55:2]
    if "mosaic" in url:
        with pytest.raises(EncodeError, match="mosaic"):
            await crop.write(tmp_path / "dir")
        return
    await crop.write(tmp_path / "dir")
    back = await Series.open(tmp_path / "dir")
    np.testing.assert_array_equal(back.array, crop.array)
    np.testing.assert_allclose(back.imagePositions, moved(series), atol=1e-5)
    np.testing.assert_allclose(back.spacing[1:], np.array(series.spacing[1:]) * [1, 2], rtol=1e-6)


def moved(series: Series) -> NDArray[np.float64]:
    """Image Position (Patient) of voxel (10, 5), by the formula of PS3.3 C.7.6.2.1.1."""
    row, column = series.orientation.reshape(2, 3)
    dy, dx = series.spacing[1:]
    return np.asarray(series.imagePositions + 5 * dx * row + 10 * dy * column)


@pytest.mark.slow
def test_memory_of_writing(corpus: Path, tmp_path: Path) -> None:
    """Writing a series four times as large as another takes hardly more memory on top of it."""
    grown = [peak_growth(corpus / "ct_gantry_tilt", tmp_path / str(n), n) for n in (1, 8)]
    assert max(grown) < 60 << 20


def peak_growth(source: Path, target: Path, times: int) -> int:
    """By how much the peak of resident memory grows while a series is written, in bytes."""
    script = textwrap.dedent(
        """
        import anyio, resource, sys, numpy as np
        from dataclasses import replace
        from seriesio import Client, Series

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

        async def main():
            async with Client() as client:
                series = await client.open(sys.argv[1])
                await series[:2].write(sys.argv[2] + "-warm", client=client)
                before = peak()
                for number in range(int(sys.argv[3])):
                    await series.write(f"{sys.argv[2]}-{number}", client=client)
                    series.seriesNumber = number
                print(peak() - before)

        anyio.run(main)
        """
    )
    command = [sys.executable, "-c", script, str(source), str(target), str(times)]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(told.stdout)
