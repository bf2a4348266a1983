"""The one door to httpx: a connection pool to one server, its errors turned into ours.

Redirects are not followed here, bodies are bounded where they are kept, and every wait has an
end: for the connection, for the first byte of an answer, for the next ones.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterator,
    Mapping,
)
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from typing import Any, Final
from urllib.request import Request

import httpcore
import httpx

from ..errors import TransportError
from ._http_body import Filled, batched, copied, taken_over
from ._http_framing import Chunked, Framing, Sized
from ._http_quiet import quiet
from ._http_wire import WireBackend, WireStream

__all__ = ["Body", "HttpClient", "HttpError", "Reply", "Timeouts", "words"]

_WORDS: Final = 200
_WORTH: Final = 1 << 24  # bytes of a body that are worth a connection of their own
_TAGS: Final = re.compile(r"(?is)<(script|style|title)\b.*?</\1\s*>|<!--.*?-->|<[^<>]*>")
_HIDDEN: Final = re.compile(r"[^\x20-\x7e\xa0-\U0010ffff]+")


class HttpError(TransportError):
    """An exchange that failed.

    Attributes:
        status: of the answer; None: there was none, or not all of it.
        asked: seconds that the server asks to wait.
    """

    status: int | None = None
    asked: float | None = None

    @property
    def cut(self) -> bool:
        """True if there was no whole answer: the same may be asked again, if it is safe."""
        return self.status is None


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait, at most.

    Attributes:
        connect: for a connection, TLS included.
        first_byte: for the beginning of an answer, once the request is sent.
        idle: for the next bytes of an answer, or for the other side to take the next of ours.
    """

    connect: float = 15.0
    first_byte: float = 120.0
    idle: float = 60.0


@dataclass(frozen=True, slots=True)
class Body:
    """What a request carries: ``length`` bytes, from the start whenever ``chunks`` is called."""

    chunks: Callable[[], AsyncIterable[bytes]]
    length: int
    type: str


class Reply:
    """An answer whose body is still to come; used inside the ``async with`` that gave it."""

    def __init__(self, response: httpx.Response, what: str) -> None:
        self._response = response
        self.what = what
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers

    @property
    def type(self) -> str:
        """The media type, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def target(self) -> str | None:
        """Where a redirect leads, as a whole URL; None if it is none."""
        if not self._response.has_redirect_location:
            return None
        try:
            return str(self._response.url.join(self.headers["location"]))
        except httpx.InvalidURL as error:
            raise HttpError(f"{self.what}: redirects to a malformed URL") from error

    @property
    def cookies(self) -> Mapping[str, str]:
        """Cookies that this answer sets, by name."""
        jar = httpx.Cookies()
        jar.extract_cookies(self._response)
        return {cookie.name: cookie.value or "" for cookie in jar.jar}

    async def batches(
        self, buffers: Iterator[memoryview], pause: float
    ) -> AsyncGenerator[list[memoryview], None]:
        """The body as it comes: as much of it as fits into a buffer, less where it comes slowly.

        What came before an error is yielded before that is raised.

        Args:
            buffers: where it is put, one after the other; of equal size, without end.
            pause: seconds after which a batch is yielded whatever its size.

        Raises:
            HttpError: it ends early, stalls, or is packed although we did not ask for that.
        """
        if self.headers.get("content-encoding", "identity").lower() not in ("identity", ""):
            raise HttpError(f"{self.what}: the body is packed in a way that was not asked for")
        with _mapped(self.what):
            parts = self._taken_over(buffers) or copied(self._response.aiter_raw(), buffers)
            async with aclosing(batched(parts, pause)) as batches:
                async for batch in batches:
                    yield batch

    def _taken_over(self, buffers: Iterator[memoryview]) -> AsyncGenerator[Filled, None] | None:
        """The body right from the connection, if that is one of ours, and it is worth it."""
        stream = self._response.extensions.get("network_stream")
        framing = _framing(self._response)
        if framing is None or not isinstance(stream, WireStream) or not stream.between:
            return None
        timeout = self._response.request.extensions["timeout"]["read"]
        return taken_over(stream, framing, self._response.aiter_raw(), buffers, timeout)

    async def body(self, limit: int) -> bytes:
        """All of a small body, unpacked.

        Raises:
            HttpError: as :meth:`chunks`, or it is larger than ``limit``.
        """
        kept = bytearray()
        with _mapped(self.what):
            async for chunk in self._response.aiter_bytes():
                kept += chunk
                if len(kept) > limit:
                    raise HttpError(f"{self.what}: an answer of more than {limit} bytes")
        return bytes(kept)


class HttpClient:
    """Connections to one server.

    Args:
        base: ``https://host[:port][/context]``.
        ssl_context: what to trust; None: the system's certificates, or ``SSL_CERT_FILE``.
        transport: an :class:`httpx.AsyncBaseTransport` instead of the network.
        own: the name of the cookie that we set ourselves; a server's word on it is not taken.
    """

    def __init__(
        self,
        base: str,
        *,
        timeouts: Timeouts,
        connections: int,
        ssl_context: ssl.SSLContext | None = None,
        transport: Any = None,
        own: str = "",
    ) -> None:
        self.base = base
        self._timeouts = timeouts
        jar = CookieJar(_AllBut(own))
        with _mapped(base):
            self._client = httpx.AsyncClient(
                verify=_trust(base) if ssl_context is None else ssl_context,
                transport=transport,
                cookies=jar,
                headers={"User-Agent": "seriesio"},
                limits=httpx.Limits(
                    max_connections=connections, max_keepalive_connections=connections
                ),
            )
        self._own = own
        _on_our_wires(self._client)

    def use(self, value: str | None) -> None:
        """Send our own cookie with this value from now on; None: send it no more."""
        if self._own in self._client.cookies:
            self._client.cookies.delete(self._own)
        if value is not None:
            self._client.cookies.set(self._own, value)

    @asynccontextmanager
    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        body: Body | None = None,
        plain: bool = False,
        patience: float = 1.0,
    ) -> AsyncIterator[Reply]:
        """Send a request and wait for the beginning of its answer.

        Args:
            path: percent-encoded, below ``base``.
            auth: user and password for this one request.
            plain: the body of the answer may not be packed on its way.
            patience: how many times as long as usual the first byte may take.

        Raises:
            HttpError: there is no connection, or no answer.
        """
        what = f"{method} {self.base}{path}"
        headers = {"Accept-Encoding": "identity"} if plain else {}
        if body is not None:
            headers |= {"Content-Length": str(body.length), "Content-Type": body.type}
        limit = httpx.Timeout(
            self._timeouts.idle,
            connect=self._timeouts.connect,
            read=self._timeouts.first_byte * patience,
            pool=None,
        )
        with _mapped(what):
            request = self._client.build_request(
                method,
                self.base + path,
                params=None if params is None else dict(params),
                headers=headers,
                content=None if body is None else body.chunks(),
                timeout=limit,
            )
            signed = httpx.BasicAuth(*auth) if auth is not None else None
            with quiet():
                response = await self._client.send(request, stream=True, auth=signed)
        try:
            _refuse_smuggling(response, what)
            _bounded(response)
            request.extensions["timeout"]["read"] = self._timeouts.idle
            yield Reply(response, what)
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def _trust(base: str) -> ssl.SSLContext | bool:
    """The usual certificates; where no TLS is spoken none: reading them takes its time."""
    return True if base.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _on_our_wires(client: httpx.AsyncClient) -> None:
    """Have httpx make its connections by us: it has no word for that, its pools have.

    Without it (another transport, another httpx) all is the same, and slower.
    """
    for transport in (client._transport, *client._mounts.values()):
        pool = getattr(transport, "_pool", None)
        if isinstance(pool, httpcore.AsyncConnectionPool) and hasattr(pool, "_network_backend"):
            pool._network_backend = WireBackend()


def _framing(response: httpx.Response) -> Framing | None:
    """How the body is framed; None where it is left to others."""
    coding, length = response.headers.get("transfer-encoding"), _length(response)
    if response.http_version != "HTTP/1.1":
        return None
    if coding is not None:
        return Chunked() if coding.strip().lower() == "chunked" else None
    return Sized(length) if length is not None and length >= _WORTH else None


def _refuse_smuggling(response: httpx.Response, what: str) -> None:
    """An answer with two ends is none: others may see another one (RFC 9112, section 6.3)."""
    if {"content-length", "transfer-encoding"} <= response.headers.keys():
        raise HttpError(f"{what}: an answer with both a Content-Length and a Transfer-Encoding")


def _bounded(response: httpx.Response) -> None:
    """Tell the connection where the body ends, if the answer says it."""
    stream, length = response.extensions.get("network_stream"), _length(response)
    if isinstance(stream, WireStream) and stream.between and length is not None:
        stream.length = length


def _length(response: httpx.Response) -> int | None:
    length = response.headers.get("content-length", "")
    whole = "transfer-encoding" not in response.headers and re.fullmatch("[0-9]{1,18}", length)
    return int(length) if whole else None


class _AllBut(DefaultCookiePolicy):
    """Keeps every cookie (load balancers need theirs) but one."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def set_ok(self, cookie: Cookie, request: Request) -> bool:
        return cookie.name != self._name and bool(super().set_ok(cookie, request))


@contextmanager
def _mapped(what: str) -> Iterator[None]:
    """httpx's errors and the operating system's, as ours."""
    try:
        yield
    except TransportError:
        raise
    except _FOREIGN as error:
        raise HttpError(f"{what}: {_reason(error)}") from error


_FOREIGN: Final = (
    *(httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError),
    *(httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError),
)
_REASONS: Final = (
    (httpx.ConnectTimeout, "no connection in time"),
    ((httpx.ReadTimeout, httpcore.ReadTimeout), "no answer in time"),
    (httpx.WriteTimeout, "the server takes no more bytes"),
    (httpx.ConnectError, "no connection"),
    (
        (httpx.RemoteProtocolError, httpcore.RemoteProtocolError),
        "the connection was cut, or the answer is no HTTP",
    ),
    ((httpx.ReadError, httpcore.ReadError), "the connection was cut"),
    (httpx.WriteError, "the connection was cut"),
    (httpx.CloseError, "the connection was cut"),
    (httpx.ProxyError, "the proxy refuses"),
    (httpx.DecodingError, "the answer is packed in a damaged way"),
    (httpx.UnsupportedProtocol, "no such protocol"),
)


def _reason(error: BaseException) -> str:
    told = next((text for kind, text in _REASONS if isinstance(error, kind)), "failed")
    detail = words(str(error)) if isinstance(error, httpx.ConnectError) else ""
    return f"{told} ({detail})" if detail else told


def words(text: str, secrets: tuple[str, ...] = ()) -> str:
    """What a page or an answer says, in a line, shortened, without markup and secrets."""
    plain = _TAGS.sub(" ", text[: 40 * _WORDS])
    for secret in secrets:
        plain = plain.replace(secret, "***") if secret else plain
    line = " ".join(_HIDDEN.sub(" ", plain).split())
    return line if len(line) <= _WORDS else line[: _WORDS - 1] + "…"
