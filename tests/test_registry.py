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
from seriesio.registry import format_for, guests, is_guest, open_transport, transport_for
from seriesio.transports.file import FileTransport


def test_built_in() -> None:
    """Files, zips and DICOM are there."""
    assert transport_for("file") is FileTransport
    assert isinstance(format_for("dicom"), DicomFormat)


def test_unknown() -> None:
    """Errors say what is built in."""
    known = r"dicom, dicoms, file, xnat, xnat\+http, zip"
    with pytest.raises(LocationError, match=rf"ftp:// \(built in: {known}\)"):
        transport_for("ftp")
    known = "dicom, matlab, metaimage, nifti, nrrd, png, postscript, tiff"
    with pytest.raises(FormatError, match=rf"'analyze' is unknown \(built in: {known}\)"):
        format_for("analyze")


def test_guests() -> None:
    """The built-in guests say what they take, and none claims DICOM, text or nothing."""
    found = guests()
    assert list(found) == ["nifti", "metaimage", "nrrd", "matlab", "postscript", "png", "tiff"]
    for guest in found.values():
        assert is_guest(guest)
        assert isinstance(getattr(guest, "read_options", None), frozenset)
        assert isinstance(getattr(guest, "write_options", None), frozenset)
        for head in (b"\0" * 128 + b"DICM" + b"\0" * 200, b"some text\n", b""):
            assert not guest.claims("a.nii.gz", head)
    assert not is_guest(format_for("dicom"))


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
