"""Our own inflating against zlib: the same bytes, the same end, the same streams refused.

Streams are zlib's own, and made by hand from codes at random: of all lengths, incomplete, with too
many codes, with distances and lengths that nobody would write.
"""

from __future__ import annotations

import os
import random
import threading
import time
import zlib
from itertools import groupby
from typing import Any, Final

import pytest

from seriesio import native

from .conftest import missing

PURE = bool(os.environ.get("SERIESIO_PURE"))
# RFC 1951 section 3.2.5: the least of each code, and its extra bits.
LENGTHS: Final = (*range(3, 11), 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115,
                  131, 163, 195, 227, 258)  # fmt: skip
LENGTH_BITS: Final = [0] * 8 + [n for n in range(1, 6) for _ in range(4)] + [0]
DISTANCE_BITS: Final = [0, 0] + [n // 2 - 1 for n in range(2, 30)]
DISTANCES: Final = [1 + sum(1 << bits for bits in DISTANCE_BITS[:n]) for n in range(30)]
ORDER: Final = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)


@pytest.fixture(autouse=True, scope="module")
def built() -> None:
    """Nothing is proven of what is not there."""
    if PURE:
        pytest.skip("SERIESIO_PURE is set")
    if native.inflater() is None:
        missing("the inflater is not built")


def inflated(
    packed: bytes, most: int, room: int, luck: random.Random
) -> tuple[bytes, bool, int] | None:
    """All that comes out, whether the stream has ended, and what it used; None: refused.

    With ``most`` bytes of it at a time, and ``room`` for what comes out, or fewer.
    """
    stream = native.inflater()
    assert stream is not None
    found, used, idle = bytearray(), 0, 0
    while not stream.eof and idle < 20:
        data, out = packed[used : used + luck.randint(0, most)], bytearray(luck.randint(1, room))
        try:
            took, made = stream.into(data, memoryview(out))
        except ValueError:
            return None
        found += out[:made]
        used += took
        idle = 0 if took or made or (data and used < len(packed) and not took) else idle + 1
    return bytes(found), stream.eof, used


def by_zlib(packed: bytes) -> tuple[bytes, bool, int] | None:
    stream = zlib.decompressobj(-15)
    try:
        data = stream.decompress(packed)
    except zlib.error:
        return None
    return data, stream.eof, len(packed) - len(stream.unused_data)


def agree(packed: bytes, luck: random.Random) -> bool:
    """Hold a stream against zlib, in pieces of some sizes; False if it is refused."""
    expected = by_zlib(packed)
    few = expected is None or len(expected[0]) < 20_000
    for _ in range(3):
        most = luck.choice([2, 40, 300, 1 << 20, 1 << 20] if few else [9000, 1 << 20])
        room = luck.choice([3, 90, 4000, 1 << 17] if few else [9000, 1 << 17])
        found = inflated(packed, most, room, luck)
        if expected is None:
            assert found is None
            continue
        assert found is not None
        assert found[:2] == expected[:2]
        if expected[1]:
            assert found[2] == expected[2]
    return expected is not None


# --- streams of zlib ---------------------------------------------------------------------------

STRATEGIES: Final = [zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE,
                     zlib.Z_FIXED]  # fmt: skip


def data_of(luck: random.Random, size: int) -> bytes:
    kind = luck.randrange(5)
    if kind == 0:
        return luck.randbytes(size)
    if kind == 1:
        return bytes(luck.choices(b"abcdefgh\0\0\0\0\xff", k=size))
    if kind == 2:
        return (luck.randbytes(luck.randint(1, 40_000)) * (size + 1))[:size]
    if kind == 3:  # as pixels are: 12 bits in 16
        return b"".join(luck.randrange(900, 1300).to_bytes(2, "little") for _ in range(size // 2))
    return bytes(size)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_streams_of_zlib(level: int, strategy: int) -> None:
    """Whatever zlib makes of data, flushed in the middle or not, comes back."""
    luck = random.Random(100 * level + strategy)
    for size in (0, 1, 2, 300, 5000, 70_000, 150_000):
        data = data_of(luck, size)
        packer = zlib.compressobj(level, zlib.DEFLATED, -15, luck.randint(1, 9), strategy)
        packed = packer.compress(data[: size // 3]) + packer.flush(zlib.Z_FULL_FLUSH)
        packed += packer.compress(data[size // 3 :]) + packer.flush()
        assert agree(packed + luck.randbytes(luck.randrange(40)), luck)


def test_room_for_exactly_what_comes() -> None:
    """The end is seen with the last byte, when the stream is there; nothing comes after it."""
    luck = random.Random(7)
    for size in (1, 299, 300, 301, 5000):
        data = data_of(luck, size)
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        packed = packer.compress(data) + packer.flush()
        stream, out = native.inflater(), bytearray(len(data))
        assert stream is not None
        assert stream.into(packed, memoryview(out)) == (len(packed), len(data))
        assert stream.eof
        assert bytes(out) == data
        assert stream.into(b"more", memoryview(out)) == (0, 0)


# --- streams by hand ---------------------------------------------------------------------------


class Bits:
    """Bits in the order of RFC 1951 section 3.1.1."""

    def __init__(self) -> None:
        self.value = self.count = 0

    def put(self, value: int, count: int) -> None:
        self.value |= (value & ((1 << count) - 1)) << self.count
        self.count += count

    def code(self, code: int, count: int) -> None:
        """A Huffman code: its first bit first."""
        self.put(int(format(code, f"0{count}b")[::-1], 2), count)

    def bytes(self) -> bytes:
        return self.value.to_bytes((self.count + 7) // 8, "little")


def codes(sizes: list[int]) -> list[int]:
    """RFC 1951 section 3.2.2."""
    code, after = 0, [0] * 17
    for bits in range(1, 16):
        after[bits] = code = (code + (sizes.count(bits - 1) if bits > 1 else 0)) << 1
    found = []
    for size in sizes:
        found.append(after[size] if size else 0)
        after[size] += 1
    return found


def complete(luck: random.Random, count: int, longest: int) -> list[int]:
    """Lengths of so many codes, at random, or the single one that may be alone."""
    leaves, skew = [1, 1], luck.random()
    while len(leaves) < count:
        free = [n for n, size in enumerate(leaves) if size < longest]
        deep = max(free, key=leaves.__getitem__)
        size = leaves.pop(deep if luck.random() < skew else luck.choice(free))
        leaves += [size + 1, size + 1]
    luck.shuffle(leaves)
    return leaves if count > 1 else [1]


class Maker:
    """Makes one stream; wrong here and there."""

    def __init__(self, luck: random.Random) -> None:
        self.luck = luck
        self.bits = Bits()
        self.made = 0

    def rarely(self, chance: float) -> bool:
        return self.luck.random() < chance

    def stream(self) -> bytes:
        blocks = self.luck.choice([1, 2, 3, 6])
        for number in range(blocks):
            self.block(last=number == blocks - 1)
        packed = bytearray(self.bits.bytes())
        if self.rarely(0.15):
            packed[self.luck.randrange(len(packed))] ^= 1 << self.luck.randrange(8)
        if self.rarely(0.15):
            del packed[self.luck.randrange(len(packed)) :]
        return bytes(packed) + self.luck.randbytes(self.luck.choice([0, 0, 20]))

    def block(self, *, last: bool) -> None:
        kind = self.luck.choice([0, 1, 2, 2, 2, 2])
        self.bits.put(last, 1)
        self.bits.put(kind, 2)
        if kind == 0:
            self.stored()
            return
        literals, distances = [8] * 144 + [9] * 112 + [7] * 24 + [8] * 8, [5] * 32
        if kind == 2:
            literals = self.sizes(self.luck.randint(257, 288 if self.rarely(0.03) else 286), 256)
            distances = self.sizes(self.luck.randint(1, 32 if self.rarely(0.03) else 30), None)
            if self.rarely(0.05):
                distances = [0] * len(distances)
            self.tables(literals, distances)
        self.symbols(literals, distances)

    def stored(self) -> None:
        self.bits.put(0, -self.bits.count % 8)
        data = self.luck.randbytes(self.luck.choice([0, 1, 700]))
        self.bits.put(len(data), 16)
        self.bits.put(len(data) ^ (7 if self.rarely(0.02) else 0xFFFF), 16)
        self.bits.put(int.from_bytes(data, "little"), 8 * len(data))
        self.made += len(data)

    def sizes(self, count: int, needed: int | None) -> list[int]:
        """Lengths of codes, most of them complete; ``needed`` has one, most of the time."""
        luck, found = self.luck, [0] * count
        used = luck.choice([1, 2, 3, count // 2 + 1, count, luck.randint(1, count)])
        places = luck.sample(range(count), min(used, count))
        if needed is not None and needed not in places and not self.rarely(0.02):
            places[0] = needed
        for place, size in zip(places, complete(luck, len(places), 15), strict=False):
            found[place] = size
        if self.rarely(0.03):
            found[luck.randrange(count)] = luck.randrange(16)
        return found

    def tables(self, literals: list[int], distances: list[int]) -> None:
        luck, bits = self.luck, self.bits
        bits.put(len(literals) - 257, 5)
        bits.put(len(distances) - 1, 5)
        own = [4] * 16 + [0] * 3
        while self.rarely(0.5) or max(own) > 7:
            own = complete(luck, 19, 7)
        if self.rarely(0.02):
            own[luck.randrange(19)] = luck.randrange(8)
        told = max(4, *(n + 1 for n, symbol in enumerate(ORDER) if own[symbol]))
        bits.put(told - 4, 4)
        for symbol in ORDER[:told]:
            bits.put(own[symbol], 3)
        self.run_lengths([*literals, *distances], own)

    def run_lengths(self, sizes: list[int], own: list[int]) -> None:
        made = codes(own)

        def put(symbol: int, value: int = 0, extra: int = 0) -> None:
            self.bits.code(made[symbol], own[symbol]) if own[symbol] else None
            self.bits.put(value, extra)

        for size, group in groupby(sizes):
            left, first = len(list(group)), True
            while left:
                many = min(left, 138)
                if not all(own[16:]) or self.rarely(0.1) or (size and first) or many < 3:
                    put(size)
                    many = 1
                elif size:
                    many = min(many, 6)
                    put(16, many - 3, 2)
                elif many > 10:
                    put(18, many - 11, 7)
                else:
                    put(17, many - 3, 3)
                left, first = left - many, False

    def symbols(self, literals: list[int], distances: list[int]) -> None:
        luck, bits = self.luck, self.bits
        of_literals, of_distances = codes(literals), codes(distances)
        plain = [n for n in range(256) if literals[n]]
        lengths = [n for n in range(257, len(literals)) if literals[n]]
        ways = [n for n, size in enumerate(distances) if size]
        matches = luck.random()
        for _ in range(luck.choice([0, 3, 100, 900])):
            if lengths and ways and luck.random() < matches:
                symbol, way = luck.choice(lengths), luck.choice(ways)
                near = way < 30 and DISTANCES[way] <= self.made and symbol < 286
                if not near and not self.rarely(0.001):
                    continue
                bits.code(of_literals[symbol], literals[symbol])
                if symbol < 286:
                    bits.put(luck.getrandbits(9), LENGTH_BITS[symbol - 257])
                    self.made += LENGTHS[symbol - 257]
                bits.code(of_distances[way], distances[way])
                if way < 30:
                    bits.put(luck.getrandbits(14) * self.rarely(0.01), DISTANCE_BITS[way])
            elif plain:
                symbol = luck.choice(plain)
                bits.code(of_literals[symbol], literals[symbol])
                self.made += 1
        if literals[256]:
            bits.code(of_literals[256], literals[256])


def test_many_empty_blocks() -> None:
    """Blocks that hold nothing take no longer than what is read, and hold nobody up."""
    empty = Bits()
    for _ in range(4):
        empty.put(0b0000000010, 10)
    packed = empty.bytes() * 2_000_000
    turns, begin, done = 0, threading.Event(), False

    def others() -> None:
        nonlocal turns
        begin.set()
        while not done:
            turns += 1
            time.sleep(0)

    thread = threading.Thread(target=others)
    thread.start()
    begin.wait(5)
    before, start = turns, time.thread_time()
    stream: Any = native.inflater()
    assert stream.into(packed, memoryview(bytearray(1))) == (len(packed), 0)
    ours = time.thread_time() - start
    during = turns - before
    done = True
    thread.join()
    assert during > 5
    start = time.thread_time()
    zlib.decompressobj(-15).decompress(packed)
    assert ours < 20 * (time.thread_time() - start)  # 120 times, with tables built for each


def test_fixed_codes_between_others() -> None:
    """Tables of fixed codes are used again, and not those of what came between."""
    luck = random.Random(3)
    packed = expected = b""
    for number in range(12):
        data = data_of(luck, 500)
        strategy = zlib.Z_FIXED if number % 3 else zlib.Z_DEFAULT_STRATEGY
        packer = zlib.compressobj(6, zlib.DEFLATED, -15, 8, strategy)
        packed += packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH)
        expected += data
    packed += b"\x03\x00"  # the last block, fixed and empty
    assert inflated(packed, 90, 70, luck) == (expected, True, len(packed))
    assert agree(packed, luck)


@pytest.mark.parametrize("seed", range(20))
def test_streams_by_hand(seed: int) -> None:
    """Codes of any lengths, complete or not, are taken or refused as zlib does it."""
    luck = random.Random(seed)
    taken = [agree(Maker(luck).stream(), luck) for _ in range(25)]
    assert 5 < sum(taken) < 25


@pytest.mark.parametrize(
    ("bits", "wrong"),
    [
        ([(1, 1), (3, 2)], "block type"),
        ([(1, 1), (0, 2), (0, 5), (1, 16), (1, 16)], "stored block lengths"),
        ([(1, 1), (2, 2), (30, 5), (0, 5), (0, 4)], "too many"),
        ([(1, 1), (2, 2), (0, 5), (30, 5), (0, 4)], "too many"),
        ([(1, 1), (2, 2), (0, 5), (0, 5), (0, 4), (0o1111, 12)], "code lengths set"),
        ([(1, 1), (2, 2), (0, 5), (0, 5), (0, 4), (0, 12)], "code lengths set"),
        ([(1, 1), (1, 2), (0b01100011, 8)], "literal/length code"),  # 286
        ([(1, 1), (1, 2), (0b1000000, 7), (0b01111, 5)], "distance code"),
        ([(1, 1), (1, 2), (0b1000000, 7), (0, 5)], "too far back"),
    ],
)
@pytest.mark.parametrize("behind", [b"", bytes(400)])
def test_what_is_wrong(bits: list[tuple[int, int]], wrong: str, behind: bytes) -> None:
    """Each kind of damage is named, whether much or nothing follows it."""
    made = Bits()
    for value, count in bits:
        made.put(value, count)
    packed = made.bytes() + behind
    with pytest.raises(zlib.error):
        zlib.decompress(packed + bytes(4), -15)
    stream: Any = native.inflater()
    with pytest.raises(ValueError, match=f"does not inflate: .*{wrong}"):
        stream.into(packed + bytes(4), memoryview(bytearray(1000)))
    assert not stream.eof
    with pytest.raises(ValueError, match="damaged before"):  # whatever comes
        stream.into(b"\xff" * 900, memoryview(bytearray(1000)))
