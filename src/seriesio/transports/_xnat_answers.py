"""What the answers of a server mean: pages to log in at, refusals, redirects. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from ..errors import NotFoundError
from ._http_client import HttpError, Reply

__all__ = [
    "LOST",
    "Answer",
    "LoggedOutError",
    "NoXnatError",
    "asks_for_login",
    "elsewhere",
    "is_page",
    "refusal",
    "with_status",
]

# A proxy gave up waiting: what was asked for may have been done (RFC 9110 section 15.6).
LOST: Final = frozenset({502, 504})

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


class NoXnatError(NotFoundError):
    """There is a web server, and no XNAT at this path of it."""


class LoggedOutError(Exception):
    """The answer of a server that does not know our session (any more)."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


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


def is_page(reply: Reply) -> bool:
    """True for a web page; a file that happens to be one is sent as an attachment."""
    return reply.type == "text/html" and "content-disposition" not in reply.headers


def asks_for_login(answer: Answer) -> bool:
    """True for a 401, and for a web page where none belongs."""
    if answer.status == 401:
        return True
    start = answer.body[:512].lstrip().lower()
    page = start.startswith((b"<!doctype html", b"<html", b"<!-- begin xnat"))
    return answer.status == 200 and page


def elsewhere(target: str, base: str) -> str:
    """What to tell of a redirect that is not followed."""
    parts = urlsplit(target)
    there = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    hint = " (xnat:// is https)" if there == base.replace("http://", "https://", 1) else ""
    return f"redirects to {there}{hint}; we send no credentials there, and nothing else"


def refusal(answer: Answer, told: str) -> HttpError:
    """The error for a status that was not hoped for, with the server's words."""
    meaning = _STATUS.get(answer.status, "")
    text = f"{answer.what}: {answer.status} {meaning}".rstrip()
    return with_status(HttpError(f"{text}: {told}" if told else text), answer.status)


def with_status(error: HttpError, status: int) -> HttpError:
    error.status = status
    return error
