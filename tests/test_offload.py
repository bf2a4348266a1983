"""Worker threads: bounded, ordered, and done when they say so."""

from __future__ import annotations

import asyncio
import threading
import time

import anyio
import pytest

from seriesio.offload import Workers, default_threads, shares


def test_default_threads() -> None:
    """One more than the processors: at least three, at most 16."""
    assert 3 <= default_threads() <= 16
    assert Workers().threads == default_threads()
    assert Workers(3).threads == 3


@pytest.mark.parametrize("count", [0, 1, 5, 48, 301])
def test_shares(count: int) -> None:
    """All items once, in their order; large shares first, none beyond the bounds but the last."""
    parts = shares(count, 8, 2)
    assert [item for part in parts for item in part] == list(range(count))
    sizes = [len(part) for part in parts]
    assert sizes == sorted(sizes, reverse=True)
    assert all(2 <= size <= 8 for size in sizes[:-1])
    if count == 301:
        assert sizes[0] == 8
        assert sizes[-2] == 2


async def test_run() -> None:
    """A function runs in another thread, with its arguments; its error comes out as it is."""
    workers = Workers(1)
    assert await workers.run(threading.get_ident) != threading.get_ident()
    assert await workers.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await workers.run(divmod, 1, 0)


async def test_map_is_ordered_and_bounded() -> None:
    """Results are in the items' order, and no more run at a time than there are threads."""
    running, most, lock = 0, 0, threading.Lock()

    def work(item: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.002 * (item % 3))
        with lock:
            running -= 1
        return item * item

    seen: list[int] = []
    main = threading.get_ident()

    def done(item: int) -> None:
        assert threading.get_ident() == main
        seen.append(item)

    workers = Workers(2)
    assert await workers.map(work, range(20), done) == [n * n for n in range(20)]
    assert sorted(seen) == list(range(20))
    assert most == 2
    assert await workers.map(work, []) == []
    assert await workers.map(work, [3]) == [9]


@pytest.mark.parametrize("count", [1, 12])
async def test_first_error(count: int) -> None:
    """The first error is raised as it is, and what had not begun does not begin."""
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        raise KeyError(item)

    with pytest.raises(KeyError):
        await Workers(2).map(work, range(count))
    assert len(begun) <= 4


async def test_an_error_while_others_wait_for_a_thread() -> None:
    """Who waited for a thread when the first error came begins nothing any more."""
    workers, gate, begun = Workers(2), threading.Event(), list[int]()

    def work(item: int) -> None:
        begun.append(item)
        raise KeyError(item)

    async def other() -> None:
        await workers.run(gate.wait, 5)

    async with anyio.create_task_group() as group:
        group.start_soon(other)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(KeyError):
            await workers.map(work, range(12))
        gate.set()
    assert begun == [0]


@pytest.mark.parametrize("count", [1, 12])
async def test_error_of_the_callback(count: int) -> None:
    """An error of ``done`` is raised as it is too, not in a group."""

    def done(item: int) -> None:
        raise LookupError(item)

    with pytest.raises(LookupError):
        await Workers(2).map(str, range(count), done)


async def test_cancelled() -> None:
    """A cancelled call waits for what runs and starts nothing more."""
    begun: list[int] = []
    ended: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        time.sleep(0.03)
        ended.append(item)

    with anyio.move_on_after(0.01) as scope:
        await Workers(2).map(work, range(50))
    assert scope.cancelled_caught
    assert begun
    assert sorted(begun) == sorted(ended)
    assert len(begun) <= 4


@pytest.mark.parametrize("times", [1, 3])
async def test_cancelled_by_its_task(times: int) -> None:
    """asyncio's own cancelling waits, too, however often: what the thread uses is its own."""
    begun, gate = anyio.Event(), threading.Event()
    ended: list[int] = []

    def work() -> None:
        anyio.from_thread.run_sync(begun.set)
        assert gate.wait(10)
        ended.append(1)

    workers = Workers(1)
    task = asyncio.ensure_future(workers.run(work))
    await begun.wait()
    for _ in range(times):
        task.cancel()
        await anyio.sleep(0.02)
        assert not task.done()
    waiting = asyncio.ensure_future(workers.run(ended.append, 2))
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended[:1] == [1]
    await waiting


async def test_cancelled_by_its_task_and_a_scope() -> None:
    """A scope that is cancelled while a cancelled task waits does not keep the loop busy."""
    begun, gate = anyio.Event(), threading.Event()

    def work() -> None:
        anyio.from_thread.run_sync(begun.set)
        assert gate.wait(10)

    async def host() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(Workers(2).run, work)
            group.start_soon(anyio.sleep, 10)

    task = asyncio.ensure_future(host())
    await begun.wait()
    task.cancel()
    await anyio.sleep(0.05)
    before = time.process_time()
    await anyio.sleep(0.2)
    assert time.process_time() - before < 0.1
    assert not task.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_before_it_began() -> None:
    """What waits for a thread when its task is cancelled never begins."""
    gate = threading.Event()
    ended: list[int] = []
    workers = Workers(1)
    first = asyncio.ensure_future(workers.run(gate.wait, 10))
    await anyio.wait_all_tasks_blocked()
    second = asyncio.ensure_future(workers.run(ended.append, 2))
    await anyio.sleep(0.01)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    gate.set()
    assert await first
    assert await workers.run(len, ended) == 0


async def test_a_timeout_of_asyncio_is_one() -> None:
    """What ``asyncio.timeout`` cancels ends as TimeoutError, after its thread."""
    ended: list[int] = []

    def work() -> None:
        time.sleep(0.05)
        ended.append(1)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await Workers(1).run(work)
    assert ended == [1]


async def test_waiting_for_a_turn_takes_no_thread() -> None:
    """While one piece of Python has its turn, those behind it leave the threads to others."""
    workers, gate, turns = Workers(2), threading.Event(), 0

    def turn() -> None:
        nonlocal turns
        assert gate.wait(10)
        turns += 1

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(workers.run_alone, turn)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(5):
            assert await workers.run(divmod, 7, 2) == (3, 1)
        assert turns == 0
        gate.set()
    assert turns == 3
