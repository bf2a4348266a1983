"""One instance as it was read, and the UIDs that changed ones get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from ..errors import DicomError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from .raw import RawHeader

__all__ = ["SERIES_UID", "SOP_UID", "Instance", "NewUIDs", "Source", "as_dataset"]

SERIES_UID, SOP_UID = 0x0020000E, 0x00080018


@dataclass(frozen=True, slots=True)
class Source:
    """An instance that pixels were computed from, with its series and study (UIDs).

    ``frames``: (frame computed, frame of the source) where one of both is multi-frame, counted
    from 0; None for a source that has but one. Empty for all of a source.
    """

    class_uid: str
    uid: str
    series: str
    study: str
    frames: tuple[tuple[int, int | None], ...] = ()

    def merged(self, other: Source | None) -> Source:
        """The same source for the frames of both."""
        if other is None or other.frames == self.frames:
            return self
        both = dict.fromkeys((*self.frames, *other.frames))
        return replace(self, frames=tuple(both) if self.frames and other.frames else ())


@dataclass(slots=True, eq=False)
class Instance:
    """One instance as it was read.

    ``raw`` is its header, ``tail`` what follows the pixel value in the file. ``encoded`` keeps
    the pixel value itself where the voxels cannot give it back (compressed, converted colour),
    ``whole`` the whole file where it is deflated. ``made`` is True if nobody has read it: made
    here, it is no source that a computed instance may refer to. ``sources`` are others than
    itself that its pixels were computed from.
    """

    raw: RawHeader
    tail: bytes = field(default=b"", repr=False)
    encoded: bytes | None = field(default=None, repr=False)
    whole: bytes | None = field(default=None, repr=False)
    made: bool = False
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class NewUIDs:
    """Fresh UIDs, made of UUIDs (PS3.5 section B.2); those of instances when asked for.

    ``claims`` is one for all headers that have the same ``base``: for places whose instances
    were handed out, the pixels that they had, and who did it.
    """

    base: UUID
    places: Sequence[int]
    claims: dict[int, tuple[Any, object]] = field(default_factory=dict, repr=False)

    @property
    def series(self) -> str:
        return f"2.25.{self.base.int}"

    def instance(self, index: int) -> str:
        return f"2.25.{uuid5(self.base, str(self.places[index])).int}"


def as_dataset(raw: RawHeader, data: bytes) -> Dataset:
    """A header's bytes, changed or not, as pydicom has them.

    Raises:
        DicomError: bytes that pydicom cannot take apart.
    """
    from pydicom.dataset import FileMetaDataset
    from pydicom.filereader import read_dataset
    from pydicom.uid import UID

    from .values import BROKEN

    pixel = raw.data.nbytes - int(raw.starts[-1]) if raw.has_pixels else 0
    stream = BytesIO(data[: len(data) - pixel])
    try:
        stream.seek(int(raw.starts[0]) if raw.meta_end else 0)
        meta = FileMetaDataset()
        if raw.meta_end:
            meta = FileMetaDataset(read_dataset(stream, False, True, stop_when=_behind_meta))
        dataset = read_dataset(stream, raw.syntax.implicit, raw.syntax.little)
        if "TransferSyntaxUID" not in meta:
            meta.TransferSyntaxUID = UID(raw.syntax.uid)
    except BROKEN:
        raise DicomError("a header that cannot be taken apart") from None
    dataset.file_meta = meta
    return dataset


def _behind_meta(tag: int, vr: str | None, length: int) -> bool:
    return tag >> 16 != 2
