"""Volumes without what identifies patients: every header anew, by the basic profile.

The voxels are not touched. What comes out has no byte of the old headers but those of elements
that the profile keeps: the preamble is zeros, elements behind the pixels are gone.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import struct
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from pydicom.uid import RE_VALID_UID

from ..errors import DicomError, HeaderError
from ..report import Report
from .axis_values import without_moments
from .comments import without_comments, without_idle_bytes, without_spare_bits
from .fragments import scan_items
from .header import Header, Instance
from .keywords import keyword_for
from .mosaic import mosaic_of
from .profile import EDITION, Profile
from .splice import Change, splice
from .value_bytes import encode
from .values import BROKEN, codecs_of, decode
from .vr import dictionary_vr, vr_in
from .walk import Walk

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from .part10 import RawHeader
    from .pixels import PixelLayout
    from .raw import Syntax
    from .volume import Volume

__all__ = ["Cleaner", "UIDMap", "csa_header", "deidentified"]

_STANDARD: Final = "1.2.840.10008."
_RLE: Final = "1.2.840.10008.1.2.5"
_PREAMBLE: Final = 128
_PATIENT_ID: Final = 0x00100020
_BURNED_IN: Final = "BurnedInAnnotation"
_MOMENTS: Final = frozenset({"DA", "DT", "TM"})
# PS3.16 CID 7050.
_CODE: Final = ("113100", "DCM", "Basic Application Confidentiality Profile")
_OPAQUE: Final = (
    "compressed pixels that cannot be taken apart are as they were: comments may stand in them"
)
_DEPTH: Final = 50  # sequences inside of each other


@dataclass(frozen=True, slots=True)
class UIDMap:
    """New UIDs for old ones: the same for the same, by a secret seed or by what is known.

    ``known`` goes before; it is filled with what is made. Who has the seed can tell which new
    UID an old one has become, and nobody else.
    """

    seed: bytes = field(repr=False)
    known: MutableMapping[str, str] = field(repr=False)

    def __call__(self, old: str) -> str:
        """Those of the standard (classes, syntaxes, well-known frames) stay as they are.

        Raises:
            HeaderError: what is known is no UID.
        """
        if not old or old.startswith(_STANDARD):
            return old
        found = self.known.get(old)
        if found is None:
            digest = hmac.digest(self.seed, old.encode(), hashlib.sha256)
            # 122 bits of it, as a UUID of version 8 (PS3.5 section B.2).
            number = int.from_bytes(digest[:16], "big")
            number = number & ~(0xF << 76) | 8 << 76
            found = self.known[old] = f"2.25.{number & ~(0x3 << 62) | 2 << 62}"
        elif not _is_uid(found):
            raise HeaderError("uid_map: what it has for a UID of the series is no UID")
        return found

    def pseudonym(self, old: str) -> str:
        """A Patient ID that keeps patients apart; the same for the same, as with UIDs."""
        return f"ANON-{hmac.digest(self.seed, old.encode(), hashlib.sha256).hex()[:16].upper()}"


def _is_uid(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 64 and bool(re.fullmatch(RE_VALID_UID, value))


def deidentified(volume: Volume, profile: Profile, uids: UIDMap) -> Volume:
    """The same voxels under headers without what identifies.

    Raises:
        DicomError: a header that cannot be taken apart.
    """
    cleaner = Cleaner(profile, uids)
    header = volume.header
    instances = [
        cleaner.instance(header.instances[index], header.changes(index), layout)
        for index, layout in enumerate(volume.stored.layouts)
    ]
    told = volume.report
    report = Report(
        told.found, told.used, criterion=told.criterion, reason=told.reason,
        notes=(*told.notes, *_notes(header), *cleaner.notes),
    )  # fmt: skip
    axes = volume.axes if cleaner.keeps_moments else without_moments(volume.axes)
    return replace(volume, header=Header(instances), axes=axes, report=report)


def _notes(header: Header) -> Iterator[str]:
    """Whether the voxels themselves may identify the patient."""
    said = {str(value or "") for value in header.values(_BURNED_IN)}
    if "YES" in said:
        yield "BurnedInAnnotation is YES: the pixels show text, perhaps the patient's name"
    elif said != {"NO"}:
        yield "BurnedInAnnotation does not say NO: pixels may show text; look at them"


class Cleaner:
    """Takes what identifies out of headers; equal elements of many of them are looked at once."""

    def __init__(self, profile: Profile, uids: UIDMap) -> None:
        self._profile = profile
        self._uids = uids
        self._found: dict[tuple[Any, ...], tuple[bool, Change]] = {}
        self._marks = _marks(profile)
        self._opaque = False

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be looked at."""
        return (_OPAQUE,) if self._opaque else ()

    @property
    def keeps_moments(self) -> bool:
        """True if the caller has asked to keep dates or times."""
        return self._marks[0x00280303] != ("CS", "REMOVED")

    def instance(
        self, instance: Instance, changes: dict[int, Change], layout: PixelLayout
    ) -> Instance:
        """An instance with a clean header; ``layout`` is that of its pixels."""
        raw = _reread(instance.raw, changes) if changes else instance.raw
        clean = _reread(raw, self.changes(raw), blank=True)
        encoded, tail = instance.encoded, instance.tail
        if encoded is not None:
            encoded = self._pixels(encoded, raw.syntax, layout)
        padding = max(raw.pixel_length - layout.native_length, 0) if raw.has_pixels else 0
        tail = b"\0" * padding if not raw.syntax.encapsulated and encoded is None else b""
        return Instance(clean, tail, encoded)

    def _pixels(self, encoded: bytes, syntax: Syntax, layout: PixelLayout) -> bytes:
        """A pixel value without comments, overlays in unused bits, and what stands behind it."""
        if not syntax.encapsulated:
            return without_spare_bits(encoded, layout, syntax.little)
        rle = syntax.uid == _RLE
        found = without_idle_bytes(encoded, layout) if rle else without_comments(encoded)
        if found is None:
            self._opaque = True
            found = bytes(memoryview(encoded)[: scan_items(encoded).end])
        return found

    def changes(self, raw: RawHeader) -> dict[int, Change]:
        """What must change in a header."""
        found: dict[int, Change] = {}
        for tag in raw.layout.lookup:
            if tag & 0xFFFF and tag >> 16 != 0x7FE0:
                changed, change = self._element(raw, tag)
                if changed:
                    found[tag] = change
        return found | self._marks | _tiles(raw)

    def _element(self, raw: RawHeader, tag: int) -> tuple[bool, Change]:
        vr = vr_in(raw, tag)
        action = self._profile.action(tag, vr)
        if action == "remove":
            return True, None
        if action == "empty":
            return True, (vr, None if vr != "SQ" else [])
        if action == "keep" and vr != "SQ":
            return False, None
        said = raw.layout.vrs[raw.layout.lookup[tag]]
        key = tag, vr, said, raw.syntax, codecs_of(raw), bytes(raw.raw(tag) or b"")
        if key not in self._found:
            self._found[key] = self._decoded(raw, tag, vr, action)
        return self._found[key]

    def _decoded(self, raw: RawHeader, tag: int, vr: str, action: str) -> tuple[bool, Change]:
        """What becomes of an element whose value has to be looked at."""
        if vr == "UI":
            return True, (vr, self._mapped(decode(raw, tag)))
        if vr != "SQ":
            return True, (vr, self._dummy(tag, vr, decode(raw, tag)))
        try:
            items = decode(raw, tag)
            for item in items:
                self._item(item, action == "dummy")
            # All of it anew: nothing stays of bytes that belong to no element.
            encode(tag, vr, items, raw.syntax.implicit, raw.syntax.little, codecs_of(raw))
        except (DicomError, *BROKEN):
            return True, None  # what cannot be read cannot be shown to be harmless
        return True, (vr, items)

    def _dummy(self, tag: int, vr: str, old: Any) -> Any:
        if tag == _PATIENT_ID and vr == "LO":
            return self._uids.pseudonym(str(old or ""))
        return self._profile.dummy(tag, vr)

    def _mapped(self, value: Any) -> Any:
        """One UID or several."""
        if isinstance(value, str) or value is None:
            return self._uids(str(value or ""))
        return [self._uids(str(part)) for part in value]

    def _item(self, item: Dataset, dummies: bool, depth: int = 0) -> None:
        """Clean an item and those in it; with ``dummies``, what the profile would keep too."""
        if depth > _DEPTH:
            raise DicomError("sequences nested too deeply")
        for element in list(item):
            action = self._profile.action(int(element.tag), str(element.VR))
            if action == "remove":
                del item[element.tag]
            elif element.VR == "SQ" and action != "empty":
                for one in element.value:
                    self._item(one, dummies or action == "dummy", depth + 1)
            elif action != "keep" or dummies:
                element.value = self._replacement(element, action)

    def _replacement(self, element: Any, action: str) -> Any:
        """The value of an element in an item from now on."""
        vr = str(element.VR)
        if action == "empty":
            return [] if vr == "SQ" else None
        if vr == "UI":
            return self._mapped(element.value)
        return self._dummy(int(element.tag), vr, element.value)


def _tiles(raw: RawHeader) -> dict[int, Change]:
    """What must be known of a mosaic, in a CSA header of our own that says nothing else."""
    mosaic = mosaic_of(raw)
    if mosaic is None:
        return {}
    normal = () if mosaic.normal is None else mosaic.normal
    header = csa_header(
        {
            "NumberOfImagesInMosaic": ("US", [str(mosaic.count)]),
            "SliceNormalVector": ("FD", [f"{part:.16g}" for part in normal]),
        }
    )
    return {0x00290010: ("LO", "SIEMENS CSA HEADER"), 0x00291010: ("OB", header)}


def csa_header(values: Mapping[str, tuple[str, list[str]]]) -> bytes:
    """A CSA header (the form with the magic number SV10) of a few tags: name → (VR, items)."""
    parts = [b"SV10\4\3\2\1", struct.pack("<2I", len(values), 77)]
    for name, (vr, items) in values.items():
        parts.append(
            struct.pack("<64si4s3i", name.encode(), len(items), vr.encode(), 0, len(items), 77)
        )
        for item in items:
            text = item.encode() + b"\0"
            parts.append(struct.pack("<4i", len(text), len(text), 77, len(text)))
            parts.append(text + bytes(-len(text) % 4))
    return b"".join(parts)


def _marks(profile: Profile) -> dict[int, Change]:
    """That it was done, and how (PS3.15 section E.1.1, PS3.3 sections C.7.1.1 and C.12.1)."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence as Items

    code: Any = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = _CODE
    timed = any(dictionary_vr(tag) in _MOMENTS for tag in profile.kept)
    method = [f"PS3.15 {EDITION} basic profile"]
    if profile.kept:
        method += [f"kept: {keyword_for(tag)}"[:64] for tag in sorted(profile.kept)]
    return {
        0x00120062: ("CS", "YES"),
        0x00120063: ("LO", method),
        0x00120064: ("SQ", Items([code])),
        0x00280303: ("CS", "UNMODIFIED" if timed else "REMOVED"),
    }


def _reread(raw: RawHeader, changes: dict[int, Change], *, blank: bool = False) -> RawHeader:
    """The header with changes as bytes of its own, walked anew."""
    data = bytearray().join(splice(raw, changes))
    if blank and raw.meta_end and bytes(data[_PREAMBLE : _PREAMBLE + 4]) == b"DICM":
        data[:_PREAMBLE] = bytes(_PREAMBLE)
    view = memoryview(bytes(data))
    pixels = max(raw.pixel_length, 0) if raw.has_pixels else 0
    walk = Walk(view, view.nbytes + pixels, "header")
    meta_end = walk.meta(_start(view)) if raw.meta_end else 0
    walk.dataset(meta_end, raw.syntax)
    return walk.header(raw.syntax, meta_end)


def _start(data: memoryview) -> int:
    """Where the file meta information begins."""
    for start, prefix in ((132, data[128:132]), (4, data[:4])):
        if bytes(prefix) == b"DICM":
            return start
    return 0
