"""Real series stored in real archives and read back: voxels equal, data sets byte for byte."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_partial

from seriesio import Client
from seriesio.blob import read_all
from seriesio.location import parse_location
from seriesio.offload import Workers
from seriesio.protocols import Receipt
from seriesio.transports.dicom import DicomTransport

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.interop,
    # Values that break the standard are in the files; it is pydicom that warns of them.
    pytest.mark.filterwarnings("ignore:Invalid value for VR:UserWarning"),
    pytest.mark.filterwarnings("ignore:The value length:UserWarning"),
]

IMPLICIT = "1.2.840.10008.1.2"
FOLDERS = {
    "ct_gantry_tilt": 28,
    "ct_study": 118,
    "mr_dynamic": 9,
    "mr_enhanced": 4,
    "mr_fmri": 150,
    "mr_mosaic": 2,
    "mr_oblique": 40,
}


@cache
def instances(folder: Path) -> dict[str, Path]:
    """SOP Instance UID → path of all instances of a folder; directories of media are none."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and (uid := uid_of(path)):
            found[uid] = path
    return found


def uid_of(path: Path) -> str:
    try:
        return str(pydicom.dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
    except (InvalidDicomError, AttributeError):
        return ""


def dataset_of(data: bytes) -> bytes:
    """What follows the file meta information: from the first element, which has a short header."""
    dataset = read_partial(BytesIO(data), lambda tag, vr, length: tag.group > 8)
    first: Any = dataset.get_item(min(dataset.keys()))
    place = first.value_tell if isinstance(first, RawDataElement) else first.file_tell
    return data[place - 8 :]


def series_of(paths: Mapping[str, Path]) -> set[str]:
    """Paths of URLs of all series that instances belong to."""
    keys = ["PatientID", "StudyInstanceUID", "SeriesInstanceUID"]
    found = (pydicom.dcmread(path, specific_tags=keys) for path in paths.values())
    return {f"/{one.PatientID}/{one.StudyInstanceUID}/{one.SeriesInstanceUID}" for one in found}


async def stored(server: Any, paths: Mapping[str, Path], folder: Path) -> Receipt:
    """Copy instances to an archive; not what stands beside them in the corpus."""
    folder.mkdir()
    for uid, path in paths.items():
        (folder / uid).symlink_to(path)
    async with Client() as client:
        return await client.copy(folder, server.url)


async def received(url: str, **options: Any) -> dict[str, bytes]:
    source = DicomTransport(parse_location(url), Workers(), **options)
    return {blob.name.removesuffix(".dcm"): bytes(read_all(blob)) async for blob in source.read()}


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("name", ["orthanc", "dcmqrscp"])
async def test_there_and_back(
    request: pytest.FixtureRequest, corpus: Path, tmp_path: Path, name: str, folder: str
) -> None:
    """All of a folder is stored, and comes back: every data set byte for byte.

    dcmqrscp sends in Explicit VR what it may, whatever it has; so it is asked for Implicit VR.
    """
    server, paths = request.getfixturevalue(name), instances(corpus / folder)
    assert len(paths) == FOLDERS[folder]
    receipt = await stored(server, paths, tmp_path / "in")
    assert sorted(receipt.names) == sorted(paths)
    implicit = folder in ("mr_dynamic", "mr_oblique")
    options = {"transfer_syntaxes": [IMPLICIT]} if implicit else {}
    found: dict[str, bytes] = {}
    for series in series_of(paths):
        found |= await received(server.url + series, **options)
    assert sorted(found) == sorted(paths)
    for uid, path in paths.items():
        assert dataset_of(found[uid]) == dataset_of(path.read_bytes())


@pytest.mark.parametrize("folder", ["ct_gantry_tilt", "mr_dynamic", "mr_enhanced", "mr_oblique"])
@pytest.mark.parametrize("name", ["orthanc", "dcmqrscp"])
async def test_voxels(
    request: pytest.FixtureRequest, corpus: Path, tmp_path: Path, name: str, folder: str
) -> None:
    """A series that is opened from an archive is the one that is opened from the disk."""
    server, paths = request.getfixturevalue(name), instances(corpus / folder)
    await stored(server, paths, tmp_path / "in")
    async with Client() as client:
        for series in series_of(paths):
            far = await client.open(server.url + series)
            uid = series.rpartition("/")[2]
            near = await client.open(corpus / folder, select={"SeriesInstanceUID": uid})
            np.testing.assert_array_equal(far.array, near.array)
            np.testing.assert_allclose(far.affine, near.affine)
            assert [axis.name for axis in far.axes] == [axis.name for axis in near.axes]
