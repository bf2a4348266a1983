"""Every error that the library raises, in one tree.

::

    SeriesIOError
    ├── LocationError           a URL that cannot be understood          (ValueError)
    ├── NotFoundError           nothing is behind the URL                (FileNotFoundError)
    ├── TargetExistsError       writing would replace something          (FileExistsError)
    ├── TransportError          reading or writing bytes failed          (OSError)
    │   ├── ArchiveError        a damaged, lying or locked zip file
    │   ├── AssociationError    a DICOM peer that is not there, says no, or breaks off
    │   ├── StatusError         a DICOM peer that answers with a failure
    │   ├── StoreError          instances that a DICOM peer has not stored
    │   └── UnsupportedByPeerError  a DICOM peer without a service that is needed
    ├── MissingDependencyError  an optional package is not installed     (ImportError)
    ├── DataError               the bytes are not what they claim        (ValueError)
    │   ├── FormatError         nothing readable, or a format unknown
    │   ├── DicomError          DICOM that breaks its own rules
    │   │   └── TruncatedError  a file shorter than its header says
    │   ├── CodecError          compressed pixels that do not decode
    │   └── TooLargeError       more than the limits allow
    ├── SeriesError             good files that do not make one series
    │   ├── AmbiguousSeriesError
    │   ├── IncompleteSeriesError
    │   ├── InconsistentSeriesError
    │   └── UnsortableSeriesError
    ├── HeaderError             an attribute that cannot hold a value    (ValueError)
    ├── EncodeError             an array that cannot be written          (ValueError)
    └── ClientClosedError       a Client used after it was closed        (RuntimeError)

Texts name files, UIDs, sizes and counts; never a patient's attributes, never a credential.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .protocols import SeriesSummary

__all__ = [
    "AmbiguousSeriesError",
    "ArchiveError",
    "AssociationError",
    "ClientClosedError",
    "CodecError",
    "DataError",
    "DicomError",
    "EncodeError",
    "FormatError",
    "HeaderError",
    "IncompleteSeriesError",
    "IncompleteSeriesWarning",
    "InconsistentSeriesError",
    "LocationError",
    "MissingDependencyError",
    "NotFoundError",
    "SeriesError",
    "SeriesIOError",
    "StatusError",
    "StoreError",
    "TargetExistsError",
    "TooLargeError",
    "TransportError",
    "TruncatedError",
    "UnsortableSeriesError",
    "UnsupportedByPeerError",
]


class SeriesIOError(Exception):
    """The root of the tree: ``except SeriesIOError`` catches all that the library raises."""


class LocationError(SeriesIOError, ValueError):
    """A URL that cannot be understood, or a scheme that nobody serves."""


class NotFoundError(SeriesIOError, FileNotFoundError):
    """Nothing is behind the URL: no such path, no such member, an empty directory."""


class TargetExistsError(SeriesIOError, FileExistsError):
    """Writing would replace something, and ``overwrite=True`` was not given."""


class TransportError(SeriesIOError, OSError):
    """Bytes could not be read or written: permissions, a full disk, a vanished file."""


class ArchiveError(TransportError):
    """A zip file that is damaged, lies about itself, or wants a (different) password."""


class AssociationError(TransportError):
    """A DICOM peer that cannot be reached, rejects an association, or breaks one off.

    :attr:`rejection` is result, source and reason (PS3.8 table 9-21) where it was rejected.
    """

    def __init__(self, message: str, rejection: tuple[int, int, int] | None = None) -> None:
        super().__init__(message)
        self.rejection = rejection


class StatusError(TransportError):
    """A DICOM peer answers a request with a failure; :attr:`status` says which (PS3.7 annex C)."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class StoreError(TransportError):
    """Instances that a DICOM peer has not stored; :attr:`failed` says which, and why."""

    def __init__(self, message: str, failed: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.failed = tuple(failed)


class UnsupportedByPeerError(TransportError):
    """A DICOM peer does not offer what is needed; the text says what to configure."""


class MissingDependencyError(SeriesIOError, ImportError):
    """An optional package is needed; the text says which extra to install."""


class DataError(SeriesIOError, ValueError):
    """The bytes are not what they claim to be."""


class FormatError(DataError):
    """Nothing behind the URL is a format that can be read, or a format name is unknown."""


class DicomError(DataError):
    """DICOM that breaks its own rules."""


class TruncatedError(DicomError):
    """A file is shorter than its own header says."""


class CodecError(DataError):
    """Compressed pixels that do not decode, or decode to something else than announced."""


class TooLargeError(DataError):
    """More memory, nesting or bytes than the limits allow."""


class SeriesError(SeriesIOError):
    """Readable instances that do not make exactly one whole series."""


class AmbiguousSeriesError(SeriesError):
    """Several series are behind the URL; :attr:`series` lists them."""

    def __init__(self, message: str, series: Sequence[SeriesSummary] = ()) -> None:
        super().__init__(message)
        self.series = tuple(series)


class IncompleteSeriesError(SeriesError):
    """Something is missing, doubled or damaged; :attr:`missing` names each piece."""

    def __init__(self, message: str, missing: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.missing = tuple(missing)


class InconsistentSeriesError(SeriesError):
    """Instances of one series disagree about what has to be equal (Rows, Columns, bits …)."""


class UnsortableSeriesError(SeriesError):
    """No criterion, or not the one asked for, fills the grid."""


class HeaderError(SeriesIOError, ValueError):
    """An attribute that does not exist, cannot be changed, or cannot hold the value."""


class EncodeError(SeriesIOError, ValueError):
    """An array that the target format cannot hold."""


class ClientClosedError(SeriesIOError, RuntimeError):
    """A Client was used before it was entered or after it was closed."""


class IncompleteSeriesWarning(UserWarning):
    """A series is handed over although something is, or may be, missing.

    With ``on_incomplete="warn"``; and whenever files could not be read for want of permission.
    """
