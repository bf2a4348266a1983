"""Who we are to a server: a user, an alias token, a session that lives, or what a netrc says."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

from ..errors import LocationError
from ._netrc import login_of

__all__ = ["COOKIE", "Auth", "Credentials", "credentials"]

Auth: TypeAlias = "tuple[str, str] | str | os.PathLike[str] | None"
COOKIE: Final = "JSESSIONID"


@dataclass(frozen=True, slots=True)
class Credentials:
    """User and password, alias and secret of a token, or "JSESSIONID" and the id of a session."""

    user: str
    password: str = field(repr=False)

    @property
    def pair(self) -> tuple[str, str]:
        return self.user, self.password

    @property
    def session(self) -> str | None:
        """The id of a session that somebody else has begun, and will end."""
        return self.password if self.user == COOKIE else None


def credentials(auth: Any, userinfo: str, host: str) -> Credentials | None:
    """Who to be on a host; None: nobody says. Blocking.

    Args:
        auth: (user, password), the path of a netrc file, or None: what stands in the URL, else
            the file that ``NETRC`` names, else ``~/.netrc``.
        userinfo: ``user:password`` of the URL, percent-encoded.
        host: with the port, where it is not the usual one.

    Raises:
        LocationError: a user in the URL without a password.
        TransportError: the netrc file cannot be read, or others may read it.
        TypeError: ``auth`` is something else.
    """
    if isinstance(auth, tuple) and len(auth) == 2 and all(isinstance(a, str) for a in auth):
        return Credentials(*auth)
    if isinstance(auth, str | os.PathLike):
        return _of_file(os.fspath(auth), host)
    if auth is not None:
        raise TypeError("auth= is (user, password), or the path of a netrc file")
    if userinfo:
        user, colon, password = userinfo.partition(":")
        if not colon:
            raise LocationError("the URL has a user without a password: auth=(user, password)")
        return Credentials(unquote(user), unquote(password))
    return _of_file(None, host)


def _of_file(path: str | None, host: str) -> Credentials | None:
    found = login_of([host, host.rpartition(":")[0] or host], path)
    return None if found is None else Credentials(*found)
