"""Attributes of chosen slices, of each instance, in sequences and private blocks; axes follow."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from seriesio import Series
from seriesio.dicom.header import Header
from seriesio.errors import HeaderError
from seriesio.testing import phantom

SHAPE = (2, 3, 6, 8)
SPATIAL = ("slice", "row", "column")


async def opened(folder: Path, shape: tuple[int, ...] = SHAPE, **options: Any) -> Series:
    return await Series.open(phantom(shape, **options).save(folder / "source"))


@pytest.fixture
async def series(tmp_path: Path) -> Series:
    return await opened(tmp_path)


def in_files(folder: Path) -> list[Dataset]:
    """What pydicom reads, by time and place."""
    found = [pydicom.dcmread(path) for path in folder.iterdir()]
    return sorted(found, key=lambda d: (d.AcquisitionTime, d.ImagePositionPatient[2]))


# --- chosen instances -------------------------------------------------------------------------


async def test_chosen_by_axes(series: Series, tmp_path: Path) -> None:
    """Slices and times choose the very instances that lie there, in the files too."""
    series.header.set("ImageComments", "here", slices=[-1, 0], time=1)
    wanted = [None, None, None, "here", None, "here"]
    assert series.header.values("ImageComments") == wanted
    await series.write(tmp_path / "new")
    assert [d.get("ImageComments") for d in in_files(tmp_path / "new")] == wanted
    assert series.header.at(slices=slice(1, None)) == [1, 2, 4, 5]
    assert series.header.values("ImageComments", slice=2, time=[1]) == ["here"]
    series.header.delete("ImageComments", slices=0)
    assert series.header.values("ImageComments") == [None, None, None, None, None, "here"]
    series.header.set("ImageComments", "both", where=[0, 1], slices=1)
    assert series.header.values("ImageComments", where=[0, 1]) == [None, "both"]


async def test_choices_that_do_not_exist(series: Series) -> None:
    """Unknown axes and indices are named, with what there is instead."""
    for axes, told in (
        ({"te": 0}, "there are: time, slice"),
        ({"time": 2}, "from 0 to 1"),
        ({"slices": ["x"]}, "from 0 to 2"),
    ):
        with pytest.raises(HeaderError, match=told):
            series.header.set("ImageComments", "x", **axes)
    assert not series.header.changed
    lone = Header(series.header.instances)
    with pytest.raises(HeaderError, match="belongs to no volume"):
        lone.at(slices=0)


async def test_frames_of_one_instance(tmp_path: Path) -> None:
    """Single frames of a multi-frame instance cannot be chosen; whole instances can."""
    series = await opened(tmp_path, enhanced="per-volume")
    series.header.set("ImageComments", "whole", time=1)
    assert series.header.values("ImageComments") == [None, "whole"]
    with pytest.raises(HeaderError, match="share instances"):
        series.header.set("ImageComments", "x", slices=1)


async def test_parts_have_headers_of_their_own(series: Series) -> None:
    """Setting in a part changes the part; its slices are counted in the part."""
    part = series[:, 1:]
    part.seriesDescription = "part"
    part.header.set("ImageComments", "first of it", slices=0)
    assert part.header.values("ImageComments") == ["first of it", None, "first of it", None]
    assert series.seriesDescription != "part"
    restored = pickle.loads(pickle.dumps(part))
    assert restored.header.at(slices=0) == [0, 2]
    assert copy.copy(part).header.at(time=1) == [2, 3]


# --- a value for each -------------------------------------------------------------------------


async def test_each(series: Series, tmp_path: Path) -> None:
    """One value for each instance, for each that is chosen, or for each index of an axis."""
    header = series.header
    header.set("ImageComments", each=[f"no {n}" for n in range(6)])
    header.set("AcquisitionNumber", each=[7, 8], along="time")
    header.set("NumberOfAverages", each=[4, 5], slices=2)
    assert header.values("ImageComments") == [f"no {n}" for n in range(6)]
    await series.write(tmp_path / "new")
    files = in_files(tmp_path / "new")
    assert [d.ImageComments for d in files] == [f"no {n}" for n in range(6)]
    assert [d.AcquisitionNumber for d in files] == [7, 7, 7, 8, 8, 8]
    assert [d.NumberOfAverages for d in (files[2], files[5])] == [4, 5]


async def test_each_is_checked(series: Series) -> None:
    """Too few values, two ways at once, or one bad value among good ones: nothing is set."""
    header = series.header
    for arguments, told in (
        ({"each": ["a"]}, "6 instances are chosen"),
        ({"each": ["a"], "along": "time"}, "has 2 indices"),
        ({"each": ["a"], "along": "te"}, "no axis"),
        ({"each": ["a"] * 6, "value": "b"}, "either a value or each"),
        ({}, "either a value or each"),
        ({"each": ["a"] * 5 + ["Geheim\n"]}, "ProtocolName"),
    ):
        with pytest.raises(HeaderError, match=told) as caught:
            header.set("ProtocolName", **arguments)
        assert "eheim" not in str(caught.value)
    assert not header.changed


async def test_each_has_unique_uids(series: Series) -> None:
    """SOP Instance UIDs can be set for all at once, if no two are the same."""
    with pytest.raises(HeaderError, match="SOPInstanceUID"):
        series.header.set("SOPInstanceUID", each=["1.2.3"] * 6)
    wanted = [f"1.2.3.{n}" for n in range(6)]
    series.header.set("SOPInstanceUID", each=wanted)
    assert series.header.values("SOPInstanceUID") == wanted


# --- sequences and private blocks -------------------------------------------------------------


async def test_sequences_of_dicts(series: Series, tmp_path: Path) -> None:
    """Items are dicts by keyword, nested ones too; pydicom reads the same out of the files."""
    series.header.set(
        "RequestAttributesSequence",
        [
            {
                "RequestedProcedureID": "77",
                "scheduledProtocolCodeSequence": [
                    {"CodeValue": "T1", "CodingSchemeDesignator": "99X", "CodeMeaning": "Schädel"}
                ],
            },
            {"RequestedProcedureID": "78", (0x0040, 0x0007): "αβγ"},
        ],
    )
    await series.write(tmp_path / "new")
    for dataset in in_files(tmp_path / "new"):
        one, other = dataset.RequestAttributesSequence
        assert one.RequestedProcedureID == "77"
        assert one.ScheduledProtocolCodeSequence[0].CodeMeaning == "Schädel"
        assert other.ScheduledProcedureStepDescription == "αβγ"


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ({"RequestedProcedureID": "Geheim" * 9}, "RequestedProcedureID"),
        ({"NoSuchThing": 1}, "NoSuchThing"),
        ({(0x0029, 0x1010): b"Geheim"}, "known VR"),
        ({"ScheduledProtocolCodeSequence": [{"CodeValue": 5.5}]}, "CodeValue"),
    ],
)
async def test_items_are_checked(series: Series, item: dict[Any, Any], told: str) -> None:
    """An item's values are checked as others are; the error names sequence and element."""
    with pytest.raises(HeaderError, match=told) as caught:
        series.header.set("RequestAttributesSequence", [item])
    assert "RequestAttributesSequence" in str(caught.value) or told == "NoSuchThing"
    assert "eheim" not in str(caught.value)
    assert not series.header.changed


async def test_private_blocks(series: Series, tmp_path: Path) -> None:
    """creator= reserves the block with the element; another creator's block is left alone."""
    header = series.header
    header.set((0x0029, 0x1010), b"\1\2\3\4", vr="OB", creator="ACME")
    with pytest.raises(HeaderError, match="11xx is free"):
        header.set((0x0029, 0x1010), b"\1", vr="OB", creator="OTHER")
    with pytest.raises(HeaderError, match="private elements"):
        header.set("PatientID", "1", creator="ACME")
    with pytest.raises(HeaderError, match="vr="):
        header.set((0x0031, 0x1001), "x", creator="ACME")
    assert (0x0031, 0x0010) not in header
    header.set((0x0019, 0x100C), 800, creator="SIEMENS MR HEADER")  # known to pydicom
    await series.write(tmp_path / "new")
    for dataset in in_files(tmp_path / "new"):
        block = dataset.private_block(0x0029, "ACME")
        assert block[0x10].value == b"\1\2\3\4"
        assert dataset.private_block(0x0019, "SIEMENS MR HEADER")[0x0C].value == 800


# --- axes follow ------------------------------------------------------------------------------

AXES: dict[str, tuple[str, list[float]]] = {
    "te": ("EchoTime", [11, 25]),
    "fa": ("FlipAngle", [4, 30]),
    "b": ("DiffusionBValue", [50, 800]),
    "triggertime": ("TriggerTime", [1, 61]),
}


@pytest.mark.parametrize("name", AXES)
async def test_an_axis_gets_the_new_values(name: str, tmp_path: Path) -> None:
    """Set along the axis, an attribute that defines it gives it its values; read back the same."""
    keyword, wanted = AXES[name]
    series = await opened(tmp_path, axes=(name, *SPATIAL))
    assert series.axes[0].name == name
    series.header.set(keyword, each=wanted, along=name)
    assert series.tags[name].tolist() == wanted
    await series.write(tmp_path / "new")
    back = await Series.open(tmp_path / "new")
    assert back.axes[0].name == name
    assert back.tags[name].tolist() == wanted


@pytest.mark.parametrize("name", AXES)
async def test_an_axis_is_not_lost(name: str, tmp_path: Path) -> None:
    """What would leave volumes that nothing tells apart, or in another order, is refused."""
    keyword = AXES[name][0]
    series = await opened(tmp_path, axes=(name, *SPATIAL))
    before = series.tags[name].tolist()
    for arguments in (
        {"value": 30},
        {"each": [40, 20], "along": name},
        {"value": 77, "slices": 0},
        {"value": None},
    ):
        with pytest.raises(HeaderError, match=f"{keyword}.*axis '{name}'"):
            series.header.set(keyword, **arguments)
    with pytest.raises(HeaderError, match=keyword):
        series.header.delete(keyword)
    assert series.tags[name].tolist() == before
    assert not series.header.changed
    one = series[0]
    one.header.set(keyword, 30)
    assert one.header.values(keyword) == [30] * 3


async def test_the_axis_of_time(series: Series) -> None:
    """Acquisition times that are set move the timeline; a date does not."""
    series.header.set("AcquisitionTime", each=["101500", "101545.5"], along="time")
    assert series.timeline.tolist() == [0, 45.5]
    assert series.tags["time"][0] == 10 * 3600 + 15 * 60
    series.header.set("AcquisitionDate", "20210304")
    assert series.timeline.tolist() == [0, 45.5]
    with pytest.raises(HeaderError, match="AcquisitionTime"):
        series.acquisitionTime = "120000"
    series.contentTime = "120000"
    assert series.timeline.tolist() == [0, 45.5]


async def test_axes_of_others_stay(series: Series) -> None:
    """Views and copies keep the axes that their own headers tell of."""
    before = series.timeline.tolist()
    part, twin = series[:, 1:], copy.copy(series)
    part.header.set("AcquisitionTime", each=["101500", "101545.5"], along="time")
    assert part.timeline.tolist() == [0, 45.5]
    assert series.timeline.tolist() == twin.timeline.tolist() == before


async def test_groups_that_give_axes(tmp_path: Path) -> None:
    """What functional groups say of an axis stays; all else in them may be set."""
    series = await opened(tmp_path, enhanced=True, axes=("te", *SPATIAL), modality="MR")
    name = "PerFrameFunctionalGroupsSequence"
    groups = series.header.get(name)
    groups[0].MREchoSequence[0].EffectiveEchoTime = 99.0
    with pytest.raises(HeaderError, match="axes"):
        series.header.set(name, groups)
    groups = series.header.get(name)
    groups[0].FrameContentSequence[0].FrameComments = "seen"
    series.header.set(name, groups)
    await series.write(tmp_path / "new")
    (file,) = (tmp_path / "new").iterdir()
    items = pydicom.dcmread(file)[name].value
    assert items[0].FrameContentSequence[0].FrameComments == "seen"
    assert "FrameComments" not in items[1].FrameContentSequence[0]


# --- without a DICOM header -------------------------------------------------------------------


def test_no_header() -> None:
    """A series of another format answers what that knows; all else says what to do."""
    header = Header([], known={"RepetitionTime": 2000.0, "ImageComments": "by hand"})
    assert header.get("repetitionTime") == 2000.0
    assert "ImageComments" in header
    assert header.known == {"RepetitionTime": 2000.0, "ImageComments": "by hand"}
    assert header.copy().known == header.subset([]).known == header.known
    assert header.get("PatientName", 1) == 1
    assert "template=" in header.why_missing("PatientName")
    for call in (
        lambda: header.set("SeriesNumber", 3),
        lambda: header.delete("SeriesNumber"),
        lambda: header.dataset(0),
        lambda: header.values("SeriesNumber", where=[0]),
        lambda: header.subset([0]),
    ):
        with pytest.raises(HeaderError, match="template="):
            call()
    with pytest.raises(HeaderError, match="nonsense"):
        Header([], known={"nonsense": 1})


async def test_values_stay_numpy_free(series: Series) -> None:
    """Numbers of numpy, an axis' own values among them, may be set."""
    series.header.set("ImageComments", each=np.array(["a", "b"]), along="time")  # type: ignore[arg-type]
    assert series.header.values("ImageComments", slices=0) == ["a", "b"]


async def test_copies_share_no_changes(series: Series) -> None:
    """What is set of one slice of a series is set of no other series, made before or after."""
    before, computed = series[:], series + 1
    series.header.set("ImageComments", "mine", slices=0)
    after = series[:]
    after.header.set("ImageComments", "yours", slices=1)
    assert before.header.values("ImageComments") == [None] * 6
    assert computed.header.values("ImageComments") == [None] * 6
    assert series.header.values("ImageComments") == ["mine", None, None] * 2
    assert after.header.values("ImageComments") == ["mine", "yours", None] * 2
    copied = series.header.copy()
    copied.set("ImageComments", "theirs", where=[5])
    assert series.header.values("ImageComments") == ["mine", None, None] * 2
