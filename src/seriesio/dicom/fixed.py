"""Which attributes a header refuses to change: those that say what the array holds or where it is.

Changed by themselves they would contradict the series' own array and geometry, and the series
would be read back as another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from ..errors import HeaderError
from .keywords import keyword_for

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = [
    "IMAGE_TYPE",
    "check_groups",
    "check_tiles",
    "check_unfixed",
    "is_group",
    "is_of_tiles",
]

_ARRAY: Final = "it follows from the array: change the pixels instead"
_VALUES: Final = (
    "it gives the array its values: compute with the series instead, as in series * 2 (what is "
    "written then has a fitting one)"
)
_GEOMETRY: Final = "it gives the series its place: slice the series instead, as in series[:, 10:20]"
_OTHERS: Final = "it follows from the others"
_GRID: Final = (
    0x00280002, 0x00280004, 0x00280006, 0x00280008, 0x00280010, 0x00280011,
    0x00280100, 0x00280101, 0x00280102, 0x00280103,
)  # fmt: skip
_RESCALE: Final = (0x00281052, 0x00281053, 0x00283000)  # slope, intercept, Modality LUT
_PALETTES: Final = (
    0x00281101, 0x00281102, 0x00281103, 0x00281104, 0x00281201, 0x00281202, 0x00281203,
    0x00281204, 0x00281221, 0x00281222, 0x00281223, 0x00281224,
)  # fmt: skip
_PLACE: Final = (
    0x00180050, 0x00180088, 0x00181164,  # Slice Thickness, Spacing Between Slices, Imager …
    0x00182005, 0x00200032, 0x00200037, 0x00280030,  # Slice Location Vector, … Pixel Spacing
)  # fmt: skip
_FIXED: Final = {
    **dict.fromkeys(_GRID, _ARRAY),
    **dict.fromkeys((*_RESCALE, *_PALETTES), _VALUES),
    **dict.fromkeys(_PLACE, _GEOMETRY),
    0x00020010: "the transfer syntax is chosen when the series is written",
}
_LAST_GROUP: Final = 0x7FE0
_SHARED, _PER_FRAME = 0x52009229, 0x52009230
IMAGE_TYPE: Final = 0x00080008
_TILED: Final = "MOSAIC"


def check_unfixed(tag: int) -> None:
    """Refuse what follows from the array, the geometry or other elements.

    Raises:
        HeaderError: with the reason, and what to do instead.
    """
    group = tag >> 16
    why = _FIXED.get(tag, _ARRAY if group >= _LAST_GROUP else None)
    if why is None and (group <= 2 or not tag & 0xFFFF):
        why = _OTHERS
    if why is not None:
        raise _refusal(tag, why)


def _refusal(tag: int, why: str) -> HeaderError:
    return HeaderError(f"{keyword_for(tag)}: cannot be set: {why}")


def is_group(tag: int) -> bool:
    """True for what :func:`check_groups` looks at."""
    return tag in (_SHARED, _PER_FRAME)


def check_groups(tag: int, present: Any, value: Any) -> None:
    """Refuse functional groups that say otherwise where frames are or what they hold.

    ``present`` and ``value`` are the items of before and after (PS3.3 section C.7.6.16); None
    for none.

    Raises:
        HeaderError: items are more or fewer, or differ in what cannot be set by itself.
    """
    if not present or len(present) != len(value or ()):
        raise _refusal(tag, "as many items as before are needed, one for each frame or for all")
    for before, after in zip(present, value, strict=True):
        # Both ways of asking: what is gone differs as well.
        if list(_fixed_in(before)) != list(_fixed_in(after)):
            raise _refusal(
                tag,
                "values and geometry in it must stay as they are (PixelValueTransformation-, "
                "PlanePosition-, PlaneOrientation-, PixelMeasuresSequence): compute with the "
                "series or slice it instead",
            )


def _fixed_in(item: Dataset, path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Any]]:
    """What an item, and the items in it, say of values and places: (path of tags, value)."""
    for element in item:
        way = (*path, int(element.tag))
        if element.tag in _FIXED:
            yield way, element.value
        elif element.VR == "SQ":
            for inner in element.value or ():
                yield from _fixed_in(inner, way)


def is_of_tiles(tag: int) -> bool:
    """True for what :func:`check_tiles` looks at."""
    return tag == IMAGE_TYPE or _tells_of_tiles(tag)


def check_tiles(tag: int, tiled: bool, value: Any) -> None:
    """Refuse what makes a mosaic of another image, or none of a mosaic, or tiles it otherwise.

    ``tiled`` says whether the instance is a mosaic; ``value`` what the element ``tag`` is to be,
    None to leave it out.

    Raises:
        HeaderError: Image Type gains or loses MOSAIC, or an element that tells of tiles.
    """
    if tag == IMAGE_TYPE and _is_tiled(value) != tiled:
        raise _refusal(tag, f"{_TILED} says how the array lies in the image: leave it as it is")
    if tiled and _tells_of_tiles(tag):
        raise _refusal(tag, "it says how the array lies in the mosaic: leave it as it is")


def _is_tiled(image_type: Any) -> bool:
    return _TILED in ([image_type] if isinstance(image_type, str) else list(image_type or ()))


def _tells_of_tiles(tag: int) -> bool:
    """The CSA header and the count of tiles, in any private block, and the blocks' creators."""
    group, element = tag >> 16, tag & 0xFFFF
    creator = 0x10 <= element <= 0xFF
    return (group == 0x0029 and (creator or element & 0xFF == 0x10)) or (
        group == 0x0019 and (creator or element & 0xFF == 0x0A)
    )
