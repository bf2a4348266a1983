"""A series as a picture: a labelled montage, a thumbnail.

Works on anything that has an ``array`` and a ``spacing``; what else it knows (axes, slice
locations, attributes of the header) is used where it is there. Pillow is imported when a
picture is drawn, not before.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import EncodeError, MissingDependencyError
from .window import Pictured, first_number, shown, window

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

__all__ = ["Pictured", "montage", "thumbnail_png", "window"]

_MARGIN = 2  # pixels between tiles
_TALLEST = 1.5  # a tile's height at most, in tile widths
_SMALLEST_LABELLED = 48  # pixels; below, a label hides the picture


@dataclass(frozen=True, slots=True)
class _Planes:
    """The array's planes, counted: ``array[step, slice]`` after flattening the further axes."""

    array: NDArray[Any]  # (steps, slices, rows, columns[, 3])
    axes: tuple[Any, ...]  # the further ones, outermost first: names, or objects that have one
    lengths: tuple[int, ...]
    colour: bool


@dataclass(frozen=True, slots=True)
class _Sheet:
    """Where the tiles go: all lengths in pixels of the picture."""

    columns: int
    rows: int
    tile: tuple[int, int]  # width, height
    title: int

    @property
    def size(self) -> tuple[int, int]:
        width, height = (length + _MARGIN for length in self.tile)
        return self.columns * width + _MARGIN, self.rows * height + _MARGIN + self.title

    def corner(self, place: int) -> tuple[int, int]:
        row, column = divmod(place, self.columns)
        width, height = (length + _MARGIN for length in self.tile)
        return _MARGIN + column * width, self.title + _MARGIN + row * height


def montage(
    series: Pictured,
    *,
    columns: int | None = None,
    width: int = 1200,
    labels: bool = True,
    limits: tuple[float, float] | None = None,
    tiles: int = 36,
) -> Image:
    """Draw slices side by side; of many, evenly chosen ones from the first to the last.

    Each tile keeps the aspect ratio of ``spacing`` and says its slice (counted from 0, as in
    ``series[n]``), its slice location in mm and its place on further axes. A series with
    further axes gets a row of tiles per step.

    Args:
        series: an array (…, slice, row, column), with a trailing 3 for colour.
        columns: tiles in a row; chosen for a picture of about 4:3 if not given.
        width: of the picture, in pixels.
        labels: write the labels and a title.
        limits: (low, high) grey values; :func:`window` of the series if not given.
        tiles: how many at most.

    Raises:
        EncodeError: the array has no planes to draw.
        MissingDependencyError: Pillow is not installed.
    """
    image = _pillow("Image")
    planes = _planes(series)
    low, high = limits or ((0.0, 1.0) if planes.colour else window(series))
    chosen, natural = _choose(planes.array.shape[0], planes.array.shape[1], tiles)
    sheet = _sheet(len(chosen), columns or natural, width, _aspect(series, planes), labels)
    picture = image.new("RGB" if planes.colour else "L", sheet.size)
    inverted = getattr(series, "photometricInterpretation", None) == "MONOCHROME1"
    for place, (step, index) in enumerate(chosen):
        plane = _reduced(planes.array[step, index], sheet.tile)
        pixels = _colours(plane) if planes.colour else _greys(plane, low, high, inverted)
        tile = image.fromarray(pixels).resize(sheet.tile, image.Resampling.BILINEAR)
        picture.paste(tile, sheet.corner(place))
    if labels:
        _write_labels(picture, sheet, _labels(series, planes, chosen))
        _write_title(picture, sheet, _title(series, None if planes.colour else (low, high)))
    drawn: Image = picture
    return drawn


def thumbnail_png(series: Pictured, *, width: int = 480) -> bytes | None:
    """A small montage as PNG bytes; None where Pillow or something to draw is missing."""
    try:
        picture = montage(series, width=width, labels=False, tiles=12)
    except (MissingDependencyError, EncodeError):
        return None
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def _pillow(module: str) -> Any:
    try:
        import PIL.Image
        import PIL.ImageDraw
        import PIL.ImageFont
    except ImportError as error:
        raise MissingDependencyError(
            'a picture needs Pillow: pip install "seriesio[cli]"'
        ) from error
    return getattr(PIL, module)


# --- planes and where they go ----------------------------------------------------------------


def _planes(series: Pictured) -> _Planes:
    array = series.array
    axes = tuple(getattr(series, "axes", ()))
    colour = _is_colour(series, array, [_name(axis) for axis in axes])
    plane = array.ndim - (3 if colour else 2)  # where the axes of one plane begin
    if plane < 0 or array.size == 0:
        raise EncodeError(f"an array of shape {array.shape} has no planes to draw")
    slices = array.shape[plane - 1] if plane else 1
    further = array.shape[: max(plane - 1, 0)]
    return _Planes(
        array.reshape(-1, slices, *array.shape[plane:]),
        axes[: len(further)] if len(axes) >= plane else ("",) * len(further),
        further,
        colour,
    )


def _is_colour(series: Pictured, array: NDArray[Any], names: Sequence[str]) -> bool:
    if array.ndim < 3 or array.shape[-1] != 3:
        return False
    if "column" in names:
        return array.ndim > names.index("column") + 1
    photometric = str(getattr(series, "photometricInterpretation", ""))
    return photometric.startswith(("RGB", "YBR", "PALETTE"))


def _choose(steps: int, slices: int, tiles: int) -> tuple[list[tuple[int, int]], int | None]:
    """Which (step, slice) to draw, and how many of them make a natural row."""
    if steps == 1 or slices == 1:
        chosen = [(s, n) for s in _evenly(steps, tiles) for n in _evenly(slices, tiles)]
        return chosen, None
    shown = _evenly(slices, max(math.isqrt(tiles), tiles // steps))
    return [(s, n) for s in _evenly(steps, tiles // len(shown)) for n in shown], len(shown)


def _evenly(count: int, most: int) -> list[int]:
    """Up to ``most`` of ``range(count)``, the first and the last among them."""
    return [round(float(x)) for x in np.linspace(0, count - 1, max(1, min(count, most)))]


def _aspect(series: Pictured, planes: _Planes) -> float:
    """Height of a plane over its width, in mm."""
    rows, columns = planes.array.shape[2:4]
    spacing = np.asarray(series.spacing, dtype=np.float64).ravel()[-2:]
    known = spacing.size == 2 and bool(np.all(np.isfinite(spacing) & (spacing > 0)))
    dy, dx = spacing if known else (1.0, 1.0)
    return float(rows * dy) / float(columns * dx)


def _sheet(count: int, columns: int | None, width: int, aspect: float, labels: bool) -> _Sheet:
    columns = columns or math.ceil(math.sqrt(count * aspect * 4 / 3))
    columns = max(1, min(columns, count))
    wide = max(1, (width - _MARGIN) // columns - _MARGIN)
    shrink = min(1.0, _TALLEST / aspect)
    tile = max(1, round(wide * shrink)), max(1, round(wide * shrink * aspect))
    return _Sheet(columns, math.ceil(count / columns), tile, max(14, width // 60) if labels else 0)


# --- pixels ----------------------------------------------------------------------------------


def _reduced(plane: NDArray[Any], tile: tuple[int, int]) -> NDArray[Any]:
    """Every n-th row and column of a plane far larger than its tile."""
    step = max(1, min(plane.shape[0] // (2 * tile[1]), plane.shape[1] // (2 * tile[0])))
    return plane[::step, ::step]


def _greys(plane: NDArray[Any], low: float, high: float, inverted: bool) -> NDArray[np.uint8]:
    scaled = (shown(plane).astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    greys: NDArray[np.uint8] = np.nan_to_num(scaled).clip(0, 255).astype(np.uint8)
    return np.invert(greys) if inverted else greys


def _colours(plane: NDArray[Any]) -> NDArray[np.uint8]:
    if plane.dtype == np.uint8:
        return np.ascontiguousarray(plane)
    if plane.dtype == np.uint16:
        return (plane >> 8).astype(np.uint8)
    return np.nan_to_num(plane.astype(np.float32)).clip(0, 255).astype(np.uint8)


# --- text ------------------------------------------------------------------------------------


def _labels(series: Pictured, planes: _Planes, chosen: Sequence[tuple[int, int]]) -> list[str]:
    locations = getattr(series, "sliceLocations", None)
    several = planes.array.shape[1] > 1
    return [
        "  ".join(
            [
                *([_slice_label(locations, index)] if several or not planes.lengths else []),
                *_step_labels(series, planes, step),
            ]
        )
        for step, index in chosen
    ]


def _slice_label(locations: Any, index: int) -> str:
    if locations is None or len(locations) <= index:
        return f"{index}"
    return f"{index}  {float(locations[index]):.1f} mm"


def _step_labels(series: Pictured, planes: _Planes, step: int) -> list[str]:
    places = np.unravel_index(step, planes.lengths) if planes.lengths else ()
    return [
        _step_label(series, axis, int(place))
        for axis, place in zip(planes.axes, places, strict=True)
    ]


def _step_label(series: Pictured, axis: Any, place: int) -> str:
    """``time 2.5`` where the axis' values are known, ``te #3`` where they are not."""
    name = _name(axis)
    attribute = {"time": "timeline", "b": "bvalues"}.get(name, "")
    values = getattr(axis, "values", None)
    values = getattr(series, attribute, None) if values is None else values
    value = None if values is None or len(values) <= place else first_number(values[place])
    return f"{name} #{place}".lstrip() if value is None else f"{name} {value:g}"


def _name(axis: Any) -> str:
    return str(getattr(axis, "name", axis))


def _title(series: Pictured, limits: tuple[float, float] | None) -> str:
    shape = " x ".join(str(length) for length in series.array.shape)
    shown = "" if limits is None else f"{limits[0]:g} … {limits[1]:g}"
    description = str(getattr(series, "seriesDescription", None) or "")
    return "    ".join(part for part in (description, shape, shown) if part)


def _write_labels(picture: Any, sheet: _Sheet, labels: Sequence[str]) -> None:
    if sheet.tile[0] < _SMALLEST_LABELLED:
        return
    draw = _pillow("ImageDraw").Draw(picture)
    font = _font(max(9, min(sheet.tile[0] // 12, 16)))
    for place, label in enumerate(labels):
        x, y = sheet.corner(place)
        fits = draw.textlength(label, font=font) <= sheet.tile[0] - 6
        text = label if fits else label.replace("  ", "\n")
        draw.multiline_text(
            (x + 3, y + 1), text, font=font, fill=_white(picture), stroke_width=1, stroke_fill=0
        )


def _write_title(picture: Any, sheet: _Sheet, title: str) -> None:
    draw = _pillow("ImageDraw").Draw(picture)
    draw.text((4, 1), title, font=_font(max(10, sheet.title * 2 // 3)), fill=_white(picture))


def _font(size: int) -> FreeTypeFont | ImageFont:
    font: FreeTypeFont | ImageFont = _pillow("ImageFont").load_default(size)
    return font


def _white(picture: Any) -> int | tuple[int, int, int]:
    return 255 if picture.mode == "L" else (255, 255, 255)
