"""Open a scan of an XNAT server, change it, and write it as a new scan.

    python examples/xnat/change_scan.py [SCAN_URL EXPERIMENT_URL]

as ``xnat://host/project/subject/experiment/scan`` and ``xnat://host/project/subject/experiment``.
User and password come from a netrc file that only its owner may read (``~/.netrc``, or what the
environment variable ``NETRC`` names). Without URLs a stand-in for a server is both (it takes the
extra ``server``).
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from seriesio import Series
from seriesio.testing import XnatServer, phantom


async def change(source: str, target: str) -> Series:
    series = await Series.open(source)
    print(series.shape, series.spacing, series.seriesNumber, series.seriesDescription)
    series.seriesNumber = 9999
    series.seriesDescription = "New Series"
    receipt = await series.write(target)
    print("written", receipt.count, "files")
    return series


def netrc(folder: str, url: str) -> None:
    """A netrc file for a server, as a user has one at home."""
    path = Path(folder) / "netrc"
    path.touch(mode=0o600)
    path.write_text(f"machine {urlsplit(url).hostname} login admin password admin\n")
    os.environ["NETRC"] = str(path)


async def main() -> None:
    if len(sys.argv) > 1:
        await change(*sys.argv[1:])
        return
    server = XnatServer()
    scan = server.add_scan("P", "S1", "E1", "4", phantom((24, 128, 128)).files())
    experiment = scan.rpartition("/")[0]
    with tempfile.TemporaryDirectory() as folder:
        async with server.serve() as url:
            netrc(folder, url)
            base = url.replace("http://", "xnat+http://").rstrip("/")
            await change(f"{base}/{scan}", f"{base}/{experiment}")
            again = await Series.open(f"{base}/{experiment}/9999")
            print(again.seriesDescription, again.shape, "beside scan 4")


if __name__ == "__main__":
    asyncio.run(main())
