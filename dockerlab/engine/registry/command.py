"""`dockerlab registry`: serve, start, stop, status.

Knows:   one server per address, its record (pid, start time, address) in the run folder.
Refuses: to signal a process by pid alone: a pid is reused, pid and start time are not.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from dockerlab.engine import config
from dockerlab.errors import Conflict, DockerlabError, Failed, InvalidRequest

DEFAULT_ADDRESS: Final = "127.0.0.1:5000"
READY_TIMEOUT_S: Final = 120.0
STOP_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What `stop` and `status` need to find a server again."""

    pid: int
    start_ticks: int
    address: str
    storage: str


def run(argv: list[str]) -> int:
    """Carry out one command line; what goes wrong is one line on stderr and exit code 1."""
    options = _parser().parse_args(argv)
    try:
        return int(options.act(options))
    except DockerlabError as error:
        sys.stderr.write(f"dockerlab registry: {error.message}\n")
        if error.hint:
            sys.stderr.write(f"  {error.hint}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dockerlab registry", description="A small real registry on this machine."
    )
    commands = parser.add_subparsers(required=True, metavar="serve|start|stop|status")
    for name, act, text in (
        ("serve", _serve, "serve in the foreground"),
        ("start", _start, "serve in the background; returns when it answers"),
        ("stop", _stop, "end the one started at --addr"),
        ("status", _status, "say whether one answers at --addr"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(act=act)
        command.add_argument("--addr", default=DEFAULT_ADDRESS, help="HOST:PORT to listen on")
        if name in {"serve", "start"}:
            command.add_argument("--storage", type=Path, default=None, help="folder of its own")
            command.add_argument(
                "--starter", action="store_true", help="offer the starter image of this host"
            )
            command.add_argument("--read-only", action="store_true", help="refuse every push")
    return parser


def _serve(options: argparse.Namespace) -> int:
    asyncio.run(_serve_until_told(options))
    return 0


async def _serve_until_told(options: argparse.Namespace) -> None:
    # Imported here: start, stop and status need no server.
    from dockerlab.engine.registry.server import http_server  # noqa: PLC0415
    from dockerlab.engine.registry.storage import Storage  # noqa: PLC0415

    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    host, port = _split(options.addr)
    sockets = _listen(host, port)
    address = f"{host}:{sockets[0].getsockname()[1]}"
    root: Path = options.storage or config.from_environment().root / "registry"
    storage = await asyncio.to_thread(Storage, root)
    try:
        if options.starter:
            # Imported here: a registry without it needs neither tar nor ELF.
            from dockerlab.engine.registry.starter import publish  # noqa: PLC0415

            await asyncio.to_thread(publish, storage)
        server = http_server(storage, read_only=options.read_only)
        server.add_sockets(sockets)
        record = _record_path(options.addr)
        _write(record, Record(**_identity(), address=address, storage=str(root)))
        try:
            sys.stdout.write(f"registry ready at {address}\n")
            sys.stdout.flush()
            await told.wait()
        finally:
            record.unlink(missing_ok=True)
            server.stop()
            await asyncio.wait_for(server.close_all_connections(), STOP_TIMEOUT_S)
    finally:
        storage.close()


def _start(options: argparse.Namespace) -> int:
    running = _running(options.addr)
    if running is not None:
        sys.stdout.write(f"registry already runs at {running.address} (pid {running.pid})\n")
        return 0
    arguments = ["serve", "--addr", options.addr]
    if options.storage is not None:
        arguments += ["--storage", str(options.storage.resolve())]
    arguments += ["--starter"] * options.starter + ["--read-only"] * options.read_only
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dockerlab", "registry", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env=_environment(),
        )
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], READY_TIMEOUT_S)
        line = process.stdout.readline().decode() if ready else ""
        if not line.startswith("registry ready"):
            process.kill()
            process.wait()
            log.seek(0)
            text = log.read(4096).decode(errors="replace").strip()
            raise Failed((text or "it did not get ready").removeprefix("dockerlab registry: "))
        process.stdout.close()
        process.returncode = 0  # it stays; nobody here waits for it
    sys.stdout.write(line)
    return 0


def _environment() -> dict[str, str]:
    """The child's: it finds this very package, also where that is no installed one."""
    home = str(Path(__file__).resolve().parents[3])
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _stop(options: argparse.Namespace) -> int:
    record = _running(options.addr)
    if record is None:
        sys.stdout.write(f"no registry runs at {options.addr}\n")
        return 0
    with suppress(ProcessLookupError):
        process = os.pidfd_open(record.pid)
        try:
            # Looked at again now that the descriptor pins this very process.
            if _start_ticks(record.pid) == record.start_ticks:
                signal.pidfd_send_signal(process, signal.SIGTERM)
                ended, _, _ = select.select([process], [], [], STOP_TIMEOUT_S)
                if not ended:
                    raise Failed(f"the registry (pid {record.pid}) does not end")
        finally:
            os.close(process)
    sys.stdout.write(f"registry at {record.address} stopped\n")
    return 0


def _status(options: argparse.Namespace) -> int:
    record = _running(options.addr)
    if record is None:
        sys.stdout.write(f"no registry runs at {options.addr}\n")
        return 1
    sys.stdout.write(
        f"registry runs at {record.address} (pid {record.pid}, storage {record.storage})\n"
    )
    return 0


def _running(address: str) -> Record | None:
    """The live server that was started for this address; a stale record is swept."""
    path = _record_path(address)
    try:
        record = msgspec.json.decode(path.read_bytes(), type=Record)
        if _start_ticks(record.pid) == record.start_ticks:
            return record
    except (FileNotFoundError, msgspec.MsgspecError):
        pass
    path.unlink(missing_ok=True)
    return None


def _listen(host: str, port: int) -> list[socket.socket]:
    from tornado.netutil import bind_sockets  # noqa: PLC0415 - for the server only

    try:
        return bind_sockets(port, host)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Conflict(
                f"listen tcp {host}:{port}: bind: address already in use",
                hint="Another program has that port; give another: --addr 127.0.0.1:5001",
            ) from None
        raise Failed(f"listen tcp {host}:{port}: {error.strerror or error}") from None


def _split(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise InvalidRequest(f"invalid address: {address}", hint="Write HOST:PORT.")
    return host.strip("[]") or "127.0.0.1", int(port)


def _identity() -> dict[str, int]:
    return {"pid": os.getpid(), "start_ticks": _start_ticks(os.getpid())}


def _start_ticks(pid: int) -> int:
    """When a process began, in clock ticks since boot; 0 when there is none. See man 5 proc."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # The name in brackets may contain anything, also blanks and brackets.
    return int(text.rpartition(")")[2].split()[19])


def _write(path: Path, record: Record) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_bytes(msgspec.json.encode(record))
    temporary.replace(path)


def _record_path(address: str) -> Path:
    return config.from_environment().run / f"registry-{address.replace('/', '_')}.json"
