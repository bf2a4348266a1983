"""Who we are to a server, and the one session for all calls."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from seriesio import Client
from seriesio.errors import ClientClosedError, LocationError, NotFoundError, TransportError
from seriesio.location import parse_location
from seriesio.offload import Workers
from seriesio.testing import XnatFaults, XnatServer
from seriesio.transports._http_client import words
from seriesio.transports._http_pool import Pool
from seriesio.transports._xnat_auth import credentials
from seriesio.transports.xnat import XnatTransport

URL = "xnat://xnat.test/P/S/E"


@pytest.fixture
def server() -> XnatServer:
    made = XnatServer(users={"user": "secret"})
    made.add_scan("P", "S", "E", "4", {"f": b"f"})
    return made


async def names(server: XnatServer, url: str = URL, **options: Any) -> list[str]:
    transport = XnatTransport(
        parse_location(url), Workers(), **{"http": httpx.ASGITransport(server), **options}
    )
    return [entry.name async for entry in transport.list()]


Netrc = Callable[[str], Path]


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Netrc:
    """``netrc(text)`` is a file that nobody else may read; the home has none."""
    monkeypatch.setenv("HOME", os.fspath(tmp_path / "home"))
    monkeypatch.delenv("NETRC", raising=False)

    def write(text: str) -> Path:
        path = tmp_path / "netrc"
        path.write_text(text)
        path.chmod(0o600)
        return path

    return write


ENTRY = "machine xnat.test login user password secret\n"


# --- credentials ------------------------------------------------------------------------------


async def test_user_and_password(server: XnatServer, netrc: Netrc) -> None:
    """In auth=, or in the URL; the session is closed afterwards."""
    assert await names(server, auth=("user", "secret")) == ["4"]
    assert await names(server, URL.replace("//", "//user:secret@")) == ["4"]
    assert server.open_sessions == 0


async def test_alias_token(server: XnatServer) -> None:
    """Alias and secret of a token serve as user and password."""
    assert await names(server, auth=server.issue_token("user")) == ["4"]


async def test_netrc_of_the_environment(
    server: XnatServer, netrc: Netrc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that NETRC names, else ~/.netrc, or a path that is given."""
    path = netrc(ENTRY)
    assert await names(server, auth=path) == ["4"]
    monkeypatch.setenv("NETRC", os.fspath(path))
    assert await names(server) == ["4"]
    monkeypatch.delenv("NETRC")
    home = Path(os.environ["HOME"])
    home.mkdir()
    path.rename(home / ".netrc")
    assert await names(server) == ["4"]


def test_netrc_by_host(netrc: Netrc) -> None:
    """Host and port, else the host, else the default entry; nobody else's."""
    text = "machine h:8080 login a password 1\nmachine h login b password 2\n"
    path = netrc(text)
    found = [credentials(path, "", host) for host in ("h:8080", "h:9090", "h", "other")]
    assert [who and who.pair for who in found] == [("a", "1"), ("b", "2"), ("b", "2"), None]
    default = credentials(netrc(text + "default login c password 3\n"), "", "other")
    assert default is not None
    assert default.pair == ("c", "3")


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
def test_netrc_that_others_may_read(netrc: Netrc, mode: int) -> None:
    """Refused wherever it is, unless it has no password to hide."""
    path = netrc(ENTRY)
    path.chmod(mode)
    with pytest.raises(TransportError, match="chmod 600") as caught:
        credentials(path, "", "xnat.test")
    assert "secret" not in str(caught.value)
    assert credentials(path, "", "elsewhere") is None
    path.write_text("machine xnat.test login anonymous password me@home\n")
    assert credentials(path, "", "xnat.test") is not None


def test_netrc_that_is_damaged(netrc: Netrc) -> None:
    """The line is named, what stands there is not shown."""
    with pytest.raises(TransportError, match="line 2") as caught:
        credentials(netrc(ENTRY + "hidden word\n"), "", "xnat.test")
    assert "hidden" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_netrc_that_is_missing(netrc: Netrc, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was asked for has to be there; ~/.netrc need not."""
    assert credentials(None, "", "xnat.test") is None
    with pytest.raises(TransportError, match="no such netrc"):
        credentials("/nowhere/netrc", "", "xnat.test")
    monkeypatch.setenv("NETRC", "/nowhere/netrc")
    with pytest.raises(TransportError, match="no such netrc"):
        credentials(None, "", "xnat.test")


def test_credentials_that_make_no_sense() -> None:
    """A user alone, or something else than a pair or a path."""
    with pytest.raises(LocationError, match="without a password"):
        credentials(None, "user", "h")
    with pytest.raises(TypeError, match="netrc"):
        credentials(7, "", "h")
    assert "secret" not in repr(credentials(("user", "secret"), "", "h"))


async def test_nobody(server: XnatServer, netrc: Netrc) -> None:
    """Without credentials the error says how to give them."""
    with pytest.raises(TransportError, match=r"auth=.*netrc"):
        await names(server)


async def test_wrong_password(server: XnatServer) -> None:
    """Asked once, however many calls there are: the account must not be locked."""
    failures: list[str] = []
    async with Client() as client:

        async def some() -> None:
            try:
                options: dict[str, Any] = {"auth": ("user", "wrong"), "http": transport}
                _ = [entry async for entry in client.list(URL, **options)]
            except TransportError as error:
                failures.append(str(error))

        transport = httpx.ASGITransport(server)
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(some)
    assert len(failures) == 5
    assert all("not accepted" in text and "wrong" not in text for text in failures)


# --- the session ------------------------------------------------------------------------------


async def test_no_xnat() -> None:
    """A web server that is something else: told, with the way out."""
    for answer in (httpx.Response(404, html="<h1>Nothing here</h1>"), httpx.Response(200, html="")):
        transport = httpx.MockTransport(lambda request, answer=answer: answer)
        with pytest.raises(NotFoundError, match="context="):
            await names(XnatServer(), auth=("u", "p"), http=transport)


async def test_https_that_is_asked_for(server: XnatServer) -> None:
    """A server that sends us from http to https is not given the password in the clear again."""

    def answer(request: httpx.Request) -> httpx.Response:
        url = request.url.copy_with(scheme="https")
        return httpx.Response(301, headers={"location": str(url)})

    with pytest.raises(NotFoundError, match=r"redirects to https://xnat\.test.*xnat://"):
        await names(
            server,
            "xnat+http://xnat.test/P",
            auth=("user", "secret"),
            http=httpx.MockTransport(answer),
        )


async def test_password_expired(server: XnatServer) -> None:
    """The server's no to a login is told as such."""
    server.faults = XnatFaults(password_expired=True)
    with pytest.raises(TransportError, match="403"):
        await names(server, auth=("user", "secret"))


async def test_cookies_of_dead_sessions(server: XnatServer) -> None:
    """A late answer that sets another JSESSIONID does not take ours away."""
    inner = httpx.ASGITransport(server)

    async def answer(request: httpx.Request) -> httpx.Response:
        response = await inner.handle_async_request(request)
        if not request.url.path.endswith("/JSESSION"):
            response.headers["set-cookie"] = "JSESSIONID=0123456789ABCDEF; Path=/"
        return response

    class Setting(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return await answer(request)

    assert await names(server, "xnat://xnat.test/P", auth=("user", "secret"), http=Setting()) == [
        "S"
    ]
    logins = [r for r in server.requests if (r.method, r.path) == ("POST", "/data/JSESSION")]
    assert len(logins) == 1


async def test_tls(server: XnatServer) -> None:
    """The context that is given is the one that is used: an empty one trusts nobody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    options: dict[str, Any] = {"http": None, "ssl_context": context, "retries": 0}
    with server.serve() as url:
        secure = url.replace("http", "xnat", 1)
        with pytest.raises(TransportError, match="no connection"):
            await names(server, f"{secure}/P", auth=("user", "secret"), **options)


async def test_unknown_timeouts(server: XnatServer) -> None:
    """Only those that there are."""
    with pytest.raises(TypeError, match="lunch"):
        await names(server, timeouts={"lunch": 1})


# --- the pool ---------------------------------------------------------------------------------


class Resource:
    closed = 0

    async def aclose(self) -> None:
        self.closed += 1


async def test_pool() -> None:
    """One resource for each key, made once; all are closed at the end, once."""
    pool, made = Pool(), list[Resource]()

    async def make() -> Resource:
        await anyio.sleep(0.01)
        made.append(Resource())
        return made[-1]

    async with anyio.create_task_group() as group:
        for key in "aab":
            group.start_soon(pool.get, key, make)
    assert len(made) == 2
    await pool.aclose()
    await pool.aclose()
    assert [resource.closed for resource in made] == [1, 1]
    with pytest.raises(ClientClosedError):
        await pool.get("a", make)


async def test_pool_closed_meanwhile() -> None:
    """A resource that is ready too late is closed at once."""
    pool, resource = Pool(), Resource()

    async def make() -> Resource:
        await pool.aclose()
        return resource

    with pytest.raises(ClientClosedError):
        await pool.get("a", make)
    assert resource.closed == 1


async def test_pool_after_a_failure() -> None:
    """What could not be made is made by the next call."""
    pool = Pool()

    async def fail() -> Resource:
        raise TransportError("no")

    async def make() -> Resource:
        return Resource()

    with pytest.raises(TransportError):
        await pool.get("a", fail)
    assert isinstance(await pool.get("a", make), Resource)
    await pool.aclose()


def test_words() -> None:
    """Markup, scripts and secrets go, whitespace is one space, long texts end."""
    page = "<html><script>var x=1</script><h3>No  way,\n user s3cret</h3></html>"
    assert words(page, ("s3cret", "")) == "No way, user ***"
    assert len(words("x" * 100_000)) == 200
