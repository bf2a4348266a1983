"""The choice of a deflate library: each one gives the same, none is needed."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seriesio import Series, inflate, native
from seriesio.blob import MemoryBlob, read_all
from seriesio.errors import SeriesIOError
from seriesio.testing import phantom
from seriesio.transports._zip_archive import open_archive
from seriesio.transports._zip_pack import pack
from seriesio.transports._zip_readers import ZipBlob

LIBRARIES = ["our own", "zlib", "isal.isal_zlib", "zlib_ng.zlib_ng"]
DATA = b"".join(value.to_bytes(3, "little") for value in range(150_000))


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Each library takes its turn as the one that is used."""
    ours = request.param == "our own"
    if not ours:
        monkeypatch.setattr(native, "inflater", lambda: None)
        monkeypatch.setattr(native, "crc32", None)
    module = zlib if ours else importlib.import_module(request.param)
    monkeypatch.setattr(inflate, "_inflater", lambda: module)
    monkeypatch.setattr(inflate, "_deflater", lambda: zlib if "isal" in request.param else module)
    for cached in (inflate.inflate_errors, inflate._crc32):
        cached.cache_clear()
    yield module
    for cached in (inflate.inflate_errors, inflate._crc32):
        cached.cache_clear()


def test_sum_and_streams(library: Any) -> None:
    """CRC and both directions agree with zlib."""
    assert inflate.crc32(DATA[9:], inflate.crc32(DATA[:9])) == zlib.crc32(DATA)
    packer = inflate.compressobj(wbits=-15)
    packed = packer.compress(DATA) + packer.flush()
    assert zlib.decompress(packed, -15) == DATA
    stream = inflate.decompressobj(-15)
    assert stream.decompress(packed) == DATA
    assert stream.eof


def test_into_memory(library: Any) -> None:
    """What is given a little at a time, and taken a little at a time, comes out whole."""
    packer = zlib.compressobj(wbits=-15)
    packed = memoryview(packer.compress(DATA) + packer.flush() + b"behind")
    stream, out = inflate.inflater(), memoryview(bytearray(len(DATA) + 9))
    at = done = 0
    while not stream.eof:
        used, count = stream.into(packed[at : at + 1000], out[done : done + 3000])
        at, done = at + used, done + count
    assert (bytes(packed[at:]), bytes(out[:done])) == (b"behind", DATA)
    assert stream.into(packed[at:], out) == (0, 0)


def test_damage_into_memory(library: Any) -> None:
    """What is no deflate stream is an error; the memory behind its end stays as it was."""
    stream = inflate.inflater()
    with pytest.raises(ValueError, match="does not inflate"):
        stream.into(b"\xff" * 100, memoryview(bytearray(1000)))
    packer = zlib.compressobj(wbits=-15)
    packed, room = packer.compress(b"abc") + packer.flush(), bytearray(b"x" * 10)
    assert inflate.inflater().into(packed, memoryview(room)) == (len(packed), 3)
    assert room == b"abc" + b"x" * 7


def test_members_whatever_library(library: Any, tmp_path: Path) -> None:
    """A reader that pauses gives the same bytes with every library."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", DATA)
    opened, directory = open_archive(str(tmp_path / "a.zip"))
    blob = ZipBlob("x", len(DATA), opened, directory.members[0])
    assert read_all(blob) == DATA
    reader, view = blob.open(), memoryview(bytearray(len(DATA)))
    for offset in (0, 100_000, 130_000, 60_000):
        assert reader.readinto(view[:40_000], offset) == 40_000
        assert view[:40_000] == DATA[offset : offset + 40_000]
    assert reader.readinto(view, 100_000) == len(DATA) - 100_000
    reader.close()


@pytest.mark.parametrize("size", [24, 200])
@pytest.mark.parametrize("bits", [12, 16])
async def test_opened_whatever_library(library: Any, tmp_path: Path, size: int, bits: int) -> None:
    """A series opens to the same voxels; a damaged member is named, wherever the damage is."""
    made = phantom((12, size, size + 7), bits_stored=bits, intercept=-1024, modality="CT")
    zipped = tmp_path / "a.zip"
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in made.files().items():
            archive.writestr(name, file)
    np.testing.assert_array_equal((await Series.open(zipped)).array, made.array)

    with zipfile.ZipFile(zipped) as archive:
        member = archive.infolist()[5]
    good = zipped.read_bytes()
    begin = member.header_offset + 30 + len(member.filename)
    for place in range(1, member.compress_size, member.compress_size // 9):
        bad = bytearray(good)
        bad[begin + place] ^= 0x55
        zipped.write_bytes(bad)
        with pytest.raises(SeriesIOError, match=re.escape(member.filename)):
            await Series.open(zipped)


def test_damage_whatever_library(library: Any) -> None:
    """What each library raises over damage is in the list."""
    stream = inflate.decompressobj(-15)
    with pytest.raises(inflate.inflate_errors()):
        stream.decompress(b"\xff" * 100)


def test_size_is_near_level_6(library: Any) -> None:
    """The level taken by default costs less than 10 % against zlib's own."""
    packed = pack(MemoryBlob("x", DATA), 8, None)
    assert packed.packed <= 1.1 * len(zlib.compress(DATA, 6))


def test_nothing_is_imported_early() -> None:
    """Importing the module imports neither of the optional libraries."""
    code = "import sys, seriesio.inflate; assert not {'isal', 'zlib_ng'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_standard_library_is_enough() -> None:
    """Without the optional libraries zlib does the work."""
    code = (
        "import sys; sys.modules['isal'] = sys.modules['zlib_ng'] = None\n"
        "import zlib; from seriesio import inflate\n"
        "assert inflate.crc32(b'x') == zlib.crc32(b'x')\n"
        "assert inflate._inflater() is zlib and inflate._deflater() is zlib"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
