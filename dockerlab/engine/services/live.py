"""What the engine holds in memory for one container: its lock, its process, who waits for it.

Knows:   the things that die with the engine and that adoption makes anew.
Refuses: to be the truth; that is the container's row.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from dockerlab.engine.runtime.client import Client
from dockerlab.engine.runtime.launcher import Process


class Waiters:
    """Clients that wait for the next exit, or for the removal, of one container."""

    def __init__(self) -> None:
        self._exit: set[asyncio.Future[int]] = set()
        self._removal: set[asyncio.Future[int]] = set()

    def next_exit(self) -> asyncio.Future[int]:
        """Get a future of the exit code of the run that ends next."""
        return self._add(self._exit)

    def removal(self) -> asyncio.Future[int]:
        """Get a future that ends, with the last exit code, once the name is free again."""
        return self._add(self._removal)

    def announce_exit(self, code: int) -> None:
        """Answer everybody who waits for an exit."""
        self._answer(self._exit, code)

    def announce_removal(self, code: int) -> None:
        """Answer everybody: after a removal there is nothing more to wait for."""
        self._answer(self._exit, code)
        self._answer(self._removal, code)

    @staticmethod
    def _add(group: set[asyncio.Future[int]]) -> asyncio.Future[int]:
        future = asyncio.get_running_loop().create_future()
        group.add(future)
        future.add_done_callback(group.discard)
        return future

    @staticmethod
    def _answer(group: set[asyncio.Future[int]], code: int) -> None:
        for future in tuple(group):
            if not future.done():
                future.set_result(code)


@dataclass(slots=True)
class Live:
    """The engine's grip on one container.

    Attributes:
        lock: held by whoever changes the container; reading needs no lock.
        process: of the present run, None when nothing runs.
        joining: attached clients that came before the start, joined to the process when it exists.
        ended: set while no run is under way and the last one's end is in the row.
        restarting: the pending start of a restart policy.
        execs: ids of the execs made in this run.
        removal: of a container with `--rm` whose start failed.
        keep_after_exit: the end under way is half of a restart, so `--rm` does not remove.
    """

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    process: Process | None = None
    waiters: Waiters = field(default_factory=Waiters)
    joining: list[Client] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    restarting: asyncio.Task[None] | None = None
    execs: list[str] = field(default_factory=list)
    removal: asyncio.Task[None] | None = None
    keep_after_exit: bool = False

    def __post_init__(self) -> None:
        self.ended.set()

    async def join(self, process: Process) -> None:
        """Attach everybody who waits for the start."""
        while self.joining:
            await self.joining.pop(0).join(process)

    def dismiss(self) -> None:
        """Let go of who waits to be attached: there will be no process."""
        while self.joining:
            self.joining.pop().give_up()
