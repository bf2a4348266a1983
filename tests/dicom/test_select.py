"""select=: numbers as numbers, texts in their character set, functions."""

from __future__ import annotations

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
    ],
)
def test_matching(name: str, value: Any, wanted: list[bool]) -> None:
    """Which of the three instances have the value."""
    assert matching(made(), name, value).tolist() == wanted


def test_no_keyword() -> None:
    """A name that DICOM does not know."""
    with pytest.raises(HeaderError, match="Nonsense"):
        matching(made(), "Nonsense", 1)
