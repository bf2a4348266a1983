"""Zip files that are damaged or lie: an error of ours, always."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seriesio.blob import read_all
from seriesio.errors import ArchiveError, DataError, TooLargeError, TransportError
from seriesio.offload import Workers
from seriesio.transports import _zip_directory
from seriesio.transports._zip_archive import open_archive
from seriesio.transports._zip_readers import ZipBlob
from seriesio.transports.zip import ZipSource

METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
DATA = b"pixels, " * 5000


def good(method: int = zipfile.ZIP_DEFLATED, *names: str) -> bytearray:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name in names or ("one", "two"):
            archive.writestr(name, DATA)
    return bytearray(buffer.getvalue())


def read_everything(path: Path) -> dict[str, bytes]:
    archive, directory = open_archive(str(path), b"password")
    members = [member for member in directory.members if not member.is_directory]
    blobs = [ZipBlob(member.name, member.size, archive, member) for member in members]
    return {blob.name: bytes(read_all(blob)) for blob in blobs}


def central(data: bytearray) -> int:
    return data.index(b"PK\1\2")


def patched(data: bytearray, offset: int, layout: str, *values: int) -> bytearray:
    struct.pack_into(layout, data, offset, *values)
    return data


def size_lie(method: int, change: int) -> bytearray:
    """Both headers claim ``change`` bytes more than there are."""
    data = good(method, "one")
    patched(data, central(data) + 24, "<L", len(DATA) + change)
    return patched(data, 22, "<L", len(DATA) + change)


def packed_lie(change: int) -> bytearray:
    """Room after the data, and both headers claim that it belongs to them."""
    data = good(zipfile.ZIP_DEFLATED, "one")
    at = central(data)
    (packed,) = struct.unpack_from("<L", data, 18)
    data[at:at] = b"\0" * 50
    at += 50
    patched(data, at + 20, "<L", packed + change)
    patched(data, 18, "<L", packed + change)
    return patched(data, len(data) - 6, "<L", at)


def duplicate() -> bytearray:
    return good().replace(b"two", b"one")


def same_range() -> bytearray:
    """Two entries of the directory point at one member (an overlap bomb)."""
    data = good()
    second = data.index(b"PK\1\2", central(data) + 4)
    data[second + 46 : second + 49] = b"two"
    return patched(data, second + 42, "<L", 0)


def reaching_range() -> bytearray:
    """The first member claims the bytes of the second as well."""
    data = good(zipfile.ZIP_STORED)
    for at in (central(data), -8 + 0):
        base = at + 20 if at >= 0 else 18
        patched(data, base, "<2L", len(DATA) + 50, len(DATA) + 50)
    return data


def long_extra() -> bytearray:
    """A local header whose extra field pushes the data over the next member."""
    return patched(good(zipfile.ZIP_STORED), 28, "<H", 40)


def bomb() -> bytearray:
    data = good(zipfile.ZIP_DEFLATED, "one")
    patched(data, 22, "<L", 2_000_000_000)
    return patched(data, central(data) + 24, "<L", 2_000_000_000)


def renamed(name: str) -> bytearray:
    return good(zipfile.ZIP_DEFLATED, "x" * len(name)).replace(b"x" * len(name), name.encode())


CASES: dict[str, tuple[Callable[[], bytes | bytearray], str]] = {
    "empty": (lambda: b"", "not a zip file"),
    "text": (lambda: b"hello " * 100, "not a zip file"),
    "truncated": (lambda: good()[:-1], "truncated"),
    "no_directory": (lambda: good()[-22:], "past the end"),
    "half": (lambda: good()[: central(good())], "no end record"),
    "wrong_crc": (lambda: patched(good(), 14, "<L", 7), "disagrees about size or CRC"),
    "wrong_crcs": (
        lambda: patched(patched(good(), 14, "<L", 7), central(good()) + 16, "<L", 7),
        "'one': wrong CRC",
    ),
    "longer": (lambda: size_lie(zipfile.ZIP_DEFLATED, -8), "longer than its announced size"),
    "shorter": (lambda: size_lie(zipfile.ZIP_DEFLATED, 8), "ends 8 bytes before"),
    "longer_bz": (lambda: size_lie(zipfile.ZIP_BZIP2, -8), "longer than its announced size"),
    "shorter_bz": (lambda: size_lie(zipfile.ZIP_BZIP2, 8), "ends 8 bytes before"),
    "longer_xz": (lambda: size_lie(zipfile.ZIP_LZMA, -8), "longer than its announced size"),
    "shorter_xz": (lambda: size_lie(zipfile.ZIP_LZMA, 8), "ends 8 bytes before"),
    "longer_stored": (lambda: size_lie(zipfile.ZIP_STORED, -8), "cannot make"),
    "packed_more": (lambda: packed_lie(50), "do not end where announced"),
    "packed_less": (lambda: packed_lie(-5), "before its announced size|do not end where"),
    "bomb": (bomb, "cannot make 2000000000"),
    "duplicate": (duplicate, "two members of this name"),
    "same_range": (same_range, "overlaps"),
    "reaching_range": (reaching_range, "overlaps"),
    "long_extra": (long_extra, "overlaps"),
    "climbs": (lambda: renamed("../../x"), r"'\.\./\.\./x': unsafe name"),
    "climbs_dos": (lambda: renamed("a\\..\\..\\x"), "unsafe name"),
    "absolute": (lambda: renamed("/etc/passwd"), "unsafe name"),
    "drive": (lambda: renamed("C:\\x"), "unsafe name"),
    "nul": (lambda: renamed("a\0b"), "unsafe name"),
    "dot": (lambda: renamed("./."), "empty name"),
    "many_disks": (lambda: patched(good(), len(good()) - 18, "<H", 1), "several files"),
    "count": (lambda: patched(good(), len(good()) - 12, "<H", 3), "announces 3 members, lists 2"),
    "directory": (lambda: patched(good(), len(good()) - 10, "<L", 1 << 30), "past|members"),
    "local": (lambda: patched(good(), 0, "<L", 0), "no local header"),
    "local_name": (lambda: patched(good(), 30, "<B", 65), "another name"),
    "local_method": (lambda: patched(good(), 8, "<H", 0), "how it is packed"),
    "deflate64": (
        lambda: patched(patched(good(), 8, "<H", 9), central(good()) + 10, "<H", 9),
        "Deflate64",
    ),
    "aes": (
        lambda: patched(patched(good(), 8, "<H", 99), central(good()) + 10, "<H", 99),
        "AES",
    ),
    "damaged": (lambda: patched(good(), 40, "<Q", 0xFFFFFFFFFFFFFFFF), "'one': "),
    "folder": (lambda: renamed("folder/"), "a directory that holds data"),
    "zip64": (
        lambda: patched(good(), central(good()) + 24, "<L", 0xFFFFFFFF),
        "cannot make",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_hostile(tmp_path: Path, case: str) -> None:
    """Each kind of damage and each lie is an ArchiveError that names file and reason."""
    make, why = CASES[case]
    (tmp_path / "a.zip").write_bytes(make())
    with pytest.raises((ArchiveError, TooLargeError), match=why) as caught:
        read_everything(tmp_path / "a.zip")
    assert "a.zip" in str(caught.value)


def test_the_cases_start_from_a_good_zip(tmp_path: Path) -> None:
    """What the cases damage can be read before."""
    for method in METHODS:
        (tmp_path / "a.zip").write_bytes(good(method))
        assert read_everything(tmp_path / "a.zip") == {"one": DATA, "two": DATA}


@pytest.mark.parametrize("method", METHODS)
@given(st.data())
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_damage_escapes(
    tmp_path_factory: pytest.TempPathFactory, method: int, data: st.DataObject
) -> None:
    """Bytes changed or cut anywhere give the true contents or an error of ours, nothing else."""
    damaged = good(method)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    damaged = damaged[: data.draw(st.integers(0, len(damaged)) | st.just(len(damaged)))]
    path = tmp_path_factory.mktemp("zip") / "a.zip"
    path.write_bytes(damaged)
    try:
        contents = read_everything(path)
    except (TransportError, DataError):
        return
    assert set(map(bytes, contents.values())) <= {DATA}


def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More members than the limit are refused before they are listed."""
    monkeypatch.setattr(_zip_directory, "MAX_MEMBERS", 1)
    (tmp_path / "a.zip").write_bytes(good())
    with pytest.raises(TooLargeError, match="2 members"):
        open_archive(str(tmp_path / "a.zip"))
    (tmp_path / "b.zip").write_bytes(patched(good(), len(good()) - 12, "<H", 0))
    with pytest.raises(TooLargeError, match="more than 1"):
        open_archive(str(tmp_path / "b.zip"))


def test_an_lzma_dictionary_of_4_gib_is_not_allocated(tmp_path: Path) -> None:
    """The dictionary is bounded by the size of what comes out."""
    data = good(zipfile.ZIP_LZMA, "one")
    start = 30 + len("one") + 4
    patched(data, start + 1, "<L", 0xFFFFFFFF)
    (tmp_path / "a.zip").write_bytes(data)
    assert read_everything(tmp_path / "a.zip") == {"one": DATA}


def test_a_pipe_in_the_place_of_a_zip(tmp_path: Path) -> None:
    """A FIFO is an error at once, and does not hold the thread for ever."""
    os.mkfifo(tmp_path / "a.zip")
    with pytest.raises(ArchiveError, match="regular file"):
        open_archive(str(tmp_path / "a.zip"))


async def test_errors_come_through_the_source(tmp_path: Path) -> None:
    """What the directory shows is raised by read(), and by list()."""
    (tmp_path / "a.zip").write_bytes(duplicate())
    source = ZipSource(str(tmp_path / "a.zip"), workers=Workers())
    with pytest.raises(ArchiveError):
        _ = [blob async for blob in source.read()]
    with pytest.raises(ArchiveError):
        _ = [entry async for entry in source.list()]


def test_unicode_path_field(tmp_path: Path) -> None:
    """Info-ZIP's Unicode Path field names the member, if its sum fits the plain name."""
    for crc, expected in ((zlib.crc32(b"one"), "ö"), (5, "one")):
        data = good(zipfile.ZIP_DEFLATED, "one")
        field = struct.pack("<2HBL", 0x7075, 7, 1, crc) + "ö".encode()
        at = central(data)
        patched(data, at + 30, "<H", len(field))
        data[at + 49 : at + 49] = field
        patched(data, len(data) - 10, "<L", 49 + len(field))
        (tmp_path / "a.zip").write_bytes(data)
        assert list(read_everything(tmp_path / "a.zip")) == [expected]
