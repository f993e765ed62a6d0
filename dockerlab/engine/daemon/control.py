"""Start, find and stop an engine from another process.

Knows:   that two starts at once make one engine, and that a pid must be proven before a signal.
Refuses: to be the engine; `serve.py` is.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from dockerlab.engine.config import Settings
from dockerlab.engine.daemon import pid_file
from dockerlab.engine.daemon.pid_file import EngineRecord
from dockerlab.errors import Failed

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0
# What `serve` ends with when another engine holds the data root.
ALREADY_RUNS = 3

_PAUSE_S = 0.02
_PING = b"GET /_ping HTTP/1.0\r\n\r\n"


def running(settings: Settings) -> EngineRecord | None:
    """The engine that answers at this run folder, if there is one."""
    if not _is_ours(settings.run):
        return None
    record = pid_file.read(settings.pid_file)
    return record if record is not None and answers(settings) else None


def _is_ours(run: Path) -> bool:
    """Without a runtime folder ours is in /tmp, where others may have made one of that name."""
    try:
        return os.lstat(run).st_uid == os.geteuid()
    except FileNotFoundError:
        return False


def answers(settings: Settings, timeout_s: float = 5.0) -> bool:
    """Whether somebody answers a ping at the socket."""
    with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
        client.settimeout(timeout_s)
        client.connect(str(settings.socket))
        client.sendall(_PING)
        return client.recv(64).startswith(b"HTTP/1.1 200")
    return False


def start(settings: Settings) -> EngineRecord:
    """Start an engine, or find the one that runs; returns once it answers.

    Raises:
        Failed: it ended before it answered; the message says why.
    """
    record = running(settings)
    if record is not None:
        return record
    deadline = time.monotonic() + READY_TIMEOUT_S
    with open(os.memfd_create("complaints"), "w+b") as complaints:
        process = _spawn(complaints)
        try:
            code = _await_line(process, deadline)
        finally:
            if process.stdout is not None:
                process.stdout.close()
        if code not in {None, ALREADY_RUNS}:
            complaints.seek(0)
            text = complaints.read(4096).decode(errors="replace").strip()
            raise Failed(
                text.removeprefix("dockerlab engine: ") or f"the engine ended with code {code}",
                hint=f"Look into {settings.log_file}",
            )
    while (record := running(settings)) is None:
        # Another start was faster; its engine tells us nothing but by its socket.
        if time.monotonic() > deadline:
            raise Failed(
                f"the engine did not answer within {READY_TIMEOUT_S:.0f} s",
                hint=f"Look into {settings.log_file}",
            )
        time.sleep(_PAUSE_S)
    return record


def stop(settings: Settings, *, clean: bool = False) -> EngineRecord | None:
    """End the engine; its containers go on, unless `clean`. Returns who was ended.

    With `clean`, an engine that ended before is started once more: what it left in the kernel is
    known from its rows.

    Raises:
        Failed: it did not end in time.
    """
    record = pid_file.read(settings.pid_file)
    if record is None and clean and (settings.root / "state.db").exists():
        record = start(settings)
    if record is None:
        return None
    with suppress(ProcessLookupError):
        descriptor = os.pidfd_open(record.pid)
        try:
            # Looked at again now that the descriptor pins this very process.
            if record.alive:
                number = signal.SIGUSR1 if clean else signal.SIGTERM
                signal.pidfd_send_signal(descriptor, number)
                ended, _, _ = select.select([descriptor], [], [], STOP_TIMEOUT_S)
                if not ended:
                    raise Failed(
                        f"the engine (pid {record.pid}) did not end within {STOP_TIMEOUT_S:.0f} s",
                        hint=f"Look into {settings.log_file}",
                    )
        finally:
            os.close(descriptor)
    return record


def _spawn(complaints: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "dockerlab", "engine", "serve", "--detached"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=complaints,
        start_new_session=True,
        cwd="/",
        env=_environment(),
    )


def _environment() -> dict[str, str]:
    # From a clone that was never installed, "/" as working directory would not find the package.
    home = str(Path(__file__).parents[3])
    environment = dict(os.environ)
    # Compiling the engine takes longer than starting it: once is enough.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if home not in sys.path[1:]:
        paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment


def _await_line(process: subprocess.Popen[bytes], deadline: float) -> int | None:
    """Wait for the line that says "ready"; an exit code instead when it ended before."""
    assert process.stdout is not None
    left_s = max(0.0, deadline - time.monotonic())
    ready, _, _ = select.select([process.stdout], [], [], left_s)
    if not ready:
        process.terminate()
        return process.wait()
    if process.stdout.readline():
        process.returncode = 0  # it stays; nobody here waits for it
        return None
    return process.wait()
