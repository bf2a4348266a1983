"""The listening end: pynetdicom's threaded server, quick to stop, TLS in the peer's own thread."""

from __future__ import annotations

import socket
import socketserver
from typing import Any, Final

from pynetdicom.transport import ThreadedAssociationServer

__all__ = ["ArchiveServer"]

_HANDSHAKE: Final = 5.0  # seconds that a peer may take for it


class ArchiveServer(ThreadedAssociationServer):
    """Accepts connections; a slow or failed TLS handshake holds nobody else up."""

    request_queue_size = 64

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection, without delaying its small packets."""
        assert self.socket is not None
        connection, address = self.socket.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Begin an association on a connection, once TLS stands if it is asked for."""
        if self.ssl_context is not None:
            request.settimeout(_HANDSHAKE)
            try:
                request = self.ssl_context.wrap_socket(request, server_side=True)
            except OSError:  # no TLS, a refused certificate, silence: it is closed by now
                return
            request.settimeout(None)
        super().finish_request(request, client_address)

    def service_actions(self) -> None:
        """Nothing: pynetdicom would collect garbage here."""

    def shutdown(self) -> None:
        """Stop listening; associations go on."""
        socketserver.BaseServer.shutdown(self)
        self.server_close()
