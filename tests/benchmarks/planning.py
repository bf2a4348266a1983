"""How long planning takes: headers of n instances, already scanned, to a plan.

``python -m tests.benchmarks.planning`` prints the curve; its argument is the most instances.
"""

from __future__ import annotations

import sys
import time
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from seriesio.testing import phantom

__all__ = ["curve", "headers", "plan_seconds"]

_KEPT = (
    *("SOPClassUID", "SOPInstanceUID", "AcquisitionTime", "Modality", "RepetitionTime"),
    *("EchoTime", "FlipAngle", "SliceThickness", "StudyInstanceUID", "SeriesInstanceUID"),
    *("InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient", "SamplesPerPixel"),
    *("PhotometricInterpretation", "Rows", "Columns", "PixelSpacing", "BitsAllocated"),
    *("BitsStored", "HighBit", "PixelRepresentation", "PixelData"),
)


def _template() -> bytes:
    """A small header, its varying values of fixed width."""
    whole = phantom((1, 4, 4), modality="MR").datasets()[0]
    small = Dataset()
    small.file_meta = whole.file_meta
    for keyword in _KEPT:
        small[keyword] = whole[keyword]
    small.SOPInstanceUID = "1.2.3." + "1" * 10
    small.AcquisitionTime = "000000.000000"
    small.InstanceNumber = "1" * 8
    small.ImagePositionPatient = ["0", "0", "1000000.0"]
    buffer = BytesIO()
    small.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _digits(numbers: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    """(n, width) numbers as ASCII."""
    powers = 10 ** np.arange(width - 1, -1, -1)
    return np.asarray(numbers[:, None] // powers % 10 + ord("0"), np.uint8)


def headers(volumes: int, slices: int, seed: int = 0) -> Any:
    """A table of ``volumes * slices`` instances in a random order, each volume with its time."""
    from seriesio.dicom.part10 import parse
    from seriesio.dicom.table import HeaderGroup, HeaderTable

    data = _template()
    header = parse(memoryview(data), len(data), "template").header
    count, size = volumes * slices, header.pixel_offset
    places = np.random.default_rng(seed).permutation(count)
    arena = np.tile(np.frombuffer(data[:size], np.uint8), (count, 1))
    time_of = places // slices
    clock = time_of // 3600 % 24 * 10000 + time_of // 60 % 60 * 100 + time_of % 60
    for tag, ahead, numbers, width in (
        (0x00080018, 6, places + 10**9, 10),
        (0x00080032, 0, clock, 6),
        (0x00200013, 0, places + 1, 8),
        (0x00200032, 4, 1_000_000 + places % slices, 7),
    ):
        start = int(header.offsets[header.layout.lookup[tag]]) + ahead
        arena[:, start : start + width] = _digits(numbers, width)
    bases = np.arange(count) * size
    group = HeaderGroup(
        arena.reshape(-1),
        bases,
        header.layout,
        np.broadcast_to(header.starts, (count, len(header.starts))),
        np.broadcast_to(header.offsets, (count, len(header.offsets))),
        np.broadcast_to(header.lengths, (count, len(header.lengths))),
        header.syntax,
        np.full(count, header.meta_end),
    )
    where = np.stack([np.zeros(count, np.intp), np.arange(count)], axis=1)
    return HeaderTable([group], where)


def plan_seconds(table: Any) -> float:
    """Seconds of this process to plan a series, nothing of it remembered."""
    from seriesio.dicom.options import PlanOptions
    from seriesio.dicom.plan import plan_series
    from seriesio.dicom.table import HeaderTable

    fresh = HeaderTable(table.groups, table.where)
    start = time.process_time()
    plan_series(fresh, PlanOptions())
    return time.process_time() - start


def curve(most: int = 1_000_000) -> list[tuple[int, float]]:
    """(instances, seconds) for 1000, 10,000 … instances: a hundred slices, the rest times."""
    found = []
    count = 1000
    while count <= most:
        table = headers(count // 100, 100)
        found.append((count, min(plan_seconds(table) for _ in range(3))))
        count *= 10
    return found


if __name__ == "__main__":
    for instances, seconds in curve(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000):
        each = seconds / instances / np.log2(instances) * 1e9
        print(f"{instances:9,} instances  {seconds:8.3f} s  {each:6.0f} ns per instance and log2")
