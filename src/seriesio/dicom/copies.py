"""Independent copies of element values: as deepcopy makes them, without its detours.

Elements of items that nobody has decoded yet are bytes, and shared.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as Items
from pydicom.valuerep import PersonName

from .values import person_name

__all__ = ["copied"]


def copied(vr: str, value: Any) -> Any:
    """A value that shares nothing mutable with the one given."""
    if vr == "SQ":
        return Items(map(_item, value)) if value is not None else None
    if isinstance(value, PersonName):
        return person_name(value)  # it keeps an encoded form of itself
    if isinstance(value, MultiValue):
        return MultiValue(_as_it_is, _parts(value))
    return value if isinstance(value, str | bytes | int | float) else copy.deepcopy(value)


def _item(item: Dataset) -> Dataset:
    made = Dataset({tag: _element(item, element) for tag, element in item.items()})
    implicit, little = item.original_encoding
    made.set_original_encoding(implicit, little, item.original_character_set)
    return made


def _element(item: Dataset, element: DataElement | RawDataElement) -> DataElement | RawDataElement:
    if isinstance(element, RawDataElement):
        if element.value is not None or not element.length:
            return element
        element = item[element.tag]  # still in a file
    vr = str(element.VR)
    value = copied(vr, element.value)
    return DataElement(element.tag, vr, value, already_converted=True)


def _parts(values: Iterable[Any]) -> list[Any]:
    return [person_name(part) if isinstance(part, PersonName) else part for part in values]


def _as_it_is(part: Any) -> Any:
    return part
