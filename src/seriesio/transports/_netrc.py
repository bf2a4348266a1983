"""Users and passwords of a netrc file, as long as nobody else may read it."""

from __future__ import annotations

import netrc
import os
import stat
from collections.abc import Sequence
from typing import Final

from ..errors import TransportError

__all__ = ["login_of"]

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def login_of(
    hosts: Sequence[str], path: str | None = None, *, default: bool = True
) -> tuple[str, str] | None:
    """User and password of the first of some hosts that has an entry; None: none has. Blocking.

    Args:
        hosts: such as ``host:port`` and ``host``.
        path: of the file; None: the one that ``NETRC`` names, else ``~/.netrc``, if it is there.
        default: take the default entry where there is no other.

    Raises:
        TransportError: the file cannot be read, or others may read it.
    """
    named = os.environ.get("NETRC") or None if path is None else path
    usual = os.path.expanduser("~/.netrc") if named is None else named
    found = _entry(usual, hosts, default, needed=named is not None)
    return None if found is None else (found[0], found[2] or "")


def _entry(
    path: str, hosts: Sequence[str], default: bool, *, needed: bool
) -> tuple[str, str, str] | None:
    try:
        entries = netrc.netrc(path).hosts
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
    names = [*hosts, "default"] if default else hosts
    found = next((entries[name] for name in names if name in entries), None)
    if found is not None and found[0] != "anonymous":
        _refuse_open(path, status)
    return found


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
