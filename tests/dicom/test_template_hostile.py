"""Templates that are none: wrong types, values out of range, modules that are missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from seriesio import Series
from seriesio.dicom.sorting import Axis
from seriesio.errors import HeaderError
from seriesio.testing import phantom

STORAGE = "1.2.840.10008.5.1.4.1.1."


def model(**changes: Any) -> Dataset:
    """The least that a template must have, and more."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = STORAGE + "4", "1.2.3"
    dataset.StudyInstanceUID, dataset.Modality = "1.2.4", "MR"
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    return dataset


def unchecked(keyword: str, value: Any) -> Dataset:
    """One with a value that pydicom would have refused."""
    dataset = model()
    tag = pydicom.datadict.tag_for_keyword(keyword)
    assert tag is not None
    element = DataElement(tag, pydicom.datadict.dictionary_VR(tag), None, validation_mode=0)
    element._value = value
    dataset.add(element)
    return dataset


def made(template: Dataset, shape: tuple[int, ...] = (2, 3, 4), **arguments: Any) -> Series:
    return Series.from_array(np.zeros(shape, np.int16), template=template, **arguments)


@pytest.mark.parametrize(
    ("keyword", "value", "told"),
    [
        ("SOPClassUID", "secret", "SOPClassUID is not one UID"),
        ("StudyInstanceUID", ["1.2", "1.3"], "StudyInstanceUID is not one UID"),
        ("StudyInstanceUID", 12, "StudyInstanceUID is not one UID"),
        ("StudyInstanceUID", "1." * 60 + "1", "StudyInstanceUID is not one UID"),
        ("StudyInstanceUID", "", "lacks StudyInstanceUID"),
        ("FrameOfReferenceUID", "secret", "FrameOfReferenceUID is not one UID"),
        ("Modality", ["MR", "CT"], "Modality is not one word"),
        ("PatientName", b"secret", "PatientName cannot hold its value"),
        ("PatientName", object(), "PatientName cannot hold its value"),
        ("AcquisitionMatrix", [70000, 0, 0, 1], "AcquisitionMatrix cannot hold its value"),
        ("RepetitionTime", "secret", "RepetitionTime is no number"),
        ("SliceThickness", "nan", "SliceThickness is no number"),
        ("PixelBandwidth", ["1", "secret"], "PixelBandwidth is no number"),
        ("SeriesNumber", "secret", "SeriesNumber is no number"),
        ("ImageType", 3, "ImageType cannot hold its value"),
    ],
)
def test_values_of_the_wrong_kind(keyword: str, value: Any, told: str) -> None:
    """A template's value that DICOM cannot hold is told by its attribute; the value is not."""
    with pytest.raises(HeaderError, match=told) as error:
        made(unchecked(keyword, value))
    assert "secret" not in str(error.value)


def test_a_deep_template() -> None:
    """Sequences in sequences without end are an error of ours."""
    top = dataset = model()
    for _ in range(3000):
        item = Dataset()
        dataset.ReferencedStudySequence = [item]
        dataset = item
    with pytest.raises(HeaderError, match="ReferencedStudySequence cannot hold its value"):
        made(top)


@pytest.mark.parametrize(
    "keyword", ["Units", "SeriesType", "CountsSource", "DecayCorrection", "FrameReferenceTime"]
)
def test_pet_needs_its_units(keyword: str) -> None:
    """What a PET image must say (type 1, PS3.3 C.8.9.1 and C.8.9.4) is not made up."""
    whole = phantom((1, 3, 4), modality="PT").datasets()[0]
    assert made(whole).sopClassUID == STORAGE + "128"
    delattr(whole, keyword)
    with pytest.raises(HeaderError, match=rf"the template lacks {keyword} \(PET"):
        made(whole)


def test_decay_corrected_pet_needs_its_factor() -> None:
    """Decay Factor is of type 1 where decay was corrected (PS3.3 C.8.9.4)."""
    whole = phantom((1, 3, 4), modality="PT").datasets()[0]
    whole.DecayCorrection = "START"
    if "DecayFactor" in whole:
        del whole.DecayFactor
    with pytest.raises(HeaderError, match="lacks DecayFactor"):
        made(whole)
    whole.DecayCorrection = "NONE"
    assert made(whole).sopClassUID == STORAGE + "128"


@pytest.mark.parametrize(
    ("axis", "told"),
    [
        (Axis("time", "s", np.array([0, np.nan])), "axis time: has values that are not finite"),
        (Axis("te", "ms", np.array([0, np.inf])), "axis te: step 1 has a value of the wrong kind"),
        (Axis("te", "ms", np.array(["a", "b"])), "axis te: step 0 has a value of the wrong kind"),
        (Axis("b", "", np.array([0, np.nan])), "axis b: step 1 has a value that is not finite"),
        (Axis("echo", "", np.array([1, 1e12])), "EchoNumbers: cannot hold the value"),
        (Axis("phase", "", np.array(["M", "P" * 40])), "ImageType: cannot hold the value"),
    ],
    ids=lambda value: value.name if isinstance(value, Axis) else "",
)
def test_axes_out_of_range(axis: Axis, told: str) -> None:
    """Values that an axis' attribute cannot hold are told before anything is written."""
    with pytest.raises(HeaderError, match=told):
        made(model(), (2, 2, 3, 4), axes=[axis])


def test_times_beyond_the_calendar() -> None:
    """A day after the last one that DICOM can say is an error, not an overflow."""
    template = model(AcquisitionDate="99991231", AcquisitionTime="235959.5")
    with pytest.raises(HeaderError, match="axis time"):
        made(template, (2, 2, 3, 4))


def test_text_without_a_character_set() -> None:
    """Text beyond ASCII in a dataset that names no character set is kept, as UTF-8."""
    series = made(model(PatientName="Åse^Ødegård 漢"))
    assert series.patientName == "Åse^Ødegård 漢"
    assert series.specificCharacterSet == "ISO_IR 192"


def test_edits_of_a_template_are_taken_over(tmp_path: Path) -> None:
    """What was set in a series is in the headers made from it, though its files lack it."""
    source = phantom((2, 3, 4), modality="MR").datasets()
    for number, dataset in enumerate(source):
        del dataset.PatientSex
        dataset.save_as(tmp_path / f"{number}.dcm")
    template = open_now(tmp_path)
    template.patientSex = "O"
    template.windowCenter, template.windowWidth = 40, 400
    assert Series.from_array(template.array * 2, template=template).patientSex == "O"
    longer = Series.from_array(np.zeros((5, 3, 4), np.int16), template=template)
    assert longer.patientSex == "O"


def open_now(path: Path) -> Series:
    import asyncio

    return asyncio.run(Series.open(path))


def test_group_lengths(tmp_path: Path) -> None:
    """Retired group lengths, that of the pixels too, follow what is written (PS3.5 section 7.2)."""
    path = phantom((1, 8, 9), modality="MR").save(tmp_path / "in")
    (file,) = path.iterdir()
    data = file.read_bytes()
    place = data.index(b"\xe0\x7f\x10\x00")
    rest = len(data) - place
    length = b"\xe0\x7f\x00\x00UL\x04\x00" + rest.to_bytes(4, "little")
    file.write_bytes(data[:place] + length + data[place:])
    template = open_now(path)
    series = Series.from_array(np.arange(6, dtype=np.int16).reshape(1, 2, 3), template=template)
    (raw,) = (instance.raw for instance in series.header.instances)
    head = bytes(raw.data)
    at = head.index(b"\xe0\x7f\x00\x00UL\x04\x00")
    # The element's header of 12 bytes and 6 voxels of 2 bytes.
    assert int.from_bytes(head[at + 8 : at + 12], "little") == 12 + 12
    assert len(head) == at + 12 + 12
