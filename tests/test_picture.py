"""Pictures: the window of grey values, montages, thumbnails."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from seriesio.errors import EncodeError, MissingDependencyError
from seriesio.picture import montage, thumbnail_png, window


@dataclass
class Fake:
    """As much of a series as a picture looks at."""

    array: NDArray[Any]
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0)
    axes: tuple[Any, ...] = ("slice", "row", "column")
    sliceLocations: Any = None
    timeline: Any = None
    photometricInterpretation: str = "MONOCHROME2"
    windowCenter: Any = None
    windowWidth: Any = None
    voiLUTFunction: Any = None
    seriesDescription: str = "fake"


def ramp(*shape: int) -> NDArray[np.int16]:
    return np.arange(np.prod(shape)).reshape(shape).astype(np.int16)


def pixels(picture: Any) -> NDArray[np.uint8]:
    return np.asarray(picture)


def bare(series: Fake, **options: Any) -> NDArray[np.uint8]:
    """A montage without labels and title."""
    return pixels(montage(series, labels=False, **options))


def test_window_is_the_standards_formula() -> None:
    """LINEAR: below c - 0.5 - (w-1)/2 is darkest, above c - 0.5 + (w-1)/2 brightest."""
    series = Fake(ramp(4, 16, 16), windowCenter=[40, 500], windowWidth=[101, 1])
    assert window(series) == (40 - 0.5 - 50, 40 - 0.5 + 50)


def test_window_linear_exact() -> None:
    """LINEAR_EXACT has neither the half nor the one of LINEAR (PS3.3 C.11.2.1.3.2)."""
    series = Fake(ramp(4, 16, 16), windowCenter=40, windowWidth=100, voiLUTFunction="LINEAR_EXACT")
    assert window(series) == (-10, 90)


@pytest.mark.parametrize(
    ("centre", "width"),
    [(None, None), (100, None), (100, 0), (100, -5), ("x", "y"), (np.nan, 5), ([], []), (1e6, 2)],
)
def test_window_falls_back_to_percentiles(centre: Any, width: Any) -> None:
    """A window that is missing, broken or shows nothing of the data gives way to percentiles."""
    series = Fake(ramp(10, 10, 10), windowCenter=centre, windowWidth=width)
    low, high = np.percentile(np.arange(1000), (1, 99.5))
    assert window(series) == pytest.approx((low, high), abs=2)


def test_window_ignores_what_is_not_finite() -> None:
    """NaN and infinity do not reach the window."""
    array = np.linspace(0, 1, 1000).reshape(10, 10, 10)
    array[0, 0, :3] = np.nan, np.inf, -np.inf
    low, high = window(Fake(array))
    assert 0 <= low < 0.05
    assert 0.95 < high <= 1


@pytest.mark.parametrize("value", [0, -1000, 7])
def test_window_of_a_constant_array(value: int) -> None:
    """One grey value still has a window around it."""
    low, high = window(Fake(np.full((2, 4, 4), value, dtype=np.int16)))
    assert low < value < high


def test_montage_is_about_as_wide_as_asked() -> None:
    """The picture is never wider than asked, and less than one pixel per tile narrower."""
    picture = montage(Fake(ramp(12, 20, 20)), width=600, columns=4)
    assert 600 - 4 <= picture.width <= 600


def test_montage_places_slices_in_reading_order() -> None:
    """The tile in row r, column c shows slice r * columns + c."""
    array = np.zeros((6, 8, 8), dtype=np.uint8)
    array[4] = 200
    shown = bare(Fake(array), columns=3, width=302, limits=(0, 200))
    middles = [[int(shown[y, x]) for x in (50, 150, 250)] for y in (50, 150)]
    assert middles == [[0, 0, 0], [0, 255, 0]]


@pytest.mark.parametrize("spacing", [(1.0, 2.0, 1.0), (5.0, 1.0, 1.0), (1.0, 0.5, 1.0)])
def test_montage_keeps_the_aspect_ratio(spacing: tuple[float, ...]) -> None:
    """A tile's sides are in proportion to its size in mm."""
    shown = bare(Fake(ramp(1, 30, 40), spacing=spacing), width=400)
    height, width = (length - 4 for length in shown.shape)
    assert height / width == pytest.approx(30 * spacing[1] / (40 * spacing[2]), rel=0.02)


@pytest.mark.parametrize("spacing", [(), (np.nan, np.nan, np.nan), (1.0, 0.0, 1.0), (1e9, 1e9, 1)])
def test_montage_survives_nonsensical_spacing(spacing: tuple[float, ...]) -> None:
    """A spacing that cannot be is square pixels; an absurd one does not make an absurd picture."""
    shown = bare(Fake(ramp(2, 8, 8), spacing=spacing), width=200)
    assert max(shown.shape) <= 400


def test_montage_shows_monochrome1_inverted() -> None:
    """MONOCHROME1: the lowest value is the brightest (PS3.3 C.7.6.3.1.2)."""
    array = np.zeros((1, 8, 8), dtype=np.int16)
    array[:, :, 4:] = 100
    plain = bare(Fake(array), width=100, limits=(0, 100))
    inverted = bare(
        Fake(array, photometricInterpretation="MONOCHROME1"), width=100, limits=(0, 100)
    )
    assert (plain[50, 10], plain[50, 90]) == (0, 255)
    assert (inverted[50, 10], inverted[50, 90]) == (255, 0)


@pytest.mark.parametrize(("dtype", "scale"), [(np.uint8, 1), (np.uint16, 257)])
def test_montage_keeps_colours(dtype: Any, scale: int) -> None:
    """RGB is shown as it is, 16 bits as their upper 8."""
    array = np.zeros((2, 8, 8, 3), dtype=dtype)
    array[...] = np.array([10, 100, 200]) * scale
    series = Fake(array, axes=("slice", "row", "column", "rgb"), photometricInterpretation="RGB")
    assert tuple(bare(series, width=200)[50, 50]) == (10, 100, 200)


def test_three_columns_are_no_colours() -> None:
    """A grey image three columns wide is not taken for RGB."""
    assert montage(Fake(ramp(4, 9, 3))).mode == "L"


def test_montage_of_many_slices_takes_36_evenly() -> None:
    """Of many slices the first, the last and evenly chosen ones in between are shown."""
    array = np.repeat(np.arange(100, dtype=np.uint8), 64).reshape(100, 8, 8)
    shown = bare(Fake(array), columns=6, width=302, limits=(0, 255))
    tiles = [int(shown[25 + 50 * (n // 6), 25 + 50 * (n % 6)]) for n in range(36)]
    assert tiles[0] == 0
    assert tiles[-1] == 99
    assert set(np.diff(tiles)) <= {2, 3}


def test_montage_of_4d_has_a_row_per_step() -> None:
    """Each row of tiles is one time step, each column one slice."""
    array = np.zeros((3, 2, 8, 8), dtype=np.uint8)
    array[1] = 255
    series = Fake(array, axes=("time", "slice", "row", "column"), timeline=[0.0, 2.5, 5.0])
    shown = bare(series, width=202, limits=(0, 255))
    assert [int(shown[50 + 100 * step, 50]) for step in range(3)] == [0, 255, 0]
    assert shown.shape[0] == pytest.approx(302, abs=4)


def test_montage_of_many_steps_and_slices_has_at_most_36_tiles() -> None:
    """4D of 20 × 40 planes is thinned out in both directions."""
    array = np.zeros((20, 40, 8, 8), dtype=np.uint8)
    series = Fake(array, axes=("time", "slice", "row", "column"))
    shown = bare(series, width=602)
    assert shown.shape == pytest.approx((602, 602), abs=12)


def test_labels_change_the_picture_and_add_a_title() -> None:
    """Labels are drawn: the picture is higher by its title and has something bright."""
    series = Fake(np.zeros((4, 8, 8), dtype=np.int16), sliceLocations=[0.0, 2.5, 5.0, 7.5])
    with_labels, without = pixels(montage(series, width=400)), bare(series, width=400)
    assert with_labels.shape[0] > without.shape[0]
    assert with_labels.max() > 200 > without.max()


def test_labels_tell_an_axis_values() -> None:
    """Axes that know their values, and a timeline beside bare names, give the same picture."""
    array = np.zeros((2, 1, 8, 8), dtype=np.int16)
    names = ("time", "slice", "row", "column")
    named = Fake(array, axes=names, timeline=[0.0, 2.5])
    steps = SimpleNamespace(name="time", values=np.array([0.0, 2.5]))
    valued = Fake(array, axes=(steps, *names[1:]))
    unknown = Fake(array, axes=names)
    assert np.array_equal(pixels(montage(named)), pixels(montage(valued)))
    assert not np.array_equal(pixels(montage(named)), pixels(montage(unknown)))


def test_a_plane_alone_is_drawn() -> None:
    """Two dimensions are one slice."""
    assert montage(Fake(ramp(8, 8), axes=("row", "column"), spacing=(1.0, 1.0))).size[0] > 100


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.uint32, np.int64, np.float32, np.float64])
def test_every_dtype_is_drawn(dtype: Any) -> None:
    """Whatever the grey values are kept in, dark stays dark and bright bright."""
    array = np.zeros((1, 8, 8), dtype=dtype)
    array[:, :, 4:] = 1
    shown = bare(Fake(array), width=100)
    assert shown[50, 90] > shown[50, 10]


@pytest.mark.parametrize("shape", [(0, 8, 8), (3, 0, 8), (5,)])
def test_nothing_to_draw_is_an_error_of_ours(shape: tuple[int, ...]) -> None:
    """An array without a plane raises EncodeError, and has no thumbnail."""
    series = Fake(np.zeros(shape, dtype=np.int16))
    with pytest.raises(EncodeError):
        montage(series)
    assert thumbnail_png(series) is None


def test_thumbnail_is_a_small_png() -> None:
    """A PNG that Pillow reads, as wide as asked, of a few kilobytes."""
    data = thumbnail_png(Fake(ramp(30, 64, 64)), width=300)
    assert data is not None
    assert Image.open(io.BytesIO(data)).width == pytest.approx(300, abs=6)
    assert len(data) < 100_000


def test_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Pillow a montage says what to install; a thumbnail is just not there."""
    for name in [name for name in sys.modules if name.split(".")[0] == "PIL"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "PIL", None)
    series = Fake(ramp(2, 8, 8))
    with pytest.raises(MissingDependencyError, match=r'pip install "seriesio\[cli\]"'):
        montage(series)
    assert thumbnail_png(series) is None
