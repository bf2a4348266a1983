"""Fixtures for all tests: event loops, real series, other programs, proofs of good behaviour."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from importlib.util import find_spec
from inspect import iscoroutinefunction
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import pytest
from blockbuster import BlockBuster, BlockBusterFunction
from hypothesis import settings

import seriesio

UVLOOP = find_spec("uvloop") is not None
LIBRARY = Path(seriesio.__file__).parent

# What runs on both event loops; everything else runs on asyncio's own.
LOOP_MODULES = (
    "test_client.py",
    "test_contract.py",
    "test_dicom_get.py",
    "test_file.py",
    "test_http_whole.py",
    "test_http_wire.py",
    "test_offload.py",
    "test_open.py",
    "test_uids.py",
    "test_write.py",
    "test_xnat_read.py",
    "test_zip.py",
    "test_zip_failures.py",
    "test_zip_write.py",
)

# Parameters of these are kinds of data, of which a loop sees nothing: on uvloop one stands for all.
KINDS_MODULES = ("test_client.py", "test_open.py", "test_uids.py", "test_write.py")

# CI sets it: there, what is not installed is a failure instead of a skip.
REQUIRED = os.environ.get("SERIESIO_REQUIRE_SERVERS") == "1"

# How long an example takes says nothing: on a busy machine, any may.
settings.register_profile("seriesio", deadline=None)
settings.load_profile("seriesio")

# Blocking calls that blockbuster does not know.
BLOCKING = (
    *("builtins.open", "io.open", "os.open", "os.fsync", "os.copy_file_range"),
    *("os.pread", "os.preadv", "os.pwrite", "os.pwritev", "os.writev"),
)


def missing(what: str) -> NoReturn:
    """Skip the test, saying why; fail it where everything has to be there."""
    if REQUIRED:
        pytest.fail(f"{what} (SERIESIO_REQUIRE_SERVERS=1 asks for it)")
    pytest.skip(what)


def loops() -> list[Any]:
    plain = pytest.param(("asyncio", {}), id="asyncio")
    if not UVLOOP:
        return [plain]
    return [plain, pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop")]


@pytest.fixture(scope="module", params=loops())
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Async tests run on asyncio's own loop; those that meet the loop run on uvloop too."""
    return request.param


@pytest.fixture(scope="session")
def ipv6() -> None:
    """This machine has a loopback address of IPv6; containers often have none."""
    try:
        with socket.socket(socket.AF_INET6) as listener:
            listener.bind(("::1", 0))
    except OSError as error:
        pytest.skip(f"no IPv6 on this machine: {error.strerror}")


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real series, named by SERIESIO_CORPUS."""
    folder = os.environ.get("SERIESIO_CORPUS")
    if not folder:
        missing("SERIESIO_CORPUS is not set: no real series to test against")
    if not Path(folder).is_dir():
        missing("SERIESIO_CORPUS names no folder")
    return Path(folder)


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    """``tool("dcmdump")`` is the path of an installed program."""

    def is_pythons(place: str) -> bool:
        """In a virtual environment pynetdicom has programs of the same names as DCMTK's."""
        return os.path.exists(os.path.join(os.path.dirname(place), "pyvenv.cfg"))

    places = [place for place in os.get_exec_path() if not is_pythons(place)]

    def find(name: str) -> str:
        found = shutil.which(name, path=os.pathsep.join(places))
        return found or missing(f"{name} is not installed")

    return find


@pytest.fixture(scope="session", autouse=True)
def no_delay() -> Iterator[None]:
    """DCMTK's programs send at once; else many a message waits 40 ms for an acknowledgement."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TCP_NODELAY", "1")
        yield


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """A call of ours that blocks the event loop's thread raises BlockingError."""
    doubles = ["seriesio.testing"]  # test doubles may block, and they do
    blocker = BlockBuster("seriesio", excluded_modules=doubles)
    for name in BLOCKING:
        function = BlockBusterFunction(
            None, name, scanned_modules="seriesio", excluded_modules=doubles
        )
        blocker.functions[name] = function.can_block_in(
            "<frozen importlib._bootstrap>", "_find_and_load"
        )
    for function in blocker.functions.values():
        function.can_block_predicate = nobody_of_ours_or(function.can_block_predicate)
    blocker.activate()
    try:
        yield blocker
    finally:
        blocker.deactivate()


def nobody_of_ours_or(may_block: Callable[..., bool]) -> Callable[..., bool]:
    """What blockbuster finds out by itself of calls that tests make, a hundred times as fast."""
    return lambda *args, **kwargs: not is_of_ours() or may_block(*args, **kwargs)


def is_of_ours() -> bool:
    """True if a function of the library, test doubles left out, waits for the call."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if is_library(frame.f_code.co_filename):
            return True
        frame = frame.f_back
    return False


@cache
def is_library(file: str) -> bool:
    path = Path(file)
    return path.is_relative_to(LIBRARY) and not path.is_relative_to(LIBRARY / "testing")


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test leaves a thread or an open file behind, once its event loop is closed."""
    threads, files = set(threading.enumerate()), open_files()
    yield
    if left := open_files().keys() - files.keys():
        gc.collect()  # what an error's traceback held is no leak of ours
        left = open_files().keys() - files.keys()
    names = [name for number in left if (name := open_files().get(number))]
    if "uvloop" in request.node.name:  # it makes its pair for signals when it first waits
        names = [name for name in names if not name.startswith("pipe:")]
    assert not names, f"left open: {names}"
    alive = [thread.name for thread in set(threading.enumerate()) - threads if is_ours(thread)]
    assert not alive, f"threads left running: {alive}"


@pytest.fixture
async def no_stray_tasks() -> AsyncIterator[None]:
    """No async test leaves a task behind (added to every async test at collection)."""
    before = asyncio.all_tasks()
    yield
    left = {task for task in asyncio.all_tasks() - before if not is_the_runners(task)}
    assert not left, f"tasks left running: {left}"


def on_one_loop(items: list[pytest.Item]) -> set[pytest.Item]:
    """The tests on uvloop that would prove nothing more than those on asyncio's own loop."""
    uvloop = [item for item in items if "uvloop" in item.name]
    firsts = {function_of(item): item for item in reversed(uvloop)}
    return {
        item
        for item in uvloop
        if not meets_the_loop(item)
        or item.get_closest_marker("slow")
        or (has_kinds(item) and item is not firsts[function_of(item)])
    }


def function_of(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]


def meets_the_loop(item: pytest.Item) -> bool:
    """True for tests of what depends on the event loop: threads, files, sockets, cancellation."""
    return item.path.name in LOOP_MODULES


def has_kinds(item: pytest.Item) -> bool:
    return item.path.name in KINDS_MODULES and "cancel" not in item.name


def open_files() -> dict[int, str]:
    """File descriptors of this process and what they point to; empty where /proc is missing."""
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        return {}
    return {
        int(name): target for name in os.listdir(folder) if (target := fd_target(folder / name))
    }


def fd_target(link: Path) -> str | None:
    try:
        target = os.readlink(link)
    except OSError:  # the descriptor that listed the folder
        return None
    return None if target.startswith("/dev/") else target


def is_ours(thread: threading.Thread) -> bool:
    """Idle workers of anyio and of asyncio's executor end with their event loop, a bit later."""
    return thread.is_alive() and not thread.name.startswith(("AnyIO worker", "asyncio_"))


def is_the_runners(task: asyncio.Task[Any]) -> bool:
    """anyio's pytest plugin runs this very fixture in a task of its own."""
    return getattr(task.get_coro(), "__qualname__", "").startswith("TestRunner.")


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, name: str, obj: object
) -> None:
    """Ask for :func:`no_stray_tasks` in every async test."""
    function = getattr(getattr(obj, "hypothesis", None), "inner_test", obj)
    if collector.istestfunction(obj, name) and iscoroutinefunction(function):
        pytest.mark.usefixtures("anyio_backend", "no_stray_tasks")(obj)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that use real series or other programs are marked as such; few run on both loops."""
    once = on_one_loop(items)
    config.hook.pytest_deselected(items=list(once))
    items[:] = [item for item in items if item not in once]
    for item in items:
        names = getattr(item, "fixturenames", ())
        if "corpus" in names:
            item.add_marker(pytest.mark.corpus)
        if "tool" in names:
            item.add_marker(pytest.mark.interop)
