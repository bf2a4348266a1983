"""The steps of writing: which format, which transport, under which names."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from posixpath import basename, dirname
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from . import registry
from .errors import FormatError, HeaderError
from .formats._guests import encode_guest, file_stem
from .registry import Target, check_options, find_transport, format_for, is_guest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .blob import Blob
    from .dicom.volume import Volume
    from .location import URL, Location
    from .offload import Workers
    from .protocols import Format, Guest, Transport

__all__ = ["Writing", "prepare"]

T = TypeVar("T")

_UNEVEN: Final = "accept_uneven_slices"


@dataclass(frozen=True, slots=True)
class _File:
    """A target that is one file: its directory, its name without extension, the extension."""

    directory: Location
    stem: str
    extension: str


@dataclass(frozen=True, slots=True, eq=False)
class Writing:
    """What was decided before anything is written; of ``home`` and ``guest`` there is one."""

    transport: Transport
    home: Format | None
    guest: Guest | None
    name: str
    options: Mapping[str, Any]
    accept_uneven: bool

    def dicom(
        self,
        volume: Volume,
        prints: NDArray[np.uint64],
        taken: frozenset[str],
        keep_uid: bool,
        workers: Workers,
    ) -> AsyncIterator[Blob]:
        """The instances of a volume under free names."""
        assert self.home is not None
        names = _names(len(volume.header), taken)
        return self.home.encode(volume, prints, names, keep_uid, workers)

    async def files(self, volume: Volume, workers: Workers) -> AsyncIterator[Blob]:
        """The files of a guest format, each made in a worker thread when it is asked for."""
        assert self.guest is not None
        make: Callable[[], Iterator[Blob]] = partial(
            encode_guest, self.guest, volume, self.name, self.options, self.accept_uneven
        )
        blobs = await workers.run(make)
        while (blob := await workers.run(_next, blobs)) is not None:
            yield blob


def _next(blobs: Iterator[T]) -> T | None:
    return next(blobs, None)


async def prepare(
    volume: Volume,
    url: URL,
    formats: Sequence[str] | str | None,
    options: Mapping[str, Any],
    workers: Workers,
    defaults: Mapping[str, Any] | None = None,
) -> Writing:
    """Decide the format, and open the transport.

    Raises:
        FormatError: an unknown format, or not exactly one.
        HeaderError: DICOM of a series that has no DICOM header.
        TypeError: an option that neither transport nor format takes.
    """
    target = await workers.run(find_transport, url)
    return await workers.run(_prepared, volume, target, formats, options, workers, defaults or {})


def _prepared(
    volume: Volume,
    target: Target,
    formats: Sequence[str] | str | None,
    options: Mapping[str, Any],
    workers: Workers,
    defaults: Mapping[str, Any],
) -> Writing:
    format = _one_format(formats) or _by_extension(target.location) or "dicom"
    found = format_for(format)
    left = {name: value for name, value in options.items() if name not in target.takes}
    if not is_guest(found):
        if not target.others:
            check_options(f"a {target.location.scheme} location", left, ())
        if not len(volume.header):
            raise HeaderError(
                "the series has no DICOM header: template= gives it one (Series.open, "
                'Series.from_array); formats=["nifti"] and others write it without'
            )
        transport = target.open(workers, options, defaults)
        return Writing(transport, cast("Format", found), None, "", {}, False)
    accept = bool(left.pop(_UNEVEN, False))
    stem = _checked(left.pop("name", file_stem(volume)))
    takes = getattr(found, "write_options", None)
    if takes is not None:
        check_options(f"format {format}", left, {*takes, _UNEVEN, "name"})
    file = _as_file(target.location, getattr(found, "extensions", ()))
    if file is not None:
        target, stem = replace(target, location=file.directory), file.stem
        left["extension"] = file.extension
    taken = {name: options[name] for name in options.keys() & target.takes}
    return Writing(target.open(workers, taken, defaults), None, found, stem, left, accept)


def _checked(stem: Any) -> str:
    if not isinstance(stem, str) or stem in ("", ".", "..") or set(stem) & set("/\\\0"):
        raise ValueError("name= is a file name without a directory")
    return stem


def _one_format(formats: Sequence[str] | str | None) -> str | None:
    """The name of the format to write; None where nobody asks for one."""
    if formats is None or isinstance(formats, str):
        return formats
    if len(formats) != 1:
        raise FormatError(f"a series is written in one format, not in {len(formats)}")
    return formats[0]


def _by_extension(location: Location) -> str | None:
    """The format that a target's extension names."""
    name = basename(_path(location)).lower()
    if "." not in name or name.endswith((".dcm", ".zip")):
        return None
    for format, guest in registry.guests().items():
        if _as_file(location, getattr(guest, "extensions", ())) is not None:
            return format
    return None


def _path(location: Location) -> str:
    if location.scheme != "zip":
        return location.path
    return location.selections[0] if len(location.selections) == 1 else ""


def _as_file(location: Location, extensions: Sequence[str]) -> _File | None:
    """A target that is one file of a format, by its extension; None for a directory."""
    path = _path(location)
    known = sorted((e for e in extensions if path.lower().endswith(e)), key=len)
    if not known or (location.scheme == "file" and os.path.isdir(path)):
        return None
    extension = path[len(path) - len(known[-1]) :]
    stem = basename(path)[: -len(extension)]
    if not stem:
        return None
    folder = dirname(path)
    if location.scheme == "zip":
        directory = replace(location, selections=(folder,) if folder else ())
    else:
        directory = replace(location, path=folder or os.curdir)
    return _File(directory, stem, extension)


def _names(count: int, taken: frozenset[str]) -> list[str]:
    """As many file names as instances, in their order, none of them taken."""
    start = 1
    while any(f"IM{number:05d}.dcm" in taken for number in range(start, start + count)):
        used = [int(name[2:-4]) for name in taken if _numbered(name)]
        start = max(used, default=0) + 1
    return [f"IM{number:05d}.dcm" for number in range(start, start + count)]


def _numbered(name: str) -> bool:
    return name.startswith("IM") and name.endswith(".dcm") and name[2:-4].isdigit()
