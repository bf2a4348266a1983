"""A volume to the bytes of its instances: kept header bytes, spliced, then the pixels.

Pure and blocking: for worker threads. What was not changed comes out byte for byte.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import EncodeError
from .codecs import decoded_photometric
from .derived import derived_type, source_changes
from .encode import Encoding, pixel_module, quantise
from .fragments import scan_items
from .groups import GroupEdit, functional_changes, is_enhanced
from .part10 import meta_length
from .plane import plane_changes, plane_of
from .splice import splice
from .write_plan import WritePlan, altered, own_layout, plan_write, stored_pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .header import Instance
    from .pixels import PixelLayout
    from .splice import Change

__all__ = ["WritePlan", "encode_instance", "plan_write"]

_EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
_SYNTAX, _IMAGE_TYPE = 0x00020010, 0x00080008
_PHOTOMETRIC, _ROWS, _COLUMNS = 0x00280004, 0x00280010, 0x00280011
_SMALLEST, _LARGEST, _HIGH_BIT, _PLANAR = 0x00280106, 0x00280107, 0x00280102, 0x00280006
_RESCALE: Final = (0x00281052, 0x00281053)
# Where compressed frames lay (PS3.3 sections C.7.6.3.1.8 and C.7.6.3).
_OFFSETS: Final = (0x7FE00001, 0x7FE00002, 0x7FE00003, 0x00287FE0)
_PIXEL_VR: Final = {"float": "OF", "double": "OD"}


def encode_instance(plan: WritePlan, index: int) -> list[memoryview]:
    """The bytes of one instance's file, in pieces.

    Raises:
        EncodeError, HeaderError: something cannot be written.
    """
    changes = plan.header.changes(index)
    if plan.encoding is not None:
        return _computed(plan, index, changes, plan.encoding)
    if altered(plan, index, plan.slots[index]):
        return _changed(plan, index, changes)
    return _unchanged(plan, index, changes)


def _unchanged(plan: WritePlan, index: int, changes: dict[int, Change]) -> list[memoryview]:
    """The pixels as they were, under a header that may have changed."""
    instance = plan.header.instances[index]
    if instance.whole is not None and not changes:
        return [memoryview(instance.whole)]
    head = splice(instance.raw, changes)
    if instance.encoded is not None:
        pixels = [memoryview(instance.encoded)]
    else:
        pixels = _own_pixels(plan, index)
    return _file(instance, head, [*pixels, memoryview(instance.tail)])


def _own_pixels(plan: WritePlan, index: int) -> list[memoryview]:
    pixels = stored_pixels(plan, index)
    if pixels is None:
        raise EncodeError("voxels that were read can no longer be written as they were")
    return pixels


def _changed(plan: WritePlan, index: int, changes: dict[int, Change]) -> list[memoryview]:
    """Changed voxels that fit the instance's own representation."""
    pixels = _own_pixels(plan, index)
    layout = own_layout(plan, index)
    raw = plan.header.instances[index].raw
    if layout.kind == "integer":
        changes |= _extremes(pixels, layout, raw.syntax.little, raw.layout.lookup)
        changes |= _same_cells(plan, index)
    changes |= _derivation(plan, index, changes)
    changes |= _place_changes(plan, index, None)
    return _file_of(plan, index, changes, pixels, layout)


def _same_cells(plan: WritePlan, index: int) -> dict[int, Change]:
    """What pixels that are written anew no longer have: planes, unused low bits, compression."""
    layout = plan.volume.stored.layouts[index]
    changes: dict[int, Change] = {}
    photometric = decoded_photometric(layout).removesuffix("_422")
    if photometric != layout.photometric:
        changes[_PHOTOMETRIC] = ("CS", photometric)
    if layout.planar:
        changes[_PLANAR] = ("US", 0)
    if layout.high_bit != layout.bits_stored - 1:
        changes[_HIGH_BIT] = ("US", layout.bits_stored - 1)
    return changes


def _extremes(
    pixels: Sequence[memoryview], layout: PixelLayout, little: bool, lookup: dict[int, int]
) -> dict[int, Change]:
    """Smallest and Largest Image Pixel Value, where they are there already."""
    if layout.bits_allocated not in (8, 16):
        return {tag: None for tag in (_SMALLEST, _LARGEST) if tag in lookup}
    arrays = [np.frombuffer(piece, layout.dtype_for(little)) for piece in pixels]
    ends = min(a.min().item() for a in arrays), max(a.max().item() for a in arrays)
    vr = "SS" if layout.signed else "US"
    return {
        tag: (vr, end)
        for tag, end in zip((_SMALLEST, _LARGEST), ends, strict=True)
        if tag in lookup
    }


def _derivation(plan: WritePlan, index: int, changes: dict[int, Change]) -> dict[int, Change]:
    """That an instance is computed, and from which; nothing where it has only lost frames."""
    altered = plan.changed[list(plan.slots[index])]
    if not altered.any():
        return {}
    # Only enhanced objects can say of each frame whether it is as it was.
    mixed = is_enhanced(plan.header, index) and not altered.all()
    found = {_IMAGE_TYPE: derived_type(plan.image_types[index], mixed=mixed)}
    enhanced = is_enhanced(plan.header, index)
    return found | source_changes(plan.header.instances[index], changes, evidence=enhanced)


def _computed(
    plan: WritePlan, index: int, changes: dict[int, Change], encoding: Encoding
) -> list[memoryview]:
    """Voxels in the representation that was chosen for the whole volume."""
    volume = plan.volume
    raw = plan.header.instances[index].raw
    samples = 3 if volume.axes[-1].name == "rgb" else 1
    frames = (_cells(volume.slot(slot), samples) for slot in plan.slots[index])
    coded = [quantise(frame, encoding, raw.syntax.little) for frame in frames]
    module = pixel_module(
        encoding,
        min(least for _, least, _ in coded),
        max(most for _, _, most in coded),
        samples=samples,
        photometric=volume.stored.layouts[index].photometric,
    )
    module |= _derivation(plan, index, changes)
    if is_enhanced(plan.header, index):  # the rescale lies in the functional groups
        module |= {tag: None for tag in _RESCALE}
    changes |= {
        tag: change
        for tag, change in module.items()
        if change is not None or tag in raw.layout.lookup
    }
    changes |= _place_changes(plan, index, encoding)
    layout = replace(
        own_layout(plan, index), bits_allocated=encoding.bits_allocated, kind="integer"
    )
    return _file_of(plan, index, changes, [pixels for pixels, _, _ in coded], layout)


def _cells(slot: NDArray[Any], samples: int) -> NDArray[Any]:
    rounded = np.rint(slot) if samples == 3 and slot.dtype.kind == "f" else slot
    return np.ascontiguousarray(rounded)


def _place_changes(plan: WritePlan, index: int, encoding: Encoding | None) -> dict[int, Change]:
    """Size and place of frames that were cropped or cut, and what else their groups say."""
    volume = plan.volume
    layout = volume.stored.layouts[index]
    slots = plan.slots[index]
    frames = volume.stored.frame[list(slots)].tolist()
    enhanced = is_enhanced(plan.header, index)
    changes: dict[int, Change] = {}
    rows, columns = volume.rows_and_columns
    if (rows, columns) != (layout.rows, layout.columns):
        changes |= {_ROWS: ("US", rows), _COLUMNS: ("US", columns)}
    planes = [plane_of(volume, slot) for slot in slots] if volume.moved else None
    if planes is not None and not enhanced:
        changes |= plane_changes(plan.header, index, planes[0])
    altered = plan.changed[list(slots)]
    if altered.any() or planes is not None or len(frames) != layout.frames:
        known = planes if planes is not None and planes[0].known else None
        edit = GroupEdit(frames, encoding, known, altered.tolist())
        changes |= functional_changes(plan.header, index, edit)
    return changes


def _file_of(
    plan: WritePlan,
    index: int,
    changes: dict[int, Change],
    pixels: Sequence[memoryview],
    layout: PixelLayout,
) -> list[memoryview]:
    """A file of uncompressed pixels under a changed header."""
    instance = plan.header.instances[index]
    syntax, lookup = instance.raw.syntax, instance.raw.layout.lookup
    if syntax.encapsulated:
        changes = {**changes, _SYNTAX: ("UI", _EXPLICIT_LITTLE)}
        changes |= {tag: None for tag in _OFFSETS if tag in lookup}
    length = sum(piece.nbytes for piece in pixels)
    padding = b"\0" * (length % 2)
    # PS3.5 section A.1, A.2: OW in implicit VR and for words, OB for bytes.
    words = "OW" if syntax.implicit or layout.bits_allocated > 8 else "OB"
    vr = _PIXEL_VR.get(layout.kind, words)
    head = splice(instance.raw, changes, pixel=(vr, length + len(padding)))
    rest = _trailing(instance, plan.volume.stored.layouts[index])
    return _file(instance, head, [*pixels, memoryview(padding), rest])


def _trailing(instance: Instance, layout: PixelLayout) -> memoryview:
    """The elements behind the pixels."""
    if instance.raw.syntax.encapsulated:
        value = memoryview(instance.encoded or b"")
        return value[scan_items(value).end :]
    padding = max(instance.raw.pixel_length - layout.native_length, 0)
    return memoryview(instance.tail)[padding:]


def _file(instance: Instance, head: Sequence[Any], rest: Sequence[memoryview]) -> list[memoryview]:
    pieces = [memoryview(piece).cast("B") for piece in [*head, *rest] if len(piece)]
    return _deflated(pieces) if instance.raw.syntax.deflated else pieces


def _deflated(pieces: Sequence[memoryview]) -> list[memoryview]:
    """Deflate all behind the file meta information (PS3.5 section A.5)."""
    whole = b"".join(pieces)
    # The meta information may have changed its length: find its end anew.
    end = meta_length(memoryview(whole))
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(whole[end:]) + packer.flush()
    return [memoryview(whole[:end]), memoryview(packed + b"\0" * (len(packed) % 2))]
