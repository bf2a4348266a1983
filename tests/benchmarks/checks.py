"""Every contender has to do the work rightly once before it is timed."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from .peers import Member, members

__all__ = [
    "WrongAnswerError",
    "about_same_values",
    "changed_files",
    "same_bytes",
    "same_files",
    "same_members",
    "same_voxels",
]


class WrongAnswerError(Exception):
    """Someone was about to be timed for doing something else."""


def _demand(holds: bool, text: str) -> None:
    if not holds:
        raise WrongAnswerError(text)


def same_voxels(name: str, found: NDArray[Any], expected: NDArray[Any]) -> None:
    """All voxels, sorted, as the generator made them."""
    _demand(found.shape == expected.shape, f"{name}: {found.shape} instead of {expected.shape}")
    # Slice by slice: the comparison of whole volumes would need another one.
    same = all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
    _demand(same, f"{name}: other voxels than those that were written")


def same_bytes(found: NDArray[np.uint8], files: Sequence[Path]) -> None:
    """The files, one after the other."""
    start = 0
    for file in files:
        data = np.fromfile(file, np.uint8)
        same = np.array_equal(found[start : start + data.size], data)
        _demand(same, "bare preadv: other bytes than those in the files")
        start += data.size
    _demand(start == found.size, "bare preadv: another number of bytes")


def same_members(archive: Path, inflated: Callable[[Member, int], bytes]) -> None:
    """Each member, against zipfile, which verifies its CRC as well."""
    descriptor = os.open(archive, os.O_RDONLY)
    try:
        with zipfile.ZipFile(archive) as opened:
            for member in members(archive):
                same = inflated(member, descriptor) == opened.read(member.name)
                _demand(same, "zlib: other bytes than zipfile's")
    finally:
        os.close(descriptor)


def same_files(files: Sequence[Path], written: Path) -> None:
    """The same contents byte for byte, whatever the names."""
    wanted = Counter(_digest(file.read_bytes()) for file in files)
    found = Counter(_digest(data) for data in _contents(written))
    _demand(found == wanted, "writing: other bytes than those that were read")


def changed_files(values: NDArray[Any], written: Path) -> None:
    """A new series of the same voxels, all instances renumbered alike."""
    datasets = _datasets(written)
    _demand({int(one.SeriesNumber) for one in datasets} == {5}, "writing: not renumbered")
    _demand(_values(datasets, values), "writing: other voxels")
    uids = {one.SOPInstanceUID for one in datasets}
    _demand(len(uids) == len(datasets), "writing: instances share a UID")


def about_same_values(values: NDArray[Any], written: Path) -> None:
    """Voxels after rescale, rounded: imagedata writes whole numbers with a new slope."""
    _demand(_values(_datasets(written), values), "imagedata: wrote other voxels")


def _values(datasets: Sequence[Dataset], expected: NDArray[Any]) -> bool:
    if len(datasets) != len(expected):
        return False
    ordered = sorted(datasets, key=lambda one: float(one.ImagePositionPatient[2]))
    return all(
        np.array_equal(np.rint(_rescaled(one)), values)
        for one, values in zip(ordered, expected, strict=True)
    )


def _rescaled(dataset: Dataset) -> NDArray[Any]:
    rescaled: NDArray[Any] = dataset.pixel_array * float(dataset.RescaleSlope)
    return rescaled + float(dataset.RescaleIntercept)


def _datasets(written: Path) -> list[Dataset]:
    return [pydicom.dcmread(io.BytesIO(data)) for data in _contents(written)]


def _contents(written: Path) -> Iterator[bytes]:
    if written.is_dir():
        yield from (file.read_bytes() for file in written.rglob("*") if file.is_file())
        return
    with zipfile.ZipFile(written) as archive:
        yield from (archive.read(info) for info in archive.infolist() if not info.is_dir())


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data).digest()
