"""The Basic Application Level Confidentiality Profile: what becomes of each attribute.

PS3.15 annex E. Its table E.1-1 (edition 2026c) and the dummy values come from the package
dicom-anonymizer, the one door to which this module is. What the table leaves open (X/Z, X/D …,
by the type that an attribute has in an IOD) is decided for what is valid under each.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from ..errors import MissingDependencyError
from .vr import creator_tag, dictionary_vr

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["EDITION", "Action", "Profile", "basic_profile"]

Action: TypeAlias = Literal["keep", "remove", "empty", "dummy", "uid"]

EDITION: Final = "2026c"
_ACTIONS: Final[Mapping[str, Action]] = {
    "X_TAGS": "remove",
    "X_Z_TAGS": "empty",
    "Z_TAGS": "empty",
    "Z_D_TAGS": "dummy",
    "X_D_TAGS": "dummy",
    "X_Z_D_TAGS": "dummy",
    "D_TAGS": "dummy",
    "U_TAGS": "uid",
    "X_Z_U_STAR_TAGS": "uid",
}
# The package's own, of the year 1, are no dates to many readers.
_MOMENTS: Final = {"DA": "19000101", "DT": "19000101000000", "TM": "000000"}
_CURVES, _OVERLAYS = 0x50, 0x60
# Elements of the file meta information that stay (PS3.10 section 7.1); the others name peers.
_META: Final = frozenset(
    {0x00020000, 0x00020001, 0x00020002, 0x00020003, 0x00020010, 0x00020012, 0x00020013}
)


@dataclass(frozen=True, slots=True)
class Profile:
    """What becomes of attributes, by their tags.

    ``kept`` are those that the caller has asked to keep, against the profile.
    """

    actions: Mapping[int, Action]
    dummy: Callable[[int, str], Any]
    kept: frozenset[int] = frozenset()

    def action(self, tag: int, vr: str) -> Action:
        """What becomes of an element; what nobody knows goes, private elements too."""
        if tag in self.kept:
            return "keep"
        group = tag >> 16
        if group == 2:
            return "keep" if tag in _META else "remove"
        if group & 1 or group >> 8 in (_CURVES, _OVERLAYS) or vr == "UN":
            return "remove"
        if (found := self.actions.get(tag)) is not None:
            return found
        if not dictionary_vr(tag):
            return "remove"
        return "empty" if vr == "PN" else "keep"


def basic_profile(kept: frozenset[int] = frozenset()) -> Profile:
    """The profile; with private elements that are kept stay the names of their creators.

    Raises:
        MissingDependencyError: dicom-anonymizer is not installed.
    """
    private = {tag for tag in kept if tag >> 16 & 1 and tag & 0xFFFF > 0xFF}
    return Profile(_actions(), _dummy, kept | set(map(creator_tag, private)))


@cache
def _actions() -> dict[int, Action]:
    table = _vendor(f"dicom_anonymization_databases.dicomfields_{EDITION}")
    return {
        tag[0] << 16 | tag[1]: action
        for category, action in _ACTIONS.items()
        for tag in _plain_tags(getattr(table, category))
    }


def _plain_tags(tags: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Without those of repeating groups, which have a mask: such groups go as a whole."""
    return [tag for tag in tags if len(tag) == 2]


def _dummy(tag: int, vr: str) -> Any:
    """A value that says nothing; None where the package has none for the VR."""
    if vr in _MOMENTS:
        return _MOMENTS[vr]
    from pydicom.dataelem import DataElement

    element = DataElement(tag, vr, None)
    try:
        _vendor("simpledicomanonymizer").replace_element(element)
    except NotImplementedError:
        return None
    return element.value


def _vendor(module: str) -> Any:
    try:
        return import_module(f"dicomanonymizer.{module}")
    except ImportError as error:
        raise MissingDependencyError(
            'anonymizing needs dicom-anonymizer 2.1 or newer: pip install "seriesio[anonymize]"'
        ) from error
