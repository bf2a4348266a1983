"""What computed instances say of where they come from.

Image Type begins with DERIVED, Source Image Sequence refers to the instance that the pixels were
computed from, and to those of other operands (PS3.3 sections C.7.6.1.1.2 and C.7.6.1.1.4); frames
of enhanced objects say the same by Frame Type and the Derivation Image Macro (C.7.6.16.2.6). The
Frame of Reference is that of the sources: the voxels lie where those lay.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from .attributes import SERIES_UID, SOP_UID
from .instance import Source
from .table import decode_text

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from .attributes import Instance
    from .splice import Change

__all__ = ["add_derivation", "derived_type", "own_source", "source_changes", "sources_of"]

_CLASS_UID, _SOURCE, _DESCRIPTION = 0x00080016, 0x00082112, 0x00082111
_STUDY_UID, _EVIDENCE = 0x0020000D, 0x00089154
_TEXT: Final = "Pixel values computed from the source image"
# PS3.16 CID 7202; CID 7203 has no code for just any computation.
_PURPOSE: Final = ("121322", "DCM", "Source image for image processing operation")
_COMPUTED: Final = ("COMPUTED", "99SERIESIO", "Computed pixel values")
_MACRO, _FRAME_TYPE = "DerivationImageSequence", "FrameType"


def derived_type(image_type: Sequence[str], *, mixed: bool = False) -> Change:
    """Image Type of computed pixels; ``mixed`` if some frames are as they were."""
    rest = [part or "SECONDARY" for part in image_type[1:2]] + list(image_type[2:])
    return "CS", ["MIXED" if mixed else "DERIVED", *(rest or ["SECONDARY"])]


def own_source(instance: Instance) -> Source | None:
    """An instance as a source of others; None where none was read."""
    raw = instance.raw
    uid = decode_text(raw.raw(SOP_UID))
    if instance.made or not uid:
        return None
    tags = (_CLASS_UID, SERIES_UID, _STUDY_UID)
    class_uid, series, study = (decode_text(raw.raw(tag)) for tag in tags)
    return Source(class_uid, uid, series, study)


def sources_of(
    instance: Instance, changes: Mapping[int, Change], frames: Sequence[int] = ()
) -> list[Source]:
    """What an instance (or those of its frames) is computed from, first itself as it was read.

    None where it keeps that UID, or where nothing was read.
    """
    own, written = own_source(instance), changes.get(SOP_UID)
    if written is None or (own is not None and str(written[1]) == own.uid):
        return []
    found: dict[str, Source] = {}
    if own is not None:
        found[own.uid] = replace(own, frames=tuple((frame, frame) for frame in frames))
    for source in instance.sources:
        found[source.uid] = source.merged(found.get(source.uid))
    return list(found.values())


def source_changes(
    instance: Instance, changes: Mapping[int, Change], *, evidence: bool
) -> dict[int, Change]:
    """The sources and a description; what was set by the user stays.

    ``evidence`` adds the Source Image Evidence Sequence that enhanced objects need.
    """
    sources = sources_of(instance, changes)
    if not sources:
        return {}
    from pydicom.sequence import Sequence as Items

    found: dict[int, Change] = {}
    if _SOURCE not in changes:
        found[_SOURCE] = "SQ", Items(map(_reference, sources))
    if _DESCRIPTION not in changes and _DESCRIPTION not in instance.raw.layout.lookup:
        found[_DESCRIPTION] = "ST", _TEXT
    if evidence and _EVIDENCE not in changes:
        found[_EVIDENCE] = "SQ", _evidence(sources)
    return found


def _evidence(sources: Sequence[Source]) -> Any:
    """Where in their studies the sources are (PS3.3 table 10-4)."""
    from pydicom.sequence import Sequence as Items

    series: dict[tuple[str, str], list[Source]] = {}
    for source in sources:
        series.setdefault((source.study, source.series), []).append(source)
    studies: dict[str, list[Dataset]] = {}
    for (study, uid), members in series.items():
        studies.setdefault(study, []).append(_listed(uid, members))
    return Items(_study(*each) for each in studies.items())


def _listed(uid: str, sources: Sequence[Source]) -> Dataset:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence as Items

    series = Dataset()
    series.SeriesInstanceUID = uid
    series.ReferencedSOPSequence = Items(map(_plain_reference, sources))
    return series


def _study(uid: str, series: Sequence[Dataset]) -> Dataset:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence as Items

    study = Dataset()
    study.StudyInstanceUID = uid
    study.ReferencedSeriesSequence = Items(series)
    return study


def _plain_reference(source: Source) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.class_uid, source.uid
    return item


def _reference(source: Source, frame: int | None = None) -> Dataset:
    """An item that refers to an instance, or to what a frame is computed from of it."""
    item = _plain_reference(source)
    pairs = source.frames if frame is None else [p for p in source.frames if p[0] == frame]
    numbers = sorted({theirs + 1 for _, theirs in pairs if theirs is not None})
    if numbers:
        item.ReferencedFrameNumber = numbers[0] if len(numbers) == 1 else numbers
    item.PurposeOfReferenceCodeSequence = _coded(*_PURPOSE)
    return item


def _coded(value: str, scheme: str, meaning: str) -> Any:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence as Items

    item: Any = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return Items([item])


def add_derivation(
    shared: Dataset,
    items: Sequence[Dataset],
    frames: Sequence[int],
    changed: Sequence[bool],
    sources: Sequence[Source],
) -> None:
    """Mark the changed frames in the functional groups.

    ``frames`` are their numbers in the instance that was read, the first of the sources.
    """
    _unshare(shared, items)
    for item, frame, altered in zip(items, frames, changed, strict=False):
        if altered:
            _mark(item)
            if sources:
                setattr(item, _MACRO, _derivation(sources, frame))


def _unshare(shared: Dataset, items: Sequence[Dataset]) -> None:
    """Frame types that frames share go to each of them."""
    for element in [element for element in shared if _has_type(element)]:
        for item in items:
            item.add(copy.deepcopy(element))
        del shared[element.tag]


def _has_type(element: Any) -> bool:
    return element.VR == "SQ" and bool(element.value) and _FRAME_TYPE in element.value[0]


def _mark(item: Dataset) -> None:
    for element in [element for element in item if _has_type(element)]:
        kind: Any = element.value[0]
        kind.FrameType = ["DERIVED", *list(kind.FrameType or ())[1:]]


def _derivation(sources: Sequence[Source], frame: int) -> Any:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence as Items

    item: Any = Dataset()
    item.DerivationDescription = _TEXT
    item.DerivationCodeSequence = _coded(*_COMPUTED)
    item.SourceImageSequence = Items(
        _reference(source, frame)
        for source in sources
        if not source.frames or frame in dict(source.frames)
    )
    return Items([item])
