"""Schemes and formats: the built-in ones, those of other packages, and unknown ones."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from seriesio import registry
from seriesio.errors import FormatError, LocationError
from seriesio.formats.dicom import DicomFormat
from seriesio.offload import Workers
from seriesio.registry import format_for, open_transport, transport_for
from seriesio.transports.file import FileTransport


def test_built_in() -> None:
    """Files, zips and DICOM are there."""
    assert transport_for("file") is FileTransport
    assert isinstance(format_for("dicom"), DicomFormat)


def test_unknown() -> None:
    """Errors say what is built in."""
    with pytest.raises(LocationError, match=r"ftp:// \(built in: file, zip\)"):
        transport_for("ftp")
    with pytest.raises(FormatError, match=r"'nifti' is unknown"):
        format_for("nifti")


class Other:
    """Another package's transport: it takes whatever options there are."""

    def __init__(self, location: Any, workers: Workers, **options: Any) -> None:
        self.options = options


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(group: str, name: str) -> EntryPoints:
        value = f"{__name__}:Other"
        if (group, name) != ("seriesio.transports", "other"):
            return EntryPoints()
        entry = EntryPoint(name, value, group)
        monkeypatch.setattr(EntryPoint, "load", lambda _: Other)
        return EntryPoints([entry])

    monkeypatch.setattr(registry, "entry_points", found)


def test_entry_points(entries: None) -> None:
    """Another package's transport serves its scheme."""
    found: Any = transport_for("other")
    assert found is Other


async def test_options_of_others(entries: None) -> None:
    """A transport that takes any options gets them."""
    transport: Any = await open_transport("other://host/path", Workers(), {"anything": 1})
    assert transport.options == {"anything": 1}


async def test_options_of_ours(tmp_path: Path) -> None:
    """Ours name what they take."""
    with pytest.raises(TypeError, match=r"no option anything .*it takes none"):
        await open_transport(tmp_path, Workers(), {"anything": 1})
    with pytest.raises(TypeError, match="options are compression, level, password"):
        await open_transport(tmp_path / "a.zip", Workers(), {"anything": 1})
