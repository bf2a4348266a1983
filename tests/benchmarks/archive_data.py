"""The series that archives hold: MR, made like the rest of the corpus."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pydicom

from .data import Case, Corpus, Pixels
from .headers import Slice, write_slice

__all__ = ["Held", "eight", "series", "small"]

SMALL = 100


@dataclass(frozen=True)
class Held:
    """A series on disk, and where an archive has it."""

    case: Case

    @cached_property
    def uids(self) -> tuple[str, str, str]:
        """Patient ID, Study and Series Instance UID."""
        keys = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
        first = pydicom.dcmread(self.case.files()[0], specific_tags=list(keys))
        patient, study, series = (str(first[key].value) for key in keys)
        return patient, study, series

    @property
    def path(self) -> str:
        """What follows the archive in a URL."""
        return "/" + "/".join(self.uids)

    @property
    def needed(self) -> int:
        """Bytes of the volume and of all headers."""
        return self.case.values.nbytes + self.case.header_bytes()


def series(corpus: Corpus, number: int = 0) -> Held:
    """MR, the voxels of the CT without rescale, about 140 kB of header each."""
    name = f"mr{corpus.sizes.slices}-{number}"
    return _made(corpus, name, lambda: corpus.ct().stored, 512, 140_000)


def eight(corpus: Corpus) -> list[Held]:
    """As many series of the same voxels."""
    return [series(corpus, number) for number in range(8)]


def small(corpus: Corpus) -> Held:
    """Instances of 28 kB: what latency, not bandwidth, decides about."""
    shape = (SMALL, 64, 64)
    return _made(
        corpus,
        f"small{SMALL}",
        lambda: np.random.default_rng(4).integers(0, 4096, shape, np.uint16),
        64,
        20_000,
    )


def _made(
    corpus: Corpus, name: str, pixels: Callable[[], Pixels], size: int, header_bytes: int
) -> Held:
    path, values = corpus.root / name, pixels()
    if not path.exists():
        part = path.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        _write(part, name, values, 250.0 / size, header_bytes)
        part.replace(path)
    return Held(Case(path, values))


def _write(path: Path, name: str, values: Pixels, spacing: float, header_bytes: int) -> None:
    places = np.random.default_rng(7).permutation(len(values))
    for place, index in enumerate(places.tolist()):
        piece = Slice(
            series=name, number=place, position=(-120.0, -110.5, -150.0 + index),
            spacing=(1.0, spacing), elements=94, header_bytes=header_bytes, time=0.031 * index,
            modality="MR",
        )  # fmt: skip
        write_slice(path, piece, values[index])
