"""Lockstep against the plain walk: what it matches is what that finds, whatever the bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from struct import pack

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from seriesio import native
from seriesio.dicom import lockstep
from seriesio.dicom.lockstep import ALIGNMENT, PADDING, Matches
from seriesio.dicom.part10 import MoreNeeded, NoDicomError, Parsed, RawHeader, parse
from seriesio.errors import DataError
from seriesio.testing import phantom

IMPLICIT, EXPLICIT, RLE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"


@pytest.fixture(scope="module", params=["compiled", "vectors"], autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """All of this holds for both ways of comparing."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "vectors":
            patch.setattr(lockstep, "lockstep", lambda *_: False)
        elif "passes" not in native.compiled:
            pytest.skip("no compiled code")
        yield request.param


def heads(files: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Files side by side in one buffer: (arena, bases, ends)."""
    bases, data = [], b""
    for file in files:
        data += b"\0" * (-len(data) % ALIGNMENT)
        bases.append(len(data))
        data += file
    arena = np.frombuffer(data + bytes(PADDING), np.uint8)
    starts = np.array(bases, np.int64)
    return arena, starts, starts + np.array([len(file) for file in files], np.int64)


def parsed(data: bytes) -> Parsed:
    return parse(memoryview(data), len(data), "x")


def run(template: Parsed, files: Sequence[bytes]) -> Matches:
    return template.pattern.match(*heads(files))


def assert_as_walked(template: Parsed, files: Sequence[bytes]) -> set[int]:
    """Every match is what the plain walk finds, and the same when their lengths are foreseen.

    Returns the rows that matched.
    """
    rows = assert_once_as_walked(template, files)
    assert assert_once_as_walked(template, files) == rows
    return rows


def assert_once_as_walked(template: Parsed, files: Sequence[bytes]) -> set[int]:
    matches = run(template, files)
    for k, row in enumerate(matches.rows.tolist()):
        walked = walk(files[row])
        if walked is None:  # the transfer syntax is the caller's to compare
            continue
        assert walked.layout.tags == template.header.layout.tags
        assert walked.layout.vrs == template.header.layout.vrs
        assert walked.starts.tolist() == matches.starts[k].tolist()
        assert walked.offsets.tolist() == matches.offsets[k].tolist()
        assert walked.lengths.tolist() == matches.lengths[k].tolist()
    return set(matches.rows.tolist())


def walk(data: bytes) -> RawHeader | None:
    """What the plain walk finds; a match of what it refuses is wrong."""
    try:
        return parsed(data).header
    except (DataError, MoreNeeded) as error:
        if "wrong transfer syntax" in str(error) or "no transfer syntax" in str(error):
            return None
        raise AssertionError("lockstep matched what the plain walk refuses") from error


def make_files(syntax: str, *, enhanced: bool = False, count: int = 5) -> list[bytes]:
    made = phantom(
        (count, 2, 8, 8) if enhanced else (count, 8, 8),
        transfer_syntax=syntax,
        header_elements=20,
        header_bytes=900,
        enhanced="per-volume" if enhanced else False,
    )
    return list(made.files().values())


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, RLE])
def test_series(syntax: str, enhanced: bool) -> None:
    """All files of a series match their first one, and are indexed as the plain walk does."""
    files = make_files(syntax, enhanced=enhanced)
    assert assert_as_walked(parsed(files[0]), files) == set(range(len(files)))


def test_heads_that_are_cut() -> None:
    """A head that ends within the header does not match; one that ends with it does."""
    files = make_files(EXPLICIT)
    template = parsed(files[0])
    end = parsed(files[1]).header.pixel_offset
    matches = run(template, [files[1][:end], files[1][: end - 1], files[1][:200], b""])
    assert matches.rows.tolist() == [0]


def test_nothing() -> None:
    """No files, no matches."""
    template = parsed(make_files(EXPLICIT)[0])
    assert run(template, []).rows.tolist() == []


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    return pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


PIXELS = pack("<HH2s2xL", 0x7FE0, 0x10, b"OW", 8) + bytes(8)
META = bytes(128) + b"DICM" + element(0x00020010, b"UI", EXPLICIT.encode() + b"\0")


def sequence(item_end_length: int, text: bytes) -> bytes:
    inner = element(0x00080060, b"CS", text)
    return (
        pack("<HH2s2xL", 8, 0x1140, b"SQ", 0xFFFFFFFF)
        + pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
        + inner
        + pack("<HHL", 0xFFFE, 0xE00D, item_end_length)
        + pack("<HHL", 0xFFFE, 0xE0DD, 0)
    )


def test_lengths_inside_sequences() -> None:
    """Lengths may differ in sequences of undefined length; delimiters with a length are strange."""
    files = [META + sequence(0, text) + PIXELS for text in (b"MR", b"CTCT", b"", b"PTPTPT")]
    assert assert_as_walked(parsed(files[0]), files) == {0, 1, 2, 3}
    lying = META + sequence(4, b"MR") + PIXELS
    assert assert_as_walked(parsed(files[0]), [lying, *files]) == {1, 2, 3, 4}


@pytest.mark.parametrize("text", [b"odd", b"odder", b"even"])
def test_odd_lengths(text: bytes) -> None:
    """Elements at odd bytes are walked as well."""

    def make(value: bytes, other: bytes) -> bytes:
        return META + element(0x00080060, b"CS", value) + element(0x00100020, b"LO", other) + PIXELS

    template = parsed(make(b"odd", b"x"))
    files = [make(text, b"1"), make(text, b"22"), make(text, b"")]
    assert assert_as_walked(template, files) == {0, 1, 2}
    assert_as_walked(parsed(make(b"even", b"xy")), files)


def test_implicit_element_that_spells_a_vr() -> None:
    """An element without VR must not match one whose VR is its template's length."""
    private = pack("<HHL", 9, 0x1001, 2) + b"ab"
    spelled = pack("<HH2sH", 9, 0x1001, b"LO", 0)
    padding = element(0x00100020, b"LO", bytes(60000))
    first = META + element(0x00080060, b"CS", b"MR")
    template = parsed(first + private + padding * 6 + PIXELS)
    assert assert_as_walked(template, [first + spelled + padding * 6 + PIXELS]) == set()


def test_undefined_against_defined() -> None:
    """A sequence with a length does not match one without."""
    defined = META + pack("<HH2s2xL", 8, 0x1140, b"SQ", 0) + PIXELS
    undefined = META + sequence(0, b"MR") + PIXELS
    assert assert_as_walked(parsed(defined), [undefined, defined]) == {1}
    assert assert_as_walked(parsed(undefined), [undefined, defined]) == {0}


@pytest.mark.parametrize("name", [b"odd", b"even"])
@pytest.mark.parametrize("undefined", [False, True])
def test_defined_where_few_have_it(name: bytes, undefined: bool) -> None:
    """A kind of length that the sample has not does not match, whatever else is learnt."""
    lengths = (pack("<HH2s2xL", 8, 0x1140, b"SQ", 0), sequence(0, b"MR"))
    usual, strange = (
        META + element(0x00080060, b"CS", name) + one + element(0x00100020, b"LO", b"xy") + PIXELS
        for one in (lengths[undefined], lengths[not undefined])
    )
    files = [usual] * 40
    files[1] = strange  # the sample is every second
    assert assert_as_walked(parsed(usual), files) == set(range(40)) - {1}


def test_pixels_of_other_length() -> None:
    """The length of the pixel data may differ; undefined is another thing."""
    files = [META + PIXELS[:8] + pack("<L", size) for size in (8, 80, 800001, 0xFFFFFFFF)]
    assert assert_as_walked(parsed(files[0]), files) == {0, 1, 2}


SERIES = {
    (syntax, enhanced): make_files(syntax, enhanced=enhanced, count=3)
    for syntax in (IMPLICIT, EXPLICIT)
    for enhanced in (False, True)
}


@pytest.mark.parametrize("key", SERIES)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_mutated(key: tuple[str, bool], data: st.DataObject) -> None:
    """However one file is mutated: a match is what the plain walk finds, the others match."""
    files = list(SERIES[key])
    template = parsed(files[0])
    if data.draw(st.booleans()):  # what varies is learnt from others
        run(template, data.draw(st.permutations(files)))
    mutated = bytearray(files[1])
    tokens = template.pattern.tokens
    for _ in range(data.draw(st.integers(1, 3))):
        token = data.draw(st.integers(0, len(tokens.starts) - 1))
        place = int(tokens.starts[token]) + data.draw(st.integers(0, 14))
        what = data.draw(st.sampled_from(("set", "length", "delete", "insert", "cut")))
        if what == "set":
            mutated[place : place + 1] = data.draw(st.binary(min_size=1, max_size=4))
        elif what == "length":
            near = data.draw(st.integers(-300, 300)) + int(tokens.lengths[token])
            where = int(tokens.starts[token]) + data.draw(st.sampled_from((4, 6, 8)))
            mutated[where : where + 2] = pack("<H", near & 0xFFFF)
        elif what == "delete":
            del mutated[place : place + data.draw(st.integers(1, 64))]
        elif what == "insert":
            mutated[place:place] = data.draw(st.binary(min_size=1, max_size=16))
        else:
            del mutated[place:]
    matched = assert_as_walked(template, [files[1], bytes(mutated), files[2]])
    assert matched >= {0, 2}


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_longer_values(data: st.DataObject) -> None:
    """Files that differ in the lengths of values alone all match, each with its own places."""
    tags = [0x00080060, 0x00090010, 0x00100020, 0x00180015, 0x00200010, 0x00280004]
    values = st.lists(st.binary(max_size=40), min_size=len(tags), max_size=len(tags))
    even = data.draw(st.booleans())
    files = []
    for row in data.draw(st.lists(values, min_size=1, max_size=6)):
        padded = [value + b"\0" * (even and len(value) % 2) for value in row]
        parts = [element(tag, b"LO", value) for tag, value in zip(tags, padded, strict=True)]
        files.append(META + b"".join(parts) + PIXELS)
    matched = assert_as_walked(parsed(files[0]), files)
    if even:
        assert matched == set(range(len(files)))


def test_lengths_that_few_have(way: str) -> None:
    """Files whose lengths differ where those of the sample do not are found as well."""

    def made(*texts: bytes) -> bytes:
        tags = (0x00080060, 0x00100020, 0x00180015)
        return (
            META
            + b"".join(element(tag, b"LO", text) for tag, text in zip(tags, texts, strict=True))
            + PIXELS
        )

    files = [made(b"MR", b"0" * (2 * (row % 5)), b"x" * 6) for row in range(100)]
    files[77] = made(b"MR", b"00", b"y" * 8)  # the sample is every sixth
    files[83] = made(b"MRMR", b"00", b"y" * 6)
    template = parsed(files[0])
    assert assert_once_as_walked(template, files) == set(range(100))
    if way == "vectors":
        assert template.pattern.varying == [1, 2, 3]


def test_corpus(corpus: Path) -> None:
    """Real series: what matches the first file of a folder is as walked, and most files do."""
    total = matched = 0
    paths = sorted(path for path in corpus.rglob("*") if path.is_file())
    for _, group in groupby(paths, lambda path: path.parent):
        files = []
        for path in list(group)[:24]:
            data = path.read_bytes()
            try:
                walked = parsed(data).header
            except NoDicomError:
                continue
            if walked.has_pixels:
                files.append(data[: walked.pixel_offset + 64])
        if len(files) > 1:
            total += len(files)
            matched += len(assert_as_walked(parsed(files[0]), files))
    assert total > 50
    assert matched > total / 2
