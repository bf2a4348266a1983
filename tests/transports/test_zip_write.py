"""Writing zip files; the oracles are zipfile and unzip."""

from __future__ import annotations

import random
import subprocess
import time
import zipfile
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest

from seriesio.blob import Blob, MemoryBlob
from seriesio.errors import ArchiveError, NotFoundError, TargetExistsError, TransportError
from seriesio.offload import Workers
from seriesio.protocols import Receipt
from seriesio.transports import _zip_records, _zip_writer
from seriesio.transports import zip as zip_transport
from seriesio.transports.zip import ZipSink, ZipSource

Compression = Literal["deflated", "stored"]
FILES = {
    "time/1.dcm": random.Random(1).randbytes(300_000) + bytes(300_000),
    "time/2.dcm": b"pixels" * 100_000,
    "empty": b"",
    "größe/面": b"named in UTF-8",
}


async def given(files: dict[str, bytes]) -> AsyncIterator[Blob]:
    for name, data in files.items():
        yield MemoryBlob(name, data)


async def written(
    path: Path,
    files: dict[str, bytes],
    *,
    overwrite: bool = False,
    compression: Compression = "deflated",
    level: int | None = None,
) -> Receipt:
    sink = ZipSink(str(path), compression=compression, level=level, workers=Workers(2))
    return await sink.write(given(files), overwrite=overwrite)


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def unzip_accepts(path: Path, tool: Callable[[str], str]) -> bool:
    result = subprocess.run([tool("unzip"), "-tqq", str(path)], capture_output=True, check=False)
    return result.returncode == 0


@pytest.mark.parametrize("compression", ["deflated", "stored"])
async def test_a_new_zip(
    tmp_path: Path, tool: Callable[[str], str], compression: Compression
) -> None:
    """All blobs stand in the zip, in order, as zipfile and unzip see it."""
    receipt = await written(tmp_path / "a.zip", FILES, compression=compression)
    assert contents(tmp_path / "a.zip") == FILES
    assert unzip_accepts(tmp_path / "a.zip", tool)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    size = sum(map(len, FILES.values()))
    assert receipt == Receipt(str(tmp_path / "a.zip"), tuple(FILES), 4, size)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == list(FILES)
        for info in archive.infolist():
            expected = 0 if compression == "stored" else 8
            assert (info.compress_type, info.external_attr >> 16) == (expected, 0o100644)
            age = datetime.now() - datetime(*info.date_time)
            assert timedelta(seconds=-2) <= age < timedelta(minutes=3)


async def test_our_own_reader_reads_it(tmp_path: Path) -> None:
    """What the sink writes, the source gives back."""
    await written(tmp_path / "a.zip", FILES)
    source = ZipSource(str(tmp_path / "a.zip"), workers=Workers())
    assert [blob.name async for blob in source.read()] == sorted(FILES)


async def test_order_of_many(tmp_path: Path) -> None:
    """Members of very different size, packed side by side, stand in the order they came."""
    rng = random.Random(2)
    sizes = [rng.choice([0, 10, 5000, 700_000]) for _ in range(60)]
    files = {f"{index:02d}": rng.randbytes(size // 2) * 2 for index, size in enumerate(sizes)}
    receipt = await written(tmp_path / "a.zip", files)
    assert contents(tmp_path / "a.zip") == files
    assert list(contents(tmp_path / "a.zip")) == list(files) == list(receipt.names)


async def test_size_is_near_zipfiles(tmp_path: Path) -> None:
    """The deflated zip is at most 10 % larger than zipfile's at its default level."""
    rng = random.Random(3)
    noise = [max(0, int(rng.gauss(1000, 12))).to_bytes(2, "little") for _ in range(100_000)]
    files = {"a": b"".join(noise), "b": FILES["time/2.dcm"]}
    await written(tmp_path / "a.zip", files)
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    assert (tmp_path / "a.zip").stat().st_size <= 1.1 * (tmp_path / "b.zip").stat().st_size


async def test_append_keeps_the_old_members_raw(tmp_path: Path, tool: Callable[[str], str]) -> None:
    """Appending copies the old bytes as they are, with comment and mode."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("old/1", b"old" * 1000)
        archive.mkdir("folder")
        archive.comment = b"kept"
        end = archive.start_dir
    (tmp_path / "a.zip").chmod(0o640)
    before = (tmp_path / "a.zip").read_bytes()
    await written(tmp_path / "a.zip", FILES)
    after = (tmp_path / "a.zip").read_bytes()
    assert after[:end] == before[:end]
    assert contents(tmp_path / "a.zip") == {"old/1": b"old" * 1000, "folder/": b"", **FILES}
    assert unzip_accepts(tmp_path / "a.zip", tool)
    assert (tmp_path / "a.zip").stat().st_mode & 0o777 == 0o640
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.comment == b"kept"


async def test_append_behind_other_bytes(tmp_path: Path) -> None:
    """A zip behind a program stays one: offsets go on counting from where the zip begins."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("old", b"1")
    (tmp_path / "a.zip").write_bytes(b"#!/bin/sh\n" + (tmp_path / "a.zip").read_bytes())
    await written(tmp_path / "a.zip", {"new": b"2"})
    assert contents(tmp_path / "a.zip") == {"old": b"1", "new": b"2"}
    assert (tmp_path / "a.zip").read_bytes().startswith(b"#!/bin/sh\n")


async def test_append_through_a_link(tmp_path: Path) -> None:
    """A symbolic link stays a link; the file it points to is the one that grows."""
    await written(tmp_path / "a.zip", {"1": b"1"})
    (tmp_path / "link.zip").symlink_to("a.zip")
    await written(tmp_path / "link.zip", {"2": b"2"})
    assert (tmp_path / "link.zip").is_symlink()
    assert contents(tmp_path / "a.zip") == {"1": b"1", "2": b"2"}


async def test_an_empty_file_is_an_empty_zip(tmp_path: Path) -> None:
    """A file without bytes can be appended to."""
    (tmp_path / "a.zip").touch()
    await written(tmp_path / "a.zip", {"1": b"1"})
    assert contents(tmp_path / "a.zip") == {"1": b"1"}


async def test_nothing_to_write(tmp_path: Path) -> None:
    """No blobs make no file, and leave an old one as it is."""
    receipt = await written(tmp_path / "a.zip", {})
    assert receipt.count == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("taken", ["old", "1"])
async def test_a_taken_name(tmp_path: Path, taken: str) -> None:
    """A name that is there, or comes twice, is an error and changes nothing."""
    await written(tmp_path / "a.zip", {"old": b"old"})
    before = (tmp_path / "a.zip").read_bytes()

    async def blobs() -> AsyncIterator[Blob]:
        yield MemoryBlob("1", b"1")
        yield MemoryBlob(taken, b"2")

    sink = ZipSink(str(tmp_path / "a.zip"), workers=Workers())
    with pytest.raises(TargetExistsError, match=repr(taken)):
        await sink.write(blobs())
    assert (tmp_path / "a.zip").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1
    await sink.write(blobs(), overwrite=True)
    expected = {"old": b"old", "1": b"1", taken: b"2"}
    assert contents(tmp_path / "a.zip") == expected
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert len(archive.namelist()) == len(expected)


@pytest.mark.parametrize("name", ["../x", "/x", "C:\\x", "a\\b", "a\0", "", "a//b", "d/", "\udc80"])
async def test_impossible_names(tmp_path: Path, name: str) -> None:
    """A name that could not be read back safely is refused."""
    with pytest.raises(ArchiveError, match="cannot be a member's name"):
        await written(tmp_path / "a.zip", {name: b"x"})
    assert list(tmp_path.iterdir()) == []


async def test_a_damaged_zip_is_not_appended_to(tmp_path: Path) -> None:
    """What is no whole zip file stays as it is."""
    (tmp_path / "a.zip").write_bytes(b"precious")
    with pytest.raises(ArchiveError, match="not a zip file"):
        await written(tmp_path / "a.zip", FILES)
    assert (tmp_path / "a.zip").read_bytes() == b"precious"
    assert len(list(tmp_path.iterdir())) == 1


async def test_no_such_directory(tmp_path: Path) -> None:
    """Missing directories are not made."""
    with pytest.raises(NotFoundError, match="no such directory"):
        await written(tmp_path / "missing" / "a.zip", FILES)
    with pytest.raises(TransportError):
        await written(Path(f"{tmp_path}/a\0.zip"), FILES)


def test_bad_options() -> None:
    """Unknown compressions and levels are errors at once."""
    with pytest.raises(ValueError, match="compression"):
        ZipSink("a.zip", compression="lzma", workers=Workers())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="level"):
        ZipSink("a.zip", level=10, workers=Workers())


async def test_level(tmp_path: Path) -> None:
    """Level 0 packs nothing, level 9 packs."""
    await written(tmp_path / "0.zip", FILES, level=0)
    await written(tmp_path / "9.zip", FILES, level=9)
    assert contents(tmp_path / "0.zip") == contents(tmp_path / "9.zip") == FILES
    assert (tmp_path / "0.zip").stat().st_size > 1_200_000 > (tmp_path / "9.zip").stat().st_size


@pytest.mark.parametrize("compression", ["deflated", "stored"])
async def test_large_blobs_are_packed_in_steps(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tool: Callable[[str], str],
    compression: Compression,
) -> None:
    """Large members between small ones keep their place and their headers, zip64 ones too."""
    monkeypatch.setattr(zip_transport, "LARGE", 100_000)
    monkeypatch.setattr(_zip_writer, "_PACK_STEP", 70_000)
    monkeypatch.setattr(_zip_writer, "_WIDE_FROM", 600_000)
    await written(tmp_path / "a.zip", FILES, compression=compression)
    assert list(contents(tmp_path / "a.zip").items()) == list(FILES.items())
    assert unzip_accepts(tmp_path / "a.zip", tool)
    source = ZipSource(str(tmp_path / "a.zip"), workers=Workers())
    assert [blob.name async for blob in source.read()] == sorted(FILES)


async def test_zip64_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: Callable[[str], str]
) -> None:
    """Beyond the limits (lowered here) offsets, sizes and counts stand in zip64 records."""
    monkeypatch.setattr(_zip_records, "LIMIT32", 1000)
    monkeypatch.setattr(_zip_records, "LIMIT16", 3)
    await written(tmp_path / "a.zip", FILES)
    await written(tmp_path / "a.zip", {"more": b"more"})
    expected = {**FILES, "more": b"more"}
    assert b"PK\6\6" in (tmp_path / "a.zip").read_bytes()
    assert contents(tmp_path / "a.zip") == expected
    assert unzip_accepts(tmp_path / "a.zip", tool)
    source = ZipSource(str(tmp_path / "a.zip"), workers=Workers())
    assert [(blob.name, blob.size) async for blob in source.read()] == sorted(
        (name, len(data)) for name, data in expected.items()
    )


async def test_times_before_1980(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that stands at 1970 gives the first time that zip can hold."""
    monkeypatch.setattr(time, "time", lambda: 86_400 * 100.0)
    await written(tmp_path / "a.zip", {"x": b"x"})
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.infolist()[0].date_time[0] == 1980


@pytest.mark.slow
async def test_seventy_thousand_members(tmp_path: Path) -> None:
    """More than 65,535 members get a zip64 directory, which zipfile and our reader know."""
    files = {f"{index:05d}": b"" for index in range(70_000)}
    await written(tmp_path / "a.zip", files, compression="stored")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == list(files)
    source = ZipSource(str(tmp_path / "a.zip"), workers=Workers())
    assert [blob.name async for blob in source.read()] == list(files)
