"""What dicom:// URLs name; expected values are written by hand."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seriesio.errors import LocationError
from seriesio.location import parse_location
from seriesio.transports._dicom_location import DicomLocation, Name, parse_dicom_location

HERE = DicomLocation("h", 104, "AET")


def parsed(url: str) -> DicomLocation:
    return parse_dicom_location(parse_location(url))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("dicom://h/AET", HERE),
        ("dicom://h/AET/", HERE),
        ("dicoms://h/AET", replace(HERE, port=2762, tls=True)),
        ("dicom://h:11112/AET", replace(HERE, port=11112)),
        ("dicom://[::1]:104/AET", replace(HERE, host="::1")),
        ("dicom://user:secret@h/MY%20AET", replace(HERE, ae_title="MY AET")),
        ("dicom://h/AET/P%2F1", replace(HERE, patient="P/1")),
        ("dicom://h/AET/M%C3%BCller", replace(HERE, patient="Müller")),
        ("dicom://h/AET/*/1.2.3", replace(HERE, patient="*", study=Name("1.2.3", "uid"))),
        ("dicom://h/AET/P/12345", replace(HERE, patient="P", study=Name("12345", "accession"))),
        ("dicom://h/AET/P/A.1", replace(HERE, patient="P", study=Name("A.1", "accession"))),
        ("dicom://h/AET/P/A*", replace(HERE, patient="P", study=Name("A*", "accession"))),
        ("dicom://h/AET/P/1.2.*", replace(HERE, patient="P", study=Name("1.2.*", "uid"))),
        (
            "dicom://h/AET/P/*/7",
            replace(HERE, patient="P", study=Name("*", "uid"), series=Name("7", "number")),
        ),
        (
            "dicom://h/AET/P/1.2/1%3F",
            replace(HERE, patient="P", study=Name("1.2", "uid"), series=Name("1?", "number")),
        ),
        (
            "dicom://h/AET/P/1.2/1.2.3/1.2.3.4",
            DicomLocation(
                *("h", 104, "AET", False, "P"),
                *(Name("1.2", "uid"), Name("1.2.3", "uid"), "1.2.3.4"),
            ),
        ),
    ],
)
def test_parse(url: str, expected: DicomLocation) -> None:
    """What each kind of URL names."""
    assert parsed(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "dicom:///AET",
        "dicom://h",
        "dicom://h/",
        "dicom://h:0/AET",
        "dicom://h/ABCDEFGHIJKLMNOPQ",
        "dicom://h/%C3%84ET",
        "dicom://h/A*",
        "dicom://h/AET//1.2.3",
        "dicom://h/AET/P//1.2.3",
        "dicom://h/AET/%20/1.2.3",
        "dicom://h/AET/P%FF",
        "dicom://h/AET/P%5CQ",
        "dicom://h/AET/P%00",
        "dicom://h/AET/P%0A",
        f"dicom://h/AET/{'P' * 65}",
        "dicom://h/AET/P/1.2/head",
        "dicom://h/AET/P/1.2/1.2.3/4",
        "dicom://h/AET/P/1.2/1.2.3/1.2.*",
        "dicom://h/AET/P/1.2/1.2.3/1.2.3.4/5",
    ],
)
def test_refused(url: str) -> None:
    """What no archive can hold is a LocationError that does not repeat it."""
    with pytest.raises(LocationError) as caught:
        parsed(url)
    assert "P" not in str(caught.value).replace("SOP", "").replace("patientID", "")


@pytest.mark.parametrize(
    ("url", "level", "wild"),
    [
        ("dicom://h/AET", "archive", False),
        ("dicom://h/AET/P*", "patient", True),
        ("dicom://h/AET/P/1.2", "study", False),
        ("dicom://h/AET/P/1.2/*", "series", True),
        ("dicom://h/AET/P/1.2/1.2.3/1.2.4", "image", False),
    ],
)
def test_level(url: str, level: str, wild: bool) -> None:
    """How deep a URL goes, and whether it names several."""
    assert (parsed(url).level, parsed(url).wild) == (level, wild)


def test_as_text() -> None:
    """Text and repr tell the archive, not the patient; the URL tells all but the user."""
    location = parsed("dicom://user:secret@[::1]/A%20B/Doe%2F%3F/1.2/3")
    assert str(location) == "dicom://[::1]:104/A%20B"
    assert "Doe" not in repr(location)
    assert location.url == "dicom://[::1]:104/A%20B/Doe%2F%3F/1.2/3"
    assert parsed(location.url) == location


def test_below() -> None:
    """Entries of a listing: URLs that can be opened."""
    archive = parsed("dicoms://h/AET")
    assert archive.below(patient="P 1").url == "dicoms://h:2762/AET/P%201"
    study = archive.below(study="1.2")
    assert study.url == "dicoms://h:2762/AET/*/1.2"
    assert study.below(series="1.2.3", instance="1.2.3.4").url == f"{study.url}/1.2.3/1.2.3.4"


@given(st.text(max_size=40))
def test_any_path(path: str) -> None:
    """Any path gives a location whose URL is that location again, or a LocationError."""
    with suppress(LocationError):
        location = parsed(f"dicom://h/AET/{path}")
        assert parsed(location.url) == location
