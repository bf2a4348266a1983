"""What can tell the volumes of a series apart: criteria by name, as numbers of frames."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from .table import decode_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .frames import Frames

__all__ = ["CRITERIA", "MOMENTS", "Criterion", "Values", "clock_seconds"]

Values: TypeAlias = "NDArray[np.float64]"
Reader: TypeAlias = Callable[["Frames"], Values]


@dataclass(frozen=True, slots=True)
class Criterion:
    """A way to tell volumes apart.

    ``readers`` are tried in their order. Under ``ranked`` the values may differ from slice to
    slice of a volume (each has its own acquisition time): then the order at each position counts.
    """

    name: str
    unit: str
    readers: tuple[tuple[str, Reader], ...]
    ranked: bool = False

    def read(self, frames: Frames) -> Iterator[tuple[str, Values]]:
        """What each reader finds, of those that find a number for every frame."""
        for keyword, reader in self.readers:
            values = reader(frames)
            if np.isfinite(values).all():
                yield keyword, values


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


def _moment(text: str) -> float:
    """Seconds of a DICOM date time (DT); the offset from UTC is one for a whole series."""
    digits = text.split("+")[0].split("-")[0]
    return clock_seconds(digits[:8], digits[8:]) if len(digits) > 8 else float("nan")


def _clock(prefix: str) -> Reader:
    def read(frames: Frames) -> NDArray[np.float64]:
        dates, times = frames.column(f"{prefix}Date"), frames.column(f"{prefix}Time")
        pairs = np.stack([dates.codes, times.codes], axis=1)
        unique, inverse = np.unique(pairs, axis=0, return_inverse=True)
        seconds = [
            clock_seconds(decode_text(dates.values[d]), decode_text(times.values[t]))
            for d, t in unique
        ]
        return np.array(seconds)[inverse.reshape(-1)]

    return read


def _date_time(keyword: str) -> Reader:
    def read(frames: Frames) -> NDArray[np.float64]:
        texts, codes = frames.texts(keyword)
        return np.array([_moment(text) for text in texts])[codes]

    return read


def _number(keyword: str) -> Reader:
    def read(frames: Frames) -> NDArray[np.float64]:
        return np.asarray(frames.numbers(keyword)[:, 0])

    return read


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
        _criterion("b", "s/mm2", "DiffusionBValue"),
        _criterion("te", "ms", "EchoTime"),
        _criterion("ti", "ms", "InversionTime"),
        _criterion("fa", "deg", "FlipAngle"),
        _criterion("tr", "ms", "RepetitionTime"),
        _criterion("echo", "", "EchoNumbers"),
        _criterion("triggertime", "ms", "TriggerTime"),
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
