"""Where the thread of an association waits while another one talks to the peer."""

from __future__ import annotations

import threading
from typing import Final

__all__ = ["Gate"]

_LOOK: Final = 0.05  # seconds between two looks whether the thread is still there


class Gate(threading.Event):
    """In place of pynetdicom's event, which an association's thread may pass after it was cleared.

    It has been told to go on, has not woken yet, and counts as paused: whoever pauses it again then
    loses the answer to it.

    Args:
        thread: the one that waits here.
    """

    def __init__(self, thread: threading.Thread) -> None:
        super().__init__()
        super().set()
        self._thread = thread
        self._changed = threading.Condition()
        self._waiting = False

    def set(self) -> None:
        """Let the thread go on."""
        with self._changed:
            super().set()
            self._changed.notify_all()

    def clear(self) -> None:
        """Stop the thread at its next call of :meth:`wait`; returns when it is there, or gone."""
        with self._changed:
            super().clear()
            if threading.current_thread() is not self._thread:
                while not (self._waiting or self.is_set()) and self._thread.is_alive():
                    self._changed.wait(_LOOK)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until :meth:`set`; cleared meanwhile, go on waiting."""
        with self._changed:
            self._waiting = True
            self._changed.notify_all()
            try:
                return self._changed.wait_for(self.is_set, timeout)
            finally:
                self._waiting = False
