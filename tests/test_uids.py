"""Honest UIDs: what was not changed keeps its own, what was changed never has them."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from seriesio import Series
from seriesio.testing import phantom


@pytest.fixture
async def series(tmp_path: Path) -> Series:
    return await Series.open(phantom((3, 6, 8)).save(tmp_path / "source"))


def uids(series: Series) -> tuple[str, ...]:
    return series.seriesInstanceUID, *series.header.values("SOPInstanceUID")


def in_files(folder: Path) -> tuple[str, ...]:
    """What pydicom finds, in the order of the slices."""
    found = [pydicom.dcmread(path) for path in folder.iterdir()]
    found.sort(key=lambda dataset: dataset.ImagePositionPatient[2])
    (series,) = {dataset.SeriesInstanceUID for dataset in found}
    return series, *(dataset.SOPInstanceUID for dataset in found)


def set_number(series: Series) -> None:
    series.seriesNumber = 12


def set_voxels(series: Series) -> None:
    series[0, 0, 0] = 7


def add(series: Series) -> None:
    series += 1


def leave_out(series: Series) -> None:
    del series.patientName


@pytest.mark.parametrize("change", [set_number, set_voxels, add, leave_out])
async def test_new_at_once(
    series: Series, tmp_path: Path, change: Callable[[Series], None]
) -> None:
    """The first change gives new UIDs, all of them, visible at once and in the files."""
    before = uids(series)
    change(series)
    after = uids(series)
    assert not set(before) & set(after)
    assert len(set(after)) == 4
    assert all(uid.startswith("2.25.") and len(uid) <= 64 for uid in after)
    set_voxels(series)
    assert uids(series) == after
    await series.write(tmp_path / "new")
    assert in_files(tmp_path / "new") == after


async def test_the_same_value_is_no_change(series: Series, tmp_path: Path) -> None:
    """Setting what is there already, in attributes or voxels of array, changes nothing."""
    before = uids(series)
    series.seriesNumber = series.seriesNumber
    series.patientName = str(series.patientName)
    series.array[...] = series.array.copy()
    await series.write(tmp_path / "new")
    assert uids(series) == before == in_files(tmp_path / "new")


async def test_through_the_array(series: Series, tmp_path: Path) -> None:
    """Changes of series.array are noticed when it is written."""
    before = uids(series)
    series.array[1, 2, 3] += 1
    await series.write(tmp_path / "new")
    assert not set(uids(series)) & set(before)
    assert in_files(tmp_path / "new") == uids(series)


async def test_through_a_view(series: Series, tmp_path: Path) -> None:
    """Changes through a part are noticed in the part and in the whole, under different UIDs."""
    before = uids(series)
    part = series[1:]
    part.array[0, 0, 0] += 1
    await part.write(tmp_path / "part")
    await series.write(tmp_path / "whole")
    found = [set(in_files(tmp_path / "part")), set(in_files(tmp_path / "whole")), set(before)]
    assert not found[0] & found[1]
    assert not found[0] & found[2]
    assert not found[1] & found[2]


async def test_written_twice(series: Series, tmp_path: Path) -> None:
    """Written again it has the same UIDs; changed in between, by whatever way, new ones."""
    seen = [uids(series)]
    changes: list[Callable[[], Any]] = [
        lambda: set_number(series),
        lambda: series.array.__setitem__((0, 0, 0), 1),
        lambda: add(series),
        lambda: setattr(series, "seriesNumber", 13),
    ]
    for number, change in enumerate(changes):
        change()
        await series.write(tmp_path / f"{number}a")
        await series.write(tmp_path / f"{number}b")
        assert in_files(tmp_path / f"{number}a") == in_files(tmp_path / f"{number}b")
        seen.append(in_files(tmp_path / f"{number}a"))
    assert len({uid for group in seen for uid in group}) == 4 * len(seen)


async def test_computed(series: Series, tmp_path: Path) -> None:
    """Every result has UIDs of its own; changed after it was written, it gets others."""
    one, other = series * 2, series * 2
    assert len({*uids(series), *uids(one), *uids(other)}) == 12
    await one.write(tmp_path / "one")
    assert in_files(tmp_path / "one") == uids(one)
    one.array[...] = 3
    await one.write(tmp_path / "changed")
    assert not set(in_files(tmp_path / "changed")) & set(in_files(tmp_path / "one"))


async def test_copies_of_computed_series(series: Series, tmp_path: Path) -> None:
    """Two copies of a result that then differ are not written under the same UIDs."""
    one = series * 2
    other = copy.deepcopy(one)
    other.array[...] = 0
    await one.write(tmp_path / "one")
    await other.write(tmp_path / "other")
    assert not set(in_files(tmp_path / "one")) & set(in_files(tmp_path / "other"))


async def test_a_failed_write_hands_nothing_out(series: Series, tmp_path: Path) -> None:
    """After a write that failed the new UIDs are still unused: the next change keeps them."""
    set_number(series)
    after = uids(series)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileExistsError):
        await series.write(tmp_path / "file")
    add(series)
    assert uids(series) == after


async def test_uids_that_were_set(series: Series, tmp_path: Path) -> None:
    """UIDs that the caller sets stay through later changes."""
    series.seriesInstanceUID = "1.2.3.4"
    add(series)
    assert series.seriesInstanceUID == "1.2.3.4"
    await series.write(tmp_path / "new")
    assert in_files(tmp_path / "new")[0] == "1.2.3.4"


async def test_keep_uid_after_changed_voxels(series: Series, tmp_path: Path) -> None:
    """keep_uid=True keeps the old UIDs of changed voxels, as it was told."""
    before = uids(series)
    series[...] = np.flip(series.array)
    await series.write(tmp_path / "new", keep_uid=True)
    assert in_files(tmp_path / "new") == before


DERIVE: dict[str, Callable[[Series], Any]] = {
    "slice": lambda series: series[1:],
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "iteration": list,
    "pickle": pickle.dumps,
}


@pytest.mark.parametrize("derive", DERIVE.values(), ids=DERIVE.keys())
@pytest.mark.parametrize("change", [set_number, set_voxels, add])
async def test_as_they_were_seen(
    series: Series,
    tmp_path: Path,
    change: Callable[[Series], None],
    derive: Callable[[Series], Any],
) -> None:
    """The UIDs after a change are those that are written, whatever was taken of it meanwhile."""
    change(series)
    seen = uids(series)
    derive(series)
    await series.write(tmp_path / "new")
    assert in_files(tmp_path / "new") == seen == uids(series)


async def test_a_part_as_it_was_seen(series: Series, tmp_path: Path) -> None:
    """A part shares its unchanged instances' new UIDs with the whole, in files too."""
    set_voxels(series)
    part = series[1:]
    seen = uids(part)
    await series.write(tmp_path / "whole")
    await part.write(tmp_path / "part")
    assert in_files(tmp_path / "part") == seen
    assert set(seen) < set(in_files(tmp_path / "whole"))


@pytest.mark.parametrize("first", [True, False])
async def test_copies_that_differ(series: Series, tmp_path: Path, first: bool) -> None:
    """Of two that were the same when copied, the first to be written has the UIDs seen."""
    set_voxels(series)
    other = copy.deepcopy(series)
    other.array[...] = 0
    seen = uids(series)
    order = [series, other] if first else [other, series]
    for number, one in enumerate(order):
        await one.write(tmp_path / str(number))
    assert in_files(tmp_path / "0") == seen
    assert not set(in_files(tmp_path / "1")) & set(seen)
    assert in_files(tmp_path / "1") == uids(order[1])


async def test_copies_that_differ_at_once(series: Series, tmp_path: Path) -> None:
    """Written at the same time, different voxels have different UIDs."""
    set_voxels(series)
    other = copy.deepcopy(series)
    other.array[...] = 0
    await asyncio.gather(series.write(tmp_path / "one"), other.write(tmp_path / "other"))
    assert not set(in_files(tmp_path / "one")) & set(in_files(tmp_path / "other"))


async def test_unpickled_and_changed(series: Series, tmp_path: Path) -> None:
    """A series out of a pickle that then differs is not written under the other's UIDs."""
    set_voxels(series)
    other = pickle.loads(pickle.dumps(series))
    assert uids(other) == uids(series)
    other.array[...] = 0
    for number, one in enumerate([series, other]):
        await one.write(tmp_path / str(number))
    assert not set(in_files(tmp_path / "0")) & set(in_files(tmp_path / "1"))


async def test_changed_after_a_failed_write_of_the_same(series: Series, tmp_path: Path) -> None:
    """What a copy has written stays its own, though our write of the same voxels failed."""
    set_voxels(series)
    other = copy.deepcopy(series)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileExistsError):
        await series.write(tmp_path / "file")
    await other.write(tmp_path / "other")
    series.array[...] = 0
    await series.write(tmp_path / "new")
    assert not set(in_files(tmp_path / "other")) & set(in_files(tmp_path / "new"))


async def test_thinned_out(series: Series, tmp_path: Path) -> None:
    """Every other slice is the instances that were read: their own UIDs and their own bytes."""
    await series.write(tmp_path / "whole")
    await series[::2].write(tmp_path / "thinned")
    whole = {path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    thinned = {path.read_bytes() for path in (tmp_path / "thinned").iterdir()}
    assert len(thinned) == 2
    assert thinned < whole
    back = await Series.open(tmp_path / "thinned")
    np.testing.assert_allclose(back.imagePositions, series.imagePositions[::2])
    assert back.spacing[0] == pytest.approx(2 * series.spacing[0])
