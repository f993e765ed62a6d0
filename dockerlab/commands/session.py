"""What a verb is given: a host to ask, and somebody to tell while it works.

Knows:   the shape of that somebody; a notebook and a terminal each have theirs.
Refuses: to print.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from dockerlab.commands.hosts import Host
from dockerlab.commands.streams import Streams


@dataclass(frozen=True, slots=True)
class Progress:
    """One message of a pull, push, build or load."""

    status: str = ""
    subject: str = ""  # the layer's short id
    current: int = 0
    total: int = 0
    text: str = ""  # a build's own output


class Feedback(Protocol):
    """Who is told what happens while a verb works."""

    def output(self, stream: int, data: bytes) -> None:
        """Bytes of the program: 1 is its standard output, 2 its standard error."""

    def progress(self, event: Progress) -> None: ...

    def note(self, text: str) -> None:
        """One line beside the result: a warning, or what goes on."""


@dataclass(frozen=True, slots=True)
class Session:
    """One command's surroundings."""

    host: Host
    feedback: Feedback
    patient_stdin: Any = None  # a binary file that feeds -i, where there is one

    @property
    def api(self) -> Any:
        return self.host.api

    @property
    def streams(self) -> Streams:
        return self.host.streams
