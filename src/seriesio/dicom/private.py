"""Private elements of many instances, each in the block that its creator has reserved.

A creator says in (gggg,0010-00FF) which block of a group is his (PS3.5 section 7.8.1); the same
element may stand in another block of another instance. Nothing is read whose creator is not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .table import Column, column_of, decode_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .table import HeaderTable

__all__ = ["private_column", "private_sample"]

_UNTOLD = frozenset({"", "UN"})


def private_column(
    table: HeaderTable, group: int, creator: str, element: int, vr: str
) -> tuple[Column, str] | None:
    """One private element of all instances, and its VR; None where no instance has it.

    Args:
        table: the instances.
        group: the (odd) group; ``element`` the last two digits, as 0x0C of (0019,xx0C).
        creator: what the Private Creator has to say.
        vr: of the element, where the files do not tell.
    """
    found: Column | None = None
    kind = vr
    for block in _blocks(table, group):
        tag = group << 16 | block << 8 | element
        if not _there(table, tag):
            continue
        own = _owned(table, group, block, creator)
        if not own.any():
            continue
        kind = _told(table, tag) or vr
        found = _laid_over(table.column_at(tag, kind), own, found)
    return None if found is None or not any(found.values) else (found, kind)


def private_sample(table: HeaderTable, group: int, creator: str, element: int) -> bytes | None:
    """One instance's value of a private element; None where none has it.

    That of the first by SOPInstanceUID, in whichever order they came; others are not looked at.
    """
    for block in _blocks(table, group):
        tag = group << 16 | block << 8 | element
        if not _there(table, tag):
            continue
        rows = np.flatnonzero(_owned(table, group, block, creator)).tolist()
        uids = table.column("SOPInstanceUID")
        for row in sorted(rows, key=lambda row: uids.values[uids.codes[row]] or b""):
            if value := table.header(row).raw(tag):
                return bytes(value)
    return None


def _blocks(table: HeaderTable, group: int) -> list[int]:
    """The blocks of a group that any instance has reserved."""
    low, high = group << 16 | 0x10, group << 16 | 0xFF
    layouts = {table.groups[g].layout for g in table.used}
    return sorted({tag & 0xFF for layout in layouts for tag in layout.tags if low <= tag <= high})


def _owned(table: HeaderTable, group: int, block: int, creator: str) -> NDArray[np.bool_]:
    """(n,) True for instances where the creator has reserved the block."""
    creators = table.column_at(group << 16 | block, "LO")
    own = np.array([decode_text(value) == creator for value in creators.values], bool)
    return own[creators.codes]


def _there(table: HeaderTable, tag: int) -> bool:
    return any(tag in table.groups[g].layout.lookup for g in table.used)


def _told(table: HeaderTable, tag: int) -> str:
    """The VR that the files give an element, if it is one; "" for none."""
    layouts = (table.groups[g].layout for g in table.used)
    kinds = {lay.vrs[lay.lookup[tag]] for lay in layouts if tag in lay.lookup} - _UNTOLD
    return kinds.pop() if len(kinds) == 1 else ""


def _laid_over(column: Column, own: NDArray[np.bool_], below: Column | None) -> Column:
    """A column where it is the creator's own; what was found before elsewhere."""
    if own.all():
        return column
    others = [None] * len(own) if below is None else below.expand()
    pairs = zip(column.expand(), others, own.tolist(), strict=True)
    return column_of([value if mine else other for value, other, mine in pairs])
