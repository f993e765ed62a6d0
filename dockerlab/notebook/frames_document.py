"""`docs/frames.md`: every frame that a result gives, written from the columns themselves.

Knows:   which verbs give which columns: `python -m dockerlab.notebook.frames_document FILE`.
Refuses: to describe columns; their definitions do, and a test holds the page to them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dockerlab.commands import (
    container_reports,
    images,
    layer_tables,
    networks,
    stats,
    system,
    volumes,
)
from dockerlab.commands.results import Column, Kind
from dockerlab.notebook import frames


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: what is typed to have it, what a row is, its columns and its index."""

    code: str
    row: str
    columns: tuple[Column, ...]
    index: tuple[str, ...] = ()


FRAMES = (
    Frame("%docker ps", "a container", container_reports.CONTAINERS, ("name",)),
    Frame("%docker port CONTAINER", "a published port", container_reports.PORTS),
    Frame("%docker diff CONTAINER", "a changed path", container_reports.DIFF, ("path",)),
    Frame("%docker logs CONTAINER", "a line", frames.LOG_COLUMNS),
    Frame("%docker stats", "a sample of a container", stats.STATS, ("time", "name")),
    Frame("%docker stats --no-stream", "a container", stats.STATS, ("name",)),
    Frame("%docker run, %docker exec, %%container", "the program", frames.RAN_COLUMNS),
    Frame("%docker images", "a name of an image", images.IMAGES),
    Frame("%docker history IMAGE", "a step, newest first", images.HISTORY),
    Frame(
        "%docker build, %%dockerfile", "a step of the Dockerfile", frames.STEP_COLUMNS, ("step",)
    ),
    Frame("%docker layers IMAGE", "a layer, bottom first", layer_tables.LAYERS, ("number",)),
    Frame("(%docker layers IMAGE).entries", "a path of a layer", frames.ENTRY_COLUMNS),
    Frame("(%docker layers IMAGE).ledger", "a figure", layer_tables.LEDGER, ("figure",)),
    Frame("(%docker layers IMAGE).waste", "a file nobody can see any more", layer_tables.WASTE),
    Frame("(%docker layers IMAGE).dive", "a path that dive calls inefficient", layer_tables.DIVE),
    Frame("%docker network ls", "a network", networks.NETWORKS, ("name",)),
    Frame("%docker volume ls", "a volume", volumes.VOLUMES, ("name",)),
    Frame("%docker system df", "a kind of thing", system.DISK_USE, ("kind",)),
    Frame("%docker events --since 10m --until 0s", "an event", system.EVENTS),
)
_UNITS = {
    Kind.BYTES: "bytes",
    Kind.TIME: "UTC",
    Kind.DURATION: "a length of time",
    Kind.PERCENT: "%",
    Kind.LIST: "lists of text",
    Kind.COUNT: "a number",
    Kind.ID: "text",
    Kind.TEXT: "text",
    Kind.CATEGORY: "text",
    Kind.FLAG: "yes or no",
}
_HEAD = """# The frames

Every result in a notebook has `.df`, a pandas frame. Names of columns are stable; types hold also
where a frame has no rows. Sizes are integers in bytes, times are UTC timestamps, lengths of time
are timedeltas. `Int64` has gaps (`<NA>`) where a host did not say.

This page is written from the code by `python -m dockerlab.notebook.frames_document docs/frames.md`.
"""
_FOOT = """
## Frames whose columns the host decides
- `%docker inspect NAME ...`, `info`, `version`: one row for each thing, indexed by its name; one
  column for each leaf of the document, its path joined by dots (`State.Status`).
- `%docker top CONTAINER`: one row for each process; the columns of `ps` in small letters, numbers
  where ps has numbers, indexed by `pid`.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *(_section(frame) for frame in FRAMES), _FOOT.strip(), ""])


def _section(frame: Frame) -> str:
    lines = [f"## `{frame.code}`", f"One row for each: {frame.row}.", ""]
    lines += ["| column | type | unit | meaning |", "|---|---|---|---|", *_rows(frame), ""]
    return "\n".join(lines)


def _rows(frame: Frame) -> Iterator[str]:
    made = frames.build(frame.columns, [])
    for column in frame.columns:
        if column.kind is Kind.SHOWN:
            continue
        name = f"`{column.name}`" + (" (index)" if column.name in frame.index else "")
        meaning = column.help.replace("|", "\\|")
        yield (f"| {name} | {made[column.name].dtype} | {_UNITS[column.kind]} | {meaning} |")


def main(argv: list[str]) -> int:
    """Write the page into the file named, or show it."""
    if argv:
        Path(argv[0]).write_text(page(), encoding="utf-8")
    else:
        sys.stdout.write(page())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
