"""A URL, parsed. Credentials in it are kept apart and never shown."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias
from urllib.parse import unquote, urlsplit

from .errors import LocationError

__all__ = ["URL", "Location", "look_up", "parse_location"]

URL: TypeAlias = "str | os.PathLike[str]"


# Two letters at least: C:\ is a path.
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
# Looks like a URL with a user name, and is none: shown as a path it would tell the password.
_NEARLY: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/?[^/]*:[^/]*@")
# The same without a colon, or without a scheme: perhaps a path, if it is there. "./" begins paths.
_DOUBTFUL: Final = re.compile(r"(?!\.{1,2}/)[^/\s]*/{0,2}[^/\s:@]+:[^/\s@]+@[^/]*")
_ZIP: Final = re.compile(r"\.zip(?=\?|$)", re.IGNORECASE)
_ZIP_STARTS: Final = (b"PK\x03\x04", b"PK\x05\x06")
_DICOM_PREFIX: Final = 128, b"DICM"  # PS3.10 section 7.1


@dataclass(frozen=True, slots=True)
class Location:
    """Where a series is or shall be.

    Attributes:
        scheme: "file" for a file or directory, "zip" for a zip file, else the URL's scheme.
        path: of the local file or directory; what follows the host otherwise.
        selections: what follows the ``?`` of a zip: directories, members, patterns.
        host, port: of a server.
    """

    scheme: str
    path: str
    selections: tuple[str, ...] = ()
    host: str = ""
    port: int | None = None
    userinfo: str = field(default="", repr=False)
    # How much of a path looks like a user name, password and host.
    doubtful: int = field(default=0, repr=False, compare=False)

    def __str__(self) -> str:
        """The location as a URL or path, without credentials."""
        if self.scheme in ("file", "zip"):
            return self.path + ("?" + "&".join(self.selections) if self.selections else "")
        port = "" if self.port is None else f":{self.port}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{port}{self.path}"


def parse_location(url: URL) -> Location:
    """Parse what ``open`` and ``write`` take; does not look whether anything is there.

    A :class:`~os.PathLike` is a path to the letter; in a string, ``?`` behind ``.zip`` begins
    the selections.

    Raises:
        LocationError: it is empty, holds a NUL, or is a malformed URL.
    """
    literal = not isinstance(url, str)
    text = os.fspath(url)
    if not isinstance(text, str):
        raise LocationError("a location must be text, not bytes")
    if not text or "\0" in text:
        raise LocationError("a location must not be empty or hold a NUL character")
    scheme = None if literal else _SCHEME.match(text)
    if scheme is None:
        if not literal and _NEARLY.match(text):
            raise LocationError("a malformed URL: two slashes have to follow the scheme")
        return _local(text, literal)
    if scheme[1].lower() == "file":
        return _file_url(text)
    return _network(text, scheme[1].lower())


def _local(text: str, literal: bool) -> Location:
    doubt = None if literal or "@" not in text else _DOUBTFUL.match(text)
    doubtful = 0 if doubt is None else doubt.end()
    found = None if literal else _ZIP.search(text)
    if found is not None:
        path, query = text[: found.end()], text[found.end() + 1 :]
        selections = tuple(part for part in query.split("&") if part)
        return Location("zip", path, selections, doubtful=doubtful)
    kind = "zip" if text.lower().endswith(".zip") else "file"
    return Location(kind, text, doubtful=doubtful)


def _file_url(text: str) -> Location:
    body = text[len("file://") :]
    if not body.startswith("/"):
        host, _, rest = body.partition("/")
        if host.lower() != "localhost":
            raise LocationError("a file URL names this machine only: file:///path")
        body = "/" + rest
    path, mark, query = body.partition("?")
    path = unquote(path)
    if mark and not path.lower().endswith(".zip"):
        raise LocationError("only a zip file takes selections after a question mark")
    if "\0" in path:
        raise LocationError("a location must not hold a NUL character")
    location = _local(path, True)
    return replace(location, selections=tuple(unquote(p) for p in query.split("&") if p))


def _network(text: str, scheme: str) -> Location:
    if scheme == "zip":
        raise LocationError("a zip file is named by its path: file.zip?directory")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        # The parser's own words could repeat a password.
        raise LocationError(f"a malformed {scheme} URL") from None
    if "?" in text or "#" in text:  # what follows would be dropped in silence
        raise LocationError(
            f"a {scheme} URL takes neither ? nor #: in a name they are written %3F and %23"
        )
    if not host and "@" in parts.path:  # a slash too many: the path would tell the password
        raise LocationError(f"a malformed {scheme} URL")
    return Location(scheme, parts.path, (), host, port, parts.netloc.rpartition("@")[0])


def look_up(location: Location) -> Location:
    """A local path as what it is, whatever its name says: a zip file, or something else. Blocks.

    Raises:
        LocationError: selections from what is a directory; or no such path, and it looks like a
            URL with a password.
    """
    if location.doubtful and not os.path.lexists(location.path[: location.doubtful]):
        raise LocationError(
            "a malformed URL: a scheme with :// has to come first "
            "(a path with : and @ that is still to be made: begin it with ./ or pass a Path)"
        )
    if location.scheme == "file" and _is_zip(location.path):
        return replace(location, scheme="zip")
    if location.scheme != "zip":
        return location
    if os.path.isdir(location.path):
        if location.selections:
            raise LocationError(f"{location}: is a directory; selections belong to zip files")
        return replace(location, scheme="file")
    named_only = not location.selections and _is_dicom(location.path)
    return replace(location, scheme="file") if named_only else location


def _is_zip(path: str) -> bool:
    # A DICOM file's preamble may say anything (PS3.10 section 7.1).
    return _head(path).startswith(_ZIP_STARTS) and not _is_dicom(path)


def _is_dicom(path: str) -> bool:
    return _head(path).startswith(_DICOM_PREFIX[1], _DICOM_PREFIX[0])


def _head(path: str) -> bytes:
    """The first bytes of a regular file; none of anything else."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return b""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            return os.read(fd, _DICOM_PREFIX[0] + len(_DICOM_PREFIX[1]))
        finally:
            os.close(fd)
    except (OSError, ValueError):  # whoever opens it will say why
        return b""
