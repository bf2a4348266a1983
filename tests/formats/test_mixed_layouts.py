"""Instances of one series whose cells mean different things, against arrays made by hand."""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from seriesio import Series, native
from seriesio.dicom import one_pass
from seriesio.testing import phantom

Cells: TypeAlias = NDArray[np.uint16]

MADE = phantom((6, 20, 24), bits_stored=12, modality="CT", intercept=0)
NAMES = [MADE.names[position] for position in range(6)]
RNG = np.random.default_rng(7)


@pytest.fixture(params=["compiled", "pure"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With compiled passes as far as they are built, and without them."""
    if request.param == "pure":
        monkeypatch.setattr(native, "_native", None)
        monkeypatch.setattr(one_pass, "compiled", frozenset())


def instance(place: int, cells: Cells, bits: int, signed: bool, intercept: int) -> bytes:
    """An instance that holds these cells, with this many Bits Stored."""
    dataset = pydicom.dcmread(BytesIO(MADE.files()[NAMES[place]]))
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelRepresentation = int(signed)
    dataset.RescaleIntercept = intercept
    for keyword in ("SmallestImagePixelValue", "LargestImagePixelValue", "PixelPaddingValue"):
        if keyword in dataset:
            del dataset[keyword]
    dataset.PixelData = cells.astype("<u2").tobytes()
    out = BytesIO()
    dataset.save_as(out)
    return out.getvalue()


def meaning(cells: Cells, bits: int, signed: bool) -> NDArray[np.int32]:
    """What cells mean (PS3.5 section 8.1.1): their lowest bits, the highest of them a sign."""
    values = cells.astype(np.int32) & ((1 << bits) - 1)
    if signed:
        values -= (values >> (bits - 1)) << bits
    return values


def kept(files: list[bytes], folder: Path, where: str) -> Path:
    if where == "folder":
        for number, data in enumerate(files):
            (folder / f"{number}.dcm").write_bytes(data)
        return folder
    path = folder / "all.zip"
    method = zipfile.ZIP_STORED if where == "stored" else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w", method) as archive:
        for number, data in enumerate(files):
            archive.writestr(f"{number}.dcm", data)
    return path


@pytest.mark.parametrize("where", ["folder", "stored", "deflated"])
@pytest.mark.parametrize("intercept", [0, -1024])
@pytest.mark.parametrize("order", [(0, 0, 0, 1, 1, 1), (1, 1, 1, 0, 0, 0), (0, 1, 0, 1, 0, 1)])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [(16, 12), (14, 12)])
async def test_each_instance_is_read_by_its_own_layout(
    tmp_path: Path,
    bits: tuple[int, int],
    signed: bool,
    order: tuple[Literal[0, 1], ...],
    intercept: int,
    where: str,
) -> None:
    """Unused bits are cleared, and signs extended, where an instance's own header says so."""
    files, expected = [], []
    for place, kind in enumerate(order):
        cells = RNG.integers(0, 1 << 16, (20, 24), np.uint16)
        if kind == 0:  # nothing to be set right: only the others have bits that mean nothing
            cells = meaning(cells, bits[0], signed).astype(np.uint16)
        files.append(instance(place, cells, bits[kind], signed, intercept))
        expected.append(meaning(cells, bits[kind], signed) + intercept)
    series = await Series.open(kept(files, tmp_path, where))
    assert np.array_equal(series.array, np.stack(expected))
