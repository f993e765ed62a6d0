"""The types of frames: what can be calculated with, and what stays when there are no rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from dockerlab.commands import (
    container_reports,
    images,
    layer_tables,
    networks,
    stats,
    system,
    volumes,
)
from dockerlab.commands.results import Column, Kind, LogLine, Logs
from dockerlab.commands.stats import Sample, table
from dockerlab.notebook import frames, frames_document
from dockerlab.notebook.frames import build, frame

ROOT = Path(__file__).parents[2]
DTYPES = {
    Kind.TEXT: "str",
    Kind.ID: "str",
    Kind.CATEGORY: "category",
    Kind.COUNT: "int64",
    Kind.BYTES: "int64",
    Kind.TIME: "datetime64[ns, UTC]",
    Kind.DURATION: "timedelta64[ns]",
    Kind.PERCENT: "float64",
    Kind.FLAG: "bool",
    Kind.LIST: "object",
}


@pytest.mark.parametrize("listed", frames_document.FRAMES, ids=lambda listed: listed.code)
def test_columns_keep_their_types_without_rows(listed):
    made = build(listed.columns, [])
    assert {column.name for column in listed.columns} >= set(listed.index)
    for column in listed.columns:
        if column.kind is not Kind.SHOWN:
            wanted = "Int64" if column.missing else DTYPES[column.kind]
            assert str(made[column.name].dtype) == wanted, column.name


def test_the_page_of_all_frames_is_current():
    wanted = (ROOT / "docs" / "frames.md").read_text()
    assert wanted == frames_document.page(), (
        "write it anew: python -m dockerlab.notebook.frames_document docs/frames.md"
    )


@pytest.mark.parametrize(
    "room", [container_reports, images, layer_tables, networks, stats, system, volumes, frames]
)
def test_the_page_forgets_no_columns(room):
    """Whoever adds a table adds it to the page."""
    listed = [frame.columns for frame in frames_document.FRAMES]
    for name, value in vars(room).items():
        if isinstance(value, tuple) and value and all(isinstance(one, Column) for one in value):
            assert value in listed, name


def test_values():
    columns = (Column("when", Kind.TIME), Column("size", Kind.BYTES), Column("all", Kind.LIST))
    made = build(columns, [(1_500_000_000_000_000_001, 7, ("a", "b")), (0, 9, ())])
    assert made["when"][0].isoformat() == "2017-07-14T02:40:00.000000001+00:00"
    assert made["when"].isna().tolist() == [False, True]
    assert made["size"].sum() == 16
    assert made["all"].tolist() == [["a", "b"], []]


def test_logs():
    lines = (LogLine("stdout", 5, "one"), LogLine("stderr", 6, "two"))
    made = frame(Logs(container="c", lines=lines))
    assert made.line.tolist() == ["one", "two"]
    assert str(made.stream.dtype) == "category"


def test_stats_have_figures_instead_of_words():
    made = frame(table((Sample(identifier="a" * 64, name="web", time_ns=1, memory_bytes=2048),)))
    assert made.loc["web", "memory"] == 2048
    assert "shown_memory" not in made.columns
