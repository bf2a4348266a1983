"""Long work in a worker thread ends soon after the task that waits for it is cancelled."""

from __future__ import annotations

from collections.abc import Callable

import anyio.from_thread

__all__ = ["canceller"]


def canceller() -> Callable[[], None]:
    """What raises in a worker thread once the task that waits for it is cancelled.

    It takes less than a microsecond. In a thread that no event loop waits for it does nothing.
    """
    try:
        anyio.from_thread.check_cancelled()
    except RuntimeError:  # no thread of an event loop: nothing can cancel it
        return lambda: None
    return anyio.from_thread.check_cancelled
