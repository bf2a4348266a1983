"""A complete DICOM header for voxels that have none, or another one, out of a template's.

Patient, study, equipment, frame of reference and acquisition come from the template; place, size,
axes and UIDs are the volume's own. Each slot becomes one single-frame instance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from ..errors import EncodeError
from .attributes import Instance
from .bare import leading_axes, placed_by
from .groups import is_enhanced
from .header import Header
from .template_axes import clocked
from .template_instances import Maker
from .template_matching import chosen_slots, same_axes, same_times
from .volume import Stored, Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .part10 import RawHeader
    from .sorting import Axis
    from .template import Template

__all__ = ["complete"]

_SOP_CLASS: Final = 0x00080016
_SKEW: Final = 1e-3  # between rows and columns: as cosines of real files are off by


def complete(volume: Volume, template: Template, frame_of_reference: str | None = None) -> Volume:
    """The same voxels at the same place under a header of their own, one instance for each slot.

    Slices run along the normal afterwards, as they do in DICOM: those of a left-handed volume
    are reversed (a view). Times count from the template's Acquisition Time.

    Args:
        frame_of_reference: that of the geometry; None: the template's, or a new one where
            nothing is known of the volume's place.

    Raises:
        HeaderError: axes that DICOM has no attributes for, or a template without what its class
            of images needs.
        EncodeError: rows and columns that are not at right angles, or voxels of no kind that
            DICOM holds.
    """
    volume = _right_handed(volume)
    _check(volume)
    axes = leading_axes(volume)
    same = same_axes(axes, template.axes)
    axes, day = clocked(axes, template.header, same and same_times(axes, template.axes))
    chosen = chosen_slots(volume, template, same)
    maker = Maker.of(volume, template, axes, day, frame_of_reference)
    maker.computed = _one_to_one(template, chosen, maker.sop_class)
    raws = [maker.header(place, slot) for place, slot in enumerate(chosen.tolist())]
    return _assembled(volume, axes, maker, raws)


def _assembled(
    volume: Volume, axes: tuple[Axis, ...], maker: Maker, raws: Sequence[RawHeader]
) -> Volume:
    header = Header([Instance(raw, made=not maker.computed) for raw in raws])
    header._uids, header._settled = maker.uids, False  # they are new, and nobody has them yet
    count = len(raws)
    stored = Stored(
        np.arange(count),
        np.zeros(count, np.intp),
        tuple(replace(maker.layout, syntax_uid=raw.syntax.uid) for raw in raws),
        np.ones(count),
        np.zeros(count),
        None,
    )
    named = {axis.name: axis for axis in axes}
    found = tuple(named.get(axis.name, axis) for axis in volume.axes)
    note = "the header is a template's"
    report = replace(volume.report, notes=(*volume.report.notes, note))
    return replace(volume, header=header, axes=found, stored=stored, report=report, moved=False)


def _one_to_one(template: Template, chosen: NDArray[np.intp], sop_class: str) -> bool:
    """True if each instance is computed from one of the template's, as by arithmetic.

    Then each keeps that one's UID beneath its new one, as what it comes from.
    """
    header, instances = template.header, template.instance[chosen]
    return bool(
        template.source
        and len(np.unique(instances)) == len(instances)
        and all(str(name) == sop_class for name in header.values(_SOP_CLASS))
        and not any(is_enhanced(header, index) for index in range(len(header)))
    )


def _check(volume: Volume) -> None:
    if volume.array.dtype.kind not in "biuf":
        raise EncodeError(f"pixels of dtype {volume.array.dtype} cannot be stored")
    orientation = volume.geometry.orientation
    if abs(float(orientation[:3] @ orientation[3:])) > _SKEW:
        raise EncodeError(
            "rows and columns are not at right angles (a sheared affine): DICOM has no such images"
        )


def _right_handed(volume: Volume) -> Volume:
    """The volume with its slices along the normal."""
    geometry = volume.geometry
    if len(geometry.positions) < 2 or float(geometry.step @ geometry.normal) >= 0:
        return volume
    place = [axis.name for axis in volume.axes].index("slice")
    array = np.flip(volume.array, place)
    turned = replace(geometry, positions=geometry.positions[::-1])
    return replace(placed_by(replace(volume, header=Header([])), turned), array=array)
