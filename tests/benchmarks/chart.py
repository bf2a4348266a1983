"""The chart of the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .measure import Outcome
from .rows import OURS, Row

__all__ = ["draw"]

_SHORTEST = 1e-3  # seconds that have a bar
COLOURS = {
    OURS: "#d1495b",
    "bare preadv": "#9aa5b1",
    "zlib": "#9aa5b1",
    "bytes into an array": "#9aa5b1",
    "nibabel": "#30638e",
    "copying": "#9aa5b1",
    "our own directory": "#9aa5b1",
    "dicomsdl": "#30638e",
    "pydicom": "#00798c",
    "SimpleITK": "#6a994e",
    "imagedata": "#edae49",
    "zipfile": "#7768ae",
    "getscu": "#6a994e",
    "storescu": "#6a994e",
    "pynetdicom": "#30638e",
    "xnatpy": "#edae49",
    "xnatpy, then imagedata": "#edae49",
    "curl": "#9aa5b1",
    "curl, then unpacking": "#9aa5b1",
    "deflating, then curl": "#9aa5b1",
}


def draw(path: Path, outcomes: Mapping[Row, Outcome]) -> None:
    """Horizontal bars, a logarithmic scale: the time of each contender in each row."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "seriesio"  # the same figures give the same file
    mpl.rcParams["font.size"] = 8
    bars = list(_bars(outcomes))
    figure = Figure(figsize=(8, 0.19 * len(bars) + 0.7), layout="constrained")
    axes = figure.subplots()
    for place, (label, name, seconds) in enumerate(bars):
        if name:
            axes.barh(place, seconds * 1000, color=COLOURS[name], height=0.85)
            axes.text(seconds * 1000 * 1.06, place, f"{name}  {_time(seconds)}", va="center")
        else:
            axes.text(
                0.01, place, label.replace("`", ""), va="center", weight="bold", transform=_at(axes)
            )
    _trim(axes, len(bars))
    figure.savefig(path, metadata={"Date": None})


def _bars(outcomes: Mapping[Row, Outcome]) -> list[tuple[str, str, float]]:
    bars: list[tuple[str, str, float]] = []
    for row, outcome in outcomes.items():
        times = {
            name: one.median["time"]
            for name, one in outcome.samples.items()
            if name in COLOURS and "time" in one.median
        }
        timed = any(limit.figure == "time" for limit in row.limits)
        if timed and len(times) > 1 and min(times.values()) >= _SHORTEST:
            bars.append((row.title, "", 0.0))
            bars.extend((row.title, name, seconds) for name, seconds in times.items())
    return bars


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _at(axes: Any) -> Any:
    return axes.get_yaxis_transform()


def _trim(axes: Any, count: int) -> None:
    axes.set_xscale("log")
    axes.set_xlim(1, 1e5)
    axes.set_ylim(count - 0.4, -0.6)
    axes.set_yticks([])
    axes.set_xlabel("milliseconds, logarithmic; shorter is better")
    axes.spines[["top", "right", "left"]].set_visible(False)
