"""Which instances have an attribute of a given value: the ``select=`` of opening."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from ..errors import HeaderError
from .charset import codecs_in, decode
from .keywords import tag_for
from .table import Column, HeaderTable, decode_numbers, decode_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["matching"]

Test: TypeAlias = Callable[[bytes, str], bool]

_TOLERANCE: Final = 1e-3
_TEXT: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})  # by Specific Character Set


def matching(table: HeaderTable, name: object, value: Any) -> NDArray[np.bool_]:
    """(n,) True for the instances whose attribute ``name`` is ``value``.

    Numbers are compared as numbers (within 1e-3), texts as texts; a function of the attribute's
    text decides for itself. A range or a set means one of several values, and so does a list of
    an attribute that has only one; of others (ImageType) it is the whole value.

    Raises:
        HeaderError: no DICOM attribute has that name, nothing can have that value, or the
            function raises.
    """
    tag = tag_for(name) if isinstance(name, str) else None
    if tag is None:
        raise HeaderError(f"select: {name!r} is no DICOM keyword")
    vr = _vr(tag)
    column: Column = table.column_at(tag, vr)
    fits = _test(str(name), tag, value.tolist() if isinstance(value, np.ndarray) else value)
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


def _test(name: str, tag: int, value: Any) -> Test:
    """Whether raw bytes and their text are what is asked for."""
    from pydicom.datadict import dictionary_VM

    if callable(value):
        return _asked(name, value)
    if value is None or isinstance(value, bytes | slice | Mapping):
        raise HeaderError(
            f"select: {name} is a number, a text, several of them or a function, "
            f"not {type(value).__name__}"
        )
    vr = _vr(tag)
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    if isinstance(value, range | set | frozenset) or (listed and dictionary_VM(tag) == "1"):
        return _one_of(vr, value)
    return _whole_value(vr, value if listed else [value])


def _asked(name: str, function: Callable[[str], Any]) -> Test:
    def fits(raw: bytes, text: str) -> bool:
        try:
            return bool(function(text))
        except Exception as error:  # whatever a caller's function may raise
            raise HeaderError(
                f"select: the function of {name} raised {type(error).__name__}"
            ) from error

    return fits


def _one_of(vr: str, value: Collection[Any]) -> Test:
    if isinstance(value, range):  # may be long
        return lambda raw, text: _integer(decode_numbers(raw, vr, True)) in value
    numbers = np.sort(np.array([entry for entry in value if _is_number(entry)], float))
    texts = frozenset(str(entry) for entry in value if not _is_number(entry))
    return lambda raw, text: text in texts or _among(decode_numbers(raw, vr, True), numbers)


def _whole_value(vr: str, wanted: Sequence[Any]) -> Test:
    if wanted and all(map(_is_number, wanted)):
        numbers = np.array(wanted, float)
        return lambda raw, text: _near(decode_numbers(raw, vr, True), numbers)
    joined = "\\".join(str(entry) for entry in wanted)
    return lambda raw, text: text == joined


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number)


def _integer(found: tuple[float, ...]) -> int | None:
    """The one whole number that was found; None of all else."""
    return int(found[0]) if len(found) == 1 and float(found[0]).is_integer() else None


def _among(found: tuple[float, ...], ascending: NDArray[np.float64]) -> bool:
    if len(found) != 1:
        return False
    near = np.searchsorted(ascending, [found[0] - _TOLERANCE, found[0] + _TOLERANCE])
    return bool(near[0] < near[1])


def _near(found: tuple[float, ...], wanted: NDArray[np.float64]) -> bool:
    return len(found) == len(wanted) and bool(np.allclose(found, wanted, rtol=0, atol=_TOLERANCE))
