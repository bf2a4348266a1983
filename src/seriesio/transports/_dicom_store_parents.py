"""Which series an instance belongs to: what a query for it has to name."""

from __future__ import annotations

from io import BufferedReader, RawIOBase
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydicom.filereader import read_partial

from ..errors import DicomError, SeriesIOError

if TYPE_CHECKING:
    from ..blob import Blob, BlobReader

__all__ = ["Parents", "parents_of"]

_HEAD: Final = 1 << 16  # bytes that are read at a time of a header
_LAST: Final = 0x0020000E  # Series Instance UID


class Parents(NamedTuple):
    """UIDs of series and study, and the Patient ID."""

    series: str
    study: str
    patient: str


class _File(RawIOBase):
    """The bytes of a blob as a file."""

    def __init__(self, reader: BlobReader, blob: Blob) -> None:
        self._reader, self._size, self._place = reader, blob.size, 0
        self.name = blob.name  # asked for by pydicom

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place = offset + (0, self._place, self._size)[whence]
        return self._place

    def readinto(self, buffer: Any) -> int:
        count = self._reader.readinto(memoryview(buffer).cast("B"), self._place)
        self._place += count
        return count


def parents_of(blob: Blob) -> Parents:
    """Series, study and patient of an instance. Blocking.

    Raises:
        DicomError: its header cannot be read, or does not tell.
        TransportError: its bytes cannot be read.
    """
    reader = blob.open()
    try:
        file = BufferedReader(_File(reader, blob), _HEAD)
        dataset = read_partial(file, stop_when=_is_behind)
        uids = str(dataset.SeriesInstanceUID), str(dataset.StudyInstanceUID)
        return Parents(*uids, str(dataset.get("PatientID", "") or ""))
    except SeriesIOError:
        raise
    except Exception as error:  # pydicom raises whatever it trips over; its text may tell values
        kind = type(error).__name__
        raise DicomError(f"{blob.name}: a header that cannot be read ({kind})") from None
    finally:
        reader.close()


def _is_behind(tag: int, vr: str | None, length: int) -> bool:
    return tag > _LAST
