"""What the tests of guest formats share: voxels, a place, and files written and read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from seriesio.blob import Blob, FileBlob, MemoryBlob, read_all
from seriesio.formats.image import Image
from seriesio.protocols import Guest

__all__ = ["MEMORY", "OBLIQUE", "TYPES", "GuestFiles", "affine_of", "changed", "place", "voxels"]

MEMORY = 1 << 20
TYPES = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]
OBLIQUE = np.array([[0.8, -0.6, 0.0], [0.48, 0.64, 0.6], [-0.36, -0.48, 0.8]])


def voxels(dtype: Any = "i2", shape: tuple[int, ...] = (2, 3, 4)) -> NDArray[Any]:
    """(…, slices, rows, columns) different values."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def place() -> NDArray[np.float64]:
    """An oblique and sheared affine."""
    affine = np.eye(4)
    affine[:3, :3] = OBLIQUE * [0.5, 0.75, 3.0]
    affine[:3, 2] += [0.1, 0.5, 0.2]
    affine[:3, 3] = [-10.0, 20.5, 30.0]
    return affine


def affine_of(image: Any) -> NDArray[np.float64]:
    """The affine of SimpleITK's own numbers, which are LPS."""
    affine = np.eye(4)
    directions = np.array(image.GetDirection()).reshape(3, 3)
    affine[:3, :3] = directions * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return affine


@dataclass(frozen=True, slots=True)
class GuestFiles:
    """Files of a format; those in memory have the name ``name`` unless another is given."""

    format: Guest
    name: str

    def read(
        self, data: bytes, name: str | None = None, memory: int = MEMORY, **options: Any
    ) -> Image:
        name = name or self.name
        files = {name: MemoryBlob(name, data)}
        return self.format.read(name, files, memory=memory, options=options)

    def read_path(self, path: Path, **options: Any) -> Image:
        """Read a file with those of its companions that are there, as the frame does."""
        head = path.read_bytes()[:1024]
        assert self.format.claims(path.name, head)
        names = [path.name, *self.format.companions(path.name, head)]
        there = [path.parent / name for name in names if (path.parent / name).exists()]
        files: dict[str, Blob] = {p.name: FileBlob(p.name, str(p), p.stat().st_size) for p in there}
        return self.format.read(path.name, files, memory=MEMORY, options=options)

    def write(self, folder: Path, image: Image, **options: Any) -> list[Path]:
        """Write the files of an image, which is named "a"; their paths."""
        blobs = list(self.format.write(image, "a", options=options))
        for blob in blobs:
            data = read_all(blob)
            assert len(data) == blob.size
            (folder / blob.name).write_bytes(data)
        return [folder / blob.name for blob in blobs]


@st.composite
def changed(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """One of the files, with up to four runs of its bytes replaced: other bytes, long numbers."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        where = draw(st.integers(0, len(data) - 1))
        piece = draw(st.one_of(st.binary(max_size=4), st.sampled_from([b"9" * 20, b"-", b"e"])))
        data[where : where + draw(st.integers(0, 3))] = piece
        data = data or bytearray(b"\n")
    return bytes(data)
