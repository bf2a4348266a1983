"""A client: limits, worker threads and progress around open, write, copy and list.

Orchestration only: what a URL is, which transport and which format, in which order.
"""

from __future__ import annotations

import errno
import os
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from .choosing import ambiguous, listing, plain_report
from .dicom.making import completed, place_of, template_of
from .dicom.options import take_options
from .errors import ClientClosedError, NotFoundError, SeriesIOError, TransportError
from .location import URL
from .offload import Workers
from .opening import Opening, closing
from .progress import Progress, ProgressCallback
from .registry import open_transport
from .series import Series, volume_in
from .transports._http_pool import PoolingWorkers
from .writing import prepare

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import DTypeLike

    from .blob import Blob
    from .dicom.making import Place
    from .dicom.template import Template
    from .dicom.volume import Volume
    from .protocols import Entry, Receipt, SeriesSummary, Source
    from .report import Report

__all__ = ["URL", "Client", "Limits"]

OnIncomplete = Literal["raise", "warn"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a client.

    Attributes:
        threads: worker threads at a time; None: one more than there are processors.
        memory: bytes that one volume may take; None: what the machine has.
        associations_per_host: with a DICOM archive, at a time; one that refuses gets fewer.
    """

    threads: int | None = None
    memory: int | None = None
    associations_per_host: int = 4

    @property
    def bytes(self) -> int:
        if self.memory is not None:
            return self.memory
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class Client:
    """Opens, writes, copies and lists; an async context manager.

    Args:
        limits: bounds on threads and memory.
        progress: called in the event loop with a :class:`~seriesio.Progress` as work goes on.
    """

    def __init__(
        self, *, limits: Limits | None = None, progress: ProgressCallback | None = None
    ) -> None:
        self._limits = limits or Limits()
        self._progress = progress
        self._workers: PoolingWorkers | None = None
        self._closed = False

    async def __aenter__(self) -> Client:
        if self._closed or self._workers is not None:
            raise ClientClosedError("a Client is entered once")
        self._workers = PoolingWorkers(self._limits.threads)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close; calls that are under way end with their own scopes, new ones are refused.

        Sessions that were kept between calls are closed.
        """
        self._closed = True
        workers, self._workers = self._workers, None
        if workers is not None:
            await workers.pool.aclose()

    def _open_workers(self) -> Workers:
        if self._workers is None:
            state = "closed" if self._closed else "not entered: async with Client() as client"
            raise ClientClosedError(f"the Client is {state}")
        return self._workers

    # --- reading ------------------------------------------------------------------------------

    async def open(
        self,
        url: URL | Sequence[URL],
        input_order: str = "auto",
        *,
        select: Mapping[str, Any] | None = None,
        template: Any = None,
        geometry: Any = None,
        format: str | None = None,
        rescale: bool = True,
        dtype: DTypeLike | None = None,
        on_incomplete: OnIncomplete = "raise",
        progress: ProgressCallback | None = None,
        **options: Any,
    ) -> Series:
        """Open the one series behind a URL; see :meth:`Series.open`."""
        plan, rest = take_options(input_order, rescale, dtype, on_incomplete, options)
        single = (
            select is None and not plan.ignore_series_uid and isinstance(url, str | os.PathLike)
        )
        opening = self._opening(progress, format, on_incomplete, single=single)
        finish = await self._finishing(template, geometry)
        found = await opening.scan(_as_list(url), rest)
        try:
            choices = await opening.chosen(found, select, plan)
            if len(choices) > 1:
                raise await opening.workers.run_alone(ambiguous, found, choices)
            return await finish(await opening.load(found, choices[0], plan))
        finally:
            found.close()

    async def open_all(
        self,
        url: URL | Sequence[URL],
        input_order: str = "auto",
        *,
        select: Mapping[str, Any] | None = None,
        template: Any = None,
        geometry: Any = None,
        format: str | None = None,
        rescale: bool = True,
        dtype: DTypeLike | None = None,
        on_incomplete: OnIncomplete = "raise",
        progress: ProgressCallback | None = None,
        **options: Any,
    ) -> AsyncGenerator[Series, None]:
        """Open every series behind a URL, one after the other; see :meth:`Series.open_all`."""
        plan, rest = take_options(input_order, rescale, dtype, on_incomplete, options)
        opening = self._opening(progress, format, on_incomplete)
        finish = await self._finishing(template, geometry)
        found = await opening.scan(_as_list(url), rest)
        try:
            for choice in await opening.chosen(found, select, plan):
                yield await finish(await opening.load(found, choice, plan))
        finally:
            found.close()

    def _opening(
        self,
        progress: ProgressCallback | None,
        format: str | None = None,
        on_incomplete: OnIncomplete = "raise",
        *,
        single: bool = False,
    ) -> Opening:
        defaults = {**self._defaults(), "on_incomplete": on_incomplete, "single": single}
        workers, told = self._open_workers(), progress or self._progress
        return Opening(workers, self._limits.bytes, told, format, defaults)

    def _defaults(self) -> dict[str, Any]:
        """What transports are told that want to know."""
        return {"associations": self._limits.associations_per_host}

    async def _finishing(
        self, template: Any, geometry: Any
    ) -> Callable[[Volume], Awaitable[Series]]:
        """What makes a series of a volume: at another's place, under another's header."""
        workers = self._open_workers()
        model = await self._template(template)
        place = await self._geometry(geometry)

        async def finish(volume: Volume) -> Series:
            if model is not None or place is not None:
                volume = await workers.run_alone(completed, volume, model, place)
            return Series(volume)

        return finish

    async def _template(self, template: Any) -> Template | None:
        """The header that was asked for; a URL is opened for it.

        Raises:
            HeaderError: there is none in it.
        """
        if template is None:
            return None
        if isinstance(template, str | os.PathLike):
            template = await self._open_model(template, "template")
        return await self._open_workers().run(template_of, volume_in(template))

    async def _geometry(self, geometry: Any) -> Place | None:
        """The place that was asked for; a URL is opened for it."""
        if isinstance(geometry, str | os.PathLike):
            geometry = await self._open_model(geometry, "geometry")
        return place_of(volume_in(geometry))

    async def _open_model(self, url: URL, argument: str) -> Series:
        try:
            return await self.open(url, headers_only=True)
        except SeriesIOError as error:
            error.add_note(f"while opening {argument}=")
            raise

    async def summarize(
        self, url: URL | Sequence[URL], **options: Any
    ) -> tuple[list[SeriesSummary], Report]:
        """What series are behind a URL, told by their headers; no pixel is read.

        Files of guest formats are listed by their names, where there is no DICOM image.

        Raises:
            NotFoundError, TransportError, ArchiveError: as :meth:`open`.
        """
        opening = self._opening(None)
        found = await opening.scan(_as_list(url), options)
        try:
            listed = await opening.workers.run_alone(listing, found)
            return listed, plain_report(found.inventory)
        finally:
            found.close()

    async def list(self, url: URL, **options: Any) -> AsyncIterator[Entry]:
        """What is directly behind a URL: files and directories of a directory or zip.

        Raises:
            NotFoundError, TransportError, ArchiveError.
        """
        transport = await open_transport(url, self._open_workers(), options, self._defaults())
        async for entry in transport.list():
            yield entry

    # --- writing ------------------------------------------------------------------------------

    async def write(
        self,
        series: Series,
        url: URL,
        *,
        formats: Sequence[str] | None = None,
        keep_uid: bool | None = None,
        overwrite: bool = False,
        progress: ProgressCallback | None = None,
        **options: Any,
    ) -> Receipt:
        """Write a series behind a URL; see :meth:`Series.write`."""
        workers = self._open_workers()
        volume, told = series._volume, progress or self._progress
        writing = await prepare(volume, url, formats, options, workers, self._defaults())
        if writing.guest is not None:
            async with aclosing(_counted(writing.files(volume, workers), told, None)) as blobs:
                return await writing.transport.write(blobs, overwrite=overwrite)
        prints = await workers.run(volume.prints)
        series._notice(prints)
        taken = frozenset() if overwrite else await writing.transport.taken()
        made = writing.dicom(volume, prints, taken, bool(keep_uid), workers)
        async with aclosing(_counted(made, told, len(series.header))) as blobs:
            receipt = await writing.transport.write(blobs, overwrite=overwrite)
        series.header.settle()
        return receipt

    async def copy(
        self,
        source: URL,
        target: URL,
        *,
        source_options: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        progress: ProgressCallback | None = None,
        **options: Any,
    ) -> Receipt:
        """Copy all that is behind one URL to another, byte for byte; nothing is decoded.

        The copy is whole, or is not made. What is no run of bytes of its own (FIFOs, sockets,
        broken links, further names of a file) is named by ``skipped`` of the receipt.

        ``source_options`` are those of the transport that is read (``auth=`` of a server),
        ``options`` of the one that is written (``compression=`` of a zip); ``password=`` is that
        of a zip that is read.

        Raises:
            NotFoundError, TargetExistsError, ArchiveError.
            TransportError: something cannot be read or written; one may not read a part of it.
        """
        workers = self._open_workers()
        reading = dict(source_options or {})
        reading |= {name: options.pop(name) for name in ("password",) if name in options}
        origin = await open_transport(source, workers, reading, self._defaults())
        sink = await open_transport(target, workers, options, self._defaults())
        async with aclosing(_counted(_whole(origin), progress or self._progress, None)) as blobs:
            receipt = await sink.write(blobs, overwrite=overwrite)
        left_out = tuple(name for name, _ in origin.skipped)
        return replace(receipt, skipped=(*receipt.skipped, *left_out))


async def _whole(source: Source) -> AsyncGenerator[Blob, None]:
    """All blobs of a source; an error as soon as it is known that one cannot be read."""
    looked_at = 0
    async with closing(source.read()) as blobs:
        async for blob in blobs:
            if len(source.skipped) > looked_at:
                looked_at = len(source.skipped)
                _refuse_unreadable(source)
            yield blob
    _refuse_unreadable(source)


def _refuse_unreadable(source: Source) -> None:
    names = [name for name, reason in source.skipped if reason == "unreadable"]
    if names:
        more = f" and {len(names) - 10} more" if len(names) > 10 else ""
        told = ", ".join(map(repr, names[:10]))
        raise TransportError(
            errno.EACCES, f"nothing was copied, these cannot be read: {told}{more}"
        )


def _as_list(url: URL | Sequence[URL]) -> list[URL]:
    if isinstance(url, str | os.PathLike):
        return [url]
    urls = list(url)
    if not urls:
        raise NotFoundError("an empty list of locations")
    return urls


async def _counted(
    blobs: AsyncIterator[Blob], progress: ProgressCallback | None, total: int | None
) -> AsyncGenerator[Blob, None]:
    """Pass blobs on, and tell how far it has come."""
    count = size = 0
    async with closing(blobs):
        async for blob in blobs:
            yield blob
            count, size = count + 1, size + blob.size
            if progress is not None:
                progress(Progress(count, total, "files", size))
