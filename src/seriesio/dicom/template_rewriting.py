"""Headers that pydicom writes anew: without pixels, in explicit little endian."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
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


def rewritten(dataset: Dataset) -> RawHeader:
    """A dataset without its pixels as a header in explicit little endian.

    Raises:
        HeaderError: values that pydicom cannot write, or no UIDs.
    """
    from pydicom.filewriter import dcmwrite

    buffer = BytesIO()
    try:
        dcmwrite(buffer, _writable(dataset), enforce_file_format=True)
        data = memoryview(buffer.getvalue())
        return parse(data, data.nbytes, "template").header
    except BROKEN:
        raise HeaderError("the template cannot be written as DICOM") from None
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
    return copy


def _elements(dataset: Dataset) -> Iterator[Any]:
    """What can be taken over: no pixels, no private elements."""
    for element in dataset:
        tag = element.tag
        if not tag.is_private and tag.group not in (2, 0x0028) and tag.group < 0x7FE0:
            yield element
