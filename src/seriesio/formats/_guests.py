"""Files of guest formats among blobs: found by their first bytes, read and written in threads."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from posixpath import basename, dirname, join
from typing import TYPE_CHECKING, Any, Final

from ..blob import Blob, FileBlob, read_at
from ..errors import SeriesIOError
from ..protocols import SeriesSummary
from ._imaging import image_of, volume_of
from .guest.dtype import converted

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from ..dicom.volume import Volume
    from ..offload import Workers
    from ..protocols import Guest
    from ..report import Report

__all__ = [
    "GuestFile",
    "completed_by",
    "encode_guest",
    "file_stem",
    "find_guests",
    "load_guest",
    "named",
]

_HEAD: Final = 1024
_FEW: Final = 8  # blobs that are sooner looked at than handed to several threads
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]+")
_NAME_LENGTH: Final = 80


@dataclass(frozen=True, slots=True, eq=False)
class GuestFile:
    """A file of a guest format and those companions of it that are there, by their names."""

    format: str
    guest: Guest
    name: str
    files: Mapping[str, Blob] = field(repr=False)

    @property
    def summary(self) -> SeriesSummary:
        """What a listing says of it: its name and format; nothing of it has been read."""
        return SeriesSummary("", None, self.name, self.format, len(self.files), 0, 0, 0)

    def __str__(self) -> str:
        return f"{self.name} ({self.format})"


async def find_guests(
    blobs: Sequence[Blob], guests: Callable[[], Mapping[str, Guest]], workers: Workers
) -> list[GuestFile]:
    """The guests among blobs of one source; what is a companion of one is none itself.

    ``guests``: gives the formats by name; called in a worker thread, since it may import them.

    Raises:
        TransportError: a blob can no longer be read.
    """
    if len(blobs) <= _FEW:
        return await workers.run(_found, blobs, guests)
    heads = await workers.map(_head, blobs)
    return await workers.run(_claimed, blobs, heads, guests)


def _found(blobs: Sequence[Blob], guests: Callable[[], Mapping[str, Guest]]) -> list[GuestFile]:
    """The guests among few blobs, with one hop to a thread."""
    return _claimed(blobs, [_head(blob) for blob in blobs], guests)


def _head(blob: Blob) -> bytes:
    """The first bytes of a blob; none of one that cannot be unpacked: nobody will claim it."""
    head = bytearray(min(blob.size, _HEAD))
    try:
        return bytes(head[: read_at(blob, memoryview(head))])
    except SeriesIOError:
        return b""


def _claimed(
    blobs: Sequence[Blob], heads: Sequence[bytes], known: Callable[[], Mapping[str, Guest]]
) -> list[GuestFile]:
    guests = known()
    there = {blob.name: blob for blob in blobs}
    found: list[GuestFile] = []
    taken: set[str] = set()
    for blob, head in zip(blobs, heads, strict=True):
        name = next((name for name in guests if head and guests[name].claims(blob.name, head)), "")
        if name:
            companions = dict(_companions(guests[name], blob, head, there))
            taken |= {companion.name for companion in companions.values()}
            found.append(GuestFile(name, guests[name], blob.name, {blob.name: blob, **companions}))
    return [file for file in found if file.name not in taken]


def _companions(
    guest: Guest, blob: Blob, head: bytes, there: Mapping[str, Blob]
) -> Iterator[tuple[str, Blob]]:
    """The companions that are there; from no other directory, whatever a header says."""
    for name in guest.companions(blob.name, head):
        last = basename(name)
        if last != name and name != join(dirname(blob.name), last):
            continue
        companion = there.get(join(dirname(blob.name), last)) or _beside(blob, last)
        if companion is not None and companion.name != blob.name:
            yield name, companion


def _beside(blob: Blob, name: str) -> Blob | None:
    """A file next to a local one, where only that one was asked for."""
    if not isinstance(blob, FileBlob) or os.path.basename(blob.path) != basename(blob.name):
        return None
    path = os.path.join(os.path.dirname(blob.path), name)
    try:
        size = os.stat(path).st_size
    except (OSError, ValueError):
        return None
    own = join(dirname(blob.name), name)
    return FileBlob(own, path, size) if os.path.isfile(path) else None


def completed_by(files: Sequence[GuestFile], others: Sequence[Blob]) -> list[GuestFile]:
    """The files with those companions that are among further blobs of the same source."""
    there = {blob.name: blob for blob in others}
    return [_completed(file, there) for file in files]


def _completed(file: GuestFile, there: Mapping[str, Blob]) -> GuestFile:
    blob = file.files[file.name]
    found = dict(_companions(file.guest, blob, _head(blob), there))
    return replace(file, files={**found, **file.files})


def named(files: Sequence[GuestFile], select: Mapping[str, Any] | None) -> list[GuestFile]:
    """Those that ``select`` asks for: by ``name``, the whole one or its last part."""
    if not select:
        return list(files)
    if set(select) != {"name"}:
        return []
    wanted = os.fspath(select["name"])
    whole = [file for file in files if file.name == wanted]
    return whole or [file for file in files if basename(file.name) == wanted]


def load_guest(
    file: GuestFile, options: Mapping[str, Any], report: Report, memory: int, dtype: DTypeLike
) -> Volume:
    """Read a file's volume; blocking. ``dtype``: of the array, None for the file's own.

    Raises:
        DataError, TooLargeError, TransportError, MissingDependencyError: as its format says.
        EncodeError: ``dtype`` does not hold the values.
    """
    image = file.guest.read(file.name, file.files, memory=memory, options=options)
    if dtype is not None:
        image = replace(image, array=converted(image.array, dtype, file.name, memory))
    told = replace(
        report,
        used=len(file.files),
        reason=f"a file of format {file.format}",
        notes=(*report.notes, *image.notes),
    )
    return volume_of(image, file.name, told)


def encode_guest(
    guest: Guest, volume: Volume, name: str, options: Mapping[str, Any], accept_uneven: bool
) -> Iterator[Blob]:
    """The files of a volume in a guest format.

    Raises:
        EncodeError: the format cannot hold it.
    """
    placed = getattr(guest, "placed", True)
    image = image_of(volume, accept_uneven=accept_uneven, placed=placed)
    return iter(guest.write(image, name, options=options))


def file_stem(volume: Volume) -> str:
    """A file name without extension, of the series' number and description; nothing else."""
    header = volume.header
    parts = [header.get("SeriesNumber"), header.get("SeriesDescription")]
    told = "_".join(_UNSAFE.sub("_", str(part)).strip("_") for part in parts if part is not None)
    return told.strip("_")[:_NAME_LENGTH] or "series"
