"""Who may ask an XNAT stand-in what: users, sessions, alias tokens."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias
from urllib.parse import parse_qsl, quote
from uuid import uuid4

from ._xnat_http import Refusal, Request
from ._xnat_model import Project

__all__ = [
    "Caller",
    "Door",
    "Role",
    "User",
    "check_csrf",
    "cookies",
    "form_login",
    "may_delete",
    "may_edit",
    "may_read",
    "sees",
    "wants_401",
]

Role: TypeAlias = Literal["owner", "member", "collaborator"]
How: TypeAlias = Literal["", "cookie", "basic", "form"]

_FAILURES: Final = 20  # after which an account is locked
_LOCKED: Final = 3600.0  # seconds for which it is
_TOKEN_LIFE: Final = 2 * 86400.0
_INTERACTIVE: Final = re.compile(r"MSIE|Mozilla|AppleWebKit|Opera")
_DATA: Final = re.compile(r"/(data|REST|xapi|fs)(/|$)")
_FAILED: Final = "Login attempt failed. Please try again."


@dataclass(frozen=True, slots=True)
class User:
    """An account: ``roles`` by project; an ``admin`` may do all."""

    name: str
    password: str = field(repr=False)
    admin: bool = True
    roles: Mapping[str, Role] = field(default_factory=dict)


@dataclass(slots=True)
class Session:
    """A session: ``number`` counts from 1; ``csrf`` is the token of its web pages."""

    number: int
    id: str = field(repr=False)
    user: User
    used: float
    requests: int = 0
    csrf: str = field(default_factory=lambda: str(uuid4()), repr=False)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, how that was proved, and in which session."""

    user: User
    session: Session
    how: How
    new: bool


# --- rights -------------------------------------------------------------------------------------


def sees(user: User, project: Project) -> bool:
    """Whether a user knows that there is such a project."""
    return project.accessibility != "private" or may_read(user, project)


def may_read(user: User, project: Project) -> bool:
    return project.accessibility == "public" or user.admin or project.id in user.roles


def may_edit(user: User, project: Project) -> bool:
    return user.admin or user.roles.get(project.id) in {"owner", "member"}


def may_delete(user: User, project: Project) -> bool:
    return user.admin or user.roles.get(project.id) == "owner"


# --- sessions -----------------------------------------------------------------------------------


class Door:
    """Lets users in, and knows who is in.

    Args:
        limit: sessions that a user may have at a time.
        idle: seconds after which a session that is not used is dead.
    """

    def __init__(self, limit: int, idle: float) -> None:
        self.limit, self.idle = limit, idle
        self.users: dict[str, User] = {}
        self.sessions: dict[str, Session] = {}
        self.opened = 0
        self._tokens: dict[str, tuple[str, str, float]] = {}
        self._failures: Counter[str] = Counter()
        self._locked: dict[str, float] = {}

    def issue(self, user: str) -> tuple[str, str]:
        """An alias and its secret, which serve as name and password for two days."""
        alias, secret = str(uuid4()), secrets.token_urlsafe(48)
        self._tokens[alias] = (secret, user, time.monotonic() + _TOKEN_LIFE)
        return alias, secret

    def invalidate(self, alias: str, secret: str) -> None:
        if self._tokens.get(alias, ("", "", 0.0))[0] == secret:
            del self._tokens[alias]

    def close(self, session: Session) -> None:
        self.sessions.pop(session.id, None)

    def sweep(self) -> None:
        """Forget sessions that have been idle for too long."""
        oldest = time.monotonic() - self.idle
        self.sessions = {key: one for key, one in self.sessions.items() if one.used >= oldest}

    # --- who asks -----------------------------------------------------------------------------

    def enter(self, request: Request, expire_after: int | None) -> Caller | None:
        """Who asks; None for nobody who is known, or no more.

        Raises:
            Refusal: 401, a wrong password, or too many sessions.
        """
        self.sweep()
        session = self.sessions.get(request.cookie("JSESSIONID"))
        if session is not None and expire_after is not None and session.requests >= expire_after:
            self.close(session)
            session = None
        given = _basic(request)
        if session is not None and (given is None or self._owner(given[0]) == session.user.name):
            return self._use(session, Caller(session.user, session, "cookie", new=False))
        return None if given is None else self.log_in(*given, "basic")

    def log_in(self, name: str, password: str, how: How) -> Caller:
        """Open a session.

        Raises:
            Refusal: 401.
        """
        user = self._check(name, password)
        if sum(one.user.name == user.name for one in self.sessions.values()) >= self.limit:
            text = f"Maximum sessions of {self.limit} for this principal exceeded"
            raise Refusal(401, text, tomcat=True)
        self.opened += 1
        session = Session(self.opened, secrets.token_hex(16).upper(), user, time.monotonic())
        self.sessions[session.id] = session
        return self._use(session, Caller(user, session, how, new=True))

    def _owner(self, name: str) -> str:
        """The user whom a name or an alias means."""
        return self._tokens[name][1] if name in self._tokens else name

    def _use(self, session: Session, caller: Caller) -> Caller:
        session.used = time.monotonic()
        session.requests += 1
        return caller

    def _check(self, name: str, password: str) -> User:
        if self._locked.get(name, 0.0) > time.monotonic():
            raise Refusal(401, _FAILED, tomcat=True)
        secret, owner, until = self._tokens.get(name, ("", "", 0.0))
        if secret and secret == password and until > time.monotonic() and owner in self.users:
            return self.users[owner]
        user = self.users.get(name)
        if user is None or user.password != password:
            self._failed(name)
            raise Refusal(401, _FAILED, tomcat=True)
        del self._failures[name]
        return user

    def _failed(self, name: str) -> None:
        self._failures[name] += 1
        if self._failures[name] >= _FAILURES:
            self._locked[name] = time.monotonic() + _LOCKED
            del self._failures[name]


def _basic(request: Request) -> tuple[str, str] | None:
    """Name and password of the header Authorization; None without them."""
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise Refusal(401, _FAILED, tomcat=True) from None
    return (name, password) if colon else None


def form_login(body: bytes) -> tuple[str, str]:
    """Name and password of the form for ``/data/services/auth``."""
    fields = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    return fields.get("username", ""), fields.get("password", "")


# --- what is said to browsers ---------------------------------------------------------------------


def is_interactive(request: Request) -> bool:
    """Whether the client looks like a browser."""
    return bool(_INTERACTIVE.search(request.headers.get("user-agent", "")))


def wants_401(request: Request) -> bool:
    """Whether a stranger is told 401; all others are sent to the page to log in at."""
    return bool(_DATA.match(request.path)) and not is_interactive(request)


def check_csrf(request: Request, caller: Caller) -> None:
    """Raise a Refusal for what a browser changes without its session's token."""
    if request.method not in {"POST", "PUT", "DELETE"} or caller.how != "cookie":
        return
    if is_interactive(request) and request.query.get("XNAT_CSRF") != caller.session.csrf:
        raise Refusal(500, "INVALID CSRF", tomcat=True)


def cookies(caller: Caller | None, idle: float, secure: bool, path: str) -> list[tuple[str, str]]:
    """The cookies that an answer sets."""
    stamp = quote(f"{int(time.time() * 1000)},{int(idle * 1000)}", safe=",")
    found = [("Set-Cookie", f'SESSION_EXPIRATION_TIME="{stamp}"; Version=1; Path=/')]
    if caller is not None and caller.new:
        extra = "; Secure" if secure else ""
        value = f"JSESSIONID={caller.session.id}; Path={path or '/'}; HttpOnly{extra}"
        found.insert(0, ("Set-Cookie", value))
    return found
