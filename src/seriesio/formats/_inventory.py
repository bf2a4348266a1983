"""What a source holds: the headers of its images, by series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..dicom.frames import FrameTable
from ..dicom.options import PlanOptions
from ..dicom.select import matching
from ..dicom.stacks import (
    cosine_tolerance,
    instance_stacks,
    mixes_orientations,
    orientation_stacks,
    stacks_told,
)
from ..dicom.table import HeaderTable, decode_text
from ..errors import HeaderError
from ..protocols import SeriesSummary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..blob import Blob, BlobReader
    from ..errors import SeriesIOError

__all__ = ["Inventory"]

_STACK: Final = "stack"


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A series, or what is to be opened by itself of it.

    ``told``: what sets it apart from others of its series; ``stack``: of its frames, if one
    instance mixes several.
    """

    key: str
    rows: NDArray[np.intp]
    told: str = ""
    number: int = 0
    stack: int | None = None


@dataclass(eq=False)
class Inventory:
    """What a source holds: the headers of its images, by series; what else was there."""

    table: HeaderTable
    blobs: list[Blob]
    readers: dict[int, BlobReader]
    plain: dict[int, memoryview]
    found: int
    skipped: dict[str, list[str]]
    failed: list[tuple[str, SeriesIOError]]
    _options: PlanOptions = field(default_factory=PlanOptions)
    _groups: list[_Part] = field(default_factory=list)
    _chosen: list[_Part] = field(default_factory=list)

    def close(self) -> None:
        for reader in self.readers.values():
            reader.close()
        self.readers.clear()

    def group(self, options: PlanOptions) -> None:
        """Say what makes a series: by default its UID."""
        self._options = options
        self._groups.clear()

    @property
    def series(self) -> dict[str, NDArray[np.intp]]:
        """What makes a series → the instances that belong to it; by series number, then UID."""
        return {part.key: part.rows for part in self._parts()}

    def _parts(self) -> list[_Part]:
        if not self._groups and len(self.table):
            codes, keys, told = self._keys()
            number = np.nan_to_num(self.table.numbers("SeriesNumber")[:, 0], nan=np.inf)
            members = [np.flatnonzero(codes == code) for code in range(len(keys))]
            order = sorted(range(len(keys)), key=lambda code: number[members[code]].min())
            self._groups = [_Part(keys[code], members[code], told[code]) for code in order]
        return self._groups

    def _keys(self) -> tuple[NDArray[np.intp], list[str], list[str]]:
        """(n,) the series of each instance; the key of each series, and what sets it apart."""
        options = self._options
        uid = "StudyInstanceUID" if options.ignore_series_uid else "SeriesInstanceUID"
        split = (
            *(["AcquisitionNumber"] if options.split_acquisitions else []),
            *(["EchoNumbers"] if options.split_echo_numbers else []),
        )
        texts, codes = _texts(self.table, uid)
        keys, told = list(texts), [""] * len(texts)
        for keyword in split:
            own, inverse = _texts(self.table, keyword)
            pairs, codes = np.unique(codes * len(own) + inverse, return_inverse=True)
            parted = [divmod(pair, len(own)) for pair in pairs.tolist()]
            keys = [f"{keys[code]} {keyword} {own[value] or '-'}" for code, value in parted]
            told = [f"{told[code]} {keyword} {own[value] or '-'}" for code, value in parted]
        return codes.reshape(-1), keys, [text.strip() for text in told]

    def select(self, select: Mapping[str, Any] | None) -> dict[str, NDArray[np.intp]]:
        """The series, or parts of them, whose attributes have the selected values.

        Stacks of different orientation are parts of their own; ``{"stack": 2}`` is the second.
        """
        wanted = dict(select or {})
        stack = wanted.pop(_STACK, None)
        if stack is not None and (isinstance(stack, bool) or not isinstance(stack, int)):
            raise HeaderError(f"select: a stack is a number from 1 on, not {stack!r}")
        chosen = np.ones(len(self.table), bool)
        for name, value in wanted.items():
            chosen &= matching(self.table, name, value)
        left = [_Part(part.key, rows, part.told) for part, rows in self._left(chosen)]
        found = [one for part in left for one in self._stacks(part)]
        self._chosen = [part for part in found if stack is None or stack == max(part.number, 1)]
        return {part.key: part.rows for part in self._chosen}

    def _left(self, chosen: NDArray[np.bool_]) -> Sequence[tuple[_Part, NDArray[np.intp]]]:
        if chosen.all():
            return [(part, part.rows) for part in self._parts()]
        parts = ((part, part.rows[chosen[part.rows]]) for part in self._parts())
        return [(part, rows) for part, rows in parts if len(rows)]

    def _stacks(self, part: _Part) -> list[_Part]:
        """A series by itself, or the stacks of different orientation that it mixes."""
        whole = len(part.rows) == len(self.table)
        table = self.table if whole else self.table.subset(part.rows)
        tolerance = cosine_tolerance(self._options.dir_cosine_tolerance)
        stacks = instance_stacks(table, tolerance)
        if stacks is not None:
            told = list(stacks_told(table, stacks))
            return [
                _Part(f"{part.key} stack {k + 1}", part.rows[stacks == k], _and(part, text), k + 1)
                for k, text in enumerate(told)
            ]
        if not mixes_orientations(table):
            return [part]
        frames = FrameTable(table)
        stacks = orientation_stacks(frames, tolerance)
        if stacks.min() < 0 or stacks.max() == 0:
            return [part]
        return [
            _Part(f"{part.key} stack {k + 1}", part.rows.copy(), _and(part, text), k + 1, k + 1)
            for k, text in enumerate(stacks_told(frames, stacks))
        ]

    def stack_of(self, rows: NDArray[np.intp]) -> int | None:
        """The stack of frames that ``rows``, as :meth:`select` has given them, stand for."""
        return next((part.stack for part in self._chosen if part.rows is rows), None)

    def summary(self, uid: str, rows: NDArray[np.intp]) -> SeriesSummary:
        part = self.table.subset(rows)
        number = part.numbers("SeriesNumber")[0, 0]
        frames = np.nan_to_num(part.numbers("NumberOfFrames")[:, 0], nan=1).clip(0, 1 << 31)
        sizes = [part.numbers(keyword)[0, 0] for keyword in ("Rows", "Columns")]
        told = next((one.told for one in self._chosen if one.rows is rows and one.told), "")
        description = part.text("SeriesDescription")
        return SeriesSummary(
            part.text("SeriesInstanceUID"),
            int(number) if np.isfinite(number) else None,
            f"{description} ({told})".strip() if told else description,
            part.text("Modality"),
            len(rows),
            int(frames.sum()),
            *(int(size) if np.isfinite(size) else 0 for size in sizes),
        )

    @property
    def images(self) -> int:
        return len(self.table)


def _and(part: _Part, text: str) -> str:
    return f"{part.told}, {text}" if part.told else text


def _texts(table: HeaderTable, keyword: str) -> tuple[list[str], NDArray[np.intp]]:
    """The different texts of an attribute, ascending, and which each instance has."""
    column = table.column(keyword)
    texts = [decode_text(value) for value in column.values]  # padding may differ
    unique, merged = np.unique(texts, return_inverse=True)
    return [str(text) for text in unique], merged.reshape(-1)[column.codes]
