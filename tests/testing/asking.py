"""How the tests of the XNAT stand-in ask it: in this process, over httpx."""

from __future__ import annotations

from typing import Any

import httpx

from seriesio.testing import XnatServer

__all__ = ["asking"]


def asking(server: XnatServer, user: str = "admin", **how: Any) -> httpx.AsyncClient:
    """A client; the password is the user's name unless ``auth=`` (None: nobody) tells another."""
    options = {"auth": (user, user), "transport": httpx.ASGITransport(server), **how}
    return httpx.AsyncClient(base_url="http://xnat.test", **options)
