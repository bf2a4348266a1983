"""What is to be stored: instances as blobs, their encoded data sets, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeAlias

from ..blob import read_fully
from ..blob_pieces import held
from ..errors import DicomError, TooLargeError
from ._dicom_association import Proposal
from ._dicom_dimse import C_STORE_RQ, SUCCESS
from ._dicom_meta import Meta, read_meta
from ._dicom_pynetdicom import MOST_CONTEXTS
from ._dicom_status import is_warning, status_words

if TYPE_CHECKING:
    from ..blob import Blob
    from ._dicom_store_parents import Parents

__all__ = [
    "COMMITMENT",
    "DICOMDIR",
    "NATIVE",
    "Instance",
    "Kind",
    "Outcomes",
    "Stored",
    "Transcode",
    "encoded",
    "identify",
    "proposals_for",
]

COMMITMENT: Final = "1.2.840.10008.1.20.1"  # Storage Commitment Push Model
DICOMDIR: Final = "1.2.840.10008.1.3.10"  # Media Storage Directory Storage
# What an instance can be transcoded to: Explicit, Implicit VR Little Endian.
NATIVE: Final = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
_CHUNK: Final = 1 << 20  # bytes that are read at a time

Kind: TypeAlias = tuple[str, str]  # SOP class and transfer syntax UID
Transcode: TypeAlias = "Callable[[Blob, str], Blob]"
"""Makes of an instance a Part 10 file in an uncompressed transfer syntax (its UID). Blocking."""


@dataclass(slots=True, eq=False)
class Instance:
    """One of a call: its place among them, its bytes, and what these say once they were read."""

    number: int
    blob: Blob
    meta: Meta | None = None
    parents: Parents | None = None
    retried: bool = False

    @property
    def name(self) -> str:
        """Its SOP Instance UID; the name of its file as long as that is not known."""
        return self.blob.name if self.meta is None else self.meta.sop_instance


@dataclass(frozen=True, slots=True)
class Stored:
    """What is remembered of a stored instance; its bytes are not."""

    number: int
    name: str
    sop_class: str
    size: int
    parents: Parents | None


@dataclass(slots=True, eq=False)
class Outcomes:
    """What has become of the instances of a call, and what was learned of the peer meanwhile.

    Attributes:
        stored: those that the peer has said it has stored.
        failed: names and reasons of those that it has not.
        warnings: of instances that are stored, but not quite as they were sent.
        skipped: names of files that are DICOM, but no instances: directories of media.
        kinds: all that came up so far, in their order.
        refused: why kinds are of no use to the peer.
        broken: associations that broke one after the other, without an answer in between.
    """

    stored: list[Stored] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    kinds: dict[Kind, None] = field(default_factory=dict)
    refused: dict[Kind, str] = field(default_factory=dict)
    broken: int = 0

    def answered(self, instance: Instance, status: int) -> None:
        """The peer says what it has done."""
        words = status_words(status, C_STORE_RQ)
        if status != SUCCESS and not is_warning(status):
            self.fail(instance, words)
            return
        assert instance.meta is not None
        told = instance.meta.sop_instance, instance.meta.sop_class, instance.blob.size
        self.stored.append(Stored(instance.number, *told, instance.parents))
        if status != SUCCESS:
            self.warnings.append(f"{instance.name}: {words}")

    def known(self) -> list[Kind]:
        """The kinds that may be of use to the peer."""
        return [kind for kind in list(self.kinds) if kind not in self.refused]

    def fail(self, instance: Instance, why: str | Exception) -> None:
        """It is not stored."""
        self.failed.append((instance.name, str(why)))


def identify(instance: Instance, transcode: Transcode | None) -> Kind:
    """Read which instance it is; what has no file meta information gets some. Blocking.

    Raises:
        SeriesIOError: it is no DICOM file, is damaged, or cannot be read.
    """
    if instance.meta is None:
        try:
            instance.meta = read_meta(instance.blob)
        except (DicomError, TooLargeError):
            if transcode is None:
                raise
            instance.blob = transcode(instance.blob, NATIVE[0])
            instance.meta = read_meta(instance.blob)
    return instance.meta.sop_class, instance.meta.transfer_syntax


def proposals_for(
    first: Sequence[Kind], known: Sequence[Kind]
) -> tuple[list[Proposal], frozenset[Kind]]:
    """Presentation contexts for kinds of instances, and the kinds that these are enough for.

    One for each SOP class and transfer syntax of an instance, and for what it can be transcoded
    to; at most 127, those of the ``first`` kinds before the others. That leaves one of 128 (PS3.8
    section 9.3.2.2), for :data:`COMMITMENT`.
    """
    pairs: dict[Kind, None] = {}
    covered: list[Kind] = []
    for sop_class, syntax in dict.fromkeys([*first, *known]):
        wanted = {(sop_class, one): None for one in (syntax, *NATIVE)}
        if len(pairs | wanted) < MOST_CONTEXTS:
            pairs |= wanted
            covered.append((sop_class, syntax))
    return [Proposal(sop_class, (syntax,)) for sop_class, syntax in pairs], frozenset(covered)


def encoded(blob: Blob, start: int) -> Iterator[memoryview]:
    """The data set of an instance, in pieces: what is in memory as it is, else as it is read.

    The first piece is read before this returns. Blocking.

    Raises:
        TransportError: it cannot be read, or ends early; later ones as they are asked for.
    """
    pieces = held(blob)
    views = _behind(pieces, start) if pieces is not None else _read(blob, start)
    first = next(views, None)
    return views if first is None else chain((first,), views)


def _behind(pieces: Sequence[memoryview], start: int) -> Iterator[memoryview]:
    for piece in pieces:
        if piece.nbytes > start:
            yield piece[start:]
        start = max(start - piece.nbytes, 0)


def _read(blob: Blob, start: int) -> Iterator[memoryview]:
    reader = blob.open()
    try:
        for place in range(start, blob.size, _CHUNK):
            chunk = memoryview(bytearray(min(_CHUNK, blob.size - place)))
            read_fully(reader, chunk, place, blob.name)
            yield chunk
    finally:
        reader.close()
