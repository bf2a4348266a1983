"""The headers of the instances that a template makes: one for each slot of a volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import uuid4

from .attributes import SERIES_UID, SOP_UID, NewUIDs
from .groups import is_enhanced
from .part10 import parse
from .splice import splice
from .table import decode_text
from .template_axes import step_changes
from .template_frames import flattened
from .template_modules import PT, check_class, missing_modules, single_frame_class
from .template_pixels import image_module, image_type, is_byte_sized, pixel_layout
from .template_place import FRAME_OF_REFERENCE, frame_of_reference, place_of_slice, place_of_stack
from .template_rewriting import EXPLICIT_LITTLE, rewritten
from .template_stale import is_stale, stale_tags

if TYPE_CHECKING:
    from .geometry import Geometry
    from .header import Header
    from .part10 import Layout, RawHeader
    from .pixels import PixelLayout
    from .sorting import Axis
    from .splice import Change
    from .template import Template
    from .volume import Volume

__all__ = ["Maker"]

Changes: TypeAlias = "dict[int, Change]"

_SYNTAX, _SOP_CLASS, _IMAGE_TYPE = 0x00020010, 0x00080016, 0x00080008
_INSTANCE_NUMBER, _SOURCES = 0x00200013, 0x00082112
_REFERENCED_CLASS, _REFERENCED = 0x00081150, 0x00081155
_SLICES, _IMAGE_INDEX = 0x00540081, 0x00541330  # of PET (PS3.3 sections C.8.9.1, C.8.9.4)


@dataclass(slots=True, eq=False)
class Maker:
    """Makes the header of each slot.

    Attributes:
        template, geometry, layout: what is taken over, where slices lie, how pixels are stored.
        sop_class: of all instances.
        uids: the new ones.
        common: what all instances say; ``steps`` what those of each volume do.
        layouts: header layouts that are alike, as one object.
        plain: headers that pydicom has written anew, by instance and frame.
        image_types: of the template's instances.
        computed: each instance is computed from one of the template's.
    """

    template: Template
    geometry: Geometry
    layout: PixelLayout
    sop_class: str
    uids: NewUIDs
    common: Changes
    steps: list[Changes]
    layouts: dict[tuple[Any, ...], Layout]
    plain: dict[tuple[int, int], RawHeader]
    image_types: list[Any]
    computed: bool = False

    @classmethod
    def of(
        cls,
        volume: Volume,
        template: Template,
        axes: Sequence[Axis],
        day: str,
        reference: str | None,
    ) -> Maker:
        """That of a volume; ``day``: the date (DA) that its times count from.

        Raises:
            HeaderError: axes that DICOM has no attributes for, or a template without what its
                class needs.
        """
        steps = step_changes(axes, day)
        slices = len(volume.geometry.positions)
        uids = NewUIDs(uuid4(), range(len(steps) * slices))
        sop_class = _class_of(volume, template)
        layout = pixel_layout(volume, template, sop_class)
        common = {
            **image_module(layout, template, sop_class),
            **place_of_stack(volume.geometry, template),
            _SOP_CLASS: ("UI", sop_class),
            FRAME_OF_REFERENCE: ("UI", reference or frame_of_reference(volume, template)),
        }
        if sop_class == PT:
            common[_SLICES] = ("US", slices)
        types = template.header.values(_IMAGE_TYPE)
        return cls(template, volume.geometry, layout, sop_class, uids, common, steps, {}, {}, types)

    def header(self, place: int, slot: int) -> RawHeader:
        """The header of one slot, from a slot of the template."""
        instance, frame = int(self.template.instance[slot]), int(self.template.frame[slot])
        raw = self._plain(instance, frame)
        edits: Mapping[int, Change] = {}
        if raw is self.template.header.instances[instance].raw:
            edits = self.template.header.changes(instance, keep_uid=True)
        changes = self._taken_over(instance, raw, edits) | self._own(place, instance, frame)
        if raw.syntax.encapsulated:
            changes[_SYNTAX] = ("UI", EXPLICIT_LITTLE)
        length = self.layout.native_length
        head = b"".join(splice(raw, changes, pixel=(self._pixel_vr(raw), length + length % 2)))
        found = parse(memoryview(head), len(head) + length + length % 2, "template").header
        key = found.layout.tags, found.layout.vrs
        found.layout = self.layouts.setdefault(key, found.layout)
        return found

    def _pixel_vr(self, raw: RawHeader) -> str:
        return "OW" if raw.syntax.implicit or self.layout.bits_allocated > 8 else "OB"

    def _plain(self, instance: int, frame: int) -> RawHeader:
        """A header that can be spliced as it is; others are written anew by pydicom."""
        header = self.template.header
        raw = header.instances[instance].raw
        enhanced = is_enhanced(header, instance)
        if raw.meta_end and raw.syntax.little and not raw.syntax.deflated and not enhanced:
            return raw
        key = instance, frame if enhanced else 0
        if key not in self.plain:
            whole = header.dataset(instance)
            self.plain[key] = rewritten(flattened(whole, frame) if enhanced else whole)
        return self.plain[key]

    def _taken_over(self, instance: int, raw: RawHeader, edits: Mapping[int, Change]) -> Changes:
        """What becomes of the template's own attributes, and what its modules lack."""
        derived = self.template.source
        changes: Changes = {tag: edits[tag] for tag in edits if tag >> 16 != 2}
        changes |= dict.fromkeys(stale_tags(raw.layout, derived))
        changes |= {tag: None for tag in edits if is_stale(tag, derived)}
        added = {tag for tag, change in changes.items() if change is not None}
        gone = changes.keys() - added
        present = frozenset(raw.layout.tags) - gone | added
        changes |= missing_modules(present, self.sop_class)
        changes[_IMAGE_TYPE] = ("CS", image_type(self.image_types[instance], self.sop_class))
        return changes

    def _own(self, place: int, instance: int, frame: int) -> Changes:
        """What the slot itself says."""
        volume, within = divmod(place, len(self.geometry.positions))
        changes = self.common | self.steps[volume] | place_of_slice(self.geometry, within)
        changes[_INSTANCE_NUMBER] = ("IS", place + 1)
        if self.sop_class == PT:
            changes[_IMAGE_INDEX] = ("US", min(place + 1, 0xFFFF))
        if self.computed:
            return changes
        changes |= {
            SERIES_UID: ("UI", self.uids.series),
            SOP_UID: ("UI", self.uids.instance(place)),
        }
        if self.template.source:
            changes[_SOURCES] = _sources(self.template.header, instance, frame)
        return changes


def _class_of(volume: Volume, template: Template) -> str:
    """The SOP class of a volume's instances.

    Raises:
        HeaderError: the template lacks what that class needs.
    """
    header = template.header
    changed = header.changes(0, keep_uid=True).get(_SOP_CLASS)
    named = str(changed[1]) if changed else decode_text(header.instances[0].raw.raw(_SOP_CLASS))
    color = volume.axes[-1].name == "rgb"
    found = single_frame_class(named, color=color, byte_sized=is_byte_sized(volume))
    check_class(header.get, found)
    return found


def _sources(header: Header, instance: int, frame: int) -> Change:
    """The image that pixels were computed from (PS3.3 section C.7.6.1.1.4)."""
    from pydicom.config import IGNORE
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence as Items

    own = header.subset([instance])
    item = Dataset()
    for tag, value in ((_REFERENCED_CLASS, own.get(_SOP_CLASS)), (_REFERENCED, own.get(SOP_UID))):
        # A source's own UID, whatever it is: it can be found under no other.
        item.add(DataElement(tag, "UI", str(value), validation_mode=IGNORE))
    if is_enhanced(header, instance):
        item.ReferencedFrameNumber = frame + 1
    return "SQ", Items([item])
