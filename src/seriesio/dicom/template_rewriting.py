"""Headers that pydicom writes anew: without pixels, in explicit little endian."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from math import isfinite
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from ..errors import DicomError, HeaderError
from .part10 import parse
from .values import BROKEN

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from .part10 import RawHeader

__all__ = ["EXPLICIT_LITTLE", "rewritten"]

EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
_TEXT: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})


def rewritten(dataset: Dataset) -> RawHeader:
    """A dataset without its pixels as a header in explicit little endian.

    Raises:
        HeaderError: values that pydicom cannot write, numbers that are none, or no UIDs.
    """
    from pydicom.filewriter import dcmwrite

    buffer = BytesIO()
    try:
        copy = _writable(dataset)
        dcmwrite(buffer, copy, enforce_file_format=True)
        data = memoryview(buffer.getvalue())
        return parse(data, data.nbytes, "template").header
    except BROKEN:
        raise HeaderError(f"the template cannot be written as DICOM{_culprit(dataset)}") from None
    except DicomError as error:
        raise HeaderError(f"the template cannot be written as DICOM: {error}") from None


def _writable(dataset: Dataset) -> Dataset:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID

    copy = Dataset({e.tag: e for e in _elements(dataset)})
    copy.file_meta = FileMetaDataset()
    copy.file_meta.TransferSyntaxUID = UID(EXPLICIT_LITTLE)
    if not copy.get("SOPInstanceUID"):
        copy.SOPInstanceUID = UID(f"2.25.{uuid4().int}")
    if not copy.get("SpecificCharacterSet") and not _is_ascii(copy):
        copy.SpecificCharacterSet = "ISO_IR 192"  # UTF-8: its text is decoded, none gets lost
    return copy


def _is_ascii(dataset: Dataset) -> bool:
    return all(str(e.value).isascii() for e in dataset.iterall() if e.VR in _TEXT)


def _elements(dataset: Dataset) -> Iterator[Any]:
    """What can be taken over: no pixels, no private elements."""
    for element in dataset:
        tag = element.tag
        if not tag.is_private and tag.group not in (2, 0x0028) and tag.group < 0x7FE0:
            _check_numbers(element)
            yield element


def _check_numbers(element: Any) -> None:
    """Raise HeaderError for a decimal or integer string that is no number."""
    if element.VR not in ("DS", "IS") or element.value in (None, ""):
        return
    values = element.value if element.VM > 1 else [element.value]
    try:
        whole = all(isfinite(float(value)) for value in values)
    except BROKEN:
        whole = False
    if not whole:
        raise HeaderError(f"the template's {element.keyword or element.tag} is no number")


def _culprit(dataset: Dataset) -> str:
    """Which element cannot be written; its value is not told."""
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_data_element

    for element in _elements(dataset):
        buffer = DicomBytesIO()
        buffer.is_little_endian, buffer.is_implicit_VR = True, False
        try:
            write_data_element(buffer, element)
        except BROKEN:
            return f": {element.keyword or element.tag} cannot hold its value"
    return ""
