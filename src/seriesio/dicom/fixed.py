"""Which attributes a header refuses to change: those that say what the array holds or where it is.

Changed by themselves they would contradict the series' own array and geometry, and the series
would be read back as another one.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..errors import DicomError, HeaderError
from .keywords import keyword_for

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = [
    "IMAGE_TYPE",
    "GroupCheck",
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
# What gives an axis its values where the frames of an instance lie along it (PS3.3 section
# C.7.6.16.2, C.8.13.5).
_TIME_TAGS: Final = (0x00189074, 0x00189151, 0x00209128, 0x00209157)
_B_TAGS: Final = (0x00189087, 0x00189089)
_AXIS_TAGS: Final = {
    "time": _TIME_TAGS,
    "rank": _TIME_TAGS,
    "b": _B_TAGS,
    "bvector": _B_TAGS,
    "dti": _B_TAGS,
    "te": (0x00189082,),
    "ti": (0x00189079,),
    "fa": (0x00181314,),
    "tr": (0x00180080,),
    "triggertime": (0x00209153,),
    "phase": (0x00089007, 0x00089208),
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
    """True for what :class:`GroupCheck` looks at."""
    return tag in (_SHARED, _PER_FRAME)


class GroupCheck:
    """Looks whether functional groups say otherwise where frames are or what they hold.

    ``axes`` are the names of the volume's axes: what gives them their values is fixed as well.
    """

    def __init__(self, tag: int, axes: Iterable[str]) -> None:
        self._tag = tag
        self._fixed = frozenset(_FIXED).union(*(_AXIS_TAGS.get(name, ()) for name in axes))
        self._agreed: dict[tuple[int, int], tuple[Any, Any]] = {}

    def __call__(self, present: Any, value: Any) -> None:
        """Compare the items of before and after (PS3.3 section C.7.6.16); None for none.

        Raises:
            HeaderError: items are more or fewer, or differ in what cannot be set by itself.
            DicomError: items that cannot be taken apart.
        """
        if not present or len(present) != len(value or ()):
            raise _refusal(
                self._tag, "as many items as before are needed, one for each frame or for all"
            )
        key = id(present), id(value)
        if key not in self._agreed and self._contradict(present, value):
            raise _refusal(
                self._tag,
                "values, geometry and axes in it must stay as they are (PixelValueTransformation-, "
                "PlanePosition-, PlaneOrientation-, PixelMeasuresSequence, times, b values ...): "
                "compute with the series or slice it instead",
            )
        self._agreed[key] = present, value  # kept, so that their ids stay their own

    def _contradict(self, present: Any, value: Any) -> bool:
        from .values import BROKEN

        try:
            return any(
                _contradicts(*pair, self._fixed) for pair in zip(present, value, strict=True)
            )
        except BROKEN:
            raise DicomError(f"{keyword_for(self._tag)}: a damaged sequence") from None


def _contradicts(before: Dataset, after: Dataset, fixed: Container[int]) -> bool:
    """True if two items differ in something fixed; only what differs is looked at."""
    from .items import differing

    return any(
        tag in fixed or _items_contradict(_items_of(before, tag), _items_of(after, tag), fixed)
        for tag in differing(before, after)
    )


def _items_contradict(
    before: Sequence[Dataset], after: Sequence[Dataset], fixed: Container[int]
) -> bool:
    if len(before) == len(after):
        return any(
            _contradicts(one, other, fixed) for one, other in zip(before, after, strict=True)
        )
    return any(_is_fixed(item, fixed) for item in (*before, *after))


def _items_of(item: Dataset, tag: int) -> Sequence[Dataset]:
    """The items of a sequence in an item; none where there is no such sequence."""
    element: Any = item.get(tag)  # by a number: the element, or None
    return element.value or () if element is not None and element.VR == "SQ" else ()


def _is_fixed(item: Dataset, fixed: Container[int]) -> bool:
    """True if an item, or one of those in it, says something that is fixed."""
    return any(element.tag in fixed for element in item.iterall())


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
