"""What a row of the table is: the work, who does it, and what must be reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .data import Corpus
from .measure import Contender, Scratch

__all__ = ["OURS", "Limit", "Row", "Stage"]

OURS = "seriesio"


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the rows play: the data, a place for what they write, the number of threads."""

    corpus: Corpus
    scratch: Scratch
    threads: int


@dataclass(frozen=True, slots=True)
class Limit:
    """Our figure may be at most ``factor`` times the peer's; an aim need not be reached."""

    peer: str
    factor: float
    text: str
    figure: str = "time"
    aim: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of work. ``plain``: measured without the packages of the extra ``fast``."""

    name: str
    title: str
    contenders: Callable[[Stage], Sequence[Contender]]
    limits: tuple[Limit, ...]
    plain: bool = False
