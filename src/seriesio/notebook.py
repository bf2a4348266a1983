"""How a series shows itself in a notebook: a small montage beside its main attributes."""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING

from .errors import MissingDependencyError
from .picture import thumbnail_png

if TYPE_CHECKING:
    from .series import Series

__all__ = ["html"]

_ATTRIBUTES = ("modality", "seriesNumber", "seriesDescription", "seriesInstanceUID")


def html(series: Series) -> str:
    """The series as HTML: picture, shape, spacing and main attributes; nothing of the patient."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th>"
        f"<td style='text-align:left'>{escape(value)}</td></tr>"
        for name, value in _rows(series)
    )
    return f"<div>{_picture(series)}<table>{rows}</table></div>"


def _rows(series: Series) -> list[tuple[str, str]]:
    axes = ", ".join(f"{axis.name} {len(axis)}" for axis in series.axes)
    spacing = ", ".join(f"{value:.4g}" for value in series.spacing)
    rows = [("shape", axes), ("dtype", str(series.dtype)), ("spacing", f"{spacing} mm")]
    for name in _ATTRIBUTES:
        value = getattr(series, name, None)
        if value is not None:
            rows.append((name, str(value)))
    return rows


def _picture(series: Series) -> str:
    try:
        data = thumbnail_png(series)
    except MissingDependencyError as error:
        return f"<p>{escape(str(error))}</p>"
    if data is None:
        return ""
    return f"<img alt='montage' src='data:image/png;base64,{base64.b64encode(data).decode()}'/>"
