"""What others do with the same bytes."""

from __future__ import annotations

import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Bare",
    "Member",
    "copy_files",
    "dicomsdl_4d",
    "dicomsdl_stack",
    "dicomsdl_values",
    "imagedata_open",
    "imagedata_write",
    "inflate",
    "inflated",
    "members",
    "pydicom_stack",
    "simpleitk_array",
    "simpleitk_open",
    "zipfile_write",
]

Array = NDArray[Any]


class Bare:
    """``preadv`` of all bytes of all files into one new array, side by side.

    The files, their sizes and their places in the array are known beforehand and the threads
    run already: there is nothing in it but open, read and close.
    """

    def __init__(self, files: Sequence[Path], threads: int) -> None:
        sizes = [file.stat().st_size for file in files]
        ends = np.cumsum(sizes).tolist()
        self._total = ends[-1]
        spans = zip(map(str, files), [0, *ends[:-1]], ends, strict=True)
        self._parts = _split(list(spans), threads)
        self._pool = ThreadPoolExecutor(threads)

    def __call__(self) -> NDArray[np.uint8]:
        array = np.empty(self._total, np.uint8)
        view = array.data
        for done in [self._pool.submit(_read_part, part, view) for part in self._parts]:
            done.result()
        return array


def _read_part(part: Sequence[tuple[str, int, int]], view: memoryview) -> None:
    for path, start, end in part:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            position = start
            while position < end:
                position += os.preadv(descriptor, [view[position:end]], position - start)
        finally:
            os.close(descriptor)


def _split(items: list[Any], parts: int) -> list[list[Any]]:
    step = -(-len(items) // parts)
    return [items[begin : begin + step] for begin in range(0, len(items), step)]


def dicomsdl_stack(directory: Path) -> Array:
    """Stored values by position: less than what we do, which is to rescale them."""
    return _dicomsdl(directory, storedvalue=True)


def dicomsdl_values(directory: Path) -> Array:
    """Values by position, as dicomsdl gives them unless told otherwise: rescaled, as floats."""
    return _dicomsdl(directory)


def _dicomsdl(directory: Path, **options: bool) -> Array:
    import dicomsdl

    found = []
    for entry in os.scandir(directory):
        dataset = dicomsdl.open(entry.path)
        found.append((dataset.ImagePositionPatient[2], dataset.pixelData(**options)))
    found.sort(key=lambda pair: pair[0])
    return np.stack([pixels for _, pixels in found])


def dicomsdl_4d(directory: Path) -> Array:
    """Stored values by acquisition time, then by position."""
    import dicomsdl

    found = []
    for entry in os.scandir(directory):
        dataset = dicomsdl.open(entry.path)
        key = (dataset.AcquisitionTime, dataset.ImagePositionPatient[2])
        found.append((key, dataset.pixelData(storedvalue=True)))
    found.sort(key=lambda pair: pair[0])
    steps = len({time for (time, _), _ in found})
    volume = np.stack([pixels for _, pixels in found])
    return volume.reshape(steps, -1, *volume.shape[1:])


def imagedata_open(path: Path, order: str = "auto") -> Array:
    """An ``imagedata.Series``, which is an array; floats where there is a rescale intercept."""
    from imagedata import Series

    series: Array = Series(str(path), order)
    return series


def imagedata_write(series: Any, target: Path) -> None:
    """A renumbered series; imagedata builds new instances in either case."""
    series.seriesNumber = 9999
    series.write(str(target), formats=["dicom"])


def simpleitk_open(directory: Path) -> Any:
    """GDCM's sorting of the directory and the image reader: an image, not copied to an array."""
    reader = _simpleitk().ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(directory)))
    return reader.Execute()


def simpleitk_array(image: Any) -> Array:
    """The voxels of an image, copied: a view would outlive it."""
    array: Array = _simpleitk().GetArrayFromImage(image)
    return array


def _simpleitk() -> Any:
    # Its type hints are not complete.
    return import_module("SimpleITK")


def pydicom_stack(directory: Path) -> Array:
    """One after the other: pydicom's parser and frames, imagecodecs' decoders, stored values."""
    import pydicom

    from .codecs import decode

    datasets = [pydicom.dcmread(entry.path) for entry in os.scandir(directory)]
    datasets.sort(key=lambda dataset: dataset.ImagePositionPatient[2])
    return np.stack([decode(dataset) for dataset in datasets])


@dataclass(frozen=True, slots=True)
class Member:
    """Where the packed bytes of a zip member lie."""

    name: str
    offset: int
    packed: int
    size: int


def members(archive: Path) -> list[Member]:
    """The central directory, and the length of each local header."""
    with zipfile.ZipFile(archive) as opened, archive.open("rb") as raw:
        found = []
        for info in opened.infolist():
            raw.seek(info.header_offset + 26)
            lengths = raw.read(4)
            extra = int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
            start = info.header_offset + 30 + extra
            found.append(Member(info.filename, start, info.compress_size, info.file_size))
    return found


def inflate(archive: Path, threads: int) -> Callable[[], list[int]]:
    """Inflate all members with zlib, no CRC, every result dropped; the lengths are the answer."""
    parts = _split(members(archive), threads)
    pool = ThreadPoolExecutor(threads)

    def part_sizes(part: Sequence[Member], descriptor: int) -> list[int]:
        return [len(inflated(member, descriptor)) for member in part]

    def run() -> list[int]:
        descriptor = os.open(archive, os.O_RDONLY)
        try:
            jobs = [pool.submit(part_sizes, part, descriptor) for part in parts]
            return [size for job in jobs for size in job.result()]
        finally:
            os.close(descriptor)

    return run


def inflated(member: Member, descriptor: int) -> bytes:
    """One member's bytes."""
    packed = os.pread(descriptor, member.packed, member.offset)
    return zlib.decompress(packed, -15, member.size)


def copy_files(files: Sequence[Path], target: Path) -> None:
    """``shutil.copyfile`` of each into a new directory."""
    target.mkdir()
    for file in files:
        shutil.copyfile(file, target / file.name)


def zipfile_write(files: Sequence[Path], target: Path) -> None:
    """The standard library's deflate, at its default level."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, file.name)
