"""Reading the attributes of a series and of its instances: raw bytes, decoded on demand."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID, uuid5

from ..errors import DicomError, HeaderError
from .keywords import tag_for
from .part10 import PIXEL_TAGS
from .splice import Change, splice

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from .part10 import RawHeader

__all__ = ["SERIES_UID", "SOP_UID", "Attributes", "Instance", "Name", "NewUIDs", "as_tag"]

Name: TypeAlias = "str | int | tuple[int, int]"

SERIES_UID, SOP_UID = 0x0020000E, 0x00080018
_SHARED_GROUPS, _FRAME_GROUPS = 0x52009229, 0x52009230


@dataclass(slots=True, eq=False)
class Instance:
    """One instance as it was read.

    ``raw`` is its header, ``tail`` what follows the pixel value in the file. ``encoded`` keeps
    the pixel value itself where the voxels cannot give it back (compressed, converted colour),
    ``whole`` the whole file where it is deflated.
    """

    raw: RawHeader
    tail: bytes = field(default=b"", repr=False)
    encoded: bytes | None = field(default=None, repr=False)
    whole: bytes | None = field(default=None, repr=False)


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


class Attributes:
    """One set of attributes for each instance, in sorted order, with changes on top of them.

    An attribute is named by its DICOM keyword, by the camelCase of it, or by its tag as
    0xGGGGEEEE or (group, element). What is got is independent: changing it changes nothing.
    """

    __slots__ = ("_common", "_functional", "_instances", "_own", "_uids")

    def __init__(self, instances: Sequence[Instance]) -> None:
        self._instances = tuple(instances)
        self._common: dict[int, Change] = {}  # of all instances
        self._own: dict[int, dict[int, Change]] = {}  # of one; goes before what is common
        self._uids: NewUIDs | None = None
        self._functional: dict[int, tuple[Dataset, ...]] = {}

    def __len__(self) -> int:
        return len(self._instances)

    def __repr__(self) -> str:
        return f"<Header of {len(self)} instances{', changed' if self.changed else ''}>"

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The instances as they were read, in sorted order."""
        return self._instances

    @property
    def changed(self) -> bool:
        """True if it differs from what was read."""
        return bool(self._common or self._own or self._uids)

    def get(self, name: Name, default: Any = None) -> Any:
        """The first instance's value as pydicom gives it, ``default`` where there is none.

        What is not at the top level is looked for in the shared functional groups, then in
        those of the first frame (PS3.3 section C.7.6.16).

        Raises:
            HeaderError: no such attribute exists in DICOM.
            DicomError: a damaged sequence.
        """
        tag = as_tag(name)
        return self._value(0, tag, default) if self._instances else default

    def values(self, name: Name) -> list[Any]:
        """The value of every instance, None where there is none.

        Raises:
            HeaderError: no such attribute exists in DICOM.
            DicomError: a damaged sequence.
        """
        tag = as_tag(name)
        return [self._value(index, tag, None) for index in range(len(self))]

    def __contains__(self, name: Name) -> bool:
        missing = object()
        return self.get(name, missing) is not missing

    def dataset(self, index: int) -> Dataset:
        """An instance's dataset with ``file_meta``, changes applied, without pixel data.

        It is the caller's own. Where there is no file meta information, ``file_meta`` holds
        just the transfer syntax.

        Raises:
            DicomError: bytes that pydicom cannot take apart.
        """
        raw = self._instances[index].raw
        data = b"".join(splice(raw, self.changes(range(len(self))[index])))
        return _dataset(raw, data)

    def _value(self, index: int, tag: int, default: Any) -> Any:
        if (change := self._change(index, tag, ...)) is not ...:
            return copy.deepcopy(change[1]) if change is not None else default
        raw = self._instances[index].raw
        if tag in raw.layout.lookup and tag not in PIXEL_TAGS:
            return _decoder()(raw, tag)
        return self._functional_value(index, tag, default)

    def _change(self, index: int, tag: int, default: Any) -> Any:
        """What an element of an instance was changed to: (VR, value), None, or ``default``."""
        own = self._own.get(index)
        if own is not None and tag in own:
            return own[tag]
        if tag in self._common:
            return self._common[tag]
        if self._uids is not None and tag == SERIES_UID:
            return "UI", self._uids.series
        if self._uids is not None and tag == SOP_UID:
            return "UI", self._uids.instance(index)
        return default

    # --- functional groups --------------------------------------------------------------------

    def _functional_value(self, index: int, tag: int, default: Any) -> Any:
        for item in self._functional_groups(index):
            if (value := _search(item, tag)) is not None:
                return copy.deepcopy(value)
        return default

    def _functional_groups(self, index: int) -> tuple[Dataset, ...]:
        """The shared functional groups, and those of the first frame."""
        if index not in self._functional:
            found = (self._first_item(index, tag) for tag in (_SHARED_GROUPS, _FRAME_GROUPS))
            self._functional[index] = tuple(item for item in found if item is not None)
        return self._functional[index]

    def _first_item(self, index: int, tag: int) -> Dataset | None:
        change = self._change(index, tag, ...)
        if change is not ...:
            return change[1][0] if change is not None and change[1] else None
        raw = self._instances[index].raw
        if tag not in raw.layout.lookup:
            return None
        from . import values

        return values.first_item(raw, tag)

    # --- changes ------------------------------------------------------------------------------

    def changes(self, index: int, keep_uid: bool = False) -> dict[int, Change]:
        """The changes of an instance, for the splicer: tag → (VR, value), None to leave it out.

        ``keep_uid`` leaves out the UIDs that changes have brought, not those that were set.
        """
        merged = {**self._common, **self._own.get(index, {})}
        if self._uids is not None and not keep_uid:
            merged.setdefault(SERIES_UID, ("UI", self._uids.series))
            merged.setdefault(SOP_UID, ("UI", self._uids.instance(index)))
        return merged


@cache
def _decoder() -> Callable[[RawHeader, int], Any]:
    """Imported late: opening a series needs no pydicom."""
    from .values import decode

    return decode


def as_tag(name: Name) -> int:
    """The tag of a name or number as 0xGGGGEEEE.

    Raises:
        HeaderError: there is no such attribute.
    """
    if isinstance(name, str):
        tag = tag_for(name)
        if tag is None:
            raise HeaderError(f"{name!r} is not an attribute of DICOM")
        return tag
    if isinstance(name, tuple):
        name = name[0] << 16 | name[1]
    if not 0 <= name <= 0xFFFFFFFF:
        raise HeaderError(f"{name:#x} is not a tag")
    return int(name)


def _search(item: Dataset, tag: int) -> Any:
    """The value of an element of functional groups, or of one of their macros."""
    from .values import BROKEN

    try:
        if tag in item:
            return item[tag].value
        macros = (element.value[0] for element in item if element.VR == "SQ" and element.value)
        return next((macro[tag].value for macro in macros if tag in macro), None)
    except BROKEN:
        raise DicomError("functional groups that cannot be taken apart") from None


def _dataset(raw: RawHeader, data: bytes) -> Dataset:
    """A header's bytes, changed or not, as pydicom has them."""
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
