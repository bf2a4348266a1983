"""The pause of an association's thread: it is where it was stopped, and takes no answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from seriesio.testing._archive_gate import Gate


@contextmanager
def reactor(step: Callable[[], None]) -> Iterator[Gate]:
    """A thread that takes a step, and passes its gate, again and again."""
    going = True

    def run() -> None:
        while going:
            gate.wait()
            step()

    thread = threading.Thread(target=run)
    gate = Gate(thread)
    thread.start()
    yield gate
    going = False
    gate.set()
    thread.join(10)
    assert not thread.is_alive()


def test_nothing_is_taken_while_paused() -> None:
    """However quickly it is paused again, the thread never takes a step meanwhile."""
    steps, stolen = 0, 0

    def step() -> None:
        nonlocal steps
        steps += 1
        time.sleep(0)

    with reactor(step) as gate:
        for _ in range(3000):
            gate.clear()
            before = steps
            time.sleep(0)
            stolen += steps != before
            gate.set()
    assert stolen == 0
    assert steps


def test_whoever_is_gone_is_not_waited_for() -> None:
    """Pausing returns where the thread has ended, and where it is the thread itself that pauses."""
    ended = threading.Thread(target=int)
    ended.start()
    ended.join()
    Gate(ended).clear()
    own = Gate(threading.current_thread())
    own.clear()
    assert not own.is_set()
    assert not own.wait(0.01)
    own.set()
    assert own.wait()
