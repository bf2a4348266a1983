"""An XNAT stand-in on a port: uvicorn, in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import anyio
import anyio.to_thread

from ..errors import MissingDependencyError, TransportError
from ._stopping import Stopping
from ._xnat_http import Gone, Receive, Scope, Send

if TYPE_CHECKING:
    from uvicorn import Server

__all__ = ["Serving"]

App: TypeAlias = "Callable[[Scope, Receive, Send], Awaitable[None]]"

_STEP: Final = 0.002  # seconds
_LINGER: Final = 0.25  # seconds that connections may take to close, when the server stops
_START: Final = 20.0  # seconds that it may take


class Cutting:
    """The application as uvicorn sees it: what is to be cut, is cut without a word."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._running: set[anyio.CancelScope] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.CancelScope() as running:
            self._running.add(running)
            try:
                await self._app(scope, receive, send)
                return
            except Gone:
                pass
            finally:
                self._running.discard(running)
        await _hang_up(receive, send)

    def cut(self) -> None:
        """Cut what goes on."""
        for running in list(self._running):
            running.cancel()


async def _hang_up(receive: Receive, send: Send) -> None:
    """Close the connection; ASGI has no word for that, but uvicorn's own ``send`` knows it."""
    connection: Any = getattr(send, "__self__", None)
    connection.transport.close()
    while (await receive())["type"] != "http.disconnect":
        pass


class Serving(Stopping):
    """The server on a port while the block runs; ``with`` or ``async with`` gives its URL."""

    def __init__(
        self,
        app: App,
        host: str,
        port: int,
        context: str,
        certificate: tuple[str | PathLike[str], str | PathLike[str]] | None,
    ) -> None:
        self._app, self._address, self._context = Cutting(app), (host, port), context
        self._certificate = certificate
        self._thread: threading.Thread | None = None
        self._end: Callable[[], object] | None = None

    def start(self) -> str:
        """Listen; the URL. Blocks until the server is ready.

        Raises:
            MissingDependencyError: uvicorn is not installed.
            TransportError: it cannot listen there, the certificate cannot be used, or it does not
                start.
        """
        listener = self._listen()
        try:
            server = self._make()
        except BaseException:
            listener.close()
            raise
        self._thread = threading.Thread(
            target=self._run, args=(server, listener), name="XnatServer", daemon=True
        )
        self._thread.start()
        self._wait(server, self._thread)
        scheme = "http" if self._certificate is None else "https"
        host = f"[{self._address[0]}]" if ":" in self._address[0] else self._address[0]
        return f"{scheme}://{host}:{listener.getsockname()[1]}{self._context}"

    def _listen(self) -> socket.socket:
        host, port = self._address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listener = socket.create_server(self._address, family=family, backlog=512)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return listener
        except OSError as error:
            text = f"cannot listen at {host} port {port}: {error.strerror}"
            raise TransportError(text) from error

    def _make(self) -> Server:
        try:
            from uvicorn import Config, Server
        except ImportError as error:
            text = 'uvicorn is not installed; pip install "seriesio[server]"'
            raise MissingDependencyError(text) from error
        certificate, key = self._certificate or (None, None)
        config = Config(
            self._app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
            ssl_certfile=None if certificate is None else fspath(certificate),
            ssl_keyfile=None if key is None else fspath(key),
        )
        try:
            config.load()
        except OSError as error:
            raise TransportError(f"the certificate cannot be used: {error.strerror}") from error
        return Server(config)

    def _run(self, server: Server, listener: socket.socket) -> None:
        with listener, asyncio.Runner() as runner:
            runner.run(self._serve(server, listener))

    async def _serve(self, server: Server, listener: socket.socket) -> None:
        """Serve until :meth:`stop` says so; uvicorn's own end takes a fifth of a second."""
        stopping, loop = asyncio.Event(), asyncio.get_running_loop()
        self._end = partial(loop.call_soon_threadsafe, stopping.set)
        serving = loop.create_task(server.serve(sockets=[listener]))
        waiting = loop.create_task(stopping.wait())
        await asyncio.wait((serving, waiting), return_when=asyncio.FIRST_COMPLETED)
        self._app.cut()
        await _close(server)
        for task in (serving, waiting):
            task.cancel()
        await asyncio.wait((serving, waiting))

    def _wait(self, server: Server, thread: threading.Thread) -> None:
        for _ in range(int(_START / _STEP)):
            if server.started or not thread.is_alive():
                break
            thread.join(_STEP)
        if not server.started:
            self.stop()
            raise TransportError("the server does not start")

    def stop(self) -> None:
        """Stop listening, cut what goes on, and wait for the thread. Blocks."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._end is not None:
            with suppress(RuntimeError):  # it may have ended by itself
                self._end()
        thread.join()

    def __enter__(self) -> str:
        return self.start()

    async def __aenter__(self) -> str:
        return await anyio.to_thread.run_sync(self.start)


async def _close(server: Server) -> None:
    """Close the port and all connections; those that do not go by themselves are dropped."""
    for one in server.servers:
        one.close()
    for connection in list(server.server_state.connections):
        connection.shutdown()
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER):
            while server.server_state.connections:  # noqa: ASYNC110 - uvicorn has no event
                await asyncio.sleep(_STEP)
    for connection in list(server.server_state.connections):
        connection.transport.abort()
    await asyncio.sleep(0)
