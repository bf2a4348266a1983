"""What happened on the way in: counted, skipped, missing, and how it was sorted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Report"]


@dataclass(frozen=True, slots=True)
class Report:
    """The account of one opening.

    Attributes:
        found: blobs that were looked at.
        used: instances that are in the series.
        skipped: what is no image, counted by reason.
        skipped_names: the names of the skipped ones, by reason, the first 100 of each.
        missing: what is missing, doubled or damaged (with ``on_incomplete="warn"``).
        criterion: what the series was sorted by, as ``input_order`` would name it.
        reason: why.
        notes: what a careful reader should know (uneven spacing, made-up positions …).
    """

    found: int = 0
    used: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    skipped_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    missing: tuple[str, ...] = ()
    criterion: str = ""
    reason: str = ""
    notes: tuple[str, ...] = ()
