"""The one async read/write protocol, and the small values that travel around it.

No behaviour lives here. A transport implements those of :class:`Source`, :class:`Sink` and
:class:`Catalogue` that it can; it knows nothing of DICOM. A :class:`Format` turns blobs into
series and back; it knows nothing of where they come from.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .blob import Blob
    from .dicom.options import PlanOptions
    from .dicom.volume import Volume
    from .errors import SeriesIOError
    from .formats.image import Image
    from .offload import Workers
    from .progress import ProgressCallback

__all__ = [
    "Catalogue",
    "Entry",
    "Format",
    "Guest",
    "Inventory",
    "Receipt",
    "SeriesSummary",
    "Sink",
    "Source",
    "Transport",
]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that a catalogue lists.

    ``url`` can be opened or listed again; ``kind`` is the transport's own noun for it
    ("file", "directory", "series" …); ``attributes`` hold what the catalogue says of it.
    """

    url: str
    name: str
    kind: str
    size: int | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a write has stored: where, under which names, how many, how many bytes.

    ``skipped`` names what a copy has left out since it is no run of bytes of its own: FIFOs,
    sockets, broken links, further names of a file.
    """

    url: str
    names: tuple[str, ...]
    count: int
    size: int
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SeriesSummary:
    """What a listing says of one series: enough to choose, nothing of the patient."""

    series_instance_uid: str
    series_number: int | None
    series_description: str
    modality: str
    instances: int
    frames: int
    rows: int
    columns: int

    def __str__(self) -> str:
        number = "-" if self.series_number is None else self.series_number
        return (
            f"{number}: {self.series_description or '(no description)'} [{self.modality or '?'}] "
            f"{self.instances} instances, {self.frames} frames of {self.rows}x{self.columns}, "
            f"{self.series_instance_uid}"
        )


@runtime_checkable
class Source(Protocol):
    """Where blobs come from.

    ``skipped`` names, once all blobs are read, what is there but is no readable run of bytes,
    each with a reason.
    """

    @property
    def skipped(self) -> Sequence[tuple[str, str]]: ...

    def read(self) -> AsyncIterator[Blob]:
        """Yield every blob behind the location, each once.

        Raises:
            NotFoundError: nothing is there.
            TransportError: it is there and cannot be read.
        """
        ...


@runtime_checkable
class Sink(Protocol):
    """Where blobs go."""

    async def taken(self) -> frozenset[str]:
        """The names that are there already; none where the target is still to be made."""
        ...

    async def write(self, blobs: AsyncIterable[Blob], *, overwrite: bool = False) -> Receipt:
        """Store every blob under its name; whole or not at all, each of them.

        Raises:
            TargetExistsError: a name is taken and ``overwrite`` is false.
            TransportError: the other side did not take the bytes.
        """
        ...


@runtime_checkable
class Catalogue(Protocol):
    """What a location holds, without reading it."""

    def list(self) -> AsyncIterator[Entry]:
        """Yield what is directly below the location.

        Raises:
            NotFoundError: nothing is there.
        """
        ...


class Transport(Source, Sink, Catalogue, Protocol):
    """What a scheme's transport can be asked for; what it cannot do it refuses with an error."""


class Inventory(Protocol):
    """What a format has found in blobs: series by UID, what was skipped, what is damaged."""

    @property
    def blobs(self) -> Sequence[Blob]:
        """The images, by row."""
        ...

    @property
    def skipped(self) -> dict[str, list[str]]: ...

    @property
    def failed(self) -> list[tuple[str, SeriesIOError]]: ...

    @property
    def found(self) -> int: ...

    @property
    def images(self) -> int: ...

    def group(self, options: PlanOptions) -> None:
        """Say what makes a series: its UID, unless the options split or join them."""
        ...

    def select(self, select: Mapping[str, Any] | None) -> Mapping[str, NDArray[np.intp]]:
        """The series (UID → instances) whose attributes have the selected values."""
        ...

    def summary(self, uid: str, rows: NDArray[np.intp]) -> SeriesSummary: ...

    def close(self) -> None: ...


class Format(Protocol):
    """Blobs to volumes and back."""

    async def scan(
        self,
        blobs: AsyncIterable[Blob],
        workers: Workers,
        progress: ProgressCallback | None = None,
        *,
        memory: int = 0,
    ) -> Inventory:
        """Look at every blob, as far as it takes to know which series it belongs to.

        ``memory``: bytes that may be taken for the pixels of one series before it is loaded.
        """
        ...

    async def load(
        self,
        inventory: Any,
        rows: NDArray[np.intp],
        options: PlanOptions,
        workers: Workers,
        *,
        memory: int,
        progress: ProgressCallback | None = None,
    ) -> Volume:
        """Fill the volume of one series.

        Raises:
            SeriesError, DataError, TransportError: it is not whole, or not readable.
        """
        ...

    def encode(
        self,
        volume: Volume,
        prints: NDArray[np.uint64],
        names: Sequence[str],
        keep_uid: bool,
        workers: Workers,
    ) -> AsyncIterator[Blob]:
        """Yield the files of a volume under the given names.

        Raises:
            EncodeError, HeaderError: the format cannot hold it.
        """
        ...


class Guest(Protocol):
    """A format without DICOM's header: a file, or one with companions, holds one volume.

    Blocking and without state: its calls run in worker threads. Entry points of the group
    ``seriesio.formats`` name classes that are made without arguments.

    A guest may have, as attributes of its class, what it takes (where it says nothing it gets
    all options and judges them itself):

    - ``extensions``: of its main file, as ``(".nii", ".nii.gz")``. A target with one of them is
      a file: ``write`` gets its name without it, and ``options["extension"]`` is what it was;
    - ``read_options``, ``write_options``: names of the options that they take; ``rescale`` and
      ``dtype`` among them are those of ``open``;
    - ``placed``: False if it keeps no place: uneven slices are no error then.
    """

    def claims(self, name: str, head: bytes) -> bool:
        """Is a file of this format, by its first 1024 bytes? The name decides only in doubt."""
        ...

    def companions(self, name: str, head: bytes) -> Sequence[str]:
        """Names of further files in the same directory that would belong to this one.

        ``files`` of :meth:`read` has those that are there, by the names given here.
        """
        ...

    def read(
        self,
        name: str,
        files: Mapping[str, Blob],
        *,
        memory: int,
        options: Mapping[str, Any],
    ) -> Image:
        """Read the volume of a file; ``files`` holds it and those companions that are there.

        ``memory``: bytes that the volume may take; ``options`` are the format's own.

        Raises:
            DataError: damaged, cut, or not what its header says; names the file.
            TooLargeError: more than ``memory``.
            MissingDependencyError: says what to install.
        """
        ...

    def write(self, image: Image, name: str, *, options: Mapping[str, Any]) -> Iterable[Blob]:
        """The files of a volume; ``name`` is that of the main one without its extension.

        Raises:
            EncodeError: the format cannot hold it.
            MissingDependencyError: says what to install.
        """
        ...
