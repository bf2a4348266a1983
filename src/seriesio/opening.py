"""The steps of opening: transports, scan, which series, load, and what is told on the way."""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from . import registry
from .choosing import (
    NOT_DICOM,
    DicomPart,
    Found,
    choices,
    leave_out,
    plain_report,
    with_empty_noted,
    without,
    worrying,
)
from .errors import IncompleteSeriesError, IncompleteSeriesWarning
from .formats._guests import GuestFile, completed_by, find_guests, load_guest
from .registry import check_options, find_transport, format_for, guest_for

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .blob import Blob
    from .choosing import Choice
    from .dicom.options import PlanOptions
    from .dicom.volume import Volume
    from .location import URL
    from .offload import Workers
    from .progress import ProgressCallback
    from .protocols import Format, Guest, Inventory, Transport
    from .registry import Target

__all__ = ["Opening", "closing"]


@dataclass(frozen=True, slots=True)
class Opening:
    """The steps of opening that one and all have in common.

    ``format``: the only one to look for; None: DICOM, and guests where there is none of it.
    ``defaults``: options for transports that take them.
    """

    workers: Workers
    memory: int
    progress: ProgressCallback | None
    format: str | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)

    async def scan(self, urls: Sequence[URL], options: Mapping[str, Any]) -> Found:
        """Look what is behind URLs.

        Raises:
            TypeError: an option that nobody takes.
        """
        ready = await self.workers.run(_resolved, urls, options, self.format)
        handler, targets, wanted, left = ready
        transports = [target.open(self.workers, options, self.defaults) for target in targets]
        listed: list[list[Blob]] = [[] for _ in transports]
        async with aclosing(_chain(transports, listed)) as blobs:
            inventory = await handler.scan(blobs, self.workers, self.progress, memory=self.memory)
        try:
            for transport in transports:
                for name, reason in transport.skipped:
                    inventory.skipped.setdefault(reason, []).append(name)
                    if reason == "missing":  # announced, and not sent
                        inventory.failed.append((name, _not_sent(name)))
            told = list(zip(targets, listed, strict=True))
            return Found(inventory, await self._guests(inventory, told, wanted, options), left)
        except BaseException:
            inventory.close()
            raise

    async def _guests(
        self,
        inventory: Inventory,
        listed: Sequence[tuple[Target, Sequence[Blob]]],
        wanted: Mapping[str, Guest] | None,
        options: Mapping[str, Any],
    ) -> tuple[GuestFile, ...]:
        """The guests among what is no DICOM; counted as skipped, by format."""
        names = set(inventory.skipped.get(NOT_DICOM, ()))
        if not names or wanted == {}:
            return ()
        guests = registry.guests if wanted is None else partial(dict[str, "Guest"], wanted)
        found: list[GuestFile] = []
        for target, blobs in listed:
            others = [blob for blob in blobs if blob.name in names]
            files = await find_guests(others, guests, self.workers)
            if files and target.location.scheme == "zip" and target.location.selections:
                files = await self._with_unselected(files, target, options)
            found += files
        for file in found:
            inventory.skipped.setdefault(file.format, []).append(file.name)
        leave_out(inventory, {blob.name for file in found for blob in file.files.values()})
        return tuple(found)

    async def _with_unselected(
        self, files: Sequence[GuestFile], target: Target, options: Mapping[str, Any]
    ) -> list[GuestFile]:
        """Files with their companions in a zip, of which only some members were asked for."""
        whole = replace(target, location=replace(target.location, selections=()))
        async with closing(whole.open(self.workers, options).read()) as blobs:
            others = [blob async for blob in blobs]
        return await self.workers.run(completed_by, files, others)

    async def chosen(
        self, found: Found, select: Mapping[str, Any] | None, plan: PlanOptions
    ) -> list[Choice]:
        """As :func:`choices`, in a worker thread: grouping thousands of headers takes its time."""
        if not found.inventory.images:
            return choices(found, self.format, select, plan)
        return await self.workers.run_alone(choices, found, self.format, select, plan)

    async def load(self, found: Found, choice: Choice, plan: PlanOptions) -> Volume:
        """The volume of what was chosen.

        Raises:
            TypeError: an option that its format does not take.
        """
        if isinstance(choice, DicomPart):
            check_options("a DICOM series", found.left, ())
            return await self._load_dicom(found.inventory, choice.rows, plan)
        takes = getattr(choice.guest, "read_options", None)
        if takes is not None:
            check_options(f"a file of format {choice.format}", found.left, takes)
        report = without(plain_report(found.inventory), choice)
        if plan.input_order != "auto":
            told = f"input_order= was not used: a file of format {choice.format} has its own axes"
            report = replace(report, notes=(told,))
        asked = {"rescale": None if plan.rescale else False, "dtype": plan.dtype}
        values = {n: v for n, v in asked.items() if v is not None and n in (takes or ())}
        return await self.workers.run(
            load_guest,
            choice,
            {**found.left, **values},
            report,
            self.memory,
            plan.dtype,
        )

    async def _load_dicom(
        self, inventory: Inventory, rows: NDArray[np.intp], plan: PlanOptions
    ) -> Volume:
        handler = _dicom()  # imported by now
        volume: Volume = await handler.load(
            inventory, rows, plan, self.workers, memory=self.memory, progress=self.progress
        )
        for told in worrying(volume.report):
            warnings.warn(told, IncompleteSeriesWarning, stacklevel=6)
        if "empty" in inventory.skipped:
            volume = await self.workers.run(with_empty_noted, volume, inventory, rows)
        return volume


def _dicom() -> Format:
    return cast("Format", format_for("dicom"))


def _resolved(
    urls: Sequence[URL], options: Mapping[str, Any], name: str | None
) -> tuple[Format, list[Target], dict[str, Guest] | None, dict[str, Any]]:
    """All that has to be known before anything is read, with one hop to a thread."""
    wanted = _wanted(name)
    targets = [find_transport(url) for url in urls]
    return _dicom(), targets, wanted, _left(targets, options, wanted)


def _wanted(name: str | None) -> dict[str, Guest] | None:
    """The guests to look for; None for all of them."""
    return None if name is None else {} if name == "dicom" else {name: guest_for(name)}


def _left(
    targets: Sequence[Target], options: Mapping[str, Any], wanted: Mapping[str, Guest] | None
) -> dict[str, Any]:
    """The options that no transport takes by name.

    Raises:
        TypeError: one that no guest takes either.
    """
    taken = frozenset[str]().union(*(target.takes for target in targets))
    left = {name: value for name, value in options.items() if name not in taken}
    if not left or any(target.others for target in targets):
        return left
    asked = registry.guests() if wanted is None else wanted
    known = [getattr(guest, "read_options", left) for guest in asked.values()]
    schemes = " or ".join(sorted({target.location.scheme for target in targets}))
    if left.keys() - taken.union(*known):
        check_options(f"a {schemes} location", left, taken)
    return left


def _not_sent(name: str) -> IncompleteSeriesError:
    told = f"{name}: was announced, and has not arrived"
    return IncompleteSeriesError(told, [told])


async def _chain(
    transports: Iterable[Transport], listed: Sequence[list[Blob]]
) -> AsyncGenerator[Blob, None]:
    for transport, seen in zip(transports, listed, strict=True):
        async with closing(transport.read()) as blobs:
            async for blob in blobs:
                seen.append(blob)
                yield blob


@asynccontextmanager
async def closing(blobs: AsyncIterator[Blob]) -> AsyncIterator[AsyncIterator[Blob]]:
    """Close what yields blobs, where it can be closed, as soon as nobody asks any more."""
    try:
        yield blobs
    finally:
        close = getattr(blobs, "aclose", None)
        if close is not None:
            await close()
