"""The types of frames: what can be calculated with, and what stays when there are no rows."""

from __future__ import annotations

import pytest

from dockerlab.commands import container_reports, images, networks, stats, system, volumes
from dockerlab.commands.results import Column, Kind, LogLine, Logs
from dockerlab.commands.stats import Sample, table
from dockerlab.notebook.frames import build, frame

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
TABLES = {
    "ps": container_reports.CONTAINERS,
    "port": container_reports.PORTS,
    "diff": container_reports.DIFF,
    "images": images.IMAGES,
    "history": images.HISTORY,
    "network ls": networks.NETWORKS,
    "volume ls": volumes.VOLUMES,
    "system df": system.DISK_USE,
    "events": system.EVENTS,
    "stats": stats.STATS,
}


@pytest.mark.parametrize("noun", TABLES)
def test_columns_keep_their_types_without_rows(noun):
    made = build(TABLES[noun], [])
    for column in TABLES[noun]:
        if column.kind is not Kind.SHOWN:
            wanted = "Int64" if column.missing else DTYPES[column.kind]
            assert str(made[column.name].dtype) == wanted, column.name


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
