"""Open a series and look at what is known of it.

    python examples/open_directory.py [URL]

Without a URL, a phantom series is made for it.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile

from seriesio import Series
from seriesio.testing import phantom


async def describe(url: str) -> None:
    series = await Series.open(url)
    print("shape        ", series.shape, series.dtype)
    print("spacing (mm) ", *series.spacing)
    print("description  ", series.seriesDescription)
    print("first voxel  ", *(series.affine @ (0, 0, 0, 1))[:3], "(x, y, z in mm)")
    print("range        ", series.array.min(), "…", series.array.max())


def main() -> None:
    if len(sys.argv) > 1:
        asyncio.run(describe(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        phantom((24, 128, 128)).save(folder)
        asyncio.run(describe(folder))


if __name__ == "__main__":
    main()
