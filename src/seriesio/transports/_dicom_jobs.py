"""What is to be retrieved, in portions that associations share, and what became of each. Pure."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ._dicom_dimse import C_GET_RQ, SUCCESS
from ._dicom_status import status_words

if TYPE_CHECKING:
    from ._dicom_found import FoundInstance, FoundSeries
    from ._dicom_intake import Intake

__all__ = ["Job", "Outcome", "Queue", "Wanted", "jobs_again", "jobs_of", "uids_of"]

_LEAST: Final = 4  # instances that are worth an association of their own
_LONGEST: Final = 30_000  # bytes of a list of UIDs: some peers have limits near 64 kB


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


@dataclass(frozen=True, slots=True)
class Job:
    """Instances of one series to ask for with one request; no UIDs: the whole series."""

    series: FoundSeries
    uids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a peer has said at the end of a request.

    Attributes:
        job: what was asked for.
        status: of the last response.
        failed: UIDs of instances that it could not send.
        failures, warnings: how many sub-operations it has counted as such.
    """

    job: Job
    status: int
    failed: tuple[str, ...] = ()
    failures: int = 0
    warnings: int = 0

    @property
    def words(self) -> str:
        """What went wrong, for an error's text; empty if nothing did."""
        if self.status == SUCCESS and not self.failures:
            return ""
        return f"status {status_words(self.status, C_GET_RQ)}, {self.failures} failed"


@dataclass(slots=True)
class Queue:
    """Jobs that several associations share, and what became of them."""

    jobs: deque[Job]
    outcomes: list[Outcome] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self) -> Job | None:
        """A job that nobody has taken."""
        with self._lock:
            return self.jobs.popleft() if self.jobs else None

    def give_back(self, job: Job) -> None:
        """A job that was not begun."""
        with self._lock:
            self.jobs.appendleft(job)

    def done(self, outcome: Outcome) -> None:
        with self._lock:
            self.outcomes.append(outcome)


def jobs_of(wanted: Sequence[Wanted], associations: int) -> list[Job]:
    """Instances shared out evenly; a whole series by its own UID where it is not shared."""
    total = sum(len(one.instances or ()) for one in wanted)
    share = max(-(-total // associations), _LEAST)
    return [job for one in wanted for job in _portions(one, share)]


def jobs_again(wanted: Iterable[Wanted], intake: Intake) -> list[Job]:
    """What has not arrived; by series where a peer makes nothing of lists of UIDs."""
    jobs: list[Job] = []
    for one in wanted:
        missing = intake.missing(uids_of(one))
        if missing and not one.some and not intake.arrived(one.series):
            jobs.append(Job(one.series))
        else:
            jobs += _lists(one.series, missing, len(missing))
    return jobs


def uids_of(wanted: Wanted) -> tuple[str, ...]:
    """SOP Instance UIDs of what was announced."""
    return tuple(instance.uid for instance in wanted.instances or ())


def _portions(wanted: Wanted, share: int) -> list[Job]:
    uids = uids_of(wanted)
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
