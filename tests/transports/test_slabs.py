"""Memory to receive into: used again once nobody has a view of it, and never before."""

from __future__ import annotations

import gc
import threading
import weakref
from itertools import islice
from typing import Any

import pytest

from seriesio.errors import TooLargeError
from seriesio.transports import _slabs
from seriesio.transports._slabs import Slabs, mapped, shared

SIZE = 1 << 13


def test_used_again_when_the_last_view_is_gone() -> None:
    """The memory of a slab comes back with what it held; as long as there is a view, it stays."""
    slabs = Slabs(SIZE, 4).endless()
    slab = next(slabs)
    assert (slab.nbytes, slab.format, slab.readonly) == (SIZE, "B", False)
    slab[:4] = b"DICM"
    view = slab[2:4]
    del slab
    other = next(slabs)
    other[:4] = b"!!!!"
    assert bytes(view) == b"CM"
    view.release()
    del view
    assert bytes(next(slabs)[:4]) == b"DICM"
    assert bytes(other[:4]) == b"!!!!"


def test_no_more_than_some_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the spare ones memory goes back to the system, and all of it with the slabs."""
    made: list[weakref.ref[Any]] = []

    def counted(size: int) -> Any:
        memory = mapped(size)
        made.append(weakref.ref(memory))
        return memory

    monkeypatch.setattr(_slabs, "mapped", counted)
    slabs = Slabs(SIZE, 2).endless()
    lent = list(islice(slabs, 5))
    assert len(made) == 5
    lent.clear()
    gc.collect()
    assert sum(memory() is not None for memory in made) == 2
    last = next(slabs)
    del slabs
    gc.collect()
    assert sum(memory() is not None for memory in made) == 1
    last[:2] = b"ok"
    del last
    gc.collect()
    assert not any(memory() is not None for memory in made)


def test_no_more_is_kept_than_will_be_taken() -> None:
    """Who says how much will come has less spare memory the less is still to come."""
    slabs = Slabs(SIZE, 4)
    several = slabs.endless(9 * SIZE - 1)
    lent = list(islice(several, 5))
    for slab in lent:
        slab[0] = 7
    del slab
    lent.clear()
    lent = list(islice(several, 4))  # the last of nine, and two more that nobody expected
    assert [slab[0] for slab in lent] == [7] * 4
    lent.clear()
    assert [slab[0] for slab in list(islice(several, 2))] == [0, 0]
    other = slabs.endless(3 * SIZE)
    lent = list(islice(other, 1))
    lent[0][0] = 8
    lent.clear()
    assert next(several)[0] == 8, "what one has let go of is there for all"
    lent = list(islice(several, 3))
    for slab in lent:
        slab[0] = 9
    del slab
    lent.clear()
    assert [slab[0] for slab in list(islice(several, 3))] == [9, 9, 0], "as many as will be taken"
    other.close()
    assert not next(several)[0]


def test_shared_while_used() -> None:
    """Who receives at the same time shares; once all are done, nothing is left."""
    first = shared(SIZE)
    assert shared(SIZE) is first
    assert shared(2 * SIZE) is not first
    gone = weakref.ref(first)
    del first
    gc.collect()
    assert gone() is None


def test_from_many_threads() -> None:
    """No two views of the same memory are out at a time, whoever takes and lets go of them."""
    slabs, wrong = Slabs(SIZE, 8), []

    def work(mark: int) -> None:
        for slab in islice(slabs.endless(), 2000):
            slab[:8] = mark.to_bytes(8, "little")
            held = slab[:8]
            del slab
            if bytes(held) != mark.to_bytes(8, "little"):
                wrong.append(mark)

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_no_memory() -> None:
    """More than there can be is our own error."""
    for size in (1 << 62, 1 << 80):
        with pytest.raises(TooLargeError, match="no memory"):
            mapped(size)
