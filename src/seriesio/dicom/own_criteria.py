"""Criteria that the caller of ``open`` gives: by a DICOM keyword, or by a function."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import HeaderError, UnsortableSeriesError
from .criteria import CRITERIA, Criterion, Reader, Values, clock_seconds, moments, over_midnight
from .frames import place_of
from .table import decode_text

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from .frames import Frames

__all__ = ["OwnCriterion", "all_criteria", "names_in"]

OwnCriterion = "str | Callable[[Dataset], Any]"
_NUMBERS: Final = frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"})
_LONGEST: Final = 256  # characters that tell texts apart
_PLAIN: Final = re.compile(r"[+-]?\d{1,15}(\.\d{1,15})?", re.ASCII)


def names_in(input_order: str) -> tuple[str, ...]:
    """The names in an ``input_order``, as they are compared: in lower case."""
    return tuple(part.strip().lower() for part in input_order.split(",") if part.strip())


def all_criteria(own: Mapping[str, Any]) -> Mapping[str, Criterion]:
    """Our criteria, and in front of them those that the caller gives.

    Args:
        own: name → DICOM keyword, or function of a pydicom ``Dataset`` that answers with a number
            or a text (or with one of them for each frame of a multi-frame instance).

    Raises:
        UnsortableSeriesError: a keyword that DICOM does not know, or neither keyword nor function.
    """
    if not own:
        return CRITERIA
    return {**CRITERIA, **{name.lower(): _criterion(name, what) for name, what in own.items()}}


def _criterion(name: str, what: Any) -> Criterion:
    if callable(what):
        return Criterion(name, "", ((f"the function of {name}", _by_function(name, what)),))
    if not isinstance(what, str):
        raise UnsortableSeriesError(
            f"{name}= is a DICOM keyword or a function of a Dataset, not {type(what).__name__}"
        )
    try:
        place_of(what)
    except HeaderError as error:
        raise UnsortableSeriesError(f"input_order {name!r}: {error}") from error
    unit = CRITERIA[name].unit if name in CRITERIA else ""
    return Criterion(name, unit, ((what, _by_keyword(what)),))


def _by_keyword(keyword: str) -> Reader:
    """An attribute as numbers, moments in seconds, or texts."""
    vr = place_of(keyword)[1]

    def read(frames: Frames) -> Values:
        if vr in _NUMBERS:
            return np.asarray(frames.numbers(keyword)[:, 0])
        column = frames.column(keyword)
        told = [decode_text(value)[:_LONGEST] for value in column.values]
        return _meant(vr, told)[column.codes]

    return read


def _meant(vr: str, told: list[str]) -> Values:
    """What texts mean: moments, or numbers if all are ("10" comes after "9"); else themselves."""
    if vr == "DT":
        return over_midnight(moments(told))
    if vr == "TM":
        return over_midnight(np.array([clock_seconds("", text) for text in told], float))
    if all(map(_PLAIN.fullmatch, told)):
        return np.array(told, float)
    return np.array(told, "U")


def _by_function(name: str, function: Callable[[Dataset], Any]) -> Reader:
    def read(frames: Frames) -> Values:
        kinds, inverse = np.unique(frames.instance, return_inverse=True)
        answers = [_answers(name, function, frames, kind) for kind in kinds.tolist()]
        places = zip(inverse.reshape(-1).tolist(), frames.number.tolist(), strict=True)
        return _values(name, [_of_frame(name, answers[i], number) for i, number in places])

    return read


def _answers(name: str, function: Callable[[Dataset], Any], frames: Frames, instance: int) -> Any:
    from .header import Header, Instance

    dataset = Header([Instance(frames.header(instance))]).dataset(0)
    try:
        return function(dataset)
    except Exception as error:  # whatever a caller's function may raise
        raise UnsortableSeriesError(
            f"input_order {name!r}: the function raised {type(error).__name__}"
        ) from error


def _of_frame(name: str, answer: Any, number: int) -> Any:
    if isinstance(answer, str) or not isinstance(answer, Sequence | np.ndarray):
        return answer
    if number >= len(answer):
        raise UnsortableSeriesError(
            f"input_order {name!r}: the function gives {len(answer)} values for more frames"
        )
    return answer[number]


def _values(name: str, found: list[Any]) -> Values:
    """Numbers, where all are; else texts; NaN and "" for None."""
    if all(value is None or isinstance(value, str) for value in found):
        return np.array([(value or "")[:_LONGEST] for value in found], "U")
    try:
        return np.array([np.nan if value is None else float(value) for value in found])
    except (TypeError, ValueError, OverflowError) as error:
        raise UnsortableSeriesError(
            f"input_order {name!r}: the function gives neither numbers nor texts"
        ) from error
