"""The end of a block in which a server runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType

import anyio
import anyio.to_thread

__all__ = ["Stopping"]


class Stopping(ABC):
    """Stops when its ``with`` or ``async with`` block ends, even if that is cancelled."""

    @abstractmethod
    def stop(self) -> None:
        """Stop, and wait for all threads. Blocks."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.stop)
