"""Walk many headers at once, in lockstep with one that was walked alone.

The files of a series have nearly the same sequence of elements: what differs between them is
the length of a few values. So the element headers of all files are fetched, a run of them at a
time, from where the template has them, and compared with the template's. Where lengths differ
and nothing else, what follows moves by the difference, each file by its own. Any other
difference, and the file is left to the plain walk: a match is exactly what that would find.

Which lengths vary is learnt from the first files. Of all others these lengths alone are fetched
one after the other; with them the places of all element headers are known, and are compared at
once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from ..memory import fresh
from ..native import lockstep
from .raw import UNDEFINED, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from .raw import Tokens

__all__ = ["ALIGNMENT", "PADDING", "Matches", "Pattern"]

ALIGNMENT: Final = 2  # of the bases
PADDING: Final = 16  # bytes of the arena behind the last file
_RUN = 10  # about as far as it is to the next value whose length varies
_LONGEST_RUN = 256
_SAMPLE = 16  # files that tell which lengths vary
_LESSONS = 4  # how often others may tell that


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """The files that agree with the template, and where their top-level elements are."""

    rows: NDArray[np.intp]  # (M,) indices of the files
    starts: NDArray[np.int64]  # (M, E) where each element begins in its file
    offsets: NDArray[np.int64]  # (M, E) where its value begins
    lengths: NDArray[np.int64]  # (M, E) as in RawHeader

    def take(self, chosen: NDArray[np.bool_]) -> Matches:
        return Matches(
            self.rows[chosen], self.starts[chosen], self.offsets[chosen], self.lengths[chosen]
        )


class Pattern:
    """The elements of one header, against which others are held; for one thread at a time.

    All headers are little endian ones, and the last token is the pixel element.
    """

    def __init__(self, tokens: Tokens, header: memoryview) -> None:
        self.tokens = tokens
        self.words = _first_words(tokens, np.frombuffer(header, np.uint8))
        self.sizes = np.where(tokens.kinds == Kind.LONG, 12, 8)
        # Nearly always all elements begin at even bytes; those of broken writers cost more.
        self.even = not (tokens.starts & 1).any()
        self._varying: set[int] | None = None  # tokens; None: nothing is learnt yet

    def match(
        self, arena: NDArray[np.uint8], bases: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> Matches:
        """Compare the files in ``arena[bases[k]:ends[k]]`` with the template's header.

        Bases are even, and the arena is longer than its files by ``PADDING``. Values are not
        compared.
        """
        compared = self._compared(arena, bases, ends)
        if compared is not None:
            return compared
        heads = _Heads(_Words(arena, self.even), bases, ends)
        left = np.arange(len(bases))
        found = []
        if self._varying is None:
            step = max(len(bases) // _SAMPLE, 1)
            found.append(self._walked(heads, left[::step]))
            left = np.delete(left, np.s_[::step])
        for _ in range(_LESSONS):
            if not left.size:
                break
            foreseen = _Foreseen(self, heads.take(left))
            good = foreseen.agree()
            found.append((left[good], foreseen.lengths[good]))
            left = left[~good]
            if not foreseen.lessons:
                break
            self._learn(foreseen.lessons)
        if left.size:
            found.append(self._walked(heads, left))
        rows = np.concatenate([rows for rows, _ in found])
        lengths = np.concatenate([lengths for _, lengths in found])
        order = np.argsort(rows)
        return _elements(self.tokens, rows[order], lengths[order])

    def _compared(
        self, arena: NDArray[np.uint8], bases: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> Matches | None:
        """The same with compiled code; None where vectors have to do it."""
        tokens = self.tokens
        good = np.zeros(len(bases), bool)
        shape = 3, len(bases), len(tokens.top)
        found = fresh(8 * math.prod(shape)).view(np.int64).reshape(shape)
        tables = (bases, ends, tokens.starts, tokens.lengths, tokens.kinds, tokens.fixed)
        columns = [*tables, self.words.T, tokens.top, tokens.after]
        columns = [np.ascontiguousarray(column) for column in columns]
        if not lockstep(arena, *columns, self.even, good, *found):
            return None
        matches = Matches(np.arange(len(bases)), *found)
        return matches if good.all() else matches.take(good)

    @property
    def varying(self) -> list[int]:
        """Tokens whose lengths were seen to vary."""
        return sorted(self._varying or ())

    def _walked(self, heads: _Heads, rows: NDArray[np.intp]) -> _Found:
        """The rows that match, walked in lockstep; learns from them."""
        good, lengths = _Lockstep(self, heads.take(rows)).run()
        self._learn(np.flatnonzero((lengths != self.tokens.lengths).any(axis=0)).tolist())
        return rows[good], lengths

    def _learn(self, varying: Iterable[int]) -> None:
        self._varying = (self._varying or set()).union(varying)

    def look(
        self, words: _Words, places: NDArray[np.int64], token: int
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """For (n, t) places of the tokens from ``token`` on: do tag and VR agree, which length?"""
        stop = token + places.shape[1]
        kinds, own = self.tokens.kinds[token:stop], self.words[:, token:stop]
        index, fetch = words.index(places), words.fetch
        third, fourth = fetch(index, 2), fetch(index, 3)
        agree = (fetch(index, 0) == own[0]) & (fetch(index, 1) == own[1])
        bare, long = kinds == Kind.BARE, np.flatnonzero(kinds == Kind.LONG)
        agree &= (third == own[2]) | bare
        lengths = fourth.astype(np.int64)
        if bare.any():
            lengths = np.where(bare, lengths << 16 | third, lengths)
        if long.size:
            agree[:, long] &= fourth[:, long] == own[3, long]
            index = index[:, long]
            lengths[:, long] = fetch(index, 5).astype(np.int64) << 16 | fetch(index, 4)
        return agree, lengths

    def length(self, words: _Words, places: NDArray[np.int64], token: int) -> NDArray[np.int64]:
        """(n,) the lengths that stand where a token is."""
        kind, index = self.tokens.kinds[token], words.index(places)
        if kind == Kind.SHORT:
            return words.fetch(index, 3).astype(np.int64)
        low = 4 if kind == Kind.LONG else 2
        high: NDArray[np.int64] = words.fetch(index, low + 1).astype(np.int64) << 16
        return high | words.fetch(index, low)


_Found: TypeAlias = "tuple[NDArray[np.intp], NDArray[np.int64]]"  # rows, the lengths of all tokens


@dataclass(frozen=True, slots=True, eq=False)
class _Heads:
    """Files in an arena."""

    words: _Words
    bases: NDArray[np.int64]
    ends: NDArray[np.int64]

    def take(self, rows: NDArray[np.intp]) -> _Heads:
        return _Heads(self.words, self.bases[rows], self.ends[rows])


class _Foreseen:
    """Files whose lengths differ from the template's where lengths are known to vary, only.

    Attributes:
        lengths: (n, T) of all tokens, as far as a file is such a one.
        lessons: tokens whose lengths vary, too; never fixed ones: such a file cannot match.
    """

    def __init__(self, pattern: Pattern, heads: _Heads) -> None:
        self.pattern = pattern
        self.heads = heads
        self.lengths = np.repeat(pattern.tokens.lengths[None, :], len(heads.bases), axis=0)
        self.lessons: set[int] = set()

    def agree(self) -> NDArray[np.bool_]:
        """(n,) which files are such ones."""
        possible = self._measured()
        good = np.ones(len(possible), bool)
        starts = _starts(self.pattern.tokens, self.heads.bases, self.lengths)
        for token in range(0, starts.shape[1], _LONGEST_RUN):
            run = slice(token, token + _LONGEST_RUN)
            agree, lengths = self.pattern.look(self.heads.words, starts[:, run], token)
            same = agree & (lengths == self.lengths[:, run])
            here = same.all(axis=1)
            ends = good & ~here
            first = same[ends].argmin(axis=1)  # up to there all places are right
            others = first[agree[ends, first]] + token
            self.lessons.update(others[~self.pattern.tokens.fixed[others]].tolist())
            good &= here
        last = starts[:, -1] + self.pattern.sizes[-1]
        # Positions only grow: when the last header lies inside its file, all of them do.
        good &= possible & (last <= self.heads.ends)
        return good

    def _measured(self) -> NDArray[np.bool_]:
        """Fetch the lengths that vary; which rows may have theirs?"""
        tokens, words = self.pattern.tokens, self.heads.words
        good = np.ones(len(self.lengths), bool)
        shifts = self.heads.bases.copy()
        for token in self.pattern.varying:
            lengths = self.pattern.length(words, tokens.starts[token] + shifts, token)
            growth = lengths - tokens.lengths[token]
            good &= ~_impossible(self.pattern, token, lengths, growth)
            self.lengths[:, token] = lengths
            shifts += growth
        return good


class _Lockstep:
    def __init__(self, pattern: Pattern, heads: _Heads) -> None:
        self.pattern = pattern
        self.template = pattern.tokens
        self.words = heads.words
        self.ends = heads.ends
        self.live = np.arange(len(heads.bases))
        self.shifts = heads.bases.copy()  # from the template's positions to each live row's
        self.lengths = np.repeat(self.template.lengths[None, :], len(heads.bases), axis=0)

    def run(self) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """The rows that match, and the lengths of all their tokens."""
        token, run, count = 0, _RUN, len(self.template.starts)
        while token < count and self.live.size:
            stop = min(token + run, count)
            reached = self._compare(token, stop)
            run = min(2 * run, _LONGEST_RUN) if reached == stop else _RUN
            token = reached
        # Positions only grow: when the last header lies inside its file, all of them do.
        last = self.template.starts[-1:] + self.shifts + self.pattern.sizes[-1:]
        inside = last <= self.ends[self.live] + self._last_growth()
        rows = self.live[inside]
        return rows, self.lengths[rows]

    def _last_growth(self) -> NDArray[np.int64]:
        """The last value is not walked over: what it has moved is nothing."""
        growth: NDArray[np.int64] = self.lengths[self.live, -1] - self.template.lengths[-1]
        return growth

    def _compare(self, token: int, stop: int) -> int:
        """Compare a run of tokens, up to the first whose length varies; where to go on."""
        places = self.template.starts[token:stop] + self.shifts[:, None]
        agree, lengths = self.pattern.look(self.words, places, token)
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

    def _move(self, token: int, lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Move what follows a token by its other length; which live rows cannot be moved?"""
        growth = lengths - self.template.lengths[token]
        wrong = _impossible(self.pattern, token, lengths, growth)
        if token + 1 < len(self.template.starts):
            header = self.template.starts[token] + self.shifts + self.pattern.sizes[token]
            wrong |= (header + lengths > self.ends[self.live]) & (growth != 0)
        self.lengths[self.live, token] = lengths
        self.shifts = self.shifts + growth
        return wrong

    def _keep(self, kept: NDArray[np.bool_]) -> None:
        if not kept.all():
            self.live, self.shifts = self.live[kept], self.shifts[kept]


def _impossible(
    pattern: Pattern, token: int, lengths: NDArray[np.int64], growth: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Rows whose other length would have changed how the walk went on."""
    wrong: NDArray[np.bool_] = growth != 0
    if not pattern.tokens.fixed[token]:
        wrong &= lengths == UNDEFINED
    if pattern.even and token + 1 < len(pattern.tokens.starts):
        wrong |= (growth & 1).astype(bool)
    return wrong


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


def _first_words(tokens: Tokens, header: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """(4, T) the first eight bytes of each of a header's element headers."""
    places = tokens.starts + np.arange(0, 8, 2)[:, None]
    words: NDArray[np.uint16] = header[places] | header[places + 1].astype(np.uint16) << 8
    return words


def _starts(
    template: Tokens, bases: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[np.int64]:
    """(n, T) where each token begins, from the lengths of all of them."""
    starts: NDArray[np.int64] = template.starts + bases[:, None]
    growth = lengths - template.lengths
    varies = np.flatnonzero(growth.any(axis=0))
    if varies.size:
        first = int(varies[0])
        starts[:, first + 1 :] += np.cumsum(growth[:, first:-1], axis=1)
    return starts


def _elements(template: Tokens, rows: NDArray[np.intp], lengths: NDArray[np.int64]) -> Matches:
    """From the lengths of all tokens to the places of the top-level elements."""
    starts = _starts(template, np.zeros(len(rows), np.int64), lengths)
    top = template.top
    tops, sizes = starts[:, top], lengths[:, top]
    offsets = tops + np.where(template.kinds[top] == Kind.LONG, 12, 8)
    for place in np.flatnonzero(template.lengths[top] == UNDEFINED).tolist():
        after = int(template.after[place])
        # Only the pixel element, the last one, has none that follows.
        value = -1 if after == starts.shape[1] else starts[:, after] - offsets[:, place]
        sizes[:, place] = value
    return Matches(rows, tops, offsets, sizes)
