"""The values of further axes as attributes of instances, and the axes as they are read back."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from ..errors import HeaderError
from .criteria import clock_seconds
from .keywords import keyword_for
from .sorting import Axis

if TYPE_CHECKING:
    from .header import Header
    from .splice import Change

__all__ = ["clocked", "decimal", "step_changes"]

Changes: TypeAlias = "dict[int, Change]"

_DAY: Final = 86400.0
_ACQUISITION_DATE, _ACQUISITION_TIME, _ACQUISITION = 0x00080022, 0x00080032, 0x0008002A
_TEMPORAL_POSITION, _TEMPORAL_POSITIONS = 0x00200100, 0x00200105
_B, _DIRECTIONALITY, _DIRECTION = 0x00189087, 0x00189075, 0x00189089
_DIFFUSION: Final = (0x00189117, 0x00189076, 0x00189601)  # sequences, b matrix
_IMAGE_TYPE: Final = 0x00080008
# Where only ranks are known, the moments of the template's slices are not those of the volumes.
_TIMELESS: Final[Changes] = {
    _ACQUISITION: None,
    _ACQUISITION_TIME: ("TM", ""),
    0x00080033: ("TM", ""),  # Content Time
}
_CLOCKS: Final = ("Acquisition", "Content", "Series", "Study")


@dataclass(frozen=True, slots=True)
class _Numbers:
    """An axis that is one numeric attribute: its tag and VR; what else would contradict it."""

    tag: int
    vr: str
    stale: tuple[int, ...] = ()

    def changes(self, axis: Axis, step: int) -> Changes:
        value = float(axis.values[step])
        own: Change = (self.vr, decimal(value) if self.vr == "DS" else _whole(axis, value))
        return {**dict.fromkeys(self.stale), self.tag: own}


def _whole(axis: Axis, value: float) -> int:
    if value != round(value):
        raise HeaderError(f"axis {axis.name}: holds whole numbers in DICOM")
    return round(value)


def decimal(value: float) -> str:
    """A Decimal String of at most 16 characters (PS3.5 section 6.2)."""
    from pydicom.valuerep import format_number_as_ds

    return format_number_as_ds(float(value) + 0.0)  # no minus zero


def _time(axis: Axis, step: int, first_day: str = "") -> Changes:
    value = float(axis.values[step])
    count = {_TEMPORAL_POSITIONS: ("IS", len(axis))}
    if axis.unit != "s":  # mere numbers, as where only ranks tell volumes apart
        return {**_TIMELESS, **count, _TEMPORAL_POSITION: ("IS", _whole(axis, value))}
    date: Changes = {}
    if first_day:
        date = {_ACQUISITION_DATE: ("DA", _later(first_day, int(value // _DAY)))}
    return {
        **count,
        **date,
        _TEMPORAL_POSITION: ("IS", step + 1),
        _ACQUISITION: None,
        _ACQUISITION_TIME: ("TM", _clock(value % _DAY)),
    }


def _later(date: str, days: int) -> str:
    day = datetime.datetime.strptime(date, "%Y%m%d") + datetime.timedelta(days=days)
    return day.strftime("%Y%m%d")


def _clock(seconds: float) -> str:
    whole, micro = divmod(round(seconds * 1e6), 1_000_000)
    return f"{whole // 3600 % 24:02d}{whole // 60 % 60:02d}{whole % 60:02d}.{micro:06d}"


def _rank(axis: Axis, step: int) -> Changes:
    position = {_TEMPORAL_POSITION: ("IS", step + 1)}
    return {**_TIMELESS, _TEMPORAL_POSITIONS: ("IS", len(axis)), **position}


def _b(axis: Axis, step: int) -> Changes:
    stale = dict.fromkeys((*_DIFFUSION, _DIRECTION, _DIRECTIONALITY))
    return {**stale, _B: ("FD", float(axis.values[step]))}


def _bvector(axis: Axis, step: int) -> Changes:
    vector = np.asarray(axis.values[step], np.float64)
    if vector.shape != (3,):
        raise HeaderError("axis bvector: holds three numbers in each step")
    if not np.isfinite(vector).all() or not vector.any():
        return {**dict.fromkeys((*_DIFFUSION, _DIRECTION)), _DIRECTIONALITY: ("CS", "NONE")}
    return {
        **dict.fromkeys(_DIFFUSION),
        _DIRECTION: ("FD", vector.tolist()),
        _DIRECTIONALITY: ("CS", "DIRECTIONAL"),
    }


def _dti(axis: Axis, step: int) -> Changes:
    row = np.asarray(axis.values[step], np.float64)
    if row.shape != (4,):
        raise HeaderError("axis dti: holds b, x, y, z in each step")
    rows = np.asarray(axis.values)
    return {
        **_bvector(Axis("bvector", "", rows[:, 1:]), step),
        _B: ("FD", float(row[0])),
    }


def _phase(axis: Axis, step: int) -> Changes:
    return {_IMAGE_TYPE: ("CS", ["DERIVED", "SECONDARY", str(axis.values[step])])}


_WRITERS: Final[dict[str, Callable[[Axis, int], Changes]]] = {
    "none": _rank,
    "rank": _rank,
    "b": _b,
    "bvector": _bvector,
    "dti": _dti,
    "phase": _phase,
    "te": _Numbers(0x00180081, "DS", (0x00189082,)).changes,
    "ti": _Numbers(0x00180082, "DS", (0x00189079,)).changes,
    "fa": _Numbers(0x00181314, "DS").changes,
    "tr": _Numbers(0x00180080, "DS").changes,
    "triggertime": _Numbers(0x00181060, "DS", (0x00209153,)).changes,
    "echo": _Numbers(0x00180086, "IS").changes,
}


def step_changes(axes: Sequence[Axis], first_day: str = "") -> list[Changes]:
    """What the instances of each volume say of its place on the further axes, in C order.

    ``first_day``: the date (DA) that times in seconds are counted from.

    Raises:
        HeaderError: an axis that no attribute of DICOM stands for, or a value that it cannot hold.
    """
    each = [
        [_checked(axis, step, _writer(axis, first_day)) for step in range(len(axis))]
        for axis in axes
    ]
    _check_apart(axes, [steps[0] for steps in each])
    places = np.ndindex(*map(len, axes))
    return [_merged(parts[step] for parts, step in zip(each, at, strict=True)) for at in places]


def _checked(axis: Axis, step: int, write: Callable[[Axis, int], Changes]) -> Changes:
    """What a step says, if its attributes can hold it."""
    from .assign import normalise
    from .values import BROKEN

    try:
        changes = write(axis, step)
    except BROKEN:
        raise HeaderError(f"axis {axis.name}: step {step} has a value of the wrong kind") from None
    for tag, change in changes.items():
        if change is not None:
            normalise(tag, *change)
            if change[0] == "FD" and not np.isfinite(change[1]).all():
                raise HeaderError(f"axis {axis.name}: step {step} has a value that is not finite")
    return changes


def _merged(parts: Iterable[Changes]) -> Changes:
    """All that the axes say together: what one leaves out, another may say."""
    found: Changes = {}
    for part in parts:
        found |= {tag: part[tag] for tag in part if part[tag] is not None or tag not in found}
    return found


def _check_apart(axes: Sequence[Axis], firsts: Sequence[Changes]) -> None:
    """Raise HeaderError if two axes would be told by the same attribute."""
    owners: dict[int, str] = {}
    for axis, changes in zip(axes, firsts, strict=True):
        for tag in (tag for tag, change in changes.items() if change is not None):
            if tag in owners:
                raise HeaderError(
                    f"axes {owners[tag]} and {axis.name}: DICOM tells both by "
                    f"{keyword_for(tag)}; give one of them another meaning"
                )
            owners[tag] = axis.name


def _writer(axis: Axis, first_day: str) -> Callable[[Axis, int], Changes]:
    if axis.name == "time":
        return partial(_time, first_day=first_day)
    found = _WRITERS.get(axis.name)
    if found is not None:
        return found
    raise HeaderError(
        f"axis {axis.name!r}: no attribute of DICOM is known for it; known are "
        f"{', '.join(sorted(_WRITERS))}"
    )


def clocked(axes: Sequence[Axis], header: Header, same: bool) -> tuple[tuple[Axis, ...], str]:
    """Axes whose times are moments after midnight, as they will be read back; and the first day.

    ``same``: the times are those of the template itself, moments already.

    Raises:
        HeaderError: times over more than a day, and the template has no date; or no numbers.
    """
    timed = [axis for axis in axes if axis.name == "time" and axis.unit == "s"]
    if not timed:
        return tuple(axes), ""
    date, start = _begin(header)
    values = np.asarray(timed[0].values, np.float64)
    if not np.isfinite(values).all():
        raise HeaderError("axis time: has values that are not finite")
    moments = values if same else start + (values - values[0])
    if moments.min() < 0 or (not date and moments.max() >= _DAY):
        moments = moments - moments.min()
    if not date and moments.max() >= _DAY:
        raise HeaderError("axis time: spans more than a day, and the template has no date")
    clock = Axis("time", "s", np.round(moments, 6))
    return tuple(clock if axis is timed[0] else axis for axis in axes), date


def _begin(header: Header) -> tuple[str, float]:
    """The date and the second of its day at which a template's acquisition began."""
    for name in _CLOCKS:
        date, time = (str(header.get(f"{name}{kind}") or "") for kind in ("Date", "Time"))
        seconds = clock_seconds("", time)
        if time and np.isfinite(seconds):
            return (date if _is_date(date) else ""), seconds
    return "", 0.0


def _is_date(text: str) -> bool:
    try:
        datetime.datetime.strptime(text, "%Y%m%d")
    except ValueError:
        return False
    return True
