"""Tables as text: the cells as docker writes them, in columns.

Knows:   which look each kind of column has.
Refuses: colours, HTML and pandas; control characters of names never reach a terminal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from dockerlab.commands.formats import fill, heading
from dockerlab.commands.results import Cell, Column, Kind, Table
from dockerlab.commands.words import ago, brief, cut, short_id, size
from dockerlab.wire.times import log_stamp


def shown(column: Column, value: Cell, table: Table) -> str:
    """One cell as people read it."""
    match column.kind:
        case _ if value is None:
            text = ""
        case Kind.ID:
            text = str(value) if table.untruncated else short_id(str(value))
        case Kind.BYTES:
            text = size(float(value)) if isinstance(value, int | float) else ""
        case Kind.PERCENT:
            text = f"{value:.2f}%"
        case Kind.TIME:
            text = ago(int(str(value)), table.taken_ns) if value else "N/A"
        case Kind.DURATION:
            text = brief(int(str(value)))
        case Kind.LIST:
            text = ", ".join(value) if isinstance(value, tuple) else str(value)
        case _:
            text = str(value)
    text = printable(text)
    return text if table.untruncated else cut(text, column.width)


def cells(table: Table) -> tuple[list[str], list[list[str]]]:
    """The titles and the rows of what a table shows."""
    places = [place for place, column in enumerate(table.columns) if column.title]
    titles = [table.columns[place].title for place in places]
    return titles, [
        [shown(table.columns[place], row[place], table) for place in places] for row in table.rows
    ]


def plain(table: Table) -> str:
    """The table as docker prints it: -q, --format and all."""
    if table.only_quiet and table.quiet:
        place = [column.name for column in table.columns].index(table.quiet)
        quiet = [shown(table.columns[place], row[place], table) for row in table.rows]
        return "\n".join(dict.fromkeys(quiet))
    if table.template and table.template != "table":
        return _formatted(table)
    titles, rows = cells(table)
    return aligned([titles, *rows])


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows in columns, three blanks apart."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(
        "   ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def printable(text: str) -> str:
    """The text with control characters shown instead of obeyed."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def fields(table: Table, row: Sequence[Cell]) -> Mapping[str, str]:
    """One row under the names that --format knows."""
    found = {}
    for column, value in zip(table.columns, row, strict=True):
        if column.key:
            found[column.key] = shown(column, value, table)
        if column.kind is Kind.TIME and isinstance(value, int):
            found["CreatedAt"] = log_stamp(value)
    return found


def _formatted(table: Table) -> str:
    template = table.template
    if template == "json":
        return "\n".join(json.dumps(fields(table, row)) for row in table.rows)
    if template.startswith("table "):
        template = template.removeprefix("table ").strip()
        lines = [heading(template), *(fill(template, fields(table, row)) for row in table.rows)]
        return aligned([line.split("\t") for line in lines])
    return "\n".join(fill(template, fields(table, row)) for row in table.rows)
