"""Fingerprints: equal for equal content, different for all that a person may do to an image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seriesio.dicom.fingerprint import fingerprint

RNG = np.random.default_rng(7)


@given(st.integers(0, 3), st.integers(0, 10_000), st.integers(1, 255))
def test_one_changed_byte(kind: int, place: int, change: int) -> None:
    """Any byte, anywhere, in images smaller and larger than a row of weights."""
    data = np.random.default_rng(kind).integers(0, 255, (5, 1000, 8200, 20_000)[kind], np.uint8)
    before = fingerprint(data)
    assert fingerprint(data.copy()) == before
    data[place % data.size] ^= change
    assert fingerprint(data) != before


@pytest.mark.parametrize("shape", [(64, 64), (512, 512), (1021, 1021), (2048, 512)])
def test_moved_content(shape: tuple[int, int]) -> None:
    """Flipped, rolled, transposed, with two rows exchanged."""
    image = RNG.integers(0, 4096, shape, np.uint16)
    swapped = image.copy()
    swapped[[1, 5]] = image[[5, 1]]
    changed = [image[::-1], image[:, ::-1], np.roll(image, 1, 0), np.roll(image, 1, 1), swapped]
    changed += [image.T] if shape[0] == shape[1] else []
    prints = {fingerprint(np.ascontiguousarray(each)) for each in [image, *changed]}
    assert len(prints) == 1 + len(changed)


def test_sizes_of_zeros() -> None:
    """Nothing but zeros of another size is something else."""
    assert len({fingerprint(np.zeros(size, np.uint8)) for size in range(1, 50)}) == 49


@pytest.mark.parametrize(
    ("dtype", "columns"), [("u2", 2036), ("f4", 1018), ("u1", 4072), ("f8", 509)]
)
def test_flipped_rows_of_any_width(dtype: str, columns: int) -> None:
    """Mirrored rows are noticed, also where a row is as wide as the columns that are summed."""
    slot = np.random.default_rng(5).integers(0, 200, (6, columns)).astype(dtype)
    for other in (slot[:, ::-1], slot[::-1], np.roll(slot, 1, axis=1), np.roll(slot, 1, axis=0)):
        assert fingerprint(np.ascontiguousarray(other)) != fingerprint(slot)


@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "i4", "i2", "i1"])
def test_negated_values(dtype: str) -> None:
    """Signs do not cancel out, however many values there are."""
    slot = np.random.default_rng(6).integers(1, 100, (64, 64)).astype(dtype)
    assert fingerprint(-slot) != fingerprint(slot)
