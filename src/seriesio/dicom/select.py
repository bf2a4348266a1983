"""Which instances have an attribute of a given value: the ``select=`` of opening."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import HeaderError
from .charset import codecs_in, decode
from .keywords import tag_for
from .table import Column, HeaderTable, decode_numbers, decode_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["matching"]

_TOLERANCE: Final = 1e-3
_TEXT: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})  # by Specific Character Set


def matching(table: HeaderTable, name: str, value: Any) -> NDArray[np.bool_]:
    """(n,) True for the instances whose attribute ``name`` is ``value``.

    Numbers are compared as numbers (several within 1e-3), texts as texts; a function of the
    attribute's text decides for itself.

    Raises:
        HeaderError: no DICOM attribute has that name.
    """
    tag = tag_for(name)
    if tag is None:
        raise HeaderError(f"select: {name!r} is no DICOM keyword")
    vr = _vr(tag)
    column: Column = table.column_at(tag, vr)
    fits = _test(vr, value.tolist() if isinstance(value, np.ndarray) else value)
    if vr not in _TEXT:
        good = [raw is not None and fits(raw, decode_text(raw)) for raw in column.values]
        return np.array(good, bool)[column.codes]
    sets = table.column("SpecificCharacterSet")
    pairs, inverse = np.unique(
        np.stack([column.codes, sets.codes], axis=1), axis=0, return_inverse=True
    )
    good = []
    for code, charset in pairs.tolist():
        raw = column.values[code]
        codecs = codecs_in(sets.values[charset] or b"")
        good.append(raw is not None and fits(raw, decode(raw, codecs).strip(" \0")))
    return np.array(good, bool)[inverse.reshape(-1)]


def _vr(tag: int) -> str:
    from pydicom.datadict import dictionary_VR

    return dictionary_VR(tag).split(" ")[0]


def _test(vr: str, value: Any) -> Callable[[bytes, str], bool]:
    """Whether raw bytes and their text are what is asked for."""
    if callable(value):
        return lambda raw, text: bool(value(text))
    wanted = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if wanted and all(isinstance(entry, int | float | np.number) for entry in wanted):
        numbers = np.array(wanted, float)
        return lambda raw, text: _near(decode_numbers(raw, vr, True), numbers)
    joined = "\\".join(str(entry) for entry in wanted)
    return lambda raw, text: text == joined


def _near(found: tuple[float, ...], wanted: NDArray[np.float64]) -> bool:
    return len(found) == len(wanted) and bool(np.allclose(found, wanted, rtol=0, atol=_TOLERANCE))
