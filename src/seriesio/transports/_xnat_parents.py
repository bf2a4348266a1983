"""Subjects and experiments that are made for what is written into them, and taken back."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from ._http_client import HttpError
from ._xnat_answers import LOST
from ._xnat_find import Finder, item_path
from ._xnat_holdings import GONE, REMOVE, tried
from ._xnat_listing import rows_of
from ._xnat_location import LEVELS

if TYPE_CHECKING:
    from ._xnat_session import XnatSession

__all__ = ["Parents"]


@dataclass(eq=False)
class Parents:
    """The subject and the experiment of a path, made where they are missing."""

    session: XnatSession
    finder: Finder
    parts: tuple[str, ...]
    made: list[tuple[str, ...]] = field(default_factory=list)

    async def make(self, kind: str) -> None:
        """Make what is missing; the experiment as a session of this kind.

        Raises:
            NotFoundError: the project is not there.
            TransportError: the server does not let us.
        """
        level = await self.finder.missing(self.parts)
        if level == 0:
            await self.finder.require(self.parts)
        for end in range(level + 1, len(self.parts) + 1) if level else ():
            params = {"xsiType": kind} if end == len(LEVELS) - 1 else None
            await self._put(self.parts[:end], params)

    async def _put(self, parts: tuple[str, ...], params: dict[str, str] | None) -> None:
        """Make one: 201 says that we have made it, 200 that somebody else was faster."""
        self.made.append(parts)
        path = item_path(parts)
        try:
            answer = await self.session.fetch("PUT", path, params=params, repeat=False)
        except HttpError as error:
            if not (error.cut or error.status in LOST):
                raise
            await self.session.fetch("PUT", path, params=params)  # ours, as far as we know
            return
        if answer.status == 200:
            self.made.remove(parts)

    async def undo(self) -> list[str]:
        """Remove those that were made; what could not be removed."""
        left = []
        for parts in reversed(self.made):
            remove = partial(self._remove, parts)
            left += await tried(remove, f"{LEVELS[len(parts) - 1]} {parts[-1]!r} was made")
        return left

    async def _remove(self, parts: tuple[str, ...]) -> None:
        """Delete a parent, unless others have put something into it."""
        path = item_path(parts)
        below = path + ("/scans" if len(parts) == len(LEVELS) - 1 else "/experiments")
        try:
            rows = await self.session.listing(below, read=partial(rows_of, what=below))
        except HttpError as error:
            if error.status == 404:
                return
            raise
        if not rows:
            await self.session.fetch("DELETE", path, params=REMOVE, accept=GONE)
