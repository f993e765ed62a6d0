"""What goes by while a cell runs: output of programs, progress of pulls, steps of builds.

Knows:   ten updates a second are enough for eyes.
Refuses: to keep anything; the result of the verb does.
"""

from __future__ import annotations

import codecs
import html
import sys
import time
from typing import Any

from dockerlab.commands.session import Progress
from dockerlab.commands.words import size
from dockerlab.notebook.style import page, show

_INTERVAL_S = 0.1
_DONE = frozenset({"Pull complete", "Already exists", "Pushed", "Layer already exists", "Mounted"})


class Live:
    """Shows progress where the cell's output is."""

    def __init__(self, *, rich_output: bool, quiet: bool = False, silent: bool = False) -> None:
        """Begin.

        Args:
            rich_output: there is a notebook to draw in.
            quiet: a program's output is not shown.
            silent: its standard output is not: somebody keeps it, and it may be no text.
        """
        self._rich = rich_output
        self._hidden = (1, 2) if quiet else (1,) if silent else ()
        self._decoders = {
            stream: codecs.getincrementaldecoder("utf-8")("replace") for stream in (1, 2)
        }
        self._rows: dict[str, Progress] = {}
        self._lines: list[str] = []
        self._handle: Any = None
        self._drawn = 0.0

    def output(self, stream: int, data: bytes) -> None:
        """Write what a program wrote, at once."""
        if stream in self._hidden:
            return
        target = sys.stderr if stream == 2 else sys.stdout
        target.write(self._decoders[2 if stream == 2 else 1].decode(data))
        target.flush()

    def note(self, text: str) -> None:
        # Not to standard error: notebooks paint that red, and nothing is wrong.
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def progress(self, event: Progress) -> None:
        if event.text:
            sys.stdout.write(event.text)
            sys.stdout.flush()
        elif event.subject:
            self._row(event)
        elif event.status:
            self._lines.append(event.status)
            if not self._rich:
                sys.stdout.write(f"{event.status}\n")
            self._draw()

    def finish(self) -> None:
        """Draw the last state: it is what a saved notebook keeps."""
        if self._handle is not None:
            self._draw(now=True)

    def _row(self, event: Progress) -> None:
        before = self._rows.get(event.subject)
        self._rows[event.subject] = event
        if self._rich:
            self._draw()
        elif before is None or before.status != event.status:
            sys.stdout.write(f"{event.subject}: {event.status}\n")

    def _draw(self, *, now: bool = False) -> None:
        if not self._rich:
            return
        moment = time.monotonic()
        if not now and moment - self._drawn < _INTERVAL_S:
            return
        self._drawn = moment
        bundle = {"text/plain": self._text(), "text/html": self._html()}
        if self._handle is None:
            self._handle = show(bundle)
        else:
            self._handle.update(bundle, raw=True)

    def _text(self) -> str:
        rows = [f"{subject}: {event.status}" for subject, event in self._rows.items()]
        return "\n".join([*rows, *self._lines])

    def _html(self) -> str:
        rows = []
        for subject, event in self._rows.items():
            full = event.status in _DONE
            share = 1.0 if full else event.current / event.total if event.total else 0.0
            figure = f"{size(event.current)} / {size(event.total)}" if event.total else ""
            rows.append(
                f"<tr><td><code>{html.escape(subject)}</code></td>"
                f"<td>{html.escape(event.status)}</td>"
                f'<td><progress max="100" value="{share * 100:.0f}"></progress></td>'
                f"<td>{figure}</td></tr>"
            )
        lines = "".join(f"<div>{html.escape(line)}</div>" for line in self._lines)
        return page(f"<table><tbody>{''.join(rows)}</tbody></table>{lines}")
