"""PDUs: cut out of a stream in whatever portions it comes; nonsense is refused, never overread."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from contextlib import suppress
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.pdu import A_ABORT_RQ, A_RELEASE_RP, A_RELEASE_RQ
from pynetdicom.pdu import P_DATA_TF as Oracle

from seriesio.transports._dicom_pdu import (
    A_ABORT,
    A_ASSOCIATE_AC,
    ABORT,
    RELEASE_RP,
    RELEASE_RQ,
    Event,
    Fragment,
    Pdu,
    PduError,
    PduReader,
    fragments,
)


def cut(data: bytes, portions: Iterable[int], reader: PduReader) -> list[Event]:
    """Feed a stream to a reader in portions of these sizes, then the rest."""
    events: list[Event] = []
    place = 0
    for size in [*portions, len(data)]:
        end = min(place + size, len(data))
        while place < end:
            space = reader.space()
            part = data[place : min(end, place + len(space))]
            space[: len(part)] = part
            place += len(part)
            events += reader.received(len(part))
    return events


def cut_scattered(data: bytes, portions: Iterable[int], reader: PduReader) -> list[Event]:
    """The same into several pieces of memory at a time, as the system fills them."""
    events: list[Event] = []
    place = 0
    for size in [*portions, *([1 << 20] * len(data))]:
        came = 0
        for view in reader.spaces():
            part = data[place : place + min(len(view), size - came)]
            view[: len(part)] = part
            came, place = came + len(part), place + len(part)
            if len(part) < len(view):
                break
        if not came:
            return events
        events += reader.received(came)
    return events


def told(events: Sequence[Event]) -> list[tuple[int, bool, bytes] | tuple[int, bytes]]:
    """Fragments joined to messages' parts; other PDUs as they are."""
    parts: list[tuple[int, bool, bytes] | tuple[int, bytes]] = []
    pieces: list[bytes] = []
    for event in events:
        if isinstance(event, Pdu):
            parts.append((event.kind, event.body))
            continue
        pieces.append(bytes(event.data))
        if event.last:
            parts.append((event.context, event.command, b"".join(pieces)))
            pieces = []
    return parts


def values(*items: tuple[int, int, bytes]) -> bytes:
    """A P-DATA-TF of presentation data values (context, control, data), as pynetdicom makes it."""
    body = b"".join(pack(">IBB", len(data) + 2, *head) + data for *head, data in items)
    pdu = pack(">BxI", 4, len(body)) + body
    oracle = Oracle()
    oracle.decode(pdu)
    assert oracle.encode() == pdu
    return pdu


STREAM = (
    values((1, 3, b"command"))
    + values((1, 0, b"first"), (1, 0, b""), (1, 2, b"second" * 50))
    + ABORT
    + values((255, 2, b"x"))
)
PARTS = [
    (1, True, b"command"),
    (1, False, b"first" + b"second" * 50),
    (A_ABORT, bytes(4)),
    (255, False, b"x"),
]


@given(st.lists(st.integers(1, 40)), st.sampled_from([64, 100, 1 << 12]))
def test_portions(portions: list[int], slab: int) -> None:
    """Whatever portions a stream comes in, and whatever memory it goes to, it is cut alike."""
    assert told(cut(STREAM, portions, PduReader(1 << 16, slab))) == PARTS


@given(st.lists(st.integers(1, 40)), st.sampled_from([64, 100, 1 << 12]))
def test_portions_side_by_side(portions: list[int], slab: int) -> None:
    """The same where it is received into several pieces of memory."""
    assert told(cut_scattered(STREAM, portions, PduReader(1 << 16, slab))) == PARTS


SIZES = st.lists(st.sampled_from([1, 7, 8, 30, 31, 32, 33, 100, 512, 513]), max_size=4)


@given(
    messages=st.lists(st.tuples(SIZES, st.integers(0, 40), st.integers(0, 600)), max_size=5),
    portions=st.lists(st.integers(1, 3000), max_size=60),
    slab=st.sampled_from([256, 1 << 12, 1 << 14]),
)
def test_pdus_like_the_last(
    messages: list[tuple[list[int], int, int]], portions: list[int], slab: int
) -> None:
    """Messages in PDUs of which many are alike, up to a shorter one: each comes out as sent."""
    rng, stream, wanted = random.Random(1), b"", []
    for sizes, count, last in messages:
        for size in sizes or [40]:
            pieces = [rng.randbytes(size) for _ in range(count)] + [rng.randbytes(last)]
            heads = [(5, 0)] * count + [(5, 2)]
            stream += b"".join(
                values((*head, one)) for head, one in zip(heads, pieces, strict=True)
            )
            wanted.append((5, False, b"".join(pieces)))
    assert told(cut_scattered(stream, portions, PduReader(1 << 16, slab))) == wanted


@given(data=st.data())
def test_hostile_bytes_side_by_side(data: st.DataObject) -> None:
    """However a run of PDUs is damaged: the same parts, or the same error, as in one piece."""
    stream = bytearray(b"".join(values((5, 0, bytes([n]) * 40)) for n in range(30)) + STREAM)
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(stream) - 1))
        stream[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    portions = data.draw(st.lists(st.integers(1, 700), max_size=20))
    found: list[object] = []
    for way in (cut, cut_scattered):
        try:
            found.append(told(way(bytes(stream), portions, PduReader(1 << 16, 1 << 12))))
        except PduError as error:
            found.append(str(error))
    assert found[0] == found[1]


def test_pdus_like_the_last_are_one_piece() -> None:
    """Data of many PDUs are one fragment, a view of the memory that was received into."""
    stream = b"".join(values((5, 0, bytes([n]) * 4000)) for n in range(12))
    events = cut_scattered(stream, [4012, 1 << 20], PduReader(1 << 16))
    assert [len(event.data) for event in events if isinstance(event, Fragment)] == [4000, 11 * 4000]


def test_no_copy() -> None:
    """A fragment is a view of the memory that was received into."""
    reader = PduReader(1 << 16)
    pdu = values((3, 2, b"data" * 1000))
    space = reader.space()
    space[: len(pdu)] = pdu
    (event,) = reader.received(len(pdu))
    assert isinstance(event, Fragment)
    space[12] = 0x21
    assert event.data[0] == 0x21


def test_a_small_pdu_larger_than_the_memory() -> None:
    """An A-ASSOCIATE-AC that does not fit is received all the same."""
    pdu = pack(">BxI", A_ASSOCIATE_AC, 5000) + bytes(range(250)) * 20
    events = cut(pdu * 2, [7, 100], PduReader(1 << 16, 256))
    assert told(events) == [(A_ASSOCIATE_AC, pdu[6:])] * 2


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x99\0\0\0\0\4none", "unknown type 0x99"),
        (b"\0\0\0\0\0\4none", "unknown type 0x00"),
        (b"\x04\0\xff\xff\xff\xff", "4294967295 bytes"),
        (b"\x04\0\0\0\0\0", "of 0 bytes"),
        (b"\x02\0\xff\xff\xff\xff", "4294967295 bytes"),
        (b"\x07\0\0\0\0\1", "with 1 bytes"),
        (pack(">BxIIBB", 4, 10, 100, 1, 0), "value of 100 bytes"),
        (pack(">BxIIBB", 4, 10, 1, 1, 0), "value of 1 bytes"),
        (pack(">BxIIBB", 4, 10, 6, 1, 9), "value of 6 bytes"),
        (pack(">BxIIBB", 4, 10, 3, 1, 0), "3 bytes after"),
        (b"".join(values((1, 0, b"")) for _ in range(80)), "without data"),
    ],
)
def test_nonsense(data: bytes, words: str) -> None:
    """Types and lengths that cannot be are errors that say so, as soon as they are known."""
    with pytest.raises(PduError, match=words):
        cut(data, [], PduReader(1 << 16))


@given(st.binary(max_size=200))
def test_hostile_bytes(data: bytes) -> None:
    """Any bytes are PDUs, the beginning of one, or our error."""
    with suppress(PduError):
        cut(data, [3], PduReader(128, 64))


@given(st.lists(st.binary(max_size=60), max_size=6), st.integers(8, 80), st.booleans())
def test_fragments(pieces: list[bytes], largest: int, command: bool) -> None:
    """What we send is what pynetdicom reads: whole, in PDUs that are not too large, one last."""
    found, last = [], []
    for head, views in fragments(5, pieces, largest, command=command):
        oracle = Oracle()
        pdu = head + b"".join(views)
        oracle.decode(pdu)
        assert len(pdu) - 6 <= largest
        (item,) = oracle.presentation_data_value_items
        assert item.presentation_context_id == 5
        value = item.presentation_data_value or b""
        found.append(value[1:])
        last.append(value[0])
    assert b"".join(found) == b"".join(pieces)
    assert last == [int(command)] * (len(last) - 1) + [int(command) | 2]


def test_the_end_of_an_association() -> None:
    """The PDUs that end an association are those that pynetdicom makes."""
    abort = A_ABORT_RQ()
    abort.source, abort.reason_diagnostic = 0, 0
    assert abort.encode() == ABORT
    assert A_RELEASE_RQ().encode() == RELEASE_RQ
    assert A_RELEASE_RP().encode() == RELEASE_RP
