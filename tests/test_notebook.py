"""What a series shows in a notebook."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import anyio
import numpy as np
import pytest
from PIL import Image

from seriesio import Series, notebook
from seriesio.errors import MissingDependencyError
from seriesio.testing import phantom


@pytest.fixture
def series(tmp_path: Path) -> Series:
    made = phantom((4, 32, 32), series_description="<b>a & b</b>")
    return anyio.run(Series.open, made.save(tmp_path / "a"))


class Text(HTMLParser):
    """All text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.found.append(data)


def test_html(series: Series) -> None:
    """Shape, spacing and attributes as text, escaped; a montage as PNG; nothing of the patient."""
    page = series._repr_html_()
    text = Text(page).found
    for value in ("slice 4, row 32, column 32", "3, 2, 2 mm", "uint16", "<b>a & b</b>", "CT"):
        assert value in text
    assert str(series.seriesInstanceUID) in text
    found = re.search(r"data:image/png;base64,([^']+)", page)
    assert found is not None
    picture = Image.open(BytesIO(base64.b64decode(found[1])))
    assert picture.format == "PNG"
    assert min(picture.size) >= 32
    for name in ("patientName", "patientID"):
        value = str(getattr(series, name, "") or "-none-")
        assert value not in page


def test_without_pillow(series: Series, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the picture's package, the table is there and says what to install."""

    def fail(_: object) -> bytes:
        raise MissingDependencyError("pip install seriesio[notebook]")

    monkeypatch.setattr(notebook, "thumbnail_png", fail)
    page = series._repr_html_()
    assert "pip install seriesio[notebook]" in page
    assert "<img" not in page
    assert "uint16" in page


def test_parts_and_results(series: Series) -> None:
    """Slices, masks and floats have a picture as well; nothing raises."""
    for part in (series[0], series > 3, series / 7.0, series[:, 3:9, 2:5]):
        assert "<table>" in part._repr_html_()


def test_complex_values_are_shown_by_their_size() -> None:
    """A picture of complex values is that of their magnitudes, without a warning."""
    values = np.random.default_rng(2).normal(size=(3, 8, 8))
    whole = Series.from_array(np.abs(values), spacing=(1, 1, 1))
    turned = Series.from_array(values * 1j, spacing=(1, 1, 1))
    (expected,), (found,) = (
        re.findall(r"data:image/png;base64,([^\"']+)", series._repr_html_())
        for series in (whole, turned)
    )
    assert found == expected
