"""The engine's side of the zygote: started, asked to fork, restarted when it dies.

Knows:   how a light interpreter is started that finds this package without site-packages.
Refuses: to know what is forked.
Source:  man 2 open_tree; CVE-2019-5736 for why the executable is given read-only.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dockerlab.engine.linux import mounts
from dockerlab.engine.runtime import packets
from dockerlab.engine.runtime.process import send
from dockerlab.errors import Failed

# The package's parent comes last: what stands beside it never hides the standard library.
_PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from dockerlab.engine.runtime.zygote import main; main(sys.argv[2:])"
)
_ROOT = str(Path(__file__).resolve().parents[3])
_READY_S = 20.0
_END_S = 5.0


class ZygoteHost:
    """Owns the zygote's process and its socket."""

    def __init__(self, entry_points: Mapping[str, str]) -> None:
        self._entry_points = dict(entry_points)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._starting = asyncio.Lock()
        self._sending = asyncio.Lock()

    @property
    def pid(self) -> int:
        """The zygote's pid, 0 while there is none."""
        return self._process.pid if self._process else 0

    async def start(self) -> None:
        """Start a zygote unless one is there."""
        async with self._starting:
            if self._socket is None:
                await self._start()

    async def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        executable = _read_only_executable()
        entries = [f"{name}={module}" for name, module in self._entry_points.items()]
        arguments = [sys.executable, "-I", "-S", "-c", _PROGRAM, _ROOT, str(theirs.fileno())]
        with theirs:
            # Returns at the exec; a loop's own subprocess would need its child watcher.
            self._process = subprocess.Popen(  # noqa: ASYNC220
                [*arguments, *entries],
                executable=f"/proc/self/fd/{executable}" if executable >= 0 else None,
                pass_fds=(theirs.fileno(), *((executable,) if executable >= 0 else ())),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
                env=_environment(),
            )
        if executable >= 0:
            os.close(executable)
        self._socket = ours
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_READY_S):
                ready = await loop.sock_recv(ours, packets.MAX_PACKET_BYTES)
        except (TimeoutError, OSError):
            ready = b""
        if not ready:
            await self._discard()
            raise Failed("the zygote did not start", hint="Its last words are in the engine's log.")

    async def fork(self, document: dict[str, Any], descriptors: tuple[int, ...]) -> None:
        """Ask for a fork; a zygote that died meanwhile is replaced once."""
        for _ in range(2):
            await self.start()
            try:
                await self._send(document, descriptors)
            except OSError:
                await self._discard()
            else:
                return
        raise Failed("the zygote does not take requests")

    async def _send(self, document: dict[str, Any], descriptors: tuple[int, ...]) -> None:
        async with self._sending:
            assert self._socket is not None
            await send(self._socket, document, descriptors)

    async def _discard(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        process, self._process = self._process, None
        if process is not None:
            try:
                await asyncio.to_thread(process.wait, _END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait)

    async def close(self) -> None:
        """End the zygote; what it forked goes on."""
        async with self._starting:
            await self._discard()


def _environment() -> dict[str, str]:
    """What the interpreter needs, and nothing of ours: `--init` leaves a fork inside containers.

    Who started the engine may have secrets in the environment, and a container with CAP_SYS_PTRACE
    can read that of its PID 1.
    """
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {**kept, "LC_ALL": "C.UTF-8"}


def _read_only_executable() -> int:
    """Open our interpreter on a read-only mount of its own; -1 where that can't be had.

    A program in a container may come to run /proc/self/exe, which is this file of the host; by
    this mount it can never be written to, even by root inside.
    """
    with suppress(OSError):
        path = os.path.realpath(sys.executable)
        tree = mounts.open_tree(mounts.AT_FDCWD, path, mounts.OPEN_TREE_CLONE)
        try:
            mounts.mount_setattr(tree, mounts.MOUNT_ATTR_RDONLY)
        except OSError:
            os.close(tree)
            raise
        return tree
    return -1
