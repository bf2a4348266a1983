"""What is checked before an attribute is set: the tag, its place, its VR, its characters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import HeaderError
from .attributes import NO_HEADER, SOP_UID, Attributes, Name, as_tag
from .fixed import IMAGE_TYPE, GroupCheck, check_tiles, check_unfixed, is_group, is_of_tiles
from .keywords import keyword_for
from .mosaic import is_mosaic
from .splice import Change, encoded

__all__ = ["CHARACTER_SET", "Checks", "Setting"]

CHARACTER_SET = 0x00080005
Setting = tuple[str, Any]


class Checks(Attributes):
    """Attributes that know what may be done to them."""

    __slots__ = ()

    def _settable(self, name: Name) -> int:
        """The tag of an attribute that may be changed at the top level."""
        tag = as_tag(name)
        if not self._instances:
            raise HeaderError(f"{keyword_for(tag)}: cannot be set: {NO_HEADER}")
        check_unfixed(tag)
        if not self._has(0, tag) and self._functional_value(0, tag, ...) is not ...:
            raise HeaderError(
                f"{keyword_for(tag)}: lies in the functional groups of multi-frame instances: "
                "set SharedFunctionalGroupsSequence or PerFrameFunctionalGroupsSequence"
            )
        return tag

    def _check_place(
        self, tag: int, values: Sequence[Any], indices: Sequence[int], seen: dict[int, Any]
    ) -> None:
        """Refuse what would contradict the array or where it is, by the instances' contents."""
        if is_group(tag):
            check = GroupCheck(tag, () if self._places is None else self._places.names)
            for index, value in zip(indices, values, strict=True):
                check(self._present(index, tag, seen), value)
        elif is_of_tiles(tag):
            # What was read still holds: no change makes a mosaic of another image.
            raws = [self._instances[index].raw for index in indices]
            tiled = [is_mosaic(raw.raw(IMAGE_TYPE)) for raw in raws]
            pairs = zip(tiled, values, strict=True)
            different = {(one, id(value)): (one, value) for one, value in pairs}
            for one, value in different.values():
                check_tiles(tag, one, value)

    def _present(self, index: int, tag: int, seen: dict[int, Any]) -> Any:
        """The value of an element, to be looked at only: no copy, and decoded once."""
        change = self._change(index, tag, ...)
        if change is not ...:
            return None if change is None else change[1]
        if index not in seen:
            seen[index] = self._value(index, tag, None)
        return seen[index]

    def _check_unique(self, tag: int, values: Sequence[Any]) -> None:
        if tag == SOP_UID and len(set(map(str, values))) < len(values):
            raise HeaderError(
                "SOPInstanceUID: one for each instance: set it with where=[index] or each=[...]"
            )

    def _has(self, index: int, tag: int) -> bool:
        change = self._change(index, tag, ...)
        return tag in self._instances[index].raw.layout.lookup if change is ... else bool(change)

    # --- value representation and private blocks ----------------------------------------------

    def _vr(self, tag: int, asked: str | None, indices: Sequence[int], creator: str | None) -> str:
        """The VR that an element is to have."""
        from . import vr as representations

        standard = representations.dictionary_vr(tag).split(" or ")
        present = self._present_vr(tag, indices)
        if standard == [""]:
            if tag >> 16 & 1 and creator is None:
                creator = self._creator(tag, indices)
            known = asked or present or representations.private_vr(tag, creator or "")
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
        names = self._creators(block, indices)
        if "" in names or len(names) > 1:
            raise HeaderError(
                f"{keyword_for(tag)}: needs one private creator in all instances: give creator=, "
                f"or set {keyword_for(block)} first"
            )
        return names.pop() if names else ""

    def _creators(self, block: int, indices: Sequence[int]) -> set[str]:
        return {str(self._value(index, block, "") or "") for index in indices}

    def _block(self, tag: int, creator: str, indices: Sequence[int]) -> int | None:
        """The tag of the creator that is still to be set for a private element, if any.

        Raises:
            HeaderError: it is no private element, or its block is another creator's.
        """
        from . import vr as representations

        if not tag >> 16 & 1 or tag & 0xFFFF < 0x1000:
            raise HeaderError(
                f"{keyword_for(tag)}: creator= is for private elements, such as (0x0029, 0x1010)"
            )
        block = representations.creator_tag(tag)
        names = self._creators(block, indices)
        if names - {"", creator}:
            first = tag & 0xFFFF0000
            free = (number for number in range(0x10, 0x100))
            found = next((n for n in free if self._creators(first | n, indices) <= {""}), None)
            told = "" if found is None else f"; {found:02X}xx is free"
            raise HeaderError(f"{keyword_for(tag)}: its block has another creator{told}")
        return block if "" in names else None

    # --- characters and bytes -----------------------------------------------------------------

    def _with_text(
        self, tag: int, settings: Sequence[Setting], indices: Sequence[int]
    ) -> dict[int, Mapping[int, Change]]:
        """What else must change so that all text can be written, for each instance."""
        from . import charset, value_bytes
        from .transcode import Transcoder

        terms = settings[0][1] if tag == CHARACTER_SET and settings else [charset.UTF8]
        terms = [terms] if isinstance(terms, str) else list(terms)
        if tag == CHARACTER_SET and not all(map(charset.is_known, terms)):
            raise HeaderError("SpecificCharacterSet: not a defined term (PS3.3 C.12.1.1.2)")
        transcoder = Transcoder(terms)
        verdicts: dict[tuple[tuple[str, ...], int], bool] = {}
        found: dict[int, Mapping[int, Change]] = {}
        for index, setting in zip(indices, settings, strict=True):
            codecs = self._codecs(index)
            key = codecs, id(setting)
            if key not in verdicts:
                verdicts[key] = tag != CHARACTER_SET and value_bytes.holds(*setting, codecs)
            if not verdicts[key]:
                pending = {**self.changes(index, keep_uid=True), tag: setting}
                found[index] = transcoder.changes(self._instances[index].raw, pending)
        return found

    def _codecs(self, index: int) -> tuple[str, ...]:
        """The codecs of an instance's text, changes applied."""
        from . import values

        change = self._change(index, CHARACTER_SET, None)
        return values.changed_codecs(self._instances[index].raw, change)

    def _check_encoding(
        self,
        tag: int,
        settings: Sequence[Setting],
        indices: Sequence[int],
        with_text: Mapping[int, Mapping[int, Change]],
    ) -> None:
        """Encode once in each way that occurs: what fails then must not fail when writing."""
        tried = set()
        for index, setting in zip(indices, settings, strict=True):
            raw = self._instances[index].raw
            way = raw.syntax, self._codecs(index), index in with_text, id(setting)
            if way in tried:
                continue
            tried.add(way)
            ours = self._change(index, CHARACTER_SET, None)
            tags = {CHARACTER_SET: ours} if ours is not None else {}
            pending = {**tags, tag: setting, **with_text.get(index, {})}
            for each in pending:
                encoded(raw, each, pending)
