"""Results as objects that show themselves: text, HTML and widget in one output.

Knows:   every result has `.df`, a text for terminals and a table for saved notebooks.
Refuses: to ask a host; and to trust what it shows: everything is escaped.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dockerlab.commands.formats import fill
from dockerlab.commands.results import (
    Built,
    Documents,
    Done,
    ImageLayers,
    Kind,
    Logs,
    Ran,
    Result,
    Table,
)
from dockerlab.commands.tables import aligned, cells, plain, printable
from dockerlab.commands.words import brief, short_id
from dockerlab.notebook import style
from dockerlab.notebook.style import Look
from dockerlab.wire.times import log_stamp

if TYPE_CHECKING:
    import pandas as pd


class View:
    """A result and its faces; front ends take the richest one they can show."""

    def __init__(self, result: Any) -> None:
        self.result = result

    @property
    def df(self) -> pd.DataFrame:
        """The result as a frame with typed columns."""
        from dockerlab.notebook.frames import frame  # noqa: PLC0415 - pandas, at first use

        return frame(self.result)

    def text(self) -> str:
        return repr(self.result)

    def html(self) -> str:
        return ""

    def widget(self) -> Any:
        """A live widget for this result; None where there is none to show."""
        return None

    def __repr__(self) -> str:
        return self.text()

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data: dict[str, Any] = {"text/plain": self.text()}
        if shown := self.html():
            data["text/html"] = style.page(shown)
        widget = self.widget()
        if widget is None:
            return data, {}
        bundle = widget._repr_mimebundle_()
        view, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        kind = "application/vnd.jupyter.widget-view+json"
        if view and kind in view:
            data[kind] = view[kind]
        return data, dict(metadata or {})


class TableView(View):
    """`ps`, `images`, `history`, ...: a table, and its frame."""

    result: Table

    def __len__(self) -> int:
        return len(self.result.rows)

    def text(self) -> str:
        return "" if self.result.shown_already else plain(self.result)

    def html(self) -> str:
        table = self.result
        if table.shown_already or table.only_quiet or table.template:
            return ""
        titles, rows = cells(table)
        if not rows:
            return f'<span class="dim">no {html.escape(table.noun)}</span>'
        return style.table(titles, rows, looks(table))


class DocumentsView(View):
    """`inspect`, `info`, `version`: documents one can look into."""

    result: Documents

    @property
    def documents(self) -> tuple[Mapping[str, Any], ...]:
        return self.result.documents

    def __getitem__(self, key: str | int) -> Any:
        """`view["State"]` looks into the first document, `view[1]` is the second one."""
        return self.documents[key] if isinstance(key, int) else self.documents[0][key]

    def text(self) -> str:
        result = self.result
        if result.template:
            return "\n".join(fill(result.template, document) for document in result.documents)
        return result.text or json.dumps(list(result.documents), indent=4, ensure_ascii=False)

    def html(self) -> str:
        result = self.result
        if result.template:
            return ""
        if result.text:
            return f"<pre>{html.escape(result.text)}</pre>"
        return "".join(
            f"<details open><summary><b>{html.escape(name)}</b></summary>"
            f"{_tree(document)}</details>"
            for name, document in zip(result.names, result.documents, strict=False)
        )


class LogsView(View):
    """`logs`: lines, with their streams and times in the frame."""

    result: Logs

    def text(self) -> str:
        if self.result.streamed:
            return ""
        return "\n".join(self._line(line.time_ns, line.text) for line in self.result.lines)

    def html(self) -> str:
        if self.result.streamed:
            return ""
        lines = [
            f'<span class="err">{html.escape(shown)}</span>'
            if line.stream == "stderr"
            else html.escape(shown)
            for line in self.result.lines
            for shown in (self._line(line.time_ns, line.text),)
        ]
        return f"<pre>{chr(10).join(lines)}</pre>" if lines else '<span class="dim">no lines</span>'

    def _line(self, time_ns: int, text: str) -> str:
        # Tabs and colours would survive escaping; a table of lines is no terminal.
        shown = "".join(letter if letter == "\t" else printable(letter) for letter in text)
        return f"{log_stamp(time_ns)} {shown}" if self.result.timestamps else shown


class RanView(View):
    """A program that ended; its output stands above."""

    result: Ran

    @property
    def exit_code(self) -> int:
        return self.result.exit_code

    @property
    def stdout(self) -> str:
        return self.result.stdout.decode("utf-8", "replace")

    @property
    def stderr(self) -> str:
        return self.result.stderr.decode("utf-8", "replace")

    def text(self) -> str:
        return f"exit status {self.result.exit_code} after {brief(self.result.duration_ns)}"

    def html(self) -> str:
        kind = "dim" if self.result.exit_code == 0 else "err"
        return f'<span class="{kind}">{html.escape(self.text())}</span>'


class DoneView(View):
    """What was done, to what: docker prints the names."""

    result: Done

    @property
    def names(self) -> tuple[str, ...]:
        return self.result.names

    def text(self) -> str:
        names = [short_id(name) if self.result.identifiers else name for name in self.result.names]
        lines = [printable(name) for name in names]
        if self.result.note and self.result.action.endswith("prune"):
            lines.append(self.result.note)
        return "\n".join(lines)

    def __str__(self) -> str:
        """The first name, whole: `%docker logs {c}` after `c = %docker run -d ...`."""
        return self.result.names[0] if self.result.names else ""


class BuiltView(View):
    """An image that was built, step by step."""

    result: Built

    def text(self) -> str:
        return f"{self._title()}\n{aligned([['STEP', '', 'TIME', 'INSTRUCTION'], *self._rows()])}"

    def html(self) -> str:
        looks = (Look.NUMBER, Look.TEXT, Look.NUMBER, Look.CODE)
        table = style.table(["STEP", "", "TIME", "INSTRUCTION"], self._rows(), looks)
        return f"<div>{html.escape(self._title())}</div>{table}"

    def _title(self) -> str:
        names = ", ".join(self.result.names) or "image"
        return f"{names} is {short_id(self.result.image)}, in {brief(self.result.duration_ns)}"

    def _rows(self) -> list[list[str]]:
        return [
            [
                f"{step.number}/{step.total}",
                "cached" if step.cached else "",
                "" if step.cached else brief(step.duration_ns),
                printable(step.instruction),
            ]
            for step in self.result.steps
        ]


def looks(table: Table) -> list[Look]:
    """How each shown column of a table looks: numbers to the right, ids and commands as code."""
    return [
        _TITLES.get(column.title) or _LOOKS.get(column.kind, Look.TEXT)
        for column in table.columns
        if column.title
    ]


_LOOKS = {
    Kind.ID: Look.ID,
    Kind.TIME: Look.SHORT,
    **dict.fromkeys((Kind.BYTES, Kind.COUNT, Kind.PERCENT, Kind.DURATION), Look.NUMBER),
}
_TITLES = {
    "COMMAND": Look.ID,
    **dict.fromkeys(("CREATED BY", "INSTRUCTION"), Look.CODE),
    **dict.fromkeys(("MEM USAGE / LIMIT", "NET I/O", "BLOCK I/O"), Look.NUMBER),
}


def view(result: Result, *, widgets: bool = False) -> View:
    """The object that shows a result."""
    if isinstance(result, ImageLayers):
        from dockerlab.notebook.layers import LayersView  # noqa: PLC0415 - it builds on View

        return LayersView(result, widgets=widgets)
    return _VIEWS[type(result)](result)


_VIEWS: dict[type, Callable[[Any], View]] = {
    Table: TableView,
    Documents: DocumentsView,
    Logs: LogsView,
    Ran: RanView,
    Done: DoneView,
    Built: BuiltView,
}


def _tree(value: Any) -> str:
    """A document as nested folds: readable without a script."""
    if isinstance(value, Mapping):
        return "".join(_branch(str(key), item) for key, item in value.items())
    if isinstance(value, list):
        return "".join(_branch(str(place), item) for place, item in enumerate(value))
    return f"<code>{html.escape(json.dumps(value, ensure_ascii=False))}</code>"


def _branch(key: str, value: Any) -> str:
    if isinstance(value, Mapping | list) and value:
        count = f'<span class="dim"> ({len(value)})</span>'
        return f"<details><summary>{html.escape(key)}{count}</summary>{_tree(value)}</details>"
    return f'<div style="margin-left:1em">{html.escape(key)}: {_tree_leaf(value)}</div>'


def _tree_leaf(value: Any) -> str:
    return f"<code>{html.escape(json.dumps(value, ensure_ascii=False))}</code>"
