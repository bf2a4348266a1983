"""Readers of zip members: any order of reads, little memory while they wait."""

from __future__ import annotations

import io
import os
import random
import tracemalloc
import zipfile
import zlib
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seriesio.blob import BlobReader
from seriesio.errors import ArchiveError, TransportError
from seriesio.transports import _zip_readers
from seriesio.transports._zip_archive import open_archive
from seriesio.transports._zip_readers import LOOK_BACK, ZipBlob

METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
SIZE = 400_000
DATA = bytes(random.Random(1).choices(range(40), k=SIZE))


@cache
def packed(method: int, count: int) -> bytes:
    """A zip of the same member several times; packed once, as bzip2 and lzma take their time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for index in range(count):
            archive.writestr(f"{index:03d}", DATA)
    return buffer.getvalue()


def archive_of(path: Path, method: int, count: int = 1) -> list[ZipBlob]:
    path.write_bytes(packed(method, count))
    opened, directory = open_archive(str(path))
    return [ZipBlob(member.name, member.size, opened, member) for member in directory.members]


def taken(reader: BlobReader, offset: int, count: int) -> bytes:
    view = memoryview(bytearray(count))
    return bytes(view[: reader.readinto(view, offset)])


def opened_fds(path: Path) -> int:
    links = (os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))
    return sum(os.path.realpath(link) == str(path.resolve()) for link in links)


@pytest.mark.parametrize("method", METHODS)
@given(
    reads=st.lists(
        st.tuples(st.integers(0, SIZE + 10), st.sampled_from([0, 1, 999, 70_000, 300_000])),
        max_size=8,
    )
)
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_order_of_reads(
    tmp_path_factory: pytest.TempPathFactory, method: int, reads: list[tuple[int, int]]
) -> None:
    """Whatever is read in whatever order, the bytes are those of that place."""
    (blob,) = archive_of(tmp_path_factory.mktemp("zip") / "a.zip", method)
    reader = blob.open()
    try:
        for offset, count in reads:
            assert taken(reader, offset, count) == DATA[offset : offset + count]
    finally:
        reader.close()


@pytest.mark.parametrize("method", METHODS)
def test_head_then_rest_with_overlap_does_not_start_anew(
    tmp_path: Path, method: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that were given last can be asked for once more without a second pass."""
    (blob,) = archive_of(tmp_path / "a.zip", method)
    passes = []
    begin = _zip_readers.PackedReader._begin

    def counted(self: _zip_readers.PackedReader) -> _zip_readers._Stream:
        passes.append(1)
        return begin(self)

    monkeypatch.setattr(_zip_readers.PackedReader, "_begin", counted)
    reader = blob.open()
    assert taken(reader, 0, 144_000) == DATA[:144_000]
    assert taken(reader, 144_000 - LOOK_BACK, 10) == DATA[144_000 - LOOK_BACK :][:10]
    assert taken(reader, 144_000, 100) == DATA[144_000:144_100]
    assert taken(reader, 140_000, SIZE) == DATA[140_000:]
    reader.close()
    assert len(passes) == (0 if method == zipfile.ZIP_STORED else 1)


@pytest.mark.parametrize("method", METHODS)
def test_waiting_readers_share_one_descriptor(tmp_path: Path, method: int) -> None:
    """Many readers that wait cost one file descriptor, and none when they are closed."""
    blobs = archive_of(tmp_path / "a.zip", method, 8)
    readers = [blob.open() for blob in blobs]
    assert all(taken(reader, 0, 1000) == DATA[:1000] for reader in readers)
    assert opened_fds(tmp_path / "a.zip") == 1
    assert all(taken(reader, 1000, SIZE) == DATA[1000:] for reader in readers)
    for reader in readers:
        reader.close()
        reader.close()
    assert opened_fds(tmp_path / "a.zip") == 0
    with pytest.raises(TransportError, match="closed"):
        taken(readers[0], 0, 1)


@pytest.mark.parametrize(
    ("method", "most"),
    [(zipfile.ZIP_DEFLATED, 180_000), (zipfile.ZIP_BZIP2, 2_000_000), (zipfile.ZIP_LZMA, 600_000)],
)
def test_waiting_readers_are_small(tmp_path: Path, method: int, most: int) -> None:
    """A reader that waits holds its decoder and its look-back, or not even the decoder."""
    blobs = archive_of(tmp_path / "a.zip", method, 8)
    view = memoryview(bytearray(200_000))
    blobs[0].open().close()
    tracemalloc.start()
    readers = [blob.open() for blob in blobs]
    for reader in readers:
        reader.readinto(view, 0)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    for reader in readers:
        reader.close()
    assert held / len(readers) < most


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("first", [0, 1000, 300_000])
def test_a_wrong_crc_is_found_at_the_end(tmp_path: Path, method: int, first: int) -> None:
    """Reading up to the end verifies all of the member, even what was left out before."""
    (blob,) = archive_of(tmp_path / "a.zip", method)
    true = zlib.crc32(DATA).to_bytes(4, "little")
    lie = (tmp_path / "a.zip").read_bytes().replace(true, b"\1\2\3\4")
    (tmp_path / "b.zip").write_bytes(lie)
    opened, directory = open_archive(str(tmp_path / "b.zip"))
    lying = ZipBlob(blob.name, blob.size, opened, directory.members[0])
    reader = lying.open()
    taken(reader, first, 1000)
    with pytest.raises(ArchiveError, match="wrong CRC"):
        taken(reader, max(first, 2000), SIZE)
    reader.close()


def test_a_million_to_one_member_stays_within_the_view(tmp_path: Path) -> None:
    """A member that expands a thousandfold is unpacked no further than is asked for."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(50_000_000))
    (tmp_path / "a.zip").write_bytes(buffer.getvalue())
    opened, directory = open_archive(str(tmp_path / "a.zip"))
    member = directory.members[0]
    reader = ZipBlob(member.name, member.size, opened, member).open()
    view = memoryview(bytearray(1000))
    tracemalloc.start()
    reader.readinto(view, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    reader.close()
    assert peak < 1_000_000
