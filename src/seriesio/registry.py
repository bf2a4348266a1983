"""Schemes to transports and names to formats, imported when first used.

Other packages add theirs by the entry point groups ``seriesio.transports`` (named by the URL
scheme) and ``seriesio.formats``. A format that ``claims`` files by their first bytes is a guest;
any other stands beside DICOM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, Final, TypeGuard, cast

from .errors import FormatError, LocationError
from .location import URL, Location, look_up, parse_location

if TYPE_CHECKING:
    from .blob import Blob
    from .offload import Workers
    from .protocols import Format, Guest, Transport

__all__ = [
    "Target",
    "check_options",
    "find_transport",
    "format_for",
    "guest_for",
    "guests",
    "is_guest",
    "open_transport",
    "transport_for",
]

_TRANSPORTS: Final = {
    "dicom": "seriesio.transports.dicom:DicomTransport",
    "dicoms": "seriesio.transports.dicom:DicomTransport",
    "file": "seriesio.transports.file:FileTransport",
    "xnat": "seriesio.transports.xnat:XnatTransport",
    "xnat+http": "seriesio.transports.xnat:XnatTransport",
    "zip": "seriesio.transports._zip_transport:ZipTransport",
}
_FORMATS: Final = {"dicom": "seriesio.formats.dicom:DicomFormat"}
# Asked in this order; the last ones claim nothing: they only write.
_GUESTS: Final = {
    "nifti": "seriesio.formats.nifti:NiftiFormat",
    "metaimage": "seriesio.formats.metaimage:MetaImageFormat",
    "nrrd": "seriesio.formats.nrrd:NrrdFormat",
    "matlab": "seriesio.formats.matlab:MatlabFormat",
    "postscript": "seriesio.formats.postscript:PostScriptFormat",
    "png": "seriesio.formats.pictures:PngFormat",
    "tiff": "seriesio.formats.pictures:TiffFormat",
}
_GROUP: Final = "seriesio.formats"


@dataclass(frozen=True, slots=True)
class Target:
    """A location and the transport that serves it, before it is opened.

    ``takes``: the options it takes by name; ``others``: it takes any others too; ``given``: what it
    is handed by us, since transports know nothing of DICOM.
    """

    location: Location
    factory: Callable[..., Transport]
    takes: frozenset[str]
    others: bool
    given: Mapping[str, Any] = field(default_factory=dict)

    def open(
        self,
        workers: Workers,
        options: Mapping[str, Any],
        defaults: Mapping[str, Any] | None = None,
    ) -> Transport:
        """The transport, with those of the options, and of a client's defaults, that it takes."""
        own = {n: value for n, value in (defaults or {}).items() if n in self.takes}
        own |= self.given
        own |= {n: value for n, value in options.items() if self.others or n in self.takes}
        return self.factory(self.location, workers, **own)


def _transcode() -> Callable[[Blob, str], Blob]:
    return cast(
        "Callable[[Blob, str], Blob]", import_module("seriesio.formats._transcode").transcode
    )


def transport_for(scheme: str) -> Callable[..., Transport]:
    """The transport that serves a scheme.

    Raises:
        LocationError: nobody does.
    """
    found = _find(scheme, _TRANSPORTS, "seriesio.transports")
    if found is None:
        known = ", ".join(sorted(_TRANSPORTS))
        raise LocationError(f"no transport serves {scheme}:// (built in: {known})")
    return cast("Callable[..., Transport]", found)


def find_transport(url: URL) -> Target:
    """The transport of a URL, which is not opened. Blocking.

    Raises:
        LocationError: the URL is malformed, or nobody serves its scheme.
    """
    location = parse_location(url)
    if location.scheme in ("file", "zip"):
        location = look_up(location)
    factory = transport_for(location.scheme)
    parameters = signature(factory).parameters.values()
    takes = frozenset(p.name for p in parameters if p.kind is Parameter.KEYWORD_ONLY)
    others = any(p.kind is Parameter.VAR_KEYWORD for p in parameters)
    given = {"transcode": _transcode()} if "transcode" in takes else {}
    return Target(location, factory, takes, others, given)


async def open_transport(
    url: URL,
    workers: Workers,
    options: Mapping[str, Any],
    defaults: Mapping[str, Any] | None = None,
) -> Transport:
    """The transport of a URL.

    Raises:
        LocationError: the URL is malformed, or nobody serves its scheme.
        TypeError: an option that the transport does not take.
    """
    target = await workers.run(find_transport, url)
    if not target.others:
        check_options(f"a {target.location.scheme} location", options, target.takes)
    return target.open(workers, options, defaults)


def check_options(what: str, options: Iterable[str], takes: Iterable[str]) -> None:
    """Raise TypeError, naming what is taken, if there are options that are not."""
    known = frozenset(takes)
    if unknown := sorted(set(options) - known):
        taken = f"options are {', '.join(sorted(known))}" if known else "it takes none"
        raise TypeError(f"{what} takes no option {', '.join(unknown)} ({taken})")


def format_for(name: str) -> Format | Guest:
    """The format of a name; :func:`is_guest` tells of which kind it is.

    Raises:
        FormatError: there is none.
    """
    found = _find(name, {**_FORMATS, **_GUESTS}, _GROUP)
    if found is None:
        built_in = ", ".join(sorted({**_FORMATS, **_GUESTS}))
        raise FormatError(f"format {name!r} is unknown (built in: {built_in})")
    return cast("Format | Guest", found())


def is_guest(found: Format | Guest) -> TypeGuard[Guest]:
    """True for a format that holds volumes without a DICOM header."""
    return hasattr(found, "claims")


def guest_for(name: str) -> Guest:
    """The guest format of a name.

    Raises:
        FormatError: there is none, or it is no guest.
    """
    found = format_for(name)
    if not is_guest(found):
        raise FormatError(f"format {name!r} is not one of single files without a DICOM header")
    return found


def guests() -> dict[str, Guest]:
    """All guest formats, by name: the built-in ones, then those of other packages."""
    found = {name: guest_for(name) for name in _GUESTS}
    for entry in _others(entry_points):
        if entry.name not in found and is_guest(made := entry.load()()):
            found[entry.name] = made
    return found


@cache
def _others(find: Callable[..., EntryPoints]) -> tuple[EntryPoint, ...]:
    """The formats of other packages: looked for once, that takes some milliseconds."""
    return tuple(sorted(find(group=_GROUP), key=lambda entry: entry.name))


def _find(name: str, built_in: dict[str, str], group: str) -> Any:
    if name in built_in:
        module, _, attribute = built_in[name].partition(":")
        return getattr(import_module(module), attribute)
    for entry in entry_points(group=group, name=name):
        return entry.load()
    return None
