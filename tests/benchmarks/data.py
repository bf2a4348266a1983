"""The series that the benchmark reads and writes, made with pydicom and numpy alone.

Nothing here imports seriesio: the arrays kept beside the files are the oracle for every reader.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from .headers import Slice, write_slice

__all__ = ["Case", "Corpus", "Sizes"]

Pixels = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much data: numbers of slices, of 4D time steps and slices, of compressed slices."""

    slices: int = 300
    steps: int = 10
    step_slices: int = 40
    compressed: int = 100
    directories: int = 8

    @classmethod
    def quick(cls) -> Sizes:
        return cls(slices=60, step_slices=8, compressed=20)


@dataclass(frozen=True, slots=True)
class Case:
    """One series on disk, and what a reader has to make of it."""

    path: Path
    values: Pixels  # after rescale, sorted
    intercept: int = 0

    @property
    def stored(self) -> Pixels:
        return self.values - self.intercept

    def files(self) -> list[Path]:
        return sorted(entry for entry in self.path.iterdir() if entry.is_file())

    def header_bytes(self) -> int:
        """All bytes of the files that are no pixels of an uncompressed series."""
        return sum(file.stat().st_size for file in self.files()) - self.values.nbytes


class Corpus:
    """Makes each case once, when it is asked for; a folder used again is not made again."""

    def __init__(self, root: Path, sizes: Sizes, intercept: int = -1024) -> None:
        self.root = root
        self.sizes = sizes
        self.intercept = intercept
        root.mkdir(parents=True, exist_ok=True)

    def ct(self) -> Case:
        """CT, 512×512, 12 of 16 bits, 140 elements and about 140 kB of header."""
        name = f"ct{self.sizes.slices}i{-self.intercept}"
        return self._made(name, self._make_ct, self.intercept)

    def dynamic(self) -> Case:
        """MR, 192×192, several time steps, 94 elements and about 120 kB of header."""
        return self._made(f"dynamic{self.sizes.steps}x{self.sizes.step_slices}", self._make_dynamic)

    def compressed(self, codec: str) -> Case:
        """The first slices of the CT in the transfer syntax of ``codec``."""

        def make(path: Path) -> Pixels:
            return self._make_compressed(path, codec)

        return self._made(f"{codec}{self.sizes.compressed}", make, self.intercept)

    def zipped(self, method: int) -> Case:
        """The CT in a zip file; ``method`` is zipfile's constant."""
        case = self.ct()
        path = case.path.with_name(f"{case.path.name}-{method}.zip")
        if not path.exists():
            part = path.with_suffix(".part")
            with zipfile.ZipFile(part, "w", method) as archive:
                for file in case.files():
                    archive.write(file, f"ct/{file.name}")
            part.replace(path)
        return Case(path, case.values, case.intercept)

    def copies(self) -> list[Case]:
        """Directories of the CT, hard links of each other."""
        case = self.ct()
        return [self._linked(case, index) for index in range(self.sizes.directories)]

    def _linked(self, case: Case, index: int) -> Case:
        path = case.path.with_name(f"{case.path.name}-copy{index}")
        if not path.exists():
            path.mkdir()
            for file in case.files():
                (path / file.name).hardlink_to(file)
        return Case(path, case.values, case.intercept)

    def _made(self, name: str, make: Callable[[Path], Pixels], intercept: int = 0) -> Case:
        path, truth = self.root / name, self.root / f"{name}.npy"
        if not truth.exists():
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
            np.save(truth, make(path))
        return Case(path, np.load(truth, mmap_mode="r"), intercept)

    def _make_ct(self, path: Path) -> Pixels:
        count = self.sizes.slices
        stored = np.stack(list(_ct_pixels(count, 512)))
        for place, index in enumerate(_shuffled(count)):
            piece = Slice(
                series="ct", number=place, position=(-249.51171875, -249.51171875, -300.0 + index),
                spacing=(1.0, 0.9765625), intercept=self.intercept, elements=140,
                header_bytes=140_000, time=float(index) * 0.031,
            )  # fmt: skip
            write_slice(path, piece, stored[index])
        return (stored.astype(np.int16) + np.int16(self.intercept)).astype(np.int16)

    def _make_dynamic(self, path: Path) -> Pixels:
        steps, slices = self.sizes.steps, self.sizes.step_slices
        base = np.stack(list(_ct_pixels(slices, 192))) // 2
        gain = np.linspace(1.0, 1.8, steps)[:, None, None, None]
        stored: Pixels = (base[None] * gain).astype(np.uint16)
        for place, index in enumerate(_shuffled(steps * slices)):
            step, at = divmod(int(index), slices)
            piece = Slice(
                series="dynamic", number=place, position=(-120.0, -110.5, -40.0 + 2.5 * at),
                spacing=(2.5, 1.25), elements=94, header_bytes=120_000, time=6.4 * step,
                step=step + 1, modality="MR",
            )  # fmt: skip
            write_slice(path, piece, stored[step, at])
        return stored

    def _make_compressed(self, path: Path, codec: str) -> Pixels:
        from .codecs import compress

        case = self.ct()
        count = self.sizes.compressed
        order = sorted(case.files(), key=_height)[:count]
        for file in order:
            compress(pydicom.dcmread(file), codec).save_as(path / file.name)
        return case.values[:count]


def _height(file: Path) -> float:
    dataset = pydicom.dcmread(file, specific_tags=["ImagePositionPatient"])
    return float(dataset.ImagePositionPatient[2])


def _shuffled(count: int) -> NDArray[np.int64]:
    # Names do not tell the order, as with files that a picture archive hands out.
    return np.random.default_rng(7).permutation(count)


def _ct_pixels(count: int, size: int) -> Iterator[NDArray[np.uint16]]:
    """Slices of a body with organs, a smooth field and noise; 12 bits, air is 0."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    for index in range(count):
        z = 2 * index / max(count - 1, 1) - 1
        image = _anatomy(x, y, z) + random.normal(0.0, 18.0, (size, size))
        image[x * x + y * y > 1.0] = 0.0  # outside the field of view
        yield np.clip(np.rint(image), 0, 4095).astype(np.uint16)


def _anatomy(x: NDArray[np.float64], y: NDArray[np.float64], z: float) -> NDArray[np.float64]:
    image = np.full(x.shape, 24.0)
    body = (x / 0.82) ** 2 + (y / 0.62) ** 2 < 1.0 - 0.25 * z * z
    image[body] = 1010.0 + 30.0 * np.sin(3 * x[body] + z) * np.cos(2 * y[body])
    for centre, radius, value in (
        ((-0.40, -0.05), 0.28, 180.0),
        ((0.40, -0.05), 0.28, 190.0),
        ((0.0, 0.38), 0.13, 1650.0),
        ((0.05, -0.2), 0.18, 1090.0),
        ((0.45 * z, 0.1), 0.06, 1220.0),
    ):
        inside = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < (radius * (1 - 0.3 * z * z)) ** 2
        image[inside] = value
    return image
