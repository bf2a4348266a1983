"""Spliced headers, judged by pydicom and dcmdump, element by element and byte by byte."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID

from seriesio.dicom.part10 import RawHeader, parse_header
from seriesio.dicom.splice import Change, Piece, splice
from seriesio.errors import EncodeError, HeaderError

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
SYNTAXES = pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
PIXELS = bytes(range(32))


def make_dataset() -> Dataset:
    """A small image with text, numbers, private elements and nested sequences."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.4")
    dataset.SOPInstanceUID = UID("1.2.3.4.5")
    dataset.Modality = "MR"
    dataset.PatientName = "Müller^Jörg"
    dataset.PatientID = "odd"
    dataset.EchoTime = "12.50"
    dataset.SeriesInstanceUID = UID("1.2.3.4")
    dataset.SeriesNumber = 3
    dataset.ImagePositionPatient = [1.5, 2, -3]
    block = dataset.private_block(0x0029, "SERIESIO TEST", create=True)
    block.add_new(0x01, "LO", "private text")
    block.add_new(0x02, "FD", 2.5)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = 4, 4
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    inner, outer = Dataset(), Dataset()
    inner.CodeValue, inner.CodeMeaning = "T1", "odd"
    outer.PurposeOfReferenceCodeSequence = [inner]
    outer.ReferencedSOPInstanceUID = UID("1.2.9")
    dataset.ReferencedImageSequence = [outer]
    dataset["ReferencedImageSequence"].is_undefined_length = True
    dataset.add_new(0x7FE00010, "OW", PIXELS)
    return dataset


def make_file(syntax: str = EXPLICIT, dataset: Dataset | None = None) -> bytes:
    dataset = make_dataset() if dataset is None else dataset
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta = meta
    stream = BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def with_group_lengths(syntax: str) -> bytes:
    """A file with group lengths in its dataset, written by hand: pydicom leaves them out."""
    data = make_file(syntax)
    raw = parse_header(data)
    groups: dict[int, bytes] = {}
    for place, tag in enumerate(raw.layout.tags):
        start = int(raw.starts[place])
        end = int(raw.starts[place + 1]) if place + 1 < len(raw.starts) else len(data)
        if tag >> 16 != 2:
            groups[tag >> 16] = groups.get(tag >> 16, b"") + data[start:end]
    order = "big" if syntax == BIG else "little"
    body = b""
    for group, content in groups.items():
        head = group.to_bytes(2, order) + b"\0\0"  # type: ignore[arg-type]
        head += (4).to_bytes(4, order) if syntax == IMPLICIT else b"UL" + (4).to_bytes(2, order)  # type: ignore[arg-type]
        body += head + len(content).to_bytes(4, order) + content  # type: ignore[arg-type]
    return data[: raw.meta_end] + body


def joined(pieces: list[Piece]) -> bytes:
    return b"".join(pieces)


def spliced(data: bytes, changes: dict[int, Change], pixels: bytes = PIXELS) -> bytes:
    return joined(splice(parse_header(data), changes)) + pixels


def elements(data: bytes) -> dict[int, bytes]:
    """Each top-level element's bytes, header included, by pydicom's own reader."""
    dataset = dcmread(BytesIO(data))
    found = {}
    for part in (dataset.file_meta, dataset):
        implicit = part is dataset and dataset.file_meta.TransferSyntaxUID == IMPLICIT
        for tag in part.keys():  # noqa: SIM118 -- iterating a Dataset decodes its elements
            one, stream = Dataset(), DicomBytesIO()
            one[tag] = part.get_item(tag)
            stream.is_implicit_VR = implicit
            stream.is_little_endian = dataset.file_meta.TransferSyntaxUID != BIG
            one.set_original_encoding(implicit, stream.is_little_endian)
            write_dataset(stream, one)
            found[int(tag)] = stream.getvalue()
    return found


@SYNTAXES
def test_no_change(syntax: str) -> None:
    """Without changes the result is the original buffer, in one uncopied piece."""
    raw = parse_header(make_file(syntax))
    (piece,) = splice(raw, {})
    assert piece is raw.data


CHANGES: dict[int, Change] = {
    0x00080018: ("UI", "1.2.3.4.5.6.7.8.9"),
    0x00080060: None,
    0x00081140: None,
    0x0008103E: ("LO", "Größe"),
    0x00100010: ("PN", "Übermut^Ä"),
    0x00180081: ("DS", "1.25"),
    0x00186018: ("UL", 70000),
    0x0020000D: ("UI", "1.2"),
    0x00200013: ("IS", 12),
    0x00291003: ("OB", b"abc"),
}


@SYNTAXES
def test_changed_and_kept(syntax: str) -> None:
    """Changed elements say the new value, deleted ones are gone, all others keep their bytes."""
    before = make_file(syntax)
    after = spliced(before, CHANGES)
    dataset = dcmread(BytesIO(after))
    assert dataset.SOPInstanceUID == "1.2.3.4.5.6.7.8.9"
    assert dataset.SeriesDescription == "Größe"
    assert dataset.PatientName == "Übermut^Ä"
    assert dataset.EchoTime == 1.25
    assert dataset[0x00186018].value == 70000
    assert dataset.StudyInstanceUID == "1.2"
    assert dataset.InstanceNumber == 12
    assert "Modality" not in dataset
    assert "ReferencedImageSequence" not in dataset
    assert bytes(dataset.get_item(0x00291003).value)[:3] == b"abc"
    assert dataset.PixelData == PIXELS
    tags = [int(tag) for tag in dataset.keys()]  # noqa: SIM118 -- in file order
    assert tags == sorted(tags)
    old, new = elements(before), elements(after)
    touched = {*CHANGES, 0x00020000, 0x00020003}
    assert {t: b for t, b in new.items() if t not in touched} == {
        t: b for t, b in old.items() if t not in touched
    }


@SYNTAXES
def test_file_meta_follows(syntax: str) -> None:
    """The file meta information repeats the new SOP UIDs and its length is right."""
    changes: dict[int, Change] = {
        0x00080016: ("UI", "1.2.840.10008.5.1.4.1.1.7"),
        0x00080018: ("UI", "1.2.3.4.5.6.7"),
    }
    after = spliced(make_file(syntax), changes)
    raw = parse_header(after)
    meta = dcmread(BytesIO(after)).file_meta
    assert meta.MediaStorageSOPInstanceUID == "1.2.3.4.5.6.7"
    assert meta.MediaStorageSOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert raw.meta_end == 132 + 12 + meta.FileMetaInformationGroupLength


@SYNTAXES
def test_group_lengths(syntax: str) -> None:
    """Lengths of touched groups are those of pydicom's elements, the others stay."""
    before = with_group_lengths(syntax)
    after = spliced(before, CHANGES)
    raw = parse_header(after)
    sizes: dict[int, int] = {}
    ends = [*map(int, raw.starts[1:]), len(after)]
    for tag, start, end in zip(raw.layout.tags, map(int, raw.starts), ends, strict=True):
        if tag & 0xFFFF:
            sizes[tag >> 16] = sizes.get(tag >> 16, 0) + end - start
    order: Any = "big" if syntax == BIG else "little"
    lengths = {
        tag >> 16: int.from_bytes(raw.raw(tag) or b"", order if tag >> 16 != 2 else "little")
        for tag in raw.layout.tags
        if not tag & 0xFFFF
    }
    assert lengths == sizes


@SYNTAXES
def test_nested_sequence(syntax: str) -> None:
    """A sequence in a sequence is written in the instance's transfer syntax."""
    inner, outer = Dataset(), Dataset()
    inner.CodeMeaning = "Schädel"
    outer.PurposeOfReferenceCodeSequence = [inner]
    after = spliced(make_file(syntax), {0x00081140: ("SQ", items(outer, outer))})
    found = dcmread(BytesIO(after)).ReferencedImageSequence
    assert len(found) == 2
    assert found[1].PurposeOfReferenceCodeSequence[0].CodeMeaning == "Schädel"


def items(*datasets: Dataset) -> Any:
    """A sequence as pydicom holds it."""
    holder = Dataset()
    holder.ReferencedImageSequence = list(datasets)
    return holder.ReferencedImageSequence


def test_no_copy_of_what_stays() -> None:
    """What stays is slices of the original memory, with neighbours in one piece."""
    raw = parse_header(make_file())
    pieces = splice(raw, {0x00200011: ("IS", 9)})
    assert [type(piece) for piece in pieces] == [memoryview, bytes, memoryview]
    assert all(piece.obj is raw.data.obj for piece in pieces if isinstance(piece, memoryview))


def test_bare_dataset_stays_bare() -> None:
    """A dataset without preamble and file meta information gets none."""
    whole = make_file(IMPLICIT)
    bare = whole[parse_header(whole).meta_end :]
    after = spliced(bare, CHANGES)
    assert parse_header(after).meta_end == 0
    assert after[:4] == bare[:4]
    assert dcmread(BytesIO(after), force=True).SOPInstanceUID == "1.2.3.4.5.6.7.8.9"


def unordered() -> bytes:
    """A file with two elements in the wrong order and one of them doubled."""
    data = make_file()
    raw = parse_header(data)
    parts = {
        tag: data[int(start) : int(offset) + max(int(length), 0)]
        for tag, start, offset, length in zip(
            raw.layout.tags, raw.starts, raw.offsets, raw.lengths, strict=True
        )
    }
    number, modality = parts[0x00200011], parts[0x00080060]
    rest = [part for tag, part in parts.items() if tag not in (0x00200011, 0x00080060)]
    meta = data[: raw.meta_end]
    body = b"".join(part for tag, part in parts.items() if tag >> 16 != 2 and part in rest)
    return meta + number + modality + number + body


def test_unordered_header() -> None:
    """Elements in the wrong order stay where they are; doubled ones do not survive a change."""
    after = spliced(unordered(), {0x00200011: ("IS", 77), 0x00100020: None})
    raw = parse_header(after)
    assert raw.layout.tags.count(0x00200011) == 1
    assert raw.layout.tags.index(0x00200011) < raw.layout.tags.index(0x00080060)
    dataset = dcmread(BytesIO(after))
    assert dataset.SeriesNumber == 77
    assert dataset.Modality == "MR"
    assert "PatientID" not in dataset


@SYNTAXES
def test_pixel_header(syntax: str) -> None:
    """The pixel element gets a new VR and length, and its group's length follows."""
    raw = parse_header(with_group_lengths(syntax))
    pixels = b"\1" * 16
    after = joined(splice(raw, {0x00280100: ("US", 8)}, ("OB", len(pixels)))) + pixels
    dataset = dcmread(BytesIO(after))
    assert dataset.PixelData == pixels
    assert dataset.BitsAllocated == 8
    again = parse_header(after)
    size = len(after) - int(again.starts[-1])
    assert (
        int.from_bytes(again.raw(0x7FE00000) or b"", "big" if syntax == BIG else "little") == size
    )


def test_pixels_of_compressed_instances() -> None:
    """Native pixels in place of compressed ones: transfer syntax, length and offset table."""
    dataset = make_dataset()
    dataset.add_new(0x7FE00001, "OV", b"\0" * 8)
    data = make_file(EXPLICIT, dataset).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0")
    start = data.index(b"\xe0\x7f\x10\x00OW")
    data = data[: start + 4] + b"OB\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0" + b"\0" * 4
    changes: dict[int, Change] = {0x00020010: ("UI", EXPLICIT), 0x7FE00001: None}
    after = joined(splice(parse_header(data), changes, ("OW", 32))) + PIXELS
    found = dcmread(BytesIO(after))
    assert found.file_meta.TransferSyntaxUID == EXPLICIT
    assert found.PixelData == PIXELS
    assert 0x7FE00001 not in found


def test_too_much() -> None:
    """What no element can hold is refused with an error of ours."""
    raw = parse_header(make_file())
    with pytest.raises(EncodeError, match="4294967296"):
        splice(raw, {}, ("OW", 1 << 32))
    with pytest.raises(HeaderError, match="PatientID"):
        splice(raw, {0x00100020: ("LO", "x" * 70000)})
    with pytest.raises(HeaderError, match="characters"):
        splice(raw, {0x00100010: ("PN", "山田^太郎")})
    with pytest.raises(HeaderError, match="VR US") as caught:
        splice(raw, {0x00280010: ("US", -4711)})
    assert "4711" not in str(caught.value)


@pytest.mark.interop
@SYNTAXES
def test_dcmdump(syntax: str, tmp_path: Path, tool: Callable[[str], str]) -> None:
    """DCMTK reads spliced files to the end without a warning."""
    path = tmp_path / "spliced.dcm"
    for make in (make_file, with_group_lengths):
        path.write_bytes(spliced(make(syntax), CHANGES))
        done = subprocess.run([tool("dcmdump"), "+E", str(path)], capture_output=True, check=True)
        assert done.stderr == b""


@pytest.mark.corpus
def test_real_headers(corpus: Path) -> None:
    """In real files of each kind a change of one element leaves all others byte for byte."""
    for path in sorted({p.parent: p for p in corpus.rglob("*") if _is_part10(p)}.values()):
        before = path.read_bytes()
        raw = parse_header(before)
        if not raw.has_pixels:
            continue
        after = joined(splice(raw, {0x00200011: ("IS", 4711)})) + before[raw.data.nbytes :]
        again = parse_header(after)
        number = again.layout.lookup[0x00200011]
        old, new = _top_level(before, raw), _top_level(after, again)
        assert bytes(again.raw(0x00200011) or b"") == b"4711"
        assert number >= 0
        for tag in {0x00200000, 0x00200011}:
            old.pop(tag, None)
            new.pop(tag, None)
        assert old == new


def _is_part10(path: Path) -> bool:
    return path.is_file() and path.read_bytes()[128:132] == b"DICM" and path.name != "DICOMDIR"


def _top_level(data: bytes, raw: RawHeader) -> dict[int, bytes]:
    ends = [*map(int, raw.starts[1:]), len(data)]
    return {
        tag: data[start:end]
        for tag, start, end in zip(raw.layout.tags, map(int, raw.starts), ends, strict=True)
    }


def test_pydicom_agrees_with_a_full_rewrite() -> None:
    """Changing one element gives, byte for byte, the file that pydicom writes with it changed."""
    dataset = make_dataset()
    dataset.SeriesNumber = 4711
    wanted = make_file(EXPLICIT, dataset)
    assert spliced(make_file(), {0x00200011: ("IS", 4711)}) == wanted
