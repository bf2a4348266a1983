"""Writes that fail, are cancelled or are disturbed: the old zip whole, nothing left behind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import types
import zipfile
from collections.abc import AsyncIterator, Callable, Generator
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest

from seriesio.blob import Blob, BlobReader, MemoryBlob
from seriesio.errors import TransportError
from seriesio.offload import Workers
from seriesio.transports import _zip_files, _zip_writer
from seriesio.transports import zip as zip_transport
from seriesio.transports.zip import ZipSink

R = TypeVar("R")
OLD = {"old/1": b"1" * 100_000, "old/2": b"2"}
NEW = {f"new/{index}": bytes([index]) * 600_000 for index in range(6)}


def old_zip(path: Path) -> bytes:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in OLD.items():
            archive.writestr(name, data)
    return path.read_bytes()


async def new_blobs() -> AsyncIterator[Blob]:
    for name, data in NEW.items():
        await anyio.lowlevel.checkpoint()
        yield MemoryBlob(name, data)


def names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return archive.namelist()


class CancellingWorkers(Workers):
    """Cancels the call at one of its thread hops: before it, or while its thread runs."""

    def __init__(self, scope: anyio.CancelScope, at: int, late: bool) -> None:
        super().__init__(2)
        self._scope = scope
        self._at = at
        self._late = late
        self._hops = 0
        self.cancelled = False

    async def run(self, function: Callable[..., R], *args: object) -> R:
        self._hops += 1
        if self._hops == self._at:
            self.cancelled = True
            if not self._late:
                self._scope.cancel()
            else:

                def then_cancel(*args: object) -> R:
                    anyio.from_thread.run_sync(self._scope.cancel)
                    return function(*args)

                return await super().run(then_cancel, *args)
        return await super().run(function, *args)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("large", [False, True])
async def test_cancelled_at_every_hop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool, large: bool
) -> None:
    """Cancelled at whatever hop: no part file; the old zip whole, or the new one complete."""
    monkeypatch.setattr(_zip_writer, "_COPY_STEP", 40_000)
    monkeypatch.setattr(_zip_writer, "_PACK_STEP", 250_000)
    monkeypatch.setattr(zip_transport, "LARGE", 100_000 if large else 1 << 30)
    hops, cancelled = 0, True
    while cancelled:
        hops += 1
        before = old_zip(tmp_path / "a.zip")
        with anyio.CancelScope() as scope:
            workers = CancellingWorkers(scope, hops, late)
            await ZipSink(str(tmp_path / "a.zip"), workers=workers).write(new_blobs())
        cancelled = workers.cancelled
        assert os.listdir(tmp_path) == ["a.zip"]
        assert (tmp_path / "a.zip").read_bytes() == before or names(tmp_path / "a.zip") == [
            *OLD,
            *NEW,
        ]
    assert hops > (20 if large else 10)


async def test_cancelled_at_every_turn_of_the_loop(tmp_path: Path) -> None:
    """Cancelled after any number of turns of the event loop, a new zip is there whole or not."""
    for turns in range(0, 120, 3):
        async with anyio.create_task_group() as group:
            sink = ZipSink(str(tmp_path / "a.zip"), workers=Workers(2))
            group.start_soon(sink.write, new_blobs())
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        if os.listdir(tmp_path):
            assert os.listdir(tmp_path) == ["a.zip"]
            assert names(tmp_path / "a.zip") == list(NEW)
            (tmp_path / "a.zip").unlink()


class Interrupt(BaseException):
    """Like KeyboardInterrupt, without ending the test run."""


@pytest.mark.parametrize("error", [RuntimeError("source broke"), Interrupt()])
async def test_a_source_that_fails(tmp_path: Path, error: BaseException) -> None:
    """Whatever the source raises goes through, and the old zip stays."""
    before = old_zip(tmp_path / "a.zip")

    async def failing() -> AsyncIterator[Blob]:
        async for blob in new_blobs():
            yield blob
            if blob.name.endswith("3"):
                raise error

    sink = ZipSink(str(tmp_path / "a.zip"), workers=Workers())
    with pytest.raises((RuntimeError, BaseExceptionGroup)):
        await sink.write(failing())
    assert os.listdir(tmp_path) == ["a.zip"]
    assert (tmp_path / "a.zip").read_bytes() == before


class InlineWorkers(Workers):
    """Runs at once, and lets go of control once after each hop."""

    async def run(self, function: Callable[..., R], *args: object) -> R:
        result = function(*args)
        await pause()
        return result


@types.coroutine
def pause() -> Generator[None, None, None]:
    yield


def test_closed_from_outside(tmp_path: Path) -> None:
    """A coroutine that is closed where no loop runs leaves nothing either."""
    before = old_zip(tmp_path / "a.zip")
    call = ZipSink(str(tmp_path / "a.zip"), workers=InlineWorkers()).write(new_blobs())
    call.send(None)
    assert len(os.listdir(tmp_path)) == 2
    call.close()
    assert os.listdir(tmp_path) == ["a.zip"]
    assert (tmp_path / "a.zip").read_bytes() == before


class ShortBlob:
    """Announces more than it holds."""

    name = "short"
    size = 1000
    sequential = False

    def open(self) -> BlobReader:
        return MemoryBlob("short", b"x" * 10).open()


@pytest.mark.parametrize("large", [False, True])
async def test_a_blob_shorter_than_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    """A blob that ends early is an error that names it, large or small."""
    monkeypatch.setattr(zip_transport, "LARGE", 100 if large else 1 << 30)

    async def blobs() -> AsyncIterator[Blob]:
        yield ShortBlob()

    with pytest.raises(TransportError, match="short: ends 990 bytes short"):
        await ZipSink(str(tmp_path / "a.zip"), workers=Workers()).write(blobs())
    assert os.listdir(tmp_path) == []


FULL_DISK = """
import resource, sys, anyio
from seriesio.blob import MemoryBlob
from seriesio.errors import TransportError
from seriesio.offload import Workers
from seriesio.transports.zip import ZipSink

async def blobs():
    for index in range(20):
        yield MemoryBlob(f"new/{index}", bytes(100_000))

async def main():
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
    try:
        await ZipSink(sys.argv[1], compression="stored", workers=Workers()).write(blobs())
    except TransportError as error:
        assert error.errno and "a.zip" in str(error), error
    else:
        sys.exit("it was written")

anyio.run(main)
"""


@pytest.mark.parametrize("limit", [50_000, 150_000, 1_000_000, 2_100_900])
def test_no_room(tmp_path: Path, limit: int) -> None:
    """No room for the old bytes, a member or the directory: an error, and no trace."""
    before = old_zip(tmp_path / "a.zip")
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "a.zip"), str(limit)]
    subprocess.run(command, check=True)
    assert os.listdir(tmp_path) == ["a.zip"]
    assert (tmp_path / "a.zip").read_bytes() == before


@pytest.mark.parametrize("call", ["fsync", "replace", "fchmod", "writev"])
async def test_a_call_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Whichever call of the system fails: an error with its number, and the old zip whole."""
    before = old_zip(tmp_path / "a.zip")

    def failing(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        with pytest.raises(TransportError) as caught:
            await ZipSink(str(tmp_path / "a.zip"), workers=Workers()).write(new_blobs())
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(tmp_path) == ["a.zip"]
    assert (tmp_path / "a.zip").read_bytes() == before


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EIO, None])
async def test_copying_without_the_kernels_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    """Where the kernel cannot copy between the files, the bytes go through us; errors do not."""
    before = old_zip(tmp_path / "a.zip")

    def failing(*args: object) -> int:
        raise AttributeError if number is None else OSError(number, "no")

    monkeypatch.setattr(os, "copy_file_range", failing)
    monkeypatch.setattr(_zip_files, "_STEP", 999)
    sink = ZipSink(str(tmp_path / "a.zip"), workers=Workers())
    if number == errno.EIO:
        with pytest.raises(TransportError):
            await sink.write(new_blobs())
        assert (tmp_path / "a.zip").read_bytes() == before
    else:
        await sink.write(new_blobs())
        assert names(tmp_path / "a.zip") == [*OLD, *NEW]


async def test_writes_in_small_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that takes fewer bytes than it is given gets the rest again."""
    writev, write = os.writev, os.write
    monkeypatch.setattr(os, "writev", lambda fd, parts: writev(fd, [b"".join(parts)[:7]]))
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:100_000])))
    await ZipSink(str(tmp_path / "a.zip"), workers=Workers()).write(new_blobs())
    assert names(tmp_path / "a.zip") == list(NEW)


def changed_by_another(path: Path, change: str) -> None:
    if change == "grown":
        path.write_bytes(path.read_bytes() + b"more")
    elif change == "replaced":
        path.with_name("b").write_bytes(path.read_bytes())
        path.with_name("b").replace(path)
    else:
        path.unlink()


def all_bytes(folder: Path, pattern: str) -> list[bytes]:
    return [path.read_bytes() for path in folder.glob(pattern)]


@pytest.mark.parametrize("change", ["grown", "replaced", "removed"])
async def test_an_old_zip_that_changes_meanwhile(tmp_path: Path, change: str) -> None:
    """What another did to the old zip meanwhile is noticed, and stays."""
    old_zip(tmp_path / "a.zip")

    async def blobs() -> AsyncIterator[Blob]:
        yield MemoryBlob("x", b"x")
        await anyio.to_thread.run_sync(changed_by_another, tmp_path / "a.zip", change)
        changed.extend(await anyio.to_thread.run_sync(all_bytes, tmp_path, "a.zip"))

    changed: list[bytes] = []
    with pytest.raises(TransportError, match="changed by another"):
        await ZipSink(str(tmp_path / "a.zip"), workers=Workers()).write(blobs())
    assert all_bytes(tmp_path, "*") == changed


@pytest.mark.parametrize("links", [True, False])
async def test_a_zip_that_appears_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """A new zip does not take the place of a file that was made meanwhile."""
    if not links:

        def unsupported(*args: object) -> None:
            raise OSError(errno.EOPNOTSUPP, "no hard links here")

        monkeypatch.setattr(os, "link", unsupported)

    async def blobs() -> AsyncIterator[Blob]:
        yield MemoryBlob("x", b"x")
        await anyio.to_thread.run_sync((tmp_path / "a.zip").write_bytes, b"theirs")

    sink = ZipSink(str(tmp_path / "a.zip"), workers=Workers())
    with pytest.raises(TransportError, match="appeared"):
        await sink.write(blobs())
    assert all_bytes(tmp_path, "*") == [b"theirs"]
    (tmp_path / "a.zip").unlink()
    await sink.write(new_blobs())
    assert names(tmp_path / "a.zip") == list(NEW)
    assert os.listdir(tmp_path) == ["a.zip"]


async def test_two_writers(tmp_path: Path) -> None:
    """Two appends at the same time: one of them does all, the other changes nothing."""
    old_zip(tmp_path / "a.zip")
    sink = ZipSink(str(tmp_path / "a.zip"), workers=Workers())

    async def during() -> AsyncIterator[Blob]:
        with pytest.raises(TransportError, match="another writer"):
            await sink.write(new_blobs())
        yield MemoryBlob("x", b"x")

    await sink.write(during())
    assert names(tmp_path / "a.zip") == [*OLD, "x"]
    await sink.write(new_blobs())
    assert names(tmp_path / "a.zip") == [*OLD, "x", *NEW]


async def test_memory_is_bounded(tmp_path: Path) -> None:
    """However fast the source is, at most threads + 1 members are under way."""
    under_way, most = 0, 0

    class Counted:
        size = 600_000
        sequential = False

        def __init__(self, name: str) -> None:
            self.name = name

        def open(self) -> BlobReader:
            return MemoryBlob("x", bytes(600_000)).open()

    async def blobs() -> AsyncIterator[Blob]:
        nonlocal under_way, most
        for index in range(30):
            under_way = index - finished
            most = max(most, under_way)
            yield Counted(str(index))

    finished = 0

    class Watching(Workers):
        async def run(self, function: Callable[..., R], *args: object) -> R:
            nonlocal finished
            result = await super().run(function, *args)
            finished += isinstance(result, int) and not isinstance(result, bool) and result
            return result

    await ZipSink(str(tmp_path / "a.zip"), workers=Watching(2)).write(blobs())
    assert most <= 2 + 1 + 1  # and the one that waits for its turn
