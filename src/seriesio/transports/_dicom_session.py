"""Associations used from tasks: a thread for each, a limit for each host, an end when cancelled."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from ..endings import to_the_end
from ..errors import AssociationError
from ._dicom_association import Association

if TYPE_CHECKING:
    from ._dicom_association import Peer

__all__ = [
    "ASSOCIATIONS",
    "TRIES",
    "deadline",
    "for_now",
    "host_limiter",
    "patiently",
    "pause",
    "use",
]

ASSOCIATIONS: Final = 4  # with one host at a time, unless told otherwise
TRIES: Final = 4  # of what fails, and may do better the next time
_PAUSE: Final = 0.2  # seconds before the second try; twice as long before each further one

R = TypeVar("R")

_limiters: RunVar[dict[tuple[str, int], anyio.CapacityLimiter]] = RunVar("seriesio_dicom_hosts")


def host_limiter(peer: Peer, associations: int = ASSOCIATIONS) -> anyio.CapacityLimiter:
    """What limits the associations of this event loop with a host; the first to ask says how many.

    A token is held as long as an association is: do not ask for a second one meanwhile.
    """
    try:
        known = _limiters.get()
    except LookupError:
        known = {}
        _limiters.set(known)
    address = (peer.host, peer.port)
    if address not in known:
        known[address] = anyio.CapacityLimiter(associations)
    return known[address]


def for_now(error: Exception) -> bool:
    """True for a rejection that the peer calls transient (PS3.8 table 9-21)."""
    return isinstance(error, AssociationError) and (error.rejection or (1,))[0] == 2


def pause(tries: int) -> float:
    """Seconds to wait after so many tries; with jitter, so that not all come back at once."""
    return _PAUSE * 2 ** (tries - 1) * random.uniform(0.5, 1) if tries else 0.0


async def patiently(call: Callable[[], Awaitable[R]]) -> R:
    """Call; where the peer rejects the association for now, again after a while, a few times."""
    for tries in range(1, TRIES):
        try:
            return await call()
        except AssociationError as error:
            if not for_now(error):
                raise
        await anyio.sleep(pause(tries))
    return await call()


@asynccontextmanager
async def deadline(peer: Peer, spent: float = 0.0) -> AsyncIterator[None]:
    """The time that a whole call may take; no generator may yield within.

    ``spent``: seconds that are over already.

    Raises:
        AssociationError: it is over.
    """
    total = peer.timeouts.total
    try:
        with anyio.fail_after(None if total is None else max(total - spent, 0)):
            yield
    except TimeoutError as error:
        raise AssociationError(f"{peer}: not done within {total:g} seconds") from error


async def use(
    association: Association,
    session: Callable[[Association], R],
    limiter: anyio.CapacityLimiter | None = None,
) -> R:
    """Run what uses an association in a worker thread, and close it afterwards.

    Cancelled, it aborts the association and waits for the thread, which then ends at once.

    Args:
        association: not opened yet.
        session: opens, uses and releases it.
        limiter: how many may be open at a time: :func:`host_limiter`.
    """
    if limiter is None:
        return await _to_the_end(association, session)
    async with limiter:
        return await _to_the_end(association, session)


async def _to_the_end(association: Association, session: Callable[[Association], R]) -> R:
    # A thread of its own: it waits for the peer, and others have to compute meanwhile.
    run = partial(_closed_after, association, session)
    return await to_the_end(
        anyio.to_thread.run_sync(run, limiter=anyio.CapacityLimiter(1)),
        given_up=lambda _: association.abort(),
    )


def _closed_after(association: Association, session: Callable[[Association], R]) -> R:
    try:
        return session(association)
    finally:
        association.close()
