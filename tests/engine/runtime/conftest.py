"""A root file system of busybox, a launcher, and a short way to run something in a container."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import struct
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dockerlab.engine.linux import capabilities, cgroups
from dockerlab.engine.model.rootfs import Overlay
from dockerlab.engine.runtime import defaults
from dockerlab.engine.runtime.launcher import Exit, Launcher, Process
from dockerlab.engine.runtime.spec import ProcessKind, Spec

APPLETS = (
    "sh", "true", "false", "cat", "ls", "id", "mount", "sleep", "grep", "ps", "hostname", "echo",
    "kill", "stty", "tty", "wc", "head", "tail", "touch", "mkdir", "stat", "env", "pwd", "dd",
    "readlink", "test", "rm", "seq", "mknod", "awk", "sed", "chmod",
)  # fmt: skip
DEFAULT_MOUNTS = (
    defaults.PROC,
    defaults.DEV,
    defaults.PTS,
    defaults.SYS,
    defaults.MQUEUE,
    defaults.shm(1 << 26),
)


@dataclass
class Outcome:
    exit: Exit
    out: bytes
    err: bytes = b""

    @property
    def code(self) -> int:
        return self.exit.code

    @property
    def text(self) -> str:
        return self.out.decode()


@dataclass
class Bench:
    """One container's places on disk, and what the tests do with it."""

    base: Path
    name: str
    launcher: Launcher | None = None
    made: int = 0
    layers: list[str] = field(default_factory=lambda: ["1/fs"])

    @property
    def fs(self) -> Path:
        return self.base / "layers/1/fs"

    def spec(self, *args: str, **more: Any) -> Spec:
        """A container with Docker's defaults, and a fresh upper directory."""
        self.made += 1
        place = self.base / f"c{self.made}"
        for folder in ("upper", "work"):
            (place / folder).mkdir(parents=True)
        facts: dict[str, Any] = {
            "id": f"{os.getpid():x}".zfill(60) + f"{self.made:04x}",
            "rootfs": Overlay(
                layers_dir=str(self.base / "layers"),
                lowers=tuple(self.layers),
                upper=str(place / "upper"),
                work=str(place / "work"),
            ),
            "cgroup": f"{self.name}-{self.made}",
            "args": args,
            "env": ("PATH=/bin",),
            "hostname": "box",
            "capabilities": capabilities.DEFAULT,
            "mounts": DEFAULT_MOUNTS,
            "masked_paths": defaults.MASKED_PATHS,
            "readonly_paths": defaults.READONLY_PATHS,
            "exit_path": str(place / "exit"),
            "run_dir": str(place / "run"),
        }
        return Spec(**(facts | more))

    def exec_spec(self, process: Process, of: Spec, *args: str, **more: Any) -> Spec:
        self.made += 1
        facts: dict[str, Any] = {
            "id": "e" * 60 + f"{self.made:04x}",
            "kind": ProcessKind.EXEC,
            "cgroup": of.cgroup,
            "args": args,
            "env": of.env,
            "capabilities": of.capabilities,
            "join_pid": process.pid,
            "exit_path": str(self.base / f"e{self.made}.exit"),
            "run_dir": str(self.base / f"e{self.made}.run"),
        }
        return Spec(**(facts | more))

    @asynccontextmanager
    async def launched(self) -> AsyncIterator[Launcher]:
        launcher = Launcher(cgroups.detect())
        await launcher.start()
        try:
            yield launcher
        finally:
            await launcher.close()

    async def run(
        self,
        launcher: Launcher,
        spec: Spec,
        *,
        framed: bool = False,
        stdin: bytes | None = None,
        act: Callable[[Process, socket.socket], Awaitable[None]] | None = None,
    ) -> Outcome:
        """Launch, attach, go, talk, and wait for the end."""
        process = await launcher.launch(spec)
        client, served = socket.socketpair()
        client.setblocking(False)
        attached = await process.attach(
            served, stdin=stdin is not None, stdout=True, stderr=True, framed=framed
        )
        reading = asyncio.create_task(read_all(client), name="client")
        try:
            await process.go()
            if stdin is not None:
                await asyncio.get_running_loop().sock_sendall(client, stdin)
                client.shutdown(socket.SHUT_WR)
            if act is not None:
                await act(process, client)
            end = await process.wait()
            assert await attached.done == "eof"
        finally:
            served.close()
            data = await reading
            client.close()
        if not framed:
            return Outcome(end, data)
        out, err = split_frames(data)
        return Outcome(end, out, err)

    def do(self, *args: str, **more: Any) -> Outcome:
        """Run one container with its own launcher, in one breath."""
        talk = {key: more.pop(key) for key in ("framed", "stdin", "act") if key in more}

        async def whole() -> Outcome:
            async with self.launched() as launcher:
                return await self.run(launcher, self.spec(*args, **more), **talk)

        return asyncio.run(whole())


async def read_all(client: socket.socket) -> bytes:
    loop, data = asyncio.get_running_loop(), bytearray()
    while more := await loop.sock_recv(client, 65536):
        data += more
    return bytes(data)


async def read_until(client: socket.socket, mark: bytes) -> bytes:
    loop, data = asyncio.get_running_loop(), b""
    while mark not in data:
        more = await loop.sock_recv(client, 65536)
        assert more, data
        data += more
    return data


def split_frames(data: bytes) -> tuple[bytes, bytes]:
    streams = {1: b"", 2: b""}
    while data:
        stream, size = struct.unpack(">BxxxL", data[:8])
        assert size > 0
        streams[stream] += data[8 : 8 + size]
        data = data[8 + size :]
    return streams[1], streams[2]


@pytest.fixture(scope="session")
def busybox() -> str:
    path = shutil.which("busybox")
    if path is None or b"ld-linux" in Path(path).read_bytes()[:4096]:
        pytest.skip("needs a static busybox: apt-get install busybox-static")
    return path


@pytest.fixture
def bench(busybox: str) -> Iterator[Bench]:
    if os.geteuid() != 0:
        pytest.skip("containers of these tests need root")
    base = Path(tempfile.mkdtemp(prefix=f"dockerlab-rt-{os.getpid()}-"))
    made = Bench(base, f"test-{os.getpid()}-{base.name[-8:]}")
    (made.fs / "bin").mkdir(parents=True)
    for folder in ("etc", "proc", "sys", "dev", "tmp", "home"):
        (made.fs / folder).mkdir()
    (made.fs / "tmp").chmod(0o1777)
    shutil.copy(busybox, made.fs / "bin/busybox")
    for applet in APPLETS:
        (made.fs / "bin" / applet).symlink_to("busybox")
    (made.fs / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n"
    )
    (made.fs / "etc/group").write_text("root:x:0:\nalice:x:1000:\nwheel:x:10:alice,root\n")
    yield made
    left = leftovers(made)
    shutil.rmtree(base)
    assert left == []


def leftovers(bench: Bench) -> list[str]:
    """What of a test's containers is still there: groups, run directories, mounts."""
    # Groups of other engines may vanish during the walk, which os.walk does not mind.
    found = [
        folder
        for folder, _, _ in os.walk("/sys/fs/cgroup")
        if folder.rpartition("/")[2].startswith(f"{bench.name}-")
    ]
    found += [str(path) for path in bench.base.glob("*/run")]
    found += [str(path) for path in bench.base.glob("*.run")]
    table = Path("/proc/self/mountinfo").read_text().splitlines()
    found += [line for line in table if str(bench.base) in line]
    return found
