"""What a header can be taken from: a DICOM series, or a pydicom dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import HeaderError
from .attributes import Instance
from .bare import leading_axes
from .header import Header
from .template_modules import check_template
from .template_rewriting import rewritten

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from .geometry import Geometry
    from .sorting import Axis
    from .volume import Volume

__all__ = ["Template", "template_of_dataset", "template_of_volume"]


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """A header to be taken over, and which of its instances stands for which slot.

    Attributes:
        header: with at least one instance.
        instance, frame: (n,) of each slot of the template, in C order.
        axes: its further axes; ``slices`` how many each of their steps has.
        geometry: where its slices are; None where it is a single dataset.
        size: (rows, columns) of its slices.
        source: its pixels are what the new ones were computed from.
    """

    header: Header
    instance: NDArray[np.intp]
    frame: NDArray[np.intp]
    axes: tuple[Axis, ...] = ()
    slices: int = 1
    geometry: Geometry | None = None
    size: tuple[int, ...] = ()
    source: bool = False


def template_of_volume(volume: Volume, *, source: bool = False) -> Template:
    """A series as template.

    Raises:
        HeaderError: it has no DICOM header, or lacks what a template must give.
    """
    if not len(volume.header):
        raise HeaderError("the template has no DICOM header itself")
    stored = volume.stored
    check_template(volume.header.get)
    return Template(
        volume.header,
        stored.instance,
        stored.frame,
        leading_axes(volume),
        len(volume.geometry.positions),
        volume.geometry,
        volume.rows_and_columns,
        source,
    )


def template_of_dataset(dataset: Dataset) -> Template:
    """A pydicom dataset as template; its pixels are not looked at.

    Raises:
        HeaderError: it lacks what a template must give, or cannot be written.
    """
    check_template(lambda keyword: dataset.get(keyword))
    raw = rewritten(dataset)
    none = np.zeros(1, np.intp)
    return Template(Header([Instance(raw)]), none, none)
