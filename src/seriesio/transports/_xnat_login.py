"""The session on a server: begun once, again once when it has died, ended at the end.

The server counts sessions, and locks accounts after some wrong passwords: whoever notices first
that there is none logs in, the others wait for that; a password that was refused is not sent
again for a while.
"""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final
from urllib.parse import quote

import anyio

from ..endings import to_the_end
from ..errors import LocationError, TransportError
from ._http_client import HttpClient, HttpError, words
from ._http_retry import AGAIN, Retry, retry_after
from ._xnat_answers import Answer, NoXnatError, elsewhere, refusal, with_status
from ._xnat_auth import COOKIE, Credentials

__all__ = ["SMALL", "Login", "wait"]

SMALL: Final = 1 << 20  # bytes of an answer that is no listing
_PATH: Final = "/data/JSESSION"
_FAREWELL: Final = 5.0  # seconds that logging out may take
_DENIED: Final = 900.0  # seconds before a refused password is sent again: 20 of them lock a user
_ABSENT: Final = 60.0  # seconds before we look again for an XNAT where there was none
_ID: Final = re.compile(r"[A-Za-z0-9._!-]{8,200}")


class Login:
    """One session of one user, or nobody, on one server.

    Attributes:
        useful: the number of the last session that was of any use.
    """

    def __init__(
        self,
        http: HttpClient,
        who: Credentials | None,
        retry: Retry,
        luck: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = http
        self._who = who
        self._retry = retry
        self._luck = luck
        self._clock = clock
        self._lock = anyio.Lock()
        self._id: str | None = None
        self._generation = 0
        self._denied: tuple[float, str, int] | None = None
        self._absent: tuple[float, str] | None = None
        self.useful = 0
        if who is not None and who.session and not _ID.fullmatch(who.session):
            raise LocationError(f"{http.base}: that is not the id of a session ({COOKIE})")

    async def renewed(self, seen: int) -> int:
        """The number of a session that is newer than ``seen``; logs in if nobody else has.

        Raises:
            NoXnatError: no XNAT answers.
            TransportError: the server is not reached, or does not let us in.
        """
        async with self._lock:
            if self._generation <= seen:
                self._refuse_again()
                await self._known_in_the_end()
            return self._generation

    def _refuse_again(self) -> None:
        """Raise what the last attempt came to, if that is not long ago."""
        now = self._clock()
        if self._denied is not None and now < self._denied[0]:
            raise with_status(HttpError(self._denied[1]), self._denied[2])
        if self._absent is not None and now < self._absent[0]:
            raise NoXnatError(self._absent[1])

    async def _known_in_the_end(self) -> None:
        """Log in; cancelled, wait a moment more: a session that we do not know of would stay."""
        await to_the_end(self._log_in(), _not_for_long)

    async def _log_in(self) -> None:
        await self.log_out()
        self._denied = self._absent = None
        failed = 0
        while True:
            failed += 1
            try:
                return await self._ask()
            except HttpError as error:
                if not (error.cut or error.status in AGAIN) or self._denied is not None:
                    raise
                await wait(self._retry, failed, error, self._luck())

    async def _ask(self) -> None:
        """Ask for a session, or whether the one that we were given lives."""
        given = self._given
        self._http.use(given)
        auth = self._who.pair if self._who is not None and given is None else None
        method = "POST" if given is None else "GET"
        async with self._http.send(method, _PATH, auth=auth) as reply:
            answer = Answer(reply.what, reply.status, reply.type, await reply.body(SMALL))
            if reply.status in AGAIN:
                error = refusal(answer, self.words(answer))
                error.asked = retry_after(reply.headers.get("retry-after"), time.time())
                raise error
            self._enter(answer, reply.cookies.get(COOKIE), reply.target)

    @property
    def _given(self) -> str | None:
        return None if self._who is None else self._who.session

    def _enter(self, answer: Answer, cookie: str | None, redirect: str | None) -> None:
        found = cookie or answer.text
        known = answer.status == 200 and _ID.fullmatch(found) and _ID.fullmatch(answer.text)
        if known and self._given in (None, answer.text):
            self._id = self._given or found
            self._generation += 1
            self._http.use(self._id)
            return
        refused = answer.status == 403 and self._who is not None
        if answer.status == 401 or refused or (self._given and answer.status in (200, 302)):
            text = f"{answer.what}: {answer.status}: {self._how_to_get_in(answer)}"
            self._denied = self._clock() + _DENIED, text, answer.status
            raise with_status(HttpError(text), answer.status)
        text = f"{answer.what}: " + (
            elsewhere(redirect, self._http.base)
            if redirect is not None
            else f"{answer.status}: no XNAT answers here (context= is the path below which it "
            f"runs): {self.words(answer)}"
        )
        self._absent = self._clock() + _ABSENT, text
        raise NoXnatError(text)

    def _how_to_get_in(self, answer: Answer) -> str:
        if self._who is None:
            return (
                "the server wants a user: auth=(user, password), or an entry in ~/.netrc "
                "for this host"
            )
        if self._given is not None:
            return f"the session of the {COOKIE} that was given is not known (any more)"
        return f"user or password are not accepted: {self.words(answer)}"

    async def log_out(self) -> None:
        """End the session, if it is ours and may still live; whether or not that succeeds."""
        if self._id is None:
            return
        self._id = None
        if self._given is None:
            with anyio.move_on_after(_FAREWELL), suppress(TransportError):
                async with self._http.send("DELETE", _PATH) as reply:
                    await reply.body(SMALL)
        self._http.use(None)

    def words(self, answer: Answer) -> str:
        """What an answer says, shortened, without secrets."""
        return words(answer.text, self._secrets())

    def _secrets(self) -> tuple[str, ...]:
        """Whatever would let somebody else in, in the forms that a server could repeat."""
        if self._who is None:
            return (self._id or "",)
        pair = ":".join(self._who.pair).encode()
        password = self._who.password
        basic = base64.b64encode(pair).decode()
        return (password, quote(password, safe=""), basic, self._id or "")


async def wait(retry: Retry, failed: int, error: HttpError, luck: float) -> None:
    """Wait before the next attempt, or raise the error of the last one."""
    delay = retry.delay(failed, error.asked, luck)
    if delay is None:
        raise error
    await anyio.sleep(delay)


def _not_for_long(task: asyncio.Task[None]) -> None:
    """Let a task go on for a moment only, now that nobody waits for what it does."""
    late = asyncio.get_running_loop().call_later(_FAREWELL, task.cancel)
    task.add_done_callback(lambda _: late.cancel())
