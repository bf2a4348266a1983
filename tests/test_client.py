"""The client: what it refuses, what it does at the same time, what its options mean."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from seriesio import Client, Limits, Progress, Series, errors
from seriesio.errors import (
    AmbiguousSeriesError,
    ClientClosedError,
    FormatError,
    LocationError,
    NotFoundError,
    TargetExistsError,
    TooLargeError,
    TransportError,
)
from seriesio.testing import Phantom, phantom
from seriesio.transports import _file_tree


@pytest.fixture
def made() -> Phantom:
    return phantom((3, 6, 8))


@pytest.fixture
def folder(made: Phantom, tmp_path: Path) -> Path:
    return made.save(tmp_path / "series")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- its life ---------------------------------------------------------------------------------


async def test_closed_clients(folder: Path, tmp_path: Path) -> None:
    """Before it is entered and after it is closed, every call is a ClientClosedError."""
    series = await Series.open(folder)
    never, closed = Client(), Client()
    async with closed:
        pass
    for client, word in ((never, "not entered"), (closed, "closed")):
        calls: list[Any] = [
            client.open(folder),
            client.summarize(folder),
            client.write(series, tmp_path / "new"),
            client.copy(folder, tmp_path / "new"),
            anext(client.open_all(folder)),
            anext(client.list(folder)),
            series.write(tmp_path / "new", client=client),
        ]
        for call in calls:
            with pytest.raises(ClientClosedError, match=word):
                await call
    assert not (tmp_path / "new").exists()
    for client in (closed,):
        with pytest.raises(ClientClosedError, match="once"):
            async with client:
                pass


async def test_many_opens_at_once(folder: Path, made: Phantom, tmp_path: Path) -> None:
    """32 opens of directories and zips on one client all give the series."""
    zipped = made.save_zip(tmp_path / "a.zip")
    found: list[Series] = []

    async def one(client: Client, url: Path) -> None:
        found.append(await client.open(url))

    async with Client(limits=Limits(threads=3)) as client, anyio.create_task_group() as group:
        for number in range(32):
            group.start_soon(one, client, zipped if number % 2 else folder)
    assert len(found) == 32
    for series in found:
        np.testing.assert_array_equal(series.array, made.array)


async def test_limits(folder: Path) -> None:
    """A volume beyond the memory limit is refused before it is made."""
    async with Client(limits=Limits(memory=100)) as client:
        with pytest.raises(TooLargeError):
            await client.open(folder)
    assert Limits().bytes > 100_000_000


async def test_progress(folder: Path) -> None:
    """A client's progress callback hears of opening; one of the call goes before it."""
    told: list[Progress] = []
    own: list[Progress] = []
    async with Client(progress=told.append) as client:
        await client.open(folder)
        count = len(told)
        await client.open(folder, progress=own.append)
    assert count == len(told) > 0
    assert own[-1].done == own[-1].total == 3


# --- what is behind a URL ---------------------------------------------------------------------


async def test_lists_of_urls(folder: Path, made: Phantom, tmp_path: Path) -> None:
    """A series may lie in several places: a list is read as one, in strings or paths."""
    (tmp_path / "other").mkdir()
    shutil.move(folder / made.names[0], tmp_path / "other" / "one")
    series = await Series.open([str(folder), tmp_path / "other" / "one"])
    np.testing.assert_array_equal(series.array, made.array)
    with pytest.raises(NotFoundError, match="empty list"):
        await Series.open([])


async def test_names_that_mislead(folder: Path, made: Phantom, tmp_path: Path) -> None:
    """The bytes decide what is a zip: without its suffix, a directory with it, DICOM with it."""
    made.save_zip(tmp_path / "archive")
    folder.rename(tmp_path / "dir.zip")
    shutil.copy(tmp_path / "dir.zip" / made.names[1], tmp_path / "dicom.zip")
    for name in ("archive", "dir.zip"):
        np.testing.assert_array_equal((await Series.open(tmp_path / name)).array, made.array)
    single = await Series.open(tmp_path / "dicom.zip")
    np.testing.assert_array_equal(single.array[0], made.array[1])
    with pytest.raises(LocationError, match="directory"):
        await Series.open(f"{tmp_path / 'dir.zip'}?time")
    receipt = await single.write(tmp_path / "dir.zip")
    assert receipt.count == 1
    assert len(list((tmp_path / "dir.zip").iterdir())) == 4
    await single.write(tmp_path / "archive")
    async with Client() as client:
        assert len([entry async for entry in client.list(tmp_path / "archive")]) == 4


async def test_several_series(tmp_path: Path) -> None:
    """summarize and open_all tell of all, open names them, select picks one."""
    for number in (1, 2):
        phantom((3, 6, 8), series_number=number, seed=number).save(tmp_path / "all" / str(number))
    with pytest.raises(AmbiguousSeriesError) as caught:
        await Series.open(tmp_path / "all")
    assert [summary.series_number for summary in caught.value.series] == [1, 2]
    async with Client() as client:
        summaries, report = await client.summarize(tmp_path / "all")
        assert [(s.series_number, s.instances) for s in summaries] == [(1, 3), (2, 3)]
        assert report.found == report.used == 6
        found = [series.seriesNumber async for series in client.open_all(tmp_path / "all")]
    assert found == [1, 2]
    picked = await Series.open(tmp_path / "all", select={"SeriesNumber": 2})
    assert picked.seriesNumber == 2
    with pytest.raises(NotFoundError, match="select"):
        await Series.open(tmp_path / "all", select={"SeriesNumber": 3})


async def test_an_abandoned_open_all(tmp_path: Path) -> None:
    """Leaving open_all after the first series leaves nothing open."""
    for number in (1, 2):
        made = phantom((3, 6, 8), series_number=number, seed=number)
        made.save_zip(tmp_path / "a.zip", folder=str(number)) if number == 1 else made.save(
            tmp_path / "dir"
        )
    async for series in Series.open_all([tmp_path / "a.zip", tmp_path / "dir"]):
        assert series.seriesNumber == 1
        break


# --- copying and listing ----------------------------------------------------------------------


async def test_copy(folder: Path, tmp_path: Path) -> None:
    """Byte for byte, whatever the bytes are, from directory to zip to directory."""
    (folder / "notes.txt").write_bytes(b"no DICOM at all")
    told: list[Progress] = []
    async with Client() as client:
        receipt = await client.copy(folder, tmp_path / "a.zip", progress=told.append)
        await client.copy(tmp_path / "a.zip", tmp_path / "again")
        with pytest.raises(TargetExistsError):
            await client.copy(folder, tmp_path / "again")
        await client.copy(folder, tmp_path / "again", overwrite=True)
        await client.copy(folder / "notes.txt", tmp_path / "notes.dcm")
    assert files(tmp_path / "again") == files(folder)
    assert receipt.count == 4 == told[-1].done
    assert told[-1].bytes == receipt.size
    assert (tmp_path / "notes.dcm").read_bytes() == b"no DICOM at all"


async def test_copies_are_whole(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one may not read ends a copy before anything is there; the error names it."""
    (folder / "locked").mkdir()
    listed = _file_tree._listed

    def refuse(path: str) -> Any:
        if path.endswith("locked"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(_file_tree, "_listed", refuse)
    async with Client() as client:
        for name in ("new", "new.zip"):
            with pytest.raises(TransportError, match="locked"):
                await client.copy(folder, tmp_path / name)
            assert not (tmp_path / name).exists()


async def test_copies_of_what_has_no_bytes(folder: Path, tmp_path: Path) -> None:
    """FIFOs, broken links and further names of files are not copied; the receipt names them."""
    os.mkfifo(folder / "fifo")
    (folder / "broken").symlink_to("nowhere")
    (folder / "again").symlink_to(sorted(os.listdir(folder))[0])
    async with Client() as client:
        receipt = await client.copy(folder, tmp_path / "new")
        whole = await client.copy(tmp_path / "new", tmp_path / "new.zip")
    assert receipt.count == len(os.listdir(tmp_path / "new")) == 3
    assert sorted(receipt.skipped) == ["again", "broken", "fifo"]
    assert whole.skipped == ()


async def test_list(folder: Path, tmp_path: Path) -> None:
    """Listing tells names, kinds and sizes; each URL can be opened or listed again."""
    async with Client() as client:
        (entry,) = [entry async for entry in client.list(tmp_path)]
        assert (entry.name, entry.kind) == ("series", "directory")
        inside = [entry async for entry in client.list(entry.url)]
        assert {entry.name for entry in inside} == set(os.listdir(folder))
        single = await client.open(inside[0].url)
    assert single.shape == (1, 6, 8)


# --- what it refuses --------------------------------------------------------------------------


async def test_options_that_nobody_takes(folder: Path, tmp_path: Path) -> None:
    """An option that the transport does not take is a TypeError that names it."""
    series = await Series.open(folder)
    async with Client() as client:
        calls: list[tuple[Any, str]] = [
            (client.open(folder, pasword="x"), "pasword"),
            (client.open(folder, password="x"), "password"),
            (client.write(series, tmp_path / "new", compresion="x"), "compresion"),
            (client.write(series, tmp_path / "new.zip", compresion="x"), "compresion"),
            (client.copy(folder, tmp_path / "new", foo=1), "foo"),
        ]
        for call, name in calls:
            with pytest.raises(TypeError, match=f"no option {name}"):
                await call
        with pytest.raises(ValueError, match="on_incomplete"):
            await client.open(folder, on_incomplete="ignore")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="compression"):
            await client.write(series, tmp_path / "new.zip", compression="best")
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "new.zip").exists()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://user:secret@host/path",
        "s3://user:secret@host:99999/path",
        "xnat+http://user:secret@[host/path",
        "dicom:/user:secret@host/AET",
        "zip://user:secret@host/a.zip",
        "file://user:secret@host/path",
        "user:secret@host/path",
        "user:secret@host/a.zip?time",
        "xnat//user:secret@host/path",
        "https//user:secret@host",
        "//user:secret@host/path",
        "xnat:///user:secret@host/path",
    ],
)
async def test_urls_that_nobody_serves(url: str, folder: Path) -> None:
    """A LocationError, from every call, that never shows the credentials."""
    series = await Series.open(folder)
    async with Client() as client:
        calls: list[Any] = [
            client.open(url),
            client.write(series, url),
            client.copy(url, folder),
            client.copy(folder, url),
            client.summarize([url]),
        ]
        for call in calls:
            with pytest.raises(LocationError) as caught:
                await call
            assert "secret" not in str(caught.value)
            assert "user" not in repr(caught.value)


async def test_formats_that_do_not_exist(folder: Path, tmp_path: Path) -> None:
    """An unknown format is a FormatError that says which there are."""
    series = await Series.open(folder)
    with pytest.raises(FormatError, match=r"'analyze' is unknown \(built in: dicom, "):
        await series.write(tmp_path / "new", formats=["analyze"])


async def test_nothing_to_open(tmp_path: Path) -> None:
    """Text and pictures make no series: a FormatError that counts what was there."""
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "b.png").write_bytes(b"\x89PNG")
    with pytest.raises(FormatError, match="no readable image"):
        await Series.open(tmp_path)
    assert errors.SeriesIOError in FormatError.__mro__


async def test_damaged_files_keep_their_kind(made: Phantom, tmp_path: Path) -> None:
    """Several damaged files: the error is of the first one's class and names the others."""
    for name, data in made.files().items():
        (tmp_path / name).write_bytes(data[:300])
    with pytest.raises(errors.TruncatedError) as caught:
        await Series.open(tmp_path)
    assert all(name in str(caught.value) for name in made.names)
