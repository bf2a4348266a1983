"""The command line around archives: echo, ls, serve."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from seriesio import cli
from seriesio.testing import DicomArchive, Faults, phantom


@pytest.fixture
def archive() -> Iterator[DicomArchive]:
    """Two series of different studies."""
    with DicomArchive() as running:
        for seed in (1, 2):
            made = phantom((4, 8, 8), seed=seed, series_description=f"Head {seed}")
            running.add(*made.files().values())
        yield running


def run(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> str:
    """What a command prints."""
    assert cli.main([str(word) for word in words]) == code
    return capsys.readouterr().out


# --- echo -------------------------------------------------------------------------------------


def test_echo(archive: DicomArchive, capsys: pytest.CaptureFixture[str]) -> None:
    """An archive that is there: how long it took; our title is the one that was told."""
    assert re.fullmatch(r"answers after \d+\.\d ms\n", run(capsys, "echo", archive.url))
    run(capsys, "echo", archive.url, "--option", "aet=ME")
    assert [one.calling for one in archive.associations] == ["SERIESIO", "ME"]
    assert {one.service for one in archive.requests} == {"C-ECHO"}


def test_echo_refused(archive: DicomArchive, capsys: pytest.CaptureFixture[str]) -> None:
    """One that rejects us: one line that says why, code 1."""
    archive.faults = Faults(reject=(1, 1, 3))
    assert cli.main(["echo", archive.url]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "not recognized" in err
    assert len(err.splitlines()) == 1


def test_echo_of_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only an archive can be asked."""
    assert cli.main(["echo", str(tmp_path)]) == 1
    assert "dicom://" in capsys.readouterr().err


def test_unknown_option(archive: DicomArchive, capsys: pytest.CaptureFixture[str]) -> None:
    """An option that the transport does not take is a wrong command line."""
    assert cli.main(["echo", archive.url, "--option", "nonsense=1"]) == 2
    assert "nonsense" in capsys.readouterr().err


# --- ls ---------------------------------------------------------------------------------------


def test_ls_goes_down_an_archive(archive: DicomArchive, capsys: pytest.CaptureFixture[str]) -> None:
    """Patients, then studies, series, instances: each URL lists what is below."""
    urls = [archive.url]
    for kind in ("patient", "study", "series", "instance"):
        listed = [entry for url in urls for entry in json.loads(run(capsys, "ls", "--json", url))]
        assert {entry["kind"] for entry in listed} == {kind}
        urls = [entry["url"] for entry in listed]
    assert len(urls) == len(set(urls)) == 8
    assert {url.rpartition("/")[2] for url in urls} == set(archive.files())


def test_ls_of_series(archive: DicomArchive, capsys: pytest.CaptureFixture[str]) -> None:
    """The table tells description, modality and count."""
    (study, *_) = run(capsys, "ls", "--urls", archive.url + "/*").split()
    told = run(capsys, "ls", study)
    assert re.search(r"series.*Head [12].*CT", told.replace("\n", " "))
    assert "description" in told
    assert "modality" in told
    assert "count" in told


def test_ls_of_folder_and_zip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files with their sizes, directories without."""
    made = phantom((2, 8, 8))
    made.save(tmp_path / "tree" / "inner")
    made.save_zip(tmp_path / "tree" / "packed.zip")
    listed = json.loads(run(capsys, "ls", "--json", tmp_path / "tree"))
    kinds = {Path(entry["name"]).name: entry["kind"] for entry in listed}
    assert kinds == {"inner": "directory", "packed.zip": "file"}
    told = run(capsys, "ls", tmp_path / "tree" / "packed.zip")
    for name, data in made.files().items():
        (row,) = [line for line in told.splitlines() if name in line]
        assert str(len(data)) in row


def test_ls_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is not there: one line on stderr, code 1."""
    assert cli.main(["ls", str(tmp_path / "missing")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


# --- serve ------------------------------------------------------------------------------------


@contextmanager
def serving(folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command in a process of its own, and the first line that it prints."""
    program = "import sys; from seriesio.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "serve", str(folder), *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline()
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve(number: signal.Signals, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder as an archive: listed, stored to, copied from; a signal ends it with code 0."""
    folder = phantom((3, 8, 8), seed=1).save(tmp_path / "served")
    other = phantom((4, 8, 8), seed=2).save(tmp_path / "other")
    with serving(folder, "--port", "0", "--aet", "HERE") as (process, line):
        assert "3 instances" in line
        url = line.split()[0]
        assert re.fullmatch(r"dicom://127\.0\.0\.1:\d+/HERE", url)
        assert "4 files" in run(capsys, "copy", other, url)
        copied = run(capsys, "copy", url + "/*/*/*", tmp_path / "copy")
        assert "7 files" in copied
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "", "")
    assert len(list(folder.rglob("*.dcm"))) == 7


def test_serve_what_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No folder: nothing is served, and none is made."""
    assert cli.main(["serve", str(tmp_path / "missing"), "--port", "0"]) == 1
    assert "no such folder" in capsys.readouterr().err
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["serve"],
        ["serve", ".", "--port", "70000"],
        ["serve", ".", "--port", "many"],
        ["serve", ".", "--aet", "longer than sixteen characters"],
        ["serve", ".", "--move", "AET"],
        ["serve", ".", "--move", "AET=host"],
        ["ls", ".", "--json", "--urls"],
        ["echo"],
    ],
)
def test_wrong_command_lines(words: list[str]) -> None:
    """A usage message and code 2."""
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2


def test_port_in_use(archive: DicomArchive, tmp_path: Path) -> None:
    """A port that is taken is told in one line."""
    assert cli.main(["serve", str(tmp_path), "--port", str(archive.port)]) == 1
