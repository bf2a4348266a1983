"""One request of an XNAT stand-in, from its arrival to the last byte: and what goes wrong on it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import repeat

import anyio
import anyio.lowlevel

from ._xnat_faults import XnatFaults
from ._xnat_http import (
    LOGIN_PAGE,
    Answer,
    Connection,
    Gone,
    Receive,
    Refusal,
    Request,
    Scope,
    Send,
    html,
    json_answer,
    read_request,
    text,
)
from ._xnat_records import XnatRequest
from ._xnat_routes import LOGIN_PATHS, Router
from ._xnat_sessions import Caller, check_csrf, cookies

__all__ = ["Service"]

_NONE = XnatFaults()


class Service:
    """Answers requests one by one, and keeps the records.

    Args:
        context: the path below which the server is, as "/xnat"; "" for none.
        limit: bytes of a request's body.
    """

    def __init__(self, router: Router, context: str, limit: int, faults: XnatFaults) -> None:
        self.router, self.context, self.limit = router, context, limit
        self.records: list[XnatRequest] = []
        self.arrived = 0
        self._faults, self._hits = faults, 0

    @property
    def faults(self) -> XnatFaults:
        return self._faults

    @faults.setter
    def faults(self, faults: XnatFaults) -> None:
        self._faults, self._hits = faults, 0

    def _faults_for(self, request: Request) -> XnatFaults:
        """What goes wrong with one request."""
        faults = self._faults
        query = "&".join(f"{key}={value}" for key, value in request.query.items())
        asked = f"{request.method} {request.path}{'?' if query else ''}{query}"
        if faults.paths and not re.search(faults.paths, asked):
            return _NONE
        if not faults.paths and request.path in LOGIN_PATHS:
            return XnatFaults(delay=faults.delay, expire_after=faults.expire_after)
        if faults.times is not None and self._hits >= faults.times:
            return _NONE
        self._hits += 1
        return faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            Gone: the connection is to be cut.
        """
        self.arrived += 1
        exchange = Exchange(self, self.arrived, scope, Connection(receive, self.limit), send)
        try:
            await exchange.run()
        finally:
            self.records.append(exchange.record())


class Exchange:
    """One request and its answer."""

    def __init__(
        self, service: Service, number: int, scope: Scope, connection: Connection, send: Send
    ) -> None:
        self.service, self.number, self.scope = service, number, scope
        self.connection, self._send = connection, send
        self.caller: Caller | None = None
        self.query: Mapping[str, str] = {}
        self.faults = _NONE
        self.status = self.sent = 0
        self.done = False

    async def run(self) -> None:
        try:
            answer = await self._answer()
        except Refusal as refusal:
            answer = refusal.answer()
        if self.faults.lose_answer:
            raise Gone("the connection is cut, as asked for")
        await self._deliver(answer)
        swallow = self.faults.swallow_limit
        if swallow is not None and self._unread() > swallow:
            raise Gone("too much is unread")

    def _unread(self) -> int:
        """Bytes of the request's body that have not been read."""
        length = dict(self.scope["headers"]).get(b"content-length", b"0")
        return int(length) - self.connection.received if length.isdigit() else 0

    def record(self) -> XnatRequest:
        caller = self.caller
        path = (self.scope.get("raw_path") or self.scope["path"].encode()).decode("latin-1")
        return XnatRequest(
            number=self.number,
            method=self.scope["method"],
            path=re.sub(r"(tokens/invalidate/[^/]*/).*", r"\1…", path.partition("?")[0]),
            query=self.query,
            user=caller.user.name if caller else "",
            authorization=caller.how if caller else "",
            session=caller.session.number if caller else None,
            new_session=caller is not None and caller.new,
            status=self.status,
            received=self.connection.received,
            sent=self.sent,
            cut=not self.done,
        )

    # --- the answer -----------------------------------------------------------------------------

    async def _answer(self) -> Answer:
        service = self.service
        request = read_request(self.scope, self.connection, service.context)
        self.query = request.query
        self.faults = service._faults_for(request)
        self.connection.cut_after = self.faults.cut_upload_after
        await anyio.sleep(self.faults.delay)
        if (wrong := _instead(request, self.faults)) is not None:
            return wrong
        router = service.router
        door = router.door
        self.caller = await router.log_in(request) or door.enter(request, self.faults.expire_after)
        if self.caller is None:
            return router.stranger(request, self._site())
        if self.faults.password_expired:
            raise Refusal(403, "Your password has expired")
        check_csrf(request, self.caller)
        if self.faults.ignore_writes and request.method in {"PUT", "POST", "DELETE"}:
            await self.connection.body()
            return text()
        return await router.answer(request, self.caller, self.faults)

    def _site(self) -> str:
        """The URL of the server, as the client calls it."""
        headers = dict(self.scope["headers"])
        host = headers.get(b"host", b"localhost").decode("latin-1")
        return f"{self.scope.get('scheme', 'http')}://{host}{self.service.context}"

    # --- its bytes ------------------------------------------------------------------------------

    async def _deliver(self, answer: Answer) -> None:
        door = self.service.router.door
        secure = self.scope.get("scheme") == "https"
        extra = cookies(self.caller, door.idle, secure, self.service.context)
        sizes = [] if answer.size is None else [("Content-Length", str(answer.size))]
        headers = [("Content-Type", answer.content_type), *answer.headers, *extra, *sizes]
        self.status = answer.status
        await self._send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": [(key.lower().encode(), value.encode()) for key, value in headers],
            }
        )
        if self.scope["method"] == "GET":
            async with anyio.create_task_group() as group:
                group.start_soon(self._watch, group.cancel_scope)
                await self._body(answer)
                group.cancel_scope.cancel()
        else:
            await self._body(answer)
        if not self.done:
            raise Gone("the connection is cut")

    async def _watch(self, scope: anyio.CancelScope) -> None:
        """End the answer when the client goes; a GET's own body is of no interest."""
        while (await self.connection.receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    async def _body(self, answer: Answer) -> None:
        if self.scope["method"] != "HEAD":
            for piece in self._pieces(answer):
                if not await self._piece(piece):
                    return
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        self.done = True

    def _pieces(self, answer: Answer) -> Iterator[bytes]:
        """The body, in pieces as the faults want them."""
        whole: Iterable[bytes] = [answer.body] if isinstance(answer.body, bytes) else answer.body
        faults, last = self.faults, b" "
        for data in whole:
            size = faults.drip_bytes if faults.drip is not None else len(data) or 1
            for start in range(0, len(data), size):
                last = data[start : start + size]
                yield last
        if faults.endless and answer.size is None:
            yield from repeat(last if faults.drip else last * (1 + (1 << 16) // len(last)))

    async def _piece(self, piece: bytes) -> bool:
        """Send a piece; false if the connection is to be cut now."""
        faults = self.faults
        if faults.drip is not None:
            await anyio.sleep(faults.drip)
        limits = [one for one in (faults.cut_after, faults.stall_after) if one is not None]
        stop = min(limits, default=None)
        if stop is not None and self.sent + len(piece) > stop:
            await self._part(piece[: stop - self.sent])
            await anyio.sleep(0 if stop == faults.cut_after else faults.stall)
            return False
        await self._part(piece)
        return True

    async def _part(self, piece: bytes) -> None:
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        self.sent += len(piece)
        await anyio.lowlevel.checkpoint()  # `send` does not wait where nobody is there any more


def _instead(request: Request, faults: XnatFaults) -> Answer | None:
    """What is answered in place of anything else; None if all is well."""
    if faults.redirect is not None:
        headers = (("Location", faults.redirect.rstrip("/") + request.path),)
        return Answer(302, content_type="text/html", headers=headers, size=0)
    if faults.status is not None:
        answer = Refusal(faults.status, "as asked for", tomcat=True).answer()
        later = () if faults.retry_after is None else (("Retry-After", faults.retry_after),)
        return replace(answer, headers=(*answer.headers, *later))
    if faults.login_page:
        return html(200, LOGIN_PAGE)
    return json_answer([{"unexpected": True}]) if faults.other_json else None
