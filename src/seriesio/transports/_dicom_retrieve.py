"""A retrieval: several associations side by side, a second round for what is missing, a verdict."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import anyio

from ..errors import AssociationError, StatusError, TransportError, UnsupportedByPeerError
from ._dicom_association import Association
from ._dicom_bridge import Bridge
from ._dicom_dimse import C_GET_RQ, is_failure, status_words
from ._dicom_get import COMMON_CLASSES, Job, Outcome, Queue, get_session, storage
from ._dicom_intake import Intake
from ._dicom_move import move
from ._dicom_session import deadline, host_limiter, use

if TYPE_CHECKING:
    from ..blob import Blob
    from ._dicom_association import Peer, Proposal
    from ._dicom_find import FoundInstance, FoundSeries
    from ._dicom_move import Destination

__all__ = ["Retrieval", "Wanted"]

_WAITING: Final = 64 << 20  # bytes that may wait for whoever takes them
_LEAST: Final = 4  # instances that are worth an association of their own
_LONGEST: Final = 30_000  # bytes of a list of UIDs: some peers have limits near 64 kB
_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class Wanted:
    """A series to retrieve.

    Attributes:
        series: where it is.
        instances: what the archive has announced; None if it does not list instances.
        some: the instances are not all of the series.
    """

    series: FoundSeries
    instances: tuple[FoundInstance, ...] | None
    some: bool = False


@dataclass(eq=False)
class Retrieval:
    """Instances of series, retrieved while they are taken.

    Args:
        peer: the archive.
        wanted: what to retrieve; not empty.
        associations: how many may be open at a time.
        syntaxes: transfer syntaxes to take; None: all.
        destination: where the archive can C-MOVE to; None: nowhere.
        instance_limit: bytes of the largest instance.

    Attributes:
        missing: UID and reason of what has not arrived, once all is done.
        warnings: what the peer has warned of.
    """

    peer: Peer
    wanted: Sequence[Wanted]
    associations: int
    syntaxes: Sequence[str] | None
    destination: Destination | None
    instance_limit: int
    missing: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    _outcomes: list[Outcome] = field(default_factory=list)

    async def blobs(self) -> AsyncGenerator[Blob, None]:
        """Yield what arrives, as Part 10 files, in the order in which it does.

        Raises:
            UnsupportedByPeerError: it has neither C-GET nor, with a destination, C-MOVE.
            StatusError: it fails, and has sent nothing.
            AssociationError: it breaks off, or its rules.
        """
        bridge: Bridge[Blob] = Bridge(_WAITING)
        intake = Intake(str(self.peer), bridge)
        for one in self.wanted:
            intake.announce(one.series, one.instances)
        work = asyncio.ensure_future(self._work(intake))
        work.add_done_callback(lambda _: bridge.finish())
        try:
            while batch := await bridge.take():
                for blob in batch:
                    yield blob
            await work
        finally:
            bridge.close()
            await _ended(work)

    async def _work(self, intake: Intake) -> None:
        async with deadline(self.peer):
            await self._rounds(intake)
        self._judge(intake)

    async def _rounds(self, intake: Intake) -> None:
        try:
            await self._round(intake, self._jobs(), self._proposals())
        except UnsupportedByPeerError as error:
            await self._move(intake, error)
            return
        again = self._jobs_again(intake)
        if again:
            await self._round(intake, again, self._proposals_again(intake))

    # --- rounds of C-GET ------------------------------------------------------------------

    def _jobs(self) -> list[Job]:
        """Instances shared out evenly; a whole series by its own UID where it is not shared."""
        total = sum(len(one.instances or ()) for one in self.wanted)
        share = max(-(-total // self.associations), _LEAST)
        return [job for one in self.wanted for job in _jobs_of(one, share)]

    def _proposals(self) -> list[Proposal]:
        return storage(self._classes(self.wanted), self.syntaxes)

    def _classes(self, wanted: Iterable[Wanted]) -> list[str]:
        """The SOP classes that were announced, and common ones where some were not."""
        found = [instance.sop_class for one in wanted for instance in one.instances or ()]
        open_ones = any(one.instances is None for one in wanted) or "" in found
        return [uid for uid in dict.fromkeys(found) if uid] + (
            list(COMMON_CLASSES) if open_ones else []
        )

    def _jobs_again(self, intake: Intake) -> list[Job]:
        """What has not arrived; by series where a peer makes nothing of lists of UIDs."""
        jobs: list[Job] = []
        for one in self.wanted:
            missing = intake.missing([instance.uid for instance in one.instances or ()])
            if missing and not one.some and not intake.arrived(one.series):
                jobs.append(Job(one.series))
            else:
                jobs += _lists(one.series, missing, len(missing))
        return jobs

    def _proposals_again(self, intake: Intake) -> list[Proposal]:
        """Contexts for nothing but what is missing: there may be room for more of them."""
        left = [
            Wanted(one.series, tuple(i for i in one.instances or () if intake.missing([i.uid])))
            for one in self.wanted
        ]
        return storage(self._classes(left) or COMMON_CLASSES, None)

    async def _round(
        self, intake: Intake, jobs: Sequence[Job], proposals: Sequence[Proposal]
    ) -> None:
        """All jobs, over as many associations as the limits and the peer allow.

        Raises:
            AssociationError, UnsupportedByPeerError: the first error; others are aborted.
        """
        queue = Queue(deque(jobs))
        failures: list[Exception] = []
        refusals: list[AssociationError] = []
        limiter = host_limiter(self.peer, self.associations)

        async def work() -> None:
            association = Association(self.peer, instance_limit=self.instance_limit)
            try:
                await use(association, get_session(queue, intake, proposals), limiter)
            except AssociationError as error:
                (failures if association.opened else refusals).append(error)
            except TransportError as error:
                failures.append(error)
            if failures:
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for _ in range(min(self.associations, len(jobs))):
                group.start_soon(work)
        self._outcomes += queue.outcomes
        if failures:
            raise failures[0]
        if queue.jobs:  # a peer that refuses more gets fewer, but not none
            raise refusals[0]

    # --- C-MOVE ---------------------------------------------------------------------------

    async def _move(self, intake: Intake, refusal: UnsupportedByPeerError) -> None:
        """Have it sent to us, where there is no C-GET.

        Raises:
            UnsupportedByPeerError: nothing is configured for that, or it has no C-MOVE either.
        """
        if self.destination is None:
            raise UnsupportedByPeerError(
                f'{refusal}; move_to=("AET", port) has it sent by C-MOVE, to an AE title and port '
                "of this machine that the archive knows"
            ) from refusal
        jobs = [Job(one.series, _uids(one) if one.some else ()) for one in self.wanted]
        limiter = host_limiter(self.peer, self.associations)
        self._outcomes += await move(
            self.peer, self.destination, jobs, intake, self.instance_limit, limiter
        )

    # --- the verdict ----------------------------------------------------------------------

    def _judge(self, intake: Intake) -> None:
        """Say what is missing, and why.

        Raises:
            StatusError: nothing at all has arrived, and the peer has said why.
        """
        failed = [one for one in self._outcomes if is_failure(one.status)]
        if failed and not any(intake.arrived(one.series) for one in self.wanted):
            words = status_words(failed[-1].status, C_GET_RQ)
            raise StatusError(f"{self.peer}: sends nothing: {words}", failed[-1].status)
        for one in self.wanted:
            self._judge_series(intake, one)
        self.warnings += intake.warnings
        self.warnings += [
            f"{self.peer}: {one.warnings} instances of series {one.job.series.uid} were sent "
            "with a warning"
            for one in self._outcomes
            if one.warnings
        ]

    def _judge_series(self, intake: Intake, one: Wanted) -> None:
        outcomes = [done for done in self._outcomes if done.job.series == one.series]
        reason = next((done.words for done in reversed(outcomes) if done.words), "")
        told = f"not sent ({reason})" if reason else "not sent, though the peer reports success"
        missing = intake.missing(_uids(one))
        self.missing += [(uid, told) for uid in missing]
        if one.instances is None:
            self._judge_count(intake, one.series, told)

    def _judge_count(self, intake: Intake, series: FoundSeries, told: str) -> None:
        """Of an archive that lists no instances, but may have told how many there are."""
        lost = (series.count or 0) - intake.arrived(series)
        if lost > 0:
            self.missing.append((f"{lost} instances of series {series.uid}", told))


def _uids(wanted: Wanted) -> tuple[str, ...]:
    return tuple(instance.uid for instance in wanted.instances or ())


def _jobs_of(wanted: Wanted, share: int) -> list[Job]:
    uids = _uids(wanted)
    if not wanted.some and len(uids) <= share:
        return [Job(wanted.series)]
    return _lists(wanted.series, uids, share)


def _lists(series: FoundSeries, uids: Sequence[str], share: int) -> list[Job]:
    """Jobs of at most so many instances, and of lists that are not too long."""
    if not uids:
        return []
    most = max(min(share, _LONGEST // 65), 1)
    parts = -(-len(uids) // most)
    step = -(-len(uids) // parts)
    return [Job(series, tuple(uids[at : at + step])) for at in range(0, len(uids), step)]


async def _ended(work: asyncio.Task[None] | asyncio.Future[None]) -> None:
    """Cancel what may still be under way, and wait until it has ended."""
    if work.done():
        return
    work.cancel()
    with anyio.CancelScope(shield=True):
        await asyncio.wait([work])
    if not work.cancelled():
        work.exception()
