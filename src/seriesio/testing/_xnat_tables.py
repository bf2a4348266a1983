"""Listings: tables of text, as JSON, CSV, XML or HTML."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from html import escape
from io import StringIO
from typing import Final, TypeAlias
from zlib import crc32

from ._xnat_http import Answer, Request

__all__ = ["Row", "Table", "select", "table_answer"]

Row: TypeAlias = "dict[str, str]"

_TYPES: Final = {
    "csv": "text/csv",
    "xml": "text/xml",
    "html": "text/html",
    "json": "application/json",
}
_ACCEPTED: Final = {value: key for key, value in _TYPES.items()}


@dataclass(frozen=True, slots=True)
class Table:
    """A listing: ``counted`` ones say ``totalRecords``; those of files say ``title``."""

    columns: Sequence[str]
    rows: Sequence[Mapping[str, str]]
    counted: bool = True
    title: str = ""


def select(
    rows: Iterable[Mapping[str, str]],
    default: Sequence[str],
    request: Request,
    *,
    always: Sequence[str] = (),
    paged: bool = False,
) -> Table:
    """The rows and columns that a query asks for, in no order that could be relied on.

    ``rows`` hold all columns that there are. Any of them as a parameter filters: a comma is OR,
    "*" and "%" stand for any text. ``limit`` and ``offset`` are known to ``paged`` listings.
    """
    found = [row for row in rows if _matches(row, request.query)]
    found.sort(key=lambda row: crc32(row.get("ID", row.get("URI", "")).encode()))
    known = set(found[0]) if found else set()
    asked = request.query.get("columns", "DEFAULT").split(",")
    names = [name for one in asked for name in (default if one == "DEFAULT" else (one,))]
    columns = [name for name in dict.fromkeys((*names, *always)) if not found or name in known]
    if not (paged and {"limit", "offset"} & set(request.query)):
        return Table(columns, found)
    return Table(columns, _page(found, request.query), counted=False)


def _matches(row: Mapping[str, str], query: Mapping[str, str]) -> bool:
    wanted = [(row[name], text) for name, text in query.items() if name in row]
    return all(any(_like(value, one) for one in text.split(",")) for value, text in wanted)


def _like(value: str, pattern: str) -> bool:
    plain = pattern.replace("[", "[[]").replace("?", "[?]")
    return fnmatchcase(value.lower(), plain.replace("%", "*").lower())


def _page(
    rows: Sequence[Mapping[str, str]], query: Mapping[str, str]
) -> Sequence[Mapping[str, str]]:
    limit, offset = query.get("limit", "100"), query.get("offset", "0")
    start = int(offset) if offset.isdecimal() else 0
    return rows[start : start + int(limit)] if limit.isdecimal() else rows[start:]


# --- formats ------------------------------------------------------------------------------------


def table_answer(table: Table, request: Request) -> Answer:
    """The table in the format that was asked for; JSON if none was."""
    accepted = _ACCEPTED.get(request.headers.get("accept", "").partition(",")[0], "json")
    kind = request.format if request.format in _TYPES else accepted
    write = {"csv": _csv, "xml": _xml, "html": _html, "json": _json}[kind]
    return Answer(body=[write(table).encode()], content_type=f"{_TYPES[kind]};charset=UTF-8")


def _cells(table: Table) -> list[list[str]]:
    return [[row.get(name, "") for name in table.columns] for row in table.rows]


def _json(table: Table) -> str:
    rows = [dict(zip(table.columns, cells, strict=True)) for cells in _cells(table)]
    result: dict[str, object] = {"Result": rows}
    if table.title:
        result = {"Columns": [{"key": name} for name in table.columns], **result}
        result["title"] = table.title
    elif table.counted:
        result["totalRecords"] = str(len(rows))
    return json.dumps({"ResultSet": result})


def _csv(table: Table) -> str:
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(table.columns)
    csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(_cells(table))
    return stream.getvalue()


def _xml(table: Table) -> str:
    names = "".join(f"<column>{escape(name)}</column>" for name in table.columns)
    rows = "".join(
        f"<row>{''.join(f'<cell>{escape(cell)}</cell>' for cell in cells)}</row>"
        for cells in _cells(table)
    )
    total = f' totalRecords="{len(table.rows)}"' if table.counted else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<ResultSet{total}><results>'
        f"<columns>{names}</columns><rows>{rows}</rows></results></ResultSet>"
    )


def _html(table: Table) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in table.columns)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
        for cells in _cells(table)
    )
    return f"<html><body><table><tr>{head}</tr>{rows}</table></body></html>"
