"""Fresh memory: as large as asked for, and in large pages where there are such."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import numpy as np
import pytest

from seriesio.memory import fresh

PAGE = 1 << 21
THP = Path("/sys/kernel/mm/transparent_hugepage")


def address(array: np.ndarray) -> int:
    found: int = array.__array_interface__["data"][0]
    return found


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, PAGE, 3 * PAGE + 17])
def test_size(size: int) -> None:
    """As many contiguous, writable bytes as asked for; many of them begin at a large page."""
    room = fresh(size)
    assert (room.shape, room.dtype, room.flags.c_contiguous) == ((size,), np.dtype(np.uint8), True)
    room[:] = 7
    assert int(room.sum()) == 7 * size
    if size >= 1 << 20:
        assert address(room) % PAGE == 0
        assert room.base is not None
        ends = address(room.base) + room.base.nbytes
        assert address(room) + -(-size // PAGE) * PAGE <= ends  # the last page is whole, too


def test_too_much() -> None:
    """More than there can be is numpy's error, which callers make ours."""
    with pytest.raises((MemoryError, ValueError)):
        fresh(1 << 62)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts as Linux does")
def test_few_pages() -> None:
    """Filling it takes hardly more page faults than it has large pages."""
    enabled = THP / "enabled"
    if not enabled.exists() or "[never]" in enabled.read_text():
        pytest.skip("no large pages on this system")
    size, faults = 16 * PAGE + 4096 * 100, []
    for _ in range(3):  # the system may be short of large pages now and then
        room = fresh(size)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        room[:] = 1
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    assert min(faults) < size // 4096 // 4
