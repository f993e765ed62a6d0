"""The look of tables and pictures in notebooks, with and without a kernel.

Knows:   JupyterLab's theme variables, each with a value for viewers that have none.
Refuses: scripts: a saved notebook is read where none runs.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

_CSS = """
.dockerlab{font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:13px;
color:var(--jp-content-font-color1,inherit)}
.dockerlab table{border-collapse:collapse;margin:4px 0}
.dockerlab th{font-weight:600;border-bottom:1px solid var(--jp-border-color1,#bbb)}
.dockerlab td,.dockerlab th{padding:3px 14px 3px 6px;vertical-align:top}
.dockerlab pre{margin:0;white-space:pre-wrap}
.dockerlab .err{color:var(--jp-error-color1,#c62828)}
.dockerlab .dim{color:var(--jp-content-font-color2,#666)}
.dockerlab details{margin-left:1em}
.dockerlab summary{cursor:pointer}
"""


class Look(StrEnum):
    """How a column looks.

    Inline styles: many viewers drop style sheets, and JupyterLab's puts every cell to the right.
    """

    TEXT = "text-align:left"
    SHORT = "text-align:left;white-space:nowrap"
    NUMBER = "text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums"
    CODE = "text-align:left;font-family:var(--jp-code-font-family,monospace);font-size:12px"
    ID = f"{CODE};white-space:nowrap"


def show(data: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> Any:
    """Put an output below the cell; the handle that comes back can change it."""
    from IPython.display import display  # noqa: PLC0415 - only while something is shown

    act: Callable[..., Any] = display
    return act(dict(data), metadata=dict(metadata or {}), raw=True, display_id=True)


def page(body: str) -> str:
    """A piece of HTML with our look around it."""
    return f'<style>{_CSS}</style><div class="dockerlab">{body}</div>'


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], looks: Sequence[Look]) -> str:
    """An HTML table; every cell is text, whatever is in it."""
    head = _row("th", titles, [look if look is Look.NUMBER else Look.SHORT for look in looks])
    body = "".join(_row("td", row, looks) for row in rows)
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"


def _row(tag: str, texts: Sequence[str], looks: Sequence[Look]) -> str:
    scope = ' scope="col"' if tag == "th" else ""
    shown = "".join(
        f'<{tag}{scope} style="{look}">{html.escape(text)}</{tag}>'
        for text, look in zip(texts, looks, strict=True)
    )
    return f"<tr>{shown}</tr>"
