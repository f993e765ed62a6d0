"""Starting, stopping and finding engines, several at once and over what dead ones left."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dockerlab.engine.config import from_environment
from tests.faults.engines import Stocked, docker, kill, until
from tests.leftovers import processes_of


def engines_of(engine: Any) -> list[int]:
    return [pid for pid, command in processes_of(engine.root) if b"serve" in command]


def test_five_starts_at_once_make_one_engine(fresh_engine: Any) -> None:
    for number in (5, 2):
        with ThreadPoolExecutor(number) as pool:
            answers = list(pool.map(lambda _: fresh_engine.start(), range(number)))
        assert len({answer["pid"] for answer in answers}) == 1
        assert {answer["host"] for answer in answers} == {fresh_engine.url}
        until(lambda: len(engines_of(fresh_engine)) == 1, "the others give up")
        # The second round goes over the socket and the pid file of a dead one.
        kill(answers[0]["pid"])


def test_a_second_engine_on_one_root_is_refused(fresh_engine: Any) -> None:
    first = fresh_engine.start()
    other = {**fresh_engine.environment, "DOCKERLAB_RUN": str(fresh_engine.folder / "other")}
    done = subprocess.run(
        [sys.executable, "-m", "dockerlab", "engine", "serve"],
        env=other,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "another engine uses" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (fresh_engine.folder / "other" / "docker.sock").exists()
    assert fresh_engine.start()["pid"] == first["pid"]


def test_leftovers_of_others_in_the_run_folder_are_no_obstacle(fresh_engine: Any) -> None:
    fresh_engine.run.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(fresh_engine.socket))
    (fresh_engine.run / "engine.pid").write_text('{"pid": 1, "half')
    (fresh_engine.run / "cgroups").write_text("no JSON")
    (fresh_engine.run / "c" / "0123456789abcdef").mkdir(parents=True)
    fresh_engine.start()
    assert list((fresh_engine.run / "c").iterdir()) == []


def test_an_engine_that_cannot_start_leaves_nothing(fresh_engine: Any) -> None:
    """Everything is up when it finds a row that it can't read."""
    import sqlite3
    from contextlib import closing

    fresh_engine.start()
    fresh_engine.stop()
    with closing(sqlite3.connect(fresh_engine.root / "state.db")) as db, db:
        db.execute("INSERT INTO containers VALUES ('x', '{}')")
    done = fresh_engine.command("engine", "start", "--json")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    settings = from_environment(fresh_engine.environment)
    try:
        assert not Path("/sys/class/net", settings.bridge).exists()
        tables = subprocess.run(
            ["nft", "list", "tables"], capture_output=True, text=True, check=True
        )
        assert settings.table not in tables.stdout
        until(lambda: not list(processes_of(fresh_engine.root)), "no process is left")
        assert not fresh_engine.socket.exists()
        assert not (fresh_engine.run / "engine.pid").exists()
    finally:
        with closing(sqlite3.connect(fresh_engine.root / "state.db")) as db, db:
            db.execute("DELETE FROM containers")


def test_stop_while_requests_run(stocked: Stocked) -> None:
    running = stocked.shell("trap '' TERM; echo ready; while :; do sleep 0.1; done")
    until(running.logs, "it is ready")
    heard: list[str] = []

    def ask(what: Any) -> None:
        try:
            with stocked.opened() as client:
                heard.append(str(what(client)))
        except Exception as error:  # noqa: BLE001 - any end is right, silence is not
            heard.append(type(error).__name__)

    asking = [
        threading.Thread(target=ask, args=(what,))
        for what in (
            lambda client: client.containers.get(running.id).stop(timeout=60),
            lambda client: client.containers.get(running.id).wait(),
            lambda client: list(client.events()),
            lambda client: list(client.containers.get(running.id).logs(follow=True, stream=True)),
            lambda client: list(client.containers.get(running.id).attach(stream=True)),
            lambda client: client.containers.get(running.id).exec_run(["sleep", "50"]),
        )
    ]
    for thread in asking:
        thread.start()
    until(lambda: stocked.client.containers.get(running.id).attrs["ExecIDs"], "the exec runs")
    stocked.engine.stop(clean=False)
    for thread in asking:
        thread.join(20)
    # What the shim serves goes on without an engine: attach and exec.
    assert len([thread for thread in asking if thread.is_alive()]) <= 2
    stocked.client.close()
    stocked.start()
    stocked.connect()
    assert stocked.state(running.id)["Running"]
    stocked.client.containers.get(running.id).remove(force=True)
    for thread in asking:
        thread.join(20)
    assert not any(thread.is_alive() for thread in asking), heard


def test_stop_clean_leaves_nothing(engines: Any, registry: str) -> None:
    with engines() as engine, Stocked(engine, f"{registry}/starter:latest") as stocked:
        network = stocked.client.networks.create("mine")
        bridge = f"br-{network.id[:12]}"
        made = [
            stocked.shell("sleep 100", network="mine"),
            stocked.shell("sleep 100", restart_policy={"Name": "always"}),
            stocked.shell("sleep 100", ports={"80/tcp": None}),
        ]
        made[2].pause()
        stocked.kill()
        engine.stop(clean=True)
        settings = from_environment(engine.environment)
        assert not Path("/sys/class/net", settings.bridge).exists()
        assert not Path("/sys/class/net", bridge).exists()
        tables = subprocess.run(
            ["nft", "list", "tables"], capture_output=True, text=True, check=True
        )
        assert settings.table not in tables.stdout
        assert list(processes_of(engine.root)) == []
        for one in made:
            assert not list(Path("/sys/fs/cgroup").glob(f"*/dockerlab/{one.id}"))
        left = [str(one) for one in engine.run.rglob("*") if not one.is_dir()]
        assert left in ([], [str(engine.run / "cgroups")])
        stocked.start()
        for one in made:
            with stocked.opened() as client:
                client.containers.get(one.id).remove(force=True)


def test_an_engine_from_another_control_group_adopts(stocked: Stocked) -> None:
    group = Path("/sys/fs/cgroup/memory", Path("/proc/self/cgroup").read_text().split("memory:")[1]
                 .splitlines()[0].lstrip("/"), f"dockerlab-test-{os.getpid()}")  # fmt: skip
    if not group.parent.is_dir() or not os.access(group.parent, os.W_OK):
        import pytest

        pytest.skip("no control group version 1 to move to")
    running = stocked.shell("sleep 100", mem_limit="32m")
    stocked.kill()
    stocked.client.close()
    group.mkdir()
    try:
        done = subprocess.run(
            [
                *("sh", "-c", 'echo $$ > "$0/cgroup.procs"; exec "$@"', str(group)),
                *(sys.executable, "-m", "dockerlab", "engine", "start", "--json"),
            ],
            env=stocked.engine.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        stocked.pid = json.loads(done.stdout)["pid"]
        stocked.connect()
        adopted = stocked.client.containers.get(running.id)
        assert adopted.stats(stream=False)["memory_stats"]["limit"] == 32 << 20
        adopted.update(mem_limit="64m", memswap_limit="64m")
        adopted.pause()
        adopted.unpause()
        adopted.stop(timeout=0)
        other = stocked.shell("sleep 100", mem_limit="32m")
        other.remove(force=True)
        assert docker is not None
    finally:
        stocked.kill()
        until(lambda: not (group / "cgroup.procs").read_text(), "the zygote ends, too")
        for inner in (*group.glob("*/"), group):
            inner.rmdir()
