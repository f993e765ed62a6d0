"""kill -9 of the engine at any moment: what runs runs on, what ended is told, nothing is left."""

from __future__ import annotations

import itertools
import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import pytest
import requests
import urllib3

from tests.faults.engines import Stocked, docker, kill, parent_of, until, zygote_of

# See conftest.py about docker-py's sockets.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
COUNT = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.05; done"
# What a client may hear while its engine dies.
BROKEN = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    OSError,
    docker.errors.APIError,
    docker.errors.BuildError,
)


def moment(text: str) -> float:
    return datetime.fromisoformat(f"{text[:26]}+00:00").timestamp()


def lines_of(container: Any) -> list[str]:
    return str(container.logs().decode()).splitlines()


def test_a_running_container_does_not_notice(stocked: Stocked) -> None:
    counting = stocked.shell(COUNT, ports={"80/tcp": ("127.0.0.1", None)}, stdin_open=True)
    counting.reload()
    port = int(counting.ports["80/tcp"][0]["HostPort"])
    before = stocked.state(counting.id)
    stocked.kill()
    # Nobody listens inside, but the port is ours as long as the container runs.
    socket.create_connection(("127.0.0.1", port), 5).close()
    stocked.client.close()
    stocked.start()
    stocked.connect()
    after = stocked.state(counting.id)
    assert (after["Pid"], after["StartedAt"]) == (before["Pid"], before["StartedAt"])
    counting = stocked.client.containers.get(counting.id)
    assert counting.exec_run(["echo", "inside"]) == (0, b"inside\n")
    stream = counting.attach(stream=True, logs=False)
    assert next(stream).startswith(b"line ")
    stream.close()
    seen = len(lines_of(counting))
    until(lambda: len(lines_of(counting)) > seen + 3, "the log grows")
    counting.stop(timeout=0)
    assert lines_of(counting) == [f"line {i + 1}" for i in range(len(lines_of(counting)))]
    assert stocked.state(counting.id)["ExitCode"] == 137
    counting.remove()


def test_ends_that_nobody_saw_are_told(stocked: Stocked, tmp_path: Path) -> None:
    end = "while [ ! -e /go/now ]; do sleep 0.05; done; exit"
    go = [f"{tmp_path}:/go"]
    script = "read x; exit 7"
    kept = stocked.shell(script, stdin_open=True)
    going = stocked.shell(f"{end} 5", auto_remove=True, volumes=go)
    again = stocked.shell(
        f"echo run; {end} 3",
        restart_policy={"Name": "on-failure", "MaximumRetryCount": 1},
        volumes=go,
    )
    stop_me = stocked.shell("trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done")
    until(stop_me.logs, "it is ready")
    pids = [stocked.state(one.id)["Pid"] for one in (kept, going, again)]
    stocked.kill()
    started = time.time()
    kill(pids[0])
    (tmp_path / "now").touch()
    until(lambda: not any(alive_shim(pid) for pid in pids), "they end")
    ended = time.time()
    stocked.client.close()
    time.sleep(0.3)
    stocked.start()
    stocked.connect()
    state = stocked.state(kept.id)
    assert (state["Status"], state["ExitCode"]) == ("exited", 137)
    assert started - 0.1 <= moment(state["FinishedAt"]) <= ended + 0.1
    until(lambda: not stocked.client.containers.list(all=True, filters={"id": going.id}), "--rm")
    until(lambda: stocked.state(again.id)["Status"] == "exited", "the policy is done")
    assert stocked.state(again.id)["ExitCode"] == 3
    assert stocked.client.containers.get(again.id).logs() == b"run\nrun\n"
    adopted = stocked.client.containers.get(stop_me.id)
    adopted.stop()
    assert stocked.state(stop_me.id)["ExitCode"] == 9


def alive_shim(pid: int) -> bool:
    try:
        parent_of(pid)
    except OSError:
        return False
    return True


def test_a_removal_that_was_due_is_made_up_for(stocked: Stocked) -> None:
    """Exited, and its engine died before --rm; or in the middle of a removal."""
    import sqlite3

    create = stocked.client.containers.create
    resting = create(stocked.image, ["true"], volumes=["/data"])
    marked = create(stocked.image, ["true"], volumes=["/data"])
    half_made = create(stocked.image, ["true"], volumes=["/data", "by-name:/other"])
    create(stocked.image, ["true"], volumes=["/data"]).remove()
    kept = {one.name for one in stocked.client.volumes.list(filters={"dangling": True})}
    assert len(kept) == 1
    stocked.kill()
    with sqlite3.connect(stocked.engine.root / "state.db") as db:
        for one, old, new in (
            (resting, '"auto_remove":false', '"auto_remove":true'),
            (resting, '"AutoRemove":false', '"AutoRemove":true'),
            (marked, '"status":"created"', '"status":"removing"'),
            (marked, '"with_volumes":false', '"with_volumes":true'),
        ):
            db.execute(
                "UPDATE containers SET value = replace(value, ?, ?) WHERE key = ?",
                (old, new, one.id),
            )
        db.execute("DELETE FROM containers WHERE key = ?", (half_made.id,))
    db.close()
    stocked.client.close()
    stocked.start()
    stocked.connect()
    assert stocked.client.containers.list(all=True) == []
    assert {one.name for one in stocked.client.volumes.list()} == kept


def test_a_lost_shim_takes_its_container_along(stocked: Stocked) -> None:
    seen = stocked.shell("sleep 100 & sleep 100")
    unseen = stocked.shell("sleep 100 & sleep 100")
    pids = [stocked.state(one.id)["Pid"] for one in (seen, unseen)]
    shims = [parent_of(pid) for pid in pids]
    kill(shims[0])
    assert seen.wait(timeout=20)["StatusCode"] == 137
    state = stocked.state(seen.id)
    assert (state["Status"], state["Error"]) == ("exited", "supervisor lost")
    stocked.kill()
    kill(shims[1])
    stocked.client.close()
    stocked.start()
    stocked.connect()
    state = stocked.state(unseen.id)
    assert (state["ExitCode"], state["Error"]) == (137, "supervisor lost")
    for pid in pids:
        until(lambda pid=pid: not alive_shim(pid), "init goes, too")
    stocked.client.containers.get(seen.id).start()
    assert stocked.state(seen.id)["Running"]


def test_a_lost_zygote_is_replaced(stocked: Stocked) -> None:
    counting = stocked.shell(COUNT)
    for _ in range(3):
        kill(zygote_of(stocked.pid))
        output = stocked.client.containers.run(
            stocked.image, ["echo", "fine"], remove=True, ports={"80/tcp": ("127.0.0.1", None)}
        )
        assert output == b"fine\n"
    assert stocked.state(counting.id)["Running"]


def test_a_reboot_leaves_everything_exited(stocked: Stocked) -> None:
    running = stocked.shell(COUNT, ports={"80/tcp": ("127.0.0.1", None)})
    wanted = stocked.shell("echo run; sleep 100", restart_policy={"Name": "always"})
    paused = stocked.shell("sleep 100")
    paused.pause()
    stocked.reboot([running.id, wanted.id, paused.id])
    for one in (running, paused):
        state = stocked.state(one.id)
        assert (state["Status"], state["ExitCode"], state["Pid"]) == ("exited", 255, 0)
    until(lambda: stocked.client.containers.get(wanted.id).logs() == b"run\nrun\n", "it runs again")
    again = stocked.client.containers.get(running.id)
    again.start()
    again.reload()
    assert again.ports["80/tcp"]


class Load:
    """Clients that work on one engine, whatever happens to it, until told to rest."""

    def __init__(self, stocked: Stocked, seed: int) -> None:
        self.stocked, self.seed = stocked, seed
        self.over = threading.Event()
        self.wrong: list[str] = []
        self.done = 0
        jobs = (self.run, self.exec, self.build, self.pull, self.remove, self.stop)
        self.threads = [
            threading.Thread(target=self.again_and_again, args=(job, index), name=job.__name__)
            for index, job in enumerate(jobs)
        ]

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self.threads), "a client hangs"

    def again_and_again(self, job: Callable[[Any, random.Random], None], index: int) -> None:
        chance = random.Random(self.seed + index)
        while not self.over.is_set():
            with suppress(*BROKEN), self.stocked.opened() as client:
                while not self.over.is_set():
                    job(client, chance)
                    self.done += 1
            self.over.wait(0.05)

    def run(self, client: Any, chance: random.Random) -> None:
        code = chance.randrange(1, 100)
        made = client.containers.run(
            self.stocked.image,
            ["sh", "-c", f"exit {code}"],
            detach=True,
            labels={"code": str(code)},
        )
        found = made.wait()["StatusCode"]
        if found != code:
            self.wrong.append(f"{made.id} ended with {found}, not {code}")
        made.remove()

    def exec(self, client: Any, chance: random.Random) -> None:
        code = chance.randrange(1, 100)
        found, output = client.containers.get("counting").exec_run(
            ["sh", "-c", f"echo {code}; exit {code}"]
        )
        # docker-py loses output that comes with the head of the answer.
        if found is not None and (found, output or b"%d\n" % code) != (code, b"%d\n" % code):
            self.wrong.append(f"exec: {found} {output!r}, not {code}")

    def build(self, client: Any, chance: random.Random) -> None:
        text = f"FROM {self.stocked.image}\nRUN echo {chance.random()} > /x\nENV a=b\n"
        image, _ = client.images.build(fileobj=BytesIO(text.encode()), rm=True)
        client.images.remove(image.id, force=True)

    def pull(self, client: Any, chance: random.Random) -> None:
        repository, _, tag = self.stocked.source.rpartition(":")
        client.images.pull(repository, tag=tag)
        client.images.remove(self.stocked.source)

    def remove(self, client: Any, chance: random.Random) -> None:
        made = client.containers.create(
            self.stocked.image, ["sleep", "100"], volumes=["/data"], ports={"80/tcp": None}
        )
        made.start()
        made.remove(force=True, v=True)

    def stop(self, client: Any, chance: random.Random) -> None:
        made = client.containers.run(
            self.stocked.image,
            ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.02; done"],
            detach=True,
            auto_remove=True,
        )
        made.stop(timeout=chance.choice((0, 1)))


def test_kills_under_load(stocked: Stocked, soak: bool, chance: random.Random) -> None:
    counting = stocked.shell(COUNT, name="counting", ports={"81/tcp": ("127.0.0.1", None)})
    counting.reload()
    port = int(counting.ports["81/tcp"][0]["HostPort"])
    pid = stocked.state("counting")["Pid"]
    with Load(stocked, chance.randrange(1 << 30)) as load:
        for _ in range(200 if soak else 2):
            time.sleep(chance.uniform(0.05, 1.5))
            stocked.kill()
            socket.create_connection(("127.0.0.1", port), 5).close()
            time.sleep(chance.choice((0.0, 0.2)))
            stocked.client.close()
            stocked.start()
            stocked.connect()
            assert stocked.state("counting")["Pid"] == pid
            assert not load.wrong
    assert not load.wrong
    assert load.done
    settle(stocked)
    text = lines_of(stocked.client.containers.get("counting"))
    assert text == [f"line {number}" for number in itertools.islice(itertools.count(1), len(text))]


def settle(stocked: Stocked) -> None:
    """Everybody rests: every container can be explained, and removed."""
    for one in stocked.client.containers.list(all=True, ignore_removed=True):
        if one.name == "counting":
            continue
        state = stocked.state(one.id)
        assert state["Status"] in {"created", "exited", "running"}, state
        config = stocked.api.inspect_container(one.id)
        if config["HostConfig"]["AutoRemove"]:
            assert state["Status"] == "running", state
        code = config["Config"]["Labels"].get("code")
        if state["Status"] == "exited" and code:
            assert state["ExitCode"] == int(code), state
            assert moment(state["StartedAt"]) <= moment(state["FinishedAt"])
        one.remove(force=True, v=True)
    assert [one.name for one in stocked.client.containers.list(all=True)] == ["counting"]
    assert stocked.client.volumes.list() == []
    network = stocked.api.inspect_network("bridge")
    assert len(network["Containers"]) == 1, network["Containers"]
