"""One engine, from the lock on its data root to its last reply.

Knows:   the order: lock, socket, ping, then everything heavy; what a signal means.
Refuses: to know how nouns are put together; `nouns.py` does.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import stat
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

from tornado.netutil import bind_unix_socket

from dockerlab.engine.api import lab, system
from dockerlab.engine.api.app import App
from dockerlab.engine.config import Settings
from dockerlab.engine.daemon import log, pid_file
from dockerlab.engine.daemon.furnished import Furnished
from dockerlab.engine.linux import machine
from dockerlab.engine.model.machine import Machine, Mode
from dockerlab.engine.model.overview import About
from dockerlab.engine.services.events import Events
from dockerlab.engine.services.overview import Overview
from dockerlab.engine.store.store import Store
from dockerlab.errors import DockerlabError, Forbidden
from dockerlab.version import version

_log = logging.getLogger(__name__)
# As Go's, and so dockerd's: a client that finds the queue full is refused.
_BACKLOG = 4096


class Engine:
    """Everything that lives as long as the process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        # Before there are threads: a closer look forks.
        self._machine = _look(settings)
        self._stopping = asyncio.Event()
        self._clean = False

    def stop(self, *, clean: bool = False) -> None:
        """End soon; `clean` ends containers too and removes what is ours in the kernel."""
        self._clean = self._clean or clean
        self._stopping.set()

    async def run(self, announce: Callable[[], None]) -> None:
        """Serve until told to stop; what ends us before that stands in the log.

        Args:
            announce: called once everything is answered; pings are, before that.

        Raises:
            Conflict: another engine has this data root.
        """
        try:
            await self._run(announce)
        except DockerlabError:
            raise
        except Exception:
            _log.exception("the engine ends")
            raise

    async def _run(self, announce: Callable[[], None]) -> None:
        settings = self.settings
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_log_stray)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGUSR1, lambda: self.stop(clean=True))
        async with AsyncExitStack() as stack:
            store = await asyncio.to_thread(Store.open, settings.root)
            stack.callback(store.close)
            log.begin(settings.log_file, settings.log_level, to_stderr=False)
            events = Events()
            started_ns = time.time_ns()
            about = self._about(started_ns)
            app = App(complete=False)
            listening = bind_unix_socket(str(settings.socket), 0o600, backlog=_BACKLOG)
            stack.callback(settings.socket.unlink, missing_ok=True)
            stack.push_async_callback(app.close)
            app.server().add_socket(listening)
            pid_file.write(
                settings.pid_file,
                root=settings.root,
                socket=settings.socket,
                started_ns=started_ns,
            )
            stack.callback(settings.pid_file.unlink, missing_ok=True)
            overview = Overview(about, store.images, events)
            app.add(system.routes(overview, events))
            app.add(lab.routes(overview, store, self.stop, _examined))
            # Heavy from here on; pings are answered meanwhile, all else waits for its turn.
            furnished = await self._furnish(about, store, events, stack)
            overview.attach(furnished.containers)
            app.add(furnished.routes)
            app.begin()
            _log.info("ready after %.0f ms", (time.time_ns() - started_ns) / 1e6)
            announce()
            # Builds and registries: who asks for them now waits, everybody else has an engine.
            app.add(await furnished.rest())
            app.complete()
            # What is there now stays: a full collection looked at all of it, for 50 ms at a time.
            gc.freeze()
            await self._stopping.wait()
            _log.info("stopping")
            events.close()
            await app.close()
            if self._clean:
                await furnished.clean()

    async def _furnish(
        self, about: About, store: Store, events: Events, stack: AsyncExitStack
    ) -> Furnished:
        if about.machine.mode is Mode.IMAGES_ONLY:
            images_only = await asyncio.to_thread(_imported, "images_only")
            only: Furnished = await images_only.furnish(
                store, events, stack, about.machine.no_containers
            )
            return only
        nouns = await asyncio.to_thread(_imported, "nouns")
        everything: Furnished = await nouns.furnish(self.settings, store, events, stack)
        return everything

    def _about(self, started_ns: int) -> About:
        file = self.settings.root / "engine-id"
        if not file.exists():
            file.write_text(f"{uuid.uuid4()}\n")
        return About(
            id=file.read_text().strip(),
            version=version(),
            built=_built(),
            root=str(self.settings.root),
            started_ns=started_ns,
            machine=self._machine,
            log_driver=self.settings.log_driver,
            debug=self.settings.log_level == "debug",
        )


def _look(settings: Settings) -> Machine:
    """Read the machine, and decide which mode this engine has."""
    if settings.images_only:
        return machine.read(
            mode=Mode.IMAGES_ONLY, no_containers="DOCKERLAB_MODE says that only images are wanted"
        )
    if os.geteuid() == 0 and machine.may_administer():
        # What else may be missing shows when it is needed; trying it all takes 0.1 s.
        return machine.read()
    from dockerlab.engine.linux import probe  # noqa: PLC0415 - only where there is a doubt

    tried = probe.examine(settings.root)
    if tried.mode is Mode.FULL:
        return machine.read()
    why = tried.because if tried.mode is Mode.IMAGES_ONLY else "this engine is not run by root"
    return machine.read(mode=Mode.IMAGES_ONLY, no_containers=f"{why}. {tried.lift}")


async def _examined() -> Any:
    """Let a process of its own look: it forks, which an engine with threads may not."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dockerlab", "doctor", "--json"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    text, _ = await process.communicate()
    return json.loads(text)


def make_run_folder(path: Path) -> None:
    """Make the folder of sockets, ours alone.

    Raises:
        Forbidden: somebody else made it, and could put a socket of his own there.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise Forbidden(
            f"{path} belongs to somebody else", hint="Choose another folder: DOCKERLAB_RUN=..."
        )
    path.chmod(0o700)


def _imported(name: str) -> Any:
    """Import one of our rooms late, in a thread: half a second on a cold disk."""
    return import_module(f"dockerlab.engine.daemon.{name}")


def _built() -> str:
    moment = time.gmtime(Path(__file__).stat().st_mtime)
    return time.strftime("%Y-%m-%dT%H:%M:%S.000000000+00:00", moment)


def _log_stray(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A task that nobody awaits failed: say so, and go on."""
    del loop
    _log.error("%s", context.get("message", "stray failure"), exc_info=context.get("exception"))
