"""The query/retrieve information models: PS3.4 sections C.3 and C.4; pure.

Hierarchical: the unique keys of all levels above the one that is asked for have to be there, each
with a single value.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pydicom.charset import convert_encodings, default_encoding
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from ._archive_instance import NUMBERS, Instance, Value, read_record, vr_of
from ._archive_match import QueryError, has_wildcard, matches

__all__ = ["LEVELS", "Query", "find", "parse_query", "respond", "retrieve"]

LEVELS: Final = ("PATIENT", "STUDY", "SERIES", "IMAGE")
_UNIQUE: Final = (0x00100020, 0x0020000D, 0x0020000E, 0x00080018)
_LEVEL_TAG, _CHARSET = 0x00080052, 0x00080005
_UTF8: Final = "ISO_IR 192"
_NO_KEYS: Final = frozenset({_LEVEL_TAG, _CHARSET, 0x00080201})


def _tags(keywords: str) -> frozenset[int]:
    return frozenset(tag for word in keywords.split() if (tag := tag_for_keyword(word)))


# Attributes of a study and of a series (PS3.4 tables C.6-1 to C.6-4, PS3.3 sections C.7.2, C.7.3,
# C.7.5). Those of a patient are of group 0010, but for these of a study; all others of an image.
_OF_STUDY: Final = _tags(
    "StudyDate StudyTime AccessionNumber StudyID StudyInstanceUID StudyDescription "
    "ReferringPhysicianName ConsultingPhysicianName PhysiciansOfRecord "
    "NameOfPhysiciansReadingStudy AdmittingDiagnosesDescription PatientAge PatientSize "
    "PatientWeight Occupation AdditionalPatientHistory OtherStudyNumbers ModalitiesInStudy "
    "SOPClassesInStudy NumberOfStudyRelatedSeries NumberOfStudyRelatedInstances"
)
_OF_SERIES: Final = _tags(
    "Modality SeriesNumber SeriesInstanceUID SeriesDescription SeriesDate SeriesTime Laterality "
    "ProtocolName BodyPartExamined PatientPosition PerformingPhysicianName OperatorsName "
    "FrameOfReferenceUID PositionReferenceIndicator PerformedProcedureStepID "
    "PerformedProcedureStepStartDate PerformedProcedureStepStartTime "
    "PerformedProcedureStepDescription Manufacturer ManufacturerModelName InstitutionName "
    "InstitutionalDepartmentName StationName DeviceSerialNumber SoftwareVersions "
    "NumberOfSeriesRelatedInstances"
)
_OF_PATIENT: Final = _tags(
    "NumberOfPatientRelatedStudies NumberOfPatientRelatedSeries NumberOfPatientRelatedInstances"
)
# What is counted: a level, and which of its unique keys.
_COUNTS: Final = {
    0x00201200: 1,  # Number of Patient Related Studies
    0x00201202: 2,  # Number of Patient Related Series
    0x00201204: 3,  # Number of Patient Related Instances
    0x00201206: 2,  # Number of Study Related Series
    0x00201208: 3,  # Number of Study Related Instances
    0x00201209: 3,  # Number of Series Related Instances
}
_COLLECTED: Final = {0x00080061: 0x00080060, 0x00080062: 0x00080016}  # … in Study: of what
_RETRIEVE_AET, _AVAILABILITY, _SYNTAX = 0x00080054, 0x00080056, 0x00083002


@dataclass(frozen=True, slots=True)
class Query:
    """An identifier: the root ("PATIENT" or "STUDY"), the level, and tag → key."""

    root: str
    level: str
    keys: Mapping[int, str] = field(repr=False)

    @property
    def rank(self) -> int:
        """The place of the level: 0 patient, 1 study, 2 series, 3 image."""
        return LEVELS.index(self.level)

    @property
    def parents(self) -> range:
        """The ranks above the level that the information model has."""
        return range(LEVELS.index(self.root), self.rank)

    def named(self) -> dict[str, str]:
        """Keyword → key, for records."""
        return {keyword_for_tag(tag) or f"{tag:08X}": key for tag, key in self.keys.items()}


def parse_query(identifier: Dataset, root: str) -> Query:
    """Read an identifier.

    Raises:
        QueryError: no level, or one that the information model has not.
    """
    record = read_record(identifier)
    level = "".join(record.get(_LEVEL_TAG, ()))
    if level not in LEVELS[LEVELS.index(root) :]:
        raise QueryError("Query/Retrieve Level is missing or not of this information model")
    # What cannot be matched (sequences, private elements) is a key all the same: nobody has it.
    tags = [tag for tag in map(int, identifier.keys()) if tag not in _NO_KEYS]
    return Query(root, level, {tag: "\\".join(record.get(tag, ())) for tag in tags})


def _check_parents(query: Query) -> None:
    """PS3.4 section C.4.1.2.1: above the level, a single value for each unique key."""
    for rank in query.parents:
        key = query.keys.get(_UNIQUE[rank], "")
        if not key or "\\" in key or has_wildcard(key):
            name = keyword_for_tag(_UNIQUE[rank])
            raise QueryError(f"{query.level} level needs a single value of {name}")


def _keys_of(instance: Instance) -> tuple[str, str, str, str]:
    return instance.patient, instance.study, instance.series, instance.sop_instance


def _below(query: Query, instances: Iterable[Instance]) -> list[Instance]:
    """Those that lie below the parents which the query names."""
    wanted = [(rank, query.keys[_UNIQUE[rank]]) for rank in query.parents]
    return [one for one in instances if all(_keys_of(one)[rank] == key for rank, key in wanted)]


# --- C-FIND -----------------------------------------------------------------------------------


def find(query: Query, instances: Iterable[Instance], title: str) -> Iterator[dict[int, Value]]:
    """The matching entities of the level, each as tag → values of what was asked for.

    ``title``: the AE title from which they can be retrieved.

    Raises:
        QueryError: the identifier breaks the rules.
    """
    _check_parents(query)
    entities: dict[tuple[str, ...], list[Instance]] = {}
    for one in _below(query, instances):
        # A study is one entity, whatever its patient is called here and there.
        entities.setdefault(_keys_of(one)[query.rank : query.rank + 1], []).append(one)
    for members in entities.values():
        if all(_matches(query, tag, key, members) for tag, key in query.keys.items()):
            yield _answer(query, members, title)


def _matches(query: Query, tag: int, key: str, members: Sequence[Instance]) -> bool:
    if not key or tag in _COUNTS or tag in (_RETRIEVE_AET, _AVAILABILITY):
        return True
    values = _entity_values(query, tag, members)
    if values is None:  # an optional key that is not supported
        return True
    try:
        return matches(vr_of(tag), key, values)
    except QueryError as error:
        raise QueryError(f"{keyword_for_tag(tag)}: {error}") from None


def _answer(query: Query, members: Sequence[Instance], title: str) -> dict[int, Value]:
    answer: dict[int, Value] = {_LEVEL_TAG: (query.level,), _RETRIEVE_AET: (title,)}
    if _AVAILABILITY in query.keys:
        answer[_AVAILABILITY] = ("ONLINE",)
    for tag in query.keys:
        values = _entity_values(query, tag, members)
        if tag not in answer and values is not None:
            answer[tag] = values
    return answer


def _entity_values(query: Query, tag: int, members: Sequence[Instance]) -> Value | None:
    """What an entity says of an attribute; None if the level does not have it."""
    rank = _rank_of(tag)
    if not vr_of(tag) or vr_of(tag) == "SQ" or rank > query.rank:
        return None
    if (tag in _COUNTS or tag in _COLLECTED) and rank != query.rank:  # of the level itself
        return None
    if tag in _COUNTS:
        return (str(len({_keys_of(one)[_COUNTS[tag]] for one in members})),)
    if tag in _COLLECTED:
        found = (one.record.get(_COLLECTED[tag], ()) for one in members)
        return tuple(sorted({value for values in found for value in values}))
    if tag == _SYNTAX:
        return (members[0].transfer_syntax,)
    return members[0].record.get(tag, ())


def _rank_of(tag: int) -> int:
    if tag in _OF_STUDY:
        return 1
    if tag in _OF_SERIES:
        return 2
    return 0 if tag >> 16 == 0x0010 or tag in _OF_PATIENT else 3


# --- C-GET, C-MOVE ----------------------------------------------------------------------------


def retrieve(query: Query, instances: Iterable[Instance]) -> list[Instance]:
    """The instances below the entities that the identifier names (PS3.4 section C.4.2.1.4).

    Raises:
        QueryError: the identifier breaks the rules.
    """
    _check_parents(query)
    key = query.keys.get(_UNIQUE[query.rank], "")
    if not key or has_wildcard(key):
        name = keyword_for_tag(_UNIQUE[query.rank])
        raise QueryError(f"{query.level} level needs values of {name}, without wildcards")
    wanted = set(key.split("\\"))
    return [one for one in _below(query, instances) if _keys_of(one)[query.rank] in wanted]


# --- answers as datasets ----------------------------------------------------------------------


def respond(answer: Mapping[int, Value], *, implicit: bool, little: bool) -> Dataset:
    """An answer as a dataset of raw elements: values are passed on as devices wrote them."""
    ascii_only = all(value.isascii() for values in answer.values() for value in values)
    charset = {} if ascii_only else {_CHARSET: (_UTF8,)}
    dataset = Dataset()
    for tag, values in {**charset, **answer}.items():
        vr = vr_of(tag)
        data = _encoded(vr, values, little)
        dataset[tag] = RawDataElement(Tag(tag), vr, len(data), data, 0, implicit, little)
    # Raw elements are written as they are where the dataset came in the same encoding.
    encoding = default_encoding if ascii_only else convert_encodings(_UTF8)
    dataset.set_original_encoding(implicit, little, encoding)
    return dataset


def _encoded(vr: str, values: Value, little: bool) -> bytes:
    if vr in NUMBERS:
        order = "<" if little else ">"
        cast = float if vr in ("FD", "FL") else int
        return struct.pack(f"{order}{len(values)}{NUMBERS[vr]}", *map(cast, values))
    data = "\\".join(values).encode()
    return data + (b"\0" if vr == "UI" else b" ") * (len(data) % 2)
