"""input_order: every criterion, combinations, the caller's own, candidates."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from seriesio import Series
from seriesio.errors import UnsortableSeriesError
from seriesio.testing import Phantom, phantom

SMALL = (3, 12, 16)
SOURCE = phantom((4, *SMALL), modality="MR")
SHOWN = ("magnitude", "phase", "real", "imaginary")


def saved(folder: Path, source: Phantom, change: Callable[[int, Dataset], None]) -> Path:
    """The files, each changed by its volume."""
    for place, dataset in enumerate(source.datasets()):
        change(place // source.shape[-3], dataset)
        buffer = BytesIO()
        dataset.save_as(buffer)
        (folder / f"{place:03}.dcm").write_bytes(buffer.getvalue())
    return folder


def without_time(dataset: Dataset) -> None:
    for keyword in ("TemporalPositionIdentifier", "AcquisitionNumber"):
        delattr(dataset, keyword)
    dataset.AcquisitionTime = dataset.ContentTime = "120000"


def siemens(volume: int, dataset: Dataset) -> None:
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "MPRI"[volume], "ND"]


def philips(volume: int, dataset: Dataset) -> None:
    names = ("M_FFE", "PHASE MAP", "R_FFE", "I_FFE")
    dataset.ImageType = ["ORIGINAL", "PRIMARY", names[volume], "MPRI"[volume], "FFE"]


def component(volume: int, dataset: Dataset) -> None:
    dataset.ComplexImageComponent = SHOWN[volume].upper()


def ge(volume: int, dataset: Dataset) -> None:
    dataset.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x2F, "SS", volume)


@pytest.mark.parametrize("order", ["auto", "phase"])
@pytest.mark.parametrize("change", [siemens, philips, component, ge])
async def test_phase(tmp_path: Path, change: Callable[[int, Dataset], None], order: str) -> None:
    """Magnitude, phase, real and imaginary images, as each vendor tells them."""

    def change_all(volume: int, dataset: Dataset) -> None:
        without_time(dataset)
        change(volume, dataset)

    series = await Series.open(saved(tmp_path, SOURCE, change_all), order)
    assert series.axes[0].name == "phase"
    assert series.axes[0].values.tolist() == list(SHOWN)
    assert np.array_equal(series.array, SOURCE.array)


@pytest.mark.parametrize("order", ["auto", "te,phase", "phase,te"])
async def test_echoes_in_magnitude_and_phase(tmp_path: Path, order: str) -> None:
    """Two echo times of two kinds."""

    def change(volume: int, dataset: Dataset) -> None:
        without_time(dataset)
        dataset.EchoTime = f"{10 + volume // 2}"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "MP"[volume % 2]]

    series = await Series.open(saved(tmp_path, SOURCE, change), order)
    wanted = SOURCE.array.reshape(2, 2, *SMALL)
    assert np.array_equal(series.array, wanted.swapaxes(0, 1) if order[0] == "p" else wanted)


async def test_echo_numbers(tmp_path: Path) -> None:
    """Echoes whose times nobody has written."""

    def change(volume: int, dataset: Dataset) -> None:
        without_time(dataset)
        dataset.EchoNumbers = 4 - volume

    folder = saved(tmp_path, SOURCE, change)
    for order in ("auto", "echo"):
        series = await Series.open(folder, order)
        assert series.axes[0].name == "echo"
        assert np.array_equal(series.array, SOURCE.array[::-1])


@pytest.mark.parametrize("order", ["time,te,fa", "fa,time,te", "auto"])
async def test_three_further_axes(tmp_path: Path, order: str) -> None:
    """Any number of dimensions, in the order in which they are named."""
    names = ("time", "te", "fa")
    source = phantom((2, 3, 2, *SMALL), axes=(*names, "slice", "row", "column"))
    series = await Series.open(source.save(tmp_path), order)
    wanted = names if order == "auto" else tuple(order.split(","))
    assert tuple(axis.name for axis in series.axes[:3]) == wanted
    places = [names.index(name) for name in wanted]
    assert np.array_equal(series.array, source.array.transpose(*places, 3, 4, 5))


async def test_own_keyword(tmp_path: Path) -> None:
    """input_order="delay", delay="InversionTime": numbers of any attribute."""
    source = phantom((3, *SMALL), axes=("ti", "slice", "row", "column"))
    series = await Series.open(source.save(tmp_path), "delay", delay="InversionTime")
    assert series.axes[0].name == "delay"
    assert tuple(series.axes[0].values) == source.values["ti"]
    assert np.array_equal(series.array, source.array)


async def test_own_text(tmp_path: Path) -> None:
    """An attribute of words sorts by them, and the axis has them."""

    def change(volume: int, dataset: Dataset) -> None:
        dataset.ProtocolName = "dcba"[volume]

    folder = saved(tmp_path, SOURCE, change)
    series = await Series.open(folder, "protocol", protocol="ProtocolName")
    assert series.axes[0].values.tolist() == ["a", "b", "c", "d"]
    assert np.array_equal(series.array, SOURCE.array[::-1])


@pytest.mark.parametrize("enhanced", [False, "per-volume"])
async def test_own_function(tmp_path: Path, enhanced: Any) -> None:
    """A function of a Dataset; of a multi-frame one it may answer with a value for each frame."""
    source = phantom((3, *SMALL), modality="MR", enhanced=enhanced)

    def backwards(dataset: Dataset) -> Any:
        number = int(dataset.InstanceNumber)
        return [-number] * 3 if enhanced else -((number - 1) // 3)

    series = await Series.open(source.save(tmp_path), "mine", mine=backwards)
    assert np.array_equal(series.array, source.array[::-1])
    assert (np.diff(series.axes[0].values) > 0).all()


def failing(dataset: Dataset) -> float:
    raise KeyError(dataset.PatientName)


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("NoSuchKeyword", "no DICOM keyword"),
        (5, "a DICOM keyword or a function"),
        (failing, "the function raised KeyError"),
        (lambda dataset: object(), "neither numbers nor texts"),
        (lambda dataset: None, "not every frame has a value"),
        (lambda dataset: [], "0 values for more frames"),
    ],
)
async def test_own_that_cannot_be(tmp_path: Path, what: Any, text: str) -> None:
    """Our error says what is wrong with a criterion of the caller's, and no patient's name."""
    folder = SOURCE.save(tmp_path)
    with pytest.raises(UnsortableSeriesError, match=text) as caught:
        await Series.open(folder, "mine", mine=what)
    assert "Phantom" not in str(caught.value)


async def test_candidates(tmp_path: Path) -> None:
    """auto_sort: the first candidate that fills the grid, in their order."""

    def change(volume: int, dataset: Dataset) -> None:
        dataset.EchoTime = f"{9 - volume}"

    folder = saved(tmp_path, SOURCE, change)
    for candidates, name in ((["time", "te"], "time"), (["te", "time"], "te"), (None, "te")):
        series = await Series.open(folder, auto_sort=candidates)
        assert series.report.criterion == name
        assert "fills the grid" in series.report.reason
    with pytest.raises(UnsortableSeriesError, match="'nonsense' is unknown"):
        await Series.open(folder, auto_sort=["nonsense"])


async def test_duplicates(tmp_path: Path) -> None:
    """Two averages of each b value: refused by "b" alone, listed where that is accepted."""

    def change(volume: int, dataset: Dataset) -> None:
        dataset.DiffusionBValue = float((volume // 2) * 1000)

    folder = saved(tmp_path, SOURCE, change)
    with pytest.raises(UnsortableSeriesError, match="accept_duplicate_tag"):
        await Series.open(folder, "b")
    series = await Series.open(folder, "b", accept_duplicate_tag=True)
    assert series.axes[0].values.tolist() == [0, 0, 1000, 1000]
    assert np.array_equal(series.array, SOURCE.array)


async def test_one_volume_by_time(tmp_path: Path) -> None:
    """A single volume asked for by time has an axis of one moment: the mean of its slices'."""
    source = phantom(SMALL, modality="MR")
    for place, dataset in enumerate(source.datasets()):
        dataset.AcquisitionTime = f"12000{place}"
        dataset.save_as(tmp_path / f"{place}.dcm")
    series = await Series.open(tmp_path, "time")
    assert series.shape == (1, *SMALL)
    assert series.axes[0].values.tolist() == [43201]


async def test_dimension_indices(tmp_path: Path) -> None:
    """Where no functional group says how frames differ, the dimension indices do."""
    source = phantom(
        (3, *SMALL), modality="MR", enhanced=True, axes=("te", "slice", "row", "column")
    )
    (dataset,) = source.datasets()
    for item in dataset.PerFrameFunctionalGroupsSequence:
        for macro in ("MREchoSequence",):
            if macro in item:
                del item[macro]
    dataset.save_as(tmp_path / "a.dcm")
    series = await Series.open(tmp_path)
    assert np.array_equal(series.array, source.array)
    assert (series.axes[0].name, series.axes[0].unit) == ("effectiveEchoTime", "")
    assert series.axes[0].values.tolist() == [1, 2, 3]
    assert "Dimension Index" in series.report.reason


async def test_two_dimension_indices(tmp_path: Path) -> None:
    """Two of them that vary fill the grid together; indices are taken for no b values."""
    source = phantom(
        (3, 2, *SMALL),
        modality="MR",
        enhanced=True,
        axes=("b", "te", "slice", "row", "column"),
    )
    (dataset,) = source.datasets()
    for item in dataset.PerFrameFunctionalGroupsSequence:
        del item.MREchoSequence, item.MRDiffusionSequence
        content = item.FrameContentSequence[0]
        del content.FrameAcquisitionDateTime, content.FrameReferenceDateTime
    dataset.save_as(tmp_path / "a.dcm")
    series = await Series.open(tmp_path)
    assert np.array_equal(series.array, source.array)
    names = [axis.name for axis in series.axes[:2]]
    assert names == ["diffusionBValue", "effectiveEchoTime"]
    assert not len(series.bvalues)


async def test_private_sequences_tell_nothing(tmp_path: Path) -> None:
    """What a vendor keeps under public tags in private sequences overrides no shared group."""
    source = phantom((3, *SMALL), modality="MR", enhanced=True)
    (dataset,) = source.datasets()
    for place, item in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        inner = Dataset()
        inner.RescaleSlope, inner.RescaleIntercept = 3, 7
        inner.EchoTime = 50 - place // SMALL[0] * 20
        inner.InstanceNumber = 99 - place
        block = item.private_block(0x2005, "Philips MR Imaging DD 005", create=True)
        block.add_new(0x0F, "SQ", [inner])
    dataset.save_as(tmp_path / "a.dcm")
    series = await Series.open(tmp_path)
    assert series.axes[0].name == "time"
    assert np.array_equal(series.array, source.array)


def clocked(places: list[int], date: str | None) -> Callable[[int, Dataset], None]:
    """Each volume at so many seconds, the day being a day's 86400 long; all on one date."""

    def change(volume: int, dataset: Dataset) -> None:
        without_time(dataset)
        seconds = places[volume] % 86400
        clock = f"{seconds // 3600:02}{seconds // 60 % 60:02}{seconds % 60:02}"
        dataset.AcquisitionTime = dataset.ContentTime = clock
        dataset.ContentDate = dataset.AcquisitionDate = date or ""

    return change


@pytest.mark.parametrize("date", [None, "20000101"])
@pytest.mark.parametrize("order", ["auto", "time", "clock"])
async def test_over_midnight(tmp_path: Path, date: str | None, order: str) -> None:
    """Without a date, or with the one that de-identification leaves, 00:00:01 follows 23:59:58."""
    places = [86397, 86398, 86401, 86404]
    folder = saved(tmp_path, SOURCE, clocked(places, date))
    own: dict[str, Any] = {"clock": "AcquisitionTime"} if order == "clock" else {}
    series = await Series.open(folder, order, **own)
    assert np.array_equal(series.array, SOURCE.array)
    values = np.asarray(series.axes[0].values, float)
    assert (values - values[0]).tolist() == [0, 1, 4, 7]


async def test_over_midnight_slice_by_slice(tmp_path: Path) -> None:
    """A volume that midnight parts is put together from its own slices."""
    for place, dataset in enumerate(SOURCE.datasets()):
        without_time(dataset)
        seconds = (86395 + place) % 86400
        clock = f"{seconds // 3600:02}{seconds // 60 % 60:02}{seconds % 60:02}"
        dataset.AcquisitionTime = dataset.ContentTime = clock
        dataset.AcquisitionDate = dataset.ContentDate = ""
        dataset.save_as(tmp_path / f"{place}.dcm")
    series = await Series.open(tmp_path)
    assert np.array_equal(series.array, SOURCE.array)
    assert np.allclose(series.timeline, [0, 3, 6, 9])


async def test_a_morning_and_an_evening(tmp_path: Path) -> None:
    """Twelve hours between two volumes of one day are no midnight."""
    places = [28800, 28860, 72000, 72060]
    series = await Series.open(saved(tmp_path, SOURCE, clocked(places, "20000101")), "time")
    assert np.array_equal(series.array, SOURCE.array)
    assert series.timeline.tolist() == [0, 60, 43200, 43260]


async def test_offsets_from_utc(tmp_path: Path) -> None:
    """Moments on clocks of two zones are in their true order."""
    texts = ("235930+0000", "010000+0100", "000030+0000", "010130+0100")

    def change(volume: int, dataset: Dataset) -> None:
        without_time(dataset)
        day = "20200101" if volume == 0 else "20200102"
        dataset.AcquisitionDateTime = day + texts[volume]

    series = await Series.open(saved(tmp_path, SOURCE, change), "time")
    assert np.array_equal(series.array, SOURCE.array)
    assert series.timeline.tolist() == [0, 30, 60, 120]


async def test_a_repetition_time_that_is_measured(tmp_path: Path) -> None:
    """All but equal repetition times order nothing; the times do."""

    def change(volume: int, dataset: Dataset) -> None:
        dataset.RepetitionTime = f"{(2000.02, 2000.01, 2000.03, 2000)[volume]}"

    folder = saved(tmp_path, SOURCE, change)
    series = await Series.open(folder)
    assert series.report.criterion == "time"
    assert np.array_equal(series.array, SOURCE.array)
    asked = await Series.open(folder, "tr")
    assert np.array_equal(asked.array, SOURCE.array[[3, 1, 0, 2]])


async def test_own_text_of_numbers(tmp_path: Path) -> None:
    """Texts that are numbers sort as numbers: 10 comes after 9."""

    def change(volume: int, dataset: Dataset) -> None:
        dataset.ProtocolName = f"{8 + volume}"

    folder = saved(tmp_path, SOURCE, change)
    series = await Series.open(folder, "protocol", protocol="ProtocolName")
    assert series.axes[0].values.tolist() == [8, 9, 10, 11]
    assert np.array_equal(series.array, SOURCE.array)


async def test_a_negative_b_value_is_none(tmp_path: Path) -> None:
    """Some write -1 for what is no weighted image: "b" is refused, and nothing is made up."""

    def change(volume: int, dataset: Dataset) -> None:
        dataset.DiffusionBValue = (-1.0, 0.0, 500.0, 1000.0)[volume]

    folder = saved(tmp_path, SOURCE, change)
    with pytest.raises(UnsortableSeriesError, match="b: not every frame has a value"):
        await Series.open(folder, "b")
    series = await Series.open(folder)
    assert series.report.criterion == "time"
    assert np.array_equal(series.array, SOURCE.array)


async def test_dates_in_some_files_only(tmp_path: Path) -> None:
    """Files without the date that others have stand where their times say."""

    def change(volume: int, dataset: Dataset) -> None:
        without_time(dataset)
        dataset.AcquisitionTime = f"12000{volume}"
        dataset.AcquisitionDate = "20200101" if volume % 2 == 0 else ""

    series = await Series.open(saved(tmp_path, SOURCE, change), "time")
    assert np.array_equal(series.array, SOURCE.array)
    assert series.timeline.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("order", "shape"),
    [
        ("te,time", (1, 3, 2)),
        ("time,te", (3, 1, 2)),
        ("fa,te,time", (1, 1, 3, 2)),
        ("te,fa", None),
    ],
)
async def test_criteria_of_one_value(
    tmp_path: Path, order: str, shape: tuple[int, ...] | None
) -> None:
    """What is named makes an axis, of one value too; it is refused only if nothing tells apart."""
    source = phantom((3, 2, 8, 8), axes=("time", "slice", "row", "column"), modality="MR")
    folder = saved(tmp_path, source, lambda place, dataset: None)
    if shape is None:
        with pytest.raises(UnsortableSeriesError, match="te,fa does not tell the 3 frames"):
            await Series.open(folder, order)
        return
    series = await Series.open(folder, order)
    assert series.shape[:-2] == shape
    assert [axis.name for axis in series.axes[:-3]] == order.split(",")
    assert np.array_equal(series.array.reshape(source.shape), source.array)


async def test_one_volume_by_several(tmp_path: Path) -> None:
    """One volume, whose slices have moments of their own, by echo time and time: (1, 1, …)."""

    def moment(place: int, dataset: Dataset) -> None:
        dataset.AcquisitionTime = f"12000{place}"

    folder = saved(tmp_path, phantom((3, 8, 8), modality="MR"), moment)
    series = await Series.open(folder, "te,time")
    assert series.shape == (1, 1, 3, 8, 8)
