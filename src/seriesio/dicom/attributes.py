"""Reading the attributes of a series and of its instances: raw bytes, decoded on demand."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..errors import DicomError, HeaderError
from .instance import SERIES_UID, SOP_UID, Instance, NewUIDs, as_dataset
from .keywords import keyword_for, tag_for
from .part10 import PIXEL_TAGS
from .places import Indices, Places, instances_at
from .splice import Change, splice

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from .raw import RawHeader
    from .volume import Volume

__all__ = [
    "NO_HEADER",
    "SERIES_UID",
    "SOP_UID",
    "Attributes",
    "Instance",
    "Name",
    "NewUIDs",
    "as_tag",
    "nowhere",
]

NO_HEADER: Final = "this series has no DICOM header: template= gives it one"

Name: TypeAlias = "str | int | tuple[int, int]"

_SHARED_GROUPS, _FRAME_GROUPS = 0x52009229, 0x52009230


class Attributes:
    """One set of attributes for each instance, in sorted order, with changes on top of them.

    An attribute is named by its DICOM keyword, by the camelCase of it, or by its tag as
    0xGGGGEEEE or (group, element). What is got is independent: changing it changes nothing.

    A series that was not read from DICOM has no instances; ``known`` are the attributes that
    its format tells of (keyword → value): they can be read, and nothing can be set.
    """

    __slots__ = (
        *("_common", "_functional", "_instances", "_known"),
        *("_own", "_places", "_uids", "_volume"),
    )

    def __init__(
        self, instances: Sequence[Instance], known: Mapping[str, Any] | None = None
    ) -> None:
        self._instances = tuple(instances)
        self._known = {as_tag(name): value for name, value in (known or {}).items()}
        self._common: dict[int, Change] = {}  # of all instances
        self._own: dict[int, dict[int, Change]] = {}  # of one; goes before what is common
        self._uids: NewUIDs | None = None
        self._functional: dict[int, tuple[Dataset, ...]] = {}
        self._places: Places | None = None
        self._volume: Callable[[], Volume | None] = nowhere

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
        if self._instances:
            return self._value(0, tag, default)
        return copy.deepcopy(self._known[tag]) if tag in self._known else default

    @property
    def known(self) -> dict[str, Any]:
        """What is known of a series without a DICOM header: keyword → value."""
        return {keyword_for(tag): copy.deepcopy(value) for tag, value in self._known.items()}

    def why_missing(self, name: Name) -> str:
        """What to say of an attribute that is not there: the text of an error."""
        told = name if isinstance(name, str) else keyword_for(as_tag(name))
        return f"the series has no attribute {told!r}" + (
            "" if self._instances else f"; {NO_HEADER}"
        )

    def values(self, name: Name, where: Iterable[int] | None = None, **axes: Indices) -> list[Any]:
        """The value of every instance, or of those that are chosen; None where there is none.

        Instances are chosen by ``where`` (as the header counts them), or by the indices of the
        volume's axes: ``slices=[3]``, ``time=2``, ``te=slice(1, None)``.

        Raises:
            HeaderError: no such attribute exists in DICOM, or no such instance.
            DicomError: a damaged sequence.
        """
        tag = as_tag(name)
        return [self._value(index, tag, None) for index in self._chosen(where, axes)]

    def at(self, **axes: Indices) -> list[int]:
        """The instances at indices of the volume's axes, as the header counts them.

        Raises:
            HeaderError: no such axis or index.
        """
        return instances_at(self._places, axes)

    def attach(self, volume: Volume) -> None:
        """Learn which volume this is the header of: where instances lie, which axes follow."""
        if self._instances:
            self._places = Places.of(volume)
            self._volume = weakref.ref(volume)

    def _chosen(self, where: Iterable[int] | None, axes: Mapping[str, Indices]) -> Sequence[int]:
        """Instances by number, and by the indices of the volume's axes."""
        indices = self._indices(where)
        if not axes:
            return indices
        there = set(instances_at(self._places, axes))
        return [index for index in indices if index in there]

    def _indices(self, where: Iterable[int] | None) -> Sequence[int]:
        everywhere = range(len(self))
        if where is None:
            return everywhere
        return [self._check_index(index) for index in where]

    def _check_index(self, index: int) -> int:
        """A place counted from the beginning."""
        if not self._instances:
            raise HeaderError(NO_HEADER)
        try:
            return range(len(self))[index]
        except IndexError:
            raise HeaderError(f"the series has {len(self)} instances only") from None

    def __contains__(self, name: Name) -> bool:
        missing = object()
        return self.get(name, missing) is not missing

    def dataset(self, index: int) -> Dataset:
        """An instance's dataset with ``file_meta``, changes applied, without pixel data.

        It is the caller's own. Where there is no file meta information, ``file_meta`` holds
        just the transfer syntax.

        Raises:
            HeaderError: there is no such instance.
            DicomError: bytes that pydicom cannot take apart.
        """
        index = self._check_index(index)
        raw = self._instances[index].raw
        data = b"".join(splice(raw, self.changes(index)))
        return as_dataset(raw, data)

    def _value(self, index: int, tag: int, default: Any) -> Any:
        if (change := self._change(index, tag, ...)) is not ...:
            return _copier()(*change) if change is not None else default
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


def nowhere() -> None:
    """Where a header without a volume is."""


@cache
def _copier() -> Callable[[str, Any], Any]:
    """Imported late, as the decoder."""
    from .copies import copied

    return copied


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
