"""Schemes to transports and names to formats, imported when first used.

Other packages add theirs by the entry point groups ``seriesio.transports`` (named by the URL
scheme) and ``seriesio.formats``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, Final, cast

from .errors import FormatError, LocationError
from .location import URL, look_up, parse_location

if TYPE_CHECKING:
    from .offload import Workers
    from .protocols import Format, Transport

__all__ = ["format_for", "open_transport", "transport_for"]

_TRANSPORTS: Final = {
    "file": "seriesio.transports.file:FileTransport",
    "zip": "seriesio.transports._zip_transport:ZipTransport",
}
_FORMATS: Final = {"dicom": "seriesio.formats.dicom:DicomFormat"}


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


async def open_transport(url: URL, workers: Workers, options: Mapping[str, Any]) -> Transport:
    """The transport of a URL.

    Raises:
        LocationError: the URL is malformed, or nobody serves its scheme.
        TypeError: an option that the transport does not take.
    """
    location = parse_location(url)
    if location.scheme in ("file", "zip"):
        location = await workers.run(look_up, location)
    factory = await workers.run(transport_for, location.scheme)
    _check_options(location.scheme, factory, options)
    return factory(location, workers, **options)


def _check_options(scheme: str, factory: Any, options: Mapping[str, Any]) -> None:
    parameters = signature(factory).parameters.values()
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = {p.name for p in parameters if p.kind is Parameter.KEYWORD_ONLY}
    unknown = sorted(options.keys() - known)
    if unknown:
        taken = f"options are {', '.join(sorted(known))}" if known else "it takes none"
        raise TypeError(f"a {scheme} location takes no option {', '.join(unknown)} ({taken})")


def format_for(name: str) -> Format:
    """The format of a name.

    Raises:
        FormatError: there is none.
    """
    found = _find(name, _FORMATS, "seriesio.formats")
    if found is None:
        raise FormatError(f"format {name!r} is unknown (built in: {', '.join(sorted(_FORMATS))})")
    return cast("Format", found())


def _find(name: str, built_in: dict[str, str], group: str) -> Any:
    if name in built_in:
        module, _, attribute = built_in[name].partition(":")
        return getattr(import_module(module), attribute)
    for entry in entry_points(group=group, name=name):
        return entry.load()
    return None
