"""What every transport has to do: a class of tests that the tests of each transport inherit.

::

    class TestMyTransport(TransportContract):
        @pytest.fixture
        def place(self, tmp_path):
            return Place(lambda: MyTransport(...), ...)

Needs pytest with anyio's plugin.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import anyio
import anyio.lowlevel
from anyio import to_thread

from ..blob import Blob, BlobReader, MemoryBlob, read_all
from ..errors import NotFoundError, SeriesIOError, TargetExistsError, TransportError
from ..protocols import Catalogue, Receipt, Sink, Source, Transport

__all__ = ["Place", "TransportContract"]

FILES = {"IM00001.dcm": b"one" * 1000, "IM00002.dcm": b"", "IM00003.dcm": bytes(300_001)}
_HOPS = 40  # more awaits than a small write has


@dataclass(frozen=True, slots=True)
class Place:
    """A location of a transport, empty at first.

    Attributes:
        transport: makes a transport to it, a fresh one with every call.
        contents: what is stored there, by name, as somebody else than the transport sees it.
        traces: everything that is there or beside it, left-overs of failed writes included.
    """

    transport: Callable[[], Transport]
    contents: Callable[[], Mapping[str, bytes]]
    traces: Callable[[], object]


async def given(files: Mapping[str, bytes]) -> AsyncIterator[Blob]:
    """Blobs in memory."""
    for name, data in files.items():
        yield MemoryBlob(name, data)


async def broken(files: Mapping[str, bytes]) -> AsyncIterator[Blob]:
    """Blobs whose source fails after the last of them."""
    async for blob in given(files):
        yield blob
    raise TransportError("the source has failed")


class ShortBlob:
    """A blob that has fewer bytes than it announces."""

    name = "IM00009.dcm"
    size = 10
    sequential = False

    def open(self) -> BlobReader:
        return MemoryBlob(self.name, b"short").open()


async def _short() -> AsyncIterator[Blob]:
    yield ShortBlob()


def _read_twice(blob: Blob) -> None:
    readers = [blob.open(), blob.open()]
    for reader in readers:
        buffer = bytearray(5)
        assert reader.readinto(memoryview(buffer), 1) == 5
        assert reader.readinto(memoryview(buffer), blob.size - 2) == 2
        assert bytes(buffer[:2]) == b"ne"
    for reader in readers:
        reader.close()
        reader.close()


async def stored(place: Place, files: Mapping[str, bytes], *, overwrite: bool = False) -> Receipt:
    return await place.transport().write(given(files), overwrite=overwrite)


async def raised(
    place: Place, blobs: AsyncIterator[Blob], *, overwrite: bool = False
) -> SeriesIOError:
    """The error that a write ends with."""
    try:
        await place.transport().write(blobs, overwrite=overwrite)
    except SeriesIOError as error:
        return error
    raise AssertionError("the write has not failed")


class TransportContract:
    """Tests; a subclass has a fixture ``place`` that returns a :class:`Place`."""

    def test_protocols(self, place: Place) -> None:
        """It is a source, a sink and a catalogue."""
        transport = place.transport()
        assert isinstance(transport, Source)
        assert isinstance(transport, Sink)
        assert isinstance(transport, Catalogue)

    async def test_write_then_read(self, place: Place) -> None:
        """What was written is there, is read back, and the receipt tells of it."""
        receipt = await stored(place, FILES)
        size = sum(map(len, FILES.values()))
        assert (receipt.names, receipt.count, receipt.size) == (tuple(FILES), 3, size)
        assert place.contents() == FILES
        assert await self.read(place) == FILES

    async def read(self, place: Place) -> dict[str, bytes]:
        """All that the transport reads."""
        blobs = [blob async for blob in place.transport().read()]
        return {blob.name: bytes(await to_thread.run_sync(read_all, blob)) for blob in blobs}

    async def test_two_readers_of_a_blob(self, place: Place) -> None:
        """A blob can be opened more than once at the same time, and read from any offset."""
        await stored(place, FILES)
        blobs = {blob.name: blob async for blob in place.transport().read()}
        blob = blobs["IM00001.dcm"]
        await to_thread.run_sync(_read_twice, blob)

    async def test_list(self, place: Place) -> None:
        """The catalogue names what is there, with sizes, and does not read it."""
        await stored(place, FILES)
        entries = [entry async for entry in place.transport().list()]
        assert {entry.name: entry.size for entry in entries} == {
            name: len(data) for name, data in FILES.items()
        }

    async def test_nothing_there(self, place: Place) -> None:
        """Reading and listing nothing is an error; no name is taken there."""
        for call in (place.transport().read, place.transport().list):
            try:
                _ = [item async for item in call()]
            except NotFoundError:
                continue
            raise AssertionError("nothing was found, and no error raised")
        assert await place.transport().taken() == frozenset()

    async def test_add(self, place: Place) -> None:
        """A second write adds to what is there; its names are then taken."""
        await stored(place, FILES)
        await stored(place, {"more": b"more"})
        assert place.contents() == {**FILES, "more": b"more"}
        assert await place.transport().taken() >= {*FILES, "more"}

    async def test_taken_names(self, place: Place) -> None:
        """A name that is taken is an error, whatever comes before it; nothing changes."""
        await stored(place, FILES)
        before = place.traces()
        error = await raised(place, given({"new": b"new", "IM00001.dcm": b"other"}))
        assert isinstance(error, TargetExistsError)
        assert place.contents() == FILES
        assert place.traces() == before

    async def test_a_name_twice(self, place: Place) -> None:
        """A name that comes twice is an error: neither replaces the other in silence."""

        async def twice() -> AsyncIterator[Blob]:
            yield MemoryBlob("same", b"one")
            yield MemoryBlob("same", b"two")

        before = place.traces()
        assert isinstance(await raised(place, twice()), TargetExistsError)
        assert place.traces() == before

    async def test_overwrite(self, place: Place) -> None:
        """``overwrite`` replaces what has the name, and nothing else."""
        await stored(place, FILES)
        await stored(place, {"IM00001.dcm": b"new", "more": b"more"}, overwrite=True)
        assert place.contents() == {**FILES, "IM00001.dcm": b"new", "more": b"more"}

    async def test_names_outside(self, place: Place) -> None:
        """Names that lead out of the location are refused."""
        for name in ("../outside", "/outside", "a/../../outside", "", ".", "a//b", "nul\0"):
            before = place.traces()
            await raised(place, given({"first": b"first", name: b"data"}))
            assert place.traces() == before

    async def test_a_source_that_fails(self, place: Place) -> None:
        """When the blobs end with an error, that error comes out and nothing is left."""
        before = place.traces()
        error = await raised(place, broken(FILES))
        assert "the source has failed" in str(error)
        assert place.traces() == before

    async def test_a_source_that_fails_while_overwriting(self, place: Place) -> None:
        """A failed write that was to replace files leaves the old ones."""
        await stored(place, FILES)
        before = place.traces()
        await raised(place, broken(dict.fromkeys(FILES, b"new")), overwrite=True)
        assert place.contents() == FILES
        assert place.traces() == before

    async def test_a_blob_that_ends_early(self, place: Place) -> None:
        """A blob with fewer bytes than announced is an error, not a shorter file."""
        before = place.traces()
        assert isinstance(await raised(place, _short()), TransportError)
        assert place.traces() == before

    async def test_cancelled_anywhere(self, place: Place) -> None:
        """Cancelled at whatever await, by anyio's scope: nothing is left, or all is there."""
        await self.cancelled_anywhere(place, by_task=False)

    async def test_cancelled_anywhere_by_its_task(self, place: Place) -> None:
        """The same by asyncio's task, as by its timeouts: threads are waited for, too."""
        await self.cancelled_anywhere(place, by_task=True)

    async def cancelled_anywhere(self, place: Place, *, by_task: bool) -> None:
        """Write, cancelled a little later each time, until it is done before."""
        await stored(place, {"old": b"old"})
        before = place.traces()
        for hops in range(_HOPS):
            if await self.cancelled_after(place, hops, by_task=by_task):
                assert place.contents() == {**FILES, "old": b"old"}
                return
            assert place.traces() == before, hops

    async def cancelled_after(self, place: Place, hops: int, *, by_task: bool) -> bool:
        """Write, cancelled after a number of turns of the loop; True if it was done before."""
        done = False
        scope = anyio.CancelScope()

        async def write() -> None:
            nonlocal done
            with scope:
                await stored(place, FILES)
                done = True

        writing = asyncio.ensure_future(write())
        for _ in range(hops):
            # Threads take their time: hop by hop means waiting for them, too.
            await anyio.sleep(0.0005)
        if by_task:
            writing.cancel()
            await anyio.lowlevel.checkpoint()
            writing.cancel()  # while it is taken back, or waits for a thread
        else:
            scope.cancel()
        with suppress(asyncio.CancelledError):
            await writing
        return done or len(place.contents()) > 1
