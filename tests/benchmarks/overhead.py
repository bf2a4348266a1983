"""What a series adds to numpy's own time, for indexing, arithmetic and attributes.

``python -m tests.benchmarks.overhead PATH`` prints each operation on the series there.
"""

from __future__ import annotations

import copy
import statistics
import sys
import timeit
from collections.abc import Callable
from pathlib import Path
from time import thread_time
from typing import Any

import numpy as np

from . import ours

__all__ = ["overheads", "small_series"]

Operation = Callable[[Any], object]

_CALLS, _RUNS = 500, 9

# Each with a series, then with its array; of attributes everything is added.
OPERATIONS: dict[str, tuple[Operation, Operation | None]] = {
    "series[2]": (lambda x: x[2], lambda x: x[2]),
    "series[5:20]": (lambda x: x[5:20], lambda x: x[5:20]),
    "series[:, 2:6]": (lambda x: x[:, 2:6], lambda x: x[:, 2:6]),
    "series[..., ::2]": (lambda x: x[..., ::2], lambda x: x[..., ::2]),
    "series[2, 3, 4]": (lambda x: x[2, 3, 4], lambda x: x[2, 3, 4]),
    "series + 1": (lambda x: x + 1, lambda x: x + 1),
    "series + series": (lambda x: x + x, lambda x: x + x),
    "series > 3": (lambda x: x > 3, lambda x: x > 3),
    "np.sqrt(series)": (np.sqrt, np.sqrt),
    "np.mean(series)": (np.mean, np.mean),
    "series.shape": (lambda x: x.shape, lambda x: x.shape),
    "series.spacing": (lambda x: x.spacing, None),
    "series.affine": (lambda x: x.affine, None),
    "series.seriesNumber": (lambda x: x.seriesNumber, None),
    "series.patientName": (lambda x: x.patientName, None),
}


def small_series(path: Path) -> Any:
    """All slices of a series, a few voxels of each: what is added does not drown in numpy's."""
    return copy.deepcopy(ours.open_now(path)[:, :8, :8])


def overheads(series: Any) -> dict[str, float]:
    """Operation → seconds added, by medians of the processor's time."""
    return {name: _added(series, *operations) for name, operations in OPERATIONS.items()}


def _added(series: Any, mine: Operation, numpys: Operation | None) -> float:
    if numpys is None:
        return _median(mine, series)
    return _median(mine, series) - _median(numpys, series.array)


def _median(work: Operation, value: Any) -> float:
    work(value)
    timer = timeit.Timer(lambda: work(value), timer=thread_time)
    return statistics.median(timer.repeat(_RUNS, _CALLS)) / _CALLS


if __name__ == "__main__":
    for name, added in overheads(small_series(Path(sys.argv[1]))).items():
        print(f"{name:22}{added * 1e6:6.1f} µs")
