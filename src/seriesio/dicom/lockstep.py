"""Walk many headers at once, in lockstep with one that was walked alone.

The files of a series have nearly the same sequence of elements: what differs between them is
the length of a few values. So the element headers of all files are fetched, a run of them at a
time, from where the template has them, and compared with the template's. Where lengths differ
and nothing else, what follows moves by the difference, each file by its own. Any other
difference, and the file is left to the plain walk: a match is exactly what that would find.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from .part10 import UNDEFINED, Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .part10 import Tokens

__all__ = ["ALIGNMENT", "PADDING", "Matches", "match"]

ALIGNMENT: Final = 2  # of the bases
PADDING: Final = 16  # bytes of the arena behind the last file
_RUN = 10  # about as far as it is to the next value whose length varies
_LONGEST_RUN = 256


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """The files that agree with the template, and where their top-level elements are."""

    rows: NDArray[np.intp]  # (M,) indices of the files
    starts: NDArray[np.int64]  # (M, E) where each element begins in the arena
    offsets: NDArray[np.int64]  # (M, E) where its value begins
    lengths: NDArray[np.int64]  # (M, E) as in RawHeader

    def take(self, chosen: NDArray[np.bool_]) -> Matches:
        return Matches(
            self.rows[chosen], self.starts[chosen], self.offsets[chosen], self.lengths[chosen]
        )


def match(
    arena: NDArray[np.uint8],
    bases: NDArray[np.int64],
    ends: NDArray[np.int64],
    template: Tokens,
    header: NDArray[np.uint8],
) -> Matches:
    """Compare the files in ``arena[bases[k]:ends[k]]`` with the template's ``header``.

    All files have little endian headers, as the template has, whose last token is the pixel
    element. Bases are even, and the arena is longer than its files by ``PADDING``. Values are
    not compared.
    """
    lockstep = _Lockstep(arena, bases, ends, template, header)
    rows, lengths = lockstep.run()
    return _elements(template, rows, bases[rows], lengths)


class _Lockstep:
    def __init__(
        self,
        arena: NDArray[np.uint8],
        bases: NDArray[np.int64],
        ends: NDArray[np.int64],
        template: Tokens,
        header: NDArray[np.uint8],
    ) -> None:
        self.template = template
        self.ends = ends
        # Nearly always all elements begin at even bytes; those of broken writers cost more.
        self.arena = _Words(arena, not (template.starts & 1).any())
        self.words = _template_words(template, header)
        self.sizes = np.where(template.kinds == Kind.LONG, 12, 8)
        self.live = np.arange(len(bases))
        self.shifts = bases.copy()  # from the template's positions to each live row's
        self.lengths = np.repeat(template.lengths[None, :], len(bases), axis=0)

    def run(self) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """The rows that match, and the lengths of all their tokens."""
        token, run, count = 0, _RUN, len(self.template.starts)
        while token < count and self.live.size:
            stop = min(token + run, count)
            reached = self._compare(token, stop)
            run = min(2 * run, _LONGEST_RUN) if reached == stop else _RUN
            token = reached
        # Positions only grow: when the last header lies inside its file, all of them do.
        last = self.template.starts[-1:] + self.shifts + self.sizes[-1:]
        inside = last <= self.ends[self.live] + self._last_growth()
        rows = self.live[inside]
        return rows, self.lengths[rows]

    def _last_growth(self) -> NDArray[np.int64]:
        """The last value is not walked over: what it has moved is nothing."""
        growth: NDArray[np.int64] = self.lengths[self.live, -1] - self.template.lengths[-1]
        return growth

    def _compare(self, token: int, stop: int) -> int:
        """Compare a run of tokens, up to the first whose length varies; where to go on."""
        agree, lengths = self._look(token, stop)
        differ = lengths != self.template.lengths[token:stop]
        width = stop - token
        strange = _first(~agree, width)
        varies = _first(differ, width)
        # What lies behind a row's first other length is not yet where it belongs.
        dead = (strange <= varies) & (strange < width)
        cut = int(varies[~dead].min(initial=width))
        if cut == width:
            self._keep(~dead)
            return stop
        dead |= self._move(token + cut, lengths[:, cut])
        self._keep(~dead)
        return token + cut + 1

    def _look(self, token: int, stop: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """For live rows and a run of tokens: do tag and VR agree, and which length is there?"""
        kinds, words = self.template.kinds[token:stop], self.words[:, token:stop]
        fetch = self.arena.fetch
        index = self.arena.index(self.template.starts[token:stop] + self.shifts[:, None])
        third, fourth = fetch(index, 2), fetch(index, 3)
        agree = (fetch(index, 0) == words[0]) & (fetch(index, 1) == words[1])
        bare, long = kinds == Kind.BARE, np.flatnonzero(kinds == Kind.LONG)
        agree &= (third == words[2]) | bare
        lengths = fourth.astype(np.int64)
        if bare.any():
            lengths = np.where(bare, lengths << 16 | third, lengths)
        if long.size:
            agree[:, long] &= fourth[:, long] == words[3, long]
            index = index[:, long]
            lengths[:, long] = fetch(index, 5).astype(np.int64) << 16 | fetch(index, 4)
        return agree, lengths

    def _move(self, token: int, lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Move what follows a token by its other length; which live rows cannot be moved?"""
        growth = lengths - self.template.lengths[token]
        end = self.template.starts[token] + self.shifts + self.sizes[token] + lengths
        wrong: NDArray[np.bool_] = lengths == UNDEFINED
        if token + 1 < len(self.template.starts):
            wrong |= end > self.ends[self.live]
            if self.arena.even:
                wrong |= (growth & 1).astype(bool)
        wrong |= self.template.fixed[token]
        wrong &= growth != 0
        self.lengths[self.live, token] = lengths
        self.shifts = self.shifts + growth
        return wrong

    def _keep(self, kept: NDArray[np.bool_]) -> None:
        if not kept.all():
            self.live, self.shifts = self.live[kept], self.shifts[kept]


def _first(flags: NDArray[np.bool_], width: int) -> NDArray[np.intp]:
    """(n,) the first True of each row, ``width`` where there is none."""
    return np.where(flags.any(axis=1), flags.argmax(axis=1), width)


class _Words:
    """16-bit words of the arena, at even places or at all of them."""

    def __init__(self, arena: NDArray[np.uint8], even: bool) -> None:
        self.even = even
        self.words: NDArray[np.uint16] = (
            arena[: arena.size & ~1].view("<u2")
            if even
            else np.ndarray((arena.size - 1,), "<u2", arena, strides=(1,))
        )

    def index(self, where: NDArray[np.int64]) -> NDArray[np.int64]:
        return where >> 1 if self.even else where

    def fetch(self, index: NDArray[np.int64], word: int) -> NDArray[np.uint16]:
        """The words so many behind an index."""
        if self.even:
            return self.words.take(index + word, mode="clip")
        return self.words[np.minimum(index + 2 * word, len(self.words) - 1)]


def _template_words(template: Tokens, header: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """(4, T) the first eight bytes of each of the template's element headers."""
    places = template.starts + np.arange(0, 8, 2)[:, None]
    words: NDArray[np.uint16] = header[places] | header[places + 1].astype(np.uint16) << 8
    return words


def _elements(
    template: Tokens,
    rows: NDArray[np.intp],
    bases: NDArray[np.int64],
    lengths: NDArray[np.int64],
) -> Matches:
    """From the lengths of all tokens to the places of the top-level elements."""
    starts = template.starts + bases[:, None]
    growth = lengths - template.lengths
    varies = np.flatnonzero(growth.any(axis=0))
    if varies.size:
        first = int(varies[0])
        starts[:, first + 1 :] += np.cumsum(growth[:, first:-1], axis=1)
    top = template.top
    nested = len(top) != len(template.starts)
    tops = starts[:, top] if nested else starts
    sizes = lengths[:, top] if nested else lengths
    offsets = tops + np.where(template.kinds[top] == Kind.LONG, 12, 8)
    for place in np.flatnonzero(template.lengths[top] == UNDEFINED).tolist():
        after = int(template.after[place])
        # Only the pixel element, the last one, has none that follows.
        value = -1 if after == starts.shape[1] else starts[:, after] - offsets[:, place]
        sizes[:, place] = value
    return Matches(rows, tops, offsets, sizes)
