"""Requests to one XNAT as one user, shared by all calls that go there at the same time."""

from __future__ import annotations

import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import anyio

from ..endings import to_the_end
from ._http_client import Body, HttpClient, HttpError, Reply
from ._http_retry import AGAIN, Retry, retry_after
from ._xnat_answers import (
    LOST,
    Answer,
    LoggedOutError,
    asks_for_login,
    elsewhere,
    is_page,
    refusal,
    with_status,
)
from ._xnat_auth import Credentials
from ._xnat_login import SMALL, Login, wait

__all__ = ["XnatSession"]

T = TypeVar("T")

_LISTING: Final = 1 << 28
_SHORT: Final = 1 << 15  # bytes of JSON that are read in little more time than a hop takes
_REDIRECTS: Final = 5
_RENEWALS: Final = 2  # of sessions that die before they were of any use
_SAFE: Final = frozenset({"GET", "HEAD", "PUT", "DELETE"})  # RFC 9110 section 9.2.2


def _as_it_is(document: Any) -> Any:
    return document


class XnatSession:
    """Requests to one server as one user."""

    def __init__(
        self,
        http: HttpClient,
        who: Credentials | None,
        *,
        retry: Retry,
        downloads: int,
        luck: Callable[[], float] = random.random,
    ) -> None:
        self._http = http
        self._retry = retry
        self._luck = luck
        self._login = Login(http, who, retry, luck)
        self.downloads = anyio.Semaphore(downloads)

    @property
    def base(self) -> str:
        """``https://host[:port][/context]``."""
        return self._http.base

    async def open(self) -> None:
        """Log in, if that has not been done.

        Raises:
            NoXnatError: no XNAT answers.
            TransportError: the server is not reached, or does not let us in.
        """
        await self._login.renewed(0)

    async def aclose(self) -> None:
        """Log out and close the connections, also when cancelled."""
        await to_the_end(self._leave())

    async def _leave(self) -> None:
        try:
            await self._login.log_out()
        finally:
            await self._http.aclose()

    # --- requests -----------------------------------------------------------------------------

    async def listing(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        read: Callable[[Any], T] = _as_it_is,
    ) -> T:
        """A JSON document, and what ``read`` makes of it; a long one is read in a thread.

        Raises:
            HttpError: refused, not reached, or not JSON; and what ``read`` raises.
        """
        answer = await self.fetch(
            "GET", path, params={"format": "json", **(params or {})}, limit=_LISTING
        )
        if len(answer.body) < _SHORT:
            return read(self._document(answer))
        return await anyio.to_thread.run_sync(lambda: read(self._document(answer)))

    def _document(self, answer: Answer) -> Any:
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError):
            told = self.words(answer)
            raise HttpError(f"{answer.what}: is not JSON, it begins: {told}") from None

    async def fetch(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Body | None = None,
        accept: frozenset[int] = frozenset({200, 201}),
        limit: int = SMALL,
        patience: float = 1.0,
        repeat: bool = True,
    ) -> Answer:
        """Send a request and take its whole answer.

        It is sent again where that is safe and may help: after a cut connection (unless
        ``repeat`` is false), after an answer that asks for it, after logging in again.

        Raises:
            HttpError: refused, or not reached.
        """

        async def once() -> Answer:
            async with self._send(method, path, params, body, patience=patience) as reply:
                answer = Answer(reply.what, reply.status, reply.type, await reply.body(limit))
                if asks_for_login(answer):
                    raise LoggedOutError(answer)
                if reply.status not in accept:
                    raise self._refused(answer, reply.headers.get("retry-after"))
                return answer

        return await self._again(once, safe=repeat and method in _SAFE)

    @asynccontextmanager
    async def download(
        self, path: str, params: Mapping[str, str] | None = None
    ) -> AsyncIterator[Reply]:
        """The answer to a GET whose body is read inside; only its beginning is asked for again.

        Raises:
            HttpError: refused, not reached, or a page instead of a file.
        """
        opened: list[Any] = []

        async def once() -> Reply:
            sending = self._send("GET", path, params, None, plain=True)
            reply = await sending.__aenter__()
            opened.append(sending)
            if reply.status == 200 and not is_page(reply):
                return reply
            try:
                answer = Answer(reply.what, reply.status, reply.type, await reply.body(SMALL))
                if reply.status in (200, 401):
                    raise LoggedOutError(answer)
                raise self._refused(answer, reply.headers.get("retry-after"))
            finally:
                await opened.pop().__aexit__(None, None, None)

        reply = await self._again(once, safe=True)
        try:
            yield reply
        finally:
            await opened.pop().__aexit__(None, None, None)

    async def _again(self, once: Callable[[], Awaitable[T]], *, safe: bool) -> T:
        """Call until it succeeds, or there is no use in it."""
        again = AGAIN if safe else AGAIN - LOST
        failed = renewals = 0
        while True:
            generation = await self._login.renewed(0)
            try:
                done = await once()
                self._login.useful = max(self._login.useful, generation)
                return done
            except LoggedOutError as out:
                renewals += 1 if self._login.useful < generation else 0
                if renewals > _RENEWALS:
                    raise self._page(out.answer) from None
                await self._login.renewed(generation)
            except HttpError as error:
                if not (error.status in again or (error.cut and safe)):
                    raise
                failed += 1
                await wait(self._retry, failed, error, self._luck())

    @asynccontextmanager
    async def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: Body | None,
        *,
        plain: bool = False,
        patience: float = 1.0,
    ) -> AsyncIterator[Reply]:
        """Send, and go along with redirects that stay on this server."""
        for _ in range(_REDIRECTS):
            async with self._http.send(
                method, path, params=params, body=body, plain=plain, patience=patience
            ) as reply:
                target = reply.target
                if target is None:
                    yield reply
                    return
                if "Login.vm" in target and target.startswith(self.base + "/"):
                    raise LoggedOutError(Answer(reply.what, reply.status, reply.type, b""))
                path, params = self._followed(reply, method, target), None
        raise HttpError(f"{method} {self.base}{path}: redirects again and again")

    def _followed(self, reply: Reply, method: str, target: str) -> str:
        """Where a redirect leads, as a path below ours."""
        if method != "GET" or not target.startswith(self.base + "/"):
            error = HttpError(f"{reply.what}: {elsewhere(target, self.base)}")
            raise with_status(error, reply.status)
        return target[len(self.base) :]

    # --- errors -------------------------------------------------------------------------------

    def words(self, answer: Answer) -> str:
        """What an answer says, shortened, without secrets."""
        return self._login.words(answer)

    def _refused(self, answer: Answer, after: str | None) -> HttpError:
        error = refusal(answer, self.words(answer))
        error.asked = retry_after(after, time.time())
        return error

    def _page(self, answer: Answer) -> HttpError:
        """The error for an answer that wants us to log in, just after we have."""
        if answer.status == 401:
            refused = HttpError(
                f"{answer.what}: 401: the session is refused, just after logging in"
            )
            return with_status(refused, 401)
        told = self.words(answer)
        error = HttpError(f"{answer.what}: answers with a web page (login?) where data are: {told}")
        return with_status(error, answer.status)
