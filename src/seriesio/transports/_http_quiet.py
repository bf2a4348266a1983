"""httpx's and httpcore's own logs, without what they would tell of our requests.

They log whole URLs (labels of subjects, descriptions of scans) and, when debugging, the headers
of answers (the cookie of our session). Other users of httpx in the same program keep their logs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

__all__ = ["quiet"]

_ours: Final[ContextVar[bool]] = ContextVar("seriesio_http_quiet", default=False)
_LOGGERS: Final = ("httpx", *(f"httpcore.{n}" for n in ("connection", "http11", "proxy", "socks")))


def _not_ours(record: logging.LogRecord) -> bool:
    return not _ours.get()


for _name in _LOGGERS:
    logging.getLogger(_name).addFilter(_not_ours)


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, httpx and httpcore log nothing; no other task notices."""
    token = _ours.set(True)
    try:
        yield
    finally:
        _ours.reset(token)
