"""Reading scans: one streamed zip unpacked while it arrives, or files side by side.

Whatever way they come, files are held against the catalogue, and the ones that have not come
whole are asked for again, one by one; nothing is asked for twice that has come.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import anyio

from ..blob import Announced, ReceivedBlob
from ..errors import (
    ArchiveError,
    IncompleteSeriesError,
    SeriesIOError,
    TooLargeError,
    TransportError,
)
from ._http_client import HttpError
from ._http_flow import flowing
from ._slabs import shared
from ._xnat_location import quoted
from ._xnat_receive import Arrivals, CatalogFile, Receiving, held_against
from ._xnat_unzip import Unzip

if TYPE_CHECKING:
    from ..offload import Workers
    from ._http_client import Reply
    from ._xnat_find import Found
    from ._xnat_session import XnatSession

__all__ = ["Reader", "Reading", "chosen_way"]

Reading: TypeAlias = Literal["auto", "zip", "files"]

_BATCH: Final = 1 << 22  # bytes that are handed to a thread at a time, at most
_BATCHES: Final = 8  # that a body makes, at least
_SMALL: Final = 1 << 18  # but not smaller ones
_STEP: Final = 1 << 19  # bytes that are unpacked between two looks at what has come of them
_WHOLE: Final = 5 << 20  # bytes of files that are handed on together: their digests are one call
_PAUSE: Final = 0.2  # seconds after which what is smaller is handed on
_WAITING: Final = 1  # batch
_CHECKS: Final = 2  # batches whose digests are made at a time
_FEW: Final = 4  # files that are not worth a zip
_LARGE: Final = 32 << 20  # mean size of files that several connections carry faster
_ATTEMPTS: Final = 4  # at one file whose body does not come whole
_SLACK: Final = 1 << 24  # bytes of a zip beside its files
_OVERHEAD: Final = 1 << 12  # the same, for each file
_NAMED: Final = 20


def chosen_way(files: Sequence[CatalogFile], asked: Reading) -> Literal["zip", "files"]:
    """How to get files: many small ones in one zip, few or large ones each for itself."""
    if asked != "auto":
        return asked
    known = [file.size for file in files if file.size is not None]
    large = bool(known) and sum(known) >= _LARGE * len(known)
    return "files" if len(files) <= _FEW or large else "zip"


@dataclass(eq=False)
class Reader:
    """Reads scans of one server.

    Attributes:
        via: how; "auto": by number and size of the files.
        parallel: files under way at a time.
        memory: bytes that a scan may take.
        notes: what was sent and is not listed, with the reason.
        missing: gets what is listed and not there; None: that is an error.
    """

    session: XnatSession
    workers: Workers
    via: Reading
    parallel: int
    memory: int
    notes: list[tuple[str, str]]
    missing: list[tuple[str, str]] | None = None

    async def read(self, found: Found, prefix: str) -> AsyncGenerator[ReceivedBlob, None]:
        """Every file of a scan's resource, in the order of arrival.

        Raises:
            IncompleteSeriesError: files that the catalogue lists are not there; names them.
            TransportError: the server cannot be read.
            TooLargeError: more than ``memory``.
        """
        files = found.resource.files
        self._refuse_too_much(files, str(found.place))
        wanted = {file.path: file for file in files}
        path = f"{found.scan.files_path}/resources/{quoted(found.resource.id)}/files"
        of = Announced(path, len(files))
        if chosen_way(files, self.via) == "zip":
            async with aclosing(self._zipped(path, found, wanted)) as arrived:
                async for receiving, blob in arrived:
                    blob.of = of
                    yield _renamed(blob, prefix, receiving)
        if wanted:
            async with aclosing(self._single(path, found, wanted)) as blobs:
                async for blob in blobs:
                    blob.name, blob.of = prefix + blob.name, of
                    yield blob

    def _refuse_too_much(self, files: Iterable[CatalogFile], where: str) -> None:
        total = sum(file.size or 0 for file in files)
        if total > self.memory:
            raise TooLargeError(f"{where}: {total} bytes; at most {self.memory} are received")

    # --- one zip ------------------------------------------------------------------------------

    async def _zipped(
        self, path: str, found: Found, wanted: dict[str, CatalogFile]
    ) -> AsyncGenerator[tuple[Receiving, ReceivedBlob], None]:
        """What a zip brings; ends without an error where the rest can be got file by file."""
        what = f"{self.session.base}{path}"
        arrivals = Arrivals(wanted, found.scan.id, self.memory, what)
        expected = sum(file.size or 0 for file in wanted.values())
        inflating = _buffers(expected)
        try:
            async with (
                self.session.downloads,
                self.session.download(path, {"format": "zip"}) as reply,
            ):
                most = sum(file.size or self.memory for file in wanted.values())
                most += _SLACK + _OVERHEAD * len(wanted)
                fill = partial(self._fill, reply, expected, most)
                unzip = Unzip(arrivals.store, what, inflating)
                unpack = partial(self._unpack, fill, unzip, arrivals)
                check = partial(self._check, unpack, arrivals)
                async with aclosing(flowing(check, 1)) as groups:
                    async for group in groups:
                        for pair in group:
                            yield pair
        except HttpError as error:
            if not (error.cut or error.status == 404):
                raise
        except ArchiveError:
            pass  # whoever is missing is asked for alone, and then it is known what is wrong
        finally:
            inflating.close()
            self.notes += [(name, "not in the catalogue") for name in arrivals.unlisted]

    async def _check(
        self,
        unpack: Callable[[Callable[[list[Receiving]], Awaitable[None]]], Awaitable[None]],
        arrivals: Arrivals,
        emit: Callable[[list[tuple[Receiving, ReceivedBlob]]], Awaitable[None]],
    ) -> None:
        """Hold files against the catalogue, some side by side, while the next are unpacked.

        Raises:
            ArchiveError, HttpError: what is behind them.
        """
        turn = anyio.Lock()
        failures: list[Exception] = []

        async def some() -> None:
            try:
                while True:
                    async with turn:
                        group = await anext(groups, None)
                    if group is None:
                        return
                    await emit(await self.workers.run(_checked, arrivals, group))
            except Exception as error:
                failures.append(error)  # the other one ends what it has

        async with (
            aclosing(flowing(unpack, _WAITING)) as groups,
            anyio.create_task_group() as tasks,
        ):
            for _ in range(_CHECKS):
                tasks.start_soon(some)
        if failures:
            raise failures[0]

    async def _unpack(
        self,
        fill: Callable[[Callable[[list[memoryview]], Awaitable[None]]], Awaitable[None]],
        unzip: Unzip,
        arrivals: Arrivals,
        emit: Callable[[list[Receiving]], Awaitable[None]],
    ) -> None:
        """Unpack batches while the next ones arrive; what has come whole goes on to be checked.

        Raises:
            ArchiveError: what is behind that.
            HttpError: nothing is behind that.
        """
        failure: ArchiveError | HttpError | None = None
        emitted = time.monotonic()
        try:
            async with aclosing(flowing(fill, _WAITING)) as batches:
                async for batch in batches:
                    while batch and failure is None:
                        failure = await self.workers.run(_fed, unzip, batch, arrivals)
                        late = time.monotonic() > emitted + _PAUSE
                        if arrivals.whole and (late or arrivals.held >= _WHOLE):
                            await emit(arrivals.take())
                            emitted = time.monotonic()
                    if failure is not None or (unzip.ended and not arrivals.wanted):
                        break
        except (ArchiveError, HttpError) as error:
            failure = error
        if whole := arrivals.take():  # whatever ended it: what has come is not asked for again
            await emit(whole)
        if failure is not None:
            raise failure

    async def _fill(
        self,
        reply: Reply,
        expected: int,
        most: int,
        emit: Callable[[list[memoryview]], Awaitable[None]],
    ) -> None:
        """Emit the body in batches.

        Raises:
            ArchiveError: it has no end.
        """
        total = 0
        with closing(_buffers(expected)) as buffers:
            async with aclosing(reply.batches(buffers, _PAUSE)) as batches:
                async for batch in batches:
                    await emit(batch)
                    total += sum(part.nbytes for part in batch)
                    if total > most:
                        raise ArchiveError(f"{reply.what}: more bytes than its files have")

    # --- file by file -------------------------------------------------------------------------

    async def _single(
        self, path: str, found: Found, wanted: dict[str, CatalogFile]
    ) -> AsyncGenerator[ReceivedBlob, None]:
        """What is still wanted, file by file, some side by side.

        Raises:
            IncompleteSeriesError: some are not there.
        """
        lost: list[str] = []
        todo = iter(list(wanted.values()))

        async def work(emit: Callable[[ReceivedBlob], Awaitable[None]]) -> None:
            failures: list[Exception] = []

            async def some() -> None:
                for file in todo:
                    if failures:
                        return
                    try:
                        await emit(await self._file(f"{path}/{_path(file)}", file))
                        del wanted[file.path]
                    except HttpError as error:
                        if error.status != 404:
                            failures.append(error)
                            return
                        lost.append(file.path)
                    except SeriesIOError as error:
                        failures.append(error)

            async with anyio.create_task_group() as group:
                for _ in range(min(self.parallel, len(wanted))):
                    group.start_soon(some)
            if failures:
                raise failures[0]

        async with aclosing(flowing(work, self.parallel)) as blobs:
            async for blob in blobs:
                yield blob
        if lost and self.missing is None:
            raise _incomplete(found, lost)
        if self.missing is not None:
            self.missing += [(name, "is listed, and the server does not have it") for name in lost]
            self.notes += [(name, "missing") for name in lost]

    async def _file(self, path: str, file: CatalogFile) -> ReceivedBlob:
        """One file, asked for again as long as that may help."""
        failed = 0
        while True:
            try:
                return await self._once(path, file)
            except HttpError as error:
                failed += 1
                if not error.cut or failed == _ATTEMPTS:
                    raise

    async def _once(self, path: str, file: CatalogFile) -> ReceivedBlob:
        async with self.session.download(path) as reply:
            receiving = Receiving(file, self.memory, reply.what)
            fill = partial(self._fill, reply, file.size or 0, self.memory)
            async with aclosing(flowing(fill, _WAITING)) as batches:
                async for batch in batches:
                    for part in batch:
                        receiving.write(part)
        if file.size is not None and receiving.done < file.size:
            raise HttpError(
                f"GET {self.session.base}{path}: {receiving.done} bytes came, "
                f"the catalogue says {file.size}"
            )
        (blob,) = await self.workers.run(held_against, [receiving])
        if isinstance(blob, TransportError):
            raise blob
        return blob


def _renamed(blob: ReceivedBlob, prefix: str, receiving: Receiving) -> ReceivedBlob:
    blob.name = prefix + receiving.file.path
    return blob


def _buffers(expected: int) -> Generator[memoryview, None, None]:
    """Memory for a body, until closed: small pieces for a small one, so that work begins soon."""
    size = min(max(expected // _BATCHES, _SMALL), _BATCH)
    return shared(1 << (size - 1).bit_length()).endless(expected)


def _fed(unzip: Unzip, batch: list[memoryview], arrivals: Arrivals) -> ArchiveError | None:
    """Unpack a batch, or what gives enough to be checked: that is gone from the batch then.

    What is wrong with it does not hide what came before that.
    """
    try:
        while batch and arrivals.held < _WHOLE:
            unzip.feed([batch[0][:_STEP]])
            batch[:1] = [rest] if (rest := batch[0][_STEP:]) else []
    except ArchiveError as error:
        return error
    return None


def _checked(
    arrivals: Arrivals, group: Sequence[Receiving]
) -> list[tuple[Receiving, ReceivedBlob]]:
    """Those of some files that are what the catalogue says; others are asked for once more."""
    pairs = []
    for receiving, blob in zip(group, held_against(group), strict=True):
        if isinstance(blob, TransportError):
            arrivals.wanted[receiving.file.path] = receiving.file
        else:
            pairs.append((receiving, blob))
    return pairs


def _path(file: CatalogFile) -> str:
    return "/".join(quoted(part) for part in file.path.split("/"))


def _incomplete(found: Found, lost: Sequence[str]) -> IncompleteSeriesError:
    names = ", ".join(sorted(lost)[:_NAMED])
    more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
    return IncompleteSeriesError(
        f"{found.place}: the catalogue lists {len(lost)} files that the server does not have: "
        f"{names}{more}",
        sorted(lost),
    )
