"""C-STORE of many instances, over several associations at a time.

Each association has its own thread; instances are handed out as they come, one here, one there.
A further association is opened when more instances wait than those that stand can take. A peer
that refuses it gets no more; one that offers no storage commitment gets one only: dcmqrscp, for
one, says that it has stored what comes over several at a time, and loses some of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import anyio
import anyio.from_thread
from anyio.lowlevel import RunVar

from ..errors import SeriesIOError, StoreError
from ..protocols import Receipt
from ._dicom_association import Association
from ._dicom_session import ASSOCIATIONS, TRIES, for_now, pause, use
from ._dicom_store_check import verify_all
from ._dicom_store_commit import commit_all
from ._dicom_store_instance import Instance, Outcomes, Transcode
from ._dicom_store_parents import Parents, parents_of
from ._dicom_store_session import Session

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from ..blob import Blob
    from ._dicom_association import Peer
    from ._dicom_inbound import Destination

__all__ = ["StoreReceipt", "store"]

_AHEAD: Final = 4  # instances that wait to be taken
_SMALL: Final = 1 << 20  # bytes; of such instances several are taken at a time
_TOGETHER: Final = 4
_TOLD: Final = 10  # failures that are told in the text of an error

_tokens: RunVar[dict[tuple[str, int], anyio.CapacityLimiter]] = RunVar("seriesio_dicom_stores")


@dataclass(frozen=True, slots=True)
class StoreReceipt(Receipt):
    """A receipt of C-STORE; ``names`` are SOP Instance UIDs, ``skipped`` files named DICOMDIR.

    ``warnings`` tell of instances that the peer has stored, but not as they were sent
    (0xB000, 0xB006, 0xB007: PS3.4 table B.2-1).
    """

    warnings: tuple[str, ...] = ()


async def store(
    blobs: AsyncIterable[Blob],
    peer: Peer,
    url: str,
    *,
    transcode: Transcode | None = None,
    associations: int = ASSOCIATIONS,
    verify: bool = False,
    commit: bool = False,
    destination: Destination | None = None,
) -> StoreReceipt:
    """Store instances, and wait until the peer has said of each that it has done so.

    An instance that fails keeps none of the others from being sent. One that was not answered,
    since its association broke, is sent once more.

    Args:
        blobs: DICOM files.
        peer: the archive.
        url: of the archive, for the receipt.
        transcode: what to do where the peer does not take an instance as it is encoded.
        associations: at most so many at a time, with all calls that store at this host together.
            Only a peer that offers storage commitment gets several for one call.
        verify: ask by C-FIND afterwards whether all are there.
        commit: ask for storage commitment (PS3.4 annex J).
        destination: where the archive can report on that; None: only where it was asked.

    Raises:
        StoreError: some are not stored (or not verified, not committed); ``failed`` says which
            and why; all others are.
        AssociationError: the peer cannot be reached, or accepts no association at all.
        StatusError, UnsupportedByPeerError: it does not verify, or not commit.
        SeriesIOError: the blobs cannot be had.
    """
    async with _tokens_of(peer, associations):  # before the source holds associations of its own
        lanes = _Lanes(peer, transcode, associations, parents_of if verify else None)
        await lanes.run(blobs)
    outcomes, stored = lanes.outcomes, sorted(lanes.outcomes.stored, key=lambda one: one.number)
    try:
        if verify and stored:
            outcomes.failed += await verify_all(stored, peer)
        if commit and stored:
            outcomes.failed += await commit_all(stored, peer, destination)
    except SeriesIOError as error:
        error.add_note(f"{len(stored)} of {lanes.count} instances were stored before that")
        raise
    if outcomes.failed:
        raise _store_error(peer, outcomes.failed, lanes)
    names = tuple(instance.name for instance in stored)
    size = sum(instance.size for instance in stored)
    skipped, warnings = tuple(outcomes.skipped), tuple(outcomes.warnings)
    return StoreReceipt(url, names, len(names), size, skipped, warnings)


def _store_error(peer: Peer, failed: list[tuple[str, str]], lanes: _Lanes) -> StoreError:
    told = "; ".join(f"{name}: {why.removeprefix(name + ': ')}" for name, why in failed[:_TOLD])
    more = f"; and {len(failed) - _TOLD} more" if len(failed) > _TOLD else ""
    end = "; what was still to come was not sent" if lanes.gave_up else ""
    return StoreError(
        f"{peer}: {len(failed)} of {lanes.count} instances are not stored: {told}{more}{end}",
        failed,
    )


@dataclass(eq=False)
class _Lanes:
    """The associations of one call, and who feeds them."""

    peer: Peer
    transcode: Transcode | None
    associations: int
    parents_of: Callable[[Blob], Parents] | None
    outcomes: Outcomes = field(default_factory=Outcomes)
    count: int = 0
    _stands: bool = False
    _several: bool = False
    _done: bool = False
    _alive: int = 0
    _error: SeriesIOError | None = None
    _left: deque[Instance] = field(default_factory=deque)
    _feeding: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    async def run(self, blobs: AsyncIterable[Blob]) -> None:
        """Send all; what becomes of them is in ``outcomes``."""
        self._send, self._receive = anyio.create_memory_object_stream[Instance](_AHEAD)
        failure: Exception | None = None
        with self._receive:
            async with anyio.create_task_group() as group:
                try:
                    with self._feeding, self._send:
                        await self._feed(blobs, group)
                except Exception as error:
                    failure = error
                    group.cancel_scope.cancel()
            if failure is not None:
                failure.add_note(f"{len(self.outcomes.stored)} instances were stored before that")
                raise failure
            if self._left and self._done:  # one lane has given up, and the others had ended
                hand, self._left, self._done, self._alive = self._left, deque(), False, 1
                await self._lane(hand)
            self._settle()

    def _settle(self) -> None:
        """What could not be sent at all."""
        if self._error is None:
            return
        if not self._stands:
            raise self._error
        for instance in (*self._left, *self._waiting()):
            self.outcomes.fail(instance, self._error)

    def _waiting(self) -> list[Instance]:
        found = []
        while (instance := self._next()) is not None:
            found.append(instance)
        return found

    @property
    def gave_up(self) -> bool:
        """Not all was taken from the source."""
        return self._feeding.cancel_called

    # --- feeding --------------------------------------------------------------------------

    async def _feed(self, blobs: AsyncIterable[Blob], group: TaskGroup) -> None:
        async for blob in blobs:
            instance = Instance(self.count, blob)
            self.count += 1
            if not self._alive:
                self._alive = 1
                group.start_soon(self._lane, deque[Instance]())
            try:
                self._send.send_nowait(instance)
            except anyio.WouldBlock:
                self._widen(group)
                await self._queue(instance)

    async def _queue(self, instance: Instance) -> None:
        try:
            await self._send.send(instance)
        except anyio.get_cancelled_exc_class():
            self._left.append(instance)
            raise

    def _widen(self, group: TaskGroup) -> None:
        """One lane more, if there is a place for it."""
        if not self._several or self._alive >= self.associations:
            return
        tokens, token = _tokens_of(self.peer, self.associations), object()
        try:
            tokens.acquire_on_behalf_of_nowait(token)
        except anyio.WouldBlock:
            return
        self._alive += 1
        group.start_soon(self._further_lane, tokens, token)

    async def _further_lane(self, tokens: anyio.CapacityLimiter, token: object) -> None:
        try:
            await self._lane(deque(), further=True)
        finally:
            tokens.release_on_behalf_of(token)

    def _next(self) -> Instance | None:
        try:
            return self._receive.receive_nowait()
        except (anyio.WouldBlock, anyio.EndOfStream):
            return None

    async def _some(self) -> list[Instance]:
        """One instance, and some more if they are small and there; none at the end."""
        try:
            found = [await self._receive.receive()]
        except anyio.EndOfStream:
            return []
        while found[-1].blob.size < _SMALL and len(found) < _TOGETHER:
            instance = self._next()
            if instance is None:
                break
            found.append(instance)
        return found

    def _take(self) -> list[Instance]:
        """The same, from a worker thread."""
        return anyio.from_thread.run(self._some)

    def _opened(self, several: bool) -> None:
        """An association stands; called in its thread."""
        self._stands, self._several = True, several

    # --- lanes ----------------------------------------------------------------------------

    async def _lane(self, hand: deque[Instance], further: bool = False) -> None:
        """One association after the other, until nothing is left to send or it gives up."""
        refused = 0
        while True:
            session = self._session(hand)
            await use(Association(self.peer), session)
            if session.error is None:
                if session.finished and not hand:
                    self._end(None)
                    return
                continue
            refused = 0 if session.stood else refused + 1
            self.outcomes.broken += session.stood
            further = further and not session.stood
            if not self._goes_on(session.error, refused, further):
                self._left.extend(hand)
                self._end(session.error)
                return
            await anyio.sleep(pause(max(refused, self.outcomes.broken)))

    def _session(self, hand: deque[Instance]) -> Session:
        how = self.transcode, self.parents_of
        return Session(self.outcomes, self._take, *how, hand, self._opened)

    def _goes_on(self, error: SeriesIOError, refused: int, further: bool) -> bool:
        """True if another association is worth a try."""
        if self.outcomes.broken >= TRIES or refused >= TRIES:
            return False
        return not refused or (not further and for_now(error))

    def _end(self, error: SeriesIOError | None) -> None:
        """A lane ends, having done all or given up; where all have given up, so does the call."""
        self._alive -= 1
        self._done = self._done or error is None
        if error is not None and not self._alive and not self._done:
            self._error = error
            self._feeding.cancel()


def _tokens_of(peer: Peer, associations: int) -> anyio.CapacityLimiter:
    """For associations that store; the first to ask says how many.

    Not those of reading: a copy within one archive would wait for itself.
    """
    try:
        known = _tokens.get()
    except LookupError:
        known = {}
        _tokens.set(known)
    return known.setdefault((peer.host, peer.port), anyio.CapacityLimiter(associations))
