"""Which elements of a template's header must not speak of other pixels in another place."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from .raw import PIXEL_TAGS

if TYPE_CHECKING:
    from .part10 import Layout

__all__ = ["is_stale", "stale_tags"]

# Overlays, curves, waveforms, functional groups, slides, segments, surfaces, RT structures,
# signatures and encrypted attributes, pixels and what follows them.
_GROUPS: Final = frozenset({0x0048, 0x0062, 0x0066, 0x0400, 0x3004, 0x3006, 0x4FFE, 0x5200, 0x5400})
_REPEATING: Final = frozenset({0x5000, 0x6000})
_PIXEL_GROUP, _IMAGE_GROUP = 0x7FE0, 0x0028
_TAGS: Final = frozenset(
    (
        # Instance creation, derivation, references, frame types (PS3.3 C.12.1, C.7.6.1).
        *(0x00080012, 0x00080013, 0x00080014, 0x00082111, 0x00082112, 0x00081140, 0x0008114A),
        *(0x00089007, 0x00089121, 0x00089124, 0x00089205, 0x00089206, 0x00089207, 0x00089208),
        *(0x00089215, 0x00083001, 0x00880200, 0x00409096),
        # Cine and multi-frame (C.7.6.5, C.7.6.6); vectors of nuclear medicine (C.8.4).
        *(0x00082142, 0x00082143, 0x00082144, 0x00180040, 0x00181063, 0x00181065, 0x00181066),
        *(0x00540010, 0x00540020, 0x00540050, 0x00540060, 0x00540070, 0x00540080, 0x00540090),
        # Size and place of other pixels (C.7.6.2, C.8.2.1, C.8.11).
        *(0x00181100, 0x00181114, 0x00181120, 0x00181149, 0x00181164, 0x00182005, 0x00182010),
        *(0x00187030, 0x00187032, 0x00187034),
        *(0x00200020, 0x00200030, 0x00200035, 0x00200050, 0x00201002, 0x00201041),
        # Temporal positions, stacks, dimensions, concatenations (C.7.6.16.2.2, C.7.6.17).
        *(0x00200100, 0x00200105, 0x00200110, 0x00209056, 0x00209057, 0x00209128, 0x00209157),
        *(0x00209161, 0x00209162, 0x00209163, 0x00209221, 0x00209222, 0x00209228, 0x00209311),
    )
)
# Of the group of image pixels: that data are de-identified, and how PET was corrected (C.8.9.1).
_KEPT: Final = frozenset({0x00280303, 0x00280051})
# What else holds of values computed from the template's: window, unit, quality, lossy history.
_KEPT_OF_DERIVED: Final = _KEPT | frozenset(
    (
        *(0x00280300, 0x00280301, 0x00280302, 0x00281050, 0x00281051, 0x00281054, 0x00281055),
        *(0x00281056, 0x00282110, 0x00282112, 0x00282114),
    )
)


@lru_cache(maxsize=256)
def stale_tags(layout: Layout, derived: bool) -> tuple[int, ...]:
    """The tags of a header that other pixels cannot keep; private ones are among them.

    ``derived``: the pixels were computed from the template's own.
    """
    return tuple(tag for tag in dict.fromkeys(layout.tags) if is_stale(tag, derived))


def is_stale(tag: int, derived: bool) -> bool:
    """True for an attribute that other pixels cannot keep."""
    group = tag >> 16
    if group <= 2 or not tag & 0xFFFF or tag in PIXEL_TAGS:
        return False  # the pixels' own element gets new ones
    if group == _IMAGE_GROUP:
        return tag not in (_KEPT_OF_DERIVED if derived else _KEPT)
    return bool(
        group & 1
        or group in _GROUPS
        or group & 0xFF00 in _REPEATING
        or group >= _PIXEL_GROUP
        or tag in _TAGS
    )
