"""What numbers alone tell of volumes: certain, or nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from seriesio.dicom.numbering import numbered_through, numbered_volumes

INTERLEAVED = [0, 2, 4, 1, 3]


def by_volume(order: list[int], volumes: int, base: int = 1) -> tuple[NDArray[Any], ...]:
    """(numbers, slices, volumes) of a series numbered volume by volume."""
    count = len(order)
    places = np.arange(count * volumes)
    return places + float(base), np.array(order)[places % count], places // count


def by_slice(count: int, volumes: int) -> tuple[NDArray[Any], ...]:
    places = np.arange(count * volumes)
    return places + 1.0, places // volumes, places % volumes


SCHEMES = {
    "upwards": by_volume([0, 1, 2, 3], 5),
    "downwards": by_volume([3, 2, 1, 0], 5),
    "interleaved": by_volume(INTERLEAVED, 4),
    "from 0": by_volume([0, 1, 2], 4, base=0),
    "by slice": by_slice(4, 5),
}


@pytest.mark.parametrize("name", SCHEMES)
@given(gone=st.sets(st.integers(0, 19), max_size=6))
def test_certain_or_nothing(name: str, gone: set[int]) -> None:
    """Whatever is missing: the volumes are the true ones, or none are told."""
    numbers, slices, volumes = SCHEMES[name]
    kept = np.array([place for place in range(len(numbers)) if place not in gone])
    present, local = np.unique(slices[kept].astype(int), return_inverse=True)
    found = numbered_volumes(numbers[kept], local)
    if found is None or len(present) < int(slices.max()) + 1:
        return
    pairs = set(zip(found.tolist(), volumes[kept].tolist(), strict=True))
    assert len(pairs) == len(set(found.tolist())) == len(set(volumes[kept].tolist()))


@pytest.mark.parametrize("name", ["upwards", "downwards", "interleaved", "by slice"])
def test_one_missing_is_certain(name: str) -> None:
    """One image in the middle of a series leaves no doubt about the others."""
    numbers, slices, volumes = SCHEMES[name]
    kept = np.arange(len(numbers)) != 9
    found = numbered_volumes(numbers[kept], slices[kept].astype(int))
    assert found is not None
    assert found.tolist() == volumes[kept].tolist()


@pytest.mark.parametrize(
    ("numbers", "slices"),
    [
        ([101, 102, 103, 104], [0, 1, 0, 1]),  # where the first volume begins is not known
        ([1, 1, 2, 2], [0, 1, 0, 1]),
        ([1, 3, 2, 4.5], [0, 1, 0, 1]),
        ([1, 2, 5, 6, 3, 9], [0, 1, 2, 0, 1, 2]),
    ],
)
def test_doubt(numbers: list[float], slices: list[int]) -> None:
    """Numbers that fit no scheme, or several, tell nothing."""
    assert numbered_volumes(np.array(numbers, float), np.array(slices)) is None


@pytest.mark.parametrize(
    ("numbers", "through"),
    [([2, 1, 3], True), ([0, 1], True), ([2, 3], False), ([1, 2, 4], False), ([1, 1], False)],
)
def test_numbered_through(numbers: list[float], through: bool) -> None:
    """From 1 (or 0) to as many as there are."""
    assert numbered_through(np.array(numbers, float)) is through
