"""URLs and paths to locations; expected values are written by hand."""

from __future__ import annotations

import os
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seriesio.errors import LocationError
from seriesio.location import Location, look_up, parse_location


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("dir/sub", Location("file", "dir/sub")),
        ("/a b?c/d", Location("file", "/a b?c/d")),
        ("C:\\data", Location("file", "C:\\data")),
        ("a.zip", Location("zip", "a.zip")),
        ("a.ZIP?time", Location("zip", "a.ZIP", ("time",))),
        ("a.zip?x/*.dcm&y&", Location("zip", "a.zip", ("x/*.dcm", "y"))),
        ("a.zip/b", Location("file", "a.zip/b")),
        ("a.zip?b.zip?c", Location("zip", "a.zip", ("b.zip?c",))),
        ("file:///a%20b", Location("file", "/a b")),
        ("file://localhost/a", Location("file", "/a")),
        ("FILE:///a.zip?b%20c&d", Location("zip", "/a.zip", ("b c", "d"))),
        (Path("a.zip?b"), Location("file", "a.zip?b")),
        (Path("x://y"), Location("file", "x:/y")),
        ("xnat://u:p@h:80/a/b", Location("xnat", "/a/b", (), "h", 80, "u:p")),
        ("dicom://[::1]:104/AET", Location("dicom", "/AET", (), "::1", 104)),
    ],
)
def test_parse(url: str | Path, expected: Location) -> None:
    """What each kind of text means; a path object is a path to the letter."""
    assert parse_location(url) == expected


@pytest.mark.parametrize(
    "url",
    ["", "a\0b", "file:///a%00b", "file://host/a", "file:///a?b", "xnat://h:port/a", b"bytes"],
)
def test_refused(url: str | bytes) -> None:
    """Empty, with NUL, on other machines, malformed: a LocationError, which is a ValueError."""
    with pytest.raises(LocationError) as caught:
        parse_location(url if isinstance(url, str) else Bytes(url))
    assert isinstance(caught.value, ValueError)


class Bytes:
    """A path of bytes."""

    def __init__(self, path: bytes) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return self.path  # type: ignore[return-value]


def test_credentials_are_not_shown() -> None:
    """Neither as text nor in the repr, nor in the error of a malformed URL."""
    location = parse_location("xnat://user:secret@host:80/project")
    assert str(location) == "xnat://host:80/project"
    assert "secret" not in repr(location)
    for url in ("xnat://user:secret@host:x/a", "xnat:/user:secret@host/a", "xnat:u:secret@h/a"):
        with pytest.raises(LocationError) as caught:
            parse_location(url)
        assert "secret" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_as_text() -> None:
    """A location as text is a location again."""
    for url in ("dir", "a.zip", "a.zip?b&c", "dicom://[::1]:104/AET", "xnat://host/a"):
        assert str(parse_location(url)) == url


def test_paths_that_look_like_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What looks like a URL with a password is a path if it is there, begins ./, or is a Path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user:p@host").mkdir()
    for path in ("user:p@host", "user:p@host/new", "./user:q@host", Path("user:q@host"), "a@b:c"):
        assert look_up(parse_location(path)).path == str(path)
    for url in ("user:q@host", "user:q@host/new", "/user:q@host", "user:q@host.zip", "a//u:q@h/x"):
        with pytest.raises(LocationError, match="malformed URL") as caught:
            look_up(parse_location(url))
        assert "q@" not in str(caught.value)


@given(st.text(max_size=30))
def test_any_text(text: str) -> None:
    """Any text gives a location, or a LocationError."""
    with suppress(LocationError):
        assert parse_location(text).scheme


def test_look_up(tmp_path: Path) -> None:
    """Local files are what their bytes are; what is not there keeps what its name says."""
    with zipfile.ZipFile(tmp_path / "plain", "w") as archive:
        archive.writestr("a", b"a")
    with zipfile.ZipFile(tmp_path / "empty", "w"):
        pass
    (tmp_path / "dir.zip").mkdir()
    (tmp_path / "dicom.zip").write_bytes(b"PK\x03\x04" + bytes(124) + b"DICM")
    (tmp_path / "text.zip").write_bytes(b"text")
    os.mkfifo(tmp_path / "fifo")
    expected = {
        "plain": "zip",
        "empty": "zip",
        "dir.zip": "file",
        "dicom.zip": "file",
        "text.zip": "zip",
        "fifo": "file",
        "none": "file",
        "none.zip": "zip",
    }
    for name, scheme in expected.items():
        assert look_up(parse_location(tmp_path / name)).scheme == scheme, name
    with pytest.raises(LocationError, match="directory"):
        look_up(parse_location(f"{tmp_path / 'dir.zip'}?a"))


@pytest.mark.parametrize(
    "url", ["dicom://h/AET/P?1", "xnat://h/p#s", "dicom://h/AET/?", "xnat://u:secret@h/p?secret"]
)
def test_nothing_of_a_network_url_is_dropped(url: str) -> None:
    """A question mark or hash that is not escaped is refused, and no password is repeated."""
    with pytest.raises(LocationError, match="%3F and %23") as caught:
        parse_location(url)
    assert "secret" not in str(caught.value)
