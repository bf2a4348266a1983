"""The command line: how a series is sorted, its header, and conversion to other formats."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest

from seriesio import cli
from seriesio.testing import Phantom, phantom

SECRET = "Nobody^Special"
TIMES = (0.0, 2.5, 5.0)


@pytest.fixture
def dynamic() -> Phantom:
    """Three volumes of four slices, 2.5 s apart."""
    return phantom((3, 4, 16, 20), modality="MR", seed=1)


@pytest.fixture
def source(dynamic: Phantom, tmp_path: Path) -> Path:
    """The dynamic series on disk; its patient has a name."""
    folder = dynamic.save(tmp_path / "dynamic")
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.PatientName = SECRET
        dataset.save_as(path)
    return folder


def run(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> str:
    """What a command prints."""
    assert cli.main([str(word) for word in words]) == code, capsys.readouterr().err
    return capsys.readouterr().out


def datasets(folder: Path) -> list[pydicom.Dataset]:
    found = [pydicom.dcmread(path) for path in folder.rglob("*.dcm")]
    return sorted(found, key=lambda each: (each.AcquisitionTime, each.ImagePositionPatient[2]))


def pixels(folder: Path) -> list[Any]:
    return [each.pixel_array for each in datasets(folder)]


# --- info --sort -----------------------------------------------------------------------------


def test_sorting_is_explained(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The criterion, why, the axes with their values, and what else varies; no patient."""
    told = run(capsys, "info", "--sort", source)
    lines = {line.split()[0]: line for line in told.splitlines() if line.startswith("  ")}
    assert "time" in lines["sorted"]
    assert "AcquisitionTime" in lines["because"]
    assert "3×4×16×20, spacing 3, 2, 2 mm" in lines["shape"]
    assert "InstanceNumber (12 values)" in lines["varies"]
    assert "axis time" in told
    assert "Nobody" not in told


def test_sorting_for_programs(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json says the same with all values."""
    told = json.loads(run(capsys, "info", "--sort", "--json", source))
    (sorting,) = told["sorting"]
    assert sorting["criterion"] == "time"
    assert sorting["shape"] == [3, 4, 16, 20]
    (times,) = [values for name, _, values in sorting["axes"] if name == "time"]
    np.testing.assert_allclose(np.subtract(times, times[0]), TIMES)
    assert sorting["candidates"]["time"]["AcquisitionTime"] == 3
    assert SECRET not in json.dumps(told)


def test_what_is_missing_is_told(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An instance that was taken away makes a line and exit code 1."""
    Path(str(datasets(source)[5].filename)).unlink()  # the second slice of the second volume
    told = run(capsys, "info", "--sort", source, code=1)
    (line, *_) = [line for line in told.splitlines() if line.startswith("  missing")]
    assert "position -1.5 mm: 2 instead of 3" in line
    assert "2×4×16×20" in told


def test_what_cannot_be_sorted_is_told(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A criterion that does not fill the grid: the reason stands where the axes would."""
    told = run(capsys, "info", "--sort", source, "--input-order", "te", code=1)
    (line,) = [line for line in told.splitlines() if line.startswith("  does not open")]
    assert "te does not tell the 3 frames at each of 4 positions apart" in line


def test_each_series_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Several series behind a URL: one explanation for each."""
    for number, slices in ((3, 5), (4, 7)):
        made = phantom((slices, 16, 16), seed=number, series_number=number)
        made.save(tmp_path / "study" / str(number))
    told = json.loads(run(capsys, "info", "--sort", "--json", tmp_path / "study"))
    assert sorted(each["shape"][0] for each in told["sorting"]) == [5, 7]


# --- dump ------------------------------------------------------------------------------------


def test_the_header_is_dumped(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every element as pydicom prints it, the patient's too: a header was asked for."""
    first = datasets(source)[0]
    del first.PixelData
    lines = run(capsys, "dump", source).splitlines()
    assert not [line for line in str(first).splitlines() if line not in lines]
    assert any(SECRET in line for line in lines)


def test_another_instance_is_dumped(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--instance counts the instances as they are sorted."""
    told = run(capsys, "dump", source, "--instance", 7)
    assert str(datasets(source)[7].SOPInstanceUID) in told


def test_an_instance_that_is_not_there(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line on stderr, and code 1."""
    assert cli.main(["dump", str(source), "--instance", "12"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_header_does_not_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Control characters in a header are not printed."""
    folder = phantom((2, 8, 8)).save(tmp_path / "hostile")
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.add_new(0x00091001, "UT", "\x1b]0;title\x07")
        dataset.private_block(0x0009, "\x1b[2J", create=True)
        dataset.save_as(path)
    assert not {"\x1b", "\x07"} & set(run(capsys, "dump", folder))


@pytest.mark.parametrize("command", ["dump", "info"])
def test_a_reader_that_has_seen_enough(source: Path, command: str) -> None:
    """``| head -1``: no complaint about the pipe, however little is printed."""
    main = [sys.executable, "-c", "import sys; from seriesio.cli import main; sys.exit(main())"]
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [*main, command, str(source)], stdout=write, stderr=subprocess.PIPE, timeout=60
        )
    finally:
        os.close(write)
    assert done.returncode == 141
    assert done.stderr == b""


# --- convert ---------------------------------------------------------------------------------


def test_convert_into_a_zip(
    source: Path, dynamic: Phantom, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """DICOM stays DICOM without --format; options of writing reach the zip."""
    target = tmp_path / "out.zip"
    told = run(capsys, "convert", source, target, "--write-option", "compression=stored")
    assert "3×4×16×20" in told
    assert "12 files" in told
    with zipfile.ZipFile(target) as members:
        assert {info.compress_type for info in members.infolist()} == {zipfile.ZIP_STORED}
        members.extractall(tmp_path / "unpacked")
    np.testing.assert_array_equal(pixels(tmp_path / "unpacked"), pixels(source))


def test_convert_sets_attributes(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--set gives a number and a description, and with them new UIDs."""
    words = ["--set", "SeriesNumber=1004", "--set", "SeriesDescription=Processed data"]
    run(capsys, "convert", source, tmp_path / "out", *words)
    written, read = datasets(tmp_path / "out"), datasets(source)
    assert {(each.SeriesNumber, each.SeriesDescription) for each in written} == {
        (1004, "Processed data")
    }
    assert written[0].SeriesInstanceUID != read[0].SeriesInstanceUID


def test_convert_keeps_uids_if_asked(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--keep-uid keeps them in spite of a change."""
    run(capsys, "convert", source, tmp_path / "out", "--set", "SeriesNumber=5", "--keep-uid")
    assert datasets(tmp_path / "out")[0].SOPInstanceUID == datasets(source)[0].SOPInstanceUID


def test_convert_to_nifti_and_back(
    source: Path, dynamic: Phantom, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """nibabel reads what was converted; with the source as template it is DICOM again."""
    nifti = tmp_path / "out.nii"
    run(capsys, "convert", source, nifti, "--format", "nifti", "--input-order", "time")
    image: Any = nibabel.load(nifti)
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, dynamic.array)
    run(capsys, "convert", nifti, tmp_path / "back", "--template", source, "--format", "dicom")
    np.testing.assert_array_equal(pixels(tmp_path / "back"), pixels(source))
    assert str(datasets(tmp_path / "back")[0].PatientName) == SECRET


def test_options_of_reading_reach_the_format(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], tool: Any
) -> None:
    """A page at 20 pixels per inch, under the header of a series."""
    tool("gs")
    page = tmp_path / "page.ps"
    page.write_text("%!PS\n<< /PageSize [360 180] >> setpagedevice showpage\n")
    words = ["--template", source, "--option", "resolution=20", "--option", "color=False"]
    told = run(capsys, "convert", page, tmp_path / "out", *words)
    assert "1×50×100" in told
    (written,) = [pydicom.dcmread(path) for path in (tmp_path / "out").iterdir()]
    assert (written.Rows, written.Columns) == (50, 100)
    assert str(written.PatientName) == SECRET


def test_unknown_options_are_told(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An option that nobody takes is a wrong command line: one line, code 2."""
    assert cli.main(["convert", str(source), str(tmp_path / "out"), "--option", "nonsense=1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "nonsense" in line
    assert not (tmp_path / "out").exists()


def test_an_unknown_format_is_told(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A format that does not exist: one line, code 1, nothing written."""
    assert cli.main(["convert", str(source), str(tmp_path / "out"), "--format", "nonsense"]) == 1
    assert "nonsense" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["convert", "x"],
        ["convert", "x", "y", "--set", "NoKeyword=1"],
        ["convert", "x", "y", "--option", "1x=1"],
        ["convert", "x", "y", "--option", "nothing"],
        ["dump", "x", "--instance", "-1"],
        ["dump", "x", "--instance", "first"],
    ],
)
def test_wrong_command_lines(words: list[str]) -> None:
    """What cannot be understood ends with code 2 before anything is done."""
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
