"""The one rule from attribute names to tags, held against pydicom's whole dictionary."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydicom._dicom_dict import DicomDictionary

from seriesio.dicom.keywords import camel_case, keyword_for, tag_for

KEYWORDS = {entry[4]: tag for tag, entry in DicomDictionary.items() if entry[4]}


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("PatientName", 0x00100010),
        ("patientName", 0x00100010),
        ("SOPInstanceUID", 0x00080018),
        ("sopInstanceUID", 0x00080018),
        ("seriesInstanceUID", 0x0020000E),
        ("repetitionTime", 0x00180080),
        ("diffusionBValue", 0x00189087),
        ("mrAcquisitionType", 0x00180023),
        ("kvp", 0x00180060),
        ("CTDIvol", 0x00189345),
        ("b1rms", 0x00181320),
    ],
)
def test_known_names(name: str, tag: int) -> None:
    """Names as the documentation promises them lead to the tags of PS3.6."""
    assert tag_for(name) == tag


def test_every_keyword_and_its_camel_case() -> None:
    """Each keyword of the dictionary is found by both spellings, and none by another's name."""
    wrong = {
        keyword
        for keyword, tag in KEYWORDS.items()
        if tag_for(keyword) != tag or tag_for(camel_case(keyword)) != tag
    }
    assert not wrong


def test_camel_case() -> None:
    """A leading acronym is lowered as a whole, up to the word that follows it."""
    assert camel_case("SOPInstanceUID") == "sopInstanceUID"
    assert camel_case("PatientID") == "patientID"
    assert camel_case("KVP") == "kvp"
    assert camel_case("HL7InstanceIdentifier") == "hl7InstanceIdentifier"


@pytest.mark.parametrize(
    "name", ["", "x", "nope", "patientname", "__array__", "_repr_html_", "PatientName ", "a" * 500]
)
def test_unknown_names(name: str) -> None:
    """What DICOM does not name has no tag, protocol probes and nonsense included."""
    assert tag_for(name) is None


def test_keyword_for() -> None:
    """A message can name every element, private ones by number."""
    assert keyword_for(0x00100010) == "PatientName"
    assert keyword_for(0x00291010) == "(0029,1010)"


def test_import_is_light() -> None:
    """Importing the rule, and asking for a protocol attribute, does not load pydicom."""
    code = (
        "import sys; from seriesio.dicom.keywords import tag_for; tag_for('__array__');"
        "sys.exit('pydicom' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
