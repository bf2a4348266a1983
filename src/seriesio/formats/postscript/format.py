"""PostScript, EPS and PDF: pages, rendered by Ghostscript, become slices. For reading only.

Formats: PostScript Language Reference, third edition; Encapsulated PostScript File Format
Specification, version 3.0 (section 5.2: the binary header of DOS); Document Structuring
Conventions, version 3.0; ISO 32000-1 (PDF).
"""

from __future__ import annotations

import math
import re
import struct
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...blob import read_fully
from ...errors import DataError, FormatError, TooLargeError
from ..image import Image
from .ghostscript import Ghostscript, Job

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...blob import Blob, BlobReader

__all__ = ["PostScriptFormat"]

_DOS: Final = b"\xc5\xd0\xd3\xc6"
_DOS_HEADER: Final = struct.Struct("<4sII")  # of 30 bytes; previews are not looked at
_PIECE: Final = 1 << 20
_HEAD, _TAIL = 1 << 16, 1 << 12  # where structuring comments are looked for
_INCH, _POINT = 25.4, 72  # mm; points in an inch

_ANNOUNCED: Final = re.compile(rb"^%%Pages:[ \t]*(\d{1,9})\b", re.MULTILINE)
_BOX: Final = re.compile(
    rb"^%%BoundingBox:[ \t]*" + rb"[ \t]+".join([rb"(-?\d{1,9}(?:\.\d{0,9})?)"] * 4), re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class _Options:
    """What a caller may say.

    Attributes:
        resolution: pixels per inch.
        color: True: red, green, blue; False: grey; "auto": colour if any page has some.
        timeout: seconds for all pages.
        pages: the most that a document may have.
    """

    resolution: float = 150.0
    color: bool | str = "auto"
    timeout: float = 60.0
    pages: int = 1000

    def __post_init__(self) -> None:
        for name in ("resolution", "timeout"):
            if not _is_positive(value := getattr(self, name)):
                raise ValueError(f"{name}= is a positive number, not {value!r}")
        if not _is_positive(self.pages) or int(self.pages) != self.pages:
            raise ValueError(f"pages= is a positive whole number, not {self.pages!r}")
        if self.color not in (True, False, "auto"):
            raise ValueError(f'color= is True, False or "auto", not {self.color!r}')


def _is_positive(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return 0 < value < math.inf


@dataclass(frozen=True, slots=True)
class _Document:
    """What a document says of itself before it is run.

    Attributes:
        pages: how many it announces; None if it does not say.
        box: width and height of an EPS, in points; None of other documents.
    """

    pages: int | None
    box: tuple[float, float] | None


@dataclass(slots=True)
class _Stack:
    """The pages so far, and what they will take together, padded to one size."""

    name: str
    memory: int
    limit: int
    channels: int
    pages: list[NDArray[np.uint8]] = field(default_factory=list)
    rows: int = 0
    columns: int = 0

    def allow(self, rows: int, columns: int) -> None:
        """Make room for a page.

        Raises:
            TooLargeError: there is none.
        """
        if len(self.pages) == self.limit:
            raise TooLargeError(f"{self.name}: has more than {self.limit} pages (pages= allows it)")
        self.rows, self.columns = max(self.rows, rows), max(self.columns, columns)
        kept = self.rows * self.columns * (3 if self.color else 1) * (len(self.pages) + 1)
        _check_room(self.name, max(kept, rows * columns * self.channels), self.memory)

    @property
    def color(self) -> bool:
        return any(page.ndim == 3 for page in self.pages)

    @property
    def mixed(self) -> bool:
        return len({page.shape[:2] for page in self.pages}) > 1

    def volume(self, color: bool) -> NDArray[np.uint8]:
        """(pages, rows, columns[, 3]); pages are let go of as they are copied."""
        shape = (len(self.pages), self.rows, self.columns, *((3,) if color else ()))
        _check_room(self.name, math.prod(shape), self.memory)
        found = np.full(shape, 255, np.uint8) if self.mixed else np.empty(shape, np.uint8)
        for place in range(len(self.pages)):
            page, self.pages[place] = self.pages[place], np.empty((0, 0), np.uint8)
            rows, columns = page.shape[:2]
            wide = page[..., np.newaxis] if color and page.ndim == 2 else page
            found[place, :rows, :columns] = wide
        return found


class PostScriptFormat:
    """Reads PostScript, EPS and PDF through Ghostscript; writes nothing.

    Pages become slices, (pages, rows, columns) or, in colour, (pages, rows, columns, 3) of uint8;
    smaller pages are padded with white on the right and below. A page has no place in a patient:
    there is no affine, but a spacing: the size of a pixel on paper, 25.4 / resolution mm, and
    1 mm from page to page.

    Options: ``resolution`` or ``dpi`` (150 pixels per inch), ``color`` (True, False, "auto"),
    ``timeout`` (60 s), ``pages`` (the most that are accepted, 1000).
    """

    extensions = (".ps", ".eps", ".pdf")
    read_options = frozenset({"color", "dpi", "pages", "resolution", "timeout"})
    write_options: frozenset[str] = frozenset()

    def claims(self, name: str, head: bytes) -> bool:
        """True for PostScript, EPS with the binary header of DOS, and PDF."""
        text = head.removeprefix(b"\x04")  # some drivers begin with Ctrl-D
        if text.startswith((b"%!PS", b"%PDF-", _DOS)):
            return True
        return text.startswith(b"%!") and name.lower().endswith((".ps", ".eps"))

    def companions(self, name: str, head: bytes) -> Sequence[str]:
        return ()

    def read(
        self, name: str, files: Mapping[str, Blob], *, memory: int, options: Mapping[str, Any]
    ) -> Image:
        """Render the pages of a document.

        Raises:
            DataError: it breaks its language, does not end in time, wants to reach files, has no
                page, or fewer than it announces.
            TooLargeError: more pages, pixels or memory than allowed.
            MissingDependencyError: Ghostscript is not installed.
            TransportError: its bytes cannot be read.
            TypeError, ValueError: an option that is unknown, or out of range.
        """
        wanted = _take(options)
        blob = files[name]
        _check_room(name, blob.size, memory)
        with tempfile.TemporaryDirectory(prefix="seriesio-") as made:
            folder = Path(made)
            source = folder / "document"
            document = _spool(name, blob, source)
            job = _job(name, folder, source, document, wanted)
            _check_box(job, document, memory)
            stack = _render(job, _Stack(name, memory, wanted.pages, job.channels), wanted)
        notes = _notes(name, stack, document, wanted)
        color = wanted.color is True or stack.color
        pixel = _INCH / wanted.resolution  # mm on paper
        return Image(stack.volume(color), color=color, notes=notes, spacing=(1.0, pixel, pixel))

    def write(self, image: Image, name: str, *, options: Mapping[str, Any]) -> Iterable[Blob]:
        """Not done.

        Raises:
            FormatError: always.
        """
        raise FormatError(
            'PostScript is read, not written; formats=["png"] or ["tiff"] make pictures'
        )


# --- options ---------------------------------------------------------------------------------


def _take(options: Mapping[str, Any]) -> _Options:
    unknown = sorted(options.keys() - PostScriptFormat.read_options)
    if unknown:
        known = ", ".join(sorted(PostScriptFormat.read_options))
        raise TypeError(f"postscript takes no option {', '.join(unknown)} (options are {known})")
    if {"dpi", "resolution"} <= options.keys():
        raise TypeError("dpi= and resolution= are the same: give one of them")
    named = {"resolution" if name == "dpi" else name: options[name] for name in options}
    return _Options(**named)


def _job(name: str, folder: Path, source: Path, document: _Document, wanted: _Options) -> Job:
    return Job(
        name=name,
        folder=folder,
        source=source,
        resolution=float(wanted.resolution),
        color=wanted.color is not False,
        crop=document.box is not None,
        timeout=float(wanted.timeout),
    )


# --- the document ----------------------------------------------------------------------------


def _spool(name: str, blob: Blob, target: Path) -> _Document:
    """Put the document into a private file; what it says of itself."""
    reader = blob.open()
    try:
        offset, size = _span(name, blob, reader)
        head = _at(reader, name, offset, min(size, _HEAD))
        with target.open("xb") as file:
            for start in range(0, size, _PIECE):
                file.write(_at(reader, name, offset + start, min(_PIECE, size - start)))
    finally:
        reader.close()
    tail = _tail(target)
    if head.startswith(b"%PDF-") and b"%%EOF" not in tail:
        raise DataError(f"{name}: has no end: the PDF was cut short")
    return _Document(_announced(head, tail), _box(head))


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        return file.read()


def _at(reader: BlobReader, name: str, offset: int, size: int) -> bytearray:
    data = bytearray(size)
    read_fully(reader, memoryview(data), offset, name)
    return data


def _span(name: str, blob: Blob, reader: BlobReader) -> tuple[int, int]:
    """(offset, size) of the PostScript: a part, where there is a binary header."""
    if blob.size < _DOS_HEADER.size:
        return 0, blob.size
    magic, offset, size = _DOS_HEADER.unpack(_at(reader, name, 0, _DOS_HEADER.size))
    if magic != _DOS:
        return 0, blob.size
    if offset < 30 or not size or offset + size > blob.size:
        raise DataError(
            f"{name}: its header puts the PostScript into bytes {offset} to {offset + size}, "
            f"but the file has {blob.size}"
        )
    return offset, size


def _announced(head: bytes | bytearray, tail: bytes | bytearray) -> int | None:
    """How many pages the document says that it has; None if it does not."""
    if not head.startswith(b"%!PS-Adobe-"):
        return None
    comments = head.partition(b"%%EndComments")[0]
    if found := _ANNOUNCED.search(comments):
        return int(found[1])
    if b"%%Pages: (atend)" in comments and (ends := _ANNOUNCED.findall(tail)):
        return int(ends[-1])
    return None


def _box(head: bytes | bytearray) -> tuple[float, float] | None:
    """(width, height) in points of an EPS; None for all others."""
    if b"EPSF" not in head[:64].partition(b"\n")[0]:
        return None
    found = _BOX.search(head)
    if found is None:
        return None
    left, bottom, right, top = map(float, found.groups())
    return max(right - left, 0.0), max(top - bottom, 0.0)


# --- rendering -------------------------------------------------------------------------------


def _check_room(name: str, size: int, memory: int) -> None:
    if size > memory:
        raise TooLargeError(
            f"{name}: would take {size} bytes, and {memory} are allowed (a lower resolution= "
            "takes less)"
        )


def _check_box(job: Job, document: _Document, memory: int) -> None:
    """Refuse what the bounding box says to be too large, before anything is rendered."""
    if document.box is not None:
        width, height = (math.floor(side * job.resolution / _POINT) for side in document.box)
        _check_room(job.name, width * height, memory)


def _render(job: Job, stack: _Stack, wanted: _Options) -> _Stack:
    with Ghostscript(job) as ghostscript:
        for page in ghostscript.pages(stack.allow):
            stack.pages.append(_plain(page) if wanted.color == "auto" else page)
    return stack


def _plain(page: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A page without colour as (rows, columns)."""
    red = page[..., 0]
    if (red == page[..., 1]).all() and (red == page[..., 2]).all():
        return np.ascontiguousarray(red)
    return page


def _notes(name: str, stack: _Stack, document: _Document, wanted: _Options) -> tuple[str, ...]:
    """What is worth knowing of the pages.

    Raises:
        DataError: there are none, or fewer than announced.
    """
    count = len(stack.pages)
    if not count:
        raise DataError(f"{name}: has no pages")
    if document.pages is not None and count < document.pages:
        raise DataError(f"{name}: ends after {count} of the {document.pages} pages it announces")
    notes = [f"pages rendered at {wanted.resolution:g} pixels per inch; no place in the patient"]
    if stack.mixed:
        notes.append(f"pages of several sizes, padded with white to {stack.rows}x{stack.columns}")
    if document.pages is not None and count > document.pages:
        notes.append(f"{count} pages, although {document.pages} are announced")
    return tuple(notes)
