"""An engine to be hurt: with an image, killed, started again, and looked at from outside."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from dockerlab.engine.config import from_environment

docker = pytest.importorskip("docker")

# A killed engine needs 0.5 s to come back; this machine may be busy.
PATIENCE_S = 30.0


def until(holds: Callable[[], Any], what: str, seconds: float = PATIENCE_S) -> Any:
    """Wait for what has no event of its own; gives what `holds` gave."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)
    return found


def kill(pid: int) -> None:
    """SIGKILL a process that is nobody's child here, and wait until it is gone."""
    with suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            ended, _, _ = select.select([descriptor], [], [], PATIENCE_S)
            assert ended
        finally:
            os.close(descriptor)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Stocked:
    """An engine with an image, and docker-py's grip on it."""

    def __init__(self, engine: Any, source: str) -> None:
        self.engine, self.source = engine, source
        self.image = "starter"
        self.pid = 0
        self.groups_before = idle_groups()

    def __enter__(self) -> Self:
        self.start()
        self.connect()
        repository, _, tag = self.source.rpartition(":")
        self.client.images.pull(repository, tag=tag).tag(self.image)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.client.close()
        self.engine.stop(clean=False)
        self.check()

    def empty(self) -> None:
        """Make it as it was, for the next test."""
        self.client.close()
        self.start()
        self.connect()
        for one in self.client.containers.list(all=True, ignore_removed=True):
            with suppress(docker.errors.NotFound):
                one.remove(force=True, v=True)
        self.client.volumes.prune(filters={"all": True})

    def start(self) -> None:
        self.pid = self.engine.start()["pid"]

    def kill(self) -> None:
        """End the engine as a power button would; its containers do not notice."""
        kill(self.pid)

    def connect(self) -> None:
        self.client = self.new_client()
        self.api = self.client.api

    def new_client(self) -> Any:
        return docker.DockerClient(base_url=self.engine.url, version="1.47", timeout=60)

    def opened(self) -> Any:
        """A client for the length of a block."""
        return closing(self.new_client())

    def again(self) -> None:
        """Kill the engine, start the next one."""
        self.kill()
        self.client.close()
        self.start()
        self.connect()

    def reboot(self, ids: list[str]) -> None:
        """State in place; no processes, no links, no sockets; another boot."""
        inits = [self.state(one)["Pid"] for one in ids]
        self.kill()
        self.client.close()
        groups = [path for one in ids for path in Path("/sys/fs/cgroup").glob(f"*/dockerlab/{one}")]
        for state in (group / "freezer.state" for group in groups):
            if state.exists():
                state.write_text("THAWED")
        for pid in inits:
            kill(parent_of(pid))
            kill(pid)
        for group in groups:
            until(lambda group=group: not (group / "tasks").read_text(), "the group is empty")
            group.rmdir()
        shutil.rmtree(self.engine.run)
        settings = from_environment(self.engine.environment)
        subprocess.run(["ip", "link", "delete", settings.bridge], check=True)
        subprocess.run(["nft", "delete", "table", "inet", settings.table], check=True)
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        with closing(sqlite3.connect(self.engine.root / "state.db")) as db, db:
            change = "UPDATE containers SET value = replace(value, ?, ?)"
            assert db.execute(change, (boot, boot[::-1])).rowcount == len(ids)
        self.start()
        self.connect()

    def shell(self, script: str, **more: Any) -> Any:
        """Run a script in a new container in the background."""
        return self.client.containers.run(self.image, ["sh", "-c", script], detach=True, **more)

    def state(self, name: str) -> dict[str, Any]:
        return dict(self.api.inspect_container(name)["State"])

    def unkept(self) -> list[str]:
        """Containers of which the database says something else than the engine does."""
        with closing(sqlite3.connect(self.engine.root / "state.db")) as db:
            kept = dict(db.execute("SELECT key, value FROM containers"))
        return [
            one["Id"]
            for one in self.api.containers(all=True)
            if json.loads(kept.get(one["Id"], '{"state":{}}'))["state"].get("status")
            != one["State"]
        ]

    def check(self) -> None:
        """Of an engine that does not run: the store is whole, nothing half made is left."""
        done = self.engine.command("engine", "check")
        assert done.stdout == "all is whole\n", done.stdout + done.stderr
        root, run = self.engine.root, self.engine.run
        for folder in (root / "tmp", root / "containers", root / "partial", run / "c"):
            found = sorted(one.name for one in folder.iterdir()) if folder.exists() else []
            # Snapshots keep one empty directory for mounts that need something below them.
            assert set(found) <= {"empty"}, f"{folder}: {found}"
        until(lambda: not (idle_groups() - self.groups_before), "empty control groups go")


def idle_groups() -> set[str]:
    """Control groups in which nothing runs; of a container that ended there is none."""
    found = set()
    for tasks in Path("/sys/fs/cgroup").glob("*/dockerlab/*/tasks"):
        with suppress(OSError):
            if not tasks.read_text():
                found.add(str(tasks.parent))
    return found


def zygote_of(engine: int) -> int:
    """The engine's child that forks shims."""
    listed = subprocess.run(
        ["ps", "--ppid", str(engine), "-o", "pid=,comm="],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split(None, 1) for line in listed.stdout.splitlines()]
    return next(int(pid) for pid, name in rows if name.startswith("dockerlab-zygot"))
