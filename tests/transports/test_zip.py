"""Reading zip files; the oracles are zipfile, zip and hand-made bytes."""

from __future__ import annotations

import io
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from seriesio.blob import Blob, read_all
from seriesio.errors import ArchiveError, NotFoundError, TransportError
from seriesio.offload import Workers
from seriesio.protocols import Catalogue, Entry
from seriesio.transports.zip import ZipSource

METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
TREE = ("time/01/a.dcm", "time/01/b.dcm", "time/02/a.dcm", "time/c.txt", "DICOMDIR", "t[1]*/x")


def content(name: str, size: int = 30_000) -> bytes:
    return (name.encode() + bytes(range(256)) * (size // 256 + 1))[:size]


def made(
    path: Path, names: tuple[str, ...] = TREE, method: int = zipfile.ZIP_DEFLATED
) -> dict[str, bytes]:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name in names:
            archive.writestr(name, content(name))
    return {name: content(name) for name in names}


async def blobs_of(path: Path, *patterns: str, password: str | bytes | None = None) -> list[Blob]:
    source = ZipSource(str(path), patterns, password=password, workers=Workers(2))
    return [blob async for blob in source.read()]


async def contents_of(
    path: Path, *patterns: str, password: str | bytes | None = None
) -> dict[str, bytes]:
    workers = Workers(2)
    blobs = await blobs_of(path, *patterns, password=password)
    return {blob.name: bytes(await workers.run(read_all, blob)) for blob in blobs}


async def names_of(path: Path, *patterns: str) -> list[str]:
    return [blob.name for blob in await blobs_of(path, *patterns)]


@pytest.mark.parametrize("method", METHODS)
async def test_every_method_gives_the_members_sorted(tmp_path: Path, method: int) -> None:
    """What zipfile packed by each method comes out whole, sorted by name, with its size."""
    expected = made(tmp_path / "a.zip", method=method)
    blobs = await blobs_of(tmp_path / "a.zip")
    assert [blob.name for blob in blobs] == sorted(TREE)
    assert all(blob.size == len(expected[blob.name]) and blob.sequential for blob in blobs)
    assert await contents_of(tmp_path / "a.zip") == expected


def test_protocols(tmp_path: Path) -> None:
    """A ZipSource is a Catalogue, and its repr keeps the password to itself."""
    source = ZipSource(str(tmp_path / "a.zip"), password="secret", workers=Workers())
    assert isinstance(source, Catalogue)
    assert "secret" not in repr(source)


@pytest.mark.parametrize("method", METHODS)
async def test_empty_members_and_directories(tmp_path: Path, method: int) -> None:
    """Empty members are blobs of no bytes; directory entries are no blobs."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.mkdir("folder")
        archive.writestr("folder/empty", b"")
    assert await contents_of(tmp_path / "a.zip") == {"folder/empty": b""}


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ((), sorted(TREE)),
        (("",), sorted(TREE)),
        (("time",), ["time/01/a.dcm", "time/01/b.dcm", "time/02/a.dcm", "time/c.txt"]),
        (("/time/01/",), ["time/01/a.dcm", "time/01/b.dcm"]),
        (("./time/c.txt",), ["time/c.txt"]),
        (("time/*",), ["time/c.txt"]),
        (("*",), ["DICOMDIR"]),
        (("time/??/a.dcm",), ["time/01/a.dcm", "time/02/a.dcm"]),
        (("time/0[!1]/*",), ["time/02/a.dcm"]),
        (("**/a.dcm",), ["time/01/a.dcm", "time/02/a.dcm"]),
        (("time/**/a.dcm",), ["time/01/a.dcm", "time/02/a.dcm"]),
        (("time/**",), ["time/01/a.dcm", "time/01/b.dcm", "time/02/a.dcm", "time/c.txt"]),
        (("tim*/01/",), ["time/01/a.dcm", "time/01/b.dcm"]),
        (("**/*.txt", "time/c.txt", "DICOMDIR"), ["DICOMDIR", "time/c.txt"]),
        (("t[1]*/x",), ["t[1]*/x"]),
        (("t[1]*",), ["t[1]*/x"]),
    ],
)
async def test_selections(tmp_path: Path, patterns: tuple[str, ...], expected: list[str]) -> None:
    """A directory, an exact member and a pattern select what a person would expect."""
    made(tmp_path / "a.zip")
    assert await names_of(tmp_path / "a.zip", *patterns) == expected


async def test_a_selection_of_nothing_is_an_error(tmp_path: Path) -> None:
    """A selection without a member is named, even if another one has some."""
    made(tmp_path / "a.zip")
    with pytest.raises(NotFoundError, match=r"'tim/\*'"):
        await names_of(tmp_path / "a.zip", "time", "tim/*")


async def test_a_pattern_of_many_stars_is_not_slow(tmp_path: Path) -> None:
    """No pattern makes the matching blow up."""
    made(tmp_path / "a.zip", ("/".join("a" * 200) + "/b",))
    with pytest.raises(NotFoundError):
        await names_of(tmp_path / "a.zip", "/".join(["**", "a"] * 60) + "/c")


async def test_list_gives_what_is_directly_below(tmp_path: Path) -> None:
    """The catalogue names directories and files, of the whole zip or of selections."""
    made(tmp_path / "a.zip", ("d/e/1", "d/2", "3"))
    path = str(tmp_path / "a.zip")
    listed = [entry async for entry in ZipSource(path, workers=Workers()).list()]
    assert listed == [
        Entry(f"{path}?3", "3", "file", 30_000),
        Entry(f"{path}?d", "d", "directory", None),
    ]
    below = [entry.name async for entry in ZipSource(path, ["d"], workers=Workers()).list()]
    assert below == ["d/2", "d/e"]
    found = [entry.name async for entry in ZipSource(path, ["**/1"], workers=Workers()).list()]
    assert found == ["d/e/1"]


async def test_listed_urls_can_be_read_again(tmp_path: Path) -> None:
    """What follows the ``?`` of a listed URL, split at ``&``, selects what was listed."""
    names = ("größe %41", "a&b", "a&[b]*", "d&/1", "d&/2", "e[1]/3")
    made(tmp_path / "a.zip", names)
    listed = ZipSource(str(tmp_path / "a.zip"), workers=Workers()).list()
    again = {
        entry.name: await names_of(tmp_path / "a.zip", *entry.url.partition("?")[2].split("&"))
        async for entry in listed
    }
    directories = {"d&": ["d&/1", "d&/2"], "e[1]": ["e[1]/3"]}
    assert again == {**{name: [name] for name in names[:3]}, **directories}


async def test_names_in_utf8_and_cp437(tmp_path: Path) -> None:
    """Names come out as zipfile decodes them, and backslashes as slashes."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("größe/面.dcm", b"1")
        archive.writestr("plain", b"2")
    data = (tmp_path / "a.zip").read_bytes().replace(b"plain", b"a\\\x81.d")
    (tmp_path / "a.zip").write_bytes(data)
    assert await names_of(tmp_path / "a.zip") == ["a/ü.d", "größe/面.dcm"]


async def test_zip64_and_bytes_before_the_zip(tmp_path: Path) -> None:
    """Zip64 fields are read, and so is a zip behind other bytes (a self-extracting one)."""
    buffer = io.BytesIO()
    buffer.write(b"#!/bin/sh\n" * 100)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("wide", "w", force_zip64=True) as file:
            file.write(content("wide"))
        archive.comment = b"PK\5\6 is no end record"
    (tmp_path / "a.zip").write_bytes(buffer.getvalue())
    assert await contents_of(tmp_path / "a.zip") == {"wide": content("wide")}


async def test_a_streamed_zip_with_data_descriptors(tmp_path: Path) -> None:
    """Sizes behind the data, as a zip written to a pipe has them, are no damage."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            part = bytes(data)  # type: ignore[call-overload]
            self.data += part
            return len(part)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", content("x"))
    (tmp_path / "a.zip").write_bytes(pipe.data)
    assert await contents_of(tmp_path / "a.zip") == {"x": content("x")}


@pytest.mark.parametrize("method", ["store", "deflate", "bzip2"])
async def test_traditional_encryption(
    tmp_path: Path, tool: Callable[[str], str], method: str
) -> None:
    """What ``zip -e`` locked opens with the password, whether text or bytes."""
    (tmp_path / "x").write_bytes(content("x", 70_000))
    command = [tool("zip"), "-q", "-Z", method, "-P", "gehéim", "a.zip", "x"]
    subprocess.run(command, cwd=tmp_path, check=True)
    expected = {"x": content("x", 70_000)}
    assert await contents_of(tmp_path / "a.zip", password="gehéim") == expected
    assert await contents_of(tmp_path / "a.zip", password="gehéim".encode()) == expected


async def test_wrong_and_missing_password(tmp_path: Path, tool: Callable[[str], str]) -> None:
    """A wrong password is an ArchiveError that does not repeat it; a missing one says so."""
    (tmp_path / "x").write_bytes(content("x"))
    subprocess.run([tool("zip"), "-qP", "right", "a.zip", "x"], cwd=tmp_path, check=True)
    with pytest.raises(ArchiveError, match="password= is needed"):
        await contents_of(tmp_path / "a.zip")
    for index in range(300):  # one in 256 passes the check byte and fails later
        with pytest.raises(ArchiveError, match=r"wrong password|wrong CRC") as caught:
            await contents_of(tmp_path / "a.zip", password=f"secret{index}")
        assert "secret" not in str(caught.value)


async def test_a_member_outlives_its_zip(tmp_path: Path) -> None:
    """An open reader reads on after the zip was replaced; a new one notices the change."""
    made(tmp_path / "a.zip", ("x", "y"))
    first, second = await blobs_of(tmp_path / "a.zip")
    workers = Workers()
    reader = await workers.run(first.open)
    (tmp_path / "b.zip").write_bytes(b"something else")
    (tmp_path / "b.zip").replace(tmp_path / "a.zip")
    view = memoryview(bytearray(first.size))
    assert await workers.run(reader.readinto, view, 0) == first.size
    assert bytes(view) == content("x")
    reader.close()
    with pytest.raises(ArchiveError, match="changed since"):
        await workers.run(second.open)


@pytest.mark.parametrize("name", ["missing.zip", "folder", "with\0nul"])
async def test_nothing_readable(tmp_path: Path, name: str) -> None:
    """No file, a directory, an impossible path: errors of ours."""
    (tmp_path / "folder").mkdir()
    expected = NotFoundError if name == "missing.zip" else TransportError
    with pytest.raises(expected):
        await blobs_of(Path(f"{tmp_path}/{name}"))


async def test_a_corpus_zip(corpus: Path) -> None:
    """A scanner's zip gives byte for byte what zipfile gives."""
    path = corpus / "mr_dynamic.zip"
    with zipfile.ZipFile(path) as archive:
        expected = {i.filename: archive.read(i) for i in archive.infolist() if not i.is_dir()}
    assert await contents_of(path) == expected
    inside = await names_of(path, "time")
    assert inside == sorted(name for name in expected if name.startswith("time/"))
