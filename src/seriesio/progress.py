"""How far long work has come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Progress", "ProgressCallback"]


@dataclass(frozen=True, slots=True)
class Progress:
    """A moment of long work: ``done`` of ``total`` units (None: not known yet), and bytes."""

    done: int
    total: int | None
    unit: str = "instances"
    bytes: int = 0


ProgressCallback = Callable[[Progress], object]
