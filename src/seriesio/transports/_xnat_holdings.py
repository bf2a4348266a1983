"""What an experiment holds of what was written into it: looked at, held against it, removed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import anyio

from ..endings import to_the_end
from ..errors import SeriesIOError, TransportError
from ._xnat_find import Finder

if TYPE_CHECKING:
    from ._xnat_listing import Resource, Scan
    from ._xnat_pack import Sent
    from ._xnat_receive import CatalogFile
    from ._xnat_session import XnatSession
    from ._xnat_target import Target

__all__ = ["GONE", "REMOVE", "Holdings", "patiently", "taken_back", "tried"]

GONE: Final = frozenset({200, 204, 404})  # answers to a DELETE
REMOVE: Final = {"removeFiles": "true"}
_LOOKS: Final = (0.0, 0.1, 0.3, 0.8, 2.0, 4.0)  # seconds before each look at the catalogue
_UNDO: Final = 30.0  # seconds that taking back may take
_NAMED: Final = 10


@dataclass(eq=False)
class Holdings:
    """The scans of one experiment, as its catalogue lists them."""

    session: XnatSession
    finder: Finder
    parts: tuple[str, ...]
    _scans: dict[str, Scan] | None = field(default=None)

    @property
    def looked(self) -> bool:
        return self._scans is not None

    async def scans(self, *, fresh: bool = False) -> dict[str, Scan]:
        """The scans by ID, as they are, or as they were when we first looked."""
        if fresh or self._scans is None:
            self._scans = {scan.id: scan for scan in await self.finder.listed(self.parts)}
        return self._scans

    async def files(self, scan: Scan, label: str) -> dict[str, CatalogFile]:
        """The files of a scan's resource, by path."""
        resources = await self.finder.files(scan)
        return {file.path: file for r in resources if r.label == label for file in r.files}

    async def verify(self, target: Target) -> None:
        """Look until the catalogue lists what was sent; it may be a moment behind.

        Raises:
            TransportError: it does not.
        """

        async def look() -> list[str]:
            return await self._differences(target)

        if wrong := await patiently(look):
            raise TransportError(
                f"{self.finder.place}: scan {target.id}: {len(wrong)} of {len(target.sent)} files "
                f"are not as they were sent (no permission to write?): {_some(wrong)}"
            )

    async def _differences(self, target: Target) -> list[str]:
        scan = (await self.scans(fresh=True)).get(target.id)
        if scan is None:
            return [f"scan {target.id} is not listed"]
        listed = await self.files(scan, target.label)
        return [
            why
            for name, sent in target.sent.items()
            if (why := _difference(sent, listed.get(name)))
        ]

    # --- removing -----------------------------------------------------------------------------

    async def drop(self, target: Target, names: Iterable[str]) -> None:
        """Delete files of a scan."""
        for name in names:
            await self.delete(target.file(name))

    async def replace(self, target: Target) -> None:
        """Delete what was there before, cancelled or not.

        Raises:
            TransportError: not all of it could be deleted; what is left stands beside the new.
        """
        await to_the_end(self._replace(target))

    async def _replace(self, target: Target) -> None:
        with anyio.move_on_after(_UNDO):
            for name in sorted(target.old):
                try:
                    await self.delete(target.file(name))
                except TransportError as error:
                    error.add_note(self._left(target))
                    raise
                del target.old[name]
            return
        raise TransportError(self._left(target))

    def _left(self, target: Target) -> str:
        return (
            f"{self.finder.place}: scan {target.id}: its new files are all there, and "
            f"{len(target.old)} old ones could not be removed: {_some(sorted(target.old))}"
        )

    async def remove(self, target: Target) -> None:
        """Remove what is ours of a scan; what others have put there meanwhile stays."""
        if not target.mine:
            return
        if target.scan is not None:
            await self.drop(target, [name for name in target.sent if name not in target.old])
        elif {one.label for one in await self._resources(target)} - {target.label}:
            await self.delete(target.resource)
        else:
            await self.delete(target.path)

    async def _resources(self, target: Target) -> Sequence[Resource]:
        """What the scan holds by now; nothing where that cannot be seen."""
        with suppress(SeriesIOError):
            scan = (await self.scans(fresh=True)).get(target.id)
            return [] if scan is None else await self.finder.files(scan)
        return []

    async def delete(self, path: str) -> None:
        await self.session.fetch("DELETE", path, params=REMOVE, accept=GONE)


async def patiently(look: Callable[[], Awaitable[list[str]]]) -> list[str]:
    """Look until nothing is wrong any more, or long enough; what is wrong in the end."""
    wrong: list[str] = []
    for pause in _LOOKS:
        await anyio.sleep(pause)
        if not (wrong := await look()):
            break
    return wrong


async def taken_back(undo: Callable[[], Awaitable[list[str]]], error: BaseException) -> None:
    """Undo, cancelled or not; what is left on the server is told with the error."""

    async def take_back() -> None:
        with anyio.move_on_after(_UNDO):
            for told in await undo():
                error.add_note(told)
            return
        error.add_note("the server did not let us remove what we had begun in time")

    await to_the_end(take_back())


async def tried(call: Callable[[], Awaitable[None]], what: str) -> list[str]:
    """Call; what is left if it fails, with the reason."""
    try:
        await call()
    except SeriesIOError as error:
        return [f"{what}: {error}"]
    return []


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _difference(sent: Sent, listed: CatalogFile | None) -> str:
    if listed is None:
        return f"{sent.name} is not listed"
    if listed.size not in (None, sent.size):
        return f"{sent.name} has {listed.size} bytes, {sent.size} were sent"
    if listed.digest and listed.digest.lower() != sent.digest:
        return f"{sent.name} has another MD5 digest"
    return ""
