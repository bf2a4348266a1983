"""One session on one XNAT for one user, shared by all calls that go there at the same time.

The server counts sessions: we log in once, again once when the session has died (whoever
notices first does it, the others wait for it), and log out at the end.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import anyio

from ..errors import NotFoundError, TransportError
from ._http_client import Body, HttpClient, HttpError, Reply, words
from ._http_retry import AGAIN, Retry, retry_after
from ._xnat_auth import Credentials

__all__ = ["COOKIE", "Answer", "NoXnatError", "XnatSession", "refusal"]

T = TypeVar("T")

COOKIE: Final = "JSESSIONID"
_LOGIN: Final = "/data/JSESSION"
_SMALL: Final = 1 << 20
_LISTING: Final = 1 << 28
_SHORT: Final = 1 << 16  # bytes of JSON that are read in less time than a hop to a thread takes
_REDIRECTS: Final = 5
_RENEWALS: Final = 2  # of sessions that die before they were of any use
_FAREWELL: Final = 5.0  # seconds that logging out may take
_ID: Final = re.compile(r"[A-Za-z0-9._!-]{8,200}")
_SAFE: Final = frozenset({"GET", "HEAD", "PUT", "DELETE"})  # RFC 9110 section 9.2.2


class NoXnatError(NotFoundError):
    """There is a web server, and no XNAT at this path of it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    what: str
    status: int
    type: str
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace").strip()


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
        self._who = who
        self._retry = retry
        self._luck = luck
        self._lock = anyio.Lock()
        self._id: str | None = None
        self._generation = self._useful = 0
        self._denied: str | None = None
        self.downloads = anyio.Semaphore(downloads)

    @property
    def base(self) -> str:
        """``https://host[:port][/context]``."""
        return self._http.base

    # --- the session itself -------------------------------------------------------------------

    async def open(self) -> None:
        """Log in.

        Raises:
            NoXnatError: no XNAT answers.
            TransportError: the server is not reached, or does not let us in.
        """
        await self._renewed(0)

    async def _renewed(self, seen: int) -> int:
        """The number of a session that is newer than ``seen``; logs in if nobody else has."""
        async with self._lock:
            if self._generation > seen:
                return self._generation
            if self._denied is not None:  # asking again would lock the account
                raise _with_status(HttpError(self._denied), 401)
            await self._known_in_the_end()
            return self._generation

    async def _known_in_the_end(self) -> None:
        """Log in; cancelled, wait a moment more: a session that we do not know of would stay."""
        task = asyncio.ensure_future(self._log_in())
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True):
                await asyncio.wait([task], timeout=_FAREWELL)
                task.cancel()
                await asyncio.wait([task])
            if not task.cancelled():
                task.exception()
            raise

    async def _log_in(self) -> None:
        await self._log_out()
        auth = None if self._who is None else self._who.pair
        failed = 0
        while True:
            failed += 1
            try:
                async with self._http.send("POST", _LOGIN, auth=auth) as reply:
                    body = await reply.body(_SMALL)
                    answer = Answer(reply.what, reply.status, reply.type, body)
                    if reply.status not in AGAIN:
                        return self._enter(answer, reply.cookies.get(COOKIE), reply.target)
                    raise self._refused(answer, reply.headers.get("retry-after"))
            except HttpError as error:
                if not (error.cut or error.status in AGAIN) or self._denied is not None:
                    raise
                await self._wait(failed, error)

    def _enter(self, answer: Answer, cookie: str | None, redirect: str | None) -> None:
        if answer.status == 401 or (answer.status == 403 and self._who is not None):
            self._denied = f"{answer.what}: {answer.status}: {self._how_to_get_in()}"
            raise _with_status(HttpError(self._denied), answer.status)
        found = cookie or answer.text
        if answer.status == 200 and _ID.fullmatch(found) and _ID.fullmatch(answer.text):
            self._id = found
            self._generation += 1
            self._http.use(found)
            return
        if redirect is not None:
            raise NoXnatError(f"{answer.what}: {_elsewhere(redirect, self.base)}")
        raise NoXnatError(
            f"{answer.what}: {answer.status}: no XNAT answers here "
            f"(context= is the path below which it runs): {self.words(answer)}"
        )

    def _how_to_get_in(self) -> str:
        if self._who is None:
            return (
                "the server wants a user: auth=(user, password), or an entry in ~/.netrc "
                "for this host"
            )
        return "user or password are not accepted"

    async def _log_out(self) -> None:
        """End the session, if there is one that may still live; whether or not that succeeds."""
        if self._id is None:
            return
        self._id = None
        with anyio.move_on_after(_FAREWELL), suppress(TransportError):
            async with self._http.send("DELETE", _LOGIN) as reply:
                await reply.body(_SMALL)
        self._http.use(None)

    async def aclose(self) -> None:
        """Log out and close the connections."""
        with anyio.CancelScope(shield=True):
            try:
                await self._log_out()
            finally:
                await self._http.aclose()

    # --- requests -----------------------------------------------------------------------------

    async def listing(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """A JSON document.

        Raises:
            HttpError: refused, not reached, or not JSON.
        """
        answer = await self.fetch(
            "GET", path, params={"format": "json", **(params or {})}, limit=_LISTING
        )
        try:
            if len(answer.body) < _SHORT:
                return json.loads(answer.body)
            return await anyio.to_thread.run_sync(json.loads, answer.body)
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
        limit: int = _SMALL,
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
                if _asks_for_login(answer):
                    raise _LoggedOut(answer)
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
            if reply.status == 200 and not _is_page(reply):
                return reply
            try:
                answer = Answer(reply.what, reply.status, reply.type, await reply.body(_SMALL))
                if reply.status in (200, 401):
                    raise _LoggedOut(answer)
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
        failed = renewals = 0
        while True:
            generation = await self._renewed(0)
            try:
                done = await once()
                self._useful = max(self._useful, generation)
                return done
            except _LoggedOut as out:
                renewals += 1 if self._useful < generation else 0
                if renewals > _RENEWALS:
                    raise self._page(out.answer) from None
                await self._renewed(generation)
            except HttpError as error:
                if not (error.status in AGAIN or (error.cut and safe)):
                    raise
                failed += 1
                await self._wait(failed, error)

    async def _wait(self, failed: int, error: HttpError) -> None:
        """Wait before the next attempt, or raise the error of the last one."""
        delay = self._retry.delay(failed, error.asked, self._luck())
        if delay is None:
            raise error
        await anyio.sleep(delay)

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
                    raise _LoggedOut(Answer(reply.what, reply.status, reply.type, b""))
                path, params = self._followed(reply, method, target), None
        raise HttpError(f"{method} {self.base}{path}: redirects again and again")

    def _followed(self, reply: Reply, method: str, target: str) -> str:
        """Where a redirect leads, as a path below ours."""
        if method != "GET" or not target.startswith(self.base + "/"):
            error = HttpError(f"{reply.what}: {_elsewhere(target, self.base)}")
            raise _with_status(error, reply.status)
        return target[len(self.base) :]

    # --- errors -------------------------------------------------------------------------------

    def words(self, answer: Answer) -> str:
        """What an answer says, shortened, without secrets."""
        secrets = () if self._who is None else (self._who.password,)
        return words(answer.text, (*secrets, self._id or ""))

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
            return _with_status(refused, 401)
        told = self.words(answer)
        error = HttpError(f"{answer.what}: answers with a web page (login?) where data are: {told}")
        return _with_status(error, answer.status)


class _LoggedOut(Exception):
    """The answer of a server that does not know our session (any more)."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


def _is_page(reply: Reply) -> bool:
    """True for a web page; a file that happens to be one is sent as an attachment."""
    return reply.type == "text/html" and "content-disposition" not in reply.headers


def _asks_for_login(answer: Answer) -> bool:
    if answer.status == 401:
        return True
    start = answer.body[:512].lstrip().lower()
    page = start.startswith((b"<!doctype html", b"<html", b"<!-- begin xnat"))
    return answer.status == 200 and page


def _elsewhere(target: str, base: str) -> str:
    parts = urlsplit(target)
    there = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    hint = " (xnat:// is https)" if there == base.replace("http://", "https://", 1) else ""
    return f"redirects to {there}{hint}; we send no credentials there, and nothing else"


def _with_status(error: HttpError, status: int) -> HttpError:
    error.status = status
    return error


_STATUS: Final = {
    400: "bad request",
    403: "not allowed",
    404: "not found",
    409: "conflict",
    413: "too large",
    417: "expectation failed",
    422: "not processable",
    429: "too many requests",
    500: "the server has failed",
    502: "bad gateway",
    503: "not available",
    504: "gateway time-out",
}


def refusal(answer: Answer, told: str) -> HttpError:
    """The error for a status that was not hoped for, with the server's words."""
    meaning = _STATUS.get(answer.status, "")
    text = f"{answer.what}: {answer.status} {meaning}".rstrip()
    return _with_status(HttpError(f"{text}: {told}" if told else text), answer.status)
