"""Compiled passes against zlib, hashlib, numpy and the operating system; and a process without."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from struct import pack
from typing import Any

import numpy as np
import pytest
from anyio import to_thread
from hypothesis import given
from hypothesis import strategies as st

from seriesio import Series, native
from seriesio.testing import phantom

from .conftest import missing

PURE = bool(os.environ.get("SERIESIO_PURE"))
RNG = np.random.default_rng(3)


@pytest.fixture(scope="module")
def built() -> Any:
    """The compiled module itself, below its door."""
    if PURE:
        pytest.skip("SERIESIO_PURE is set")
    return pytest.importorskip("seriesio._native")


def test_it_is_built() -> None:
    """Where a compiler is, as in CI, installing the package builds all of it."""
    if PURE:
        assert not native.compiled
        return
    if native.compiled != {"passes", "inflate"}:
        missing(f"compiled code was not built with the package: only {sorted(native.compiled)}")


# --- sums -------------------------------------------------------------------------------------


@given(st.binary(max_size=1400), st.integers(0, 0xFFFFFFFF))
def test_crc32(data: bytes, value: int) -> None:
    """zlib's, for every length around the steps of the fast way, going on from any value."""
    if native.crc32 is None:
        pytest.skip("no means for a fast CRC-32 here")
    assert native.crc32(data, value) == zlib.crc32(data, value)
    assert native.crc32(memoryview(data)[1:]) == zlib.crc32(data[1:])


def test_crc32_of_much() -> None:
    """A megabyte at odd places, while other threads do the same."""
    if native.crc32 is None:
        pytest.skip("no means for a fast CRC-32 here")
    data = RNG.bytes(1 << 20)
    found: list[bool] = []

    def work(start: int) -> None:
        part = memoryview(data)[start:]
        assert native.crc32 is not None
        found.append(native.crc32(part) == zlib.crc32(part))

    threads = [threading.Thread(target=work, args=(start,)) for start in range(7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 7


LENGTHS = st.sampled_from([0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 129, 1000, 4096])


@given(st.lists(st.lists(LENGTHS, max_size=4), max_size=20), st.randoms())
def test_md5(lengths: list[list[int]], random: Any) -> None:
    """hashlib's, for any number of messages of any pieces, empty ones too."""
    items = [tuple(random.randbytes(length) for length in own) for own in lengths]
    expected = [hashlib.md5(b"".join(pieces)).digest() for pieces in items]
    assert native.md5(items) == expected


@given(st.lists(st.lists(LENGTHS, max_size=4), max_size=20), st.randoms())
def test_md5_of_one_large_among_small(built: Any, lengths: list[list[int]], random: Any) -> None:
    """As above by the compiled way alone, with lanes that stand idle at the end."""
    items = [tuple(random.randbytes(length) for length in own) for own in lengths]
    items.append((os.urandom(70_001), bytearray(b"x"), memoryview(b"abc")))
    assert built.md5(items) == [hashlib.md5(b"".join(pieces)).digest() for pieces in items]


@pytest.mark.parametrize("items", [3, [b"x"], [("x",)], [(b"x",), None]])
def test_md5_of_what_is_no_bytes(built: Any, items: Any) -> None:
    """An error, and every buffer that was taken is given back."""
    held = bytearray(b"abc")
    with pytest.raises(TypeError):
        built.md5([(held,), *items] if isinstance(items, list) else items)
    held += b"d"  # a buffer that is still lent cannot grow


# --- cells ------------------------------------------------------------------------------------


def columns_of(words: Any, columns: int) -> Any:
    """(columns,) sums of 64-bit words, one by one in Python."""
    sums = [0] * columns
    for place in range(len(words) // columns * columns):
        sums[place % columns] = (sums[place % columns] + int(words[place])) % (1 << 64)
    return sums


CELLS = [
    pytest.param(dtype, size, columns, id=f"{dtype}-{size}-{columns}")
    for dtype in ("uint16", "int16")
    for size, columns in ((4, 1), (36, 3), (1000, 509), (4096, 521), (521 * 4 * 2 + 1, 521))
]


@pytest.mark.parametrize("add", [0, 1, -1024, 40_000])
@pytest.mark.parametrize(("dtype", "size", "columns"), CELLS)
def test_finish(built: Any, dtype: str, size: int, columns: int, add: int) -> None:
    """Least and greatest before, all cells after, and the sums of each slot's words, by hand."""
    limits = np.iinfo(dtype)
    slots = RNG.integers(limits.min, limits.max, (3, size), dtype, endpoint=True)
    before, sums = slots.copy(), np.full((3, columns), 99, np.uint64)
    signed, data = dtype == "int16", slots.reshape(-1).view(np.uint8).data
    found = native.finish(data, 3, signed, add, columns, sums.data)
    assert found == (before.min(), before.max())
    expected = (before.astype(np.int64) + add) % (1 << 16)
    assert np.array_equal(slots.view(np.uint16), expected)
    for slot, own in zip(slots, sums.tolist(), strict=True):
        words = slot[: size // 4 * 4].view(np.uint64)
        assert own == columns_of(words, columns)


@pytest.mark.parametrize(
    ("cells", "slots", "columns", "sums"),
    [(16, 3, 1, 3), (16, 2, 1, 3), (16, 0, 1, 0), (16, -1, 1, 1), (0, 1, 1, 1), (16, 1, 0, 1),
     (6, 2, 1, 2), (16, 1, 1 << 62, 1)],
)  # fmt: skip
def test_finish_of_other_sizes(built: Any, cells: int, slots: int, columns: int, sums: int) -> None:
    """Sizes that do not agree are refused before a byte is touched."""
    data, room = bytearray(cells), np.zeros(sums, np.uint64)
    with pytest.raises(ValueError, match="other sizes"):
        native.finish(memoryview(data), slots, False, 1, columns, room.data)
    assert not any(data)


# --- files ------------------------------------------------------------------------------------


@pytest.fixture
def many(tmp_path: Path) -> Iterator[list[Path]]:
    """Nine files of 16-bit cells; afterwards as many descriptors are open as before."""
    paths = [tmp_path / f"{number} é" for number in range(9)]
    for path in paths:
        path.write_bytes(RNG.integers(0, 4096, 3000, np.uint16).tobytes())
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    yield paths
    after = len(os.listdir("/proc/self/fd")) if before else 0
    assert before == after


def test_read(built: Any, many: list[Path]) -> None:
    """Spans of files; what ends early, is not there, is a directory or a FIFO says so."""
    fifo = many[0].with_name("fifo")
    os.mkfifo(fifo)
    asked = [
        (many[0], 0, 6000), (many[1], 100, 50), (many[2], 5990, 100), (many[3], 7000, 10),
        (many[4].with_name("none"), 0, 5), (many[4].parent, 0, 5), (fifo, 0, 5), (many[5], 3, 0),
    ]  # fmt: skip
    rooms = [bytearray(count) for _, _, count in asked]
    found = native.read(
        [
            (str(path), start, memoryview(room), -1, native.UNSEEN)
            for (path, start, _), room in zip(asked, rooms, strict=True)
        ]
    )
    assert found is not None
    counts = [count for count, _ in found]
    assert counts[:6] == [6000, 50, 10, 0, -errno.ENOENT, -errno.EISDIR]
    assert counts[6] <= 0
    assert counts[7] == 0
    for (path, start, count), room in zip(asked[:3], rooms, strict=False):
        data = path.read_bytes()[start : start + count]
        assert room[: len(data)] == data


def test_read_what_is_open(built: Any, many: list[Path]) -> None:
    """A file that is open stays so, and the CRC goes on from what it was, over what was read."""
    data = many[0].read_bytes()
    descriptor = os.open(many[0], os.O_RDONLY)
    try:
        rooms = [bytearray(1000), bytearray(700), bytearray(100)]
        starts = [0, 1000, 5950]
        spans: list[native.Span] = [
            (descriptor, start, memoryview(room), zlib.crc32(data[:start]), native.UNSEEN)
            for start, room in zip(starts, rooms, strict=True)
        ]
        expected = [(1000, zlib.crc32(data[:1000])), (700, zlib.crc32(data[:1700])),
                    (50, zlib.crc32(data))]  # fmt: skip
        assert native.read(spans) == expected
        assert os.fstat(descriptor).st_size == len(data)
        assert rooms[0] + rooms[1] == data[:1700]
    finally:
        os.close(descriptor)
    closed = descriptor, 0, memoryview(bytearray(3)), -1, native.UNSEEN
    assert native.read([closed]) == [(-errno.EBADF, -1)]


def test_read_what_was_listed(built: Any, many: list[Path]) -> None:
    """A file that has another time than when it was listed is not read; one that is open is."""
    os.utime(many[1], ns=(0, -5))
    times = [path.stat().st_mtime_ns for path in many[:3]]
    assert times[1] == -5
    asked = [times[0], times[1], times[2] + 1]
    rooms = [bytearray(9) for _ in range(3)]
    spans: list[native.Span] = [
        (str(path), 0, memoryview(room), -1, time)
        for path, room, time in zip(many, rooms, asked, strict=False)
    ]
    assert native.read(spans) == [(9, -1), (9, -1), (-errno.ESTALE, -1)]
    assert not any(rooms[2])
    with many[2].open("rb") as file:
        assert native.read([(file.fileno(), 0, memoryview(rooms[2]), -1, 3)]) == [(9, -1)]


@pytest.mark.parametrize(
    "span",
    [3, (), ("x", 0, bytearray(3), -1), ("x", -1, bytearray(3), -1, 0),
     ("a\0b", 0, bytearray(3), -1, 0), ("x", 0, b"read only", -1, 0),
     ("x", 1 << 64, bytearray(3), -1, 0), (-1, 0, bytearray(3), -1, 0),
     (1 << 40, 0, bytearray(3), -1, 0), ("x", (1 << 63) - 1, bytearray(3), -1, 0),
     ("x", 0, bytearray(3), 1 << 32, 0), (None, 0, bytearray(3), -1, 0),
     ("x", 0, bytearray(3), -1, 0, 2), ("x", 0, bytearray(3), -1, 1 << 63)],
)  # fmt: skip
def test_read_of_what_is_no_span(built: Any, many: list[Path], span: Any) -> None:
    """An error, and every buffer that was taken is given back."""
    held = bytearray(10)
    with pytest.raises((TypeError, ValueError, OverflowError, BufferError)):
        built.read([(str(many[0]), 0, held, -1, native.UNSEEN), span])
    held += b"1"


def test_read_cells(built: Any, many: list[Path]) -> None:
    """Reading and finishing in one go is reading, summing, and then finishing."""
    rooms = np.zeros((9, 3000), np.uint16)
    sums = np.zeros((9, 509), np.uint64)
    cells: list[native.Cells] = [
        ((str(path), 0, rooms[n].view(np.uint8).data, n, native.UNSEEN), -n, sums[n].data)
        for n, path in enumerate(many)
    ]
    found = native.read_cells(cells, False)
    assert found is not None
    for n, (path, (count, crc, low, high)) in enumerate(zip(many, found, strict=True)):
        expected = np.fromfile(path, np.uint16)
        assert (count, low, high) == (6000, expected.min(), expected.max())
        assert crc == zlib.crc32(expected.tobytes(), n)
        assert np.array_equal(rooms[n], (expected.astype(int) - n) % (1 << 16))
        assert sums[n].tolist() == columns_of(rooms[n].view(np.uint64), 509)


def test_cells_of_odd_sizes(built: Any, many: list[Path]) -> None:
    """Half a cell, half a word of sums: refused."""
    path = str(many[0])
    for cells, sums in ((3, 8), (4, 7), (4, 0)):
        with pytest.raises(ValueError, match="cells of 2 bytes"):
            built.read_cells([(path, 0, bytearray(cells), -1, 0, 0, bytearray(sums))], False)


# --- element headers --------------------------------------------------------------------------


def tables(arena: int = 64, base: int = 0, end: int = 64, tokens: int = 2, **sizes: int) -> Any:
    """What lockstep takes, for one file; ``sizes`` are bytes that a table is longer by."""
    long = [pack("<q", base), pack("<q", end), bytes(8 * tokens), bytes(8 * tokens)]
    short = [bytes(tokens), bytes(tokens), bytes(8 * tokens)]
    each = pack(f"<{tokens}q", *range(tokens))
    out = [bytearray(1), *(bytearray(8 * tokens) for _ in range(3))]
    found: list[Any] = [bytes(arena), *long, *short, each, each, True, *out]
    for place, more in sizes.items():
        found[int(place[1:])] = found[int(place[1:])] + bytes(more)
    return found


@pytest.mark.parametrize(
    "wrong",
    [{"_1": 8}, {"_2": 1}, {"_3": 8}, {"_4": 8}, {"_5": 1}, {"_6": 1}, {"_7": 8}, {"_8": 8},
     {"_8": 1}, {"_9": 8}, {"_11": 1}, {"_12": 8}, {"_12": 1}, {"_13": 8}, {"_14": 8}],
)  # fmt: skip
def test_lockstep_of_other_sizes(built: Any, wrong: dict[str, int]) -> None:
    """Tables that do not agree are refused."""
    native.lockstep(*tables())
    with pytest.raises(ValueError, match="other sizes"):
        native.lockstep(*tables(**wrong))


@pytest.mark.parametrize("wrong", [{"base": -1}, {"base": 9, "end": 8}, {"end": 65}])
def test_lockstep_of_files_that_lie_outside(built: Any, wrong: dict[str, int]) -> None:
    """Files outside of the arena are refused."""
    with pytest.raises(ValueError, match="outside of the arena"):
        native.lockstep(*tables(**wrong))


@pytest.mark.parametrize("table", [8, 9])
@pytest.mark.parametrize("token", [-1, -(2**63), 3, 2**63 - 1])
def test_lockstep_of_elements_without_a_token(built: Any, table: int, token: int) -> None:
    """Elements are tokens, and end where one begins, or with the last one."""
    given = tables()
    given[table] = pack("<qq", 0, token)
    with pytest.raises(ValueError, match="without a token"):
        native.lockstep(*given)


def test_lockstep_of_no_elements(built: Any) -> None:
    """Nothing is found, and nothing is wrong, where there are no tokens or no files."""
    given = tables(tokens=0)
    native.lockstep(*given)
    assert given[11] == b"\1"
    given = tables()
    given[1:3] = b"", b""
    given[11:] = [bytearray() for _ in range(4)]
    native.lockstep(*given)


def test_lockstep_of_elements(built: Any) -> None:
    """Where elements begin, their values, and how long they are: by hand."""
    short = b"\x08\0\x60\0CS" + pack("<H", 2) + b"CT"
    long = b"\x09\0\x10\x10OB\0\0" + pack("<L", 4) + bytes(4)
    endless = b"\x09\0\x20\x10SQ\0\0" + pack("<L", 0xFFFFFFFF)
    inside = pack("<HHL", 0xFFFE, 0xE0DD, 0)
    pixels = b"\xe0\x7f\x10\0OB\0\0" + pack("<L", 0xFFFFFFFF)
    parts = short, long, endless, inside, pixels
    starts = [sum(map(len, parts[:place])) for place in range(5)]
    words = [part[:8] for part in parts]
    file = b"".join(parts)
    longer = b"".join([short[:6] + pack("<H", 4) + b"PTPT", *parts[1:]])
    arena, ends = file + longer, [len(file), len(file) + len(longer)]
    good, found = bytearray(2), np.zeros((3, 2, 4), np.int64)
    native.lockstep(
        arena, pack("<qq", 0, len(file)), pack("<qq", *ends), pack("<5q", *starts),
        pack("<5q", 2, 4, 0xFFFFFFFF, 0, 0xFFFFFFFF), bytes([0, 1, 1, 2, 1]),
        bytes([0, 0, 1, 1, 1]), b"".join(words), pack("<4q", 0, 1, 2, 4), pack("<4q", 1, 2, 4, 5),
        True, good, *found,
    )  # fmt: skip
    assert good == b"\1\1"
    assert found[0].tolist() == [[0, 10, 26, 46], [0, 12, 28, 48]]
    assert found[1].tolist() == [[8, 22, 38, 58], [8, 24, 40, 60]]
    assert found[2].tolist() == [[2, 4, 8, -1], [4, 4, 8, -1]]


def test_lockstep_of_tables_that_overlap(built: Any) -> None:
    """Matches are written over the table of places: none of those leads out of the arena."""
    files, header = 4, b"\x10\x00\x10\x00LO\x00\x00" + bytes(8)
    arena = header * files
    wide = np.frombuffer(header[:8], "<u2").astype(np.uint16)
    ends = np.full(files, len(arena), np.int64)
    good, others = bytearray(files), [bytearray(8 * files) for _ in range(2)]
    places = np.zeros(files + 1, np.int64)
    places[:files] = np.arange(files) * len(header)
    one = pack("<q", 1)
    # The length that is found in a file is the place of the next one.
    given = [arena, places[:files].data, ends.data, bytes(8), bytes(8), bytes(1), bytes(1)]
    native.lockstep(*given, wide.data, bytes(8), one, True, good, *others, places[1:].data)
    assert bytes(good) == b"\x01" * files
    assert places.tolist() == [0] * (files + 1)

    lengths = np.frombuffer(header[:6] + b"\xff\x7f" + bytes(8 + 48), np.uint8)
    places[:files] = 0
    given = [bytes(lengths), places[:files].data, np.full(files, 64, np.int64).data, *given[3:]]
    with pytest.raises(ValueError, match="outside of the arena"):  # 0x7fff is
        native.lockstep(*given, wide.data, bytes(8), one, False, good, *others, places[1:].data)


@pytest.mark.parametrize("start", [2**63 - 1, 2**63 - 8, -(2**63), -1, 64, 57])
def test_lockstep_of_tokens_that_lie_outside(built: Any, start: int) -> None:
    """A token at a place that no file has, however far, is no match."""
    given = tables(tokens=1, base=8)
    given[3] = pack("<q", start)
    given[11] = bytearray(b"\xff")
    native.lockstep(*given)
    assert given[11] == b"\0"


def test_lockstep_of_lengths_without_end(built: Any) -> None:
    """A length that no number of 64 bits can grow from is no match."""
    given = tables(tokens=2)
    given[4] = pack("<qq", -(2**63), -(2**63))
    given[11] = bytearray(b"\xff")
    native.lockstep(*given)
    assert given[11] == b"\0"


@pytest.mark.parametrize("table", [1, 2, 3, 4, 7, 8, 9, 12, 13, 14])
def test_lockstep_of_tables_that_lie_askew(built: Any, table: int) -> None:
    """Numbers at places where a processor may not read them are refused."""
    given = tables()
    askew = memoryview(bytearray(len(given[table]) + 1))[1:]
    askew[:] = given[table]
    given[table] = askew
    with pytest.raises(ValueError, match="other sizes"):
        native.lockstep(*given)


# --- all of it --------------------------------------------------------------------------------

OPENED = """
import asyncio, sys, numpy, seriesio, seriesio.native
series = asyncio.run(seriesio.Series.open(sys.argv[1]))
numpy.savez(sys.argv[2], voxels=series.array, prints=series._volume.stored.prints)
print(sorted(seriesio.native.compiled))
"""


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("intercept", [0, -1024])
@pytest.mark.parametrize("packed", [False, True])
async def test_the_same_without(tmp_path: Path, packed: bool, intercept: int, bits: int) -> None:
    """A process without compiled code opens the same voxels, with the same fingerprints."""
    made = phantom(shape=(12, 40, 36), intercept=intercept, bits_stored=bits, modality="CT")
    path = made.save_zip(tmp_path / "a.zip") if packed else made.save(tmp_path / "a")
    command = [sys.executable, "-c", OPENED, str(path), str(tmp_path / "pure.npz")]
    environment = {**os.environ, "SERIESIO_PURE": "1"}
    ran = await to_thread.run_sync(
        lambda: subprocess.run(command, env=environment, capture_output=True, check=True)
    )
    assert ran.stdout == b"[]\n"
    series, pure = await Series.open(path), np.load(tmp_path / "pure.npz")
    assert series.dtype == pure["voxels"].dtype
    assert np.array_equal(series.array, pure["voxels"])
    prints = series._volume.stored.prints
    assert prints is not None
    assert np.array_equal(prints, pure["prints"])
