"""Write a series into a zip, change it, write the changed one into another, read both back.

python examples/zip_roundtrip.py
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import numpy as np

from seriesio import Series
from seriesio.testing import phantom


async def round_trip(folder: Path) -> None:
    series = await Series.open(phantom((24, 128, 128)).save(folder / "scan"))
    receipt = await series.write(folder / "original.zip")
    print("written ", receipt.count, "files,", receipt.size, "bytes")

    original = series.seriesInstanceUID
    series.seriesDescription = "New Series"
    print("new UID ", series.seriesInstanceUID != original)
    await series.write(folder / "changed.zip")

    for name in ("original.zip", "changed.zip"):
        read = await Series.open(folder / name)
        same = np.array_equal(read.array, series.array)
        print("read    ", read.seriesDescription, read.shape, "same voxels:", same)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(round_trip(Path(folder)))


if __name__ == "__main__":
    main()
