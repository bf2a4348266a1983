"""Protocol data units of the DICOM upper layer, cut out of a byte stream; pure, no I/O.

What carries data (P-DATA-TF, PS3.8 section 9.3.5) is cut without a copy: its fragments are views of
the slabs of memory that the bytes were received into. All other PDUs are small and are bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from struct import Struct
from typing import Final, TypeAlias

from ..errors import TransportError
from ._dicom_runs import HEAD, Like, Run
from ._slabs import mapped, shared

__all__ = [
    "ABORT",
    "A_ABORT",
    "A_ASSOCIATE_AC",
    "A_ASSOCIATE_RJ",
    "A_ASSOCIATE_RQ",
    "A_RELEASE_RP",
    "A_RELEASE_RQ",
    "P_DATA_TF",
    "RELEASE_RP",
    "RELEASE_RQ",
    "Event",
    "Fragment",
    "Pdu",
    "PduError",
    "PduReader",
    "fragments",
]

A_ASSOCIATE_RQ: Final = 0x01
A_ASSOCIATE_AC: Final = 0x02
A_ASSOCIATE_RJ: Final = 0x03
P_DATA_TF: Final = 0x04
A_RELEASE_RQ: Final = 0x05
A_RELEASE_RP: Final = 0x06
A_ABORT: Final = 0x07

RELEASE_RQ: Final = b"\x05\0\0\0\0\4\0\0\0\0"
RELEASE_RP: Final = b"\x06\0\0\0\0\4\0\0\0\0"
ABORT: Final = b"\x07\0\0\0\0\4\0\0\0\0"  # by the service user (PS3.8 section 9.3.8)

_SLAB: Final = 1 << 18
_FIRST: Final = 1 << 16  # negotiation and queries need no more
_LEAST: Final = 1 << 13  # bytes that a slab must have left to be received into
_HEAD: Final = Struct(">BxI")  # PDU type, length (PS3.8 section 9.3.1)
_ITEM: Final = Struct(">IBB")  # PDV length, context, message control header (table 9-23, annex E)
_BOTH: Final = Struct(">BxIIBB")
_COMMAND, _LAST = 0x01, 0x02
# Largest of any PDU but P-DATA-TF: 128 contexts with all their transfer syntaxes, with room.
_LARGEST: Final = 1 << 18
_EMPTY_ITEMS: Final = 64  # presentation data values without data, one after the other


class PduError(TransportError):
    """Bytes that are no PDU, or none that may come here; an association ends with it."""


@dataclass(frozen=True, slots=True)
class Pdu:
    """Any PDU but P-DATA-TF; ``body`` is what follows its header."""

    kind: int
    body: bytes = field(repr=False)


@dataclass(slots=True)
class Fragment:
    """A part of a presentation data value; ``last`` if the message's part ends with it."""

    context: int
    command: bool
    last: bool
    data: memoryview = field(repr=False)


Event: TypeAlias = "Fragment | Pdu"


class PduReader:
    """Cuts a stream into PDUs: receive into :meth:`space`, then take what :meth:`received` yields.

    Args:
        limit: bytes of the largest P-DATA-TF that is taken.
        slab: bytes of the pieces of memory that are received into.
    """

    __slots__ = (
        "_command",
        "_context",
        "_empty",
        "_end",
        "_fresh",
        "_last",
        "_least",
        "_like",
        "_limit",
        "_pdu",
        "_place",
        "_run",
        "_running",
        "_slab",
        "_slab_size",
        "_value",
    )

    def __init__(self, limit: int, slab: int = _SLAB) -> None:
        self._limit, self._slab_size, self._least = limit, slab, min(_LEAST, slab // 4)
        self._fresh = shared(slab).endless()
        self._slab = memoryview(mapped(min(_FIRST, slab)))
        self._place = self._end = 0  # what is received and not yet cut
        self._pdu = 0  # bytes that are left of a P-DATA-TF …
        self._value = 0  # … and of the presentation data value in it
        self._context, self._command, self._last = 0, False, False
        self._empty = 0
        self._like: Like | None = None  # the last PDU, if others like it may follow
        self._run, self._running = Run(), False

    @property
    def inside(self) -> bool:
        """True in the middle of a PDU."""
        return self._pdu > 0 or self._value > 0 or self._place < self._end

    def begins_with(self, kinds: tuple[int, ...]) -> bool:
        """True if the next PDU begins with one of these bytes."""
        return self._place < self._end and self._slab[self._place] in kinds

    def space(self) -> memoryview:
        """Where the next bytes have to go."""
        self._running = False
        if self._full:
            self._renew(self._slab_size)
        return self._slab[self._end :]

    def spaces(self) -> list[memoryview]:
        """The same, for whoever can receive into several pieces of memory: one after the other."""
        views = self._foreseen()
        self._running = bool(views)
        return views or [self.space()]

    def _foreseen(self) -> list[memoryview]:
        """Memory for PDUs like the last one, data side by side; none if they cannot be next."""
        have = self._end - self._place
        if self._like is None or self._pdu or (have and not self._value):
            return []
        rest = max(self._value - have, 0)
        views = self._run.views(self._slab, self._end, rest, self._like)
        if not views:
            self._renew(self._slab_size)
            views = self._run.views(self._slab, self._end, rest, self._like)
        return views

    @property
    def _full(self) -> bool:
        return len(self._slab) - self._end < self._least

    def _renew(self, size: int) -> None:
        """Go on in other memory: what was cut out of the old one stays as it is."""
        rest = self._slab[self._place : self._end]
        fresh = next(self._fresh) if size == self._slab_size else memoryview(mapped(size))
        self._slab, self._place, self._end = fresh, 0, rest.nbytes
        self._slab[: rest.nbytes] = rest

    def received(self, count: int) -> Iterator[Event]:
        """What ``count`` more bytes have completed.

        A fragment comes when all of it is there, or its memory is full.

        Raises:
            PduError: an unknown type, a length that cannot be, or one above the limit.
        """
        if self._running:
            if fragment := self._ran(count):
                yield fragment
        else:
            self._end += count
        slab = self._slab
        while True:
            left = self._end - self._place
            if self._value:
                if not left or (left < self._value and not self._full):
                    return
                yield self._cut(min(left, self._value))
            elif self._pdu:
                if left < 6:
                    return
                length, context, control = _ITEM.unpack_from(slab, self._place)
                self._begin_value(length, context, control, 6)
                if not self._value:
                    yield self._cut(0)
            elif left >= 12 and slab[self._place] == P_DATA_TF:
                _, size, length, context, control = _BOTH.unpack_from(slab, self._place)
                self._begin(size)
                self._begin_value(length, context, control, HEAD)
                self._like = self._alike()
                if not self._value:
                    yield self._cut(0)
            else:
                pdu = self._small(left)
                if pdu is None:
                    return
                yield pdu

    def _begin(self, size: int) -> None:
        if not 6 <= size <= self._limit:
            raise PduError(f"a P-DATA-TF PDU of {size} bytes (6 to {self._limit} are possible)")
        self._pdu = size

    def _begin_value(self, size: int, context: int, control: int, head: int) -> None:
        """Begin a presentation data value: ``size`` counts the context and control bytes."""
        if not 2 <= size <= self._pdu - 4 or control > 3:
            raise PduError(f"a presentation data value of {size} bytes in the last {self._pdu}")
        self._pdu -= size + 4
        if 0 < self._pdu < 6:
            raise PduError(f"{self._pdu} bytes after the last presentation data value")
        self._value, self._context = size - 2, context
        self._command, self._last = bool(control & _COMMAND), bool(control & _LAST)
        self._empty = 0 if size > 2 else self._empty + 1
        if self._empty > _EMPTY_ITEMS:
            raise PduError(f"more than {_EMPTY_ITEMS} presentation data values without data")
        self._place += head

    def _alike(self) -> Like | None:
        """What is expected of the next PDU, behind whose head the place is now."""
        if self._pdu or self._command or self._last or not self._near(self._value):
            return None
        return Like(bytes(self._slab[self._place - HEAD : self._place]), self._value)

    def _near(self, size: int) -> bool:
        """True where data side by side are worth it: not tiny, and several in a slab."""
        return max(self._slab_size >> 7, 1) <= size <= self._slab_size >> 3

    def _ran(self, count: int) -> Fragment | None:
        """Take what was received into :meth:`spaces`; the values that are whole, as one piece."""
        assert self._like is not None
        rest = max(self._value - (self._end - self._place), 0)
        if count <= rest:
            self._end += count
            return None
        start, at = self._place, self._end + rest
        whole, begun, loose = self._run.received(self._slab, at, count - rest)
        self._place, self._end = at + whole, at + whole + loose
        self._value = self._like.size if begun else 0
        if self._place == start:
            return None
        return Fragment(self._context, False, False, self._slab[start : self._place])

    def _cut(self, size: int) -> Fragment:
        place = self._place
        self._place += size
        self._value -= size
        last = self._last and not self._value
        return Fragment(self._context, self._command, last, self._slab[place : self._place])

    def _small(self, left: int) -> Pdu | None:
        """A PDU without data, once all of it is there."""
        if left < 6:
            return None
        kind, size = _HEAD.unpack_from(self._slab, self._place)
        if kind == P_DATA_TF:
            self._check(size)
            return None
        if not A_ASSOCIATE_RQ <= kind <= A_ABORT:
            raise PduError(f"a PDU of the unknown type 0x{kind:02X}")
        if not 4 <= size <= _LARGEST:
            raise PduError(f"a PDU of type 0x{kind:02X} with {size} bytes")
        if left < 6 + size:
            self._make_room(6 + size)
            return None
        body = bytes(self._slab[self._place + 6 : self._place + 6 + size])
        self._place += 6 + size
        return Pdu(kind, body)

    def _check(self, size: int) -> None:
        """Complain about a length as soon as it is known."""
        if not 6 <= size <= self._limit:
            raise PduError(f"a P-DATA-TF PDU of {size} bytes (6 to {self._limit} are possible)")

    def _make_room(self, size: int) -> None:
        if self._place + size > len(self._slab) - self._least:
            self._renew(max(self._slab_size, size + self._least))


def fragments(
    context: int, pieces: Iterable[memoryview | bytes], largest: int, *, command: bool
) -> Iterator[tuple[bytes, list[memoryview]]]:
    """P-DATA-TF PDUs of one presentation data value each: a header, and views of the pieces.

    Args:
        context: presentation context ID.
        pieces: the command set or data set, one piece after the other; not copied.
        largest: bytes of a PDU's variable field (what a peer announces as its maximum length).
        command: whether it is a command set.
    """
    room = largest - 6
    batch: list[memoryview] = []
    size = 0
    for piece in pieces:
        view = memoryview(piece).cast("B")
        while view.nbytes:
            if size == room:
                yield _head(context, size, command, last=False), batch
                batch, size = [], 0
            part = view[: room - size]
            batch.append(part)
            size += part.nbytes
            view = view[part.nbytes :]
    yield _head(context, size, command, last=True), batch


def _head(context: int, size: int, command: bool, *, last: bool) -> bytes:
    control = (_COMMAND if command else 0) | (_LAST if last else 0)
    return _BOTH.pack(P_DATA_TF, size + 6, size + 2, context, control)
