"""Who we are to a server: a user, an alias token, a session that lives, or what a netrc says."""

from __future__ import annotations

import netrc
import os
import stat
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

from ..errors import LocationError, TransportError

__all__ = ["COOKIE", "Auth", "Credentials", "credentials"]

Auth: TypeAlias = "tuple[str, str] | str | os.PathLike[str] | None"
COOKIE: Final = "JSESSIONID"
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


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
        return _of_file(os.fspath(auth), host, needed=True)
    if auth is not None:
        raise TypeError("auth= is (user, password), or the path of a netrc file")
    if userinfo:
        user, colon, password = userinfo.partition(":")
        if not colon:
            raise LocationError("the URL has a user without a password: auth=(user, password)")
        return Credentials(unquote(user), unquote(password))
    named = os.environ.get("NETRC")
    path = named or os.path.expanduser("~/.netrc")
    return _of_file(path, host, needed=bool(named))


def _of_file(path: str, host: str, *, needed: bool) -> Credentials | None:
    try:
        file = netrc.netrc(path)
        status = os.stat(path)
    except netrc.NetrcParseError as error:  # its text could hold a password
        raise TransportError(f"{path}: line {error.lineno} is not as in a netrc file") from None
    except UnicodeDecodeError:
        raise TransportError(f"{path}: is not a netrc file") from None
    except FileNotFoundError as error:
        if not needed:
            return None
        raise TransportError(error.errno, "no such netrc file", path) from error
    except OSError as error:
        raise TransportError(error.errno, f"cannot read: {error.strerror}", path) from error
    found = file.authenticators(host) or file.authenticators(host.rpartition(":")[0] or host)
    if found is None:
        return None
    user, _, password = found
    if user != "anonymous":
        _refuse_open(path, status)
    return Credentials(user, password or "")


def _refuse_open(path: str, status: os.stat_result) -> None:
    """Refuse what Python's own netrc refuses of ``~/.netrc``, wherever the file is."""
    if os.name != "posix":
        return
    if status.st_uid != os.getuid():
        raise TransportError(f"{path}: belongs to somebody else, its passwords are not used")
    if status.st_mode & _OTHERS:
        raise TransportError(
            f"{path}: others may read it, its passwords are not used (chmod 600 helps)"
        )
