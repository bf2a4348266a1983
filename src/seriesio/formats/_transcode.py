"""An instance in a transfer syntax that every peer understands: uncompressed, little endian.

What is decoded is the pixel data; every other element keeps its value byte for byte, and the pixel
module says what is true of the decoded pixels (PS3.3 section C.7.6.3). UIDs stay: nothing that
is stored was computed, it is only unpacked (PS3.4 section B.4.1.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import pack
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..blob import PiecesBlob, read_all
from ..dicom.codecs import decode, decoded_photometric
from ..dicom.fragments import fragments, scan_items
from ..dicom.layouts import pixel_layouts
from ..dicom.part10 import UNDEFINED, meta_length, parse, syntax_for
from ..dicom.pixel_layout import LITTLE_HOST
from ..dicom.raw import Syntax
from ..dicom.splice import Change, splice
from ..dicom.table import HeaderGroup, HeaderTable
from ..dicom.vr import vr_in
from ..errors import CodecError, DicomError, TooLargeError, TruncatedError
from ._recode import Element, Piece, Recoder, joined

if TYPE_CHECKING:
    from ..blob import Blob
    from ..dicom.part10 import Parsed, RawHeader
    from ..dicom.pixels import PixelLayout

__all__ = ["EXPLICIT_LITTLE", "IMPLICIT_LITTLE", "transcode"]

IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"

_SYNTAX: Final = 0x00020010
_SOP_CLASS, _SOP_INSTANCE = 0x00080016, 0x00080018
_PHOTOMETRIC, _PLANAR, _PIXEL_REPRESENTATION = 0x00280004, 0x00280006, 0x00280103
_ICON: Final = 0x00880200
# Extended Offset Table and its Lengths, Encapsulated Pixel Data Value Total Length.
_TABLES: Final = (0x7FE00001, 0x7FE00002, 0x7FE00003)
_VERSION: Final = b"\0\1"
_IMPLEMENTATION: Final = "2.25.279105842178906139219812443516404251467"


def transcode(blob: Blob, syntax: str = EXPLICIT_LITTLE) -> Blob:
    """An instance as a Part 10 file in Explicit or Implicit VR Little Endian. Blocking.

    Compressed pixels are decoded, deflated datasets inflated, big endian is turned around. What
    has no file meta information gets some. The result has the name of ``blob``.

    Args:
        blob: a DICOM file of any kind: an image, or another object.
        syntax: UID of the transfer syntax that is wanted.

    Raises:
        FormatError: it is no DICOM file.
        DicomError: damaged, or nothing that can be carried over (a compressed icon).
        CodecError: compressed pixels that do not decode.
        MissingDependencyError: the codec is not installed.
        TooLargeError: more than memory, or than an element, can hold.
        TransportError: it cannot be read.
        ValueError: another transfer syntax than these two is asked for.
    """
    if syntax not in (IMPLICIT_LITTLE, EXPLICIT_LITTLE):
        raise ValueError(f"transfer syntax {syntax!r} is not one that can be transcoded to")
    data = memoryview(read_all(blob)).toreadonly()
    parsed = parse(data, data.nbytes, blob.name)
    pieces = _transcoded(data, parsed, syntax_for(syntax), blob.name)
    views = (memoryview(piece).cast("B") for piece in pieces)
    return PiecesBlob(blob.name, tuple(view for view in views if view.nbytes))


def _transcoded(data: memoryview, parsed: Parsed, to: Syntax, name: str) -> list[Piece]:
    raw, whole = parsed.header, parsed.deflated or data
    if raw.syntax.uid == to.uid and raw.meta_end:
        return [data]
    changes: dict[int, Change] = {_SYNTAX: ("UI", to.uid)} if raw.meta_end else {}
    if raw.has_pixels and raw.pixel_length < 0:
        return _unpacked(whole, raw, changes, to, name)
    end = raw.pixel_offset + raw.pixel_length if raw.has_pixels else whole.nbytes
    if end > whole.nbytes:
        raise TruncatedError(f"{name}: the pixel data end {end - whole.nbytes} bytes short")
    value = whole[raw.pixel_offset : end] if raw.has_pixels else None
    head = b"".join(splice(raw, changes))
    return _put_together(head, raw, raw.syntax, value, whole[end:], to, name)


# --- compressed pixels ------------------------------------------------------------------------


def _unpacked(
    whole: memoryview, raw: RawHeader, changes: Mapping[int, Change], to: Syntax, name: str
) -> list[Piece]:
    """An instance whose pixels are compressed."""
    layout = pixel_layouts(HeaderTable([HeaderGroup.single(raw)]))[0]
    value = whole[raw.pixel_offset :]
    pixels = _decoded(value, raw, layout, name)
    rest = value[scan_items(value).end :]
    vr = "OB" if layout.bits_allocated <= 8 else "OW"
    changed = {**changes, **_pixel_changes(layout), **_gone(raw)}
    head = b"".join(splice(raw, changed, (vr, pixels.nbytes)))
    plain = syntax_for(EXPLICIT_LITTLE)
    return _put_together(head, raw, plain, pixels, rest, to, name, vr)


def _pixel_changes(layout: PixelLayout) -> dict[int, Change]:
    changes: dict[int, Change] = {}
    if (photometric := decoded_photometric(layout)) != layout.photometric:
        changes[_PHOTOMETRIC] = "CS", photometric
    if layout.samples > 1:
        changes[_PLANAR] = "US", 0
    return changes


def _gone(raw: RawHeader) -> dict[int, Change]:
    return {tag: None for tag in _TABLES if tag in raw.layout.lookup}


def _decoded(value: memoryview, raw: RawHeader, layout: PixelLayout, name: str) -> memoryview:
    """The native value: all frames, little endian, padded to an even length."""
    size = layout.native_length
    if size + 1 >= UNDEFINED:
        raise TooLargeError(f"{name}: {size} bytes of pixels are more than an element can hold")
    tables = (raw.raw(tag) for tag in _TABLES[:2])
    frames = fragments(value, layout, *tables)
    try:
        room = np.zeros(size + size % 2, np.uint8)
    except MemoryError:
        raise TooLargeError(f"{name}: no memory for {size} bytes of pixels") from None
    cells = room[:size].view(layout.stored_dtype).reshape(layout.frames, *layout.shape)
    for number, parts in enumerate(frames):
        _decode(parts, layout, cells[number], f"{name}: frame {number}")
    if not LITTLE_HOST and cells.dtype.itemsize > 1:
        cells.byteswap(inplace=True)
    return room.data


def _decode(parts: Sequence[memoryview], layout: PixelLayout, out: Any, what: str) -> None:
    try:
        decode(parts, layout, out)
    except CodecError as error:
        raise CodecError(f"{what}: {error}") from error


# --- the whole --------------------------------------------------------------------------------


def _put_together(
    head: bytes,
    raw: RawHeader,
    source: Syntax,
    value: memoryview | None,
    rest: memoryview,
    to: Syntax,
    name: str,
    vr: str = "",
) -> list[Piece]:
    """The file: its head as it is encoded in ``source``, the pixel value, and what follows it."""
    meta = memoryview(head)[: meta_length(memoryview(head))] if raw.meta_end else b""
    start = meta or _meta(raw, to, name)
    body = memoryview(head)[len(meta) :]
    same = (source.implicit, source.little) == (to.implicit, to.little)
    if same and _ICON not in raw.layout.lookup:
        return [start, body, *([] if value is None else [value]), rest]
    recoder = Recoder(source, to.implicit, name)
    signed = any(raw.raw(_PIXEL_REPRESENTATION) or b"")
    if value is None:
        return [start, *joined(recoder.elements(body, signed), to.implicit)]
    elements = recoder.elements(body[: _before_pixels(raw, body, source)], signed)
    elements.append(_pixels(recoder, raw, source, value, vr))
    elements += recoder.elements(rest, signed)
    return [start, *joined(elements, to.implicit)]


def _before_pixels(raw: RawHeader, body: memoryview, source: Syntax) -> int:
    """Where the header of the pixel element begins: the last thing in a head."""
    said = raw.layout.vrs[-1]
    return body.nbytes - (8 if source.implicit or not said else 12)


def _pixels(
    recoder: Recoder, raw: RawHeader, source: Syntax, value: memoryview, vr: str
) -> Element:
    """The pixel element (PS3.5 section 8.1.2 and annex A)."""
    vr = vr or vr_in(raw, raw.layout.tags[-1])
    return recoder.element(raw.layout.tags[-1], vr, [recoder.turned(value, vr)])


def _meta(raw: RawHeader, to: Syntax, name: str) -> bytes:
    """Preamble and file meta information (PS3.10 section 7.1) for what came without."""
    uids = [_uid(raw, _SOP_CLASS, name), _uid(raw, _SOP_INSTANCE, name), to.uid, _IMPLEMENTATION]
    parts = [pack("<HH2s2xL2s", 2, 1, b"OB", 2, _VERSION)]
    for element, uid in zip((0x02, 0x03, 0x10, 0x12), uids, strict=True):
        data = uid.encode("latin-1") + b"\0" * (len(uid) % 2)
        parts.append(pack("<HH2sH", 2, element, b"UI", len(data)) + data)
    body = b"".join(parts)
    return bytes(128) + b"DICM" + pack("<HH2sHL", 2, 0, b"UL", 4, len(body)) + body


def _uid(raw: RawHeader, tag: int, name: str) -> str:
    text = bytes(raw.raw(tag) or b"").strip(b"\0 ").decode("latin-1")
    if not 0 < len(text) <= 64:
        what = "SOP Class UID" if tag == _SOP_CLASS else "SOP Instance UID"
        raise DicomError(f"{name}: no {what}")
    return text
