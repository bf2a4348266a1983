"""The scan of batches: every blob is found, skipped or failed, and each header as walked alone."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seriesio.blob import Blob, BlobReader, FileBlob, MemoryBlob
from seriesio.dicom.part10 import RawHeader, parse_header
from seriesio.dicom.table import joined
from seriesio.errors import DataError, SeriesIOError, TransportError, TruncatedError
from seriesio.formats import _heads
from seriesio.formats._scan import Batch, Guide, Scanned, scan_batch
from seriesio.testing import phantom

SYNTAXES = {
    "implicit": "1.2.840.10008.1.2",
    "explicit": "1.2.840.10008.1.2.1",
    "big": "1.2.840.10008.1.2.2",
    "deflated": "1.2.840.10008.1.2.1.99",
    "rle": "1.2.840.10008.1.2.5",
}


def make_files(syntax: str, count: int = 6, **options: object) -> list[bytes]:
    made = phantom(
        (count, 8, 8),
        transfer_syntax=SYNTAXES[syntax],
        header_elements=12,
        header_bytes=2000,
        **options,  # type: ignore[arg-type]
    )
    return list(made.files().values())


def scan(files: list[bytes]) -> Scanned:
    return scan_batch([(k, MemoryBlob(f"f{k}", data)) for k, data in enumerate(files)])


def headers(found: Scanned) -> dict[int, RawHeader]:
    return {
        index: group.header(row)
        for group, indices in found.groups
        for row, index in enumerate(indices)
    }


def assert_as_parsed(found: Scanned, files: list[bytes]) -> None:
    for index, header in headers(found).items():
        alone = parse_header(files[index])
        assert bytes(header.data) == bytes(alone.data)
        assert header.layout.tags == alone.layout.tags
        assert header.layout.vrs == alone.layout.vrs
        assert header.starts.tolist() == alone.starts.tolist()
        assert header.offsets.tolist() == alone.offsets.tolist()
        assert header.lengths.tolist() == alone.lengths.tolist()
        assert (header.syntax, header.meta_end) == (alone.syntax, alone.meta_end)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_series(syntax: str) -> None:
    """Every header is what the walk finds alone; little endian ones lie side by side."""
    files = make_files(syntax)
    found = scan(files)
    assert sorted(headers(found)) == list(range(len(files)))
    assert_as_parsed(found, files)
    assert (found.skipped, found.failed) == ([], [])
    if syntax not in ("big", "deflated"):
        assert [len(rows) for _, rows in found.groups] == [len(files)]
    if syntax == "deflated":
        for index, plain in found.plain.items():
            assert bytes(plain[: headers(found)[index].pixel_offset]) == bytes(
                headers(found)[index].data
            )


def test_mixed() -> None:
    """All kinds of files in one batch: each is itself, and nothing is lost."""
    files = [data for syntax in SYNTAXES for data in make_files(syntax, 4)]
    files += make_files("explicit", 3, preamble=False) + make_files("explicit", 2, enhanced=True)
    images = len(files)
    files += [b"", b"text " * 99, bytes(500), files[0][:1000]]
    order = np.random.default_rng(1).permutation(len(files))
    shuffled = [files[k] for k in order]
    found = scan(shuffled)
    assert len(headers(found)) == images
    assert_as_parsed(found, shuffled)
    reasons = sorted(reason for _, reason in found.skipped)
    assert reasons == ["empty", "not DICOM", "not DICOM"]
    ((index, error),) = found.failed
    assert order[index] == len(files) - 1
    assert isinstance(error, TruncatedError)
    assert f"f{index}" in str(error)


def test_another_syntax_in_the_same_layout() -> None:
    """Headers that differ in the value of the transfer syntax alone do not share a group."""
    files = make_files("explicit")
    other = files[2].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0", 1)
    assert other != files[2]
    files[2] = other
    found = scan(files)
    assert_as_parsed(found, files)
    assert headers(found)[2].syntax.uid == "1.2.840.10008.1.2.5"


def test_no_image() -> None:
    """What is DICOM but no image is skipped; an image that has lost its pixels has failed."""
    data = make_files("explicit", 1)[0]
    header = parse_header(data)
    cut = data[: int(header.starts[-1])]
    report = cut.replace(b"1.2.840.10008.5.1.4.1.1.2\0", b"1.2.840.10008.5.1.4.1.1.88")
    rows = header.layout.lookup[0x00280002]
    report = report[: int(header.starts[rows])]
    found = scan([report, cut, data])
    assert list(headers(found)) == [2]
    assert found.skipped == [(0, "no image")]
    ((index, error),) = found.failed
    assert index == 1
    assert isinstance(error, TruncatedError)
    assert "f1: an image without pixel data" in str(error)


def test_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads that do not fit into one buffer take several."""
    monkeypatch.setattr(_heads, "_BUDGET", 12000)
    files = make_files("explicit", 12)
    found = scan(files)
    assert_as_parsed(found, files)
    assert len(headers(found)) == 12
    assert len(found.groups) > 2


@pytest.mark.parametrize("announced", [30, 8, 1])
def test_batches_of_the_same(announced: int) -> None:
    """Batches of the same end up in one group; strangers, and more than announced, in others."""
    files = make_files("explicit", 30)
    files[13:15] = [*make_files("implicit", 1), b"text " * 99]
    found, guide = Scanned(), Guide(announced)
    for start in (0, 7, 8, 20):
        stop = {0: 7, 7: 8, 8: 20, 20: 30}[start]
        part: Batch = [(k, MemoryBlob(f"f{k}", files[k])) for k in range(start, stop)]
        some = scan_batch(part, guide)
        found.groups += some.groups
        found.skipped += some.skipped
        assert not some.failed
    groups, rows = joined(found.groups)
    found.groups = list(zip(groups, rows, strict=True))
    assert sorted(headers(found)) == [k for k in range(30) if k != 14]
    assert_as_parsed(found, files)
    assert found.skipped == [(14, "not DICOM")]
    if announced == 30:
        assert sorted(map(len, rows)) == [1, 28]
    else:
        assert len(groups) > 2


def test_compact() -> None:
    """Groups do not keep the bytes of others alive."""
    explicit, implicit = make_files("explicit", 2), make_files("implicit", 30)
    files = [explicit[0], *implicit[:15], explicit[1], *implicit[15:]]
    found = scan(files)
    assert_as_parsed(found, files)
    kept = {id(group.arena): group.arena.nbytes for group, _ in found.groups}
    needed = sum(header.data.nbytes for header in headers(found).values())
    assert sum(kept.values()) < 2 * needed


class Broken:
    """A blob whose reading fails."""

    sequential = False
    size = 5000

    def __init__(self, name: str, error: SeriesIOError) -> None:
        self.name = name
        self.error = error

    def open(self) -> BlobReader:
        raise self.error


def test_unreadable() -> None:
    """Permissions are a reason to skip; other failures are failures."""
    files = make_files("explicit", 3)
    denied = TransportError(errno.EACCES, "cannot open: Permission denied", "x")
    gone = TransportError(errno.EIO, "cannot open: Input/output error", "y")
    blobs: list[Blob] = [MemoryBlob(str(k), data) for k, data in enumerate(files)]
    blobs += [Broken("a", denied), Broken("b", gone)]
    found = scan_batch(list(enumerate(blobs)))
    assert len(headers(found)) == 3
    assert found.skipped == [(3, "unreadable")]
    assert found.failed == [(4, gone)]


def test_shrunk_file(tmp_path: Path) -> None:
    """A file that is shorter than it was when it was listed has failed."""
    files = make_files("explicit", 3)
    blobs = []
    for k, data in enumerate(files):
        path = tmp_path / f"{k}"
        path.write_bytes(data if k != 1 else data[:1500])
        blobs.append(FileBlob(path.name, os.fspath(path), len(data)))
    found = scan_batch(list(enumerate(blobs)))
    assert sorted(headers(found)) == [0, 2]
    ((index, error),) = found.failed
    assert index == 1
    assert isinstance(error, TransportError)


MIXED = [data for syntax in SYNTAXES for data in make_files(syntax, 2)]


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_fuzz(data: st.DataObject) -> None:
    """However files are mutated, each is as walked alone, skipped, or failed with our error."""
    files = []
    for _ in range(data.draw(st.integers(1, 6))):
        mutated = bytearray(data.draw(st.sampled_from(MIXED)))
        for _ in range(data.draw(st.integers(0, 2))):
            place = data.draw(st.integers(0, max(len(mutated) - 1, 0)))
            mutated[place : place + 1] = data.draw(st.binary(max_size=3))
        cut = data.draw(st.integers(0, len(mutated))) if data.draw(st.booleans()) else None
        files.append(bytes(mutated[:cut]))
    found = scan(files)
    seen = [*headers(found), *(k for k, _ in found.skipped), *(k for k, _ in found.failed)]
    assert sorted(seen) == list(range(len(files)))
    assert_as_parsed(found, files)
    for index, error in found.failed:
        assert isinstance(error, DataError)
        assert f"f{index}" in str(error)


def test_corpus(corpus: Path) -> None:
    """Real folders: nothing is lost, and every header is as walked alone."""
    for folder in sorted({path.parent for path in corpus.rglob("*") if path.is_file()}):
        paths = sorted(path for path in folder.iterdir() if path.is_file())[:12]
        blobs = [FileBlob(path.name, os.fspath(path), path.stat().st_size) for path in paths]
        found = scan_batch(list(enumerate(blobs)))
        seen = len(headers(found)) + len(found.skipped) + len(found.failed)
        assert seen == len(paths)
        assert_as_parsed(found, [path.read_bytes() for path in paths])
        assert not found.failed
