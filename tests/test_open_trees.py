"""Trees that hold anything: what is no image is skipped and counted; series are told apart."""

from __future__ import annotations

import errno
import os
import socket
import zipfile
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from seriesio import Series
from seriesio.errors import (
    AmbiguousSeriesError,
    HeaderError,
    IncompleteSeriesWarning,
    NotFoundError,
)
from seriesio.testing import Phantom, phantom
from seriesio.transports import _file_tree

SMALL = (3, 12, 16)
STRUCTURED_REPORT = "1.2.840.10008.5.1.4.1.1.88.11"
PRESENTATION_STATE = "1.2.840.10008.5.1.4.1.1.11.1"
DIRECTORY = "1.2.840.10008.1.3.10"


def document(path: Path, sop_class: str, series: str = "1.2.3.4") -> None:
    """A DICOM object without pixels, as pydicom writes it."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = UID(sop_class)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = UID("1.2.3.4.5")
    dataset.SeriesInstanceUID, dataset.Modality = series, "SR"
    dataset.save_as(path, enforce_file_format=True)


def litter(folder: Path) -> None:
    """What else lies around: 3 DICOM objects, 5 files that are none, 1 empty."""
    (folder / "docs").mkdir(parents=True)
    document(folder / "DICOMDIR", DIRECTORY)
    document(folder / "docs" / "report", STRUCTURED_REPORT)
    document(folder / "docs" / "state.dcm", PRESENTATION_STATE)
    (folder / "README.txt").write_text("hello")
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    (folder / "picture.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    (folder / "zeros").write_bytes(bytes(3000))
    (folder / "random").write_bytes(np.random.default_rng(1).bytes(3000))
    (folder / "empty").write_bytes(b"")


async def test_everything_in_one_tree(tmp_path: Path) -> None:
    """The series is found, and the report counts all that was skipped, by reason."""
    expected = phantom(SMALL)
    expected.save(tmp_path / "a" / "b")
    litter(tmp_path)
    series = await Series.open(tmp_path)
    assert np.array_equal(series.array, expected.array)
    report = series.report
    assert report.used == 3
    assert report.found == 12
    assert report.skipped == {"no image": 3, "not DICOM": 5, "empty": 1}
    assert set(report.skipped_names["empty"]) == {"empty"}
    assert report.missing == ()


async def test_special_files_and_links(tmp_path: Path) -> None:
    """FIFOs, sockets and loops of links are never opened; a link to a file is its file."""
    expected = phantom(SMALL)
    expected.save(tmp_path / "in")
    (tmp_path / "tree").mkdir()
    os.mkfifo(tmp_path / "tree" / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "tree" / "socket"))
        (tmp_path / "tree" / "loop").symlink_to(tmp_path / "tree")
        (tmp_path / "tree" / "broken").symlink_to(tmp_path / "nowhere")
        (tmp_path / "tree" / "self").symlink_to(tmp_path / "tree" / "self")
        for number, path in enumerate(sorted((tmp_path / "in").iterdir())):
            (tmp_path / "tree" / f"link{number}").symlink_to(path)
        series = await Series.open(tmp_path / "tree")
    assert np.array_equal(series.array, expected.array)
    names = [name for found in series.report.skipped_names.values() for name in found]
    assert {"fifo", "socket"} <= {Path(name).name for name in names}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_unreadable_file(tmp_path: Path) -> None:
    """A file that may not be read is skipped and counted."""
    expected = phantom(SMALL)
    expected.save(tmp_path)
    (tmp_path / "locked").write_bytes(b"x")
    (tmp_path / "locked").chmod(0)
    with pytest.warns(IncompleteSeriesWarning, match="1 of the files"):
        series = await Series.open(tmp_path)
    assert series.report.skipped == {"unreadable": 1}


async def test_unreadable_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that may not be listed is counted, and told of by a warning that names it."""
    expected = phantom(SMALL)
    expected.save(tmp_path)
    (tmp_path / "locked").mkdir()
    listed = _file_tree._listed

    def refuse(path: str) -> Any:
        if path.endswith("locked"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(_file_tree, "_listed", refuse)
    with pytest.warns(IncompleteSeriesWarning, match=r"1 of the files.*'locked'") as caught:
        series = await Series.open(tmp_path)
    assert series.report.skipped == {"unreadable": 1}
    assert len(caught) == 1
    assert np.array_equal(series.array, expected.array)


async def test_empty_files_beside_the_series(tmp_path: Path) -> None:
    """Empty files named like the series' own are noted: each may be a lost instance."""
    phantom(SMALL).save(tmp_path / "a")
    (tmp_path / "a" / "lost.DCM").write_bytes(b"")
    (tmp_path / "a" / "notes.txt").write_bytes(b"")
    (tmp_path / "elsewhere.dcm").write_bytes(b"")
    series = await Series.open(tmp_path)
    assert series.report.skipped == {"empty": 3}
    (note,) = [note for note in series.report.notes if "empty" in note]
    assert note.startswith("1 empty file")
    assert "a/lost.DCM" in note


def two(folder: Path) -> tuple[Phantom, Phantom]:
    first = phantom(SMALL, seed=1, series_number=4, series_description="Schädel axial")
    second = phantom((2, 12, 16), seed=2, series_number=2, series_description="scout")
    first.save(folder / "one")
    second.save(folder / "two")
    return first, second


async def test_ambiguous(tmp_path: Path) -> None:
    """Several series: listed by number, with how to select."""
    first, second = two(tmp_path)
    with pytest.raises(AmbiguousSeriesError, match="select=") as caught:
        await Series.open(tmp_path)
    listed = caught.value.series
    assert [entry.series_instance_uid for entry in listed] == [second.series_uid, first.series_uid]
    assert [(entry.series_number, entry.instances) for entry in listed] == [(2, 2), (4, 3)]
    assert [(entry.rows, entry.columns, entry.modality) for entry in listed] == [(12, 16, "CT")] * 2


@pytest.mark.parametrize(
    "select",
    [
        {"SeriesNumber": 4},
        {"seriesNumber": "4"},
        {"SeriesDescription": "Schädel axial"},
        {"SeriesDescription": lambda text: "axial" in text},
        {"SeriesNumber": np.int64(4), "Modality": "CT"},
        {"PixelSpacing": [2, 2.0], "SeriesNumber": lambda text: int(text) > 3},
        {"PixelSpacing": np.array([2.0, 2.0]), "SeriesNumber": 4},
    ],
)
async def test_select(tmp_path: Path, select: dict[str, Any]) -> None:
    """By number, text in the file's character set, function, several at once."""
    first, _ = two(tmp_path)
    series = await Series.open(tmp_path, select=select)
    assert series.seriesInstanceUID == first.series_uid


async def test_select_by_uid_and_instances(tmp_path: Path) -> None:
    """A Series Instance UID; or a part of a series."""
    first, second = two(tmp_path)
    series = await Series.open(tmp_path, select={"SeriesInstanceUID": second.series_uid})
    assert np.array_equal(series.array, second.array)
    part = await Series.open(
        tmp_path, select={"SeriesNumber": 4, "InstanceNumber": lambda text: int(text) < 3}
    )
    assert np.array_equal(part.array, first.array[:2])


async def test_select_nothing(tmp_path: Path) -> None:
    """What is not there: the error lists what is; a name that is none is an error."""
    two(tmp_path)
    with pytest.raises(NotFoundError, match="scout"):
        await Series.open(tmp_path, select={"SeriesNumber": 99})
    with pytest.raises(HeaderError, match="Nonsense"):
        await Series.open(tmp_path, select={"Nonsense": 1})


async def test_open_all(tmp_path: Path) -> None:
    """Every series, by number."""
    first, second = two(tmp_path)
    found = [series async for series in Series.open_all(tmp_path)]
    assert [int(series.seriesNumber) for series in found] == [2, 4]
    assert np.array_equal(found[0].array, second.array)
    assert np.array_equal(found[1].array, first.array)


async def test_list_of_places(tmp_path: Path) -> None:
    """A series in a directory, a zip and a single file, opened as one."""
    expected = phantom((6, 12, 16))
    files = expected.files()
    names = list(files)
    (tmp_path / "directory").mkdir()
    for name in names[:2]:
        (tmp_path / "directory" / name).write_bytes(files[name])
    with zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names[2:5]:
            archive.writestr(name, files[name])
    (tmp_path / "single").write_bytes(files[names[5]])
    series = await Series.open(
        [tmp_path / "directory", str(tmp_path / "packed.zip"), f"file://{tmp_path}/single"]
    )
    assert np.array_equal(series.array, expected.array)


async def test_uids_that_differ_in_padding(tmp_path: Path) -> None:
    """A UID padded with a blank instead of a zero byte is the same UID; nothing is lost."""
    expected = phantom(SMALL)
    uid = b"UI" + len(expected.series_uid).to_bytes(2, "little") + expected.series_uid.encode()
    element = b"\x20\x00\x0e\x00" + uid  # (0020,000E)
    folder = expected.save(tmp_path)
    for name, padding in zip(expected.names, cycle((b"\0", b"\0", b" ")), strict=False):
        path = folder / name
        data = path.read_bytes()
        assert data.count(element) == 1
        path.write_bytes(data.replace(element, element[:-1] + padding))  # odd, hence padded
    series = await Series.open(folder)
    assert np.array_equal(series.array, expected.array)


async def test_no_series_uid(tmp_path: Path) -> None:
    """Files without Series Instance UID, or with an empty one, belong together."""
    expected = phantom(SMALL, modality="MR")
    for number, dataset in enumerate(expected.datasets()):
        if number == 1:
            dataset.SeriesInstanceUID = ""
        else:
            del dataset.SeriesInstanceUID
        dataset.save_as(tmp_path / f"{number}.dcm")
    series = await Series.open(tmp_path)
    assert np.array_equal(series.array, expected.array)
