"""What a source holds: the headers of its images, by series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..dicom.select import matching
from ..dicom.table import HeaderTable, decode_text
from ..protocols import SeriesSummary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..blob import Blob, BlobReader
    from ..errors import SeriesIOError

__all__ = ["Inventory"]


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
    _series: dict[str, NDArray[np.intp]] = field(default_factory=dict)

    def close(self) -> None:
        for reader in self.readers.values():
            reader.close()
        self.readers.clear()

    @property
    def series(self) -> dict[str, NDArray[np.intp]]:
        """Series Instance UID → the instances that belong to it; by series number, then UID."""
        if not self._series and len(self.table):
            column = self.table.column("SeriesInstanceUID")
            uids = [decode_text(value) for value in column.values]  # padding may differ
            unique, merged = np.unique(uids, return_inverse=True)
            codes = merged.reshape(-1)[column.codes]
            number = np.nan_to_num(self.table.numbers("SeriesNumber")[:, 0], nan=np.inf)
            members = [np.flatnonzero(codes == code) for code in range(len(unique))]
            order = sorted(range(len(unique)), key=lambda code: number[members[code]].min())
            self._series = {str(unique[code]): members[code] for code in order}
        return self._series

    def select(self, select: Mapping[str, Any] | None) -> dict[str, NDArray[np.intp]]:
        """The series, or parts of them, whose attributes have the selected values."""
        if not select:
            return self.series
        chosen = np.ones(len(self.table), bool)
        for name, value in select.items():
            chosen &= matching(self.table, name, value)
        parts = {uid: rows[chosen[rows]] for uid, rows in self.series.items()}
        return {uid: rows for uid, rows in parts.items() if len(rows)}

    def summary(self, uid: str, rows: NDArray[np.intp]) -> SeriesSummary:
        part = self.table.subset(rows)
        number = part.numbers("SeriesNumber")[0, 0]
        frames = np.nan_to_num(part.numbers("NumberOfFrames")[:, 0], nan=1).clip(0, 1 << 31)
        sizes = [part.numbers(keyword)[0, 0] for keyword in ("Rows", "Columns")]
        return SeriesSummary(
            uid,
            int(number) if np.isfinite(number) else None,
            part.text("SeriesDescription"),
            part.text("Modality"),
            len(rows),
            int(frames.sum()),
            *(int(size) if np.isfinite(size) else 0 for size in sizes),
        )

    @property
    def images(self) -> int:
        return len(self.table)
