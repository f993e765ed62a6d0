"""What goes by in a terminal: the program's own bytes, and bars for pulls and pushes.

Knows:   bars only on a terminal; lines of text elsewhere, as docker does.
Refuses: to change a program's output by a single byte.
"""

from __future__ import annotations

import sys
from typing import Any, Self

from dockerlab.commands.session import Progress


class Terminal:
    """Feedback for a terminal or a pipe."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}
        self._said: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def output(self, stream: int, data: bytes) -> None:
        target = (sys.stderr if stream == 2 else sys.stdout).buffer
        target.write(data)
        target.flush()

    def note(self, text: str) -> None:
        sys.stderr.write(f"{text}\n")

    def progress(self, event: Progress) -> None:
        if self._quiet:
            return
        if event.text:
            sys.stdout.write(event.text)
            sys.stdout.flush()
        elif not event.subject:
            self._line(event.status)
        elif sys.stdout.isatty():
            self._bar(event)
        elif self._said.get(event.subject) != event.status and not event.total:
            self._said[event.subject] = event.status
            self._line(f"{event.subject}: {event.status}")

    def _line(self, text: str) -> None:
        if self._bars is not None:
            self._bars.console.print(text, markup=False, highlight=False)
        elif text:
            sys.stdout.write(f"{text}\n")

    def _bar(self, event: Progress) -> None:
        if self._bars is None:
            self._bars = _bars()
            self._bars.start()
        task = self._tasks.get(event.subject)
        if task is None:
            task = self._bars.add_task("", total=None, subject=event.subject, status="")
            self._tasks[event.subject] = task
        if event.total:
            self._bars.update(task, completed=event.current, total=event.total, status=event.status)
        elif event.status.endswith(("complete", "exists", "Pushed")):
            self._bars.update(task, completed=1, total=1, status=event.status)
        else:
            self._bars.update(task, status=event.status)


def _bars() -> Any:
    from rich.progress import (  # noqa: PLC0415 - 60 ms, when the first bar is drawn
        BarColumn,
        DownloadColumn,
        TextColumn,
    )
    from rich.progress import Progress as Bars  # noqa: PLC0415 - as above

    return Bars(
        TextColumn("{task.fields[subject]}: {task.fields[status]}", markup=False),
        BarColumn(),
        DownloadColumn(),
    )
