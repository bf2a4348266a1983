"""The walk over a header: judged by pydicom, and fed with whatever breaks readers."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from struct import pack

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from seriesio.dicom import walk
from seriesio.dicom.header import Header, Instance
from seriesio.dicom.part10 import (
    PIXEL_TAGS,
    MoreNeeded,
    NoDicomError,
    RawHeader,
    meta_length,
    parse,
    parse_header,
)
from seriesio.errors import DataError, DicomError, TooLargeError, TruncatedError
from seriesio.testing import phantom

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED, RLE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
SYNTAXES = [IMPLICIT, EXPLICIT, BIG, DEFLATED, RLE]
UNDEFINED = b"\xff\xff\xff\xff"


def make_file(syntax: str = EXPLICIT, *, preamble: bool = True, enhanced: bool = False) -> bytes:
    made = phantom(
        (2, 8, 8),
        transfer_syntax=syntax,
        header_elements=12,
        header_bytes=600,
        preamble=preamble,
        enhanced=enhanced,
    )
    return next(iter(made.files().values()))


def element(tag: int, vr: str, value: bytes, length: int | None = None) -> bytes:
    """One explicit little endian element; ``length`` is a lie if given."""
    size = len(value) if length is None else length
    head = pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    wide = vr in ("OB", "OW", "SQ", "UN", "UT")
    return head + (pack("<2xL", size) if wide else pack("<H", size)) + value


def bare(tag: int, value: bytes, length: int | None = None) -> bytes:
    """One implicit little endian element, or an item."""
    size = len(value) if length is None else length
    return pack("<HHL", tag >> 16, tag & 0xFFFF, size) + value


ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, bare(0xFFFEE00D, b""), bare(0xFFFEE0DD, b"")
SOP_CLASS = element(0x00080016, "UI", b"1.2.840.10008.5.1.4.1.1.2\0")
PIXELS = element(0x7FE00010, "OW", bytes(8))


def part10(dataset: bytes, syntax: str = EXPLICIT) -> bytes:
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    return bytes(128) + b"DICM" + element(0x00020010, "UI", uid) + dataset


def pydicom_elements(data: bytes) -> dict[int, bytes | None]:
    """Top-level tag → value bytes, by pydicom; None for sequences that it takes apart."""
    dataset = dcmread(BytesIO(data), force=True)
    found: dict[int, bytes | None] = {}
    for part in (dataset.file_meta, dataset):
        for tag in list(part.keys()):
            raw = part.get_item(tag)
            value = getattr(raw, "value", None)
            found[int(tag)] = value if isinstance(value, bytes) else None
    return found


def assert_as_pydicom(header: RawHeader, data: bytes) -> None:
    expected = pydicom_elements(data)
    tags = header.layout.tags
    assert set(tags) <= set(expected)
    assert set(expected) - set(tags) <= {tag for tag in expected if tag > 0x7FE00010}
    for tag in tags:
        value = expected[tag]
        if tag not in PIXEL_TAGS and value is not None:
            raw = header.raw(tag)
            assert raw is not None
            assert bytes(raw) == value


# Without file meta information nobody knows that a dataset is deflated, or its pixels packed.
FORMS = [
    (one, form) for one in SYNTAXES for form in (True, False) if form or one not in (DEFLATED, RLE)
]


@pytest.mark.parametrize(("syntax", "preamble"), FORMS)
def test_as_pydicom(syntax: str, preamble: bool) -> None:
    """Tags, values and the place of the pixels are pydicom's, in every syntax, bare too."""
    data = make_file(syntax, preamble=preamble)
    header = parse_header(data)
    if preamble:
        assert_as_pydicom(header, data)
        assert header.syntax.uid == syntax
    else:
        assert header.syntax.implicit == (syntax == IMPLICIT)
        assert header.syntax.little == (syntax != BIG)
        assert header.meta_end == 0
    pixels = dcmread(BytesIO(data), force=True)
    if not preamble:
        order = {IMPLICIT: (True, True), EXPLICIT: (False, True), BIG: (False, False)}[syntax]
        assert (header.syntax.implicit, header.syntax.little) == order
    elif syntax not in (DEFLATED, RLE):
        start = header.pixel_offset
        assert data[start : start + header.pixel_length] == pixels.PixelData


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
def test_enhanced_as_pydicom(syntax: str) -> None:
    """Headers with functional groups are walked as pydicom does."""
    data = make_file(syntax, enhanced=True)
    assert_as_pydicom(parse_header(data), data)


def corpus_files(corpus: Path) -> Iterator[Path]:
    for folder in sorted({path.parent for path in corpus.rglob("*") if path.is_file()}):
        files = sorted(path for path in folder.iterdir() if path.is_file())
        yield from files[:6]


def test_corpus_as_pydicom(corpus: Path) -> None:
    """Real headers are walked as pydicom does; what is no DICOM is not taken for it."""
    walked = 0
    for path in corpus_files(corpus):
        data = path.read_bytes()
        if data[128:132] != b"DICM":
            with pytest.raises(NoDicomError):
                parse_header(data)
            continue
        assert_as_pydicom(parse_header(data), data)
        walked += 1
    assert walked > 20


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_growing(syntax: str) -> None:
    """However little of the file is at hand, the walk asks for more and ends the same."""
    data = make_file(syntax)
    expected = parse_header(data)
    have = 1
    while True:
        try:
            parsed = parse(memoryview(data)[:have], len(data), "x")
            break
        except MoreNeeded as more:
            wanted = more.count
        assert have < wanted <= len(data)
        have = wanted
    assert parsed.header.layout.tags == expected.layout.tags
    assert parsed.header.offsets.tolist() == expected.offsets.tolist()


def test_meta_without_preamble() -> None:
    """File meta information may stand at the very beginning, with its prefix or without."""
    data = make_file()
    whole = parse_header(data)
    for cut in (128, 132):
        header = parse_header(data[cut:])
        assert header.layout.tags == whole.layout.tags
        assert header.starts.tolist() == (whole.starts - cut).tolist()
        assert meta_length(memoryview(data)[cut:]) == whole.meta_end - cut


def test_meta_in_implicit_vr() -> None:
    """File meta information without VRs breaks the rules, but is read."""
    dataset = SOP_CLASS + PIXELS
    meta = bare(0x00020010, EXPLICIT.encode() + b"\0")
    header = parse_header(bytes(128) + b"DICM" + meta + dataset)
    assert header.layout.tags == (0x00020010, 0x00080016, 0x7FE00010)
    assert header.syntax.uid == EXPLICIT


@pytest.mark.parametrize("uid", [b"", b"\0\0"])
def test_meta_without_syntax(uid: bytes) -> None:
    """Without a transfer syntax the first element tells."""
    meta = element(0x00020010, "UI", uid) if uid else element(0x00020002, "UI", b"1.2\0")
    header = parse_header(bytes(128) + b"DICM" + meta + SOP_CLASS + PIXELS)
    assert header.syntax.uid == EXPLICIT
    with pytest.raises(DicomError, match="no transfer syntax") as caught:
        parse_header(bytes(128) + b"DICM" + meta + b"garbage that is none")
    assert not isinstance(caught.value, NoDicomError)


NOT_DICOM = {
    "empty": b"",
    "text": b"Dear reader, this is only a text. " * 20,
    "utf-16": "Dear reader, this is only a text. ".encode("utf-16") * 20,
    "png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(300),
    "jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(300),
    "gif": b"GIF89a\x08\0\x08\0" + bytes(300),
    "bmp": b"BM" + bytes(300),
    "tiff": b"II*\0\x08\0\0\0" + bytes(300),
    "zip": b"PK\3\4\x14\0\0\0\x08\0" + bytes(300),
    "nifti": pack("<l", 348) + bytes(340) + b"n+1\0",
    "nifti-big": pack(">l", 348) + bytes(340) + b"n+1\0",
    "zeros": bytes(1000),
    "ones": b"\xff" * 1000,
    "counts": np.arange(500, dtype="<u4").tobytes(),
    "eights": np.full(500, 8, "<u4").tobytes(),
    "words": np.full(500, 8, "<u2").tobytes(),
}


@pytest.mark.parametrize("data", NOT_DICOM.values(), ids=NOT_DICOM.keys())
def test_not_dicom(data: bytes) -> None:
    """Nothing that is not DICOM is taken for it."""
    with pytest.raises(NoDicomError):
        parse_header(data)


@given(st.binary(max_size=600))
@settings(max_examples=150, deadline=None)
def test_random_bytes(data: bytes) -> None:
    """Random bytes are no DICOM, unless they begin as it does."""
    assume(not data.startswith(b"DICM") and data[128:132] != b"DICM")
    with pytest.raises(NoDicomError):
        parse_header(data)


HOSTILE = {
    "length past the end": (element(0x00080060, "CS", b"MR", 60), TruncatedError, "bytes short"),
    "long length past the end": (
        element(0x00091001, "OB", b"MR", 0xFFFFFFF0),
        TruncatedError,
        "4294967278 bytes short",
    ),
    "cut header": (b"\x08\0\x60\0C", TruncatedError, "3 bytes short"),
    "cut long header": (b"\x09\0\x01\x10OB\0\0\1", TruncatedError, "3 bytes short"),
    "sequence without end": (
        element(0x00081140, "SQ", b"", 0xFFFFFFFF),
        TruncatedError,
        "bytes short",
    ),
    "item without end": (
        element(0x00081140, "SQ", bare(ITEM, b"", 0xFFFFFFFF), 0xFFFFFFFF),
        TruncatedError,
        "bytes short",
    ),
    "item past the end": (
        element(0x00081140, "SQ", bare(ITEM, b"", 0xFFFF), 0xFFFFFFFF),
        TruncatedError,
        "bytes short",
    ),
    "no item": (
        element(0x00081140, "SQ", bare(0x00080060, b"MR") + SEQUENCE_END, 0xFFFFFFFF),
        DicomError,
        "no place in a sequence",
    ),
    "undefined text": (element(0x00080060, "OB", b"", 0xFFFFFFFF), DicomError, "undefined length"),
    "delimiter": (SEQUENCE_END + PIXELS, DicomError, "delimiter outside"),
    "item delimiter": (ITEM_END + PIXELS, DicomError, "delimiter outside"),
    "hole": (bytes(64) + PIXELS, DicomError, "zeros in place of an element"),
}


@pytest.mark.parametrize(("tail", "kind", "text"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile(tail: bytes, kind: type[Exception], text: str) -> None:
    """What breaks the rules ends in an error of ours that names the file."""
    with pytest.raises(kind, match=text) as caught:
        parse_header(part10(SOP_CLASS + tail), "series/one.dcm")
    assert "series/one.dcm" in str(caught.value)


def test_truncated_says_how_many_bytes() -> None:
    """The bytes that a cut file is short of are counted from the element that is cut."""
    data = make_file()
    header = parse_header(data)
    place = header.layout.lookup[0x0020000E]
    end = int(header.offsets[place] + header.lengths[place])
    with pytest.raises(TruncatedError, match=f"one: 5 bytes short: .* the file at {end - 5}"):
        parse_header(data[: end - 5], "one")


def nested(depth: int, *, undefined: bool, explicit: bool) -> bytes:
    """A sequence in a sequence in a sequence …"""
    value = b""
    for _ in range(depth):
        if undefined:
            value = bare(ITEM, value + ITEM_END, 0xFFFFFFFF) + SEQUENCE_END
        else:
            value = bare(ITEM, value)
        length = 0xFFFFFFFF if undefined else len(value)
        make = element(0x00081140, "SQ", value, length) if explicit else None
        value = make if make is not None else bare(0x00081140, value, length)
    return value


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_nested_without_lengths(syntax: str) -> None:
    """Sequences of undefined length nested a thousand deep are refused."""
    explicit = syntax == EXPLICIT
    first = SOP_CLASS if explicit else bare(0x00080016, b"1.2.840\0")
    for depth, raises in ((90, False), (1000, True)):
        data = part10(first + nested(depth, undefined=True, explicit=explicit), syntax)
        if raises:
            with pytest.raises(TooLargeError, match="nested more than 100 deep"):
                parse_header(data)
        else:
            assert parse_header(data).layout.tags[-1] == 0x00081140


@pytest.mark.parametrize("explicit", [True, False])
def test_nested_inside_unknown(explicit: bool) -> None:
    """The same hidden in UN: as an element of undefined length, and of a defined one."""
    inner = nested(999, undefined=True, explicit=False)
    value = bare(ITEM, inner + ITEM_END, 0xFFFFFFFF) + SEQUENCE_END
    with pytest.raises(TooLargeError, match="nested"):
        parse_header(part10(SOP_CLASS + element(0x00091001, "UN", value, 0xFFFFFFFF)))
    header = parse_header(part10(SOP_CLASS + element(0x00091001, "UN", value)))
    assert header.layout.vrs[-1] == "UN"


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_nested_with_lengths(syntax: str) -> None:
    """With lengths they are stepped over; a Dataset of them is made or refused with our error."""
    explicit = syntax == EXPLICIT
    first = SOP_CLASS if explicit else bare(0x00080016, b"1.2.840\0")
    deep = b""
    for _ in range(1000):
        if explicit and len(deep) > 0xFFFFFF00:
            break
        deep = bare(ITEM, deep)
        deep = element(0x00081140, "SQ", deep) if explicit else bare(0x00081140, deep)
    header = Header([Instance(parse_header(part10(first + deep, syntax)))])
    try:
        assert isinstance(header.dataset(0), Dataset)
        header.get("ReferencedImageSequence")
    except DataError:
        pass


def test_unknown_holds_implicit() -> None:
    """UN of undefined length holds implicit elements, little endian ones in big endian too."""
    inner = bare(0x00080060, b"MR") + bare(0x00081140, SEQUENCE_END, 0xFFFFFFFF)
    value = bare(ITEM, inner + ITEM_END, 0xFFFFFFFF) + SEQUENCE_END
    header = parse_header(part10(SOP_CLASS + element(0x00091001, "UN", value, 0xFFFFFFFF) + PIXELS))
    assert header.layout.tags[-2:] == (0x00091001, 0x7FE00010)
    assert header.lengths[-2] == len(value)
    big = pack(">HH2sH", 8, 0x16, b"UI", 4) + b"1.2\0"
    big += pack(">HH2s2xL", 9, 0x1001, b"UN", 0xFFFFFFFF) + value
    big += pack(">HH2s2xL", 0x7FE0, 0x10, b"OW", 8) + bytes(8)
    assert parse_header(part10(big, BIG)).lengths[-2] == len(value)


def test_icon_in_sequence() -> None:
    """Compressed pixels inside a sequence of undefined length are stepped over."""
    fragments = bare(ITEM, b"") + bare(ITEM, b"\xff\xd8abcd") + SEQUENCE_END
    icon = element(0x7FE00010, "OB", fragments, 0xFFFFFFFF)
    value = bare(ITEM, icon + ITEM_END, 0xFFFFFFFF) + SEQUENCE_END
    data = part10(SOP_CLASS + element(0x00880200, "SQ", value, 0xFFFFFFFF) + PIXELS)
    header = parse_header(data)
    assert header.layout.tags[-2:] == (0x00880200, 0x7FE00010)
    assert header.pixel_offset == len(data) - 8


def test_oddities_that_are_read() -> None:
    """Odd lengths, wrong order, doubled tags, implicit elements, lying group lengths, padding."""
    dataset = (
        element(0x00080000, "UL", pack("<L", 99999))
        + SOP_CLASS
        + element(0x00080060, "CS", b"odd")
        + bare(0x00091001, b"abc")
        + element(0x00100020, "LO", b"first")
        + element(0x00100010, "PN", b"")
        + element(0x00100020, "LO", b"second")
        + element(0x00100030, "ZZ", b"unknown VR")
    )
    header = parse_header(part10(dataset + PIXELS))
    expected = pydicom_elements(part10(dataset + PIXELS))
    assert set(header.layout.tags) == set(expected)
    assert bytes(header.raw(0x00080060) or b"") == b"odd"
    assert bytes(header.raw(0x00091001) or b"") == b"abc"
    assert bytes(header.raw(0x00100020) or b"") == b"second" == expected[0x00100020]
    assert header.layout.vrs[header.layout.lookup[0x00091001]] == ""
    for padding in (1, 7, 8, 1000):
        padded = parse_header(part10(dataset + bytes(padding)))
        assert padded.layout.tags == header.layout.tags[:-1]


def test_wrong_syntax() -> None:
    """A transfer syntax that the first element contradicts is named."""
    data = make_file(EXPLICIT)
    for uid in (IMPLICIT, BIG):
        lying = data.replace(EXPLICIT.encode() + b"\0", uid.encode() + b"\0" * (20 - len(uid)), 1)
        with pytest.raises(DicomError, match=f"wrong transfer syntax: .*{uid}"):
            parse_header(lying)


def test_bare_but_compressed() -> None:
    """Compressed pixels in a bare dataset cannot be read, and that is said."""
    data = SOP_CLASS + element(0x7FE00010, "OB", b"", 0xFFFFFFFF) + bytes(200)
    with pytest.raises(DicomError, match="no file meta information"):
        parse_header(data)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
def test_bare_but_cut(syntax: str) -> None:
    """A bare dataset that is cut in its header is not passed over as something else."""
    data = make_file(syntax, preamble=False)
    header = parse_header(data)
    place = header.layout.lookup[0x0020000E]
    with pytest.raises(TruncatedError, match="5 bytes short"):
        parse_header(data[: int(header.offsets[place] + header.lengths[place]) - 5])


def test_bare_without_identification() -> None:
    """A bare dataset may begin with any of the usual groups."""
    dataset = element(0x00280002, "US", b"\1\0") + element(0x00280010, "US", b"\2\0") + PIXELS
    dataset += bytes(200)
    assert parse_header(dataset).layout.tags[0] == 0x00280002


def test_rows_missing_is_not_the_walks_affair() -> None:
    """A header without Rows and Columns is walked; what is missing is said by who needs it."""
    assert parse_header(part10(SOP_CLASS + PIXELS)).raw(0x00280010) is None


def deflated(dataset: bytes, cut: int = 0) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(dataset) + packer.flush()
    return part10(packed[: len(packed) - cut], DEFLATED)


def test_deflated_damage() -> None:
    """A deflated dataset that is damaged, cut, or too short for its elements."""
    data = deflated(SOP_CLASS + PIXELS)
    start = meta_length(memoryview(data))
    with pytest.raises(DicomError, match="damaged"):
        parse_header(data[:start] + b"\xff" * 40)
    with pytest.raises(TruncatedError):
        parse_header(deflated(SOP_CLASS + element(0x00091001, "OB", b"", 1 << 30)))
    with pytest.raises(DataError):
        parse_header(deflated(SOP_CLASS * 100, cut=4)[:-1])


def test_deflated_bomb() -> None:
    """A small file that claims gigabytes of header or pixels does not get them."""
    bomb = deflated(SOP_CLASS + element(0x00091001, "OB", bytes(1 << 22), 0xFFFFFFF0))
    with pytest.raises((TooLargeError, TruncatedError)):
        parse_header(bomb)
    header = element(0x7FE00010, "OW", b"", 0xFFFFFFF0)
    data = deflated(SOP_CLASS + header + bytes(1 << 22))
    plain = parse(memoryview(data), len(data), "x").deflated
    assert plain is not None
    assert plain.nbytes < 5 << 20


def test_header_beyond_the_limit() -> None:
    """A header that claims more than a gigabyte of a file that has it is refused unread."""
    data = part10(SOP_CLASS + element(0x00091001, "OB", b"", (1 << 30) + 10))
    with pytest.raises(TooLargeError, match="header longer"):
        parse(memoryview(data), 1 << 34, "x")


def test_too_many_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of elements is bounded, nested ones included."""
    monkeypatch.setattr(walk, "_MAX_TOKENS", 100)
    many = b"".join(element(0x00090010 + n, "CS", b"") for n in range(200))
    inside = element(0x00091001, "SQ", bare(ITEM, many + ITEM_END, 0xFFFFFFFF), 0xFFFFFFFF)
    for dataset in (many, inside):
        with pytest.raises(TooLargeError, match="more than 100 elements"):
            parse_header(part10(dataset))


def judge(data: bytes) -> None:
    """Whatever the bytes: a header that can be used, or an error of ours."""
    try:
        header = parse_header(data)
    except DataError:
        return
    assert 0 <= header.meta_end <= max(header.data.nbytes, len(data))
    for tag in header.layout.tags:
        raw = header.raw(tag)
        assert raw is not None
    body = header.data.nbytes
    ends = header.offsets + np.maximum(header.lengths, 0)
    inner = ends[:-1] if header.has_pixels else ends
    assert (inner <= body).all()
    assert (np.diff(header.starts) > 0).all()


FUZZED = [
    (syntax, preamble)
    for syntax in SYNTAXES
    for preamble in (True, False)
    if preamble or syntax in (IMPLICIT, EXPLICIT, BIG)
]
FILES = {key: make_file(key[0], preamble=key[1]) for key in FUZZED}
FILES["enhanced", True] = make_file(EXPLICIT, enhanced=True)


@pytest.mark.parametrize("key", FILES)
@given(data=st.data())
@settings(max_examples=120, deadline=None)
def test_fuzz(key: tuple[str, bool], data: st.DataObject) -> None:
    """Flipped, cut, inserted and doubled bytes end in a header or in an error of ours."""
    mutated = bytearray(FILES[key])
    limit = min(len(mutated), 6000)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(min(limit, len(mutated)) - 1, 0)))
        what = data.draw(st.sampled_from(("set", "cut", "insert", "undefined", "move")))
        if what == "set":
            mutated[place : place + 1] = data.draw(st.binary(min_size=1, max_size=4))
        elif what == "cut":
            del mutated[place:]
        elif what == "insert":
            mutated[place:place] = data.draw(st.binary(max_size=12))
        elif what == "undefined":
            mutated[place : place + 4] = UNDEFINED
        else:
            mutated[place:place] = mutated[place + 8 : place + 40]
    judge(bytes(mutated))


@pytest.mark.parametrize("key", FILES)
def test_every_truncation(key: tuple[str, bool]) -> None:
    """Cut at every byte of its header, a file is never anything but an error of ours."""
    data = FILES[key]
    end = parse_header(data).data.nbytes if key[0] != DEFLATED else len(data)
    for cut in range(0, min(end, len(data)), 7):
        judge(data[:cut])


def test_corpus_fuzz(corpus: Path) -> None:
    """Real headers with flipped bytes end in a header or in an error of ours."""
    rng = np.random.default_rng(0)
    for path in list(corpus_files(corpus))[::4]:
        original = path.read_bytes()[:20000]
        for _ in range(20):
            mutated = bytearray(original)
            for place in rng.integers(0, len(mutated), 3):
                mutated[place] = rng.integers(0, 256)
            judge(bytes(mutated[: rng.integers(1, len(mutated))]))


def test_names_of_tags() -> None:
    """The pixel elements are those of the standard's dictionary."""
    names = {"FloatPixelData", "DoubleFloatPixelData", "PixelData"}
    assert {int(Tag(name)) for name in names} == PIXEL_TAGS
