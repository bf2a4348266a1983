"""Functional groups that are set: looked at where they differ, written as pydicom reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataelem import convert_raw_data_element

from seriesio import Series
from seriesio.errors import HeaderError
from seriesio.testing import phantom

SHARED, FRAMES = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
EXPLICIT, IMPLICIT, BIG = (f"1.2.840.10008.1.2{tail}" for tail in (".1", "", ".2"))


async def opened(folder: Path, frames: int = 3, **options: Any) -> Series:
    made = phantom((2, frames, 4, 4), enhanced=True, modality="MR", **options)
    return await Series.open(made.save(folder))


def only(folder: Path) -> Any:
    (dataset,) = (pydicom.dcmread(path) for path in folder.iterdir())
    return dataset


def commented(items: Any, text: str) -> Any:
    for number, item in enumerate(items):
        item.FrameContentSequence[0].FrameComments = f"{text} {number}"
    return items


def without_comments(dataset: Any) -> Any:
    """All of a dataset but what is new, for a comparison by pydicom."""
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "SpecificCharacterSet"):
        dataset.pop(keyword, None)
    for item in dataset.PerFrameFunctionalGroupsSequence:
        item.FrameContentSequence[0].pop("FrameComments", None)
    return dataset


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG])
async def test_only_what_was_set(syntax: str, tmp_path: Path) -> None:
    """Comments of frames are new in the file, all the rest is as it was."""
    series = await opened(tmp_path / "source", transfer_syntax=syntax)
    for text in ("first", "second"):
        items = commented(series.header.values(FRAMES)[0], text)
        series.header.set(FRAMES, items)
    items[0].FrameContentSequence[0].FrameComments = "too late"
    await series.write(tmp_path / "new")
    written, before = only(tmp_path / "new"), only(tmp_path / "source")
    groups = written.PerFrameFunctionalGroupsSequence
    found = [item.FrameContentSequence[0].FrameComments for item in groups]
    assert found == [f"second {number}" for number in range(6)]
    assert without_comments(written) == without_comments(before)


async def test_few_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many frames with many elements, pydicom decodes some few of each."""
    series = await opened(tmp_path / "source", 50)
    items = commented(series.header.values(FRAMES)[0], "said")
    decoded: list[Any] = []

    def counted(*arguments: Any, **options: Any) -> Any:
        decoded.append(arguments)
        return convert_raw_data_element(*arguments, **options)

    monkeypatch.setattr("pydicom.dataset.convert_raw_data_element", counted)
    series.header.set(FRAMES, items)
    series.header.set(FRAMES, commented(series.header.values(FRAMES)[0], "again"))
    assert len(decoded) <= 6 * len(items)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG])
async def test_of_another_file(syntax: str, tmp_path: Path) -> None:
    """Items out of a file of another syntax and character set mean the same in this one."""
    series = await opened(tmp_path / "source")
    phantom((2, 3, 4, 4), enhanced=True, modality="MR", transfer_syntax=syntax).save(tmp_path / "o")
    other = only(tmp_path / "o")
    other.SpecificCharacterSet = "ISO_IR 192"
    for number, item in enumerate(other.PerFrameFunctionalGroupsSequence):
        item.FrameContentSequence[0].FrameComments = f"Größe Ω {number}"
    other.save_as(tmp_path / "other.dcm")
    read = pydicom.dcmread(tmp_path / "other.dcm")
    series.header.set(FRAMES, read.PerFrameFunctionalGroupsSequence)
    await series.write(tmp_path / "new")
    groups = only(tmp_path / "new").PerFrameFunctionalGroupsSequence
    found = [item.FrameContentSequence[0].FrameComments for item in groups]
    assert found == [f"Größe Ω {number}" for number in range(6)]
    assert list(map(str, groups)) == list(map(str, read.PerFrameFunctionalGroupsSequence))


@pytest.mark.parametrize(
    ("macro", "keyword", "value"),
    [
        ("PlanePositionSequence", "ImagePositionPatient", [1, 2, 3]),
        ("FrameContentSequence", "FrameAcquisitionDateTime", "20200101"),
    ],
)
async def test_what_is_fixed(macro: str, keyword: str, value: Any, tmp_path: Path) -> None:
    """Places and times of a single frame are refused, however deep; so is taking them away."""
    series = await opened(tmp_path / "source")
    for change in ("set", "delete", "empty"):
        items = series.header.values(FRAMES)[0]
        if change == "set":
            setattr(items[4][macro][0], keyword, value)
        elif change == "delete":
            items[4].pop(macro)
        else:
            setattr(items[4], macro, [])
        if change == "set" or keyword in series.header.values(FRAMES)[0][4][macro][0]:
            with pytest.raises(HeaderError, match="must stay as they are"):
                series.header.set(FRAMES, items)
    assert not series.header.changed
