"""What is received settles where the volume will be, and the volume is what was sent."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from seriesio.blob import Announced, Blob, MemoryBlob, ReceivedBlob, read_all
from seriesio.dicom.options import PlanOptions
from seriesio.dicom.volume import Volume
from seriesio.errors import TransportError, TruncatedError
from seriesio.formats import _scanning
from seriesio.formats._arrivals import Arena, Arrived
from seriesio.formats.dicom import Inventory, encode, load, scan
from seriesio.offload import Workers
from seriesio.testing import phantom

MEMORY = 1 << 30
CT = phantom((9, 12, 16), intercept=-1024, header_elements=12, header_bytes=2000)
MR = phantom((2, 4, 12, 16), axes=("te", "slice", "row", "column"))


def received(
    files: Sequence[bytes], count: int | None = None, key: str = "one", seed: int = 1
) -> list[ReceivedBlob]:
    """Files in an order of their own, in pieces that end anywhere."""
    rng, blobs = random.Random(seed), []
    of = Announced(key, len(files) if count is None else count)
    for number, data in enumerate(files):
        cut = sorted(rng.sample(range(len(data)), 3))
        parts = [data[a:b] for a, b in zip([0, *cut], [*cut, None], strict=True)]
        blobs.append(ReceivedBlob(f"{key}{number}", tuple(map(memoryview, parts)), of))
    rng.shuffle(blobs)
    return blobs


async def sent(blobs: Sequence[Blob]) -> AsyncIterator[Blob]:
    for blob in blobs:
        yield blob


async def opened(
    blobs: Sequence[ReceivedBlob], workers: Workers, memory: int = MEMORY
) -> tuple[Inventory, list[Volume]]:
    """Every series among the blobs."""
    inventory = await scan(sent(blobs), workers, memory=memory)
    volumes = [
        await load(inventory, rows, PlanOptions(), workers, memory=MEMORY)
        for rows in inventory.select(None).values()
    ]
    return inventory, volumes


def settled(volume: Volume, blobs: Sequence[ReceivedBlob]) -> bool:
    """Is the volume the memory that the pixels have settled in?"""
    arenas = [blob.place[0] for blob in blobs if blob.place is not None]
    return any(
        isinstance(arena, Arena) and np.shares_memory(volume.array, arena.rows) for arena in arenas
    )


async def written(volume: Volume, workers: Workers) -> set[bytes]:
    """The instances as they are written again, unchanged."""
    names = [str(index) for index in range(len(volume.header))]
    prints = volume.stored.prints
    assert prints is not None
    blobs = encode(volume, prints, names, True, workers)
    return {bytes(read_all(blob)) async for blob in blobs}


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settle every few kilobytes."""
    monkeypatch.setattr(_scanning, "_ARRIVING", 9000)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("source", [CT, MR], ids=["ct", "mr"])
@pytest.mark.parametrize("seed", [1, 2])
async def test_the_volume_is_where_the_pixels_settled(source: Any, seed: int) -> None:
    """Arrived in any order: the phantom's voxels, with no second volume; written byte for byte."""
    files = list(source.files().values())
    blobs, workers = received(files, seed=seed), Workers(2)
    _, (volume,) = await opened(blobs, workers)
    assert settled(volume, blobs)
    assert np.array_equal(volume.array, source.array)
    assert await written(volume, workers) == set(files)


async def test_nothing_received_is_held_beside_the_volume() -> None:
    """Once the volume is made, the blobs have no bytes; who reads one is told."""
    blobs = received(list(CT.files().values()))
    await opened(blobs, Workers(2))
    assert not any(blob.pieces for blob in blobs)
    with pytest.raises(TransportError, match="short"):
        read_all(blobs[0])


@pytest.mark.usefixtures("often")
async def test_a_settled_blob_reads_as_it_came() -> None:
    """Until a volume is made of it: header, pixels and what lies behind them."""
    files = {f"one{n}": data for n, data in enumerate(CT.files().values())}
    blobs = received(list(files.values()))
    await scan(sent(blobs), Workers(2), memory=MEMORY)
    assert all(blob.place is not None for blob in blobs)
    assert {blob.name: bytes(read_all(blob)) for blob in blobs} == files


def edited(number: int, data: bytes, **changes: Any) -> bytes:
    dataset = pydicom.dcmread(BytesIO(data))
    for keyword, value in changes.items():
        setattr(dataset, keyword, value(number) if callable(value) else value)
    out = BytesIO()
    dataset.save_as(out)
    return out.getvalue()


async def test_what_lies_behind_the_pixels_is_kept() -> None:
    """Trailing padding of some instances comes out again as it came in."""
    files = [
        edited(n, data, DataSetTrailingPadding=bytes(2 * n)) if n % 2 else data
        for n, data in enumerate(CT.files().values())
    ]
    blobs, workers = received(files), Workers(2)
    _, (volume,) = await opened(blobs, workers)
    assert settled(volume, blobs)
    assert await written(volume, workers) == set(files)


async def test_bits_that_are_no_values_are_kept_for_writing() -> None:
    """Values lose what stands in unused bits (an overlay, say); the files written do not."""
    files = list(CT.files().values())
    dataset = pydicom.dcmread(BytesIO(files[3]))
    assert dataset.BitsStored < 16
    cells = np.frombuffer(dataset.PixelData, "<u2") | np.uint16(0x8000)
    files[3] = edited(3, files[3], PixelData=cells.tobytes())
    blobs, workers = received(files), Workers(2)
    _, (volume,) = await opened(blobs, workers)
    assert settled(volume, blobs)
    assert np.array_equal(volume.array, CT.array)
    assert await written(volume, workers) == set(files)


@pytest.mark.parametrize(
    ("options", "count", "memory"),
    [
        pytest.param({}, 8, MEMORY, id="more than announced"),
        pytest.param({}, 9, 1000, id="more than there is memory for"),
        pytest.param({"transfer_syntax": "1.2.840.10008.1.2.5"}, 9, MEMORY, id="compressed"),
        pytest.param({"transfer_syntax": "1.2.840.10008.1.2.2"}, 9, MEMORY, id="big endian"),
        pytest.param({"transfer_syntax": "1.2.840.10008.1.2.1.99"}, 9, MEMORY, id="deflated"),
        pytest.param({"slope": 0.37}, 9, MEMORY, id="floats"),
    ],
)
async def test_what_cannot_stay_is_placed_as_ever(
    options: dict[str, Any], count: int, memory: int
) -> None:
    """Pixels that are not the voxels, or found no room: the volume is right all the same."""
    source = phantom((9, 12, 16), **options)
    files = list(source.files().values())
    blobs, workers = received(files, count), Workers(2)
    _, (volume,) = await opened(blobs, workers, memory)
    assert not settled(volume, blobs)
    assert np.allclose(volume.array, source.array, rtol=1e-6)
    assert await written(volume, workers) == set(files)


@pytest.mark.parametrize("count", [9, 20, 10**15])
async def test_fewer_than_announced(count: int) -> None:
    """What is left out by the source, or lied about: what came is a volume without a hole."""
    blobs = received(list(CT.files().values()), count)
    _, (volume,) = await opened(blobs, Workers(2))
    assert settled(volume, blobs) == (count < 10**15)
    assert np.array_equal(volume.array, CT.array)


@pytest.mark.usefixtures("often")
async def test_series_that_arrive_mixed() -> None:
    """Each series has an arena of its own."""
    other = phantom((5, 12, 16), series_number=7)
    blobs = received(list(CT.files().values())) + received(list(other.files().values()), key="b")
    random.Random(3).shuffle(blobs)
    _, volumes = await opened(blobs, Workers(2))
    found = {volume.array.shape[0]: volume for volume in volumes}
    for source in (CT, other):
        assert np.array_equal(found[source.shape[0]].array, source.array)
        assert settled(found[source.shape[0]], blobs)


async def test_two_series_announced_as_one() -> None:
    """A scan that holds two series: each is right, though neither can stay where it is."""
    other = phantom((5, 12, 16), series_number=7)
    blobs = received([*CT.files().values(), *other.files().values()])
    _, volumes = await opened(blobs, Workers(2))
    found = {volume.array.shape[0]: volume for volume in volumes}
    for source in (CT, other):
        assert np.array_equal(found[source.shape[0]].array, source.array)


async def test_a_cut_instance_is_told() -> None:
    """Pixels that end early do not settle, and the error says how many bytes are short."""
    files = list(CT.files().values())
    files[4] = files[4][:-100]
    blobs = received(files)
    inventory = await scan(sent(blobs), Workers(2), memory=MEMORY)
    (rows,) = inventory.select(None).values()
    with pytest.raises(TruncatedError, match="100 bytes short"):
        await load(inventory, rows, PlanOptions(), Workers(2), memory=MEMORY)


async def test_what_nobody_announced_stays() -> None:
    """Blobs without a set, received or not, are scanned as ever."""
    files = list(CT.files().values())
    plain = [MemoryBlob(str(n), data) for n, data in enumerate(files[:4])]
    loose = [ReceivedBlob(str(n + 4), (memoryview(data),)) for n, data in enumerate(files[4:])]
    inventory = await scan(sent([*plain, *loose]), Workers(2), memory=MEMORY)
    (rows,) = inventory.select(None).values()
    volume = await load(inventory, rows, PlanOptions(), Workers(2), memory=MEMORY)
    assert np.array_equal(volume.array, CT.array)


@settings(max_examples=60, deadline=None)
@given(
    order=st.integers(1, 40).flatmap(lambda n: st.permutations(range(n))), width=st.integers(1, 20)
)
def test_rows_are_permuted_in_place(order: list[int], width: int) -> None:
    """Any permutation: what numpy's indexing gives, in the same memory."""
    rows: NDArray[np.uint8] = np.random.default_rng(len(order)).integers(
        0, 256, (len(order), width), np.uint8
    )
    wanted = rows[order]
    arrived = Arrived(rows, np.array(order, np.intp), {})
    for part in arrived.parts():
        arrived.permute(part)
    assert np.array_equal(rows, wanted)
