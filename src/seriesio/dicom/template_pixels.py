"""How a volume's pixels are stored under a template's header, and what the header says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from .pixels import PixelLayout
from .template_modules import CR, CT, PT, SECONDARY_CAPTURE, ULTRASOUND
from .template_rewriting import EXPLICIT_LITTLE

if TYPE_CHECKING:
    from .splice import Change
    from .template import Template
    from .volume import Volume

__all__ = ["image_module", "image_type", "is_byte_sized", "pixel_layout"]

Changes: TypeAlias = "dict[int, Change]"

_PHOTOMETRIC, _RESCALE_TYPE = 0x00280004, 0x00281054
_OWN_PLACE: Final = "TILED", "MOSAIC"  # values of Image Type that say how pixels are arranged
_RESCALED: Final = frozenset({CR, CT, PT, SECONDARY_CAPTURE})  # with a Modality LUT, or the like


def is_byte_sized(volume: Volume) -> bool:
    """True for voxels that are unsigned bytes, or true and false."""
    dtype = volume.array.dtype
    return dtype.itemsize == 1 and dtype.kind in "bu"


def pixel_layout(volume: Volume, template: Template, sop_class: str) -> PixelLayout:
    """How pixels are stored if they fit: CT, MR and PET hold 16 bits, others 8 too."""
    color = volume.axes[-1].name == "rgb"
    narrow = is_byte_sized(volume) and (color or sop_class in (SECONDARY_CAPTURE, ULTRASOUND))
    bits = 8 if narrow else 16
    signed = not color and not narrow and (volume.array.dtype.kind in "if" or sop_class == PT)
    rows, columns = volume.rows_and_columns
    gray = "MONOCHROME1" if _is_inverted(template) else "MONOCHROME2"
    return PixelLayout(
        rows=rows,
        columns=columns,
        frames=1,
        samples=3 if color else 1,
        planar=False,
        bits_allocated=bits,
        bits_stored=bits,
        high_bit=bits - 1,
        signed=signed,
        photometric="RGB" if color else gray,
        kind="integer",
        syntax_uid=EXPLICIT_LITTLE,
    )


def _is_inverted(template: Template) -> bool:
    """True if values that were computed from the template's are shown inverted, as those are."""
    return template.source and template.header.get(_PHOTOMETRIC) == "MONOCHROME1"


def image_module(layout: PixelLayout, template: Template, sop_class: str) -> Changes:
    """The Image Pixel Module (PS3.3 section C.7.6.3), and the rescale that the class has."""
    return {
        0x00280002: ("US", layout.samples),
        _PHOTOMETRIC: ("CS", layout.photometric),
        **({0x00280006: ("US", 0)} if layout.samples > 1 else {}),
        0x00280010: ("US", layout.rows),
        0x00280011: ("US", layout.columns),
        0x00280100: ("US", layout.bits_allocated),
        0x00280101: ("US", layout.bits_stored),
        0x00280102: ("US", layout.high_bit),
        0x00280103: ("US", int(layout.signed)),
        **_rescale(layout, template, sop_class),
    }


def _rescale(layout: PixelLayout, template: Template, sop_class: str) -> Changes:
    """Rescale of CT and PET (sections C.8.2.1, C.8.9.4); Modality LUT of CR and SC (C.11.1).

    Rescale Type is the template's where values were computed from its own, else unspecified; CT
    may leave it out for Hounsfield Units, PET has Units instead.
    """
    if layout.samples > 1 or sop_class not in _RESCALED:
        return {_RESCALE_TYPE: None}
    own = template.header.get(_RESCALE_TYPE) if template.source else None
    plain: Change = None if sop_class in (CT, PT) else ("LO", "US")
    kind: Change = ("LO", str(own)) if own else plain
    return {0x00281052: ("DS", "0"), 0x00281053: ("DS", "1"), _RESCALE_TYPE: kind}


def image_type(own: Any, sop_class: str) -> list[str]:
    """DERIVED, SECONDARY, and what else the template's images are (C.7.6.1.1.2, C.8.2.1.1.1).

    PET has only PRIMARY as its second value (C.8.9.4.1.1).
    """
    values = [own] if isinstance(own, str) else list(map(str, own or ()))
    rest = [value for value in values[2:] if value and value not in _OWN_PLACE]
    if sop_class == CT and (not rest or rest[0] not in ("AXIAL", "LOCALIZER")):
        rest = ["AXIAL", *rest]
    second = "PRIMARY" if sop_class == PT else "SECONDARY"
    return ["DERIVED", second, *(rest if rest or sop_class == PT else ["OTHER"])]
