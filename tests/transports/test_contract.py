"""The contract of transports, held by each of them."""

from __future__ import annotations

import os
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from seriesio.blob import Blob, MemoryBlob
from seriesio.location import parse_location
from seriesio.offload import Workers
from seriesio.testing import Place, TransportContract
from seriesio.transports._zip_transport import ZipTransport
from seriesio.transports.file import FileTransport


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def traces(folder: Path) -> list[tuple[str, bytes]]:
    """Every name below a folder, files with their content."""
    return sorted(
        (str(path.relative_to(folder)), path.read_bytes() if path.is_file() else b"/")
        for path in folder.rglob("*")
    )


def members(path: Path, folder: str) -> dict[str, bytes]:
    if not path.exists():
        return {}
    with zipfile.ZipFile(path) as archive:
        return {
            name.removeprefix(folder): archive.read(name)
            for name in archive.namelist()
            if name.startswith(folder)
        }


class TestDirectory(TransportContract):
    """A directory that is still to be made."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        folder = tmp_path / "new" / "series"
        return Place(
            lambda: FileTransport(parse_location(folder), Workers()),
            lambda: files_below(folder),
            lambda: traces(tmp_path),
        )


class TestZip(TransportContract):
    """A zip file that is still to be made."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        path = tmp_path / "series.zip"
        return Place(
            lambda: ZipTransport(parse_location(path), Workers()),
            lambda: members(path, ""),
            lambda: traces(tmp_path),
        )


class TestDirectoryInZip(TransportContract):
    """A directory in a zip file that has others."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        path = tmp_path / "series.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("other/IM00001.dcm", b"other")
        where = f"{os.fspath(path)}?time/one"
        return Place(
            lambda: ZipTransport(parse_location(where), Workers()),
            lambda: members(path, "time/one/"),
            lambda: traces(tmp_path),
        )

    async def read(self, place: Place) -> dict[str, bytes]:
        """Selected members keep their place in the zip as their name."""
        found = await super().read(place)
        return {name.removeprefix("time/one/"): data for name, data in found.items()}

    async def test_two_readers_of_a_blob(self, place: Place) -> None:
        """Held by the zip as a whole already; names differ here."""

    async def test_list(self, place: Place) -> None:
        """Entries of a directory in a zip have their whole names."""
        await place.transport().write(_one())
        assert [e.name async for e in place.transport().list()] == ["time/one/name"]


async def _one() -> AsyncIterator[Blob]:
    yield MemoryBlob("name", b"data")
