"""state.db and the tables in memory over it."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass

import pytest

from dockerlab.engine.store.db import Database
from dockerlab.engine.store.records import Table
from dockerlab.errors import Unavailable


@dataclass(frozen=True)
class Row:
    name: str
    sizes: tuple[int, ...] = ()


def test_rows_outlive_the_database(tmp_path):
    db = Database(tmp_path / "state.db")
    table = Table(db, "rows", Row)
    table.put_sync("a", Row("x", (1, 2)))
    asyncio.run(table.put("b", Row("y"), durable=True))
    table.delete_sync("a")
    table.delete_sync("never there")
    db.close()
    again = Database(tmp_path / "state.db")
    assert Table(again, "rows", Row).items() == [("b", Row("y"))]
    again.close()


def test_several_rows_change_together(tmp_path):
    db = Database(tmp_path / "state.db")
    table = Table(db, "rows", Row)
    table.put_sync("old", Row("x"))
    table.change_sync({"old": None, "new": Row("x")})
    assert table.keys() == ["new"]
    db.close()


def test_a_failed_commit_leaves_memory_as_the_disk(tmp_path):
    db = Database(tmp_path / "state.db")
    table = Table(db, "rows", Row)
    table.put_sync("a", Row("kept"))
    db.write_sync(lambda c: c.execute("DROP TABLE rows"))
    with pytest.raises(sqlite3.OperationalError):
        table.put_sync("a", Row("lost"))
    assert table.get("a") == Row("kept")
    db.close()


def test_one_failing_job_does_not_undo_its_neighbours(tmp_path):
    db = Database(tmp_path / "state.db")
    db.write_sync(lambda c: c.execute("CREATE TABLE t (n UNIQUE)"))

    def insert(connection, n):
        connection.execute("INSERT INTO t VALUES (?)", (n,))

    futures = [db.submit(lambda c, n=n: insert(c, n)) for n in (1, 2, 2, 3)]
    outcomes = [future.exception() is None for future in futures]
    assert outcomes == [True, True, False, True]
    assert db.read(lambda c: c.execute("SELECT n FROM t").fetchall()) == [(1,), (2,), (3,)]
    db.close()


def test_nothing_is_taken_after_close(tmp_path):
    db = Database(tmp_path / "state.db")
    db.close()
    db.close()
    with pytest.raises(Unavailable):
        db.write_sync(lambda c: None)
