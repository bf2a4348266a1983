"""Requests and answers of an XNAT stand-in, on top of ASGI; its pages of HTML."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from email.message import Message
from html import escape
from http import HTTPStatus
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, unquote

__all__ = [
    "LOGIN_PAGE",
    "Answer",
    "Connection",
    "Gone",
    "Receive",
    "Refusal",
    "Request",
    "Scope",
    "Send",
    "attachment",
    "html",
    "json_answer",
    "read_request",
    "text",
]

Scope: TypeAlias = "MutableMapping[str, Any]"
Receive: TypeAlias = "Callable[[], Awaitable[MutableMapping[str, Any]]]"
Send: TypeAlias = "Callable[[MutableMapping[str, Any]], Awaitable[None]]"
Headers: TypeAlias = "tuple[tuple[str, str], ...]"


class Gone(ConnectionResetError):
    """The connection is cut: by a fault, or since the client has gone."""


class Refusal(Exception):
    """A request is answered with an error.

    Attributes:
        status: of HTTP.
        message: its text, in Restlet's page.
        tomcat: it is Tomcat's page instead.
    """

    def __init__(self, status: int, message: str = "", *, tomcat: bool = False) -> None:
        super().__init__(status, message)
        self.status, self.message, self.tomcat = status, message, tomcat

    def answer(self) -> Answer:
        page = tomcat_page if self.tomcat else restlet_page
        headers = (("WWW-Authenticate", 'Basic realm="XNAT"'),) if self.status == 401 else ()
        return html(self.status, page(self.status, self.message), headers)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: ``sized`` ones have a Content-Length, others are sent in chunks."""

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    content_type: str = "text/plain;charset=UTF-8"
    headers: Headers = ()
    size: int | None = None


@dataclass(slots=True)
class Connection:
    """The body of a request, as it is read; and how much of it came."""

    receive: Receive
    limit: int
    cut_after: int | None = None
    received: int = 0

    async def body(self) -> bytes:
        """All of it.

        Raises:
            Refusal: 413, more than the limit.
            Gone: the client went, or the fault asks for it.
        """
        whole = bytearray()
        more = True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Gone("the client has gone")
            whole += message.get("body", b"")
            self.received = len(whole)
            self._check()
            more = message.get("more_body", False)
        return bytes(whole)

    def _check(self) -> None:
        if self.cut_after is not None and self.received > self.cut_after:
            raise Gone("the connection is cut, as asked for")
        if self.received > self.limit:
            raise Refusal(413, f"more than {self.limit} bytes", tomcat=True)


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked: ``path`` is below the context path and still percent-encoded.

    ``query`` holds the last value of each name, ``headers`` are in lower case.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    connection: Connection = field(repr=False)

    @property
    def segments(self) -> tuple[str, ...]:
        """The segments of the path, each still percent-encoded."""
        return tuple(self.path.lstrip("/").split("/"))

    @property
    def format(self) -> str:
        return self.query.get("format", "").lower()

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def boundary(self) -> str:
        """The boundary of a multipart body; "" if it names none."""
        message = Message()
        message["content-type"] = self.headers.get("content-type", "")
        return str(message.get_param("boundary", "") or "")

    def flag(self, name: str) -> bool:
        """Whether a parameter of the query is true, as XNAT reads it."""
        return self.query.get(name, "").lower() in {"true", "1"}

    def cookie(self, name: str) -> str:
        """The value of a cookie; ""."""
        for part in self.headers.get("cookie", "").split(";"):
            key, _, value = part.strip().partition("=")
            if key == name:
                return value.strip('"')
        return ""


def read_request(scope: Scope, connection: Connection, context: str) -> Request:
    """What was asked.

    Raises:
        Refusal: 400 for an encoded slash, as Tomcat has it; 404 outside the context path.
    """
    raw = scope.get("raw_path") or scope["path"].encode()
    path = raw.decode("latin-1").partition("?")[0]
    if "%2f" in path.lower() or "%5c" in path.lower() or "\0" in unquote(path):
        raise Refusal(400, "Invalid URI", tomcat=True)
    if ".." in unquote(path).split("/"):
        raise Refusal(400, "Invalid URI", tomcat=True)
    if context and path != context and not path.startswith(context + "/"):
        raise Refusal(404, "Not Found", tomcat=True)
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    headers = {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in _raw(scope)
    }
    return Request(scope["method"], path[len(context) :] or "/", dict(query), headers, connection)


def _raw(scope: Scope) -> Iterable[tuple[bytes, bytes]]:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return headers


# --- answers ------------------------------------------------------------------------------------

LOGIN_PAGE: Final = """<!DOCTYPE html>
<html>
<head><title>XNAT</title></head>
<body>
<!-- BEGIN xnat-templates/screens/Login.vm -->
<form name="form1" method="post" action="/login" class="login_form">
<input type="text" name="username"><input type="password" name="password">
</form>
<!-- END xnat-templates/screens/Login.vm -->
</body>
</html>
"""


def text(body: str = "", status: int = 200, content_type: str = "text/plain") -> Answer:
    """A short text, with its length."""
    data = body.encode()
    return Answer(status, data, f"{content_type};charset=UTF-8", size=len(data))


def html(status: int, page: str, headers: Headers = ()) -> Answer:
    """A page of HTML, with its length."""
    data = page.encode()
    return Answer(status, data, "text/html;charset=UTF-8", headers, size=len(data))


def json_answer(value: object) -> Answer:
    """JSON in chunks: Restlet does not know how long it will be."""
    return Answer(body=[json.dumps(value).encode()], content_type="application/json;charset=UTF-8")


def attachment(name: str) -> tuple[str, str]:
    """The header that names a download."""
    plain = "".join(one if one.isprintable() and one not in '"\\' else "_" for one in name)
    return ("Content-Disposition", f'attachment; filename="{plain}"')


def restlet_page(status: int, message: str) -> str:
    """Restlet's own page of an error."""
    return (
        "<html>\n<head>\n   <title>Status page</title>\n</head>\n<body>\n"
        f"<h3>{escape(message or _phrase(status))}</h3>"
        "<p>You can get technical details "
        '<a href="http://www.w3.org/Protocols/rfc2616/rfc2616-sec10.html">here</a>.<br>\n'
        'Please continue your visit at our <a href="/">home page</a>.\n</p>\n</body>\n</html>\n'
    )


def tomcat_page(status: int, message: str) -> str:
    """Tomcat's page of an error."""
    title = f"HTTP Status {status} – {_phrase(status)}"
    return (
        f'<!doctype html><html lang="en"><head><title>{title}</title></head><body>'
        f"<h1>{title}</h1><hr/><p><b>Type</b> Status Report</p>"
        f"<p><b>Message</b> {escape(message)}</p><hr/><h3>Apache Tomcat/9.0.87</h3></body></html>"
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
