"""The attributes of a series and of its instances: kept raw, decoded on demand.

A header shares the raw bytes with its copies and keeps only what was changed. UIDs are honest:
the first change gives the series a new Series Instance UID and its instances new SOP Instance
UIDs, and so does the first change after a copy was taken or the series was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import uuid4

from ..errors import HeaderError
from .attributes import SERIES_UID, SOP_UID, Attributes, Instance, Name, NewUIDs, as_tag
from .fixed import (
    IMAGE_TYPE,
    check_groups,
    check_tiles,
    check_unfixed,
    is_group,
    is_of_tiles,
)
from .keywords import keyword_for
from .mosaic import is_mosaic
from .splice import Change, splice

__all__ = ["Header", "Instance", "Name"]

_CHARACTER_SET = 0x00080005
_NEEDED: Final = {0x00080016, SOP_UID, SERIES_UID, _CHARACTER_SET}


class Header(Attributes):
    """The attributes of a series: read, set and left out, with honest UIDs.

    See :class:`~seriesio.dicom.attributes.Attributes` for reading and for how they are named.
    """

    __slots__ = ("_claimed", "_settled")

    def __init__(self, instances: Sequence[Instance]) -> None:
        super().__init__(instances)
        # True while the present UIDs stand for something that others may have.
        self._settled = True
        # Who we are in NewUIDs.claims, until what we claim there has been handed out.
        self._claimed = object()

    def set(
        self, name: Name, value: Any, where: Iterable[int] | None = None, *, vr: str | None = None
    ) -> None:
        """Set an attribute of all instances, or of those in ``where``.

        The value is checked against its VR. Text is written in each instance's character set;
        where that has no place for it the instance changes to UTF-8, all its text with it.
        Setting the value that an attribute already has is no change. Attributes that give the
        array its values or the series its geometry are refused: they would contradict the
        series. The VR of a private
        element is that of pydicom's private dictionary, or ``vr``; its creator must be there.

        Raises:
            HeaderError: no such attribute, not one to be set, or a value that it cannot hold.
        """
        tag = self._settable(name)
        from . import assign

        indices = self._indices(where)
        vr = self._vr(tag, vr, indices)
        change = vr, assign.normalise(tag, vr, value)
        if not self._differing(tag, change, indices):
            return
        self._check_place(tag, change[1], indices)
        self._check_unique(tag, indices)
        with_text = self._with_text(tag, change, indices)
        self._check_encoding(tag, change, indices, with_text)
        self._apply(tag, change, None if where is None else indices)
        for index, changes in with_text.items():
            self._own.setdefault(index, {}).update(changes)
        self.renew_uids()

    def delete(self, name: Name, where: Iterable[int] | None = None) -> None:
        """Leave an attribute out, in all instances or in those in ``where``.

        Raises:
            HeaderError: no such attribute, or one that every instance needs.
        """
        tag = self._settable(name)
        if tag in _NEEDED:
            raise HeaderError(f"{keyword_for(tag)}: every instance needs it; set it instead")
        indices = self._indices(where)
        if any(self._has(index, tag) for index in indices):
            self._check_place(tag, None, indices)
            self._apply(tag, None, None if where is None else indices)
            self.renew_uids()

    @property
    def renewed(self) -> bool:
        """True if the UIDs are no longer those that were read."""
        return self._uids is not None

    def renew_uids(self) -> None:
        """New UIDs for what has changed; to be called when pixels change.

        Does nothing while nobody else can have the present ones. UIDs that were set stay.
        """
        if self._settled:
            self._uids = NewUIDs(uuid4(), range(len(self)))
            self._settled = False

    def claim(self, contents: Sequence[Any]) -> None:
        """Say what pixels each instance is about to be handed out with.

        New UIDs that others have claimed for other pixels, or that were handed out with other
        pixels, give way to newer ones; until then they stay as they were seen.
        """
        if self._uids is None:
            return
        if not self._free(self._uids, contents):
            self._settled = True
            self.renew_uids()
        claims = self._uids.claims
        for place, content in zip(self._uids.places, contents, strict=True):
            ours = place not in claims or claims[place][1] is self._claimed
            claims[place] = content, self._claimed if ours else None

    def _free(self, uids: NewUIDs, contents: Sequence[Any]) -> bool:
        held = (uids.claims.get(place) for place in uids.places)
        return all(
            claim is None or claim[0] == content or claim[1] is self._claimed
            for claim, content in zip(held, contents, strict=True)
        )

    def settle(self) -> None:
        """Say that the present UIDs were handed out: the next change will bring new ones."""
        self._settled = True
        self._claimed = object()  # what was claimed can no longer be claimed for something else

    def _settable(self, name: Name) -> int:
        """The tag of an attribute that may be changed at the top level."""
        tag = as_tag(name)
        check_unfixed(tag)
        for index in range(min(len(self), 1)):
            if not self._has(index, tag) and self._functional_value(index, tag, ...) is not ...:
                raise HeaderError(
                    f"{keyword_for(tag)}: lies in the functional groups of multi-frame instances: "
                    "set SharedFunctionalGroupsSequence or PerFrameFunctionalGroupsSequence"
                )
        return tag

    def _check_place(self, tag: int, value: Any, indices: Sequence[int]) -> None:
        """Refuse what would contradict the array or where it is, by the instances' contents."""
        if is_group(tag):
            for index in indices:
                check_groups(tag, self._value(index, tag, None), value)
        elif is_of_tiles(tag):
            # What was read still holds: no change makes a mosaic of another image.
            raws = (self._instances[index].raw for index in indices)
            for tiled in {is_mosaic(raw.raw(IMAGE_TYPE)) for raw in raws}:
                check_tiles(tag, tiled, value)

    def _indices(self, where: Iterable[int] | None) -> Sequence[int]:
        everywhere = range(len(self))
        try:
            return everywhere if where is None else [everywhere[index] for index in where]
        except IndexError:
            raise HeaderError(f"the series has {len(self)} instances only") from None

    def _has(self, index: int, tag: int) -> bool:
        change = self._change(index, tag, ...)
        return tag in self._instances[index].raw.layout.lookup if change is ... else bool(change)

    def _vr(self, tag: int, asked: str | None, indices: Sequence[int]) -> str:
        """The VR that an element is to have."""
        from . import vr as representations

        standard = representations.dictionary_vr(tag).split(" or ")
        present = self._present_vr(tag, indices)
        if standard == [""]:
            creator = self._creator(tag, indices) if tag >> 16 & 1 else ""
            known = asked or present or representations.private_vr(tag, creator)
        elif asked is not None and asked not in standard:
            raise HeaderError(f"{keyword_for(tag)}: has VR {' or '.join(standard)}, not {asked}")
        else:
            known = asked or (present if present in standard else " or ".join(standard))
        if indices:
            known = representations.resolve(known, self._instances[indices[0]].raw)
        if known not in representations.KNOWN:
            raise HeaderError(f"{keyword_for(tag)}: of unknown value representation: give vr=")
        return known

    def _present_vr(self, tag: int, indices: Sequence[int]) -> str:
        """The VR that an element has in the first instance; "" where that is not known."""
        from . import vr as representations

        for index in indices[:1]:
            if (change := self._change(index, tag, ...)) is not ...:
                return str(change[0]) if change is not None else ""
            raw = self._instances[index].raw
            if tag in raw.layout.lookup and (found := representations.vr_in(raw, tag)) != "UN":
                return found
        return ""

    def _creator(self, tag: int, indices: Sequence[int]) -> str:
        """The private creator of an element's block (PS3.5 section 7.8.1)."""
        from . import vr as representations

        block = representations.creator_tag(tag)
        names = {str(self._value(index, block, "") or "") for index in indices}
        if "" in names or len(names) > 1:
            raise HeaderError(
                f"{keyword_for(tag)}: needs one private creator in all instances: set "
                f"{keyword_for(block)} first"
            )
        return names.pop() if names else ""

    def _differing(self, tag: int, change: tuple[str, Any], indices: Sequence[int]) -> list[int]:
        """The instances that do not have the value yet."""
        verdicts: dict[tuple[str, bytes], bool] = {}
        return [
            index
            for index in indices
            if not self._has(index, tag) or not self._equals(index, tag, change, verdicts)
        ]

    def _equals(
        self,
        index: int,
        tag: int,
        change: tuple[str, Any],
        verdicts: dict[tuple[str, bytes], bool],
    ) -> bool:
        """True if an instance has the value; equal bytes are decoded once."""
        from . import values
        from . import vr as representations

        vr, value = change
        present = self._change(index, tag, ...)
        if present is not ...:
            return bool(present[0] == vr and values.same(present[1], value))
        raw = self._instances[index].raw
        key = representations.vr_in(raw, tag), bytes(raw.raw(tag) or b"")
        if key not in verdicts:
            verdicts[key] = key[0] == vr and values.same(values.decode(raw, tag), value)
        return verdicts[key]

    def _check_unique(self, tag: int, indices: Sequence[int]) -> None:
        if tag == SOP_UID and len(indices) > 1:
            raise HeaderError("SOPInstanceUID: one for each instance: set it with where=[index]")

    def _with_text(
        self, tag: int, change: tuple[str, Any], indices: Sequence[int]
    ) -> dict[int, Mapping[int, Change]]:
        """What else must change so that all text can be written, for each instance."""
        from . import assign, charset, transcode

        terms = change[1] if tag == _CHARACTER_SET else [charset.UTF8]
        terms = [terms] if isinstance(terms, str) else list(terms)
        if tag == _CHARACTER_SET and not all(map(charset.is_known, terms)):
            raise HeaderError("SpecificCharacterSet: not a defined term (PS3.3 C.12.1.1.2)")
        verdicts: dict[tuple[str, ...], bool] = {}
        found: dict[int, Mapping[int, Change]] = {}
        for index in indices:
            codecs = self._codecs(index)
            if codecs not in verdicts:
                verdicts[codecs] = tag != _CHARACTER_SET and assign.holds(*change, codecs)
            if not verdicts[codecs]:
                pending = {**self.changes(index, keep_uid=True), tag: change}
                found[index] = transcode.transcode(self._instances[index].raw, pending, terms)
        return found

    def _codecs(self, index: int) -> tuple[str, ...]:
        """The codecs of an instance's text, changes applied."""
        from . import values

        change = self._change(index, _CHARACTER_SET, None)
        return values.changed_codecs(self._instances[index].raw, change)

    def _check_encoding(
        self,
        tag: int,
        change: tuple[str, Any],
        indices: Sequence[int],
        with_text: Mapping[int, Mapping[int, Change]],
    ) -> None:
        """Encode once in each way that occurs: what fails then must not fail when writing."""
        tried = set()
        for index in indices:
            raw = self._instances[index].raw
            ours = self._change(index, _CHARACTER_SET, None)
            tags = {_CHARACTER_SET: ours} if ours is not None else {}
            way = raw.syntax, self._codecs(index), index in with_text
            if way not in tried:
                tried.add(way)
                splice(raw, {**tags, tag: change, **with_text.get(index, {})})

    def _apply(self, tag: int, change: Change, indices: Sequence[int] | None) -> None:
        if indices is None:
            self._common[tag] = change
            for own in self._own.values():
                own.pop(tag, None)
        else:
            for index in indices:
                self._own.setdefault(index, {})[tag] = change
        self._functional = {}

    # --- deriving ---------------------------------------------------------------------------

    def copy(self) -> Header:
        """An independent header that shares only the raw bytes."""
        return self._derived(range(len(self)))

    def subset(self, indices: Iterable[int]) -> Header:
        """An independent header of some instances, in the order given; doubled ones get new UIDs.

        Raises:
            HeaderError: an index that does not exist.
        """
        chosen = self._indices(indices)
        header = self._derived(chosen)
        if len(set(chosen)) < len(chosen):
            header.renew_uids()
        return header

    def original_uids(self) -> Header:
        """An independent copy without the UIDs that changes have brought."""
        header = self.copy()
        header._uids = None
        return header

    def _derived(self, indices: Sequence[int]) -> Header:
        header = Header([self._instances[index] for index in indices])
        header._common = dict(self._common)
        header._own = {
            place: dict(self._own[index])
            for place, index in enumerate(indices)
            if index in self._own
        }
        if self._uids is not None:
            places = [self._uids.places[index] for index in indices]
            header._uids = NewUIDs(self._uids.base, places, self._uids.claims)
        self._settled = True  # from now on two headers have the present UIDs
        return header
