"""The command line: what it prints, what it saves, how it ends."""

from __future__ import annotations

import io
import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image

from seriesio import cli, console
from seriesio.errors import MissingDependencyError
from seriesio.protocols import SeriesSummary
from seriesio.testing import phantom

SECRET = "Nobody^Special"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two series and a text file in one tree; the patient has a name that must not be shown."""
    folder = tmp_path / "study"
    for number, slices in ((3, 5), (4, 7)):
        made = phantom(
            (slices, 32, 40),
            seed=number,
            series_number=number,
            series_description=f"Head {number}",
        )
        where = made.save(folder / f"series{number}")
        for path in where.iterdir():
            dataset = pydicom.dcmread(path)
            dataset.PatientName = SECRET
            dataset.save_as(path)
    (folder / "notes.txt").write_text("no image at all\n")
    return folder


def described(folder: Path) -> list[tuple[int, str, str]]:
    """(number, description, UID) of each series in a tree, as pydicom reads it."""
    found = {
        (int(each.SeriesNumber), str(each.SeriesDescription), str(each.SeriesInstanceUID))
        for each in map(pydicom.dcmread, folder.rglob("*.dcm"))
    }
    return sorted(found)


def content(archive: Path) -> list[bytes]:
    with zipfile.ZipFile(archive) as members:
        return sorted(members.read(name) for name in members.namelist())


def loaded(picture: Path) -> NDArray[np.uint8]:
    with Image.open(picture) as opened:
        return np.asarray(opened.convert("L"))


def test_info_lists_every_series(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Number, description and UID of each series, what was skipped, nothing of the patient."""
    assert cli.main(["info", str(study)]) == 0
    printed = capsys.readouterr().out
    for number, description, uid in described(study):
        (row,) = [line for line in printed.splitlines() if uid in line]
        assert str(number) in row
        assert description in row
    assert "Skipped: 1 " in printed
    assert "Nobody" not in printed


def test_info_for_programs(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json says the same, so that a program can read it."""
    assert cli.main(["info", "--json", str(study)]) == 0
    told = json.loads(capsys.readouterr().out)
    names = ("series_number", "series_description", "series_instance_uid")
    assert sorted(tuple(each[name] for name in names) for each in told["series"]) == described(
        study
    )
    assert [(each["instances"], each["rows"], each["columns"]) for each in told["series"]] == [
        (5, 32, 40),
        (7, 32, 40),
    ]
    assert sum(told["skipped"].values()) == 1
    assert SECRET not in json.dumps(told)


def test_show_saves_a_montage(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A picture of the selected series, as wide as asked; its size is told."""
    picture = tmp_path / "four.png"
    code = cli.main(
        ["show", str(study), "--select", "SeriesNumber=4", "-o", str(picture), "--width", "500"]
    )
    assert code == 0
    assert "7×32×40" in capsys.readouterr().out
    assert loaded(picture).shape[1] == pytest.approx(500, abs=8)


def test_show_takes_a_window(study: Path, tmp_path: Path) -> None:
    """--window below all values shows them all white."""
    picture = tmp_path / "white.png"
    series = str(study / "series3")
    assert cli.main(["show", series, "-o", str(picture), "--window=-5000,10"]) == 0
    assert np.median(loaded(picture)) == 255


def test_show_of_several_series_lists_them(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Several series end with code 1 and one line for each."""
    assert cli.main(["show", str(study)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("seriesio: ")
    assert len(lines) == 3
    assert not [uid for _, _, uid in described(study) if uid not in "".join(lines[1:])]


def test_show_checks_the_picture_name_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that is no picture's is told before anything is read."""
    assert cli.main(["show", str(tmp_path / "missing"), "-o", "picture.xyz"]) == 1
    assert "picture.xyz" in capsys.readouterr().err


def test_copy_is_byte_for_byte(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All files of a directory arrive in a zip as they are; a second time only by force."""
    source, target = study / "series4", tmp_path / "four.zip"
    assert cli.main(["copy", str(source), str(target)]) == 0
    assert "7 files" in capsys.readouterr().out
    assert content(target) == sorted(path.read_bytes() for path in source.iterdir())
    assert cli.main(["copy", str(source), str(target)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert cli.main(["copy", "--overwrite", str(source), str(target)]) == 0
    assert content(target) == sorted(path.read_bytes() for path in source.iterdir())


def test_copy_counts_what_it_leaves_out(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """FIFOs and broken links are no files: how many there are stands behind what was stored."""
    os.mkfifo(study / "fifo")
    (study / "broken").symlink_to("nowhere")
    assert cli.main(["copy", str(study), str(tmp_path / "copy")]) == 0
    assert "13 files" in (printed := capsys.readouterr().out)
    assert "2 skipped" in printed


def test_copy_shows_progress_on_a_terminal(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal a bar moves; it goes to stderr."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    assert cli.main(["copy", str(study / "series4"), str(tmp_path / "copied")]) == 0
    assert "copying" in terminal.getvalue()


def test_what_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path that does not exist: one line on stderr, code 1, nothing on stdout."""
    assert cli.main(["info", str(tmp_path / "missing")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("seriesio: ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["show"],
        ["nonsense"],
        ["show", "x", "--select", "SeriesNumber"],
        ["show", "x", "--select", "SeriesNumber=four"],
        ["show", "x", "--select", "NoKeyword=4"],
        ["show", "x", "--window", "40"],
        ["show", "x", "--window", "40,0"],
        ["show", "x", "--window", "nan,4"],
        ["demo", "--slices", "0"],
    ],
)
def test_wrong_command_lines(words: list[str]) -> None:
    """What cannot be understood ends with code 2 before anything is done."""
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """--version prints the installed version."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("seriesio 0.")


def test_interrupted(monkeypatch: pytest.MonkeyPatch, study: Path) -> None:
    """Ctrl-C ends with 130, the shell's code for it."""

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(anyio, "run", interrupt)
    assert cli.main(["info", str(study)]) == 130


def test_without_rich(
    monkeypatch: pytest.MonkeyPatch, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without rich the command says what to install, and ends with code 2."""
    for name in [name for name in sys.modules if name.split(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    assert cli.main(["info", str(study)]) == 2
    assert 'pip install "seriesio[cli]"' in capsys.readouterr().err


def test_text_of_files_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters out of a header or a file name never reach the terminal."""
    hostile = "\x1b]0;title\x07\x1b[2J[red]:smile:\r\n"
    summary = SeriesSummary("1.2.3", 1, hostile, hostile, 1, 1, 2, 2)
    console.make_console().print(console.summary_table([summary]))
    console.complain(MissingDependencyError(hostile))
    out, err = capsys.readouterr()
    assert not {"\x1b", "\x07", "\r"} & set(out + err)
    assert "[red]:smile:" in out


def test_info_of_a_real_study(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A scanner's study with a DICOMDIR and reports lists its four series."""
    assert cli.main(["info", "--json", str(corpus / "ct_study")]) == 0
    assert len(json.loads(capsys.readouterr().out)["series"]) == 4


def test_show_of_a_real_series(corpus: Path, tmp_path: Path) -> None:
    """A head out of a tilted gantry becomes a picture that is neither black nor white."""
    picture = tmp_path / "head.png"
    assert cli.main(["show", str(corpus / "ct_gantry_tilt"), "-o", str(picture)]) == 0
    assert 20 < loaded(picture).mean() < 200
