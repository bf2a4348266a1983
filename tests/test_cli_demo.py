"""``seriesio demo``: what it prints, what it leaves, how it ends."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pydicom
import pytest

from seriesio import cli


def contents(folder: Path) -> list[bytes]:
    """The bytes of all DICOM files of a tree."""
    return sorted(path.read_bytes() for path in folder.rglob("*.dcm"))


def instances(folder: Path) -> set[str]:
    """The SOP Instance UID of each DICOM file of a tree, as pydicom reads it."""
    return {str(pydicom.dcmread(path).SOPInstanceUID) for path in folder.rglob("*.dcm")}


def test_demo_keeps_all_in_a_new_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Five ways there and back with equal voxels, a picture, and the words where it is."""
    folder = tmp_path / "demo"
    assert cli.main(["demo", "--slices", "6", "--size", "48", "-o", str(folder)]) == 0
    printed = capsys.readouterr().out
    for way in ("directory", "deflated zip", "stored zip", "DICOM archive", "XNAT server"):
        (row,) = [line for line in printed.splitlines() if way in line]
        assert "6×48×48" in row
        assert "yes" in row
    assert str(folder / "montage.png") in printed
    assert (folder / "montage.png").read_bytes().startswith(b"\x89PNG")
    made = contents(folder / "phantom")
    assert len(made) == 6
    with zipfile.ZipFile(folder / "stored.zip") as members:
        assert sorted(map(members.read, members.namelist())) == made
    assert contents(folder / "copy") == contents(folder / "xnat") == made
    assert instances(folder / "archive") == instances(folder / "phantom")


def test_demo_keeps_only_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without -o a picture is all that the demo leaves in the working directory."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demo", "--slices", "3", "--size", "32"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["seriesio-demo.png"]


def test_demo_spares_a_folder_in_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that holds something is not written into."""
    (tmp_path / "mine.txt").write_text("keep me\n")
    assert cli.main(["demo", "-o", str(tmp_path)]) == 1
    assert "not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_demo_without_uvicorn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the extra was not installed the demo says what to install, and ends with code 2."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert cli.main(["demo", "--slices", "2", "--size", "16"]) == 2
    assert 'pip install "seriesio[server]"' in capsys.readouterr().err
