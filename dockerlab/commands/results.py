"""What a verb answers: values that know their columns, and not how they will be shown.

Knows:   tables with typed columns, documents, lines of output, the end of a program.
Refuses: pandas, HTML, terminals; `notebook/frames.py`, `notebook/display.py`, `console/` do that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:  # what they stand on takes 25 ms, and %load_ext has 150
    from dockerlab.oci.dive_report import DiveReport
    from dockerlab.oci.layer_report import Report


Cell: TypeAlias = str | int | float | bool | tuple[str, ...] | None
Document: TypeAlias = Mapping[str, Any]


class Kind(Enum):
    """What the values of a column are, and so their type in a frame and their look in a table."""

    TEXT = "text"
    ID = "id"  # shown cut to 12 characters
    CATEGORY = "category"
    COUNT = "count"
    BYTES = "bytes"
    TIME = "time"  # int nanoseconds since the epoch, UTC
    DURATION = "duration"  # int nanoseconds
    PERCENT = "percent"
    FLAG = "flag"
    LIST = "list"
    SHOWN = "shown"  # text for tables only: two figures in one column, as docker has them


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its stable name in frames, and how docker's own tables call it."""

    name: str
    kind: Kind = Kind.TEXT
    title: str = ""  # "" keeps it out of the table; frames have it all the same
    key: str = ""  # its name in --format templates
    missing: bool = False  # some rows have no value: integers with gaps in frames
    width: int = 0  # longer text is cut in tables, unless --no-trunc
    help: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of one kind, as `ps`, `images` and `history` give them."""

    noun: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    taken_ns: int
    index: str = ""  # the column that names a row
    quiet: str = ""  # the column that -q prints
    only_quiet: bool = False
    untruncated: bool = False
    template: str = ""
    shown_already: bool = False  # each row went by as it came

    def column(self, name: str) -> tuple[Cell, ...]:
        """The values of one column, top to bottom."""
        place = [column.name for column in self.columns].index(name)
        return tuple(row[place] for row in self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """What `inspect`, `version` and `info` answer: the API's own documents."""

    noun: str
    names: tuple[str, ...]
    documents: tuple[Document, ...]
    template: str = ""
    text: str = ""  # how docker prints it, where that is not JSON


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line a program wrote; `time_ns` is 0 when the host was not asked for it."""

    stream: str
    time_ns: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """Lines of a container, oldest first."""

    container: str
    lines: tuple[LogLine, ...]
    timestamps: bool = False
    streamed: bool = False  # they were already shown, while they came


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A program that ran to its end in the foreground; its output went by as it came."""

    container: str
    image: str
    exit_code: int
    duration_ns: int
    stdout: bytes = b""
    stderr: bytes = b""
    kind: str = "container"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Something was done to things with these names, or made them."""

    action: str
    names: tuple[str, ...]
    note: str = ""
    identifiers: bool = False  # names are ids: docker prints them whole


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildStep:
    """One step of a build, as far as the host told of it."""

    number: int
    total: int
    instruction: str
    cached: bool = False
    layer: str = ""
    duration_ns: int = 0
    output: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """An image that was built, and the way there."""

    image: str
    names: tuple[str, ...]
    steps: tuple[BuildStep, ...]
    duration_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerEntry:
    """One path of a layer, and what it did to the layers below."""

    path: str
    kind: str  # file, directory, symlink, hardlink, device, fifo
    size: int
    mark: str  # added, changed, removed
    mode: int = 0
    link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer of an image: what it costs and what it brought."""

    number: int
    digest: str
    size_bytes: int
    instruction: str
    created_ns: int = 0
    entries: Sequence[LayerEntry] = field(default=(), repr=False)

    def count(self, mark: str) -> int:
        return sum(entry.mark == mark for entry in self.entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLayers:
    """The layers of one image, bottom first.

    Attributes:
        report: what became of every byte; None where nobody counted.
        dive: the same image as the tool dive sees it.
    """

    image: str
    identifier: str
    layers: tuple[Layer, ...]
    report: Report | None = None
    dive: DiveReport | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A view that goes on: `stats` without --no-stream. The front end asks for the samples."""

    names: tuple[str, ...]
    duration_s: float | None = None


Result: TypeAlias = Table | Documents | Logs | Ran | Done | Built | ImageLayers | Watch
