"""Open a series out of a DICOM archive, change it, and store the new one.

    python examples/dicom_archive/change_series.py [SERIES_URL TARGET_URL]

as ``dicom://host:port/AET/patientID/study/series`` and ``dicom://host:port/AET``; study is a Study
Instance UID or an accession number, series a Series Instance UID or a series number. Without URLs
an embedded archive is both.
"""

from __future__ import annotations

import asyncio
import sys

from seriesio import Series
from seriesio.testing import DicomArchive, phantom


async def change(source: str, target: str) -> Series:
    series = await Series.open(source)
    print(series.shape, series.spacing, series.accessionNumber, series.seriesNumber)
    series.seriesNumber = 9999
    series.seriesDescription = "New Series"
    receipt = await series.write(target)
    print("stored", receipt.count, "instances")
    return series


async def main() -> None:
    if len(sys.argv) > 1:
        await change(*sys.argv[1:])
        return
    async with DicomArchive() as archive:
        archive.add(phantom((24, 128, 128)).files().values())
        study = f"{archive.url}/PHANTOM/PHANTOM"  # patient ID and accession number
        await change(f"{study}/1", archive.url)
        again = await Series.open(f"{study}/9999")
        print(again.seriesDescription, again.shape, "of", len(archive), "instances there")


if __name__ == "__main__":
    asyncio.run(main())
