"""What the caller of ``open`` may say about sorting, geometry and values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from ..errors import UnsortableSeriesError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

__all__ = ["PlanOptions", "take_options"]


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What the caller of ``open`` may say about sorting, geometry and values.

    Attributes:
        input_order: "auto", "none", or criteria with commas between them.
        rescale, dtype, warn: of values; whether what is incomplete is told, not refused.
        slice_tolerance: mm along the normal; positions that are nearer are one slice.
        dir_cosine_tolerance: how much direction cosines of one stack may differ.
        auto_sort: the criteria that "auto" looks among, in their order.
        accept_uneven_slices: positions may have more frames than others: whole volumes are
            opened, and ``report.missing`` says what was left out.
        accept_duplicate_tag: frames of a position may have the same values of a criterion: they
            stand side by side, in the order of their moments or numbers.
        sort_on_slice_location: slices by Slice Location, not along the normal.
        split_acquisitions, split_echo_numbers: a series for each Acquisition Number, for each
            Echo Number.
        ignore_series_uid: all series of a study are one.
        headers_only: no pixels are read; the array refuses to give values.
        stack: the number of the stack of frames, where one object mixes several.
        criteria: the caller's own, name → DICOM keyword or function of a ``Dataset``.
    """

    input_order: str = "auto"
    rescale: bool = True
    dtype: DTypeLike | None = None
    warn: bool = False
    slice_tolerance: float | None = None
    dir_cosine_tolerance: float | None = None
    auto_sort: Sequence[str] | None = None
    accept_uneven_slices: bool = False
    accept_duplicate_tag: bool = False
    sort_on_slice_location: bool = False
    split_acquisitions: bool = False
    split_echo_numbers: bool = False
    ignore_series_uid: bool = False
    headers_only: bool = False
    stack: int | None = None
    criteria: Mapping[str, Any] = field(default_factory=dict)


# Named arguments of ``open``, and what comes otherwise; all other fields are options.
_NAMED: Final = {"input_order", "rescale", "dtype", "warn", "stack", "criteria"}
_OPTIONS: Final = {field.name for field in fields(PlanOptions)} - _NAMED
_FLAGS: Final = {field.name for field in fields(PlanOptions) if field.type == "bool"} - _NAMED
_TOLERANCES: Final = ("slice_tolerance", "dir_cosine_tolerance")


def take_options(
    input_order: str,
    rescale: bool,
    dtype: DTypeLike | None,
    on_incomplete: str,
    options: Mapping[str, Any],
) -> tuple[PlanOptions, dict[str, Any]]:
    """The options of planning, and those that are left for the transport.

    A name in ``input_order`` (or ``auto_sort``) that is an option, too, is a criterion of the
    caller's own: ``input_order="tr", tr="RepetitionTime"``.

    Raises:
        ValueError: an option that cannot have that value.
        UnsortableSeriesError: an ``input_order`` or ``auto_sort`` that names no criteria.
    """
    if on_incomplete not in ("raise", "warn"):
        raise ValueError(f'on_incomplete is "raise" or "warn", not {on_incomplete!r}')
    if rescale not in (True, False):
        raise ValueError(f"rescale is True or False, not {rescale!r}")
    if not isinstance(input_order, str):
        raise UnsortableSeriesError(f'input_order is a text, as "time,te", not {input_order!r}')
    own = {name: value for name, value in options.items() if name in _OPTIONS}
    _check(own)
    names = _names(input_order, own.get("auto_sort"))
    criteria = {
        name.lower(): value
        for name, value in options.items()
        if name not in own and name.lower() in names
    }
    plan = PlanOptions(
        input_order, rescale, dtype, on_incomplete == "warn", criteria=criteria, **own
    )
    taken = {*own, *(name for name in options if name.lower() in criteria)}
    return plan, {name: value for name, value in options.items() if name not in taken}


def _names(input_order: str, auto_sort: Sequence[str] | None) -> set[str]:
    named = [*input_order.split(","), *(auto_sort or ())]
    return {name.strip().lower() for name in named}


def _check(options: Mapping[str, Any]) -> None:
    """Refuse values of the wrong kind: a word is no flag, a negative tolerance none."""
    for name in _FLAGS & options.keys():
        if options[name] not in (True, False):
            raise ValueError(f"{name} is True or False, not {options[name]!r}")
    for name in _TOLERANCES:
        value = options.get(name)
        if value is not None and not (isinstance(value, int | float) and 0 <= value < float("inf")):
            raise ValueError(f"{name} is a number, 0 or more, not {value!r}")
    candidates = options.get("auto_sort")
    if candidates is not None and (
        not isinstance(candidates, list | tuple)
        or not all(isinstance(name, str) for name in candidates)
    ):
        raise UnsortableSeriesError('auto_sort is a list of criteria, as ["time", "b"]')
