"""What an engine under test may leave on this machine when it, or its test, ends badly."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from dockerlab.engine.config import from_environment


def processes_of(root: Path) -> Iterator[tuple[int, bytes]]:
    """Engines, zygotes, shims and whatever else has this data root in its environment."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "environ").read_bytes().split(b"\0")
            command = (process / "cmdline").read_bytes()
            if f"DOCKERLAB_ROOT={root}".encode() in words and int(process.name) != os.getpid():
                yield int(process.name), command


def wipe(folder: Path) -> None:
    """Remove all of an engine by force: processes, containers, links, rules, groups, files."""
    root, run = folder / "root", folder / "run"
    settings = from_environment({"DOCKERLAB_ROOT": str(root), "DOCKERLAB_RUN": str(run)})
    bridges, ids = [settings.bridge], []
    if (root / "state.db").exists():
        with suppress(sqlite3.Error), closing(sqlite3.connect(root / "state.db")) as db:
            ids = [key for (key,) in db.execute("SELECT key FROM containers")]
            rows = db.execute("SELECT value FROM networks WHERE value LIKE '%\"bridge\"%'")
            bridges += [f"br-{json.loads(value)['id'][:12]}" for (value,) in rows]
    groups = [path for one in ids for path in Path("/sys/fs/cgroup").glob(f"*/dockerlab/{one}")]
    for pid, _ in processes_of(root):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for group in groups:
        _empty(group)
    for bridge in bridges:
        if Path("/sys/class/net", bridge).exists():
            subprocess.run(["ip", "link", "delete", bridge], check=False)
    subprocess.run(
        ["nft", "delete", "table", "inet", settings.table], capture_output=True, check=False
    )
    shutil.rmtree(folder, ignore_errors=True)


def _empty(group: Path) -> None:
    with suppress(OSError):
        (group / "freezer.state").write_text("THAWED")
    for _ in range(50):
        with suppress(OSError):
            for pid in (group / "cgroup.procs").read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            group.rmdir()
        if not group.exists():
            return
        time.sleep(0.02)


def sweep(place: Path) -> None:
    """Wipe the engines of test runs that were killed: their folders' names say whose they were."""
    for folder in place.glob("dl[0-9]*-*"):
        pid = folder.name[2:].partition("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            wipe(folder)
