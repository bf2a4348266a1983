"""Element values that are set: whether they may stand where they are put.

Setting validates strictly (PS3.5 section 6.2). Messages name the attribute and the rule, never
the value.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as Items
from pydicom.valuerep import DSfloat

from ..errors import HeaderError
from .attributes import as_tag
from .copies import copied
from .items import decoded
from .keywords import keyword_for
from .value_bytes import strings, unfit
from .values import BROKEN, person_name
from .vr import KNOWN, SINGLE, TEXT, dictionary_vm, dictionary_vr

__all__ = ["normalise"]


def normalise(tag: int, vr: str, value: Any) -> Any:
    """The value as pydicom holds it, checked against its VR and multiplicity; independent.

    NumPy numbers and arrays, tuples, dates and times are welcome; floats are rounded to the 16
    characters of a decimal string; None is an empty value.

    Raises:
        HeaderError: the element cannot hold it.
    """
    try:
        plain = _items(tag, value) if vr == "SQ" else _plain(vr, value)
        element = DataElement(tag, vr, plain, validation_mode=config.RAISE)
        if not _clean(vr, element.value):
            raise ValueError
    except HeaderError:
        raise
    except BROKEN:
        raise unfit(tag, vr) from None  # without its cause: pydicom's messages quote the value
    _check_multiplicity(tag, vr, element)
    return element.value if vr != "PN" else _names(element.value)


def _names(value: Any) -> Any:
    """Person names that keep no encoded form of themselves."""
    made = [person_name(text) for text in strings(value)]
    return made[0] if len(made) == 1 else MultiValue(person_name, made)


def _plain(vr: str, value: Any) -> Any:
    """A value in plain Python types, lists for several."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, tuple | MultiValue):
        value = list(value)
    if isinstance(value, list):
        return [_plain(vr, part) for part in value]
    if isinstance(value, datetime.date | datetime.time):
        return _moment(value)
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, bytes) and not vr.startswith(("O", "UN")):
        raise TypeError(vr)
    if vr == "DS" and isinstance(value, float | int) and not isinstance(value, DSfloat):
        return DSfloat(value, True, config.RAISE)
    return value.rstrip(" ") if isinstance(value, str) else value


def _moment(value: datetime.date | datetime.time) -> str:
    """A date, time or both as DA, TM or DT say it."""
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y%m%d%H%M%S.%f%z")
    return value.strftime("%H%M%S.%f" if isinstance(value, datetime.time) else "%Y%m%d")


def _items(tag: int, value: Any) -> Items:
    """Datasets of our own; what nobody has decoded stays bytes."""
    listed = [value] if isinstance(value, Dataset | Mapping) else list(value or ())
    items = Items(_dataset(tag, item) if isinstance(item, Mapping) else item for item in listed)
    items = Items(copied("SQ", items))
    for item in items:
        for element in decoded(item):
            if not _clean(str(element.VR), element.value):
                raise ValueError
    return items


def _dataset(tag: int, item: Mapping[Any, Any]) -> Dataset:
    """An item out of a mapping from keywords or tags to values."""
    dataset = Dataset()
    for name, value in item.items():
        inner = as_tag(name)
        vr = dictionary_vr(inner).split(" or ")[0]
        if vr not in KNOWN:
            raise HeaderError(
                f"{keyword_for(tag)}: {keyword_for(inner)} in it has no known VR: give a Dataset"
            )
        try:
            dataset.add_new(inner, vr, normalise(inner, vr, value))
        except HeaderError as error:
            raise HeaderError(f"{keyword_for(tag)}: in an item: {error}") from None
    return dataset


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_IN_LINES = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")


def _clean(vr: str, value: Any) -> bool:
    """False for text with control characters (PS3.5 section 6.1.3)."""
    if vr not in TEXT:
        return True
    pattern = _CONTROL_IN_LINES if vr in SINGLE else _CONTROL
    return not any(pattern.search(part) for part in strings(value))


def _check_multiplicity(tag: int, vr: str, element: DataElement) -> None:
    """Raise unless an element has as many values as the dictionary allows (PS3.5 section 6.4)."""
    allowed = dictionary_vm(tag)
    if vr != "SQ" and allowed and element.VM and not _multiplicity(allowed, element.VM):
        raise HeaderError(f"{keyword_for(tag)}: holds {allowed} values, not {element.VM}")


def _multiplicity(allowed: str, count: int) -> bool:
    """``allowed`` is "3", "1-8", "1-n", "2-2n", or several of them with "or" between."""
    for choice in allowed.split(" or "):
        low, _, high = choice.partition("-")
        if not high and count == int(low):
            return True
        step = int(high[:-1] or 1) if high.endswith("n") else 0
        if step and count >= int(low) and count % step == 0:
            return True
        if high and not step and int(low) <= count <= int(high):
            return True
    return False
