"""Headers out of templates, piece by piece; expected values by pydicom and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from seriesio.dicom.bare import bare_volume, placed, unplaced
from seriesio.dicom.making import make_volume, template_of
from seriesio.dicom.sorting import Axis
from seriesio.dicom.template import Template
from seriesio.dicom.template_axes import step_changes
from seriesio.dicom.template_complete import complete
from seriesio.dicom.template_frames import flattened
from seriesio.dicom.template_modules import missing_modules, single_frame_class
from seriesio.dicom.volume import Volume
from seriesio.errors import HeaderError, InconsistentSeriesError
from seriesio.testing import phantom

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
PET, CAPTURE = "1.2.840.10008.5.1.4.1.1.128", "1.2.840.10008.5.1.4.1.1.7"
ULTRASOUND = "1.2.840.10008.5.1.4.1.1.6.1"


def model(**changes: Any) -> Dataset:
    """A dataset with the least that a template must have, and more."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = MR, "1.2.3"
    dataset.StudyInstanceUID, dataset.Modality = "1.2.4", "MR"
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    return dataset


def made(template: Dataset, shape: tuple[int, ...] = (2, 3, 4), **arguments: Any) -> Volume:
    arguments.setdefault("affine", np.eye(4))
    return make_volume(np.zeros(shape, np.int16), template=template_of(template), **arguments)


def test_type_2_is_made_empty() -> None:
    """What the modules ask for and the template lacks is there, and empty (PS3.5 section 7.4)."""
    dataset = made(model()).header.dataset(0)
    for keyword in (
        *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
        *("ReferringPhysicianName", "StudyID", "AccessionNumber", "SeriesNumber", "Manufacturer"),
        *("PositionReferenceIndicator", "ScanOptions", "MRAcquisitionType", "EchoTime"),
    ):
        assert keyword in dataset, keyword
        assert not dataset[keyword].value, keyword
    assert dataset.ScanningSequence == "RM"
    assert dataset.SequenceVariant == "NONE"


def test_what_is_there_stays() -> None:
    """Attributes of patient, equipment and acquisition are the template's."""
    template = model(
        PatientName="A^B", EchoTime="4.6", ScanningSequence="GR", FrameOfReferenceUID="1.2.5"
    )
    dataset = made(template).header.dataset(1)
    assert dataset.PatientName == "A^B"
    assert float(dataset.EchoTime) == 4.6
    assert dataset.ScanningSequence == "GR"
    assert dataset.FrameOfReferenceUID == "1.2.5"
    assert dataset.InstanceNumber == 2
    assert dataset.ImagePositionPatient == [0, 0, 1]
    assert dataset.SliceLocation == 1
    assert dataset.SliceThickness == dataset.SpacingBetweenSlices == 1


def test_stale_elements_go() -> None:
    """What spoke of other pixels in another place is not taken over."""
    template = model(
        SmallestImagePixelValue=1,
        PixelPaddingValue=0,
        WindowCenter="40",
        WindowWidth="400",
        NumberOfFrames="3",
        GantryDetectorTilt="12",
        ImagerPixelSpacing=[1, 1],
        LossyImageCompression="01",
        PatientOrientation=["L", "P"],
        TemporalPositionIdentifier="3",
        DerivationDescription="other",
        IconImageSequence=[Dataset()],
        DigitalSignaturesSequence=[Dataset()],
        PixelData=b"\0\0",
        BitsAllocated=16,
        PixelRepresentation=0,
    )
    template.add_new(0x60003000, "OW", b"\0\0")
    template.private_block(0x0029, "ACME", create=True).add_new(0x10, "LO", "secret")
    dataset = made(template).header.dataset(0)
    gone = {"BitsAllocated", "PixelRepresentation"}
    for element in template:
        if element.keyword in gone or (
            element.tag in dataset
            and element.keyword
            in (*("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "Modality"),)
        ):
            continue
        assert element.tag not in dataset, element.keyword
    assert dataset.SOPInstanceUID != "1.2.3"


def test_unknown_place_is_in_no_frame_of_reference() -> None:
    """Made-up positions are not said to be the template's patient coordinates."""
    template = model(FrameOfReferenceUID="1.2.5")
    dataset = made(template, affine=None, spacing=(3, 2, 1)).header.dataset(0)
    assert dataset.FrameOfReferenceUID != "1.2.5"
    assert dataset.PixelSpacing == [2, 1]
    assert dataset.SpacingBetweenSlices == 3


@pytest.mark.parametrize("keyword", ["SOPClassUID", "StudyInstanceUID", "Modality"])
def test_lacking(keyword: str) -> None:
    """What a header cannot be made without is named, with its module."""
    template = model()
    delattr(template, keyword)
    with pytest.raises(HeaderError, match=rf"the template lacks {keyword} \(.* Module\)"):
        template_of(template)


def test_unwritable_values_are_our_error() -> None:
    """A dataset that pydicom cannot write is no template; the value is not told."""
    template = model()
    with pytest.warns(UserWarning, match="VR US"):
        template.add_new(0x00081197, "US", "secret")
    with pytest.raises(HeaderError, match="cannot be written") as told:
        template_of(template)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("named", "color", "expected"),
    [
        (CT, False, CT),
        (CT, True, CAPTURE),
        ("1.2.840.10008.5.1.4.1.1.4.1", False, MR),
        ("1.2.840.10008.5.1.4.1.1.2.1", False, CT),
        ("1.2.840.10008.5.1.4.1.1.130", False, CAPTURE),
        ("1.2.840.10008.5.1.4.1.1.128.1", False, PET),
        ("1.2.840.10008.5.1.4.1.1.1.1", False, CAPTURE),
        ("1.2.840.10008.5.1.4.1.1.66.4", False, CAPTURE),
        ("1.2.840.10008.5.1.4.1.1.88.11", False, CAPTURE),
    ],
)
def test_classes(named: str, color: bool, expected: str) -> None:
    """Single-frame classes stay, enhanced ones become theirs, the rest Secondary Captures."""
    assert single_frame_class(named, color=color) == expected


@pytest.mark.parametrize("color", [False, True])
def test_ultrasound_holds_bytes(color: bool) -> None:
    """Ultrasound Image stays one for unsigned bytes only (PS3.3 section C.8.5.6.1)."""
    for named in (ULTRASOUND, "1.2.840.10008.5.1.4.1.1.3.1"):
        assert single_frame_class(named, color=color, byte_sized=True) == ULTRASOUND
        assert single_frame_class(named, color=color) == CAPTURE


def test_present_modules_are_not_repeated() -> None:
    """Only what is missing is added."""
    assert 0x00100010 not in missing_modules(frozenset({0x00100010}), CT)
    assert missing_modules(frozenset(), CT)[0x00180060] == ("DS", "")


def test_steps_in_c_order() -> None:
    """Each volume says all of its values; the last axis varies fastest."""
    axes = [Axis("te", "ms", np.array([4.0, 8.0])), Axis("fa", "deg", np.array([5.0, 10.0]))]
    found = [(changes[0x00180081], changes[0x00181314]) for changes in step_changes(axes)]
    told = [(te[1], fa[1]) for te, fa in found if te and fa]
    assert [(float(te), float(fa)) for te, fa in told] == [(4, 5), (4, 10), (8, 5), (8, 10)]


def test_times_beyond_midnight() -> None:
    """A time of the next day has that day's date (PS3.3 section C.7.6.1)."""
    axis = Axis("time", "s", np.array([86390.0, 86400.25]))
    first, second = step_changes([axis], "20240228")
    assert first[0x00080022] == ("DA", "20240228")
    assert first[0x00080032] == ("TM", "235950.000000")
    assert second[0x00080022] == ("DA", "20240229")
    assert second[0x00080032] == ("TM", "000000.250000")


@pytest.mark.parametrize(
    "axis",
    [
        Axis("echo", "", np.array([1.5])),
        Axis("dti", "", np.zeros((1, 3))),
        Axis("bvector", "", np.zeros((1, 2))),
        Axis("anything", "", np.zeros(1)),
    ],
    ids=lambda axis: axis.name,
)
def test_axes_that_dicom_cannot_say(axis: Axis) -> None:
    """Values of the wrong kind are refused by the name of their axis."""
    with pytest.raises(HeaderError, match=axis.name):
        step_changes([axis])


def test_times_without_a_date() -> None:
    """Without a clock in the template times count from 0; a day and more needs a date."""
    short = made(model(), (2, 1, 3, 4), axes=[Axis("time", "s", np.array([7.0, 9.5]))])
    assert short.axes[0].values.tolist() == [0, 2.5]
    days = [Axis("time", "s", np.array([0.0, 90000.0]))]
    with pytest.raises(HeaderError, match="more than a day"):
        made(model(), (2, 1, 3, 4), axes=days)
    dated = made(model(StudyDate="20240101", StudyTime="120000"), (2, 1, 3, 4), axes=days)
    assert dated.header.values("AcquisitionDate") == ["20240101", "20240102"]


def test_flattened_frames() -> None:
    """The groups of one frame stand at the top, as single-frame modules have them."""
    whole = phantom((2, 3, 4, 5), axes=("te", "slice", "row", "column"), enhanced=True)
    (dataset,) = whole.datasets()
    item = dataset.PerFrameFunctionalGroupsSequence[4]
    flat = flattened(dataset, 4)
    position = item.PlanePositionSequence[0].ImagePositionPatient
    assert flat.ImagePositionPatient == position
    assert float(flat.EchoTime) == item.MREchoSequence[0].EffectiveEchoTime
    assert "PerFrameFunctionalGroupsSequence" not in flat
    assert flat.PatientID == dataset.PatientID


def test_broken_functional_groups() -> None:
    """Groups that are no groups are an error of ours."""
    dataset = Dataset()
    dataset.EffectiveEchoTime = 3.0
    dataset.InversionTimes = [100.0, 200.0]
    assert float(flattened(dataset, 7).InversionTime) == 100.0
    dataset.SharedFunctionalGroupsSequence = Items([Dataset()])
    dataset.SharedFunctionalGroupsSequence[0].add_new(0x00189006, "SQ", [])
    assert flattened(dataset, 0).EchoTime == 3.0


def test_nearest_slices() -> None:
    """With other slices than the template, each takes the header of the nearest of its slices."""
    dataset = model()
    whole = made(dataset, (4, 3, 4), affine=np.diag([1.0, 1, 2, 1]))
    for index in range(4):
        whole.header.set("ImageComments", f"slice {index}", where=[index])
    template = template_of(whole)
    assert isinstance(template, Template)
    thin = make_volume(np.zeros((7, 3, 4), np.int16), affine=np.eye(4))
    found = complete(thin, template).header.values("ImageComments")
    assert [text[-1] for text in found] == ["0", "0", "1", "1", "2", "2", "3"]


def test_sources() -> None:
    """Fewer or more instances than the template's refer to what they come from."""
    whole = made(model(), (2, 3, 4))
    originals = whole.header.values("SOPInstanceUID")
    template = template_of(whole, source=True)
    four = make_volume(np.zeros((2, 2, 3, 4), np.int16), template=template, axes=["te"])
    references = [
        items[0].ReferencedSOPInstanceUID for items in four.header.values("SourceImageSequence")
    ]
    assert references == [*originals, *originals]
    assert len(set(four.header.values("SOPInstanceUID"))) == 4


def test_bare_volumes_check_their_parts() -> None:
    """Axes and geometry have to fit the array."""
    array = np.zeros((2, 3, 4, 5))
    with pytest.raises(InconsistentSeriesError, match="lengths"):
        bare_volume(array, (), placed(np.eye(4), 3))
    with pytest.raises(InconsistentSeriesError, match="2 slices, the array 3"):
        bare_volume(array[0], (), placed(np.eye(4), 2))
    with pytest.raises(InconsistentSeriesError, match="no volume"):
        bare_volume(array, (), placed(np.eye(4), 3), color=True)
    assert not bare_volume(array[0], (), unplaced((1, 2, 3), 3)).geometry.known
