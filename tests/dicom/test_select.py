"""select=: numbers as numbers, texts in their character set, functions."""

from __future__ import annotations

import re
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from seriesio.dicom.part10 import parse
from seriesio.dicom.select import matching
from seriesio.dicom.table import HeaderGroup, HeaderTable
from seriesio.errors import HeaderError
from seriesio.testing import phantom


def table(*datasets: Dataset) -> HeaderTable:
    groups = []
    for dataset in datasets:
        buffer = BytesIO()
        dataset.save_as(buffer)
        data = buffer.getvalue()
        groups.append(HeaderGroup.single(parse(memoryview(data), len(data), "x").header))
    return HeaderTable(groups)


def made() -> HeaderTable:
    """Three instances; the descriptions in Latin-1 and in UTF-8."""
    datasets = phantom((3, 4, 4), modality="MR").datasets()
    for dataset, text in zip(datasets, ("Schädel", "Schädel", "Knie"), strict=True):
        dataset.SeriesDescription = text
    datasets[1].SpecificCharacterSet = "ISO_IR 192"
    datasets[2].EchoTime = None
    return table(*datasets)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("InstanceNumber", 2, [False, True, False]),
        ("instanceNumber", "2", [False, True, False]),
        ("InstanceNumber", np.int16(3), [False, False, True]),
        ("InstanceNumber", lambda text: int(text) > 1, [False, True, True]),
        ("SeriesDescription", "Schädel", [True, True, False]),
        ("Modality", "MR", [True, True, True]),
        ("PixelSpacing", [2, 2.0004], [True, True, True]),
        ("PixelSpacing", np.array([2.0, 2.5]), [False, False, False]),
        ("PixelSpacing", 2, [False, False, False]),
        ("ImageType", ["ORIGINAL", "PRIMARY", "OTHER"], [True, True, True]),
        ("Rows", 4, [True, True, True]),
        ("ProtocolName", "none", [False, False, False]),
        ("AccessionNumber", 5, [False, False, False]),
        ("InstanceNumber", [3, 1], [True, False, True]),
        ("InstanceNumber", np.array([2, 3]), [False, True, True]),
        ("InstanceNumber", {2, "1"}, [True, True, False]),
        ("InstanceNumber", range(2, 10**12), [False, True, True]),
        ("InstanceNumber", [], [False, False, False]),
        ("EchoTime", (5, 4.6), [True, True, False]),
        ("EchoTime", range(1, 9), [False, False, False]),
        ("PixelSpacing", {2, 3}, [False, False, False]),
        ("SeriesDescription", {"Knie", "Arm"}, [False, False, True]),
        ("Modality", ["CT", "MR"], [True, True, True]),
        ("ImageType", {"ORIGINAL\\PRIMARY\\OTHER", "DERIVED"}, [True, True, True]),
    ],
)
def test_matching(name: str, value: Any, wanted: list[bool]) -> None:
    """Which of the three instances have the value."""
    assert matching(made(), name, value).tolist() == wanted


@pytest.mark.parametrize("name", ["Nonsense", "", 0x00200013, (0x20, 0x13), None])
def test_no_keyword(name: Any) -> None:
    """A name that DICOM does not know, and what is no name."""
    with pytest.raises(HeaderError, match=re.escape(f"{name!r} is no DICOM keyword")):
        matching(made(), name, 1)


@pytest.mark.parametrize("value", [None, b"2", {"a": 1}, slice(1, 3)])
def test_no_value(value: Any) -> None:
    """What no attribute can be."""
    with pytest.raises(HeaderError, match=r"InstanceNumber is a number.*, not \w+$"):
        matching(made(), "InstanceNumber", value)


def test_failing_function() -> None:
    """A caller's function that raises is told by name; its words, the patient's maybe, are not."""
    with pytest.raises(HeaderError, match=r"the function of SeriesDescription raised ValueError$"):
        matching(made(), "SeriesDescription", int)
