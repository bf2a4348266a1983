"""The picture inside a phantom: a head of ellipsoids, after Shepp and Logan, with a little noise.

Everything is painted straight into the stored representation, so 300 slices of 512 × 512 take
well under a second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.processing import convert_color_space

from ._phantom_spec import Spec

__all__ = ["make_stored", "palette", "rescale", "stored_to_values"]

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Ellipsoid:
    """In a cube from -1 to 1; ``level`` is a part of full scale; turned in the image plane."""

    level: float
    center: tuple[float, float, float]  # slice, row, column
    radii: tuple[float, float, float]
    angle: float = 0.0  # degrees


_HEAD = (
    _Ellipsoid(0.25, (-0.3, -0.92, 0.0), (0.40, 0.07, 0.11)),  # nose
    _Ellipsoid(0.25, (-0.1, 0.05, -0.74), (0.30, 0.16, 0.05)),  # ears
    _Ellipsoid(0.25, (-0.1, 0.05, 0.74), (0.30, 0.16, 0.05)),
    _Ellipsoid(0.28, (-0.1, 0.0, 0.0), (1.35, 0.92, 0.74)),  # scalp
    _Ellipsoid(0.92, (-0.1, 0.0, 0.0), (1.31, 0.88, 0.70)),  # skull
    _Ellipsoid(0.40, (-0.1, 0.01, 0.0), (1.20, 0.80, 0.62)),  # grey matter
    _Ellipsoid(0.50, (0.05, 0.02, -0.28), (0.80, 0.62, 0.24)),  # white matter
    _Ellipsoid(0.50, (0.05, 0.02, 0.28), (0.80, 0.62, 0.24)),
    _Ellipsoid(0.18, (0.15, -0.02, -0.14), (0.50, 0.34, 0.09), 14.0),  # ventricles
    _Ellipsoid(0.18, (0.15, -0.02, 0.14), (0.50, 0.30, 0.08), -14.0),
    _Ellipsoid(0.92, (-0.55, -0.60, -0.28), (0.26, 0.20, 0.20)),  # orbits
    _Ellipsoid(0.92, (-0.55, -0.60, 0.28), (0.26, 0.20, 0.20)),
    _Ellipsoid(0.62, (-0.55, -0.62, -0.28), (0.22, 0.15, 0.15)),  # eyes
    _Ellipsoid(0.62, (-0.55, -0.62, 0.28), (0.22, 0.15, 0.15)),
    _Ellipsoid(0.75, (0.0, 0.48, -0.16), (0.80, 0.05, 0.05)),  # small lesions
    _Ellipsoid(0.12, (-0.1, 0.56, 0.12), (0.70, 0.07, 0.04), 30.0),
)
_LESION = _Ellipsoid(0.0, (0.1, 0.22, 0.36), (0.90, 0.15, 0.12), 20.0)  # changes from step to step


def _lesion_level(spec: Spec, step: int) -> float:
    return 0.6 + 0.3 * (step + 1) / (spec.steps + 1)


def _grid(length: int, extent: float) -> NDArray[np.float32]:
    """Centres of ``length`` voxels, symmetric about 0."""
    centers = (np.arange(length, dtype=np.float32) + 0.5) * (2 / length) - 1
    return centers * np.float32(extent)


def _paint(volume: Array, ellipsoid: _Ellipsoid, value: np.generic) -> None:
    """Set all voxels of ``volume`` (slice, row, column) inside the ellipsoid."""
    # The stack of slices covers the middle of the head, so that every slice shows some of it.
    z, y, x = (_grid(n, e) for n, e in zip(volume.shape, (0.75, 1.0, 1.0), strict=True))
    reach = max(ellipsoid.radii[1:])
    box = []
    for places, center in ((y, ellipsoid.center[1]), (x, ellipsoid.center[2])):
        inside = np.flatnonzero(np.abs(places - center) <= reach)
        if not len(inside):
            return
        box.append(slice(int(inside[0]), int(inside[-1]) + 1))
    dy, dx = np.meshgrid(
        y[box[0]] - ellipsoid.center[1], x[box[1]] - ellipsoid.center[2], indexing="ij"
    )
    cos, sin = math.cos(math.radians(ellipsoid.angle)), math.sin(math.radians(ellipsoid.angle))
    distance = ((cos * dy + sin * dx) / ellipsoid.radii[1]) ** 2
    distance += ((cos * dx - sin * dy) / ellipsoid.radii[2]) ** 2
    left = 1 - ((z - ellipsoid.center[0]) / ellipsoid.radii[0]) ** 2
    for index in np.flatnonzero(left > 0):
        np.copyto(volume[index][box[0], box[1]], value, where=distance <= left[index])


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    span: float
    noise: int  # noise is one of 0 … noise-1

    def value(self, level: float, dtype: np.dtype[np.generic]) -> np.generic:
        number = self.low + level * (self.span - self.noise)
        return dtype.type(number if dtype.kind == "f" else int(number))


def _scale(spec: Spec) -> _Scale:
    if spec.kind != "integer":
        return _Scale(0.0, 1000.0, 8)
    low, high = spec.stored_range
    if spec.signed:
        low //= 2
    return _Scale(low, high - low, max((high - low) // 128, 1) + 1)


def _noise(spec: Spec, levels: int, dtype: np.dtype[np.generic]) -> tuple[Array, NDArray[np.int64]]:
    """One long run of noise, and where each frame's piece of it begins: no two the same."""
    rng = np.random.default_rng(spec.seed)
    starts = rng.permutation(max(spec.frames, 8192))[: spec.frames]
    size = spec.rows * spec.columns + max(spec.frames, 8192)
    if dtype.kind == "f":
        return (rng.random(size) * levels).astype(dtype), starts
    return rng.integers(0, levels, size).astype(dtype), starts


def _grey(spec: Spec) -> Array:
    """(steps, slices, rows, columns) of stored grey values or palette indices."""
    dtype, scale = spec.stored_dtype, _scale(spec)
    volumes = np.empty((spec.steps, spec.slices, spec.rows, spec.columns), dtype)
    volumes[0] = scale.value(0.02, dtype)
    for ellipsoid in _HEAD:
        _paint(volumes[0], ellipsoid, scale.value(ellipsoid.level, dtype))
    volumes[1:] = volumes[0]
    for step, volume in enumerate(volumes):
        _paint(volume, _LESION, scale.value(_lesion_level(spec, step), dtype))
    noise, starts = _noise(spec, scale.noise, dtype)
    count = spec.rows * spec.columns
    for frame, start in zip(volumes.reshape(spec.frames, count), starts, strict=True):
        np.add(frame, noise[start : start + count], out=frame)
    return volumes


def _bits(spec: Spec) -> Array:
    """Bone and lesions as single bits; the noise is a bit in a hundred turned over."""
    volumes = np.zeros((spec.steps, spec.slices, spec.rows, spec.columns), spec.stored_dtype)
    for ellipsoid in _HEAD:
        _paint(volumes[0], ellipsoid, spec.stored_dtype.type(ellipsoid.level > 0.45))
    volumes[1:] = volumes[0]
    rng = np.random.default_rng(spec.seed)
    volumes ^= rng.random(volumes.shape, dtype=np.float32) < 0.01
    # In pictures too small for that the last pixels count the frames.
    frames = volumes.reshape(spec.frames, -1)
    tail = min(frames.shape[1], spec.frames.bit_length())
    frames[:, frames.shape[1] - tail :] = (np.arange(spec.frames)[:, None] >> np.arange(tail)) & 1
    return volumes


def palette() -> NDArray[np.uint8]:
    """256 colours (256, 3), from black over blue and red to white."""
    ramp = np.arange(256)
    columns = [np.clip(3 * ramp - 256, 0, 255), np.clip(3 * ramp - 512, 0, 255)]
    columns.append(np.where(ramp < 86, 3 * ramp, np.where(ramp < 171, 510 - 3 * ramp, ramp)))
    return np.stack(columns, axis=1).clip(0, 255).astype(np.uint8)


def _color(spec: Spec, indices: Array) -> Array:
    rgb: Array = palette()[indices]
    if not spec.photometric.startswith("YBR_FULL"):
        return rgb
    ybr = np.asarray(convert_color_space(rgb, "RGB", "YBR_FULL"))
    if spec.photometric == "YBR_FULL_422":  # two pixels share the first one's colour
        ybr[..., 1::2, 1:] = ybr[..., ::2, 1:]
    return ybr


def make_stored(spec: Spec) -> Array:
    """Stored values, sorted: ``spec.shape``, with 3 samples behind it for colour."""
    volumes = _bits(spec) if spec.bits_stored == 1 else _grey(spec)
    stored = volumes.reshape(spec.shape)
    return _color(spec, stored) if spec.color else stored


def _integer_dtype(spec: Spec, slope: Array, intercept: Array) -> np.dtype[np.generic]:
    """The smallest that holds every possible value exactly, and is no narrower than stored."""
    low, high = spec.stored_range
    ends = [
        int(s) * value + int(i)
        for s, i in zip(slope, intercept, strict=True)
        for value in (low, high)
    ]
    for name in ("u1", "i1", "u2", "i2", "u4", "i4", "i8"):
        info = np.iinfo(name)
        if info.bits < spec.stored_dtype.itemsize * 8:
            continue
        if info.min <= min(ends) and max(ends) <= info.max:
            return np.dtype(name)
    return np.dtype(np.float32)


def rescale(spec: Spec, stored: Array) -> Array:
    """Stored values times slope plus intercept (PS3.3 C.11.1.1.2), frame by frame.

    Integers where slope and intercept are whole, else float32; ``stored`` itself if nothing is
    to be done.
    """
    if spec.identity:
        return stored
    slope = np.array([float(text) for text in spec.slope])
    intercept = np.array([float(text) for text in spec.intercept])
    whole = bool((slope % 1 == 0).all() and (intercept % 1 == 0).all())
    dtype = _integer_dtype(spec, slope, intercept) if whole else np.dtype(np.float32)
    narrow = dtype.kind in "iu" and dtype.itemsize < 4
    work: Any = np.float64 if dtype.kind == "f" else np.int32 if narrow else np.int64
    frames = stored.reshape(spec.frames, spec.rows, spec.columns)
    values = np.empty(frames.shape, dtype)
    for index, frame in enumerate(frames):
        scaled = np.multiply(frame, work(slope[index]), dtype=work)
        np.add(scaled, work(intercept[index]), out=values[index], casting="unsafe")
    return values.reshape(stored.shape)


def stored_to_values(spec: Spec, stored: Array) -> Array:
    """What a reader shall hand over: rescaled grey values, or RGB."""
    if spec.photometric == "PALETTE COLOR":
        return np.asarray(palette().astype(np.uint16)[stored] * np.uint16(257))
    if spec.photometric.startswith("YBR_FULL"):
        return np.asarray(convert_color_space(stored, "YBR_FULL", "RGB"))
    return rescale(spec, stored)
