"""Bytes of guest formats from front to back: packed in every way, cut, cancelled."""

from __future__ import annotations

import bz2
import gzip
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

import anyio
import numpy as np
import pytest

from seriesio.blob import BlobReader, MemoryBlob
from seriesio.errors import DataError, TooLargeError, TransportError
from seriesio.formats.guest import plain as plain_module
from seriesio.formats.guest.plain import PlainStream
from seriesio.formats.guest.streams import GZIP, ZLIB, PackedStream, deflated
from seriesio.formats.metaimage import MetaImageFormat
from seriesio.formats.nifti import NiftiFormat
from seriesio.formats.nifti.header import build_header
from seriesio.formats.nrrd import NrrdFormat
from seriesio.offload import Workers
from seriesio.protocols import Guest

DATA = np.random.default_rng(5).integers(0, 4, 200_000, np.uint8).tobytes()
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "bzip2": bz2.compress,
}
PACKINGS = list(PACKERS)


def unpacked(data: bytes, packing: str, step: int = 1 << 30, offset: int = 0) -> tuple[bytes, int]:
    """What a stream gives, ``step`` bytes at a time, and what it says is left over."""
    parts = []
    with closing(PackedStream(PlainStream(MemoryBlob("x", data), offset), packing)) as stream:
        buffer = memoryview(bytearray(min(step, len(DATA) + 1)))
        while count := stream.readinto(buffer):
            parts.append(bytes(buffer[:count]))
        return b"".join(parts), stream.finish()


@pytest.mark.parametrize("step", [7_001, 1 << 30])
@pytest.mark.parametrize("packing", PACKINGS)
def test_what_was_packed_comes_out(packing: str, step: int) -> None:
    """Python's own packers are undone, from any offset and in steps of any size."""
    packed = PACKERS[packing](DATA)
    assert unpacked(b"skipped" + packed, packing, step, offset=7) == (DATA, 0)


@pytest.mark.parametrize("packing", ["gzip", "bzip2"])
def test_members_and_padding(packing: str) -> None:
    """Several members are one run of bytes, zeros behind them are none, other bytes are told."""
    pack = PACKERS[packing]
    members = pack(DATA[:5]) + pack(b"") + pack(DATA[5:9_000]) + pack(DATA[9_000:])
    assert unpacked(members, packing) == (DATA, 0)
    assert unpacked(members + bytes(600_000), packing) == (DATA, 0)
    assert unpacked(members + b"what", packing) == (DATA, 4)


def test_a_zlib_stream_is_the_only_one() -> None:
    """What follows it is left over, even another one."""
    packed = zlib.compress(DATA)
    assert unpacked(packed + packed, "zlib") == (DATA, len(packed))


@pytest.mark.parametrize("packing", PACKINGS)
def test_damage_is_told(packing: str) -> None:
    """Data that were cut, or changed anywhere, are an error that names the file."""
    packed = PACKERS[packing](DATA)
    with pytest.raises(DataError, match=f"x: cut short: its {packing} data"):
        unpacked(packed[: len(packed) // 2], packing)
    broken = bytearray(packed)
    broken[len(packed) // 2] ^= 0x55
    with pytest.raises(DataError, match=f"x: damaged {packing} data"):
        unpacked(bytes(broken), packing)


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_bomb_does_not_go_off(packing: str) -> None:
    """No more is unpacked than is asked for and can be verified, whatever there is."""
    packed = PACKERS[packing](bytes(1 << 25))
    tracemalloc.start()
    with closing(PackedStream(PlainStream(MemoryBlob("x", packed)), packing)) as stream:
        assert stream.readinto(memoryview(bytearray(1000))) == 1000
        with pytest.raises(TooLargeError, match="x: unpacks to more"):
            stream.finish()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize(("wbits", "unpack"), [(GZIP, gzip.decompress), (ZLIB, zlib.decompress)])
def test_packed_bytes_are_read_by_others(wbits: int, unpack: Callable[[bytes], bytes]) -> None:
    """Python's own unpackers undo it; equal bytes are packed alike."""
    pieces = [memoryview(DATA)[:10], memoryview(DATA)[10:]]
    packed = b"".join(deflated(pieces, wbits))
    assert unpack(packed) == DATA
    assert packed == b"".join(deflated(pieces, wbits))


# --- cancellation ----------------------------------------------------------------------------


@dataclass(frozen=True)
class SlowBlob:
    """A file whose every read takes a while, as over a network; zeros behind its first bytes."""

    name: str
    head: bytes = field(repr=False)
    size: int
    sequential: bool = False

    def open(self) -> BlobReader:
        return _SlowReader(self.head, 2e-8 if self.name.endswith(".gz") else 1e-9)


class _SlowReader:
    def __init__(self, head: bytes, pace: float) -> None:
        self._head, self._pace = head, pace

    def readinto(self, view: memoryview, offset: int) -> int:
        time.sleep(view.nbytes * self._pace)
        part = self._head[offset : offset + view.nbytes]
        view[: len(part)] = part
        return view.nbytes

    def close(self) -> None:
        pass


SIZE = 1 << 30
MHA = "NDims = 3\nDimSize = 1024 1024 1024\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
NRRD = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 1024 1024 1024\nencoding: raw\n\n"
NIFTI = build_header(1, {"dim": [3, 1024, 1024, 1024, 1, 1, 1, 1], "datatype": 2, "bitpix": 8})
PACKED = zlib.compressobj(0, zlib.DEFLATED, 31).compress(
    NIFTI + bytes(1 << 24)
)  # longer than anyone waits


@pytest.mark.parametrize(
    ("guest", "name", "head"),
    [
        (MetaImageFormat(), "x.mha", MHA.encode()),
        (NrrdFormat(), "x.nrrd", NRRD.encode()),
        (NiftiFormat(), "x.nii", NIFTI),
        (NiftiFormat(), "x.nii.gz", PACKED),
    ],
    ids=["metaimage", "nrrd", "nifti", "nifti.gz"],
)
async def test_a_cancelled_call_ends_soon(guest: Guest, name: str, head: bytes) -> None:
    """A large file that is read slowly is let go of soon after the caller has lost interest."""
    blob = SlowBlob(name, head, len(head) + SIZE)
    read = partial(guest.read, name, {name: blob}, memory=2 * SIZE, options={})
    begin = time.monotonic()
    with anyio.move_on_after(0.1) as scope:
        await Workers().run(read)
    assert scope.cancelled_caught
    assert time.monotonic() - begin < 0.8


# --- read by two threads ----------------------------------------------------------------------


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few kilobytes are enough for a second thread."""
    monkeypatch.setattr(plain_module, "_PART", 1000)
    monkeypatch.setattr(plain_module, "_MANY", 4000)


def plain(data: bytes, offset: int, count: int) -> bytes:
    """What a plain stream fills a buffer of ``count`` bytes with, from ``offset`` on."""
    buffer = bytearray(count)
    with closing(PlainStream(MemoryBlob("x", data), offset)) as stream:
        return bytes(buffer[: stream.readinto(memoryview(buffer))])


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("offset", [0, 352])
@pytest.mark.parametrize("count", [4000, 17_123, 199_648])
def test_two_threads_read_what_is_there(offset: int, count: int) -> None:
    """Every byte in its place, whichever thread has read it."""
    assert plain(DATA, offset, count) == DATA[offset : offset + count]


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("size", [0, 999, 1000, 5000, 7777])
def test_two_threads_stop_at_the_end(size: int) -> None:
    """Of a blob that ends early, the bytes that there are, and how many."""
    assert plain(DATA[:size], 0, 20_000) == DATA[:size]


@dataclass(frozen=True)
class Failing:
    """A blob of which the first, or the second, reader fails."""

    name: str = "failing"
    size: int = 1 << 20
    sequential: bool = False
    first: bool = True
    opened: list[int] = field(default_factory=list)

    def open(self) -> BlobReader:
        self.opened.append(1)
        return FailingReader((len(self.opened) == 1) == self.first)


@dataclass
class FailingReader:
    """Zeros, or an error."""

    fails: bool

    def readinto(self, view: memoryview, offset: int) -> int:
        time.sleep(0.001)
        if self.fails:
            raise TransportError("the disk is gone")
        return view.nbytes

    def close(self) -> None:
        self.fails = True


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("first", [True, False])
def test_an_error_of_either_thread_is_raised(first: bool) -> None:
    """The error is the reader's own, and the other thread is gone afterwards."""
    before = threading.active_count()
    with (
        closing(PlainStream(Failing(first=first))) as stream,
        pytest.raises(TransportError, match="the disk is gone"),
    ):
        stream.readinto(memoryview(bytearray(100_000)))
    assert threading.active_count() == before


@pytest.mark.usefixtures("two")
async def test_two_threads_end_with_a_cancelled_call() -> None:
    """A call that is cancelled waits for the blocks that are being read, not for the others."""
    blob, before = Slow(), threading.active_count()
    with anyio.move_on_after(0.05) as scope:
        await Workers(1).run(lambda: PlainStream(blob).readinto(memoryview(bytearray(100_000))))
    assert scope.cancelled_caught
    assert blob.read < 40
    assert threading.active_count() <= before + 1  # the worker thread, idle


@dataclass
class Slow:
    """A blob that gives a block in a hundredth of a second."""

    name: str = "slow"
    size: int = 1 << 20
    sequential: bool = False
    read: int = 0

    def open(self) -> BlobReader:
        return self

    def readinto(self, view: memoryview, offset: int) -> int:
        time.sleep(0.01)
        self.read += 1
        return view.nbytes

    def close(self) -> None:
        """Nothing is held."""
