"""The streaming unzip; zipfile is the oracle, hand-made records are the hostile ones."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seriesio.errors import ArchiveError
from seriesio.transports._xnat_unzip import Unzip

FILES = {"a/one": b"one" * 1000, "zero": b"", "ä": bytes(300_000), "two": bytes(range(256)) * 999}


class Kept:
    """A store in memory."""

    def __init__(self, most: int) -> None:
        self.data = bytearray()
        self.most = most
        self.whole = False

    def write(self, data: memoryview) -> None:
        self.data += data
        if len(self.data) > self.most:
            raise ArchiveError("more than there may be")

    def finish(self) -> None:
        self.whole = True


def buffers(size: int = 1 << 16) -> Iterator[memoryview]:
    """Memory of so many bytes at a time, without end."""
    while True:
        yield memoryview(bytearray(size))


def unzipped(
    archive: bytes, step: int = 1 << 16, most: int = 1 << 30, room: int = 1 << 16
) -> tuple[dict[str, bytes], dict[str, int | None], bool]:
    """(contents of the whole members, announced sizes, has the directory come)."""
    kept: dict[str, Kept] = {}
    sizes: dict[str, int | None] = {}

    def store(name: str, size: int | None) -> Kept:
        sizes[name] = size
        return kept.setdefault(name, Kept(most))

    unzip = Unzip(store, "GET http://host/x", buffers(room))
    unzip.feed(archive[at : at + step] for at in range(0, len(archive), step))
    return {n: bytes(k.data) for n, k in kept.items() if k.whole}, sizes, unzip.ended


class Pipe(io.RawIOBase):
    """A stream that cannot seek: zipfile writes data descriptors to it."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += data
        return len(data)


def zipped(
    files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED, stream: Any = None
) -> bytes:
    stream = io.BytesIO() if stream is None else stream
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return bytes(stream.data if isinstance(stream, Pipe) else stream.getvalue())


@pytest.mark.parametrize("step", [1, 7, 1 << 16])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_sizes_in_front(method: int, step: int) -> None:
    """What XNAT sends by default: sizes and CRC stand before the data."""
    found, sizes, ended = unzipped(zipped(FILES, method), step)
    assert (found, ended) == (FILES, True)
    assert sizes == {name: len(data) for name, data in FILES.items()}


@pytest.mark.parametrize("room", [1, 999, 1 << 17])
def test_what_is_inflated_stays(room: int) -> None:
    """Views that are kept hold what came, wherever the memory that is lent ends."""
    kept: dict[str, list[memoryview]] = {}

    class Views:
        def __init__(self, name: str) -> None:
            self.write = kept.setdefault(name, []).append

        def finish(self) -> None:
            self.write(memoryview(b""))

    files = {**FILES, "ä": bytes(3000)}
    Unzip(lambda name, size: Views(name), "GET x", buffers(room)).feed([zipped(files)])
    assert {name: b"".join(views) for name, views in kept.items()} == files
    assert all(view.nbytes <= room for views in kept.values() for view in views)


@pytest.mark.parametrize("step", [1, 4096])
def test_data_descriptors(step: int) -> None:
    """Deflated members whose sizes stand behind them."""
    found, sizes, ended = unzipped(zipped(FILES, stream=Pipe()), step)
    assert (found, ended) == (FILES, True)
    assert set(sizes.values()) == {None}


@pytest.mark.parametrize("signature", [b"PK\7\x08", b""])
@pytest.mark.parametrize("form", ["<3L", "<L2Q"])
def test_every_form_of_descriptor(signature: bytes, form: str) -> None:
    """With a signature or without, of 32 or of 64 bits (APPNOTE 4.3.9)."""
    data = b"some data" * 99
    assert unzipped(described(data, form, signature))[0] == {"name": data}


def test_wide_descriptors_of_zipfile() -> None:
    """Behind an empty member, too, where the first half of 64-bit sizes reads as 32-bit ones."""
    files = {"empty": b"", "name": b"some data" * 99, "empty too": b""}
    stream = Pipe()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(data)
    assert unzipped(bytes(stream.data)) == (files, dict.fromkeys(files), True)


def deflated(data: bytes) -> bytes:
    stream = zlib.compressobj(6, zlib.DEFLATED, -15)
    return stream.compress(data) + stream.flush()


def local(
    flags: int,
    method: int,
    crc: int,
    packed: int,
    size: int,
    name: bytes = b"name",
    extra: bytes = b"",
) -> bytes:
    fields = (20, flags, method, 0, 0, crc, packed, size, len(name), len(extra))
    return b"PK\3\4" + struct.pack("<5H3L2H", *fields) + name + extra


def described(data: bytes, form: str, signature: bytes, **other: int) -> bytes:
    packed = deflated(data)
    values = {"crc": zlib.crc32(data), "packed": len(packed), "size": len(data), **other}
    return local(8, 8, 0, 0, 0) + packed + signature + struct.pack(form, *values.values()) + END


END = b"PK\5\6" + bytes(18)


def test_zip64_sizes() -> None:
    """Sizes in the extra field (APPNOTE 4.5.3), behind another extra."""
    data = b"wide" * 10
    extra = struct.pack("<2H4x2H2Q", 7, 4, 1, 16, len(data), len(data))
    head = local(0, 0, zlib.crc32(data), 0xFFFFFFFF, 0xFFFFFFFF, extra=extra)
    assert unzipped(head + data + END)[0] == {"name": data}


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_cut_is_noticed(data: bytes, step: int) -> None:
    """However much arrives: members are whole and right, or they are not there."""
    archive = zipped({"one": data, "two": data[::-1]}, stream=Pipe())
    cut = len(archive) * step // 51
    found, _, ended = unzipped(archive[:cut], step)
    assert found.items() <= {"one": data, "two": data[::-1]}.items()
    assert not ended or len(found) == 2


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_any_damage(where: int, value: int) -> None:
    """A byte that is another one: an error of ours, or members that are right."""
    archive = bytearray(zipped({"one": b"data" * 50, "two": b"more" * 9}, zipfile.ZIP_DEFLATED))
    archive[where % len(archive)] = value
    try:
        found, _, _ = unzipped(bytes(archive), 100, 10_000)
    except ArchiveError:
        return
    assert set(found.values()) <= {b"data" * 50, b"more" * 9}


HOSTILE: dict[str, Iterable[bytes]] = {
    "no zip": [b"<html>a page</html>"],
    "encrypted": [local(1, 0, 0, 4, 4), b"data", END],
    "stored without a size": [local(8, 0, 0, 0, 0), b"data", END],
    "another method": [local(0, 14, 0, 4, 4), b"data", END],
    "two sizes of stored data": [local(0, 0, 0, 4, 5), b"data", END],
    "a wrong CRC": [local(0, 0, 1, 4, 4), b"data", END],
    "no deflate": [local(0, 8, 0, 4, 9), b"\xff\xff\xff\xff", END],
    "deflate without an end": [local(0, 8, 0, 4, 9), deflated(bytes(900))[:4], END],
    "wide sizes that are missing": [local(0, 0, 0, 0xFFFFFFFF, 0xFFFFFFFF), END],
    "wide sizes, cut": [local(0, 0, 0, 0xFFFFFFFF, 9, extra=b"\1\0\x10\0abc"), END],
    "a name without end": [local(0, 0, 0, 0, 0, name=b"n" * 5000), END],
    "a wrong descriptor": [described(b"data", "<3L", b"PK\7\x08", size=9)],
    "a wrong CRC in a descriptor": [described(b"data", "<3L", b"", crc=9), bytes(20)],
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile(case: str) -> None:
    """Each an error that names the request."""
    with pytest.raises(ArchiveError, match="GET http://host/x"):
        unzipped(b"".join(HOSTILE[case]))


def test_a_bomb() -> None:
    """What inflates to more than there may be is stopped, long before it is all there."""
    with pytest.raises(ArchiveError, match="more than there may be"):
        unzipped(zipped({"bomb": bytes(50_000_000)}, stream=Pipe()), most=1_000_000)


def test_a_directory_without_end() -> None:
    """What follows the members is dropped, but not for ever."""
    unzip = Unzip(lambda name, size: Kept(1), "GET x", buffers())
    unzip.feed([END])
    block = bytes(1 << 24)
    with pytest.raises(ArchiveError, match="no end"):
        unzip.feed(block for _ in range(17))
