"""Blobs: what is asked for is read, no more than there is, and descriptors are given back."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np
import pytest

from seriesio.blob import (
    Blob,
    FileBlob,
    MemoryBlob,
    PiecesBlob,
    RenamedBlob,
    read_all,
    read_at,
    read_fully,
    touch,
)
from seriesio.errors import TooLargeError, TransportError

DATA = bytes(range(200))


def blobs(folder: Path) -> list[Blob]:
    path = folder / "data"
    path.write_bytes(b"before" + DATA + b"after")
    cut = memoryview(DATA)
    return [
        MemoryBlob("m", DATA),
        FileBlob("f", os.fspath(path), len(DATA), 6),
        PiecesBlob("p", (cut[:0], cut[:7], cut[7:100], cut[100:])),
        RenamedBlob("r", MemoryBlob("m", bytearray(DATA))),
    ]


def test_reading(tmp_path: Path) -> None:
    """Any part of any kind of blob is what it is; at the end there is less, then nothing."""
    for blob in blobs(tmp_path):
        assert isinstance(blob, Blob)
        assert (blob.size, blob.sequential) == (len(DATA), False)
        assert read_all(blob) == DATA
        reader = blob.open()
        for offset, count in ((0, 0), (0, 5), (5, 20), (3, 110), (150, 50), (190, 50), (300, 5)):
            view = memoryview(bytearray(count))
            found = reader.readinto(view, offset)
            assert bytes(view[:found]) == DATA[offset : offset + count]
        reader.close()
        reader.close()
        view = memoryview(bytearray(9))
        assert read_at(blob, view) == 9
        assert bytes(view) == DATA[:9]


def test_too_short(tmp_path: Path) -> None:
    """A blob shorter than announced says so, with its name and by how much."""
    path = tmp_path / "short"
    path.write_bytes(b"1234")
    blob = FileBlob("series/short", os.fspath(path), 10)
    with pytest.raises(TransportError, match="series/short: ends 6 bytes short"):
        read_all(blob)
    reader = blob.open()
    with pytest.raises(TransportError, match="ends 2 bytes short"):
        read_fully(reader, memoryview(bytearray(4)), 2, blob.name)
    reader.close()


def test_failures(tmp_path: Path) -> None:
    """What cannot be opened or read is an error of ours that keeps the reason's number."""
    with pytest.raises(TransportError, match="cannot open") as caught:
        read_all(FileBlob("x", os.fspath(tmp_path / "none"), 3))
    assert caught.value.errno == 2
    with pytest.raises(TransportError, match="cannot read"):
        read_all(FileBlob("x", os.fspath(tmp_path), 3))


def test_fifo_does_not_block(tmp_path: Path) -> None:
    """A FIFO in a file's place ends in an error, not in waiting for ever."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with pytest.raises(TransportError):
        read_all(FileBlob("x", os.fspath(path), 3))


def test_no_memory() -> None:
    """A size that no memory holds is an error of ours."""

    class Huge:
        name, size, sequential = "huge", 1 << 70, False

        def open(self) -> None:
            raise AssertionError

    with pytest.raises(TooLargeError, match="huge"):
        read_all(Huge())  # type: ignore[arg-type]


def test_repr_shows_no_bytes() -> None:
    """A blob's bytes are not in its repr."""
    assert "patient" not in repr(MemoryBlob("x", b"patient"))
    assert "memory" not in repr(PiecesBlob("x", (memoryview(b"patient"),)))


def test_large_pieces() -> None:
    """Pieces of more than a few bytes are copied whole, from any place on, read-only ones too."""
    data = os.urandom(300_000)
    cut = memoryview(data)
    blob = PiecesBlob("p", (cut[:100_000], cut[100_000:100_001], cut[100_001:]))
    for start in (0, 1, 60_000, 100_000, 150_000, 299_999):
        view = memoryview(bytearray(300_001 - start))
        assert read_at(blob, view, start) == len(data) - start
        assert bytes(view) == data[start:] + b"\0"


def _pages_there(memory: mmap.mmap) -> list[int]:
    """Which pages the system has given to memory, by what it says itself."""
    address = np.frombuffer(memory, np.uint8).ctypes.data
    with open("/proc/self/pagemap", "rb") as pages:
        pages.seek(address // mmap.PAGESIZE * 8)
        entries = np.frombuffer(pages.read(len(memory) // mmap.PAGESIZE * 8), np.uint64)
    return [int(page) for page in np.flatnonzero(entries >> np.uint64(62))]


@pytest.mark.skipif(not os.path.exists("/proc/self/pagemap"), reason="Linux tells of pages")
def test_touched_memory_has_its_pages() -> None:
    """Each page of what is touched is there, in one part of it as in all."""
    memory = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    assert _pages_there(memory) == []
    touch(memoryview(memory)[: 1 << 17])
    assert _pages_there(memory) == list(range(32))
    touch(memoryview(memory))
    assert _pages_there(memory) == list(range(256))
