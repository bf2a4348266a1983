"""What can tell the volumes of a series apart: criteria by name, as values of frames."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from .gradients import B_READERS, VECTOR_READERS, weighting
from .table import decode_numbers, decode_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .frames import Frames

__all__ = [
    "CRITERIA",
    "MOMENTS",
    "Criterion",
    "Reader",
    "Values",
    "clock_seconds",
    "coded",
    "complete",
    "dated",
    "moments",
    "over_midnight",
]

_DAY: Final = 86400.0
_PAUSE: Final = 18 * 3600.0  # seconds: longer than any in one series
_OFFSET: Final = re.compile(r"([+-])(\d\d)(\d\d)\s*$", re.ASCII)

Values: TypeAlias = "NDArray[Any]"
Reader: TypeAlias = Callable[["Frames"], Values]


@dataclass(frozen=True, slots=True)
class Criterion:
    """A way to tell volumes apart.

    ``readers`` are tried in their order; they give (n,) numbers or texts, or (n, 3) or (n, 4)
    numbers. Under ``ranked`` the values may differ from slice to slice of a volume (each has its
    own acquisition time): then the order at each position counts. Where values are ``listed``,
    several volumes may have one (averages, images without weighting): they stand side by side.
    """

    name: str
    unit: str
    readers: tuple[tuple[str, Reader], ...]
    ranked: bool = False
    listed: bool = False

    def read(self, frames: Frames) -> Iterator[tuple[str, Values]]:
        """What each reader finds, of those that find a value for every frame."""
        for keyword, reader in self.readers:
            values = reader(frames)
            if complete(values):
                yield keyword, values


def complete(values: Values) -> bool:
    """True if every frame has a value: finite numbers, or a text."""
    told = values != "" if values.dtype.kind == "U" else np.isfinite(values)
    return bool(told.all())


def coded(values: Values) -> tuple[Values, NDArray[np.intp]]:
    """The different values, ascending, and which of them each frame has.

    Rows are compared element by element, the first one first; images by what they show stand in
    the order magnitude, phase, real, imaginary.
    """
    if values.ndim == 1:
        kinds, codes = np.unique(values, return_inverse=True)
        if kinds.dtype.kind != "U" or not set(kinds.tolist()) <= set(_COMPONENTS.values()):
            return kinds, codes.reshape(-1)
        order = np.argsort([_SHOWN.index(kind) for kind in kinds.tolist()])
        return kinds[order], np.argsort(order)[codes.reshape(-1)]
    joint = np.zeros(len(values), np.intp)
    for column in values.T:
        own, codes = np.unique(column, return_inverse=True)
        joint = np.unique(joint * len(own) + codes.reshape(-1), return_inverse=True)[1].reshape(-1)
    first = np.unique(joint, return_index=True)[1]
    return values[first], joint


def clock_seconds(date: str, time: str) -> float:
    """Seconds since the year 1 of a DICOM date (DA) and time (TM); NaN where unreadable.

    PS3.5 section 6.2; the old form with colons is read too.
    """
    clock = time.replace(":", "")
    whole, _, fraction = clock.partition(".")
    if not _digits(whole) or len(whole) not in (2, 4, 6) or (fraction and not _digits(fraction)):
        return float("nan")
    whole = whole.ljust(6, "0")
    seconds = int(whole[:2]) * 3600 + int(whole[2:4]) * 60 + int(whole[4:])
    return _day(date) * 86400.0 + seconds + (float(f"0.{fraction}") if fraction else 0.0)


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _day(date: str) -> int:
    digits = date.replace(".", "")[:8]
    if len(digits) != 8 or not _digits(digits):
        return 0
    try:
        return datetime.date(int(digits[:4]), int(digits[4:6]), int(digits[6:])).toordinal()
    except ValueError:
        return 0


def moments(texts: Sequence[str]) -> NDArray[np.float64]:
    """Seconds of DICOM date times (DT, PS3.5 section 6.2); NaN where unreadable.

    On one clock: where offsets from UTC differ (``&ZZXX``), that of the smallest.
    """
    offsets = np.array([_offset(text) for text in texts])
    if np.isnan(offsets).all():
        offsets[:] = 0
    least = np.nanmin(offsets, initial=np.inf)
    seconds = np.array([_moment(text) for text in texts])
    return np.asarray(seconds - np.nan_to_num(offsets - least))


def _moment(text: str) -> float:
    digits = text.split("+")[0].split("-")[0]
    seconds = clock_seconds(digits[:8], digits[8:]) if len(digits) > 8 else float("nan")
    return seconds if seconds >= _DAY else float("nan")  # less: no readable date


def _offset(text: str) -> float:
    """Seconds that a clock is ahead of UTC; NaN where it does not say so."""
    found = _OFFSET.search(text)
    if found is None:
        return float("nan")
    seconds = int(found[2]) * 3600 + int(found[3]) * 60
    return float(-seconds if found[1] == "-" else seconds)


def dated(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Moments, those without a date on the day of the others; NaN if these have several."""
    without = seconds < _DAY
    days = np.unique(seconds[seconds >= _DAY] // _DAY)
    if not len(days) or not without.any():
        return seconds
    day = days[0] * _DAY if len(days) == 1 else np.nan
    return np.where(without, seconds + day, seconds)


def over_midnight(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Moments of one and the same day (or none), those after midnight a day later.

    Times without dates, or with the one date that de-identification has left: no scan has a
    pause of most of a day, so what lies before it came after what lies behind it.
    """
    known = np.unique(seconds[np.isfinite(seconds)])
    if not len(known) or known[0] // _DAY != known[-1] // _DAY:
        return seconds
    gaps = np.diff(known)
    if gaps.max(initial=0.0) <= _PAUSE:
        return seconds
    return np.where(seconds <= known[gaps.argmax()], seconds + _DAY, seconds)


def _clock(prefix: str) -> Reader:
    def read(frames: Frames) -> Values:
        dates, times = frames.column(f"{prefix}Date"), frames.column(f"{prefix}Time")
        width = len(times.values)
        pairs, inverse = np.unique(dates.codes * width + times.codes, return_inverse=True)
        seconds = [
            clock_seconds(decode_text(dates.values[d]), decode_text(times.values[t]))
            for d, t in (divmod(pair, width) for pair in pairs.tolist())
        ]
        return np.asarray(over_midnight(dated(np.array(seconds)))[inverse.reshape(-1)])

    return read


def _date_time(keyword: str) -> Reader:
    def read(frames: Frames) -> Values:
        texts, codes = frames.texts(keyword)
        return np.asarray(over_midnight(moments(texts))[codes])

    return read


def _number(keyword: str) -> Reader:
    def read(frames: Frames) -> Values:
        return np.asarray(frames.numbers(keyword)[:, 0])

    return read


# Values 3 and 4 of Image Type (PS3.3 section C.8.3.1.1.1 leaves them to the vendors: Siemens
# writes M, P, R, I; Philips M_FFE\M) and Complex Image Component (section C.8.13.3.1.1).
_SHOWN: Final = ("magnitude", "phase", "real", "imaginary")
_COMPONENTS: Final = {
    **{shown[0].upper(): shown for shown in _SHOWN},
    **{shown.upper(): shown for shown in _SHOWN},
}


def _image_type(frames: Frames) -> Values:
    """What images show by their Image Type, from value 3 on."""
    texts, codes = frames.texts("ImageType")
    return np.array([_shown(text.split("\\")[2:]) for text in texts], "U16")[codes]


def _component(frames: Frames) -> Values:
    texts, codes = frames.texts("ComplexImageComponent")
    return np.array([_shown([text]) for text in texts], "U16")[codes]


def _ge_component(frames: Frames) -> Values:
    """(0043,xx2F) of GE: 0 magnitude, 1 phase, 2 real, 3 imaginary."""
    found = frames.private(0x0043, "GEMS_PARM_01", 0x2F, "SS")
    if found is None:
        return np.full(len(frames), "", "U16")
    column, vr = found
    numbers = (decode_numbers(value, vr, True)[:1] for value in column.values)
    shown = [_SHOWN[int(n[0])] if n and n[0] in (0, 1, 2, 3) else "" for n in numbers]
    return np.array(shown, "U16")[column.codes]


def _shown(parts: list[str]) -> str:
    return next((_COMPONENTS[part.strip()] for part in parts if part.strip() in _COMPONENTS), "")


def _dti(frames: Frames) -> Values:
    """(n, 4) b, x, y, z; NaN where either is not told of every frame."""
    b, vectors = weighting(frames)
    if b is None or vectors is None:
        return np.full((len(frames), 4), np.nan)
    return np.concatenate([b[:, None], vectors], axis=1)


def _criterion(name: str, unit: str, *keywords: str) -> Criterion:
    return Criterion(name, unit, tuple((keyword, _number(keyword)) for keyword in keywords))


_TIMES: Final[tuple[tuple[str, Reader], ...]] = (
    ("AcquisitionDateTime", _date_time("AcquisitionDateTime")),
    ("AcquisitionTime", _clock("Acquisition")),
    ("ContentTime", _clock("Content")),
    ("TemporalPositionIdentifier", _number("TemporalPositionIdentifier")),
)

MOMENTS: Final = frozenset(keyword for keyword, _ in _TIMES[:3])
"""The keywords whose values are seconds since the year 1."""

# PS3.3: C.8.13 (MR), C.8.3.1 (MR image), C.7.6.16.2 (functional groups).
CRITERIA: Final = {
    criterion.name: criterion
    for criterion in (
        Criterion("b", "s/mm2", B_READERS),
        Criterion("bvector", "", VECTOR_READERS, listed=True),
        Criterion("dti", "s/mm2", (("b value and direction", _dti),), listed=True),
        _criterion("te", "ms", "EchoTime"),
        _criterion("ti", "ms", "InversionTime"),
        _criterion("fa", "deg", "FlipAngle"),
        _criterion("tr", "ms", "RepetitionTime"),
        _criterion("echo", "", "EchoNumbers"),
        _criterion("triggertime", "ms", "TriggerTime"),
        Criterion(
            "phase",
            "",
            (
                ("ComplexImageComponent", _component),
                ("ImageType", _image_type),
                ("image type (0043,xx2F)", _ge_component),
            ),
        ),
        Criterion("time", "s", _TIMES),
        # The last resort: the order of the instances at each position.
        Criterion(
            "rank",
            "",
            (
                *_TIMES[:3],
                ("AcquisitionNumber", _number("AcquisitionNumber")),
                ("InstanceNumber", _number("InstanceNumber")),
            ),
            ranked=True,
        ),
    )
}
