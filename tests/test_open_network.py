"""Series out of archives, through ``Series.open``: what did not arrive is told."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from seriesio import Client, Limits, Series
from seriesio.errors import AmbiguousSeriesError, IncompleteSeriesError, IncompleteSeriesWarning
from seriesio.testing import DicomArchive, Faults, phantom

MADE = phantom((5, 16, 16))


@pytest.fixture
async def archive() -> AsyncIterator[DicomArchive]:
    async with DicomArchive() as running:
        running.add(MADE.files().values())
        yield running


async def test_lost_in_silence(archive: DicomArchive) -> None:
    """An instance that the archive announces and does not send is missing, and named."""
    url = f"{archive.url}/PHANTOM/PHANTOM/1"
    archive.faults = Faults(omit_instance=1)  # of each answer: asking again brings it no more
    with pytest.raises(IncompleteSeriesError, match="1"):
        await Series.open(url)
    with pytest.warns(IncompleteSeriesWarning, match="has not arrived"):
        series = await Series.open(url, on_incomplete="warn")
    assert series.shape == (4, 16, 16)
    (told, *_) = [text for text in series.report.missing if "has not arrived" in text]
    assert told.split(":")[0] in {dataset.SOPInstanceUID for dataset in MADE.datasets()}


async def test_several_series_are_told_before_they_come(archive: DicomArchive) -> None:
    """One series is wanted of a study that has two: nothing is retrieved to say that there are two,
    and select= or open_all have them."""
    other = phantom((3, 16, 16), series_number=2)
    archive.add(other.files().values())
    url = f"{archive.url}/PHANTOM/PHANTOM"
    with pytest.raises(AmbiguousSeriesError) as caught:
        await Series.open(url)
    assert {one.series_number for one in caught.value.series} == {1, 2}
    assert "C-GET" not in {request.service for request in archive.requests}
    assert (await Series.open(url, select={"SeriesNumber": 2})).shape == (3, 16, 16)
    assert sorted([series.shape[0] async for series in Series.open_all(url)]) == [3, 5]


async def test_limit_of_associations(archive: DicomArchive) -> None:
    """A client's limit holds for the associations with a host."""
    async with Client(limits=Limits(associations_per_host=1)) as client:
        series = await client.open(f"{archive.url}/PHANTOM/PHANTOM/1")
        assert (series.array == MADE.array).all()
    assert archive.open_associations == 0
    assert len(archive.associations) >= 1
