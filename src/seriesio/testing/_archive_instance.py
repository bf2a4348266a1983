"""One stored instance: its bytes as they came, and what queries ask of it."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Final, TypeAlias

from pydicom import dcmread
from pydicom.charset import convert_encodings, decode_bytes, python_encoding
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from ..errors import DicomError, TooLargeError

__all__ = ["NUMBERS", "Instance", "Record", "Value", "read_instance", "read_record", "vr_of"]

Value: TypeAlias = "tuple[str, ...]"
Record: TypeAlias = "Mapping[int, Value]"

_HEAD: Final = 1 << 16  # bytes in which the file meta information has to end
_LONGEST: Final = 4096  # bytes of a value that queries can ask for
_CHARSET: Final = 0x00080005
_LONG_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "UC", "UN", "UR", "UT"})
_ASCII: Final = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"})
_TEXTS: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_WHOLE: Final = frozenset({"LT", "ST", "UR", "UT"})  # no list of values
NUMBERS: Final = {"FD": "d", "FL": "f", "SL": "i", "SS": "h", "UL": "I", "US": "H"}


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """A composite instance as a Part 10 file, in memory or on disk.

    Attributes:
        patient, study, series, sop_instance: the unique keys of the four levels.
        record: tag → values of the public top-level elements, as text.
        source: the file's bytes, or its path.
        offset: where the dataset begins in it.
        size: bytes of the dataset.
    """

    patient: str = field(repr=False)
    study: str
    series: str
    sop_instance: str
    sop_class: str
    transfer_syntax: str
    record: Record = field(repr=False)
    source: bytes | Path = field(repr=False)
    offset: int
    size: int

    def part10(self) -> bytes:
        """The whole file."""
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()

    def dataset(self) -> bytes:
        """The encoded dataset, byte for byte."""
        return self.part10()[self.offset :]


def read_instance(source: bytes | Path, *, limit: int) -> Instance:
    """Read what is needed to find an instance again.

    Raises:
        DicomError: it is no Part 10 file, or holds no composite instance.
        TooLargeError: more than ``limit`` bytes.
    """
    name = source.name if isinstance(source, Path) else "dataset"
    size = source.stat().st_size if isinstance(source, Path) else len(source)
    if size > limit:
        raise TooLargeError(f"{name}: {size} bytes are more than the {limit} that are allowed")
    offset = _dataset_offset(_head(source), name)
    try:
        with BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
            dataset = dcmread(file, stop_before_pixels=True)
            syntax = str(dataset.file_meta.TransferSyntaxUID)
            record = read_record(dataset)
    except Exception as error:  # pydicom raises whatever it trips over
        kind = type(error).__name__
        raise DicomError(f"{name}: a file that cannot be read ({kind})") from None
    return _instance(record, syntax, source, offset, size - offset, name)


def _instance(
    record: Record, syntax: str, source: bytes | Path, offset: int, size: int, name: str
) -> Instance:
    tags = (0x00100020, 0x0020000D, 0x0020000E, 0x00080018, 0x00080016)
    keys = [record.get(tag, ("",))[0] for tag in tags]
    for tag, value in zip(tags[1:], keys[1:], strict=True):
        if not value:
            raise DicomError(f"{name}: no {keyword_for_tag(tag)}")
    patient, study, series, instance, sop_class = keys
    return Instance(
        patient, study, series, instance, sop_class, syntax, record, source, offset, size
    )


def _head(source: bytes | Path) -> bytes:
    if isinstance(source, bytes):
        return source[:_HEAD]
    with source.open("rb") as file:
        return file.read(_HEAD)


def _dataset_offset(head: bytes, name: str) -> int:
    """Where the file meta information ends: it is Explicit VR Little Endian (PS3.10 7.1)."""
    if head[128:132] != b"DICM":
        raise DicomError(f"{name}: not a DICOM file (no preamble)")
    place = 132
    while head[place : place + 2] == b"\x02\x00":
        if place + 12 > len(head):
            raise DicomError(f"{name}: damaged file meta information")
        if head[place + 4 : place + 6].decode("latin-1") in _LONG_VRS:
            place += 12 + int.from_bytes(head[place + 8 : place + 12], "little")
        else:
            place += 8 + int.from_bytes(head[place + 6 : place + 8], "little")
    return place


def vr_of(tag: int) -> str:
    """The VR of the dictionary, its first one where there are several; "" if it has none."""
    if (tag >> 16) % 2 or not dictionary_has_tag(tag):
        return ""
    return dictionary_VR(tag)[:2]


def read_record(dataset: Dataset) -> Record:
    """Tag → values of the public elements that queries can ask for, stripped of padding.

    Works on the raw bytes: nothing is validated, whatever a device may have written.
    """
    charsets = _values(dataset, _CHARSET, ())
    tags = map(int, dataset.keys())
    found = {tag: _values(dataset, tag, charsets) for tag in tags}
    return {tag: value for tag, value in found.items() if value is not None}


def _values(dataset: Dataset, tag: int, charsets: Value | None) -> Value | None:
    """The values of one element; None if it is nothing to ask for."""
    vr = vr_of(tag)
    if tag not in dataset or not (vr in _ASCII or vr in _TEXTS or vr in NUMBERS):
        return None
    element = dataset.get_item(tag)
    if not isinstance(element, RawDataElement):
        return None
    value = element.value or b""
    if len(value) > _LONGEST:
        return None
    if vr in NUMBERS:
        return _numbers(value, NUMBERS[vr], element.is_little_endian)
    text = _text(value, charsets or () if vr in _TEXTS else ())
    parts = [text] if vr in _WHOLE else text.split("\\")
    stripped = tuple(part.strip("\0 ") for part in parts)
    return stripped if any(stripped) else ()


def _numbers(value: bytes, code: str, little: bool) -> Value:
    size = struct.calcsize(code)
    order = "<" if little else ">"
    count = len(value) // size
    found = struct.unpack(f"{order}{count}{code}", value[: count * size])
    return tuple(str(number) for number in found)


def _text(value: bytes, charsets: Value) -> str:
    """Text in the character sets that the dataset names; what cannot be read is replaced."""
    known = [name for name in charsets if name in python_encoding]
    if len(known) < 2:
        return value.decode(python_encoding[known[0]] if known else "latin-1", "replace")
    return decode_bytes(value, convert_encodings(known), set(b"\\^="))
