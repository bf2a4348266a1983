"""How a series is sorted, and why: from its report, its axes and what varies in its header."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .console import format_shape, format_spacing

if TYPE_CHECKING:
    from .series import Series

__all__ = ["Explanation", "explain"]

# What volumes are told apart by, under the name that ``input_order`` has for it.
_CANDIDATES: Final = {
    "time": (
        *("AcquisitionDateTime", "AcquisitionTime", "ContentTime"),
        *("TemporalPositionIdentifier", "TemporalPositionIndex"),
    ),
    "triggertime": ("TriggerTime", "NominalCardiacTriggerDelayTime"),
    "b": ("DiffusionBValue",),
    "bvector": ("DiffusionGradientOrientation",),
    "te": ("EchoTime", "EffectiveEchoTime"),
    "ti": ("InversionTime",),
    "fa": ("FlipAngle",),
    "tr": ("RepetitionTime",),
    "echo": ("EchoNumbers",),
    "phase": ("ImageType", "ComplexImageComponent"),
    "rank": ("AcquisitionNumber", "InstanceNumber"),
}
_PLANE: Final = ("row", "column", "rgb")  # their spacing says it all
_SHOWN: Final = 6  # values of an axis


@dataclass(frozen=True, slots=True)
class Explanation:
    """How one series is sorted.

    Attributes:
        title: of the series; nothing of the patient.
        error: why it does not open; empty if it does, and all below is empty if it does not.
        criterion, reason: as :class:`~seriesio.Report` has them.
        shape, spacing: of the array, and of its last three axes in mm.
        axes: name, unit, values.
        candidates: criterion to attributes that vary, and in how many values.
        missing: what is missing, doubled or damaged.
        notes: what a careful reader should know.
    """

    title: str
    error: str = ""
    criterion: str = ""
    reason: str = ""
    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    axes: Sequence[tuple[str, str, list[Any]]] = ()
    candidates: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """True if the series opens as it is."""
        return not (self.error or self.missing)

    def told(self) -> list[tuple[str, str]]:
        """(heading, text) of each thing worth telling."""
        if self.error:
            return [("does not open", " ".join(self.error.split()))]
        size = f"{format_shape(self.shape)}, spacing {format_spacing(self.spacing)} mm"
        return [
            ("sorted by", self.criterion or "-"),
            ("because", self.reason or "-"),
            ("shape", size),
            *(
                (f"axis {name}", _values(unit, values))
                for name, unit, values in self.axes
                if name not in _PLANE
            ),
            *(("varies", text) for text in _told_candidates(self.candidates)),
            *(("missing", text) for text in self.missing),
            *(("note", text) for text in self.notes),
        ]


def explain(title: str, series: Series) -> Explanation:
    """What there is to say of a series that opens."""
    report = series.report
    return Explanation(
        title,
        criterion=report.criterion,
        reason=report.reason,
        shape=series.shape,
        spacing=tuple(float(step) for step in series.spacing),
        axes=[(axis.name, axis.unit, np.asarray(axis.values).tolist()) for axis in series.axes],
        candidates=_candidates(series),
        missing=tuple(report.missing),
        notes=tuple(report.notes),
    )


def _candidates(series: Series) -> dict[str, dict[str, int]]:
    """Which attributes of which criterion vary between instances."""
    if len(series.header) < 2:
        return {}
    found = {
        name: {keyword: count for keyword in keywords if (count := _kinds(series, keyword)) > 1}
        for name, keywords in _CANDIDATES.items()
    }
    return {name: counts for name, counts in found.items() if counts}


def _kinds(series: Series, keyword: str) -> int:
    """How many different values an attribute has; 0 where an instance lacks it."""
    if keyword not in series.header:
        return 0
    values = series.header.values(keyword)
    return 0 if any(value is None for value in values) else len(set(map(str, values)))


# --- in words --------------------------------------------------------------------------------


def _told_candidates(candidates: Mapping[str, Mapping[str, int]]) -> list[str]:
    return [
        f"{name}: " + ", ".join(f"{keyword} ({count} values)" for keyword, count in kinds.items())
        for name, kinds in candidates.items()
    ]


def _values(unit: str, values: Sequence[Any]) -> str:
    """The first values of an axis and the last, with the unit."""
    shown = [_value(value) for value in values[:_SHOWN]]
    if len(values) > _SHOWN:
        shown = [*shown[:-1], "…", _value(values[-1])]
    return f"{len(values)} values: {', '.join(shown)} {unit}".rstrip()


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"({' '.join(map(_value, value))})"
    return f"{value:.7g}" if isinstance(value, float) else str(value)
