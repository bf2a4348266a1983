"""Transcoding to uncompressed little endian: pixels as they were made, all else as it was."""

from __future__ import annotations

import warnings
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from struct import pack
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileDataset

from seriesio.blob import FileBlob, MemoryBlob, read_all
from seriesio.errors import (
    CodecError,
    DicomError,
    FormatError,
    SeriesIOError,
    TooLargeError,
    TruncatedError,
)
from seriesio.formats._transcode import EXPLICIT_LITTLE, IMPLICIT_LITTLE, transcode
from seriesio.testing import phantom

ROOT = "1.2.840.10008.1.2"
NATIVE = [ROOT, ROOT + ".1", ROOT + ".1.99", ROOT + ".2"]
COMPRESSED = [ROOT + end for end in (".5", ".4.57", ".4.70", ".4.80", ".4.90")]
TARGETS = [IMPLICIT_LITTLE, EXPLICIT_LITTLE]
PIXEL_MODULE = {0x00280004, 0x00280006, 0x7FE00001, 0x7FE00002, 0x7FE00010}


def transcoded(data: bytes, syntax: str, name: str = "one.dcm") -> bytes:
    return bytes(read_all(transcode(MemoryBlob(name, data), syntax)))


def read(data: bytes) -> FileDataset:
    return pydicom.dcmread(BytesIO(data))


def same_elements(one: Dataset, other: Dataset, but: set[int]) -> None:
    """Equal values of the same elements, as pydicom reads them."""
    assert {int(e.tag) for e in one} - but == {int(e.tag) for e in other} - but
    for element in one:
        if int(element.tag) not in but:
            assert other[element.tag].value == element.value, element.tag


def explicit(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """An element in Explicit VR Little Endian (PS3.5 section 7.1.2)."""
    size = len(value) if length is None else length
    head = pack("<HH", tag >> 16, tag & 0xFFFF) + vr
    if vr in (b"OB", b"OW", b"SQ", b"UN"):
        return head + pack("<HL", 0, size) + value
    return head + pack("<H", size) + value


def implicit(tag: int, value: bytes, length: int | None = None) -> bytes:
    """An element in Implicit VR Little Endian (PS3.5 section 7.1.3)."""
    size = len(value) if length is None else length
    return pack("<HHL", tag >> 16, tag & 0xFFFF, size) + value


def item(value: bytes, defined: bool = True) -> bytes:
    if defined:
        return pack("<HHL", 0xFFFE, 0xE000, len(value)) + value
    return pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF) + value + pack("<HHL", 0xFFFE, 0xE00D, 0)


END = pack("<HHL", 0xFFFE, 0xE0DD, 0)
UNDEFINED = 0xFFFFFFFF


def file(body: bytes, syntax: str = EXPLICIT_LITTLE) -> bytes:
    """A Part 10 file without pixels; ``body`` follows the SOP UIDs."""
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    meta = b"".join(
        explicit(0x00020000 | number, b"UI", value)
        for number, value in ((2, b"1.2\0"), (3, b"1.3\0"), (0x10, uid))
    )
    first = [(0x00080016, b"1.2\0"), (0x00080018, b"1.3\0")]
    if syntax == IMPLICIT_LITTLE:
        uids = b"".join(implicit(tag, value) for tag, value in first)
    else:
        uids = b"".join(explicit(tag, b"UI", value) for tag, value in first)
    return bytes(128) + b"DICM" + meta + uids + body


def body_of(data: bytes) -> bytes:
    """What follows the SOP UIDs of :func:`file`, in either encoding."""
    place = data.index(b"1.3\0", data.index(b"1.3\0") + 4)
    return data[place + 4 :]


# --- native -----------------------------------------------------------------------------------


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("target", TARGETS)
def test_native(syntax: str, target: str, enhanced: bool) -> None:
    """Every native encoding: all values and the pixel bytes are as pydicom reads the original."""
    made = phantom((2, 9, 7), transfer_syntax=syntax, enhanced=enhanced, modality="MR")
    for data in made.files().values():
        before, after = read(data), read(transcoded(data, target))
        assert after.file_meta.TransferSyntaxUID == target
        same_elements(before, after, {0x7FE00010})
        np.testing.assert_array_equal(before.pixel_array, after.pixel_array)


def test_already_so() -> None:
    """What is encoded as it is wanted comes back byte for byte."""
    (data,) = phantom((1, 8, 8)).files().values()
    assert transcoded(data, EXPLICIT_LITTLE) == data


def test_there_and_back() -> None:
    """Explicit to implicit and back gives the very bytes, sequences and private creators too."""
    sequence = item(explicit(0x00080100, b"SH", b"ABC ") + explicit(0x00080104, b"LO", b"word"))
    items = item(explicit(0x00081150, b"UI", b"1.9\0"), False) + END
    nested = explicit(0x00081140, b"SQ", items, UNDEFINED)
    body = (
        explicit(0x00081032, b"SQ", sequence)
        + nested
        + explicit(0x00280103, b"US", b"\1\0")
        + explicit(0x00280106, b"SS", b"\xfe\xff")
        + explicit(0x00290010, b"LO", b"SIEMENS CSA HEADER")
        + explicit(0x00291008, b"CS", b"IMAGE NUM 4 ")
        + explicit(0x00310010, b"LO", b"UNKNOWN ")
        + explicit(0x00311001, b"UN", b"\1\2\3\4")
    )
    there = transcoded(file(body), IMPLICIT_LITTLE)
    assert transcoded(there, EXPLICIT_LITTLE) == file(body)


def test_to_implicit_by_hand() -> None:
    """Headers lose their VR and nothing else; lengths of what encloses them follow."""
    inner = explicit(0x00081150, b"UI", b"1.9\0") + explicit(0x00409999, b"UN", b"ab")
    body = explicit(0x00081140, b"SQ", item(inner) + item(b"", False))
    made = body_of(transcoded(file(body), IMPLICIT_LITTLE))
    bare = implicit(0x00081150, b"1.9\0") + implicit(0x00409999, b"ab")
    assert made == implicit(0x00081140, item(bare) + item(b"", False))


def test_group_lengths() -> None:
    """Group lengths (PS3.5 section 7.2) say what is right in the new encoding."""
    inner = explicit(0x00100020, b"LO", b"X1") + explicit(0x00104000, b"LT", b"Y2")
    data = file(explicit(0x00100000, b"UL", pack("<L", len(inner))) + inner)
    made = body_of(transcoded(data, IMPLICIT_LITTLE))
    bare = implicit(0x00100020, b"X1") + implicit(0x00104000, b"Y2")
    assert made == implicit(0x00100000, pack("<L", len(bare))) + bare


def test_unknown_of_undefined_length() -> None:
    """UN of undefined length is implicit inside (PS3.5 section 6.2.2): a sequence, kept so."""
    hidden = item(implicit(0x00081150, b"1.9\0"), False) + END
    data = file(explicit(0x00091001, b"UN", hidden, UNDEFINED))
    made = body_of(transcoded(data, IMPLICIT_LITTLE))
    assert made == implicit(0x00091001, hidden, UNDEFINED)


def test_too_long_for_its_vr() -> None:
    """A value beyond 65,534 bytes has VR UN in explicit encoding (PS3.5 section 6.2.2)."""
    value = b"1\\" * 40_000
    data = file(implicit(0x00181010, value), IMPLICIT_LITTLE)
    assert body_of(transcoded(data, EXPLICIT_LITTLE)) == explicit(0x00181010, b"UN", value)


def test_without_meta() -> None:
    """A bare dataset gets preamble and file meta information that pydicom accepts."""
    (data,) = phantom((1, 8, 8), transfer_syntax=IMPLICIT_LITTLE, preamble=False).files().values()
    before = pydicom.dcmread(BytesIO(data), force=True)
    for target in TARGETS:
        after = read(transcoded(data, target))
        assert after.file_meta.MediaStorageSOPInstanceUID == before.SOPInstanceUID
        assert after.file_meta.MediaStorageSOPClassUID == before.SOPClassUID
        assert after.file_meta.TransferSyntaxUID == target
        same_elements(before, after, set())


# --- compressed -------------------------------------------------------------------------------


def stored(made: Any, place: int) -> Any:
    """The stored values that a phantom's instance was made of."""
    flat = made.stored.reshape(-1, *made.stored.shape[-3 if made.stored.shape[-1] == 3 else -2 :])
    return flat[list(made.instances[place])]


@pytest.mark.parametrize("photometric", ["MONOCHROME2", "RGB"])
@pytest.mark.parametrize("syntax", COMPRESSED)
@pytest.mark.parametrize("target", TARGETS)
def test_compressed(syntax: str, target: str, photometric: str) -> None:
    """Lossless codecs: the pixel value is what was stored, every other element as it was."""
    made = phantom((3, 16, 12), transfer_syntax=syntax, photometric=photometric)
    files = made.files()
    for place, name in enumerate(made.names):
        after = read(transcoded(files[name], target))
        assert after.file_meta.TransferSyntaxUID == target
        same_elements(read(files[name]), after, PIXEL_MODULE)
        value = stored(made, place).astype(f"<u{after.BitsAllocated // 8}")
        assert after.PixelData == value.tobytes()
        assert after.get("PlanarConfiguration", 0) == 0


def test_compressed_multiframe() -> None:
    """All frames of an enhanced object in their order; an odd length is padded."""
    made = phantom((3, 5, 5), transfer_syntax=ROOT + ".5", enhanced=True, bits_allocated=8)
    (data,) = made.files().values()
    after = read(transcoded(data, EXPLICIT_LITTLE))
    assert after.PixelData == stored(made, 0).astype("u1").tobytes() + b"\0"


def test_lossy_colour_becomes_rgb() -> None:
    """JPEG in YBR comes out as RGB, says so, and looks as it did."""
    syntax = ROOT + ".4.50"
    made = phantom((1, 16, 16), transfer_syntax=syntax, photometric="YBR_FULL")
    (data,) = made.files().values()
    after = read(transcoded(data, EXPLICIT_LITTLE))
    assert after.PhotometricInterpretation == "RGB"
    assert np.abs(after.pixel_array.astype(int) - made.array[0]).max() <= made.tolerance


def test_what_follows_the_pixels_stays() -> None:
    """Elements behind compressed pixels (padding here) are carried over."""
    (data,) = phantom((1, 8, 8), transfer_syntax=ROOT + ".5").files().values()
    padding = explicit(0xFFFCFFFC, b"OB", b"\1\2\3\4")
    for target in TARGETS:
        after = read(transcoded(data + padding, target))
        assert after[0xFFFCFFFC].value == b"\1\2\3\4"


# --- damaged and hostile ----------------------------------------------------------------------


def deep(levels: int) -> bytes:
    data = b""
    for _ in range(levels):
        data = explicit(0x00081140, b"SQ", item(data, False) + END, UNDEFINED)
    return data


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (b"plain text, nothing else, for a while", FormatError, "not a DICOM file"),
        (file(explicit(0x00081140, b"SQ", b"\0" * 8)), DicomError, "no item"),
        (file(explicit(0x00081140, b"SQ", item(b"")[:4])), TruncatedError, "reaches past"),
        (file(explicit(0x00081140, b"SQ", item(b"1234"))), TruncatedError, "reaches past"),
        (file(explicit(0x00081140, b"SQ", item(explicit(0x00080100, b"SH", b"", 9)))),
         TruncatedError, "reaches past"),
        (file(explicit(0x00081140, b"SQ", END)), DicomError, "a delimiter"),
        (file(deep(150)), TooLargeError, "nested more than"),
    ],
)  # fmt: skip
def test_damaged(data: bytes, error: type[Exception], says: str) -> None:
    """Each kind of damage has its error, which names the file."""
    with pytest.raises(error, match=says) as caught:
        transcoded(data, IMPLICIT_LITTLE, "bad.dcm")
    assert "bad.dcm" in str(caught.value)


@pytest.mark.parametrize("syntax", [ROOT + ".5", ROOT + ".4.70", ROOT + ".4.90"])
def test_damaged_pixels(syntax: str) -> None:
    """A codestream cut short or overwritten is a codec's error with the frame's number."""
    (data,) = phantom((1, 32, 32), transfer_syntax=syntax).files().values()
    place = data.rindex(b"\xfe\xff\x00\xe0") + 8
    with pytest.raises(CodecError, match=r"one\.dcm: frame 0"):
        transcoded(data[:place] + b"\xff" * 24 + data[place + 24 :], EXPLICIT_LITTLE)
    with pytest.raises(TruncatedError):
        transcoded(data[: place + 24], EXPLICIT_LITTLE)


def test_compressed_icon_is_refused() -> None:
    """An icon that is compressed too cannot be left as it is: an error, no broken file."""
    icon = explicit(0x7FE00010, b"OB", item(b"") + item(b"\1\2") + END, UNDEFINED)
    (data,) = phantom((1, 8, 8), transfer_syntax=ROOT + ".5").files().values()
    place = data.index(pack("<HH", 0x7FE0, 0x10) + b"OB")
    made = data[:place] + explicit(0x00880200, b"SQ", item(icon)) + data[place:]
    with pytest.raises(DicomError, match="undefined length of a OB"):
        transcoded(made, EXPLICIT_LITTLE)


def test_other_targets_are_a_mistake() -> None:
    """Only the two uncompressed little endian encodings can be asked for."""
    with pytest.raises(ValueError, match="transcoded"):
        transcode(MemoryBlob("one", b""), ROOT + ".2")


@settings(max_examples=150)
@given(st.data())
def test_hostile_bytes(data: st.DataObject) -> None:
    """Bytes changed or cut anywhere: a file, or an error of ours."""
    original = bytearray(HOSTILE[data.draw(st.integers(0, len(HOSTILE) - 1))])
    for _ in range(data.draw(st.integers(1, 4))):
        original[data.draw(st.integers(0, len(original) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(original[: data.draw(st.integers(0, len(original)))])
    with suppress(SeriesIOError):
        transcoded(data.draw(st.sampled_from([bytes(original), cut])), IMPLICIT_LITTLE)


HOSTILE = [
    *phantom((1, 4, 4), enhanced=True, modality="MR").files().values(),
    *phantom((1, 4, 4), transfer_syntax=ROOT + ".5").files().values(),
    *phantom((1, 4, 4), transfer_syntax=ROOT + ".2").files().values(),
]


# --- real series ------------------------------------------------------------------------------


def test_corpus(corpus: Path) -> None:
    """The first file of every real folder: values as pydicom reads them, the pixels too."""
    firsts: dict[Path, Path] = {}
    for path in sorted(corpus.rglob("*")):
        if path.is_file() and path.suffix not in (".zip", ".nii", ".md", ".txt"):
            firsts.setdefault(path.parent, path)
    checked = 0
    for path in firsts.values():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # real values break their VRs
            checked += _checked(path)
    assert checked > 4


def _checked(path: Path) -> int:
    try:
        before = pydicom.dcmread(path)
    except pydicom.errors.InvalidDicomError:
        return 0
    blob = FileBlob(path.name, str(path), path.stat().st_size)
    after = read(bytes(read_all(transcode(blob, EXPLICIT_LITTLE))))
    for element in before:
        if int(element.tag) not in PIXEL_MODULE and element.tag & 0xFFFF:
            assert str(after[element.tag].value) == str(element.value), element.tag
    if not before.file_meta.TransferSyntaxUID.is_compressed and "PixelData" in before:
        assert after.PixelData == before.PixelData
    return 1
