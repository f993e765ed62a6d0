"""The look of tables and pictures in notebooks, with and without a kernel.

Knows:   JupyterLab's theme variables, each with a value for viewers that have none.
Refuses: scripts: a saved notebook is read where none runs.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_CSS = """
.dockerlab{font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:13px;
color:var(--jp-content-font-color1,inherit)}
.dockerlab table{border-collapse:collapse;margin:4px 0}
.dockerlab th{text-align:left;font-weight:600;border-bottom:1px solid var(--jp-border-color1,#bbb)}
.dockerlab td,.dockerlab th{padding:3px 12px 3px 4px;text-align:left;vertical-align:top}
.dockerlab td.number,.dockerlab th.number{text-align:right}
.dockerlab pre{margin:0;white-space:pre-wrap}
.dockerlab .err{color:var(--jp-error-color1,#c62828)}
.dockerlab .dim{color:var(--jp-content-font-color2,#666)}
.dockerlab details{margin-left:1em}
.dockerlab summary{cursor:pointer}
"""


def show(data: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> Any:
    """Put an output below the cell; the handle that comes back can change it."""
    from IPython.display import display  # noqa: PLC0415 - only while something is shown

    act: Callable[..., Any] = display
    return act(dict(data), metadata=dict(metadata or {}), raw=True, display_id=True)


def page(body: str) -> str:
    """A piece of HTML with our look around it."""
    return f'<style>{_CSS}</style><div class="dockerlab">{body}</div>'


def table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[bool] = ()
) -> str:
    """An HTML table; every cell is text, whatever is in it."""
    numbers = numbers or [False] * len(titles)
    head = "".join(
        f'<th scope="col"{_class(number)}>{html.escape(title)}</th>'
        for title, number in zip(titles, numbers, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{_class(number)}>{html.escape(text)}</td>"
            for text, number in zip(row, numbers, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _class(number: bool) -> str:
    return ' class="number"' if number else ""
