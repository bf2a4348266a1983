"""Setting attributes and leaving them out: for the series, for chosen instances, for each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ..errors import HeaderError
from .attributes import SERIES_UID, SOP_UID, Name
from .axis_values import followed
from .checks import CHARACTER_SET, Checks, Setting
from .keywords import keyword_for
from .places import Indices, Places, instances_along
from .splice import Change

if TYPE_CHECKING:
    from .sorting import Axis

__all__ = ["Editing"]

_NEEDED: Final = {0x00080016, SOP_UID, SERIES_UID, CHARACTER_SET}
_UNSET: Final[Any] = object()


class Editing(Checks):
    """Attributes that can be set.

    Instances are chosen by ``where`` (as the header counts them), or by the indices of the
    volume's axes: ``slices=[3]``, ``time=2``, ``te=slice(1, None)``.
    """

    __slots__ = ()

    @abstractmethod
    def renew_uids(self) -> None:
        """New UIDs for what has changed."""

    def set(
        self,
        name: Name,
        value: Any = _UNSET,
        where: Iterable[int] | None = None,
        *,
        each: Sequence[Any] | None = None,
        along: str | None = None,
        vr: str | None = None,
        creator: str | None = None,
        **axes: Indices,
    ) -> None:
        """Set an attribute of all instances, or of those that are chosen.

        The value is checked against its VR. Text is written in each instance's character set;
        where that has no place for it the instance changes to UTF-8, all its text with it.
        Setting the value that an attribute already has is no change. Attributes that give the
        array its values or the series its geometry are refused: they would contradict the
        series. An axis that has its values from the attribute gets the new ones.

        Args:
            name: keyword, camelCase or tag.
            value: what all chosen instances get. Sequences are lists of ``Dataset`` or of
                dicts by keyword; None is an empty value.
            where: instances, as the header counts them.
            each: instead of ``value``, one value for each chosen instance; or, with ``along``,
                one for each index of that axis.
            along: the name of an axis.
            vr: of a private element that pydicom's private dictionary does not know.
            creator: of a private element; its block is reserved where it is free.
            **axes: indices of the volume's axes by their names (``slices=[3], time=2``).

        Raises:
            HeaderError: no such attribute, not one to be set, or a value that it cannot hold.
        """
        tag = self._settable(name)
        indices = self._chosen(where, axes)
        block = None if creator is None else self._block(tag, creator, indices)
        vr = self._vr(tag, vr, indices, creator)
        settings = self._settings(tag, vr, value, each, along, indices)
        seen: dict[int, Any] = {}
        if not self._differing(tag, settings, indices, seen) and block is None:
            return
        self._check_place(tag, [setting[1] for setting in settings], indices, seen)
        self._check_unique(tag, [setting[1] for setting in settings])
        followed = self._followed(tag, indices, [setting[1] for setting in settings])
        with_text = self._with_text(tag, settings, indices)
        self._check_encoding(tag, settings, indices, with_text)
        if block is not None:
            self.set(block, creator, indices)
        if each is None and where is None and not axes:
            self._apply_to_all(tag, settings[0])
        else:
            self._apply(tag, settings, indices)
        for index, changes in with_text.items():
            self._own.setdefault(index, {}).update(changes)
        followed()
        self.renew_uids()

    def delete(self, name: Name, where: Iterable[int] | None = None, **axes: Indices) -> None:
        """Leave an attribute out, in all instances or in those that are chosen.

        Raises:
            HeaderError: no such attribute, or one that every instance or an axis needs.
        """
        tag = self._settable(name)
        if tag in _NEEDED:
            raise HeaderError(f"{keyword_for(tag)}: every instance needs it; set it instead")
        indices = self._chosen(where, axes)
        if not any(self._has(index, tag) for index in indices):
            return
        self._check_place(tag, [None] * len(indices), indices, {})
        followed = self._followed(tag, indices, [None] * len(indices))
        if where is None and not axes:
            self._apply_to_all(tag, None)
        else:
            self._apply(tag, [None] * len(indices), indices)
        followed()
        self.renew_uids()

    # --- what is chosen -----------------------------------------------------------------------

    def _settings(
        self,
        tag: int,
        vr: str,
        value: Any,
        each: Sequence[Any] | None,
        along: str | None,
        indices: Sequence[int],
    ) -> list[Setting]:
        """What each chosen instance gets; equal values are one object."""
        from . import assign

        if (value is _UNSET) == (each is None):
            raise HeaderError(f"{keyword_for(tag)}: give either a value or each=[...]")
        if each is None:
            return [(vr, assign.normalise(tag, vr, value))] * len(indices)
        settings = [(vr, assign.normalise(tag, vr, part)) for part in each]
        if along is not None:
            steps = instances_along(self._places, along)
            count = max(steps, default=-1) + 1
            if len(settings) != count:
                raise HeaderError(
                    f"{keyword_for(tag)}: the axis {along!r} has {count} indices, each= has "
                    f"{len(settings)} values"
                )
            return [settings[steps[index]] for index in indices]
        if len(settings) != len(indices):
            raise HeaderError(
                f"{keyword_for(tag)}: {len(indices)} instances are chosen, each= has "
                f"{len(settings)} values"
            )
        return settings

    def _differing(
        self,
        tag: int,
        settings: Sequence[Setting],
        indices: Sequence[int],
        seen: dict[int, Any],
    ) -> bool:
        """True if some instance does not have its value yet."""
        verdicts: dict[tuple[str, bytes, int], bool] = {}
        return not all(
            self._has(index, tag)
            and (
                self._same_items(index, tag, setting, seen)
                if setting[0] == "SQ"
                else self._equals(index, tag, setting, verdicts)
            )
            for index, setting in zip(indices, settings, strict=True)
        )

    def _same_items(self, index: int, tag: int, setting: Setting, seen: dict[int, Any]) -> bool:
        from .items import same_items

        return same_items(self._present(index, tag, seen), setting[1])

    def _equals(
        self,
        index: int,
        tag: int,
        setting: Setting,
        verdicts: dict[tuple[str, bytes, int], bool],
    ) -> bool:
        """True if an instance has the value; equal bytes are decoded once."""
        from . import values
        from . import vr as representations

        vr, value = setting
        present = self._change(index, tag, ...)
        if present is not ...:
            return bool(present[0] == vr and values.same(present[1], value))
        raw = self._instances[index].raw
        key = representations.vr_in(raw, tag), bytes(raw.raw(tag) or b""), id(setting)
        if key not in verdicts:
            verdicts[key] = key[0] == vr and values.same(values.decode(raw, tag), value)
        return verdicts[key]

    # --- what is done -------------------------------------------------------------------------

    def _followed(
        self, tag: int, indices: Sequence[int], values: Sequence[Any]
    ) -> Callable[[], None]:
        """What brings the volume's axes into line; to be called when all else has gone well.

        Raises:
            HeaderError: an axis would no longer tell its volumes apart.
        """
        places = self._places
        if places is None or places.leading < 2:
            return _nothing
        new = dict(zip(indices, values, strict=True))

        def after(other: int) -> list[Any]:
            found = self.values(other)
            return [new.get(i, was) for i, was in enumerate(found)] if other == tag else found

        axes = followed(places, tag, self.values, after)
        return _nothing if axes is None else partial(self._follow, axes)

    def _follow(self, axes: tuple[Axis, ...]) -> None:
        if (volume := self._volume()) is not None:
            volume.refresh(axes)
            self._places = Places.of(volume)

    def _apply_to_all(self, tag: int, change: Change) -> None:
        self._common[tag] = change
        for own in self._own.values():
            own.pop(tag, None)
        self._functional = {}

    def _apply(self, tag: int, changes: Sequence[Change], indices: Sequence[int]) -> None:
        for index, change in zip(indices, changes, strict=True):
            self._own.setdefault(index, {})[tag] = change
        self._functional = {}


def _nothing() -> None:
    """Nothing is to be done."""
