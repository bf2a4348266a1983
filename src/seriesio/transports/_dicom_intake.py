"""What arrives of a retrieval: held against what was announced, and passed on as Part 10 files."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from functools import lru_cache
from struct import pack
from typing import TYPE_CHECKING, Final

from ..blob import Announced, ReceivedBlob
from ..errors import AssociationError
from ._dicom_pynetdicom import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION
from ._dicom_query import is_uid

if TYPE_CHECKING:
    from ..blob import Blob
    from ._dicom_association import Message
    from ._dicom_bridge import Bridge
    from ._dicom_found import FoundInstance, FoundSeries

__all__ = ["Intake", "RefusedError", "part10_head"]

_HEAD: Final = 1 << 14  # bytes in which the Series Instance UID usually is
_ENCODINGS: Final = {"1.2.840.10008.1.2": 1, "1.2.840.10008.1.2.2": 2}  # all others: explicit
_DEFLATED: Final = frozenset({"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95"})


class RefusedError(AssociationError):
    """An instance that was not asked for, or that came already."""


class Intake:
    """The instances of a retrieval, as they come out of several associations.

    Args:
        peer: named in errors.
        bridge: where blobs go; the thread that brings them waits there.
    """

    def __init__(self, peer: str, bridge: Bridge[Blob]) -> None:
        self._peer, self._bridge = peer, bridge
        self._lock = threading.Lock()
        self._announced: dict[str, FoundSeries] = {}
        self._open: dict[str, FoundSeries] = {}
        self._arrived: set[str] = set()
        self._by_series: dict[str, int] = {}
        self._sets: dict[str, Announced | None] = {}
        self.warnings: list[str] = []

    # --- what is announced ----------------------------------------------------------------

    def announce(self, series: FoundSeries, instances: Iterable[FoundInstance] | None) -> None:
        """Expect these instances of a series; None if the archive does not list them."""
        self._by_series.setdefault(series.uid, 0)
        if instances is None:
            self._open[series.uid] = series
            count = series.count
        else:
            before = len(self._announced)
            self._announced.update({one.uid: series for one in instances})
            count = len(self._announced) - before
        self._sets[series.uid] = Announced(series.uid, count) if count else None

    def missing(self, uids: Iterable[str]) -> list[str]:
        """Which of these have not arrived."""
        with self._lock:
            return [uid for uid in uids if uid not in self._arrived]

    def arrived(self, series: FoundSeries) -> int:
        """How many instances of a series have arrived."""
        with self._lock:
            return self._by_series[series.uid]

    @property
    def total(self) -> int:
        """How many instances have arrived."""
        with self._lock:
            return len(self._arrived)

    # --- what arrives ---------------------------------------------------------------------

    def take(self, message: Message) -> None:
        """Check an instance, and pass it on; blocks while too much waits.

        Raises:
            RefusedError: it was not asked for, or came already.
            AssociationError: nobody waits any more.
        """
        command, syntax = message.command, message.context.syntax
        uid, size = command.sop_instance, sum(map(len, message.data))
        if not is_uid(uid) or not is_uid(command.sop_class):
            raise RefusedError(f"{self._peer}: sends an instance without a valid UID")
        if not size:
            raise RefusedError(f"{self._peer}: sends the instance {uid} without a data set")
        series = self._check(uid, message.data, syntax)
        head = memoryview(part10_head(command.sop_class, uid, syntax))
        blob = ReceivedBlob(f"{uid}.dcm", (head, *message.data), self._sets[series.uid])
        self._bridge.put(blob, blob.size)

    def _check(self, uid: str, data: Sequence[memoryview], syntax: str) -> FoundSeries:
        series = self._series_of(uid, data, syntax)
        with self._lock:
            if uid in self._arrived:
                raise RefusedError(f"{self._peer}: sends the instance {uid} twice")
            self._arrived.add(uid)
            self._by_series[series.uid] += 1
        return series

    def _series_of(self, uid: str, data: Sequence[memoryview], syntax: str) -> FoundSeries:
        """The series that an instance belongs to, by what was announced and what it says."""
        known = self._announced.get(uid)
        for series in (known,) if known else self._open.values():
            if _says(data, series.uid, syntax):
                return series
        if known is None and any(_says(data, one, syntax) for one in self._by_series):
            raise RefusedError(f"{self._peer}: sends more instances than it has announced: {uid}")
        raise RefusedError(
            f"{self._peer}: sends an instance of another series, which was not asked for: {uid}"
        )


def _says(data: Sequence[memoryview], series: str, syntax: str) -> bool:
    """Whether a data set has this Series Instance UID; of a deflated one that is not known."""
    if syntax in _DEFLATED:
        return True
    element = _elements(series)[_ENCODINGS.get(syntax, 0)]
    return element in bytes(data[0][:_HEAD]) or element in b"".join(data)


@lru_cache(64)
def _elements(series: str) -> tuple[bytes, bytes, bytes]:
    """The element in explicit and implicit VR, little endian, and in explicit VR, big endian."""
    value = series.encode() + b"\0" * (len(series) % 2)
    little, big = b"\x20\0\x0e\0", b"\0\x20\0\x0e"
    explicit = little + b"UI" + pack("<H", len(value)) + value
    implicit = little + pack("<I", len(value)) + value
    return explicit, implicit, big + b"UI" + pack(">H", len(value)) + value


def part10_head(sop_class: str, sop_instance: str, syntax: str) -> bytes:
    """Preamble and file meta information of a data set (PS3.10 section 7.1)."""
    body = b"".join(
        (
            b"\x02\0\x01\0OB\0\0" + pack("<I", 2) + b"\0\x01",
            _element(0x02, b"UI", sop_class),
            _element(0x03, b"UI", sop_instance),
            _element(0x10, b"UI", syntax),
            _element(0x12, b"UI", IMPLEMENTATION_UID),
            _element(0x13, b"SH", IMPLEMENTATION_VERSION),
        )
    )
    return b"\0" * 128 + b"DICM" + b"\x02\0\0\0UL" + pack("<HI", 4, len(body)) + body


def _element(number: int, vr: bytes, text: str) -> bytes:
    value = text.encode() + (b"\0" if vr == b"UI" else b" ") * (len(text) % 2)
    return pack("<HH", 2, number) + vr + pack("<H", len(value)) + value
