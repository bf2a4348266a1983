"""Files and directories as source, sink and catalogue; the oracle is the file system itself."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from seriesio import disk, native
from seriesio.blob import Blob, FileBlob, MemoryBlob, PiecesBlob, read_all
from seriesio.errors import LocationError, NotFoundError, TargetExistsError, TransportError
from seriesio.location import parse_location
from seriesio.offload import Workers
from seriesio.protocols import Receipt
from seriesio.transports import _file_tree, _file_writing
from seriesio.transports.file import FileTransport


def transport(path: Path) -> FileTransport:
    return FileTransport(parse_location(path), Workers(2))


async def blobs(path: Path) -> dict[str, bytes]:
    found = [blob async for blob in transport(path).read()]
    return {blob.name: bytes(await anyio.to_thread.run_sync(read_all, blob)) for blob in found}


async def given(files: dict[str, bytes]) -> AsyncIterator[Blob]:
    for name, data in files.items():
        yield MemoryBlob(name, data)


async def written(path: Path, files: dict[str, bytes], *, overwrite: bool = False) -> Receipt:
    return await transport(path).write(given(files), overwrite=overwrite)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# --- reading ---------------------------------------------------------------------------------


async def test_a_tree_may_hold_anything(tmp_path: Path) -> None:
    """Regular files are read, sorted by name; FIFOs, sockets and broken links are told of."""
    (tmp_path / "b").mkdir()
    for name in ("z", "b/2", "b/1", "a"):
        (tmp_path / name).write_text(name)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "broken").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))
        source = transport(tmp_path)
        found = [blob.name async for blob in source.read()]
    assert found == ["a", "b/1", "b/2", "z"]
    assert sorted(source.skipped) == [
        ("broken", "broken link"),
        ("fifo", "no regular file"),
        ("loop", "broken link"),
        ("socket", "no regular file"),
    ]


async def test_files_with_several_names(tmp_path: Path) -> None:
    """A file counts once: under its own name before a link's, whichever sorts first."""
    (tmp_path / "m").write_bytes(b"file")
    (tmp_path / "a-link").symlink_to("m")
    os.link(tmp_path / "m", tmp_path / "n-hard")
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.write_bytes(b"outside")
    (tmp_path / "b-link").symlink_to(outside)
    (tmp_path / "c-link").symlink_to(outside)
    source = transport(tmp_path)
    assert [blob.name async for blob in source.read()] == ["b-link", "m"]
    assert sorted(name for name, _ in source.skipped) == ["a-link", "c-link", "n-hard"]


async def test_a_directory_reached_twice(tmp_path: Path) -> None:
    """A directory that links lead to as well is read once."""
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "file").write_bytes(b"x")
    (tmp_path / "same").symlink_to("dir")
    assert len(await blobs(tmp_path)) == 1


async def test_files_that_are_being_written(tmp_path: Path) -> None:
    """Half a file of a writer beside us is not taken for a damaged one."""
    Path(disk.part_name(str(tmp_path))).write_bytes(b"half")
    (tmp_path / "whole").write_bytes(b"whole")
    source = transport(tmp_path)
    assert [blob.name async for blob in source.read()] == ["whole"]
    assert [reason for _, reason in source.skipped] == ["still being written"]
    assert [entry.name async for entry in source.list()] == ["whole"]


async def test_a_single_file(tmp_path: Path) -> None:
    """A file is one blob under its own name, and one entry."""
    (tmp_path / "one").write_bytes(b"data")
    assert await blobs(tmp_path / "one") == {"one": b"data"}
    (entry,) = [entry async for entry in transport(tmp_path / "one").list()]
    assert (entry.name, entry.kind, entry.size) == ("one", "file", 4)


async def test_what_cannot_be_read(tmp_path: Path) -> None:
    """No such path, an empty directory and a device are errors that name the path."""
    for path in (tmp_path / "none", tmp_path, tmp_path / "none" / "below"):
        with pytest.raises(NotFoundError, match=tmp_path.name):
            await blobs(path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(TransportError, match="neither a file nor a directory"):
        await blobs(tmp_path / "fifo")


async def test_a_directory_that_cannot_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below the root it is skipped and told of; the root itself is an error."""
    (tmp_path / "locked").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    listed = _file_tree._listed

    def refuse(path: str) -> Any:
        if path.endswith(refused):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(_file_tree, "_listed", refuse)
    refused = "locked"
    source = transport(tmp_path)
    assert [blob.name async for blob in source.read()] == ["file"]
    assert list(source.skipped) == [("locked", "unreadable")]
    refused = tmp_path.name
    with pytest.raises(TransportError, match="Permission denied"):
        await blobs(tmp_path)


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENOENT])
async def test_a_disk_that_fails_below_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """What fails for want of anything but permission is an error: files would be missing."""
    (tmp_path / "below").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    listed = _file_tree._listed

    def fail(path: str) -> Any:
        if path.endswith("below"):
            raise OSError(code, os.strerror(code), path)
        return listed(path)

    monkeypatch.setattr(_file_tree, "_listed", fail)
    with pytest.raises(TransportError, match="below") as caught:
        await blobs(tmp_path)
    assert caught.value.errno == code


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.EIO, None),
        (errno.ESTALE, None),
        (errno.ENOENT, None),
        (errno.EACCES, "unreadable"),
        (errno.EPERM, "unreadable"),
    ],
)
def test_an_entry_that_cannot_be_looked_at(code: int, reason: str | None) -> None:
    """An entry is skipped for want of permission only; any other failure is an error."""
    walk, entry = _file_tree._Walk(), ("entry", code, 0, 0, 0, 0, 0)
    if reason is None:
        with pytest.raises(TransportError, match="entry"):
            walk._is_folder(entry, "", "/nowhere/")
    else:
        assert not walk._is_folder(entry, "", "/nowhere/")
        assert walk.skipped == [("entry", reason)]


@pytest.mark.parametrize("way", ["compiled", "Python"])
def test_what_stands_in_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Each entry as lstat has it, links themselves, whatever its name is made of."""
    if way == "Python":
        monkeypatch.setattr(_file_tree, "listing", lambda _: None)
    elif native.listing(str(tmp_path)) is None:
        pytest.skip("compiled code was not built")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("nowhere")
    for number, name in enumerate(
        [".hidden", "Größe", "two\nlines", "x" * 255, os.fsdecode(b"\xff")]
    ):
        (tmp_path / name).write_bytes(bytes(number))
    expected = []
    for name in os.listdir(tmp_path):
        status = (tmp_path / name).lstat()
        about = status.st_size, status.st_dev, status.st_ino, status.st_mtime_ns
        expected.append((name, 0, status.st_mode, *about))
    assert sorted(_file_tree._listed(str(tmp_path))) == sorted(expected)
    for number in range(200):  # more than there was room for at first
        (tmp_path / f"more{number}").touch()
    assert len(_file_tree._listed(str(tmp_path))) == len(expected) + 200
    for path in (tmp_path / "none", tmp_path / "fifo"):
        with pytest.raises(OSError, match=path.name):
            _file_tree._listed(str(path))
    with pytest.raises(ValueError, match="null"):
        _file_tree._listed("a\0b")


@pytest.mark.parametrize("way", ["compiled", "Python"])
@pytest.mark.parametrize("seconds", [1 << 33, (1 << 63) // 10**9, -7])
async def test_times_that_are_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, seconds: int
) -> None:
    """A file that was changed in a year of which nanoseconds have more than 64 bits is read."""
    (tmp_path / "far").write_bytes(b"data")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "link").symlink_to(tmp_path / "far")
    os.utime(tmp_path / "far", ns=(0, seconds * 10**9 + 5))
    if (tmp_path / "far").stat().st_mtime_ns != seconds * 10**9 + 5:
        pytest.skip("the file system keeps no such times")
    if way == "Python":
        monkeypatch.setattr(_file_tree, "listing", lambda _: None)
    elif native.listing(str(tmp_path)) is None:
        pytest.skip("compiled code was not built")
    expected = seconds * 10**9 + 5 if seconds < (1 << 63) // 10**9 else native.UNSEEN
    listed = await anyio.to_thread.run_sync(_file_tree._listed, str(tmp_path))
    assert [entry[-1] for entry in listed if entry[0] == "far"] == [expected]
    assert await blobs(tmp_path) == {"far": b"data"}
    assert await blobs(tmp_path / "far") == {"far": b"data"}
    assert await blobs(tmp_path / "x") == {"link": b"data"}


def test_a_part_that_has_gone() -> None:
    """A file that its writer has finished or given up while we list is no reason to fail."""
    walk, name = _file_tree._Walk(), os.path.basename(disk.part_name("/nowhere"))
    assert not walk._is_folder((name, errno.ENOENT, 0, 0, 0, 0, 0), "", "/nowhere/")
    assert walk.skipped == [(name, "still being written")]


def test_an_entry_that_has_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where scandir has to do it, an entry that cannot be looked at is told with its error."""
    monkeypatch.setattr(_file_tree, "listing", lambda _: None)
    (tmp_path / "gone").touch()
    scandir = os.scandir

    @contextmanager
    def too_late(path: str) -> Iterator[list[os.DirEntry[str]]]:
        with scandir(path) as scan:
            found = list(scan)
        (tmp_path / "gone").unlink()
        yield found

    monkeypatch.setattr(os, "scandir", too_late)
    assert _file_tree._listed(str(tmp_path)) == [("gone", errno.ENOENT, 0, 0, 0, 0, 0)]


async def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    """Links below a file, and to names too long for any file, are broken links."""
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "below").symlink_to("file/below")
    (tmp_path / "long").symlink_to("x" * 300)
    source = transport(tmp_path)
    assert [blob.name async for blob in source.read()] == ["file"]
    assert sorted(source.skipped) == [("below", "broken link"), ("long", "broken link")]


# --- writing ---------------------------------------------------------------------------------


async def test_sub_directories(tmp_path: Path) -> None:
    """Names with parts make sub-directories, which a failed write takes back."""
    await written(tmp_path / "new", {"a/b/1": b"1", "a/2": b"2"})
    assert await blobs(tmp_path / "new") == {"a/2": b"2", "a/b/1": b"1"}
    with pytest.raises(TargetExistsError):
        await written(tmp_path / "new", {"c/d/3": b"3", "a/2": b"other"})
    assert names(tmp_path / "new") == ["a", "a/2", "a/b", "a/b/1"]


async def test_many_files_of_many_kinds(tmp_path: Path) -> None:
    """Batches side by side: every blob stands under its name, whatever kind and size it has."""
    (tmp_path / "source").write_bytes(bytes(range(256)) * 40_000)

    async def mixed() -> AsyncIterator[Blob]:
        for number in range(600):
            yield MemoryBlob(f"m{number}", str(number).encode() * 50)
        yield FileBlob("span", str(tmp_path / "source"), 5_000_000, 1001)
        yield PiecesBlob("pieces", tuple(memoryview(b"%d," % n) for n in range(2000)))
        yield MemoryBlob("large", bytes(20_000_000))

    receipt = await transport(tmp_path / "new").write(mixed())
    assert receipt.count == len(os.listdir(tmp_path / "new")) == 603
    assert (tmp_path / "new" / "m77").read_bytes() == b"77" * 50
    span = (bytes(range(256)) * 40_000)[1001:5_001_001]
    assert (tmp_path / "new" / "span").read_bytes() == span
    assert (tmp_path / "new" / "pieces").read_bytes() == b"".join(b"%d," % n for n in range(2000))
    assert receipt.names[:2] == ("m0", "m1")


async def test_a_target_that_is_no_directory(tmp_path: Path) -> None:
    """A file in the place of the directory, or of one above it, is left as it is."""
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(TargetExistsError, match="no directory"):
        await written(tmp_path / "file", {"1": b"1"}, overwrite=True)
    with pytest.raises(TargetExistsError, match=r"file'$"):
        await written(tmp_path / "file" / "below", {"1": b"1"})
    assert (tmp_path / "file").read_bytes() == b"mine"


async def test_a_new_directory_with_a_slash(tmp_path: Path) -> None:
    """A slash at the end of a new directory's name changes nothing, nor do two."""
    await written(Path(f"{tmp_path}/new"), {"a": b"1"})
    for end in ("/", "//"):
        target = FileTransport(parse_location(f"{tmp_path}/deep{len(end)}/er{end}"), Workers(2))
        assert (await target.write(given({"a": b"1"}))).count == 1
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("a"))
    assert files == ["deep1/er/a", "deep2/er/a", "new/a"]


async def test_overwriting_a_directory(tmp_path: Path) -> None:
    """A directory that has the name of a file to come is never replaced."""
    (tmp_path / "1").mkdir()
    with pytest.raises(TargetExistsError):
        await written(tmp_path, {"0": b"0", "1": b"1"}, overwrite=True)
    assert names(tmp_path) == ["1"]


@pytest.mark.parametrize("name", ["dir", "one.dcm"])
async def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A disk that is full in the middle: a clear error, nothing left, the old files whole."""
    (tmp_path / "old").write_bytes(b"old")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    script = textwrap.dedent(
        """
        import anyio, resource, sys
        from seriesio.blob import MemoryBlob
        from seriesio.errors import TransportError
        from seriesio.location import parse_location
        from seriesio.offload import Workers
        from seriesio.transports.file import FileTransport

        async def given():
            for n in range(1 if sys.argv[1].endswith("dcm") else 3):
                yield MemoryBlob(str(n), bytes((2 - n) * 2000_000 + 3_000_000 * (n == 0)))

        resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, resource.RLIM_INFINITY))
        transport = FileTransport(parse_location(sys.argv[1]), Workers(2))
        try:
            anyio.run(transport.write, given())
        except TransportError as error:
            print(error)
        """
    )
    command = [sys.executable, "-c", script, str(tmp_path / name)]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "File too large" in told.stdout
    assert names(tmp_path) == ["old"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == limit


async def test_a_failure_while_files_get_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names that were given already are taken back when a later one fails."""
    publish = disk.publish

    def failing(part: str, target: str, *, replace: bool) -> None:
        if target.endswith("2"):
            raise OSError(errno.EIO, "Input/output error")
        publish(part, target, replace=replace)

    monkeypatch.setattr(_file_writing, "publish", failing)
    with pytest.raises(TransportError, match="Input/output error"):
        await written(tmp_path / "new", {"1": b"1", "2": b"2", "3": b"3"})
    assert names(tmp_path) == []


OLD = {f"{n}": b"old %d" % n for n in range(6)}
NEW = {f"{n}": b"new %d" % n for n in range(8)}


def refuse_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without hard links."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a directory, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("failing", [*NEW, *(f"after {name}" for name in OLD)])
async def test_a_failed_overwrite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool, failing: str
) -> None:
    """Whichever rename fails, every old file is back with its bytes, and nothing new is there."""
    await written(tmp_path, OLD)
    publish = disk.publish

    def full(part: str, target: str, *, replace: bool) -> None:
        if failing == os.path.basename(target):
            raise OSError(errno.ENOSPC, "No space left on device")
        publish(part, target, replace=replace)
        if failing == f"after {os.path.basename(target)}":
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_file_writing, "publish", full)
    if not links:
        refuse_links(monkeypatch)
    with pytest.raises(TransportError, match="No space left"):
        await written(tmp_path, NEW, overwrite=True)
    assert contents(tmp_path) == OLD


@pytest.mark.parametrize("links", [True, False])
async def test_an_overwrite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    """Old files are replaced, others come beside them, and no passing name stays."""
    if not links:
        refuse_links(monkeypatch)
    await written(tmp_path, OLD | {"stays": b"old"})
    await written(tmp_path, NEW, overwrite=True)
    assert contents(tmp_path) == NEW | {"stays": b"old"}


async def test_a_passing_name_that_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose passing name cannot be dropped is taken back, and that is an error."""
    unlink, refused = os.unlink, iter([True])

    def refuse(path: str) -> None:
        if next(refused, False):
            raise OSError(errno.EIO, "Input/output error", path)
        unlink(path)

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(TransportError, match="Input/output error"):
        await written(tmp_path, {"1": b"1"})
    assert names(tmp_path) == []


async def test_an_overwrite_cancelled_while_names_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled at any rename: all files are the old ones, or all are the new ones."""
    publish = disk.publish
    for stop in range(len(NEW)):
        folder = tmp_path / str(stop)
        await written(folder, OLD)
        task = asyncio.ensure_future(written(folder, NEW, overwrite=True))
        loop, cancel, last = asyncio.get_running_loop(), task.cancel, str(stop)

        def cancelled(
            part: str,
            target: str,
            *,
            replace: bool,
            loop: Any = loop,
            cancel: Any = cancel,
            last: str = last,
        ) -> None:
            publish(part, target, replace=replace)
            if target.endswith(last):
                loop.call_soon_threadsafe(cancel)

        monkeypatch.setattr(_file_writing, "publish", cancelled)
        await asyncio.wait([task])
        monkeypatch.setattr(_file_writing, "publish", publish)
        await until(partial(one_of, folder, OLD, NEW))


def one_of(folder: Path, *expected: dict[str, bytes]) -> bool:
    return contents(folder) in expected


def test_a_commit_after_it_was_taken_back(tmp_path: Path) -> None:
    """A thread that was given up and commits late changes nothing."""
    (tmp_path / "1").write_bytes(b"old")
    staging = _file_writing.Staging(str(tmp_path), overwrite=True)
    staging.begin()
    staging.store([MemoryBlob("1", b"new")])
    assert staging.undo() == []
    with pytest.raises(TransportError, match="given up"):
        staging.commit()
    assert contents(tmp_path) == {"1": b"old"}


async def test_what_cannot_be_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that does not get its name back is kept, and the error says where."""
    await written(tmp_path, {"1": b"old", "2": b"old"})

    def refuse(aside: str, target: str) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(_file_writing, "publish", fails_at("2"))
    monkeypatch.setattr(_file_writing, "put_back", refuse)
    with pytest.raises(TransportError) as caught:
        await written(tmp_path, {"1": b"new", "2": b"new"}, overwrite=True)
    kept = [path for path in tmp_path.iterdir() if disk.is_part(path.name)]
    assert [path.read_bytes() for path in kept] == [b"old", b"old"]
    notes = "".join(caught.value.__notes__)
    assert all(str(path) in notes for path in kept)


async def test_overwriting_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link is replaced itself, never what it leads to; a failure brings the link back."""
    (tmp_path / "other").write_bytes(b"other")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "1").symlink_to("../other")
    await written(folder, {"1": b"new"}, overwrite=True)
    assert contents(folder) == {"1": b"new"}
    (folder / "0").symlink_to("../other")
    monkeypatch.setattr(_file_writing, "publish", fails_at("1"))
    with pytest.raises(TransportError):
        await written(folder, {"0": b"2", "1": b"2"}, overwrite=True)
    assert (folder / "0").is_symlink()
    assert names(folder) == ["0", "1"]
    assert (tmp_path / "other").read_bytes() == b"other"


def fails_at(name: str) -> Callable[..., None]:
    """A ``publish`` that fails at one name."""
    publish = disk.publish

    def failing(part: str, target: str, *, replace: bool) -> None:
        if target.endswith(name):
            raise OSError(errno.EIO, "Input/output error")
        publish(part, target, replace=replace)

    return failing


async def test_file_systems_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without hard links (FAT, some shares) a name that is taken is still not replaced."""
    refuse_links(monkeypatch)
    await written(tmp_path, {"1": b"1"})
    with pytest.raises(TargetExistsError):
        await written(tmp_path, {"1": b"2"})
    (tmp_path / "part").write_bytes(b"3")
    with pytest.raises(FileExistsError):
        disk.publish(str(tmp_path / "part"), str(tmp_path / "1"), replace=False)
    assert (tmp_path / "1").read_bytes() == b"1"


def test_short_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system takes bit by bit arrives in order, over all pieces."""
    pieces: list[bytes | memoryview] = [memoryview(b"abc"), b"", memoryview(b"defgh"), b"i" * 10]
    path = tmp_path / "file"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    write = os.write
    monkeypatch.setattr(os, "writev", lambda fd, group: write(fd, b"".join(group)[:5]))
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data)[:2]))
    try:
        assert disk.write_all(fd, pieces) == 18
    finally:
        os.close(fd)
    assert path.read_bytes() == b"abcdefgh" + b"i" * 10


async def test_a_single_file_is_written(tmp_path: Path) -> None:
    """A path that ends in .dcm is a file: one blob goes there, under the path's name."""
    target = tmp_path / "new" / "one.DCM"
    receipt = await written(target, {"IM00001.dcm": b"x" * 3_000_000})
    assert target.read_bytes() == b"x" * 3_000_000
    assert (receipt.url, receipt.names, receipt.size) == (str(target), ("one.DCM",), 3_000_000)
    with pytest.raises(TargetExistsError):
        await written(target, {"other": b"other"})
    assert target.stat().st_size == 3_000_000
    await written(target, {"other": b"other"}, overwrite=True)
    assert target.read_bytes() == b"other"
    assert names(tmp_path) == ["new", "new/one.DCM"]


async def test_several_blobs_for_one_file(tmp_path: Path) -> None:
    """Two blobs for one file are an error, and the file is not there."""
    with pytest.raises(LocationError, match="one file"):
        await written(tmp_path / "new" / "one.dcm", {"1": b"1", "2": b"2"})
    assert names(tmp_path) == []


async def test_a_directory_with_the_suffix(tmp_path: Path) -> None:
    """A directory that is there takes files below it, whatever it is called."""
    (tmp_path / "dir.dcm").mkdir()
    await written(tmp_path / "dir.dcm", {"1": b"1", "2": b"2"})
    assert names(tmp_path / "dir.dcm") == ["1", "2"]


# --- cancellation -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dir", "one.dcm"])
async def test_cancelled_by_asyncio_itself(tmp_path: Path, name: str) -> None:
    """Task.cancel() after every so many turns of the loop: nothing is left, or all is done."""
    data = bytes(3_000_000)
    for turns in range(40):
        folder = tmp_path / str(turns)
        folder.mkdir()
        task = asyncio.ensure_future(written(folder / name, {"0": data}))
        for _ in range(turns):
            await asyncio.sleep(0.0003 * (turns % 3))
        task.cancel()
        await asyncio.wait([task])
        await until(partial(settled, folder, data))


def settled(folder: Path, data: bytes) -> bool:
    """True if a folder is empty, or has one whole file and nothing else."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    if not files:
        return not names(folder)
    return [path.read_bytes() for path in files] == [data]


async def until(check: Callable[[], bool]) -> None:
    """Wait for a thread that was given up to notice it."""
    with anyio.fail_after(5):
        while not check():  # noqa: ASYNC110  there is nobody to set an event
            await anyio.sleep(0.005)
