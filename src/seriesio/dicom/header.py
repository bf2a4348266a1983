"""The attributes of a series and of its instances: kept raw, decoded on demand.

A header shares the raw bytes with its copies and keeps only what was changed. UIDs are honest:
the first change gives the series a new Series Instance UID and its instances new SOP Instance
UIDs, and so does the first change after a copy was taken or the series was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard, TypeVar
from uuid import uuid4

from .attributes import Instance, Name, NewUIDs, nowhere
from .editing import Editing

__all__ = ["Header", "Instance", "Name"]

T = TypeVar("T")


class Header(Editing):
    """The attributes of a series: read, set and left out, with honest UIDs.

    See :class:`~seriesio.dicom.attributes.Attributes` for reading and for how they are named,
    :class:`~seriesio.dicom.editing.Editing` for setting.
    """

    __slots__ = ("_claimed", "_settled")

    def __init__(
        self, instances: Sequence[Instance], known: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(instances, known)
        # True while the present UIDs stand for something that others may have.
        self._settled = True
        # Who we are in NewUIDs.claims, until what we claim there has been handed out.
        self._claimed = object()

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

    def __getstate__(self) -> dict[str, Any]:
        """For pickle: all but the volume, which attaches itself anew."""
        slots = (name for kind in type(self).__mro__ for name in getattr(kind, "__slots__", ()))
        return {name: getattr(self, name) for name in slots if name != "_volume"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self._volume = nowhere
        for name, value in state.items():
            setattr(self, name, value)

    def computed_from(self, instances: Sequence[Instance]) -> None:
        """The same instances, with what else they are computed from."""
        self._instances = tuple(instances)

    # --- deriving ---------------------------------------------------------------------------

    def copy(self) -> Header:
        """An independent header that shares only the raw bytes."""
        return self._derived(range(len(self)))

    def subset(self, indices: Iterable[int]) -> Header:
        """An independent header of some instances, in the order given; doubled ones get new UIDs.

        Raises:
            HeaderError: an index that does not exist.
        """
        if _lies_in(indices, len(self)):
            return self._derived(indices)
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
        header = Header.__new__(Header)  # every computed series takes one: __init__ takes longer
        header._instances = tuple(_chosen(self._instances, indices))
        header._known = self._known
        header._common = self._common.copy()
        header._own = {}
        if self._own:
            pairs = enumerate(indices)
            header._own = {n: dict(self._own[i]) for n, i in pairs if i in self._own}
        uids = self._uids
        header._uids = uids and NewUIDs(uids.base, _chosen(uids.places, indices), uids.claims)
        header._functional, header._places, header._volume = {}, None, nowhere
        header._settled, header._claimed = True, object()
        self._settled = True  # from now on two headers have the present UIDs
        return header


def _lies_in(indices: Iterable[int], count: int) -> TypeGuard[range]:
    """True for a range of places that all exist: it names none twice."""
    if not isinstance(indices, range):
        return False
    return not indices or 0 <= min(indices[0], indices[-1]) <= max(indices[0], indices[-1]) < count


def _chosen(values: Sequence[T], indices: Sequence[int]) -> Sequence[T]:
    """The values at the indices; those of a range without a look at each."""
    if isinstance(indices, range):
        stop = indices.stop if indices.stop >= 0 else None
        return values[indices.start : stop : indices.step]
    return [values[index] for index in indices]
