"""A retrieval: several associations side by side, further rounds for what is missing, a verdict."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import anyio

from ..endings import ended
from ..errors import AssociationError, SeriesIOError, StatusError, UnsupportedByPeerError
from ._dicom_association import Association
from ._dicom_bridge import Bridge
from ._dicom_channel import BrokenError
from ._dicom_dimse import C_GET_RQ
from ._dicom_get import COMMON_CLASSES, get_session, storage
from ._dicom_intake import Intake
from ._dicom_jobs import Job, Outcome, Queue, Wanted, jobs_again, jobs_of, uids_of
from ._dicom_move import move
from ._dicom_session import TRIES, deadline, for_now, host_limiter, pause, use
from ._dicom_status import is_failure, status_words

if TYPE_CHECKING:
    from ..blob import Blob
    from ._dicom_association import Peer, Proposal
    from ._dicom_found import FoundSeries
    from ._dicom_inbound import Destination

__all__ = ["Retrieval"]

_WAITING: Final = 16 << 20  # bytes that may wait for whoever takes them
# A peer that has accepted C-GET, and says afterwards that it has none (PS3.7 annex C).
_NO_GET: Final = (0x0122, 0x0211)


@dataclass(eq=False)
class Retrieval:
    """Instances of series, retrieved while they are taken.

    What has not arrived is asked for again: with other presentation contexts, and over another
    association where one has broken. There are four rounds at most, and no further one where
    nothing broke and nothing came.

    Args:
        peer: the archive.
        wanted: what to retrieve; not empty.
        associations: how many may be open at a time.
        syntaxes: transfer syntaxes to take; None: all. Others only for what does not come in them.
        destination: where the archive can C-MOVE to; None: nowhere.
        instance_limit: bytes of the largest instance.
        tolerant: hand over what has come, where the peer breaks off for ever.
        spent: seconds of the call's time that are over already.

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
    tolerant: bool = False
    spent: float = 0.0
    missing: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    _outcomes: list[Outcome] = field(default_factory=list)
    _refused: str = ""

    async def blobs(self) -> AsyncGenerator[Blob, None]:
        """Yield what arrives, as Part 10 files, in the order in which it does.

        Raises:
            UnsupportedByPeerError: it has neither C-GET nor, with a destination, C-MOVE.
            StatusError: it fails, and has sent nothing.
            AssociationError: it breaks off, each time that it is asked; or it breaks its rules.
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
            work.cancel()
            await ended(work)

    async def _work(self, intake: Intake) -> None:
        async with deadline(self.peer, self.spent):
            await self._retrieve(intake)
        self._judge(intake)

    async def _retrieve(self, intake: Intake) -> None:
        """By C-GET; by C-MOVE what cannot come by it."""
        try:
            await self._rounds(intake)
            self._check_service(intake)
        except UnsupportedByPeerError as error:
            if not intake.total or self.destination is not None:
                await self._move(intake, error)
                return
            self._refused = str(error)  # what there is has come; the rest is named as missing

    def _check_service(self, intake: Intake) -> None:
        """Complain about a C-GET that was accepted, and is none."""
        last = self._outcomes[-1] if self._outcomes else None
        if last is None or intake.total or not is_failure(last.status):
            return
        if last.status in _NO_GET or self.destination is not None:
            words = status_words(last.status, C_GET_RQ)
            raise UnsupportedByPeerError(f"{self.peer}: sends nothing by C-GET: {words}")

    # --- rounds of C-GET ------------------------------------------------------------------

    async def _rounds(self, intake: Intake) -> None:
        """Ask, and ask again for what is missing.

        Raises:
            AssociationError: the peer breaks off each time, or where it is unknown what is missing.
        """
        jobs, proposals = jobs_of(self.wanted, self.associations), self._proposals()
        for tries in range(1, TRIES + 1):
            before = intake.total
            broken = await self._round(intake, jobs, proposals)
            jobs, proposals = jobs_again(self.wanted, intake), self._proposals_again(intake)
            if broken is not None and (self._unlisted or (jobs and tries == TRIES)):
                if self.tolerant and intake.total and not self._unlisted:
                    self._refused = str(broken)
                    return
                broken.add_note(f"{intake.total} instances had arrived; it was tried {tries}×")
                raise broken
            if not jobs or (broken is None and tries > 1 and intake.total == before):
                return
            await anyio.sleep(pause(tries) if broken else 0)

    @property
    def _unlisted(self) -> bool:
        """There are instances of which nobody knows which they are."""
        return any(one.instances is None for one in self.wanted)

    def _proposals(self) -> list[Proposal]:
        return storage(self._classes(self.wanted), self.syntaxes)

    def _classes(self, wanted: Iterable[Wanted]) -> list[str]:
        """The SOP classes that were announced, and common ones where some were not."""
        found = [instance.sop_class for one in wanted for instance in one.instances or ()]
        open_ones = any(one.instances is None for one in wanted) or "" in found
        return [uid for uid in dict.fromkeys(found) if uid] + (
            list(COMMON_CLASSES) if open_ones else []
        )

    def _proposals_again(self, intake: Intake) -> list[Proposal]:
        """Contexts for nothing but what is missing: there may be room for more of them."""
        missing = {uid for one in self.wanted for uid in intake.missing(uids_of(one))}
        left = [
            Wanted(one.series, tuple(i for i in one.instances or () if i.uid in missing))
            for one in self.wanted
        ]
        return storage(self._classes(left) or COMMON_CLASSES, None)

    async def _round(
        self, intake: Intake, jobs: Sequence[Job], proposals: Sequence[Proposal]
    ) -> AssociationError | None:
        """All jobs, over as many associations as the limits and the peer allow.

        What has broken an association in the middle, or refuses all of them for now, is returned.

        Raises:
            AssociationError, UnsupportedByPeerError: the first other error; all are aborted then.
        """
        queue = Queue(deque(jobs))
        failures: list[Exception] = []
        broken: list[AssociationError] = []
        refusals: list[AssociationError] = []
        limiter = host_limiter(self.peer, self.associations)

        async def work() -> None:
            association = Association(self.peer, instance_limit=self.instance_limit)
            try:
                await use(association, get_session(queue, intake, proposals), limiter)
            except AssociationError as error:
                kind = broken if isinstance(error, BrokenError) else failures
                (kind if association.opened else refusals).append(error)
            except SeriesIOError as error:
                failures.append(error)
            if failures:
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for _ in range(min(self.associations, len(jobs))):
                group.start_soon(work)
        self._outcomes += queue.outcomes
        if failures:
            raise failures[0]
        if queue.jobs and not broken:  # a peer that refuses more gets fewer, but not none
            return _refusal(refusals[0])
        return broken[0] if broken else None

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
        limiter = host_limiter(self.peer, self.associations)
        jobs = self._jobs_to_move(intake)
        self._outcomes = await move(
            self.peer, self.destination, jobs, intake, self.instance_limit, limiter
        )

    def _jobs_to_move(self, intake: Intake) -> list[Job]:
        """What has not arrived; whole series where nothing has."""
        if intake.total:
            return jobs_again(self.wanted, intake)
        return [Job(one.series, uids_of(one) if one.some else ()) for one in self.wanted]

    # --- the verdict ----------------------------------------------------------------------

    def _judge(self, intake: Intake) -> None:
        """Say what is missing, and why.

        Raises:
            StatusError: nothing at all has arrived, and the peer has said why.
        """
        self.warnings += intake.warnings
        failed = [one for one in self._outcomes if is_failure(one.status)]
        if failed and not any(intake.arrived(one.series) for one in self.wanted):
            words = status_words(failed[-1].status, C_GET_RQ)
            told = "".join(f"; {warning}" for warning in self.warnings[:3])
            raise StatusError(f"{self.peer}: sends nothing: {words}{told}", failed[-1].status)
        for one in self.wanted:
            self._judge_series(intake, one)
        self.warnings += [
            f"{self.peer}: {one.warnings} instances of series {one.job.series.uid} were sent "
            "with a warning"
            for one in self._outcomes
            if one.warnings
        ]

    def _judge_series(self, intake: Intake, one: Wanted) -> None:
        outcomes = [done for done in self._outcomes if done.job.series == one.series]
        words = next((done.words for done in reversed(outcomes) if done.words), "")
        reason = self._refused or words
        told = f"not sent ({reason})" if reason else "not sent, though the peer reports success"
        missing = intake.missing(uids_of(one))
        self.missing += [(uid, told) for uid in missing]
        if one.instances is None:
            self._judge_count(intake, one.series, told)

    def _judge_count(self, intake: Intake, series: FoundSeries, told: str) -> None:
        """Of an archive that lists no instances, but may have told how many there are."""
        lost = (series.count or 0) - intake.arrived(series)
        if lost > 0:
            self.missing.append((f"{lost} instances of series {series.uid}", told))


def _refusal(error: AssociationError) -> AssociationError:
    """What the peer says for now.

    Raises:
        AssociationError: it is for ever.
    """
    if for_now(error):
        return error
    raise error
