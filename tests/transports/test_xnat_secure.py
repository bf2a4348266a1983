"""What nobody else may learn: TLS, proxies, sessions that are given, logs, errors that echo."""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from seriesio import Client
from seriesio.errors import LocationError, TransportError
from seriesio.location import parse_location
from seriesio.offload import Workers
from seriesio.testing import XnatFaults, XnatServer
from seriesio.transports._http_client import HttpClient, HttpError, Timeouts
from seriesio.transports._http_retry import Retry
from seriesio.transports._xnat_auth import Credentials
from seriesio.transports._xnat_login import Login
from seriesio.transports.xnat import XnatTransport

AUTH = ("user", "sec ret/1")
BASIC = base64.b64encode(b"user:sec ret/1").decode()


@pytest.fixture
def server() -> XnatServer:
    made = XnatServer(users=dict([AUTH]))
    made.add_scan("P", "S", "E", "4", {"f": b"f"})
    return made


def transport(url: str, **options: Any) -> XnatTransport:
    return XnatTransport(parse_location(url), Workers(), **{"auth": AUTH, "retries": 0, **options})


async def names(url: str, **options: Any) -> list[str]:
    return [entry.name async for entry in transport(url, **options).list()]


# --- TLS --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(
    tmp_path_factory: pytest.TempPathFactory, tool: Callable[[str], str]
) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that only itself has signed, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [tool("openssl"), "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"]
    command += ["-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", str(key), "-out", str(cert)]
    command += ["-subj", "/CN=xnat.invalid", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return cert, key


@pytest.fixture
def secure(server: XnatServer, certificate: tuple[Path, Path]) -> Iterator[str]:
    """The project's URL on a port with TLS."""
    with server.serve(certificate=certificate) as url:
        yield url.replace("https", "xnat", 1) + "/P"


async def test_a_certificate_that_nobody_has_signed(server: XnatServer, secure: str) -> None:
    """It is refused before anything is sent; the error says what is wrong with it."""
    with pytest.raises(TransportError, match=r"127\.0\.0\.1.*(?i:certificate)"):
        await names(secure)
    assert server.requests == ()


async def test_a_private_authority(
    secure: str, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trusted by a context that is given, or by the usual variable of the environment."""
    trust = ssl.create_default_context(cafile=certificate[0])
    assert await names(secure, ssl_context=trust) == ["S"]
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    assert await names(secure) == ["S"]


async def test_a_certificate_for_another_host(
    server: XnatServer, secure: str, certificate: tuple[Path, Path]
) -> None:
    """A certificate that is trusted, of a server with another name."""
    trust = ssl.create_default_context(cafile=certificate[0])
    with pytest.raises(TransportError, match=r"localhost.*(?i:certificate|hostname)"):
        await names(secure.replace("127.0.0.1", "localhost"), ssl_context=trust)
    assert server.requests == ()


# --- proxies ----------------------------------------------------------------------------------


async def test_a_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for the whole URL; hosts in NO_PROXY are not asked for there."""
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readline()).decode())
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    proxy = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with proxy:
        port = proxy.sockets[0].getsockname()[1]
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        with pytest.raises(TransportError, match="502"):
            await names("xnat+http://xnat.invalid/P")
        monkeypatch.setenv("NO_PROXY", "xnat.invalid")
        with pytest.raises(TransportError, match="no connection"):
            await names("xnat+http://xnat.invalid/P")
    assert asked == ["POST http://xnat.invalid/data/JSESSION HTTP/1.1\r\n"]


# --- a session that is given ------------------------------------------------------------------


async def given_session(server: XnatServer) -> str:
    """The id of a session that somebody else has begun."""
    inner = httpx.ASGITransport(server)
    async with httpx.AsyncClient(transport=inner, base_url="http://xnat.test") as client:
        return (await client.post("/data/JSESSION", auth=AUTH)).text


async def test_a_session_that_is_given(server: XnatServer) -> None:
    """It serves as it is, and is left alive; none is begun beside it."""
    auth = ("JSESSIONID", await given_session(server))
    options: dict[str, Any] = {"auth": auth, "http": httpx.ASGITransport(server)}
    assert await names("xnat://xnat.test/P", **options) == ["S"]
    assert server.open_sessions == 1
    assert {one.session for one in server.requests} == {1}


async def test_a_session_that_has_died(server: XnatServer) -> None:
    """It cannot be renewed: told as such, without its id."""
    auth = ("JSESSIONID", await given_session(server))
    server.expire_sessions()
    with pytest.raises(TransportError, match="not known") as caught:
        await names("xnat://xnat.test/P", auth=auth, http=httpx.ASGITransport(server))
    assert auth[1] not in str(caught.value)
    with pytest.raises(LocationError, match="id of a session"):
        await names("xnat://xnat.test/P", auth=("JSESSIONID", "x; y=z"))


# --- logging in -------------------------------------------------------------------------------


async def test_single_flight(server: XnatServer) -> None:
    """Sixteen calls whose session dies under them log in once more, all together."""
    inner = httpx.ASGITransport(server)
    arrived = 0
    together = anyio.Event()

    class Meeting(httpx.AsyncBaseTransport):
        """Holds the second listing of each call until all are there, and the session is dead."""

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            nonlocal arrived
            if request.url.path.endswith("/subjects") and arrived < 16:
                arrived += 1
                if arrived == 16:
                    server.expire_sessions()
                    together.set()
                await together.wait()
            return await inner.handle_async_request(request)

    found: list[str] = []
    async with Client() as client:
        meeting = Meeting()

        async def some() -> None:
            listing = client.list("xnat://xnat.test/P", auth=AUTH, http=meeting)
            found.extend([entry.name async for entry in listing])

        async with anyio.create_task_group() as group:
            for _ in range(16):
                group.start_soon(some)
        assert server.open_sessions == 1
    logins = [r for r in server.requests if (r.method, r.path) == ("POST", "/data/JSESSION")]
    assert (len(found), len(logins), server.open_sessions) == (16, 2, 0)


async def test_a_wrong_password_is_sent_once(server: XnatServer) -> None:
    """Thirty calls of a client with it: the account is not locked for its owner."""
    inner = httpx.ASGITransport(server)
    async with Client() as client:
        for _ in range(30):
            with pytest.raises(TransportError, match="not accepted"):
                _ = [
                    entry
                    async for entry in client.list(
                        "xnat://xnat.test/P", auth=("user", "wrong"), http=inner
                    )
                ]
    assert len(server.requests) == 1
    assert await names("xnat://xnat.test/P", http=inner) == ["S"]


async def test_a_refusal_is_not_for_ever() -> None:
    """After a quarter of an hour a password is tried again; a missing XNAT after a minute."""
    now, statuses = 0.0, [401, 404, 200]
    answers = httpx.MockTransport(lambda _: httpx.Response(statuses[0], text="0" * 32))
    http = HttpClient("https://h", timeouts=Timeouts(), connections=1, transport=answers)
    login = Login(http, Credentials(*AUTH), Retry(), lambda: 0.0, clock=lambda: now)

    async def attempt() -> str:
        try:
            return str(await login.renewed(0))
        except (HttpError, LookupError, OSError) as error:
            return str(error)[:70]

    assert "401" in await attempt()
    del statuses[0]
    now = 899.0
    assert "401" in await attempt()
    now = 901.0
    assert "404" in await attempt()
    del statuses[0]
    now = 960.0
    assert "404" in await attempt()
    now = 962.0
    assert await attempt() == "1"
    await http.aclose()


# --- what is told -----------------------------------------------------------------------------


async def test_what_a_server_echoes(server: XnatServer) -> None:
    """Whatever form it has: password, header and session of ours are not repeated in errors."""
    inner = httpx.ASGITransport(server)

    class Echoing(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("/JSESSION"):
                return await inner.handle_async_request(request)
            told = f"{request.headers['cookie']} {BASIC} {AUTH[1]} sec%20ret%2F1 end"
            return httpx.Response(500, text=told)

    with pytest.raises(TransportError, match="end") as caught:
        await names("xnat://xnat.test/P", http=Echoing())
    text = str(caught.value)
    assert "JSESSIONID=***" in text
    assert not any(word in text for word in (BASIC, AUTH[1], "sec%20ret"))


async def test_logs(server: XnatServer, caplog: pytest.LogCaptureFixture) -> None:
    """Not even httpx's own logs tell labels and cookies of ours; those of others go on."""
    server.add_scan("P", "Doe John", "E2", "4", {"f": b"f"})
    caplog.set_level(logging.DEBUG)
    with server.serve() as url:
        caplog.clear()
        found = await names(url.replace("http", "xnat+http", 1) + "/P/Doe John/E2")
        ours = "\n".join(f"{one.name} {one.getMessage()}" for one in caplog.records)
        async with httpx.AsyncClient() as client:
            await client.get(url)
    assert found == ["4"]
    assert not any(word in ours for word in ("Doe", "JSESSIONID", BASIC))
    assert any(one.name == "httpx" for one in caplog.records)


def test_reprs(server: XnatServer) -> None:
    """What is shown of transports and credentials holds no secret."""
    shown = repr(transport("xnat://user:sec%20ret%2F1@xnat.test/P", auth=None))
    assert not any(word in shown + repr(Credentials(*AUTH)) for word in (AUTH[1], "sec%20ret"))


async def test_a_redirect_with_a_password(server: XnatServer) -> None:
    """A target with a user and a password in it is not shown whole."""
    server.faults = XnatFaults(redirect="https://u:hidden@elsewhere.test")
    with pytest.raises(TransportError, match=r"redirects to https://elsewhere\.test") as caught:
        await names("xnat://xnat.test/P", http=httpx.ASGITransport(server))
    assert "hidden" not in str(caught.value)
