"""What an ``xnat://`` URL names: server, project, subject, experiment, scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from ..errors import LocationError

if TYPE_CHECKING:
    from ..location import Location

__all__ = ["LEVELS", "XnatPlace", "place_of", "quoted"]

LEVELS: Final = ("project", "subject", "experiment", "scan")
_SCHEMES: Final = {"xnat": "https", "xnat+http": "http"}
_PORTS: Final = {"https": 443, "http": 80}
_REFUSED: Final = frozenset("/\\\0")  # a server takes no such name, encoded or not


@dataclass(frozen=True, slots=True)
class XnatPlace:
    """A place on a server.

    Attributes:
        scheme: "https" or "http".
        host: with the port, where it is not the scheme's own.
        context: the path below which XNAT runs: "" or "/xnat"; None: the server has to be asked.
        parts: project, subject, experiment, scan: labels or IDs, decoded; as many as were given.
    """

    scheme: str
    host: str
    context: str | None
    parts: tuple[str, ...]

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.host}"

    def candidates(self) -> list[XnatPlace]:
        """The places that the URL may mean, the likeliest first; all with a context."""
        if self.context is not None:
            return [self]
        plain = replace(self, context="")
        if not self.parts:
            return [plain]
        first = "/" + quoted(self.parts[0])
        return [plain, replace(self, context=first, parts=self.parts[1:])]

    def url(self, *parts: str) -> str:
        """An ``xnat://`` URL of this server that can be opened or listed."""
        scheme = next(name for name, own in _SCHEMES.items() if own == self.scheme)
        path = "".join("/" + quoted(part) for part in parts)
        return f"{scheme}://{self.host}{self.context or ''}{path}"

    def __str__(self) -> str:
        return self.url(*self.parts)


def quoted(part: str) -> str:
    """One part of a path, percent-encoded."""
    return quote(part, safe="")


def place_of(location: Location, context: str | None = None) -> XnatPlace:
    """Read a location; ``context`` is the path below which XNAT runs, where it is known.

    More parts than a scan has belong to the context.

    Raises:
        LocationError: no host, an empty part, or one that no server takes.
    """
    scheme = _SCHEMES[location.scheme]
    if not location.host:
        raise LocationError(f"{location}: names no server (xnat://host/project/...)")
    parts = location.path.strip("/").split("/") if location.path.strip("/") else []
    known = None if context is None else context.strip("/").split("/") if context else []
    if known is not None:
        parts = parts[len(known) :] if parts[: len(known)] == known else parts
    elif len(parts) > len(LEVELS):
        known, parts = parts[: -len(LEVELS)], parts[-len(LEVELS) :]
    if len(parts) > len(LEVELS):
        raise LocationError(f"{location}: more parts than {'/'.join(LEVELS)}")
    path = None if known is None else _context(known, location)
    return XnatPlace(scheme, _host(location, scheme), path, _decoded(parts, location))


def _host(location: Location, scheme: str) -> str:
    host = f"[{location.host}]" if ":" in location.host else location.host
    port = location.port
    return host if port in (None, _PORTS[scheme]) else f"{host}:{port}"


def _context(parts: Sequence[str], location: Location) -> str:
    return "".join("/" + quoted(part) for part in _decoded([p for p in parts if p], location))


def _decoded(parts: Sequence[str], location: Location) -> tuple[str, ...]:
    names = tuple(unquote(part) for part in parts)
    for name in names:
        if not name.strip() or name in (".", "..") or _REFUSED & set(name):
            raise LocationError(f"{location}: {name!r} cannot be part of a path on XNAT")
    return names
