"""Matching and information models of the embedded archive, against tables written by hand."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from seriesio.testing._archive_instance import Instance, read_record
from seriesio.testing._archive_match import QueryError, glob, matches
from seriesio.testing._archive_query import find, parse_query, respond, retrieve


@pytest.mark.parametrize(
    ("vr", "key", "value", "expected"),
    [
        ("LO", "", "anything", True),  # universal matching, C.2.2.2.3
        ("LO", "*", "anything", True),
        ("LO", "brain", "Brain", False),  # case counts, but in names
        ("LO", "Br*", "Brain", True),
        ("LO", "B?ain", "Brain", True),
        ("LO", "B?ain", "Bain", False),
        ("LO", "*a*n", "Brain", True),
        ("LO", "a.c", "abc", False),
        ("LO", "[ab]", "a", False),
        ("CS", "M*", "MR", True),
        ("PN", "smith^john", "Smith^John^^^", True),
        ("PN", "SMI*", "Smith^John", True),
        ("PN", "Yamada^Tarou=*", "Yamada^Tarou=山田^太郎", True),
        ("PN", "山田*", "Yamada^Tarou=山田^太郎", True),
        ("PN", "Smith", "Smith^John", False),
        ("UI", "1.2\\1.3", "1.3", True),  # list of UIDs, C.2.2.2.2
        ("UI", "1.*", "1.3", False),  # no wildcards in UIDs
        ("DA", "20200229", "20200229", True),
        ("DA", "20200101-20201231", "20200229", True),
        ("DA", "20200301-", "20200229", False),
        ("DA", "-20200229", "20200229", True),
        ("DA", "-20200228", "20200229", False),
        ("DA", "20200229", "2020.02.29", True),
        ("DA", "20200229", "not a date", False),
        ("TM", "1000-1100", "103000.5", True),
        ("TM", "1000-1100", "110059", True),
        ("TM", "1000-1100", "110100", False),
        ("TM", "-09", "095959.999999", True),
        ("DT", "20200101-20210101", "20200229103000.000000+0100", True),
        ("DT", "20200301-20210101", "20200229", False),
        ("IS", "3", "003", True),
        ("IS", "3", "30", False),
        ("US", "512", "512", True),
        ("AS", "0*", "042Y", False),
    ],
)
def test_matching(vr: str, key: str, value: str, expected: bool) -> None:
    """Each kind of matching of PS3.4 section C.2.2.2, by VR."""
    assert matches(vr, key, [value]) is expected


def test_any_value_matches() -> None:
    """Of several stored values one is enough; where there is none only the empty key matches."""
    assert matches("CS", "MR", ["CT", "MR"])
    assert not matches("CS", "MR", [])
    assert matches("CS", "", [])


@pytest.mark.parametrize("key", ["today", "2020", "2020-13", "-", "20200101-20200102-20200103"])
def test_bad_dates(key: str) -> None:
    """What is no date and no range of dates is refused, and not repeated."""
    with pytest.raises(QueryError) as caught:
        matches("DA", key, ["20200229"])
    assert key not in str(caught.value) or key == "-"


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_wildcards(pattern: str, text: str) -> None:
    """Wildcards mean what a search through all ways to read them finds."""

    def reads(pattern: str, text: str) -> bool:
        if not pattern:
            return not text
        if pattern[0] == "*":
            return any(reads(pattern[1:], text[cut:]) for cut in range(len(text) + 1))
        return bool(text) and pattern[0] in ("?", text[0]) and reads(pattern[1:], text[1:])

    assert glob(pattern, text) == reads(pattern, text)


@pytest.mark.timeout(5)
def test_wildcards_take_no_time() -> None:
    """A key made to be slow is not."""
    assert not glob("a*" * 2000 + "b", "a" * 4000)


# --- information models -----------------------------------------------------------------------


def encoded(dataset: Dataset, implicit: bool = False) -> Dataset:
    """What the archive gets: the dataset, read from bytes."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = implicit, True
    write_dataset(buffer, dataset)
    return dcmread(BytesIO(buffer.getvalue()), force=True)


def instance(patient: str, study: str, series: str, sop: str, **attributes: str) -> Instance:
    dataset = Dataset()
    dataset.PatientID, dataset.StudyInstanceUID = patient, study
    dataset.SeriesInstanceUID, dataset.SOPInstanceUID = series, sop
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    syntax = "1.2.840.10008.1.2.1"
    record = read_record(encoded(dataset))
    return Instance(patient, study, series, sop, dataset.SOPClassUID, syntax, record, b"", 0, 0)


HELD = [
    instance("P1", "1.1", "1.1.1", "1.1.1.1", Modality="MR", SeriesNumber="1", AccessionNumber="A"),
    instance("P1", "1.1", "1.1.1", "1.1.1.2", Modality="MR", SeriesNumber="1", AccessionNumber="A"),
    instance("P1", "1.1", "1.1.2", "1.1.2.1", Modality="SR", SeriesNumber="2", AccessionNumber="A"),
    instance("P1", "1.2", "1.2.1", "1.2.1.1", Modality="CT", SeriesNumber="1"),
    instance("P2", "2.1", "2.1.1", "2.1.1.1", Modality="CT", SeriesNumber="1", PatientName="Ö^X"),
]


def keys(level: str, **wanted: str) -> Dataset:
    dataset = Dataset()
    for keyword, value in {"QueryRetrieveLevel": level, **wanted}.items():
        tag = tag_for_keyword(keyword) or 0
        dataset.add(DataElement(tag, dictionary_VR(tag), value, validation_mode=IGNORE))
    return dataset


def found(root: str, identifier: Dataset) -> list[Dataset]:
    """The answers, as pydicom reads them."""
    query = parse_query(encoded(identifier), root)
    answers = (respond(a, implicit=False, little=True) for a in find(query, HELD, "AET"))
    return [encoded(answer) for answer in answers]


@pytest.mark.parametrize(
    ("root", "identifier", "keyword", "expected"),
    [
        ("PATIENT", keys("PATIENT", PatientID=""), "PatientID", ["P1", "P2"]),
        ("PATIENT", keys("PATIENT", PatientID="*2"), "PatientID", ["P2"]),
        ("PATIENT", keys("STUDY", PatientID="P1", StudyInstanceUID=""), "StudyInstanceUID",
         ["1.1", "1.2"]),
        ("STUDY", keys("STUDY", StudyInstanceUID="1.1\\2.1"), "StudyInstanceUID", ["1.1", "2.1"]),
        ("STUDY", keys("STUDY", PatientID="P1", StudyInstanceUID=""), "StudyInstanceUID",
         ["1.1", "1.2"]),
        ("STUDY", keys("STUDY", ModalitiesInStudy="SR", StudyInstanceUID=""), "StudyInstanceUID",
         ["1.1"]),
        ("STUDY", keys("STUDY", AccessionNumber="A", StudyInstanceUID=""), "StudyInstanceUID",
         ["1.1"]),
        ("STUDY", keys("SERIES", StudyInstanceUID="1.1", SeriesNumber="2", SeriesInstanceUID=""),
         "SeriesInstanceUID", ["1.1.2"]),
        ("STUDY", keys("SERIES", StudyInstanceUID="2.1", SeriesInstanceUID="1.1.1"),
         "SeriesInstanceUID", []),
        ("STUDY", keys("IMAGE", StudyInstanceUID="1.1", SeriesInstanceUID="1.1.1",
                       SOPInstanceUID=""), "SOPInstanceUID", ["1.1.1.1", "1.1.1.2"]),
    ],
)  # fmt: skip
def test_find(root: str, identifier: Dataset, keyword: str, expected: list[str]) -> None:
    """The entities of a level below the parents that are named."""
    assert [answer[keyword].value for answer in found(root, identifier)] == expected


def test_counts() -> None:
    """What is counted and collected at each level; PS3.4 section C.3.4."""
    wanted = dict.fromkeys(
        [f"NumberOfPatientRelated{what}" for what in ("Studies", "Series", "Instances")], ""
    )
    first = found("PATIENT", keys("PATIENT", PatientID="P1", **wanted))[0]
    assert [first[keyword].value for keyword in wanted] == [2, 3, 4]
    wanted = {"NumberOfStudyRelatedSeries": "", "NumberOfStudyRelatedInstances": ""}
    wanted |= {"ModalitiesInStudy": "", "SOPClassesInStudy": ""}
    first = found("STUDY", keys("STUDY", StudyInstanceUID="1.1", **wanted))[0]
    assert [first[keyword].value for keyword in list(wanted)[:2]] == [2, 3]
    assert list(first.ModalitiesInStudy) == ["MR", "SR"]
    assert first.SOPClassesInStudy == "1.2.840.10008.5.1.4.1.1.4"
    identifier = keys("SERIES", StudyInstanceUID="1.1", NumberOfSeriesRelatedInstances="")
    counts = [answer.NumberOfSeriesRelatedInstances for answer in found("STUDY", identifier)]
    assert counts == [2, 1]


def test_what_is_returned() -> None:
    """What was asked for and the level has; never what belongs below it."""
    wanted = dict.fromkeys(["StudyInstanceUID", "PatientName", "StudyDate", "Modality"], "")
    identifier = keys("STUDY", PatientID="P2", **wanted)
    identifier.ReferencedStudySequence = []
    answer = found("STUDY", identifier)[0]
    names = {element.keyword for element in answer}
    assert names == {
        *("SpecificCharacterSet", "QueryRetrieveLevel", "RetrieveAETitle"),
        *("PatientID", "PatientName", "StudyDate", "StudyInstanceUID"),
    }
    assert (answer.RetrieveAETitle, answer.QueryRetrieveLevel) == ("AET", "STUDY")
    assert (str(answer.PatientName), answer.StudyDate) == ("Ö^X", "")


def test_transfer_syntax_of_an_image() -> None:
    """Available Transfer Syntax UID says how an instance is kept."""
    identifier = keys("IMAGE", StudyInstanceUID="1.2", SeriesInstanceUID="1.2.1")
    identifier.AvailableTransferSyntaxUID = ""
    answer = found("STUDY", identifier)[0]
    assert answer.AvailableTransferSyntaxUID == "1.2.840.10008.1.2.1"


def refused() -> Iterator[tuple[str, Dataset]]:
    yield "STUDY", keys("PATIENT", PatientID="P1")
    yield "STUDY", Dataset()
    yield "STUDY", keys("WARD")
    yield "STUDY", keys("SERIES")
    yield "STUDY", keys("SERIES", StudyInstanceUID="1.1\\1.2")
    yield "STUDY", keys("IMAGE", SeriesInstanceUID="1.1.1")
    yield "PATIENT", keys("STUDY", StudyInstanceUID="1.1")
    yield "PATIENT", keys("STUDY", PatientID="P*")


@pytest.mark.parametrize(("root", "identifier"), list(refused()))
def test_hierarchy(root: str, identifier: Dataset) -> None:
    """Without single values of all unique keys above the level, nothing is answered (C.4.1)."""
    for ask in (find, retrieve):
        with pytest.raises(QueryError):
            list(ask(parse_query(encoded(identifier), root), HELD, *(["A"] * (ask is find))))


def test_retrieve() -> None:
    """Instances below the named entities; lists of UIDs, but no wildcards, no empty keys."""
    listed = keys("IMAGE", StudyInstanceUID="1.1", SeriesInstanceUID="1.1.1")
    listed.SOPInstanceUID = "1.1.1.2\\1.1.1.1\\9.9"
    cases = [
        ("PATIENT", keys("PATIENT", PatientID="P1"), 4),
        ("STUDY", keys("STUDY", StudyInstanceUID="1.1"), 3),
        ("STUDY", keys("SERIES", StudyInstanceUID="1.1", SeriesInstanceUID="1.1.1"), 2),
        ("STUDY", listed, 2),
        ("STUDY", keys("STUDY", StudyInstanceUID="7"), 0),
    ]
    for root, identifier, count in cases:
        assert len(retrieve(parse_query(encoded(identifier), root), HELD)) == count
    for identifier in (keys("STUDY", StudyInstanceUID=""), keys("STUDY", StudyInstanceUID="1*")):
        with pytest.raises(QueryError):
            retrieve(parse_query(encoded(identifier), "STUDY"), HELD)


@pytest.mark.parametrize("implicit", [True, False])
def test_answers_as_devices_wrote_them(implicit: bool) -> None:
    """Values that break their VR are passed on; text beyond ASCII is UTF-8, and says so."""
    answer = {0x00200013: ("ten",), 0x00080020: ("29.2.2020",), 0x00100010: ("Ärger",)}
    dataset = respond(answer, implicit=implicit, little=True)
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = implicit, True
    write_dataset(buffer, dataset)
    data = buffer.getvalue()
    assert b"ten " in data
    assert b"29.2.2020 " in data
    assert "Ärger".encode() in data
    assert b"ISO_IR 192" in data
