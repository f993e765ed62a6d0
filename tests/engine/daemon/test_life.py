"""The engine's process: started once, found again, ended without a trace."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=20)
        self.path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def get(path: Path, target: str, method: str = "GET") -> tuple[int, Any]:
    connection = UnixConnection(path)
    try:
        connection.request(method, target)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    return answer.status, json.loads(body) if body.startswith((b"{", b"[")) else body


def test_start_status_stop(fresh_engine: Any) -> None:
    assert fresh_engine.command("engine", "status").returncode == 1
    started = fresh_engine.start()
    assert started["host"] == fresh_engine.url
    status = json.loads(fresh_engine.command("engine", "status", "--json").stdout)
    assert status["pid"] == started["pid"]
    assert get(fresh_engine.socket, "/_ping") == (200, b"OK")
    assert (fresh_engine.run.stat().st_mode & 0o777) == 0o700
    assert (fresh_engine.socket.stat().st_mode & 0o777) == 0o600
    assert (fresh_engine.root.stat().st_mode & 0o777) == 0o700
    fresh_engine.stop()
    assert not fresh_engine.socket.exists()
    assert fresh_engine.command("engine", "status").returncode == 1
    assert "no engine runs" in fresh_engine.command("engine", "stop").stdout


def test_two_starts_at_once_make_one_engine(fresh_engine: Any) -> None:
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: fresh_engine.start(), range(3)))
    assert len({answer["pid"] for answer in answers}) == 1


def test_a_killed_engine_is_no_obstacle(fresh_engine: Any) -> None:
    first = fresh_engine.start()
    identity = get(fresh_engine.socket, "/dockerlab/v1/engine")[1]["id"]
    process = os.pidfd_open(first["pid"])
    signal.pidfd_send_signal(process, signal.SIGKILL)
    os.close(process)
    second = fresh_engine.start()
    assert second["pid"] != first["pid"]
    assert get(fresh_engine.socket, "/dockerlab/v1/engine")[1]["id"] == identity


def test_stale_pid_file_points_to_nobody(fresh_engine: Any) -> None:
    fresh_engine.start()
    record = json.loads((fresh_engine.run / "engine.pid").read_text())
    fresh_engine.stop()
    # Some other process has that pid now: it must not be taken for the engine, nor be signalled.
    record["pid"] = os.getpid()
    (fresh_engine.run / "engine.pid").write_text(json.dumps(record))
    assert "no engine runs" in fresh_engine.command("engine", "stop").stdout


def test_serve_in_the_foreground_ends_with_sigterm(fresh_engine: Any) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "dockerlab", "engine", "serve"],
        env=fresh_engine.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process, process.stdout:
        assert json.loads(process.stdout.readline())["host"] == fresh_engine.url
        process.terminate()
        assert process.wait(20) == 0


def test_shutdown_by_request(fresh_engine: Any) -> None:
    started = fresh_engine.start()
    process = os.pidfd_open(started["pid"])
    status, answer = get(fresh_engine.socket, "/dockerlab/v1/shutdown", "POST")
    assert (status, answer["pid"]) == (200, started["pid"])
    import select

    ended, _, _ = select.select([process], [], [], 20)
    os.close(process)
    assert ended


def test_a_foreign_run_folder_is_refused(fresh_engine: Any) -> None:
    fresh_engine.run.mkdir()
    os.chown(fresh_engine.run, 12345, 12345)
    done = fresh_engine.command("engine", "start", "--json")
    assert done.returncode == 1
    assert "belongs to somebody else" in json.loads(done.stdout)["message"]
    os.chown(fresh_engine.run, os.geteuid(), os.getegid())


def test_an_engine_in_a_foreign_run_folder_is_nobodys(fresh_engine: Any) -> None:
    # Somebody else's engine, where ours would be: it answers, and must not be used.
    fresh_engine.start()
    os.chown(fresh_engine.run, 12345, 12345)
    try:
        assert fresh_engine.command("engine", "status").returncode == 1
    finally:
        os.chown(fresh_engine.run, os.geteuid(), os.getegid())


def test_an_open_data_root_is_closed_or_refused(fresh_engine: Any) -> None:
    fresh_engine.root.mkdir(parents=True, exist_ok=True)
    fresh_engine.root.chmod(0o777)
    refused = fresh_engine.command("engine", "start")
    assert refused.returncode == 1
    assert "belongs to others, too" in refused.stderr
    fresh_engine.root.chmod(0o755)
    fresh_engine.start()
    assert (fresh_engine.root.stat().st_mode & 0o777) == 0o700


def test_doctor_and_check(fresh_engine: Any) -> None:
    assert json.loads(fresh_engine.command("doctor", "--json").stdout)["kernel"]
    assert fresh_engine.command("engine", "check").stdout == "all is whole\n"
    fresh_engine.start()
    assert get(fresh_engine.socket, "/dockerlab/v1/doctor")[0] == 200
